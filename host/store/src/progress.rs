//! What was applied, what is durable, and who waits: where the two threads and the handles meet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::failure::Failure;

/// What was applied becomes durable after this long even when nobody waits for it.
const IDLE_FLUSH: Duration = Duration::from_millis(500);

/// What the flusher is asked for.
#[derive(Default)]
struct Demand {
    applied: u64,
    wanted: u64,
    durable: u64,
    stopping: bool,
}

/// What waiters look at.
#[derive(Clone, Copy, Default)]
struct Reached {
    durable: u64,
    failed: bool,
    closed: bool,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Reached,
    Failed,
    Closed,
}

#[derive(Default)]
pub(crate) struct Progress {
    demand: Mutex<Demand>,
    wake: Condvar,
    reached: watch::Sender<Reached>,
    failure: OnceLock<Failure>,
    batches: AtomicU64,
    durable_commits: AtomicU64,
}

impl Progress {
    /// The committer applied up to `seq`.
    pub(crate) fn applied(&self, seq: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let mut demand = self.demand();
        let first = demand.applied == demand.durable;
        demand.applied = seq;
        drop(demand);
        if first {
            self.wake.notify_one();
        }
    }

    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub(crate) fn durable_commits(&self) -> u64 {
        self.durable_commits.load(Ordering::Relaxed)
    }

    /// Asks for `seq` to become durable; `false` when no such batch was applied.
    pub(crate) fn want(&self, seq: u64) -> bool {
        let mut demand = self.demand();
        if seq > demand.applied {
            return false;
        }
        demand.wanted = demand.wanted.max(seq);
        drop(demand);
        self.wake.notify_one();
        true
    }

    pub(crate) async fn wait(&self, seq: u64) -> Wait {
        let mut watch = self.reached.subscribe();
        let done = |reached: &Reached| reached.durable >= seq || reached.failed || reached.closed;
        match watch.wait_for(done).await {
            Ok(reached) if reached.durable >= seq => Wait::Reached,
            Ok(reached) if reached.failed => Wait::Failed,
            Ok(_) | Err(_) => Wait::Closed,
        }
    }

    /// Waits until the engine is gone and the folder free.
    pub(crate) async fn wait_closed(&self) {
        let mut watch = self.reached.subscribe();
        // The sender lives in `self`, so the channel can't end before the store does.
        if watch.wait_for(|reached| reached.closed).await.is_err() {
            tracing::debug!("the store went away while its close was awaited");
        }
    }

    /// Waits for the store's failure, or forever.
    pub(crate) async fn wait_failed(&self) -> Option<Failure> {
        let mut watch = self.reached.subscribe();
        match watch
            .wait_for(|reached| reached.failed || reached.closed)
            .await
        {
            Ok(_) | Err(_) => self.failure().cloned(),
        }
    }

    /// The flusher's wait for work: the batch to reach, or `None` when it is time to end.
    pub(crate) fn next_flush(&self) -> Option<u64> {
        let mut demand = self.demand();
        loop {
            if demand.wanted > demand.durable || demand.stopping && demand.applied > demand.durable
            {
                return Some(demand.applied);
            }
            if demand.stopping {
                return None;
            }
            if demand.applied == demand.durable {
                demand = self
                    .wake
                    .wait(demand)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (woken, timeout) = self
                .wake
                .wait_timeout(demand, IDLE_FLUSH)
                .unwrap_or_else(PoisonError::into_inner);
            demand = woken;
            if timeout.timed_out() {
                return Some(demand.applied);
            }
        }
    }

    /// The flusher made everything up to `seq` durable; releases who waited for it.
    pub(crate) fn durable(&self, seq: u64) {
        self.demand().durable = seq;
        self.durable_commits.fetch_add(1, Ordering::Relaxed);
        self.reached.send_modify(|reached| reached.durable = seq);
    }

    /// Ends the store. Only the first failure counts; it is the cause of the others.
    pub(crate) fn fail(&self, failure: Failure) {
        tracing::error!(code = failure.code().as_str(), %failure, "the store failed");
        if self.failure.set(failure).is_ok() {
            self.reached.send_modify(|reached| reached.failed = true);
        }
        self.stop();
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// Tells the flusher to do what is left and end.
    pub(crate) fn stop(&self) {
        self.demand().stopping = true;
        self.wake.notify_one();
    }

    pub(crate) fn closed(&self) {
        self.reached.send_modify(|reached| reached.closed = true);
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
