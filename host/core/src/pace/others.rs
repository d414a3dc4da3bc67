//! What other applications use of a pool that we share with them.
//!
//! Readings tell the sum; what is not ours is theirs. When it came is known as well as readings are frequent,
//! so that what they used falls out of a rolling window when it does at the vendor's, and how fast they use
//! it is measured: until the next reading they may go on so.

use super::ledger::Ledger;

/// Parts in which a first reading falls out of the window, as it can't be known when it was used.
const PARTS: u64 = 64;
const ENTRIES_MAX: usize = 8_192;
/// The part of a window that is taken for a moment.
const SOON_PART: u64 = 16;
/// Standard deviations that are kept free for chance.
const DEVIATIONS: f64 = 5.0;
/// The rate is remembered for about so long.
const RATE_MS: u64 = 1_000;
/// Growth is foreseen no further than this: the next request will tell, and must not be kept from it.
const UNHEARD_MAX_MS: u64 = 60_000;

#[derive(Clone, Debug)]
pub(super) struct Others {
    used: Ledger,
    /// `None` where use is forgotten at a midnight instead.
    window_ms: Option<u64>,
    /// The moment of the newest reading, when its request reached the vendor.
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
    /// how much, not since when. It is of some moment between the leaving of its request and `told_ms`: one that is
    /// older than what is known already tells nothing, and none takes back what came after its request had left.
    pub(super) fn hear(&mut self, left_ms: u64, told_ms: u64, least: u64, most: u64) {
        let Some(heard_ms) = self.heard_ms else {
            let past_ms = self.window_ms.unwrap_or_default();
            self.heard_ms = Some(told_ms);
            self.spread(told_ms as i64 - past_ms as i64, past_ms, most);
            return;
        };
        if told_ms < heard_ms {
            return;
        }
        self.heard_ms = Some(told_ms);
        let used = self.used();
        let newer = self.used.after(left_ms as i64);
        let (more, less) = (
            least.saturating_sub(used),
            used.saturating_sub(most + newer),
        );
        self.used.drop_oldest(less);
        let passed_ms = told_ms - heard_ms;
        self.learn(passed_ms, more as f64 - less as f64);
        if self.is_soon(passed_ms) {
            // Not before it came does it fall out: taken for gone too early, it would be room that is none.
            self.used.add(told_ms as i64, more);
            self.used.shorten(ENTRIES_MAX);
        } else {
            self.spread(heard_ms as i64, passed_ms, more);
        }
    }

    /// Whether readings follow each other closely beside the window.
    fn is_soon(&self, passed_ms: u64) -> bool {
        let window_ms = self.window_ms.unwrap_or(u64::MAX);
        passed_ms <= window_ms / SOON_PART
    }

    /// The vendor says that nothing is left, so they have used all that we have not.
    pub(super) fn exhausted(&mut self, now_ms: u64, least: u64) {
        let most = match self.heard_ms {
            Some(_) => least.max(self.used()),
            None => least,
        };
        self.hear(now_ms, now_ms, least, most);
    }

    fn learn(&mut self, passed_ms: u64, more: f64) {
        // Others who start to take what is left have to be noticed within a few answers.
        let memory_ms = RATE_MS as f64;
        let passed_ms = passed_ms.max(1) as f64;
        let part = passed_ms / (passed_ms + memory_ms);
        self.rate = (self.rate + part * (more / passed_ms - self.rate)).max(0.0);
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

    /// What they may use from the last reading until a request that leaves now arrives, with some
    /// deviations to spare.
    pub(super) fn growth(&self, now_ms: u64, way_ms: u64) -> u64 {
        let Some(heard_ms) = self.heard_ms else {
            return 0;
        };
        let horizon_ms = self
            .window_ms
            .map_or(UNHEARD_MAX_MS, |window_ms| window_ms / 2);
        let unheard_ms = now_ms.saturating_sub(heard_ms);
        let unheard_ms = unheard_ms.min(horizon_ms).min(UNHEARD_MAX_MS);
        let used_rate = match self.window_ms {
            Some(window_ms) => self.used() as f64 / window_ms as f64,
            None => 0.0,
        };
        let rate = self.rate.max(used_rate);
        let expected = rate * unheard_ms as f64;
        // Chance matters for as long as an answer takes: then the next reading comes.
        let hasty = rate * unheard_ms.min(2 * way_ms) as f64;
        if expected < 0.02 {
            return 0;
        }
        (expected + DEVIATIONS * hasty.sqrt()).round() as u64
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
