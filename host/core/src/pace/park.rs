//! After the vendor said stop: how long a pool is left alone, who tries it first, and how far its limit is
//! trusted afterwards.

use super::{Reason, Wait};
use std::sync::Arc;

/// What a first park lasts at most when the vendor names no time, and what it grows to.
const PARK_FIRST_MS: u64 = 1_000;
const PARK_MAX_MS: u64 = 300_000;
const PARK_MIN_MS: u64 = 50;
/// When a probe's answer is awaited, asking again makes sense after about a request's time.
const PROBE_LOOK_MS: u64 = 250;
/// Nobody knows when a held pool is let go on.
const HELD_LOOK_MS: u64 = 1_000;
/// A throttle that nothing explains takes away so much of the limit, down to the least.
const SHRINK: f64 = 0.75;
const TRUST_MIN: f64 = 0.3;
/// What comes back per window.
const GROWTH: f64 = 0.25;
const GROWTH_MS_MIN: u64 = 1_000;
const GROWTH_MS_MAX: u64 = 600_000;

/// A throttle as the vendor answered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttled {
    pub pool: String,
    /// As long as the vendor says, or the manifest; else exponential with full jitter.
    pub park_ms: Option<u64>,
    /// Between 0 and 1, for the jitter.
    pub random: f64,
}

/// Which of several throttles one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    First,
    /// The probe's: the pool is still shut.
    Again,
    /// Of a request that left with one that was throttled before it.
    Herd,
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    until_ms: u64,
    /// Throttles in a row.
    streak: u32,
    probe: Option<u64>,
}

/// A pool's standing with the vendor.
#[derive(Clone, Debug)]
pub(super) struct Park {
    parked: Option<Parked>,
    /// Somebody holds the pool back.
    pub(super) held: bool,
    /// The part of the limit that is believed in, and since when.
    trust: f64,
    trusted_ms: i64,
    growth_ms: u64,
    /// The vendor has said stop since the last snapshot.
    news: bool,
}

impl Park {
    pub(super) fn new(window_ms: u64) -> Self {
        Self {
            parked: None,
            held: false,
            trust: 1.0,
            trusted_ms: 0,
            growth_ms: window_ms.clamp(GROWTH_MS_MIN, GROWTH_MS_MAX),
            news: false,
        }
    }

    /// The part of the limit that is believed in: less after a throttle that nothing explained, and more again
    /// with every window.
    pub(super) fn trust(&self, now_ms: u64) -> f64 {
        if self.trust >= 1.0 {
            return 1.0;
        }
        let since_ms = (now_ms as i64 - self.trusted_ms).max(0);
        let windows = since_ms as f64 / self.growth_ms as f64;
        (self.trust + windows * GROWTH).min(1.0)
    }

    pub(super) fn doubt(&mut self, now_ms: u64) {
        self.trust = (self.trust(now_ms) * SHRINK).max(TRUST_MIN);
        self.trusted_ms = now_ms as i64;
    }

    /// Until when it is shut, and after how many throttles in a row; a park that is over waits for its probe.
    pub(super) fn parked(&self) -> Option<(u64, u32)> {
        self.parked.map(|parked| (parked.until_ms, parked.streak))
    }

    /// The part of the limit that was believed in, and when, unless it is all of it.
    pub(super) fn doubted(&self) -> Option<(f64, u64)> {
        (self.trust < 1.0).then(|| (self.trust, self.trusted_ms.max(0) as u64))
    }

    /// As an earlier host has left it; whoever probed is gone.
    pub(super) fn recall_park(&mut self, until_ms: u64, streak: u32) {
        self.parked = Some(Parked {
            until_ms,
            streak,
            probe: None,
        });
    }

    pub(super) fn recall_doubt(&mut self, trust: f64, since_ms: i64) {
        self.trust = trust.clamp(TRUST_MIN, 1.0);
        self.trusted_ms = since_ms;
    }

    /// Whether a throttle has come since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    pub(super) fn until_ms(&self, now_ms: u64) -> Option<u64> {
        let until_ms = self.parked?.until_ms;
        (until_ms > now_ms).then_some(until_ms)
    }

    pub(super) fn check(&self, now_ms: u64, pool: &Arc<str>) -> Result<(), Wait> {
        if self.held {
            let what = pool.clone();
            return Err(Wait {
                reason: Reason::Paused { what },
                at_ms: now_ms + HELD_LOOK_MS,
            });
        }
        let Some(parked) = self.parked else {
            return Ok(());
        };
        let pool = pool.clone();
        if now_ms < parked.until_ms {
            return Err(Wait {
                reason: Reason::Parked { pool },
                at_ms: parked.until_ms,
            });
        }
        if parked.probe.is_some() {
            return Err(Wait {
                reason: Reason::Probing { pool },
                at_ms: now_ms + PROBE_LOOK_MS,
            });
        }
        Ok(())
    }

    /// Only a probe is let through while the pool is parked.
    pub(super) fn left(&mut self, permit: u64) {
        if let Some(parked) = &mut self.parked {
            parked.probe = Some(permit);
        }
    }

    pub(super) fn came_back(&mut self, permit: u64, passed: bool) {
        if let Some(parked) = &mut self.parked
            && parked.probe == Some(permit)
        {
            parked.probe = None;
            if passed {
                self.parked = None;
            }
        }
    }

    /// Requests that left together and come back throttled together are one throttle.
    pub(super) fn throttled(&mut self, now_ms: u64, permit: u64, throttled: &Throttled) -> Blow {
        self.news = true;
        let before = self.parked.take();
        let probed = before.is_some_and(|parked| parked.probe == Some(permit));
        let streak = match before {
            None => 1,
            Some(parked) if probed => parked.streak.saturating_add(1),
            Some(parked) => parked.streak,
        };
        let park_ms = throttled.park_ms.unwrap_or_else(|| {
            let most = (PARK_FIRST_MS << (streak - 1).min(20)).min(PARK_MAX_MS);
            (most as f64 * throttled.random.clamp(0.0, 1.0)) as u64
        });
        let until_ms = now_ms + park_ms.max(PARK_MIN_MS);
        self.parked = Some(Parked {
            until_ms: before.map_or(until_ms, |parked| parked.until_ms.max(until_ms)),
            streak,
            probe: before.and_then(|parked| parked.probe.filter(|_| !probed)),
        });
        match before {
            None => Blow::First,
            Some(_) if probed => Blow::Again,
            Some(_) => Blow::Herd,
        }
    }
}
