//! Logs on standard error: names, counts, codes and times. Never a field's value, a body or a secret
//! (invariant 10): no room hands one to a log macro.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::meant::{Host, LogFormat};

/// Starts logging as the config says. Only the first call of a process has an effect.
pub fn start(host: &Host) {
    let filter = EnvFilter::try_new(&host.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    let started = match host.log_format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging had started already");
    }
}
