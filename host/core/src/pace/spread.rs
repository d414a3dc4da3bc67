//! Units handed out evenly over a short window, so that a backlog does not spend it at its start.
//!
//! `governor` decides, on a slate of ours that looks before it takes: a request that some other pool
//! holds up must leave no mark here. The rate lies a little above the pool's own, because the exact
//! ledger decides in the end; what is urgent passes by and is only counted.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::Lane;

/// The rate is this much of what the window gives, in percent: beside others more, since what they leave comes when
/// they please, and who catches up slowly leaves it unused.
const HASTE_PERCENT: u64 = 110;
const HASTE_SHARED_PERCENT: u64 = 500;
/// The parts of a window that may go at once.
const NORMAL_BURST: u64 = 4;
const BACKFILL_BURST: u64 = 50;
const MS: u64 = 1_000_000;

/// The pacer's `now`, as governor asks for it.
#[derive(Clone, Default)]
struct Dial(Arc<AtomicU64>);

impl Clock for Dial {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed).into()
    }
}

/// The moment at which everything handed out so far would have come evenly; governor only reads it.
#[derive(Clone, Default)]
struct Slate(Arc<AtomicU64>);

impl StateStore for Slate {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        decide(Some(self.0.load(Ordering::Relaxed).into())).map(|(allowed, _)| allowed)
    }
}

type Limiter = RateLimiter<NotKeyed, Slate, Dial, NoOpMiddleware<Nanos>>;

struct LaneSpread {
    burst: NonZeroU32,
    limiter: Limiter,
}

/// One pool's even hand.
pub(super) struct Spread {
    window_ms: u64,
    limit: u64,
    shared: bool,
    unit: Duration,
    dial: Dial,
    slate: Slate,
    normal: LaneSpread,
    backfill: LaneSpread,
}

impl fmt::Debug for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spread")
            .field("window_ms", &self.window_ms)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Spread {
    pub(super) fn new(window_ms: u64, limit: u64) -> Self {
        Self::over(window_ms, limit, false, Slate::default())
    }

    fn over(window_ms: u64, limit: u64, shared: bool, slate: Slate) -> Self {
        let haste = if shared {
            HASTE_SHARED_PERCENT
        } else {
            HASTE_PERCENT
        };
        let unit_ns = window_ms * MS * 100 / haste / limit.max(1);
        let unit = Duration::from_nanos(unit_ns.max(1));
        // Limiters count from their making: an untouched dial makes that the beginning, for later ones too.
        let dial = Dial::default();
        let lane = |part: u64| {
            let burst = u32::try_from(limit / part).unwrap_or(u32::MAX);
            let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::with_period(unit).map(|quota| quota.allow_burst(burst));
            let quota = quota.unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX));
            LaneSpread {
                burst,
                limiter: RateLimiter::new(quota, slate.clone(), dial.clone()),
            }
        };
        Self {
            window_ms,
            limit,
            shared,
            unit,
            normal: lane(NORMAL_BURST),
            backfill: lane(BACKFILL_BURST),
            dial,
            slate,
        }
    }

    /// Follows a limit that has changed, or others who come or go.
    pub(super) fn fit(&mut self, limit: u64, shared: bool) {
        if (limit, shared) != (self.limit, self.shared) {
            *self = Self::over(self.window_ms, limit, shared, self.slate.clone());
        }
    }

    /// When the units may go, if not now. What is larger than a burst goes when a whole burst may.
    pub(super) fn wait(&self, now_ms: u64, lane: Lane, units: u64) -> Option<u64> {
        let spread = match lane {
            Lane::Critical => return None,
            Lane::Normal => &self.normal,
            Lane::Backfill => &self.backfill,
        };
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let units = NonZeroU32::new(units)?.min(spread.burst);
        self.dial.0.store(now_ms * MS, Ordering::Relaxed);
        let not_until = spread.limiter.check_n(units).ok()?.err()?;
        Some(not_until.earliest_possible().as_u64().div_ceil(MS))
    }

    pub(super) fn take(&self, now_ms: u64, units: u64) {
        let from = self.slate.0.load(Ordering::Relaxed).max(now_ms * MS);
        let taken = (self.unit.as_nanos() as u64).saturating_mul(units);
        self.slate.0.store(from + taken, Ordering::Relaxed);
    }

    /// Takes back units that did not leave after all.
    pub(super) fn give_back(&self, units: u64) {
        let taken = (self.unit.as_nanos() as u64).saturating_mul(units);
        let slate = self.slate.0.load(Ordering::Relaxed);
        self.slate
            .0
            .store(slate.saturating_sub(taken), Ordering::Relaxed);
    }
}
