//! Waiting for permits: the pacer's decisions, carried to the requests that stand in line.
//!
//! The exact ledger of `core::pace` decides. Before it, `governor` spreads what is not urgent over pools with
//! short windows, so that a burst does not spend the window at its start and then stand still.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tidegate_core::pace::{
    Draws, Ended, Impossible, Lane, Pacer, PoolCounts, PoolFigures, Reason, Shape, Ticket,
    UnknownPool, Wait,
};
use tokio::sync::oneshot;

use crate::clock::Clock;

/// The part of a short window's units that may go at once: a quarter; the rest comes evenly.
const BURST_PART: u64 = 4;

/// Why there is no permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No waiting helps.
    Impossible(Impossible),
    /// Longer than a request may wait.
    TooLong(Wait),
}

/// All permits of an endpoint.
pub(crate) struct Permits {
    clock: Arc<dyn Clock>,
    line: Mutex<Line>,
    smoothers: Vec<Smoother>,
}

struct Line {
    pacer: Pacer,
    /// Who stands in line, to be woken with the permit.
    waking: HashMap<Ticket, oneshot::Sender<()>>,
}

impl Permits {
    pub(crate) fn new(pacer: Pacer, clock: Arc<dyn Clock>) -> Self {
        let smoothers = pacer
            .bursts()
            .into_iter()
            .filter_map(|(pool, window_ms, limit)| Smoother::new(pool, window_ms, limit, &clock))
            .collect();
        Self {
            clock,
            line: Mutex::new(Line {
                pacer,
                waking: HashMap::new(),
            }),
            smoothers,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        change(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn draws(
        &self,
        shape: &Shape<'_>,
        named: &[(String, u32)],
    ) -> Result<Draws, UnknownPool> {
        self.with(|line| line.pacer.draws(shape, named))
    }

    pub(crate) fn readiness(&self, lane: Lane, calls: u32) -> Result<(), Wait> {
        let now = self.clock.now();
        self.with(|line| line.pacer.readiness(now, lane, calls))
    }

    pub(crate) fn figures(&self) -> Vec<PoolFigures> {
        let now = self.clock.now();
        self.with(|line| line.pacer.figures(now))
    }

    pub(crate) fn snapshot(&self) -> Vec<PoolCounts> {
        let now = self.clock.now();
        self.with(|line| line.pacer.snapshot(now))
    }

    pub(crate) fn restore(&self, counts: &[PoolCounts]) {
        let now = self.clock.now();
        self.with(|line| line.pacer.restore(now, counts));
    }

    /// Waits for a permit, at most until `deadline_ms`; not at all when it is known to come later.
    pub(crate) async fn acquire(
        &self,
        lane: Lane,
        sync: &Arc<str>,
        draws: Draws,
        deadline_ms: u64,
    ) -> Result<Permit<'_>, Refusal> {
        self.smooth(lane, &draws, deadline_ms).await?;
        let now = self.clock.now();
        let (wake, mut woken) = oneshot::channel();
        let ticket = self.with(|line| {
            let ticket = line.pacer.ask(now, lane, sync, draws)?;
            line.waking.insert(ticket, wake);
            Ok(ticket)
        });
        // From here on the guard gives back, whatever becomes of this future.
        let permit = Permit {
            permits: self,
            ticket: ticket.map_err(Refusal::Impossible)?,
            ended: Some(Ended::Unsent),
        };
        loop {
            self.grant();
            if woken.try_recv().is_ok() {
                return Ok(permit.sent());
            }
            let wait = self.with(|line| line.pacer.wait(permit.ticket).cloned());
            let Some(wait) = wait else { continue };
            let now_ms = self.clock.now().mono_ms;
            if wait.at_ms > deadline_ms || now_ms >= deadline_ms {
                return Err(Refusal::TooLong(wait));
            }
            tokio::select! {
                biased;
                _ = &mut woken => return Ok(permit.sent()),
                () = self.clock.sleep_until(wait.at_ms.max(now_ms + 1)) => {}
            }
        }
    }

    /// Hands out what can go now, to whomever it belongs.
    fn grant(&self) {
        let now = self.clock.now();
        self.with(|line| {
            for ticket in line.pacer.grant(now) {
                // Who no longer listens gives its permit back by itself.
                if let Some(wake) = line.waking.remove(&ticket) {
                    wake.send(()).ok();
                }
            }
        });
    }

    async fn smooth(&self, lane: Lane, draws: &Draws, deadline_ms: u64) -> Result<(), Refusal> {
        if lane == Lane::Critical {
            return Ok(());
        }
        for smoother in &self.smoothers {
            let units = self.with(|line| line.pacer.units(draws, &smoother.pool));
            while let Some(wait) = smoother.wait(units, &*self.clock) {
                if wait.at_ms > deadline_ms {
                    return Err(Refusal::TooLong(wait));
                }
                self.clock.sleep_until(wait.at_ms).await;
            }
        }
        Ok(())
    }
}

/// The right to send one request. Dropped without a word, it counts as sent and lost.
pub(crate) struct Permit<'a> {
    permits: &'a Permits,
    ticket: Ticket,
    ended: Option<Ended>,
}

impl Permit<'_> {
    fn sent(mut self) -> Self {
        self.ended = Some(Ended::Lost);
        self
    }

    /// Tells how the request ended.
    pub(crate) fn settle(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.permits.clock.now();
        if let Some(ended) = self.ended.take() {
            self.permits.with(|line| {
                line.waking.remove(&self.ticket);
                line.pacer.leave(self.ticket);
                line.pacer.settle(now, self.ticket, &ended);
            });
            self.permits.grant();
        }
    }
}

/// Lets `governor` read the host's clock.
#[derive(Clone)]
struct HostClock(Arc<dyn Clock>);

impl GovernorClock for HostClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Duration::from_millis(self.0.now().mono_ms).into()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, HostClock, NoOpMiddleware<Nanos>>;

/// Spreads one pool's units over its window.
struct Smoother {
    pool: Arc<str>,
    limiter: Limiter,
}

impl Smoother {
    fn new(pool: Arc<str>, window_ms: u64, limit: u64, clock: &Arc<dyn Clock>) -> Option<Self> {
        let period = Duration::from_millis(window_ms).checked_div(u32::try_from(limit).ok()?)?;
        let burst = NonZeroU32::new(u32::try_from(limit / BURST_PART).ok()?)?;
        let quota = Quota::with_period(period)?.allow_burst(burst);
        Some(Self {
            pool,
            limiter: RateLimiter::direct_with_clock(quota, HostClock(clock.clone())),
        })
    }

    /// Takes the units, or says when. What is larger than a burst is left to the ledger alone.
    fn wait(&self, units: u64, clock: &dyn Clock) -> Option<Wait> {
        let units = NonZeroU32::new(u32::try_from(units).ok()?)?;
        let not_until = self.limiter.check_n(units).ok()?.err()?;
        let now: Nanos = Duration::from_millis(clock.now().mono_ms).into();
        let rest = not_until.earliest_possible().duration_since(now);
        let rest_ms = Duration::from(rest).as_millis() as u64 + 1;
        Some(Wait {
            reason: Reason::Smoothed {
                pool: self.pool.clone(),
            },
            at_ms: clock.now().mono_ms + rest_ms,
        })
    }
}
