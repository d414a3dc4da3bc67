//! The stage: a vendor's meters behind HTTP, and the gateway's clock, both driven from one event to the next. Nothing
//! waits for a real clock, so that days pass in seconds, and nothing is left out: requests go over sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use tidegate_gateway::{Clock, ManualClock, Now};
use tidegate_simulator::ClockMode;
use tidegate_simulator::meters::{Handle, Options, Simulator};

/// Looks at a stage on which nothing moves any more, before the time moves on. A request goes through as many hands
/// between two things that can be seen.
const LOOKS: u32 = 12;

/// One vendor, and what calls it.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) meters: Arc<Handle>,
    pub(crate) clock: ManualClock,
    /// Moves with everything that an actor does.
    pulse: Arc<AtomicU64>,
}

impl Stage {
    /// Begins at a moment, in milliseconds since 1970. Call it in a runtime of one thread, as [`Stage::runtime`] makes
    /// it: only there does everything that can go on do so between two looks.
    pub(crate) async fn set(start_ms: u64, options: Options) -> Result<Self> {
        let options = Options {
            clock: ClockMode::Manual { start_ms },
            ..options
        };
        let vendor = options.vendor;
        let started = Simulator::start(options).await;
        let meters = started.with_context(|| format!("the meters of {vendor}"))?;
        Ok(Self {
            clock: ManualClock::at(Now {
                mono_ms: 0,
                wall_us: start_ms as i64 * 1_000,
            }),
            meters: Arc::new(meters),
            pulse: Arc::default(),
        })
    }

    pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        Ok(builder.enable_all().build()?)
    }

    /// The host has ended and another one begins: its own clock starts anew.
    pub(crate) fn reboot(&mut self) {
        let wall_us = self.meters.now_ms() as i64 * 1_000;
        self.clock = ManualClock::at(Now {
            mono_ms: 0,
            wall_us,
        });
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now().mono_ms
    }

    /// Sleeps in simulated time.
    pub(crate) fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(self.now_ms() + ms)
    }

    /// Sleeps until a moment of the clock.
    pub(crate) fn clock_until(&self, mono_ms: u64) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(mono_ms)
    }

    /// Whoever sends or gets something says so.
    pub(crate) fn moved(&self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets simulated time pass from event to event, for so long at most or until it is done.
    pub(crate) async fn play(&self, lasts_ms: u64, done: impl Fn() -> bool) {
        let end_ms = self.now_ms() + lasts_ms;
        // The simulator's clock goes along at a distance.
        let apart_ms = self.meters.now_ms() - self.now_ms();
        loop {
            let sleeper = self.quiet().await;
            let now_ms = self.now_ms();
            if now_ms >= end_ms || done() {
                return;
            }
            let due = self.meters.due_ms().map(|due_ms| due_ms - apart_ms);
            let next_ms = due.into_iter().chain(sleeper).min().unwrap_or(end_ms);
            let by_ms = next_ms.clamp(now_ms + 1, end_ms) - now_ms;
            self.meters.advance_ms(by_ms);
            self.clock.advance(by_ms);
        }
    }

    /// Waits until all that can happen at this moment has happened. Returns when somebody wants to be woken.
    async fn quiet(&self) -> Option<u64> {
        let mut seen = self.look();
        let mut still = 0;
        while still < LOOKS {
            tokio::task::yield_now().await;
            let look = self.look();
            still = if look == seen { still + 1 } else { 0 };
            seen = look;
        }
        seen.1
    }

    fn look(&self) -> (usize, Option<u64>, Option<u64>, u64, u64) {
        let sleepers = self.clock.sleepers();
        (
            sleepers.len(),
            sleepers.first().copied(),
            self.meters.due_ms(),
            self.meters.arrived(),
            self.pulse.load(Ordering::Relaxed),
        )
    }
}
