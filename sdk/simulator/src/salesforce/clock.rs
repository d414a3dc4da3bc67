//! The simulator's own clock: the one room that reads the operating system's, and only for a starting point.
//!
//! Ledgers, stamps, sessions and delays all run on it, so a test ages a cursor by two days in no time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

/// Where simulated time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockMode {
    /// Runs with the machine's clock, and can be put forward.
    Real,
    /// Stands still at this many milliseconds since 1970 until it is put forward.
    Manual {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        start_ms: u64,
    },
}

#[derive(Debug)]
enum Base {
    Running { start_ms: u64, since: Instant },
    Standing { start_ms: u64 },
}

#[derive(Debug)]
pub(crate) struct Clock {
    base: Base,
    ahead_ms: AtomicU64,
    moved: Notify,
}

impl Clock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the simulator's clock has to start somewhere"
    )]
    pub(crate) fn new(mode: ClockMode) -> Self {
        let base = match mode {
            ClockMode::Manual { start_ms } => Base::Standing { start_ms },
            ClockMode::Real => Base::Running {
                start_ms: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, milliseconds),
                since: Instant::now(),
            },
        };
        Self {
            base,
            ahead_ms: AtomicU64::new(0),
            moved: Notify::new(),
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z; never goes backwards.
    pub(crate) fn now_ms(&self) -> u64 {
        let ahead_ms = self.ahead_ms.load(Ordering::Acquire);
        match self.base {
            Base::Standing { start_ms } => start_ms + ahead_ms,
            Base::Running { start_ms, since } => {
                start_ms + milliseconds(since.elapsed()) + ahead_ms
            }
        }
    }

    /// Puts the clock forward; whoever sleeps past the new time wakes.
    pub(crate) fn advance_ms(&self, by_ms: u64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Returns once this much simulated time has passed.
    pub(crate) async fn sleep_ms(&self, for_ms: u64) {
        let until_ms = self.now_ms() + for_ms;
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Listening starts before the time is read, or a clock moved in between would be missed.
            moved.as_mut().enable();
            let now_ms = self.now_ms();
            if now_ms >= until_ms {
                return;
            }
            match self.base {
                Base::Standing { .. } => moved.await,
                Base::Running { .. } => {
                    tokio::select! {
                        () = moved => {}
                        () = tokio::time::sleep(Duration::from_millis(until_ms - now_ms)) => {}
                    }
                }
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
