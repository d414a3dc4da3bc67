//! What other applications use of a pool that we share with them.
//!
//! Readings tell the sum; what is not ours is theirs. When it came is known as well as readings are frequent,
//! so that what they used falls out of a rolling window when it does at the vendor's. How fast they use it is
//! learned with its uncertainty, as arrivals by chance whose rate may change at any moment: until the next
//! reading they may go on so, and room is kept for all but the rarest of chances.

use super::ledger::Ledger;
use super::trail::Trail;

/// Parts in which a first reading falls out of the window, as it can't be known when it was used.
const PARTS: u64 = 64;
const ENTRIES_MAX: usize = 8_192;
/// The rate is remembered for about so long, and this part of a window.
const RATE_MS: f64 = 2_000.0;
const RATE_PART: f64 = 600.0;
/// Their highest rate is remembered for so many windows: who was quick once may be so again.
const PEAK_WINDOWS: f64 = 30.0;
const DAY_MS: f64 = 86_400_000.0;
/// What is known beforehand weighs like so many arrivals at their highest rate.
const PRIOR: f64 = 2.0;
/// Growth is foreseen no further than this: the next request will tell, and must not be kept from it.
const UNHEARD_MAX_MS: u64 = 60_000;
/// Chances are summed up so far; beyond, so many lumps are enough.
const LUMPS_MAX: u64 = 512;

#[derive(Clone, Debug)]
pub(super) struct Others {
    used: Ledger,
    /// What fell out of the window lately.
    dropped: Trail,
    /// `None` where use is forgotten at a midnight instead.
    window_ms: Option<u64>,
    /// When the request left that brought the newest reading.
    heard_ms: Option<u64>,
    /// Units that came lately, and in how many milliseconds, both forgotten little by little.
    came: f64,
    watched_ms: f64,
    /// Units per millisecond, the most that they used for a while.
    peak: f64,
}

impl Others {
    pub(super) fn new(window_ms: Option<u64>) -> Self {
        Self {
            used: Ledger::by_grain(1),
            dropped: Trail::default(),
            window_ms,
            heard_ms: None,
            came: 0.0,
            watched_ms: 0.0,
            peak: 0.0,
        }
    }

    pub(super) fn refresh(&mut self, now_ms: u64) {
        if let Some(window_ms) = self.window_ms {
            let until_ms = now_ms as i64 - window_ms as i64;
            let dropped = &mut self.dropped;
            self.used.forget_each(until_ms, |stamp, units| {
                dropped.note((stamp + window_ms as i64).max(0) as u64, units);
            });
        }
    }

    pub(super) fn midnight(&mut self) {
        self.used.clear();
    }

    pub(super) fn used(&self) -> u64 {
        self.used.total()
    }

    pub(super) fn heard_ms(&self) -> Option<u64> {
        self.heard_ms
    }

    /// Units per millisecond.
    pub(super) fn rate(&self) -> f64 {
        if self.watched_ms > 0.0 {
            self.came / self.watched_ms
        } else {
            0.0
        }
    }

    /// A reading bounds their use from both sides, as it was when a request that left at `left_ms` reached the vendor;
    /// an estimate within the bounds stands. The first one says how much, not since when. One that is older than what
    /// is known already tells nothing.
    pub(super) fn hear(&mut self, left_ms: u64, least: u64, most: u64) {
        let Some(heard_ms) = self.heard_ms else {
            let past_ms = self.window_ms.unwrap_or_default();
            self.heard_ms = Some(left_ms);
            self.spread(left_ms as i64 - past_ms as i64, past_ms, most);
            self.peak = least as f64 / self.memory_ms();
            return;
        };
        if left_ms < heard_ms {
            return;
        }
        self.heard_ms = Some(left_ms);
        let used = self.used() + self.dropped.after(left_ms);
        let (more, less) = (least.saturating_sub(used), used.saturating_sub(most));
        self.used.drop_oldest(less);
        let passed_ms = left_ms - heard_ms;
        self.learn(passed_ms, more as f64 - less as f64);
        self.spread(heard_ms as i64, passed_ms, more);
    }

    /// The vendor says that nothing is left, so they have used all that we have not.
    pub(super) fn exhausted(&mut self, left_ms: u64, least: u64) {
        let most = match self.heard_ms {
            Some(_) => least.max(self.used() + self.dropped.after(left_ms)),
            None => least,
        };
        self.hear(left_ms, least, most);
    }

    fn memory_ms(&self) -> f64 {
        self.window_ms.map_or(DAY_MS, |window_ms| window_ms as f64)
    }

    fn learn(&mut self, passed_ms: u64, more: f64) {
        let passed_ms = passed_ms as f64;
        let kept = (-passed_ms / (RATE_MS + self.memory_ms() / RATE_PART)).exp();
        self.came = (self.came * kept + more).max(0.0);
        self.watched_ms = self.watched_ms * kept + passed_ms;
        let kept = (-passed_ms / (PEAK_WINDOWS * self.memory_ms())).exp();
        // A single one may be a request of ours that was taken for theirs.
        let rate = (self.came - 1.0).max(0.0) / self.watched_ms.max(RATE_MS);
        self.peak = (self.peak * kept).max(rate);
    }

    /// Evenly, each part at its end: taken for gone too early, it would be room that is none.
    fn spread(&mut self, from_ms: i64, length_ms: u64, units: u64) {
        let parts = units.min(PARTS).min(length_ms).max(1);
        let mut given = 0;
        for part in 1..=parts {
            let upto = units * part / parts;
            self.used
                .add(from_ms + (length_ms * part / parts) as i64, upto - given);
            given = upto;
        }
        self.used.shorten(ENTRIES_MAX);
    }

    /// What room is kept for: units that they may use from the last reading until a request that leaves now arrives,
    /// coming in lumps of so many, when the chance that they use more may be `refusal`.
    ///
    /// Arrivals by chance, at a rate that is itself known by chance (a gamma of what came in the time watched), are
    /// negative binomial.
    pub(super) fn growth(&self, now_ms: u64, lump: u64, refusal: f64) -> u64 {
        let Some(heard_ms) = self.heard_ms.filter(|_| self.peak > 0.0) else {
            return 0;
        };
        let horizon_ms = self
            .window_ms
            .map_or(UNHEARD_MAX_MS, |window_ms| window_ms / 2);
        let unheard_ms = now_ms.saturating_sub(heard_ms);
        let unheard_ms = unheard_ms.min(horizon_ms).min(UNHEARD_MAX_MS) as f64;
        let shape = self.came / lump as f64 + PRIOR;
        let watched_ms = self.watched_ms + PRIOR * lump as f64 / self.peak;
        let part = unheard_ms / (watched_ms + unheard_ms);
        let mut chance = (1.0 - part).powf(shape);
        let (mut within, mut lumps) = (chance, 0);
        while 1.0 - within > refusal && lumps < LUMPS_MAX {
            chance *= part * (shape + lumps as f64) / (lumps + 1) as f64;
            within += chance;
            lumps += 1;
        }
        lumps * lump
    }

    /// Units that they would use of a window at the highest rate that is remembered.
    pub(super) fn at_most(&self) -> u64 {
        (self.peak * self.memory_ms()) as u64
    }

    /// Units with the moments at which they fall out of the window.
    pub(super) fn leaving(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let window_ms = self.window_ms;
        self.used.entries().filter_map(move |(stamp, units)| {
            let leaves_ms = stamp + window_ms? as i64;
            Some((leaves_ms.max(0) as u64, units))
        })
    }
}
