//! What answers have told of a pool, kept over a restart. Moments are the wall clock's, as the next host's own clock
//! begins anew, and rounded to seconds: else the drift between the two would make each snapshot another one.

use serde::{Deserialize, Serialize};

use super::ladder::{Ladder, Level};
use super::measure::{MIDNIGHT_MS, Measure};
use super::others::Pace;
use super::pool::Pool;
use crate::time::Now;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60_000;
/// A park that would last longer after a restart is the doing of a clock that was set back.
const PARK_MAX_MS: i64 = 86_400_000;

/// Milliseconds since 1970, and units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// The vendor's limit, where an answer named one.
    pub limit: Option<u64>,
    /// What others have used, oldest first.
    pub others: Vec<(i64, u64)>,
    /// When the newest reading was taken.
    pub heard_ms: Option<i64>,
    pub pace: Pace,
    /// Until when nothing is drawn, and the throttles in a row that led to it.
    pub parked: Option<(i64, u32)>,
    /// The part of the limit that was believed in, and when.
    pub trust: Option<(f64, i64)>,
    pub level: Level,
}

fn up(at_ms: i64, grain_ms: i64) -> i64 {
    (at_ms + grain_ms - 1).div_euclid(grain_ms) * grain_ms
}

impl Pool {
    pub(super) fn learned(&self, now: Now) -> Learned {
        let shift_ms = now.wall_us / 1_000 - now.mono_ms as i64;
        let grain_ms = if self.measure.is_short() {
            SECOND_MS
        } else {
            MINUTE_MS
        };
        let mut others: Vec<(i64, u64)> = Vec::new();
        for (stamp, units) in self.others.entries() {
            let at_ms = up(stamp + shift_ms, grain_ms);
            match others.last_mut() {
                Some((last, counted)) if *last == at_ms => *counted += units,
                _ => others.push((at_ms, units)),
            }
        }
        let heard_ms = self.others.heard_ms();
        Learned {
            limit: self.reported_limit,
            others,
            heard_ms: heard_ms.map(|at_ms| up(at_ms + shift_ms, SECOND_MS) - SECOND_MS),
            pace: self.others.pace(),
            parked: self.park.parked().map(|(until_ms, streak)| {
                let until_ms = up(until_ms as i64 + shift_ms, SECOND_MS);
                (until_ms, streak)
            }),
            trust: self.park.doubted().map(|(trust, since_ms)| {
                let since_ms = up(since_ms as i64 + shift_ms, SECOND_MS);
                (trust, since_ms)
            }),
            level: self.ladder.map(|ladder| ladder.level()).unwrap_or_default(),
        }
    }

    /// Takes over what an earlier host has learned. What lies in the future, because the clock was set back, is of now.
    pub(super) fn recall(&mut self, now: Now, learned: &Learned) {
        let wall_ms = now.wall_us / 1_000;
        let mono_ms = |at_ms: i64| at_ms.min(wall_ms) - wall_ms + now.mono_ms as i64;
        if let Some(heard_ms) = learned.heard_ms {
            self.unheard = false;
            let from_ms = match &self.measure {
                Measure::CalendarDay { days, .. } => days.day(wall_ms - MIDNIGHT_MS).start_ms,
                _ => i64::MIN,
            };
            let used = learned.others.iter().filter(|(at_ms, _)| *at_ms > from_ms);
            let used = used.map(|(at_ms, units)| (mono_ms(*at_ms), *units));
            self.others.recall(mono_ms(heard_ms), used, learned.pace);
        }
        if let Some((until_ms, streak)) = learned.parked {
            let rest_ms = (until_ms - wall_ms).min(PARK_MAX_MS);
            let until_ms = (now.mono_ms as i64 + rest_ms).max(0);
            self.park.recall_park(until_ms as u64, streak);
        }
        if let Some((trust, since_ms)) = learned.trust {
            self.park.recall_doubt(trust, mono_ms(since_ms));
        }
        if let Some(ladder) = &mut self.ladder {
            *ladder = Ladder::at(learned.level.max(ladder.level()));
        }
        self.fit(learned.limit);
    }
}
