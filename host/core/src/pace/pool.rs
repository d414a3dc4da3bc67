//! One budget of the vendor's: what it is, and what has been drawn from it.
//!
//! A request counts from its permit until it is answered, and from then on for one window from the latest
//! moment at which it can have reached the vendor's edge, so that no window on the vendor's side holds more
//! than ours did.

use std::sync::Arc;

use super::book::{AtOnce, Book};
use super::cost::Tariff;
use super::flight::{Flight, Flights};
use super::ladder::Ladder;
use super::ledger::Ledger;
use super::line::Line;
use super::measure::Measure;
use super::others::Others;
use super::park::Park;
use super::reserve::{self, Demand};
use super::spread::Spread;
use super::timing::Expected;
use super::trail::Trail;
use super::{Lane, PoolError, PoolOverride, Settings};
use crate::manifest::Pool as Written;
use crate::time::Now;

/// Demand for what is in use at once is remembered over this time.
const AT_ONCE_MS: u64 = 5_000;
/// Readings that come later than this find less of ours than there was.
const LATE_MS: u64 = 10_000;
/// A pool is shared from this part on that others use of it.
const SHARED_PART: u64 = 100;

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
    /// Answers may tell how much of a long window is used already, and none has come yet.
    pub(super) unheard: bool,
    pub(super) park: Park,
    pub(super) spread: Option<Spread>,
    pub(super) demand: Demand,
    /// Units by the moment at which they left, for a short window: they reach the vendor as long after it as any other.
    pub(super) likely: Option<Ledger>,
    /// Units that left, and that fell out of the window, lately; of a long window.
    pub(super) sent: Trail,
    pub(super) dropped: Trail,
    /// All units that ever left.
    pub(super) left: u64,
    /// Milliseconds that answered requests ever lasted.
    pub(super) lasted_ms: u64,
    written_limit: u64,
    set: PoolOverride,
    pub(super) reported_limit: Option<u64>,
    /// From a permit to its answer, lately.
    pub(super) way_ms: u64,
    /// Of long windows only.
    pub(super) ladder: Option<Ladder>,
    /// When the host keeps books: of what is used, and of what is in use at once.
    pub(super) book: Option<Book>,
    pub(super) at_once: Option<AtOnce>,
    /// Units of those who wait.
    pub(super) queued: u64,
    /// Who waits for this pool, first come first.
    pub(super) line: Line,
    /// Permits that went past somebody who waits here in a lower lane.
    pub(super) passed: u32,
    refreshed: Option<Now>,
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
            unheard: false,
            park: Park::new(window_ms.unwrap_or(AT_ONCE_MS)),
            spread: None,
            demand: Demand::new(short_ms),
            likely: None,
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
            at_once: None,
            queued: 0,
            line: Line::default(),
            passed: 0,
            refreshed: None,
            wake_ms: u64::MAX,
            measure,
        };
        let limit = made.limit();
        if limit == 0 {
            return Err(PoolError::Empty(pool()));
        }
        let leaves = [set.normal_leaves_permille, set.backfill_leaves_permille];
        if leaves
            .into_iter()
            .flatten()
            .any(|permille| permille > 1_000)
        {
            return Err(PoolError::Reserve(pool()));
        }
        let lanes = [Lane::Critical, Lane::Normal, Lane::Backfill].into_iter();
        let named = lanes.zip([Some(0), leaves[0], leaves[1]]);
        // What a lane leaves by itself gives way where it must; what somebody has set does not.
        let left = named
            .filter_map(|(lane, set)| set.map(|_| made.most(lane, &Settings::default())))
            .min()
            .unwrap_or(limit);
        if written.dearest() > left {
            return Err(PoolError::Dear {
                pool: pool(),
                units: written.dearest(),
                limit: left,
            });
        }
        if let Measure::Rolling { window_ms, .. } = made.measure
            && made.measure.is_short()
        {
            made.spread = Some(Spread::new(window_ms, limit));
            made.likely = Some(Ledger::by_grain(1));
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
        let more = |known: Option<u32>, other: Option<u32>| known.max(other);
        self.set.normal_leaves_permille =
            more(self.set.normal_leaves_permille, set.normal_leaves_permille);
        self.set.backfill_leaves_permille = more(
            self.set.backfill_leaves_permille,
            set.backfill_leaves_permille,
        );
    }

    /// How lanes share it: as every pool, unless somebody has set it here.
    pub(super) fn lanes(&self, settings: &Settings) -> Settings {
        let normal = self.set.normal_leaves_permille;
        let backfill = self.set.backfill_leaves_permille;
        Settings {
            normal_leaves_permille: normal.unwrap_or(settings.normal_leaves_permille),
            backfill_leaves_permille: backfill.unwrap_or(settings.backfill_leaves_permille),
            ..*settings
        }
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

    /// Follows what a reading said of the limit, and of others.
    pub(super) fn fit(&mut self, reported_limit: Option<u64>) {
        self.reported_limit = reported_limit.or(self.reported_limit);
        let limit = self.limit().max(1);
        let shared = self.is_shared();
        if let Some(spread) = &mut self.spread {
            spread.fit(limit, shared);
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.others.at_most().saturating_mul(SHARED_PART) > self.limit()
    }

    /// The most that one request of the lane could ever draw.
    pub(super) fn most(&self, lane: Lane, settings: &Settings) -> u64 {
        let limit = self.limit();
        match self.measure {
            // Its units are time, which no request names.
            Measure::Execution { .. } => u64::MAX,
            _ => limit - reserve::most(lane, limit, &self.lanes(settings)),
        }
    }

    /// Units that left after a moment.
    pub(super) fn sent_after(&self, at_ms: u64) -> u64 {
        match &self.likely {
            Some(likely) => likely.after(at_ms as i64),
            None => self.sent.after(at_ms),
        }
    }

    /// Forgets what has left the window.
    pub(super) fn refresh(&mut self, now: Now) {
        if self.refreshed != Some(now) {
            self.refreshed = Some(now);
            self.forget(now);
        }
        if let Some(mut ladder) = self.ladder {
            ladder.step(self.used_by_all(), self.whole());
            self.ladder = Some(ladder);
        }
    }

    pub(super) fn forget(&mut self, now: Now) {
        if self.measure.refresh(now, &mut self.dropped) {
            self.others.midnight();
        }
        self.others.refresh(now.mono_ms);
        self.flights.refresh(now.mono_ms);
        if let (Some(likely), Some(window_ms)) = (&mut self.likely, self.measure.window_ms()) {
            likely.forget(now.mono_ms as i64 - (window_ms + LATE_MS) as i64);
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

    pub(super) fn reserve_for(&mut self, now: Now, permit: u64, candidate: &Candidate) {
        let long = self.lasts(candidate);
        self.left += candidate.units;
        match &mut self.likely {
            Some(likely) => likely.add(now.mono_ms as i64, candidate.units),
            None => self.sent.note(now.mono_ms, candidate.units),
        }
        self.flights.insert(
            permit,
            Flight {
                units: candidate.units,
                since_ms: now.mono_ms,
                lasted_before_ms: self.lasted_ms,
                expected: candidate.expected,
                long,
            },
        );
        if let Some(at_once) = &mut self.at_once {
            at_once.used(self.flights.long_units());
        }
        if let Some(spread) = &self.spread {
            spread.take(now.mono_ms, candidate.units);
        }
        self.park.left(permit);
    }

    /// Whether the request may last so long that it counts where only such do.
    pub(super) fn lasts(&self, candidate: &Candidate) -> bool {
        match self.measure {
            Measure::Concurrency { after_ms } => candidate.expected.bound_ms >= after_ms,
            _ => true,
        }
    }
}
