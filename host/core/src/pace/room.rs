//! Whether units can be had of a pool, and if not, when.

use super::measure::{MIDNIGHT_MS, Measure};
use super::others::Growth;
use super::pool::{Candidate, Pool};
use super::{Reason, Settings, Wait};
use crate::time::Now;

/// Until a snapshot is durable, at most.
const BOOKING_MS: u64 = 1_000;
/// Refusals per window that others may bring by chance: while answers are awaited, which will tell of them; and while
/// none is.
const REFUSALS: f64 = 0.02;
const REFUSALS_BLIND: f64 = 1.0;
/// An answer that should tell first is awaited for so long at most.
const AWAITED_MS: u64 = 2_000;
/// The part of a long window that is left free beside others: what they use of it is found out by requests of ours, which
/// must not be the ones for which nothing is left. What is kept free is used later, if not by them.
const YIELD_PART: u64 = 200;
/// Where others may have used this part of a long window since the last reading, one request finds out before more
/// follow.
const STALE_PART: u64 = 800;

impl Pool {
    /// Whether the units could be reserved now. Call `refresh` first.
    pub(super) fn check(
        &self,
        now: Now,
        candidate: &Candidate,
        settings: &Settings,
    ) -> Result<(), Wait> {
        self.park.check(now.mono_ms, &self.name)?;
        let lane = candidate.lane;
        let trust = self.park.trust(now.mono_ms);
        let trusted = |units: u64| {
            if trust < 1.0 {
                ((units as f64 * trust) as u64).max(candidate.units.min(units))
            } else {
                units
            }
        };
        let (limit, whole) = (trusted(self.limit()), trusted(self.whole()));
        let lanes = self.lanes(settings);
        let reserve = self.demand.reserve(now.mono_ms, lane, limit, &lanes);
        let (used, units) = self.load(now, candidate);
        let ours = used + units;
        let known = ours + self.others.used();
        let growth = self.growth(now, whole);
        let everybody = known + self.kept_for_others(growth, whole);
        let excess = |reserve: u64| {
            let over_ours = (ours + reserve).saturating_sub(limit);
            let over_all = (everybody + reserve).saturating_sub(whole);
            over_ours.max(over_all)
        };
        let pool = || self.name.clone();
        let look_ms = self.look_ms(known + reserve <= whole && ours + reserve <= limit);
        if excess(reserve) > 0 && look_ms.is_none_or(|look_ms| look_ms > now.mono_ms) {
            let reason = if excess(0) > 0 {
                Reason::PoolSpent { pool: pool() }
            } else {
                Reason::Reserve { pool: pool() }
            };
            let at_ms = self.free_at(now, excess(reserve));
            let at_ms = look_ms.map_or(at_ms, |look_ms| at_ms.min(look_ms));
            let at_ms = at_ms.max(now.mono_ms + 1);
            return Err(Wait { reason, at_ms });
        }
        if self.is_stale(now, growth, whole) {
            return Err(Wait {
                reason: Reason::Probing { pool: pool() },
                at_ms: now.mono_ms + self.way_ms.clamp(1, AWAITED_MS),
            });
        }
        let level = self.ladder.map(|ladder| ladder.level());
        if level.is_some_and(|level| lane > level.asks().lowest) {
            let at_ms = self.free_at(now, units).max(now.mono_ms + 1);
            let reason = Reason::Degraded { pool: pool() };
            return Err(Wait { reason, at_ms });
        }
        let spread = self.spread.as_ref();
        match spread.and_then(|spread| spread.wait(now.mono_ms, lane, units)) {
            Some(at_ms) => Err(Wait {
                reason: Reason::Smoothed { pool: pool() },
                at_ms: at_ms.max(now.mono_ms + 1),
            }),
            None => Ok(()),
        }
    }

    /// When one request may find out how much others have used, if only what is foreseen of them is in its way.
    fn look_ms(&self, fits: bool) -> Option<u64> {
        let look_ms = self.others.look_ms(self.measure.is_short());
        look_ms.filter(|_| fits && self.flights.units() == 0)
    }

    /// Whether an answer that is on its way should tell first what others have used.
    fn is_stale(&self, now: Now, growth: Growth, whole: u64) -> bool {
        // Who takes long to tell is not waited for.
        let newest_ms = self.flights.newest_ms();
        if newest_ms.is_none_or(|newest_ms| newest_ms + AWAITED_MS <= now.mono_ms) {
            return false;
        }
        if self.unheard || !self.is_shared() {
            return self.unheard;
        }
        let many = match self.measure.is_short() {
            true => u64::MAX,
            false => whole / STALE_PART,
        };
        // What has fallen out since may have been taken at once by others who wait for it as we do.
        let heard_ms = self.others.heard_ms().unwrap_or_default().max(0) as u64;
        let freed = self.dropped.after(heard_ms) + self.others.freed();
        self.others
            .is_stale(now.mono_ms, growth.likely + freed, many)
    }

    /// Units that others are left, so that they may have used so many meanwhile.
    fn kept_for_others(&self, growth: Growth, whole: u64) -> u64 {
        if !self.is_shared() {
            0
        } else if self.measure.is_short() {
            growth.most
        } else {
            growth.most.max(growth.likely + whole / YIELD_PART)
        }
    }

    /// What others may have used meanwhile. What is kept free for them costs use, and the less they leave us, the more
    /// of it: so a refusal may be likelier then.
    fn growth(&self, now: Now, whole: u64) -> Growth {
        if !self.is_shared() {
            return Growth::default();
        }
        let lump = match self.measure {
            Measure::Execution { .. } => self.way_ms.max(1),
            _ => 1,
        };
        let ours = whole.saturating_sub(self.others.used()) / lump;
        let refusals = match self.flights.units() {
            // No answer is to come, so that waiting would only make less certain what is free.
            0 => REFUSALS_BLIND,
            _ => REFUSALS,
        };
        let refusal = refusals / ours.max(1) as f64;
        let short = self.measure.is_short();
        self.others.growth(now.mono_ms, short, lump, refusal)
    }

    /// What is not on the books may not leave. That is over in milliseconds, so it is no reason not to get in line.
    pub(super) fn check_book(&self, now: Now, candidate: &Candidate) -> Result<(), Wait> {
        let units = candidate.units;
        let spent = self.book.is_none_or(|book| book.holds(self.left, units));
        let in_use = self.at_once.is_none_or(|at_once| {
            !self.lasts(candidate) || at_once.holds(self.flights.long_units(), units)
        });
        if spent && in_use {
            return Ok(());
        }
        Err(Wait {
            reason: Reason::Unbooked {
                pool: self.name.clone(),
            },
            at_ms: now.mono_ms + BOOKING_MS,
        })
    }

    /// What is used and what the request would add, in the pool's own measure.
    fn load(&self, now: Now, candidate: &Candidate) -> (u64, u64) {
        match &self.measure {
            Measure::Rolling { .. } | Measure::CalendarDay { .. } => (
                self.measure.counted() + self.flights.units(),
                candidate.units,
            ),
            Measure::Concurrency { after_ms: 0 } => (
                self.flights.units() + self.ghosts(now.mono_ms),
                candidate.units,
            ),
            // The vendor refuses the newcomer, long or short, when too many have lasted long already.
            Measure::Concurrency { .. } => (
                self.flights.long_units() + self.ghosts(now.mono_ms),
                candidate.units,
            ),
            Measure::Execution { .. } => {
                let lasting_ms = self.flights.lasting_ms(now.mono_ms, None);
                let more = Some(candidate.expected);
                let one_more_ms = self.flights.lasting_ms(now.mono_ms, more);
                let used = self.measure.counted() + lasting_ms;
                (used, (one_more_ms - lasting_ms).min(self.limit()))
            }
        }
    }

    fn ghosts(&self, now_ms: u64) -> u64 {
        let (units, until_ms) = self.ghosts;
        if now_ms < until_ms { units } else { 0 }
    }

    /// When this many units will be free again, if nothing more is drawn.
    fn free_at(&self, now: Now, excess: u64) -> u64 {
        match &self.measure {
            Measure::Concurrency { .. }
                if self.ghosts(now.mono_ms) > 0 && self.flights.units() == 0 =>
            {
                self.ghosts.1
            }
            Measure::Concurrency { .. } => now.mono_ms + self.way_ms.max(1),
            Measure::CalendarDay { days, .. } => {
                let wall_ms = now.wall_us / 1_000;
                let next = days.day(wall_ms - MIDNIGHT_MS).end_ms;
                let rest = next - wall_ms + 2 * MIDNIGHT_MS + 1;
                now.mono_ms + rest.max(1) as u64
            }
            Measure::Rolling { window_ms, .. } | Measure::Execution { window_ms, .. } => {
                let mut ours = self.measure.leaving().peekable();
                let mut theirs = self.others.leaving().peekable();
                let mut freed = 0;
                loop {
                    let next = match (ours.peek(), theirs.peek()) {
                        (Some((one, _)), Some((other, _))) if other < one => theirs.next(),
                        (None, _) => theirs.next(),
                        _ => ours.next(),
                    };
                    // What is in flight counts for a window from its answer, which is yet to come.
                    let Some((leaves_ms, units)) = next else {
                        return now.mono_ms + window_ms;
                    };
                    freed += units;
                    if freed >= excess {
                        return leaves_ms;
                    }
                }
            }
        }
    }
}
