//! The host's clock: the one room that asks the operating system for the time.
//!
//! Everything else takes [`Now`] as an argument or holds a [`Clock`], so that tests drive time instead of
//! sleeping.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;
pub use tidegate_core::time::Now;
use tokio::sync::{Notify, oneshot};

/// Tells the time and waits for it.
pub trait Clock: Send + Sync {
    fn now(&self) -> Now;

    /// Resolves once `now().mono_ms` has reached `mono_ms`; at once when it has already.
    fn sleep_until(&self, mono_ms: u64) -> BoxFuture<'static, ()>;
}

/// The operating system's clocks. `mono_ms` counts from the clock's making.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the clock is where the time comes from"
    )]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the clock is where the time comes from"
    )]
    fn now(&self) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Now {
            mono_ms: self.started.elapsed().as_millis() as u64,
            wall_us: wall,
        }
    }

    fn sleep_until(&self, mono_ms: u64) -> BoxFuture<'static, ()> {
        let elapsed = self.started.elapsed();
        match Duration::from_millis(mono_ms).checked_sub(elapsed) {
            Some(rest) => tokio::time::sleep(rest).boxed(),
            None => futures::future::ready(()).boxed(),
        }
    }
}

/// A clock that stands still until it is driven, for tests and simulations.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Standing>,
    fell_asleep: Notify,
}

#[derive(Debug, Default)]
struct Standing {
    now: Now,
    next: u64,
    sleepers: BTreeMap<(u64, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// Stands at `now`.
    pub fn at(now: Now) -> Self {
        let clock = Self::default();
        clock.with(|state| state.now = now);
        clock
    }

    fn with<T>(&self, change: impl FnOnce(&mut Standing) -> T) -> T {
        change(
            &mut self
                .shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Moves both readings on and wakes whoever is due, earliest first.
    pub fn advance(&self, ms: u64) {
        self.with(|state| {
            state.now.mono_ms += ms;
            state.now.wall_us += ms as i64 * 1_000;
            let later = state.sleepers.split_off(&(state.now.mono_ms + 1, 0));
            for (_, sleeper) in std::mem::replace(&mut state.sleepers, later) {
                // A sleeper that was dropped meanwhile no longer listens.
                sleeper.send(()).ok();
            }
        });
    }

    /// Lets the wall clock jump, as an administrator or a time server may.
    pub fn set_wall_us(&self, wall_us: i64) {
        self.with(|state| state.now.wall_us = wall_us);
    }

    /// Moments, in `mono_ms`, for which somebody waits, in order.
    pub fn sleepers(&self) -> Vec<u64> {
        self.with(|state| {
            state.sleepers.retain(|_, sleeper| !sleeper.is_closed());
            state.sleepers.keys().map(|(at, _)| *at).collect()
        })
    }

    /// Waits until somebody sleeps towards a moment within `ms` from now and returns that moment.
    pub async fn sleeper_within(&self, ms: u64) -> u64 {
        loop {
            let asleep = self.shared.fell_asleep.notified();
            tokio::pin!(asleep);
            asleep.as_mut().enable();
            let limit = self.now().mono_ms + ms;
            if let Some(at) = self.sleepers().into_iter().find(|at| *at <= limit) {
                return at;
            }
            asleep.await;
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        self.with(|state| state.now)
    }

    fn sleep_until(&self, mono_ms: u64) -> BoxFuture<'static, ()> {
        let (wake, woken) = oneshot::channel();
        let asleep = self.with(|state| {
            if state.now.mono_ms >= mono_ms {
                return false;
            }
            state.next += 1;
            let key = (mono_ms, state.next);
            state.sleepers.insert(key, wake);
            true
        });
        if !asleep {
            return futures::future::ready(()).boxed();
        }
        self.shared.fell_asleep.notify_waiters();
        // The sender lives in the clock; should the clock be dropped, nobody waits any longer.
        woken.map(drop).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_at_their_time_and_not_before() {
        let clock = ManualClock::at(Now {
            mono_ms: 5,
            wall_us: 0,
        });
        let mut early = clock.sleep_until(10);
        let mut late = clock.sleep_until(20);
        assert_eq!(clock.sleepers(), [10, 20]);
        clock.advance(4);
        assert!((&mut early).now_or_never().is_none());
        clock.advance(1);
        assert!((&mut early).now_or_never().is_some());
        assert!((&mut late).now_or_never().is_none());
        drop(late);
        assert!(
            clock.sleepers().is_empty(),
            "a dropped sleeper is forgotten"
        );
        assert!(clock.sleep_until(10).now_or_never().is_some());
    }
}
