//! What other applications use of a pool that we share with them.
//!
//! Readings tell the sum; what is not ours is theirs. When it came is known as well as readings are frequent,
//! so that what they used falls out of a rolling window when it does at the vendor's. How fast they use it is
//! learned with its uncertainty, as arrivals by chance whose rate may change at any moment: until the next
//! reading they may go on so, and room is kept for all but the rarest of chances.

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::trail::Trail;

/// Parts in which a first reading falls out of the window, as it can't be known when it was used. Many, so that each is
/// small: what falls out at once is sent at once, and if theirs are late, all of it is refused.
const PARTS: u64 = 4_096;
const ENTRIES_MAX: usize = 8_192;
/// The rate is remembered for about so long, and this part of a window.
const RATE_MS: f64 = 2_000.0;
const RATE_PART: f64 = 600.0;
/// Their highest rate is remembered for so many windows: who was quick once may be so again.
const PEAK_WINDOWS: f64 = 30.0;
const DAY_MS: f64 = 86_400_000.0;
/// What is known beforehand weighs like so many arrivals at their highest rate.
const PRIOR: f64 = 2.0;
/// In a short window growth is foreseen no further than this, and half a window: the next request will tell.
const UNHEARD_MAX_MS: u64 = 60_000;
/// Chances are summed up where about so many lumps are expected; more are spread as the bell curve has it.
const LUMPS_MAX: f64 = 256.0;
/// The part of a long window after which a request may find out how things stand, if only what is foreseen of others
/// holds it back. In a short window it is all of it.
const LOOK_PART: u64 = 48;
/// What was heard this part of the window ago is old, but not before so long.
const STALE_PART: u64 = 100;
const STALE_MS: u64 = 1_000;
/// The time doubles with each such request that is refused, so many times at most.
const LOOKS_MAX: u32 = 5;

#[derive(Clone, Debug)]
pub(super) struct Others {
    used: Ledger,
    /// What fell out of the window lately.
    dropped: Trail,
    /// `None` where use is forgotten at a midnight instead.
    window_ms: Option<u64>,
    /// When the request left that brought the newest reading; before an earlier host's end it is negative.
    heard_ms: Option<i64>,
    pace: Pace,
}

/// Units that others may have used since the last reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) likely: u64,
    /// Hardly more than this.
    pub(super) most: u64,
}

/// How fast others use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Units that came lately, and in how many milliseconds, both forgotten little by little.
    came: f64,
    watched_ms: f64,
    /// Units per millisecond, the most that they used for a while.
    peak: f64,
    /// Refusals since the last reading.
    refused: u32,
    /// The latest answer brought a reading, so that the next one may be waited for.
    tells: bool,
}

impl Others {
    pub(super) fn new(window_ms: Option<u64>) -> Self {
        Self {
            used: Ledger::by_grain(1),
            dropped: Trail::default(),
            window_ms,
            heard_ms: None,
            pace: Pace::default(),
        }
    }

    /// As an earlier host has left it; moments are those of the clock of now.
    pub(super) fn recall(
        &mut self,
        heard_ms: i64,
        used: impl Iterator<Item = (i64, u64)>,
        pace: Pace,
    ) {
        used.for_each(|(at_ms, units)| self.used.add(at_ms, units));
        self.heard_ms = Some(heard_ms);
        self.pace = pace;
    }

    /// Moments and units, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.used.entries()
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
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

    pub(super) fn heard_ms(&self) -> Option<i64> {
        self.heard_ms
    }

    /// Units that have fallen out since the last reading.
    pub(super) fn freed(&self) -> u64 {
        let heard_ms = self.heard_ms.unwrap_or_default().max(0) as u64;
        self.dropped.after(heard_ms)
    }

    /// Units per millisecond.
    pub(super) fn rate(&self) -> f64 {
        if self.pace.watched_ms > 0.0 {
            self.pace.came / self.pace.watched_ms
        } else {
            0.0
        }
    }

    /// A reading bounds their use from both sides, as it was when a request that left at `left_ms` reached the vendor;
    /// an estimate within the bounds stands. The first one says how much, not since when. One that is older than what
    /// is known already tells nothing.
    pub(super) fn hear(&mut self, left_ms: u64, least: u64, most: u64) {
        self.pace.refused = 0;
        self.take_in(left_ms, least, most);
    }

    fn take_in(&mut self, left_ms: u64, least: u64, most: u64) {
        let Some(heard_ms) = self.heard_ms else {
            let past_ms = self.window_ms.unwrap_or_default();
            self.heard_ms = Some(left_ms as i64);
            self.spread(left_ms as i64 - past_ms as i64, past_ms, most);
            self.pace.peak = least as f64 / self.memory_ms();
            return;
        };
        if (left_ms as i64) < heard_ms {
            return;
        }
        self.heard_ms = Some(left_ms as i64);
        let used = self.used() + self.dropped.after(left_ms);
        let (more, less) = (least.saturating_sub(used), used.saturating_sub(most));
        self.used.drop_oldest(less);
        let passed_ms = (left_ms as i64 - heard_ms) as u64;
        self.learn(passed_ms, more as f64 - less as f64);
        self.spread(heard_ms, passed_ms, more);
    }

    /// An answer has come, with a reading or without.
    pub(super) fn answered(&mut self, told: bool) {
        self.pace.tells = told;
    }

    /// Whether so little is known by now that one request should find out before more follow: nothing was heard for a
    /// part of the window, or others may have used so many units since.
    pub(super) fn is_stale(&self, now_ms: u64, likely: u64, many: u64) -> bool {
        let part_ms = (self.memory_ms() as u64 / STALE_PART).max(STALE_MS);
        let unheard_ms = self.unheard_ms(now_ms);
        let before = self.heard_ms.is_some_and(|heard_ms| heard_ms < 0);
        let long_ago = before || unheard_ms.is_some_and(|unheard_ms| unheard_ms >= part_ms);
        self.pace.tells && (long_ago || likely > many)
    }

    /// The vendor says that nothing is left, so they have used all that we have not.
    pub(super) fn exhausted(&mut self, left_ms: u64, least: u64) {
        let most = match self.heard_ms {
            Some(_) => least.max(self.used() + self.dropped.after(left_ms)),
            None => least,
        };
        self.take_in(left_ms, least, most);
        self.pace.refused += 1;
    }

    fn memory_ms(&self) -> f64 {
        self.window_ms.map_or(DAY_MS, |window_ms| window_ms as f64)
    }

    fn learn(&mut self, passed_ms: u64, more: f64) {
        let passed_ms = passed_ms as f64;
        let kept = (-passed_ms / (RATE_MS + self.memory_ms() / RATE_PART)).exp();
        let peak_kept = (-passed_ms / (PEAK_WINDOWS * self.memory_ms())).exp();
        let pace = &mut self.pace;
        pace.came = (pace.came * kept + more).max(0.0);
        pace.watched_ms = pace.watched_ms * kept + passed_ms;
        // A single one may be a request of ours that was taken for theirs.
        let rate = (pace.came - 1.0).max(0.0) / pace.watched_ms.max(RATE_MS);
        pace.peak = (pace.peak * peak_kept).max(rate);
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
    pub(super) fn growth(&self, now_ms: u64, short: bool, lump: u64, refusal: f64) -> Growth {
        let Some(unheard_ms) = self.unheard_ms(now_ms).filter(|_| self.pace.peak > 0.0) else {
            return Growth::default();
        };
        let unheard_ms = match self.window_ms {
            Some(window_ms) if short => unheard_ms.min(window_ms / 2).min(UNHEARD_MAX_MS),
            Some(window_ms) => unheard_ms.min(window_ms),
            None => unheard_ms,
        };
        let unheard_ms = unheard_ms as f64;
        let shape = self.pace.came / lump as f64 + PRIOR;
        let watched_ms = self.pace.watched_ms + PRIOR * lump as f64 / self.pace.peak;
        let mean = shape * unheard_ms / watched_ms;
        let likely = mean as u64 * lump;
        if mean > LUMPS_MAX {
            let spread = (mean * (1.0 + mean / shape)).sqrt();
            let most = mean + spread * (-2.0 * refusal.min(1.0).ln()).sqrt();
            return Growth {
                likely,
                most: most as u64 * lump,
            };
        }
        let part = unheard_ms / (watched_ms + unheard_ms);
        let mut chance = (1.0 - part).powf(shape);
        let (mut within, mut lumps) = (chance, 0);
        while 1.0 - within > refusal && (lumps as f64) < LUMPS_MAX * 4.0 {
            chance *= part * (shape + lumps as f64) / (lumps + 1) as f64;
            within += chance;
            lumps += 1;
        }
        Growth {
            likely,
            most: lumps * lump,
        }
    }

    fn unheard_ms(&self, now_ms: u64) -> Option<u64> {
        Some((now_ms as i64 - self.heard_ms?).max(0) as u64)
    }

    /// When a request may go although others are thought to have used what it needs: nothing else would ever tell that
    /// they have not.
    pub(super) fn look_ms(&self, short: bool) -> Option<u64> {
        let memory_ms = self.memory_ms() as u64;
        let every_ms = if short {
            memory_ms
        } else {
            memory_ms / LOOK_PART
        };
        let rest_ms = every_ms << self.pace.refused.min(LOOKS_MAX);
        Some((self.heard_ms? + rest_ms as i64).max(0) as u64)
    }

    /// Units that they would use of a window at the highest rate that is remembered.
    pub(super) fn at_most(&self) -> u64 {
        (self.pace.peak * self.memory_ms()) as u64
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
