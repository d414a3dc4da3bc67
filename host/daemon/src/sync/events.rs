//! What streams, rounds and people tell the engine, and what they share with it.

use std::sync::Arc;

use tidegate_core::job::{Job, JobId};
use tidegate_core::plugin::Page;
use tidegate_core::record::Reason;
use tidegate_core::sync::Side;
use tidegate_gateway::Clock;
use tidegate_store::{Seq, Store};
use tokio::sync::{mpsc, oneshot};

use super::engine::EngineError;
use super::gates::Gates;
use super::intents::Intents;
use super::jobs::Carried;
use super::marks::Marks;
use super::opening::Hindrance;
use super::records::Cursor;
use super::settling::Settled;
use super::start::Started;
use crate::alerts::Alerts;
use crate::status::{Command, CommandError, Done, SyncStatus};

/// What streams and rounds share with the engine.
#[derive(Clone)]
pub(super) struct Host {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub intents: Arc<Intents>,
    pub marks: Arc<Marks>,
    pub gates: Arc<Gates>,
    pub alerts: Alerts,
    pub seed: u64,
    events: mpsc::Sender<Event>,
}

impl Host {
    pub(super) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        intents: Arc<Intents>,
        alerts: Alerts,
        seed: u64,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(256);
        (
            Self {
                store,
                clock,
                intents,
                marks: Arc::default(),
                gates: Arc::default(),
                alerts,
                seed,
                events,
            },
            received,
        )
    }

    /// To the engine; lost only when it is gone, and then nothing waits for an answer.
    pub(super) async fn send(&self, event: Event) {
        self.events.send(event).await.ok();
    }

    /// For waiting times, on which nothing else hangs.
    pub(super) fn random(&self) -> u64 {
        (self.seed ^ self.marks.now())
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(31)
    }
}

pub(super) enum Event {
    /// From now on the sync runs.
    Started(Box<Started>),
    /// An attempt to start a sync has failed; another follows.
    Hindered {
        sync: Arc<str>,
        hindrance: Hindrance,
    },
    Page {
        stream: usize,
        mark: u64,
        cursor: Cursor,
        page: Page,
        reply: oneshot::Sender<Seq>,
    },
    /// A snapshot begins, and its source was asked how much that is.
    ReadBegun {
        stream: usize,
        of: Option<u64>,
        reply: oneshot::Sender<()>,
    },
    Settle {
        sync: usize,
        settled: Settled,
        /// The job that the rows travelled in.
        job: Option<JobId>,
    },
    /// A push has left rows to a job.
    JobBegun {
        sync: usize,
        job: Job,
        rows: Vec<Carried>,
    },
    /// A job was asked after, and what it told is settled; without a job, it has ended.
    JobAsked {
        sync: usize,
        id: JobId,
        job: Option<Job>,
    },
    /// A round asks how many deletes the brake lets through.
    Admit {
        sync: usize,
        deletes: usize,
        reply: oneshot::Sender<usize>,
    },
    /// A push was answered.
    Reached {
        sync: usize,
        side: Side,
    },
    Failed {
        sync: usize,
        side: Side,
        reason: Reason,
        halted: bool,
        /// The vendor refuses the credentials.
        credential: bool,
        wait_ms: u64,
    },
    /// A plugin failed on one record alone, which is tried again before it is blamed.
    Crashed {
        sync: usize,
        reason: Reason,
    },
    PullFailed {
        sync: usize,
        side: Side,
        reason: Reason,
        credential: bool,
    },
    /// A side was asked for its changes for the first time since the start, and has told them or failed.
    Heard {
        sync: usize,
        side: Side,
    },
    /// After a failure the source answered again, perhaps without anything new.
    Pulled {
        sync: usize,
        side: Side,
    },
    RoundEnded {
        sync: usize,
        source: Side,
    },
    Broken(EngineError),
    /// A person wants to know.
    Status {
        reply: oneshot::Sender<Vec<SyncStatus>>,
    },
    /// A person wants something done.
    Command {
        command: Command,
        reply: oneshot::Sender<Result<Done, CommandError>>,
    },
}
