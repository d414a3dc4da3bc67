//! What other applications use of a pool that we share with them.
//!
//! Readings tell the sum; what is not ours is theirs. When it came is known as well as readings are frequent,
//! so that what they used falls out of a rolling window when it does at the vendor's, and how fast they use
//! it is measured: until the next reading they may go on so.

use super::ledger::Ledger;

/// Parts in which a first reading falls out of the window, as it can't be known when it was used.
const PARTS: u64 = 64;
const ENTRIES_MAX: usize = 512;
const RATE_MIN_MS: u64 = 1_000;
const RATE_MAX_MS: u64 = 600_000;
/// Growth is foreseen no further than this: the next request will tell, and must not be kept from it.
const UNHEARD_MAX_MS: u64 = 60_000;

#[derive(Clone, Debug)]
pub(super) struct Others {
    used: Ledger,
    /// `None` where use is forgotten at a midnight instead.
    window_ms: Option<u64>,
    heard_ms: Option<u64>,
    /// Units per millisecond that they use, lately.
    rate: f64,
}

impl Others {
    pub(super) fn new(window_ms: Option<u64>) -> Self {
        Self {
            used: Ledger::by_grain(1),
            window_ms,
            heard_ms: None,
            rate: 0.0,
        }
    }

    pub(super) fn refresh(&mut self, now_ms: u64) {
        if let Some(window_ms) = self.window_ms {
            self.used.forget(now_ms as i64 - window_ms as i64);
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
        self.rate
    }

    /// A reading bounds their use from both sides; an estimate within the bounds stands. The first one says
    /// how much, not since when.
    pub(super) fn hear(&mut self, now_ms: u64, least: u64, most: u64) {
        let Some(heard_ms) = self.heard_ms.replace(now_ms) else {
            let past_ms = self.window_ms.unwrap_or_default();
            self.spread(now_ms as i64 - past_ms as i64, past_ms, most);
            return;
        };
        let used = self.used();
        let more = least.saturating_sub(used);
        self.used.drop_oldest(used.saturating_sub(most));
        let passed_ms = now_ms.saturating_sub(heard_ms);
        self.learn(passed_ms, more);
        self.spread(heard_ms as i64, passed_ms, more);
    }

    /// The vendor says that nothing is left, so they have used all that we have not.
    pub(super) fn exhausted(&mut self, now_ms: u64, least: u64) {
        let most = u64::MAX;
        match self.heard_ms {
            Some(_) => self.hear(now_ms, least, most),
            None => self.hear(now_ms, least, least),
        }
    }

    fn learn(&mut self, passed_ms: u64, more: u64) {
        let window_ms = self.window_ms.unwrap_or(u64::MAX);
        let memory_ms = (window_ms / 4).clamp(RATE_MIN_MS, RATE_MAX_MS) as f64;
        let passed_ms = passed_ms.max(1) as f64;
        let part = passed_ms / (passed_ms + memory_ms);
        self.rate += part * (more as f64 / passed_ms - self.rate);
    }

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

    /// What they may use from the last reading until a request that leaves now arrives, with three standard
    /// deviations to spare.
    pub(super) fn growth(&self, now_ms: u64, way_ms: u64) -> u64 {
        let Some(heard_ms) = self.heard_ms else {
            return 0;
        };
        let horizon_ms = self
            .window_ms
            .map_or(UNHEARD_MAX_MS, |window_ms| window_ms / 2);
        let unheard_ms = now_ms.saturating_sub(heard_ms) + way_ms;
        let unheard_ms = unheard_ms.min(horizon_ms).min(UNHEARD_MAX_MS);
        let expected = self.rate * unheard_ms as f64;
        if expected < 0.02 {
            return 0;
        }
        (expected + 3.0 * expected.sqrt()).ceil() as u64
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
