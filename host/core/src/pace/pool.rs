//! One budget of the vendor's: whether units can be had, and if not, when.
//!
//! A request counts from its permit until it is answered, and from then on for one window from the latest
//! moment at which it can have reached the vendor's edge, so that no window on the vendor's side holds more
//! than ours did.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::book::Book;
use super::cost::Tariff;
use super::flight::{Flight, Flights};
use super::ladder::Ladder;
use super::line::Rank;
use super::measure::{MIDNIGHT_MS, Measure};
use super::others::Others;
use super::park::Park;
use super::reserve::{self, Demand};
use super::spread::Spread;
use super::timing::Expected;
use super::trail::Trail;
use super::{Lane, PoolError, PoolOverride, Reason, Settings, Wait};
use crate::manifest::Pool as Written;
use crate::time::Now;

/// Demand for what is in use at once is remembered over this time.
const AT_ONCE_MS: u64 = 5_000;
/// Until a snapshot is durable, at most.
const BOOKING_MS: u64 = 1_000;

/// What is asked of a pool by one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// As which it is treated here.
    pub(super) lane: Lane,
    pub(super) units: u64,
    pub(super) expected: Expected,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: Arc<str>,
    pub(super) tariff: Tariff,
    pub(super) measure: Measure,
    pub(super) flights: Flights,
    /// Units that an earlier host, which was killed, may still have in work, and until when.
    pub(super) ghosts: (u64, u64),
    /// The longest that a request lasted lately.
    pub(super) longest_ms: u64,
    pub(super) others: Others,
    pub(super) park: Park,
    pub(super) spread: Option<Spread>,
    pub(super) demand: Demand,
    /// Units that left, and that fell out of the window, lately.
    pub(super) sent: Trail,
    pub(super) dropped: Trail,
    /// All units that ever left.
    pub(super) left: u64,
    /// Milliseconds that answered requests ever lasted.
    pub(super) lasted_ms: u64,
    written_limit: u64,
    set: PoolOverride,
    reported_limit: Option<u64>,
    /// From a permit to its answer, lately.
    pub(super) way_ms: u64,
    /// Of long windows only.
    pub(super) ladder: Option<Ladder>,
    /// When the host keeps books.
    pub(super) book: Option<Book>,
    /// Units of those who wait.
    pub(super) queued: u64,
    /// Who waits for this pool, first come first.
    pub(super) line: BTreeSet<Rank>,
    /// Permits that went past somebody who waits here in a lower lane.
    pub(super) passed: u32,
    /// When the line is looked at again without any other cause.
    pub(super) wake_ms: u64,
}

impl Pool {
    pub(super) fn new(written: &Written, set: Option<&PoolOverride>) -> Result<Self, PoolError> {
        let pool = || written.name.clone();
        let set = match set {
            Some(set)
                if !written.overridable && set.limit.is_some_and(|limit| limit > written.limit) =>
            {
                return Err(PoolError::Fixed(pool()));
            }
            Some(set) => *set,
            None => PoolOverride::default(),
        };
        if !(set.share > 0.0 && set.share <= 1.0) {
            return Err(PoolError::Share(pool()));
        }
        let measure = Measure::new(written)?;
        let after_ms = match measure {
            Measure::Concurrency { after_ms } => after_ms,
            _ => 0,
        };
        let window_ms = measure.window_ms();
        let short_ms = match measure {
            Measure::Concurrency { .. } => Some(AT_ONCE_MS),
            _ => window_ms.filter(|_| measure.is_short()),
        };
        let mut made = Self {
            name: written.name.as_str().into(),
            tariff: Tariff::of(written),
            flights: Flights::new(after_ms),
            ghosts: (0, 0),
            longest_ms: 0,
            others: Others::new(window_ms),
            park: Park::new(window_ms.unwrap_or(AT_ONCE_MS)),
            spread: None,
            demand: Demand::new(short_ms),
            sent: Trail::default(),
            dropped: Trail::default(),
            left: 0,
            lasted_ms: 0,
            written_limit: written.limit,
            set,
            reported_limit: None,
            way_ms: 0,
            ladder: (!measure.is_short()).then(Ladder::default),
            book: None,
            queued: 0,
            line: BTreeSet::new(),
            passed: 0,
            wake_ms: u64::MAX,
            measure,
        };
        let limit = made.limit();
        if limit == 0 {
            return Err(PoolError::Empty(pool()));
        }
        if written.dearest() > limit {
            return Err(PoolError::Dear {
                pool: pool(),
                units: written.dearest(),
                limit,
            });
        }
        if let Measure::Rolling { window_ms, .. } = made.measure
            && made.measure.is_short()
        {
            made.spread = Some(Spread::new(window_ms, limit));
        }
        Ok(made)
    }

    /// Another endpoint shares the pool: the stricter of what each says holds.
    pub(super) fn share(&mut self, set: &PoolOverride) {
        self.set.limit = match (self.set.limit, set.limit) {
            (Some(known), Some(other)) => Some(known.min(other)),
            (known, other) => known.or(other),
        };
        self.set.share = self.set.share.min(set.share);
    }

    /// The vendor's limit for everybody: never above one that was set by hand.
    pub(super) fn whole(&self) -> u64 {
        match (self.set.limit, self.reported_limit) {
            (Some(set), Some(reported)) => set.min(reported),
            (Some(limit), None) | (None, Some(limit)) => limit,
            (None, None) => self.written_limit,
        }
    }

    /// The limit that the vendor counts down from. Where it does not say, the operator knows the edition better than the
    /// manifest does.
    pub(super) fn vendors_limit(&self) -> u64 {
        let known = self.reported_limit.or(self.set.limit);
        known.unwrap_or(self.written_limit)
    }

    /// Units that are ours at most.
    pub(super) fn limit(&self) -> u64 {
        (self.whole() as f64 * self.set.share) as u64
    }

    pub(super) fn reported_limit(&mut self, limit: u64) {
        self.reported_limit = Some(limit);
        let limit = self.limit();
        if let Some(spread) = &mut self.spread {
            spread.fit(limit.max(1));
        }
    }

    /// The most that one request of the lane could ever draw.
    pub(super) fn most(&self, lane: Lane, settings: &Settings) -> u64 {
        let limit = self.limit();
        match self.measure {
            // Its units are time, which no request names.
            Measure::Execution { .. } => u64::MAX,
            _ => limit - reserve::most(lane, limit, settings),
        }
    }

    /// Forgets what has left the window.
    pub(super) fn refresh(&mut self, now: Now) {
        if self.measure.refresh(now, &mut self.dropped) {
            self.others.midnight();
        }
        self.others.refresh(now.mono_ms);
        self.flights.refresh(now.mono_ms);
        let (used, whole) = (self.used_by_all(), self.whole());
        if let Some(ladder) = &mut self.ladder {
            ladder.step(used, whole);
        }
    }

    fn used_by_all(&self) -> u64 {
        let ours = self.measure.counted() + self.flights.units();
        // A share of ours that is used up is as good as all of it.
        let share = (ours as f64 / self.set.share) as u64;
        share.max(ours + self.others.used())
    }

    /// The limit over what is used or waited for: the more, the sooner one more can go.
    pub(super) fn headroom(&self) -> u64 {
        let taken = match self.measure {
            Measure::Execution { .. } => self.measure.counted(),
            _ => self.used_by_all() + self.queued,
        };
        (u128::from(self.limit()) * 1_000_000 / u128::from(taken + 1)) as u64
    }

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
        let reserve = self.demand.reserve(now.mono_ms, lane, limit, settings);
        let (used, units) = self.load(now, candidate);
        let ours = used + units;
        let everybody = ours + self.others.used() + self.others.growth(now.mono_ms, self.way_ms);
        let excess = |reserve: u64| {
            let over_ours = (ours + reserve).saturating_sub(limit);
            let over_all = (everybody + reserve).saturating_sub(whole);
            over_ours.max(over_all)
        };
        let pool = || self.name.clone();
        if excess(reserve) > 0 {
            let reason = if excess(0) > 0 {
                Reason::PoolSpent { pool: pool() }
            } else {
                Reason::Reserve { pool: pool() }
            };
            let at_ms = self.free_at(now, excess(reserve)).max(now.mono_ms + 1);
            return Err(Wait { reason, at_ms });
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

    /// What is not on the books may not leave. That is over in milliseconds, so it is no reason not to get in line.
    pub(super) fn check_book(&self, now: Now, units: u64) -> Result<(), Wait> {
        match &self.book {
            Some(book) if !book.holds(self.left, units) => Err(Wait {
                reason: Reason::Unbooked {
                    pool: self.name.clone(),
                },
                at_ms: now.mono_ms + BOOKING_MS,
            }),
            _ => Ok(()),
        }
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
                let used = self.measure.counted() + self.flights.lasting_ms(now.mono_ms);
                (used, candidate.expected.likely_ms.min(self.limit()))
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
            Measure::Concurrency { .. } if self.ghosts(now.mono_ms) > 0 => self.ghosts.1,
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

    pub(super) fn reserve_for(&mut self, now: Now, permit: u64, candidate: &Candidate) {
        let long = match self.measure {
            Measure::Concurrency { after_ms } => candidate.expected.bound_ms >= after_ms,
            _ => true,
        };
        self.left += candidate.units;
        self.sent.note(now.mono_ms, candidate.units);
        self.flights.insert(
            permit,
            Flight {
                units: candidate.units,
                since_ms: now.mono_ms,
                lasted_before_ms: self.lasted_ms,
                likely_ms: candidate.expected.likely_ms,
                long,
            },
        );
        if let Some(spread) = &self.spread {
            spread.take(now.mono_ms, candidate.units);
        }
        self.park.left(permit);
    }
}
