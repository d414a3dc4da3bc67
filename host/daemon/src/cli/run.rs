//! `tidegate run`: assembles a host from its config and lives its life.

use std::path::Path;

use anyhow::Error;
use tidegate_core::ledger::LedgerError;
use tidegate_store::{ApplyError, DurableError, Failure, ReadError};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::print::{Terminal, chain};
use super::runtime;
use crate::alerts::standing::StandingError;
use crate::allowances::AllowanceError;
use crate::assembly::{self, AssembleError};
use crate::config::{self, Loaded};
use crate::sync::EngineError;
use crate::{host, logs, tasks};

pub(super) fn run(path: &Path, terminal: &Terminal) -> Exit {
    let loaded = config::load(path);
    logs::start(&loaded.config.host);
    let stop = CancellationToken::new();
    let lived = runtime()
        .map_err(Error::new)
        .and_then(|runtime| runtime.block_on(live(loaded, stop)));
    match lived {
        Ok(()) => Exit::Done,
        Err(error) => {
            let (exit, code) = judge(&error);
            let message = match error.downcast_ref::<AssembleError>() {
                // The problems are many lines already, each with its place.
                Some(AssembleError::Config(problems)) => {
                    let lines: String = problems
                        .iter()
                        .map(|problem| format!("{problem}\n"))
                        .collect();
                    format!(
                        "the config can't be used:\n{lines}`tidegate check` finds all that is wrong"
                    )
                }
                _ => chain(error.as_ref()),
            };
            terminal.failure(&code, message);
            exit
        }
    }
}

async fn live(loaded: Loaded, stop: CancellationToken) -> anyhow::Result<()> {
    let signals = tokio::spawn(tasks::hear_signals(stop.clone())?);
    let assembled = tokio::select! {
        assembled = assembly::assemble(loaded, stop.clone()) => assembled?,
        // Nothing has moved yet, so there is nothing to finish.
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(
        syncs = assembled.names.join(", "),
        data = %assembled.host.data.display(),
        "starting"
    );
    let engine = assembled.syncs.run(stop);
    let ended = host::live(
        assembled.host,
        async move { Ok(engine.await?) },
        async move { signals.await? },
    );
    ended.await?;
    tracing::info!("stopped; all that was acknowledged is on disk");
    Ok(())
}

/// The exit code, and the stable code of what went wrong.
fn judge(error: &Error) -> (Exit, String) {
    if let Some(code) = error.chain().find_map(store_code) {
        return (Exit::Store, code.to_owned());
    }
    let store = (Exit::Store, "store".to_owned());
    for cause in error.chain() {
        let kept = cause.is::<AllowanceError>() || cause.is::<StandingError>();
        if kept || cause.is::<EngineError>() || cause.is::<LedgerError>() {
            return store;
        }
        match cause.downcast_ref::<AssembleError>() {
            Some(AssembleError::Config(_)) => return (Exit::Usage, "config".to_owned()),
            Some(AssembleError::Endpoint(_)) => return (Exit::Usage, "endpoint".to_owned()),
            Some(AssembleError::Store(error)) => return (Exit::Store, error.code().to_owned()),
            Some(AssembleError::Allowances(_) | AssembleError::Standing(_)) => return store,
            Some(AssembleError::Sandbox(_) | AssembleError::Webhook(_)) | None => {}
        }
    }
    (Exit::Failed, "failed".to_owned())
}

/// What the store itself says of its error.
fn store_code(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let failure = cause
        .downcast_ref::<Failure>()
        .map(|failure| failure.code().as_str());
    failure
        .or_else(|| cause.downcast_ref().map(ApplyError::code))
        .or_else(|| cause.downcast_ref().map(DurableError::code))
        .or_else(|| cause.downcast_ref().map(ReadError::code))
}
