//! `tidegate demo`.

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::print::Terminal;
use super::runtime;
use crate::demo::{self, DemoArguments, DemoReport, Tell};
use crate::tasks::hear_signals;

pub(super) fn run(arguments: &DemoArguments, terminal: &Terminal) -> Exit {
    let tell = |line: &str| terminal.note(format!("- {line}"));
    let played = runtime().map_err(anyhow::Error::from).and_then(|runtime| {
        let played = runtime.block_on(play(arguments, &tell));
        runtime.shutdown_background();
        played
    });
    match played {
        Ok(report) => {
            terminal.answer(&report, ToString::to_string);
            if report.is_clean() {
                Exit::Done
            } else {
                Exit::Failed
            }
        }
        Err(error) => {
            terminal.failure("demo-failed", format!("{error:#}"));
            Exit::Failed
        }
    }
}

/// Plays until the end or a signal. Whatever was started is stopped either way.
async fn play(arguments: &DemoArguments, tell: Tell<'_>) -> anyhow::Result<DemoReport> {
    let stop = CancellationToken::new();
    tokio::spawn(hear_signals(stop.clone())?);
    tokio::select! {
        played = demo::run(arguments, tell) => played,
        () = stop.cancelled() => bail!("interrupted; the host and the simulator are stopped"),
    }
}
