//! The tasks of a host, and what stopping and failing mean for each.
//!
//! A stop is asked for once, by a signal, a command or a failed task. Tasks that hold work drain; the others go
//! on, so that a person can watch, and end when the last one has drained. A second signal ends the process
//! at once, which is safe at any moment and only means more to read again.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Captures, dispatches, settles.
    Engine,
    /// Answers on the socket.
    Control,
    /// Watches over the store: once it has failed nothing can be acknowledged any more.
    Store,
    /// Hears SIGTERM and SIGINT.
    Signals,
    /// Tells how far the work is.
    Progress,
    /// Stores what was drawn from the vendors' allowances.
    Allowances,
    /// Stores what was used of them, for people.
    Usage,
    /// Reads allowances that no answer has told of for a while.
    Gauges,
    /// Tells how far allowances are used up.
    Levels,
    /// Tells which endpoints fail.
    Ailing,
    /// Sends alerts to the webhook.
    Alerts,
    /// Stores which alerts stand.
    Standing,
    /// Shows figures to whoever collects them.
    Metrics,
}

/// What a task does when the host stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// Sees the stop, finishes what it holds, and ends by itself.
    Drain,
    /// Goes on until the others have drained, and holds nothing that could be lost.
    Abandon,
}

/// What a task's failure means for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    StopHost,
    /// The host works on without it.
    Log,
}

impl Task {
    pub fn on_stop(self) -> OnStop {
        match self {
            Self::Engine => OnStop::Drain,
            Self::Control
            | Self::Store
            | Self::Signals
            | Self::Progress
            | Self::Allowances
            | Self::Usage
            | Self::Gauges
            | Self::Levels
            | Self::Ailing
            | Self::Alerts
            | Self::Standing
            | Self::Metrics => OnStop::Abandon,
        }
    }

    pub fn on_error(self) -> OnError {
        match self {
            Self::Engine
            | Self::Store
            | Self::Signals
            | Self::Allowances
            | Self::Usage
            | Self::Standing => OnError::StopHost,
            Self::Control
            | Self::Progress
            | Self::Gauges
            | Self::Levels
            | Self::Ailing
            | Self::Alerts
            | Self::Metrics => OnError::Log,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Control => "control",
            Self::Store => "store",
            Self::Signals => "signals",
            Self::Progress => "progress",
            Self::Allowances => "allowances",
            Self::Usage => "usage",
            Self::Gauges => "gauges",
            Self::Levels => "levels",
            Self::Ailing => "ailing",
            Self::Alerts => "alerts",
            Self::Standing => "standing alerts",
            Self::Metrics => "metrics",
        }
    }
}

/// Runs the tasks to their common end.
pub struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    listed: Vec<(Id, Task)>,
    stop: CancellationToken,
}

impl Tasks {
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            listed: Vec::new(),
            stop,
        }
    }

    pub fn start(
        &mut self,
        task: Task,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let id = self.running.spawn(work).id();
        self.listed.push((id, task));
    }

    /// Returns when every draining task has ended: with the first failure that stopped the host, if one did.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let mut failure = None;
        while self
            .listed
            .iter()
            .any(|(_, task)| task.on_stop() == OnStop::Drain)
        {
            let Some(ended) = self.running.join_next_with_id().await else {
                break;
            };
            let (id, result) = match ended {
                Ok((id, result)) => (id, result),
                Err(error) => (error.id(), Err(anyhow::Error::new(error))),
            };
            let Some(task) = self.unlist(id) else {
                continue;
            };
            if let Err(error) = result {
                match task.on_error() {
                    OnError::Log => {
                        tracing::error!(
                            task = task.name(),
                            error = format!("{error:#}"),
                            "a task ended"
                        );
                    }
                    OnError::StopHost => {
                        failure.get_or_insert(error);
                    }
                }
            }
            if task.on_stop() == OnStop::Drain || task.on_error() == OnError::StopHost {
                self.stop.cancel();
            }
        }
        self.running.shutdown().await;
        failure.map_or(Ok(()), Err)
    }

    fn unlist(&mut self, id: Id) -> Option<Task> {
        let index = self.listed.iter().position(|(listed, _)| *listed == id)?;
        Some(self.listed.swap_remove(index).1)
    }
}

/// Asks for a stop at the first SIGTERM or SIGINT, and ends the process at the second. From the call on neither ends it
/// unheard; what is returned waits for them.
///
/// # Errors
///
/// When the system lets nobody listen.
pub fn hear_signals(
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let first = next_signal(&mut terminate, &mut interrupt).await;
        tracing::info!(
            signal = first.name,
            "stopping: no new work, finishing the calls in flight"
        );
        stop.cancel();
        let second = next_signal(&mut terminate, &mut interrupt).await;
        tracing::warn!(
            signal = second.name,
            "ending at once; what was in flight is read again at the next start"
        );
        std::process::exit(128 + second.number)
    })
}

struct Heard {
    name: &'static str,
    number: i32,
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> Heard {
    tokio::select! {
        _ = terminate.recv() => Heard { name: "SIGTERM", number: libc::SIGTERM },
        _ = interrupt.recv() => Heard { name: "SIGINT", number: libc::SIGINT },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The engine drains to its end while the control goes on, and a failed engine stops the host with its reason.
    #[tokio::test]
    async fn the_table_is_kept() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.start(Task::Control, std::future::pending());
        let engine_stop = stop.clone();
        tasks.start(Task::Engine, async move {
            engine_stop.cancelled().await;
            anyhow::bail!("the store is full")
        });
        tasks.start(Task::Progress, async { anyhow::bail!("no terminal") });
        tasks.start(Task::Signals, async move {
            stop.cancel();
            std::future::pending().await
        });
        let failure = tasks.finish().await.expect_err("the engine's failure");
        assert_eq!(failure.to_string(), "the store is full");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.start(Task::Engine, async { panic!("on purpose") });
        assert!(tasks.finish().await.is_err());
        assert!(stop.is_cancelled());
    }
}
