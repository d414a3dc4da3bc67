//! A simulator's own clock: the one room that reads the operating system's, and only for a starting point.
//!
//! Ledgers, stamps, sessions and delays all run on it, so a test ages a cursor by two days in no time, and a
//! window of a day is tried in minutes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

/// Where simulated time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockMode {
    /// Runs with the machine's clock, and can be put forward.
    Real,
    /// Runs so many times as fast as the machine's clock, from its time on.
    Fast {
        /// Simulated seconds in one of the machine's, at least 1.
        speed: u32,
    },
    /// Stands still at this many milliseconds since 1970 until it is put forward.
    Manual {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        start_ms: u64,
    },
}

#[derive(Debug)]
enum Base {
    Running {
        start_ms: u64,
        since: Instant,
        speed: u32,
    },
    Standing {
        start_ms: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Clock {
    base: Base,
    ahead_ms: AtomicU64,
    moved: Notify,
    /// When each sleeper wants to be woken, and its number.
    asleep: Mutex<BTreeSet<(u64, u64)>>,
    next: AtomicU64,
}

/// A sleeper's entry; gone when it is woken or gives up.
struct Asleep<'a> {
    clock: &'a Clock,
    entry: (u64, u64),
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.clock.asleep().remove(&self.entry);
    }
}

impl Clock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the simulator's clock has to start somewhere"
    )]
    pub(crate) fn new(mode: ClockMode) -> Self {
        let running = |speed: u32| Base::Running {
            start_ms: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| milliseconds(since.as_millis())),
            since: Instant::now(),
            speed: speed.max(1),
        };
        let base = match mode {
            ClockMode::Manual { start_ms } => Base::Standing { start_ms },
            ClockMode::Real => running(1),
            ClockMode::Fast { speed } => running(speed),
        };
        Self {
            base,
            ahead_ms: AtomicU64::new(0),
            moved: Notify::new(),
            asleep: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    fn asleep(&self) -> MutexGuard<'_, BTreeSet<(u64, u64)>> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z; never goes backwards.
    pub(crate) fn now_ms(&self) -> u64 {
        let ahead_ms = self.ahead_ms.load(Ordering::Acquire);
        match self.base {
            Base::Standing { start_ms } => start_ms + ahead_ms,
            Base::Running {
                start_ms,
                since,
                speed,
            } => {
                let ran_us = since.elapsed().as_micros() * u128::from(speed);
                start_ms + milliseconds(ran_us / 1_000) + ahead_ms
            }
        }
    }

    /// Whether time only passes when somebody makes it.
    pub(crate) fn stands(&self) -> bool {
        matches!(self.base, Base::Standing { .. })
    }

    /// Puts the clock forward; whoever sleeps past the new time wakes.
    pub(crate) fn advance_ms(&self, by_ms: u64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// The earliest moment at which somebody wants to be woken.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.asleep().first().map(|(until_ms, _)| *until_ms)
    }

    /// Returns once this much simulated time has passed since the call.
    pub(crate) async fn sleep_ms(&self, for_ms: u64) {
        self.sleep_until_ms(self.now_ms() + for_ms).await;
    }

    /// Returns once it is so late. Whoever has read the clock already waits from there: it may have been put forward
    /// since, and a sleeper that starts late where nobody moves the clock again never wakes.
    pub(crate) async fn sleep_until_ms(&self, until_ms: u64) {
        // Whoever need not wait is never seen asleep.
        if self.now_ms() >= until_ms {
            return;
        }
        let entry = (until_ms, self.next.fetch_add(1, Ordering::Relaxed));
        self.asleep().insert(entry);
        let _asleep = Asleep { clock: self, entry };
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
                Base::Running { speed, .. } => {
                    let rest_us = (until_ms - now_ms).saturating_mul(1_000) / u64::from(speed);
                    tokio::select! {
                        () = moved => {}
                        () = tokio::time::sleep(Duration::from_micros(rest_us.max(1))) => {}
                    }
                }
            }
        }
    }
}

fn milliseconds(milliseconds: u128) -> u64 {
    u64::try_from(milliseconds).unwrap_or(u64::MAX)
}
