//! One budget of the vendor's: what is used, reserved, reported and parked.
//!
//! A request counts from its permit until it is answered, and from then on for one window: the vendor has
//! counted it at some moment in between, so that whatever the way took, no window on the vendor's side holds
//! more than ours did. `margin_ms` covers what is left: clocks of the vendor's that disagree.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::ledger::Ledger;
use super::report::Report;
use super::{Lane, PoolError, PoolOverride, Reason, Settings, Wait};
use crate::manifest::{Cost, Pool as Written, RequestMatch, Window};
use crate::time::{Now, parse_duration};

/// Shortest and longest margin; between them it is a two-hundredth of the window.
const MARGIN_MIN_MS: u64 = 20;
const MARGIN_MAX_MS: u64 = 1_000;
/// What a first park lasts at most when the vendor names no time, and what it grows to.
const PARK_FIRST_MS: u64 = 1_000;
const PARK_MAX_MS: u64 = 300_000;
const PARK_MIN_MS: u64 = 50;
/// When a probe's answer is awaited, asking again makes sense after about a request's time.
const PROBE_LOOK_MS: u64 = 250;
/// Assumed length of a request before any has been measured.
const REQUEST_MS: u64 = 100;
/// Pools whose window is longer keep their reserve even from work that has waited long.
const SHORT_MS: u64 = 600_000;
const SECOND_MS: i64 = 1_000;

#[derive(Clone, Debug)]
enum Measure {
    Rolling {
        window_ms: u64,
        ledger: Ledger,
    },
    /// The ledger's moments are the wall clock's.
    CalendarDay {
        zone: TimeZone,
        ledger: Ledger,
    },
    Concurrency {
        after_ms: u64,
    },
    /// The ledger's units are milliseconds.
    Execution {
        window_ms: u64,
        ledger: Ledger,
    },
}

/// A request that drew on the pool and has no answer yet.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    units: u64,
    since_ms: u64,
    /// `Pool::counted` when it left.
    counted_before: u64,
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    until_ms: u64,
    /// Throttles in a row.
    streak: u32,
    probe: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Others {
    units: u64,
    at_ms: u64,
    /// The wall clock's day, for calendar pools.
    day_start_ms: i64,
}

/// A throttle as the vendor answered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttled {
    pub pool: String,
    /// As long as the vendor says, or the manifest; else exponential with full jitter.
    pub park_ms: Option<u64>,
    /// Between 0 and 1, for the jitter.
    pub random: f64,
}

/// A pool's state for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolFigures {
    pub pool: Arc<str>,
    /// Units that are ours at most.
    pub limit: u64,
    /// Units counted, without those reserved.
    pub used: u64,
    /// Units of requests without an answer yet.
    pub reserved: u64,
    pub used_by_others: u64,
    pub parked_until_ms: Option<u64>,
    /// Why a normal request would wait now.
    pub reason: Option<Reason>,
}

/// What a pool must not forget over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolCounts {
    pub pool: String,
    /// Wall clock in milliseconds since 1970, and units; oldest first.
    pub counts: Vec<(i64, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) name: Arc<str>,
    cost: Cost,
    requests: Vec<RequestMatch>,
    written_limit: u64,
    set: PoolOverride,
    reported_limit: Option<u64>,
    measure: Measure,
    margin_ms: u64,
    in_flight: BTreeMap<u64, InFlight>,
    in_flight_units: u64,
    /// All units ever counted.
    counted: u64,
    others: Option<Others>,
    parked: Option<Parked>,
    average_ms: u64,
}

impl Pool {
    pub(super) fn new(written: &Written, set: Option<&PoolOverride>) -> Result<Self, PoolError> {
        let pool = || written.name.clone();
        let set = match set {
            Some(set) if !written.overridable && set.limit.is_some() => {
                return Err(PoolError::Fixed(pool()));
            }
            Some(set) => *set,
            None => PoolOverride {
                limit: None,
                share: 1.0,
            },
        };
        if !(set.share > 0.0 && set.share <= 1.0) {
            return Err(PoolError::Share(pool()));
        }
        let length = |text: &str| {
            let length = parse_duration(text).map_err(|source| PoolError::Duration {
                pool: pool(),
                source,
            })?;
            Ok(length.as_millis() as u64)
        };
        let measure = match &written.window {
            Window::Rolling(text) => {
                let window_ms = length(text)?;
                let ledger = Ledger::new(window_ms);
                Measure::Rolling { window_ms, ledger }
            }
            Window::ExecutionTime(text) => {
                let window_ms = length(text)?;
                let ledger = Ledger::new(window_ms);
                Measure::Execution { window_ms, ledger }
            }
            Window::CalendarDay(text) => Measure::CalendarDay {
                zone: TimeZone::get(text).map_err(|_| PoolError::Zone {
                    pool: pool(),
                    text: text.clone(),
                })?,
                ledger: Ledger::new(u64::MAX),
            },
            Window::Concurrency { after } => Measure::Concurrency {
                after_ms: after.as_deref().map_or(Ok(0), length)?,
            },
        };
        let made = Self {
            name: written.name.as_str().into(),
            cost: written.cost.clone(),
            requests: written.requests.clone(),
            written_limit: written.limit,
            set,
            reported_limit: None,
            margin_ms: measure.margin_ms(),
            measure,
            in_flight: BTreeMap::new(),
            in_flight_units: 0,
            counted: 0,
            others: None,
            parked: None,
            average_ms: REQUEST_MS,
        };
        if made.limit() == 0 {
            return Err(PoolError::Empty(pool()));
        }
        Ok(made)
    }

    /// The vendor's limit for everybody: never above one that was set by hand.
    fn whole(&self) -> u64 {
        match (self.set.limit, self.reported_limit) {
            (Some(set), Some(reported)) => set.min(reported),
            (Some(limit), None) | (None, Some(limit)) => limit,
            (None, None) => self.written_limit,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        (self.whole() as f64 * self.set.share) as u64
    }

    /// Units that a lane leaves for the lanes above it.
    fn reserve(&self, lane: Lane, settings: &Settings) -> u64 {
        let permille = match lane {
            Lane::Critical => 0,
            Lane::Normal => settings.normal_leaves_permille,
            Lane::Backfill => settings.backfill_leaves_permille,
        };
        self.limit() * u64::from(permille) / 1_000
    }

    /// The most that one request of the lane could ever draw.
    pub(super) fn most(&self, lane: Lane, settings: &Settings) -> u64 {
        match self.measure {
            Measure::Execution { .. } => u64::MAX,
            _ => self.limit() - self.reserve(lane, settings),
        }
    }

    /// Whether work that has waited long is treated as more urgent here.
    pub(super) fn promotes(&self) -> bool {
        match self.measure {
            Measure::Rolling { window_ms, .. } | Measure::Execution { window_ms, .. } => {
                window_ms <= SHORT_MS
            }
            Measure::Concurrency { .. } => true,
            Measure::CalendarDay { .. } => false,
        }
    }

    /// The window and limit of a pool whose bursts are worth smoothing.
    pub(super) fn burst(&self) -> Option<(u64, u64)> {
        match self.measure {
            Measure::Rolling { window_ms, .. } if window_ms <= SHORT_MS => {
                Some((window_ms, self.limit()))
            }
            _ => None,
        }
    }

    /// Units that a request draws; 0 when it does not draw here.
    pub(super) fn draw(&self, shape: &super::Shape<'_>) -> u64 {
        let matches = |wanted: &RequestMatch| {
            let path = |text: &Option<String>, test: fn(&str, &str) -> bool| {
                text.as_ref().is_none_or(|text| test(shape.path, text))
            };
            wanted
                .method
                .is_none_or(|method| shape.method == Some(method))
                && path(&wanted.path_prefix, |path, text| path.starts_with(text))
                && path(&wanted.path_contains, |path, text| path.contains(text))
        };
        if !self.requests.is_empty() && !self.requests.iter().any(matches) {
            return 0;
        }
        match self.cost {
            Cost::Request(units) => u64::from(units),
            Cost::Rows { rows, units } => {
                u64::from(shape.rows.max(1).div_ceil(rows.max(1))) * u64::from(units)
            }
        }
    }

    /// Forgets what has left the window.
    pub(super) fn refresh(&mut self, now: Now) {
        let margin = self.margin_ms as i64;
        match &mut self.measure {
            Measure::Rolling { window_ms, ledger } | Measure::Execution { window_ms, ledger } => {
                ledger.forget(now.mono_ms as i64 - *window_ms as i64 - margin);
            }
            Measure::CalendarDay { zone, ledger } => {
                // The day before is kept until our clock is surely past the vendor's midnight.
                let start = day_start_ms(zone, now.wall_us / 1_000 - margin);
                ledger.forget(start - margin - 1);
                if self
                    .others
                    .is_some_and(|others| others.day_start_ms < start)
                {
                    self.others = None;
                }
            }
            Measure::Concurrency { .. } => {}
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        match &self.measure {
            Measure::Rolling { ledger, .. }
            | Measure::CalendarDay { ledger, .. }
            | Measure::Execution { ledger, .. } => Some(ledger),
            Measure::Concurrency { .. } => None,
        }
    }

    fn counted_units(&self) -> u64 {
        self.ledger().map_or(0, Ledger::total)
    }

    /// Others' use falls out of a rolling window little by little; how it was spread is not known.
    fn others_at(&self, mono_ms: u64) -> u64 {
        let Some(others) = self.others else { return 0 };
        match self.measure {
            Measure::Rolling { window_ms, .. } => {
                let age = mono_ms.saturating_sub(others.at_ms).min(window_ms);
                others.units
                    - (u128::from(others.units) * u128::from(age) / u128::from(window_ms)) as u64
            }
            _ => others.units,
        }
    }

    /// Whether the units could be reserved now. Call `refresh` first.
    pub(super) fn check(
        &self,
        now: Now,
        lane: Lane,
        units: u64,
        settings: &Settings,
    ) -> Result<(), Wait> {
        self.check_park(now)?;
        let reserve = self.reserve(lane, settings);
        let limit = self.limit();
        let (used, units) = self.load(now, units);
        let ours = used + units;
        let everybody = ours + self.others_at(now.mono_ms);
        let excess = |reserve: u64| {
            let over_ours = (ours + reserve).saturating_sub(limit);
            let over_all = (everybody + reserve).saturating_sub(self.whole());
            over_ours.max(over_all)
        };
        if excess(reserve) == 0 {
            return Ok(());
        }
        let pool = self.name.clone();
        let reason = if excess(0) > 0 {
            Reason::PoolSpent { pool }
        } else {
            Reason::Reserve { pool }
        };
        let at_ms = self.free_at(now, excess(reserve)).max(now.mono_ms + 1);
        Err(Wait { reason, at_ms })
    }

    /// What is used and what the request would add, in the pool's own measure.
    fn load(&self, now: Now, units: u64) -> (u64, u64) {
        match self.measure {
            Measure::Rolling { .. } | Measure::CalendarDay { .. } => {
                (self.counted_units() + self.in_flight_units, units)
            }
            Measure::Concurrency { after_ms } => {
                // The vendor refuses the newcomer when too many have lasted long already.
                let long = after_ms.saturating_sub(self.margin_ms);
                let lasting = self
                    .in_flight
                    .values()
                    .filter(|one| now.mono_ms.saturating_sub(one.since_ms) >= long);
                (lasting.map(|one| one.units).sum(), units)
            }
            Measure::Execution { .. } => {
                let running = self.in_flight.values().map(|one| {
                    now.mono_ms
                        .saturating_sub(one.since_ms)
                        .max(self.average_ms)
                });
                (self.counted_units() + running.sum::<u64>(), self.average_ms)
            }
        }
    }

    fn check_park(&self, now: Now) -> Result<(), Wait> {
        let Some(parked) = self.parked else {
            return Ok(());
        };
        let pool = self.name.clone();
        if now.mono_ms < parked.until_ms {
            return Err(Wait {
                reason: Reason::Parked { pool },
                at_ms: parked.until_ms,
            });
        }
        if parked.probe.is_some() {
            return Err(Wait {
                reason: Reason::Probing { pool },
                at_ms: now.mono_ms + PROBE_LOOK_MS,
            });
        }
        Ok(())
    }

    /// When this many units will be free again, if nothing more is drawn.
    fn free_at(&self, now: Now, excess: u64) -> u64 {
        match &self.measure {
            Measure::Concurrency { .. } => now.mono_ms + self.average_ms.max(1),
            Measure::CalendarDay { zone, .. } => {
                let wall_ms = now.wall_us / 1_000;
                let next = next_day_start_ms(zone, wall_ms - self.margin_ms as i64);
                let rest = next - wall_ms + 2 * self.margin_ms as i64 + 1;
                now.mono_ms + rest.max(1) as u64
            }
            Measure::Rolling { window_ms, ledger } | Measure::Execution { window_ms, ledger } => {
                let kept_ms = window_ms + self.margin_ms;
                let mut freed = 0;
                for (stamp, units) in ledger.entries() {
                    let falls_out = (stamp + kept_ms as i64).max(0) as u64;
                    if let Some(earlier) = self.others_gone_at(now, excess - freed)
                        && earlier < falls_out
                    {
                        return earlier;
                    }
                    freed += units;
                    let decayed =
                        self.others_at(now.mono_ms) - self.others_at(falls_out.max(now.mono_ms));
                    if freed + decayed >= excess {
                        return falls_out;
                    }
                }
                // What is in flight counts for a window from its answer, which is yet to come.
                self.others_gone_at(now, excess - freed)
                    .unwrap_or(now.mono_ms + kept_ms)
            }
        }
    }

    /// When others' use will have fallen by so many units.
    fn others_gone_at(&self, now: Now, units: u64) -> Option<u64> {
        let (Measure::Rolling { window_ms, .. }, Some(others)) = (&self.measure, self.others)
        else {
            return None;
        };
        let wanted = self.others_at(now.mono_ms).checked_sub(units)?;
        let gone = u128::from(others.units - wanted) * u128::from(*window_ms);
        Some(others.at_ms + gone.div_ceil(u128::from(others.units.max(1))) as u64)
    }

    pub(super) fn reserve_for(&mut self, now: Now, permit: u64, units: u64) {
        self.in_flight.insert(
            permit,
            InFlight {
                units,
                since_ms: now.mono_ms,
                counted_before: self.counted,
            },
        );
        self.in_flight_units += units;
        if let Some(parked) = &mut self.parked {
            // Only a probe gets here while the pool is parked.
            parked.probe = Some(permit);
        }
    }

    /// Ends a permit: counted, or given back when nothing was sent.
    pub(super) fn settle(&mut self, now: Now, permit: u64, ended: &super::Ended) {
        let Some(one) = self.in_flight.remove(&permit) else {
            return;
        };
        self.in_flight_units -= one.units;
        let lasted_ms = now.mono_ms.saturating_sub(one.since_ms);
        if !matches!(ended, super::Ended::Unsent) {
            self.counted += one.units;
            self.average_ms = (self.average_ms * 7 + lasted_ms) / 8;
            match &mut self.measure {
                Measure::Rolling { ledger, .. } => ledger.add(now.mono_ms as i64, one.units),
                Measure::CalendarDay { ledger, .. } => ledger.add(now.wall_us / 1_000, one.units),
                Measure::Execution { ledger, .. } => ledger.add(now.mono_ms as i64, lasted_ms),
                Measure::Concurrency { .. } => {}
            }
        }
        match ended {
            super::Ended::Answered(reports) => {
                let ours = |report: &&Report| *report.pool == *self.name;
                if let Some(report) = reports.iter().find(ours) {
                    self.hear(now, one, report);
                }
                self.end_probe(permit, true);
            }
            super::Ended::Throttled(throttled) if *throttled.pool == *self.name => {
                self.park(now, permit, throttled);
            }
            super::Ended::Throttled(_) | super::Ended::Unsent | super::Ended::Lost => {
                self.end_probe(permit, false);
            }
        }
    }

    /// An answer may tell of pools that its request did not draw on.
    pub(super) fn overhear(&mut self, now: Now, permit: u64, ended: &super::Ended) {
        match ended {
            super::Ended::Answered(reports) => {
                let nothing = InFlight {
                    units: 0,
                    since_ms: now.mono_ms,
                    counted_before: self.counted,
                };
                let ours = |report: &&Report| *report.pool == *self.name;
                if let Some(report) = reports.iter().find(ours) {
                    self.hear(now, nothing, report);
                }
            }
            super::Ended::Throttled(throttled) if *throttled.pool == *self.name => {
                self.park(now, permit, throttled);
            }
            super::Ended::Throttled(_) | super::Ended::Unsent | super::Ended::Lost => {}
        }
    }

    fn end_probe(&mut self, permit: u64, passed: bool) {
        if let Some(parked) = &mut self.parked
            && parked.probe == Some(permit)
        {
            parked.probe = None;
            if passed {
                self.parked = None;
            }
        }
    }

    fn park(&mut self, now: Now, permit: u64, throttled: &Throttled) {
        let before = self.parked.take();
        let probed = before.is_some_and(|parked| parked.probe == Some(permit));
        // Requests that left together and come back throttled together are one throttle.
        let streak = match before {
            None => 1,
            Some(parked) if probed => parked.streak.saturating_add(1),
            Some(parked) => parked.streak,
        };
        let park_ms = throttled.park_ms.unwrap_or_else(|| {
            let most = (PARK_FIRST_MS << (streak - 1).min(20)).min(PARK_MAX_MS);
            (most as f64 * throttled.random.clamp(0.0, 1.0)) as u64
        });
        let until_ms = now.mono_ms + park_ms.max(PARK_MIN_MS);
        self.parked = Some(Parked {
            until_ms: before.map_or(until_ms, |parked| parked.until_ms.max(until_ms)),
            streak,
            probe: before.and_then(|parked| parked.probe.filter(|_| !probed)),
        });
    }

    /// Used by others = reported - ours. Requests that overlapped the answered one may or may not be in the
    /// vendor's figure, so it bounds the others from both sides; an estimate within the bounds stands.
    fn hear(&mut self, now: Now, one: InFlight, report: &Report) {
        if let Some(limit) = report.limit.filter(|limit| *limit > 0) {
            self.reported_limit = Some(limit);
        }
        let Some(used) = report.used() else { return };
        let day_start_ms = match &self.measure {
            Measure::Rolling { .. } => 0,
            Measure::CalendarDay { zone, .. } => day_start_ms(zone, now.wall_us / 1_000),
            Measure::Concurrency { .. } | Measure::Execution { .. } => return,
        };
        let counted = self.counted_units();
        let overlapped = self.counted - one.counted_before - one.units;
        let most = used.saturating_sub(counted.saturating_sub(overlapped));
        let least = used.saturating_sub(counted + self.in_flight_units);
        let units = match self.others {
            Some(_) => self.others_at(now.mono_ms).clamp(least, most),
            None => most,
        };
        self.others = Some(Others {
            units,
            at_ms: now.mono_ms,
            day_start_ms,
        });
    }

    pub(super) fn figures(&self, now: Now, settings: &Settings) -> PoolFigures {
        PoolFigures {
            pool: self.name.clone(),
            limit: self.limit(),
            used: self.counted_units(),
            reserved: self.in_flight_units,
            used_by_others: self.others_at(now.mono_ms),
            parked_until_ms: self
                .parked
                .map(|parked| parked.until_ms)
                .filter(|until| *until > now.mono_ms),
            reason: self
                .check(now, Lane::Normal, 1, settings)
                .err()
                .map(|wait| wait.reason),
        }
    }

    /// What is in flight is taken as counted now.
    pub(super) fn counts(&self, now: Now) -> Option<PoolCounts> {
        let ledger = self.ledger()?;
        let wall_ms = now.wall_us / 1_000;
        let shift = match self.measure {
            Measure::CalendarDay { .. } => 0,
            _ => wall_ms - now.mono_ms as i64,
        };
        // By the second, so that a busy short window stays small in the store.
        let mut counts: Vec<(i64, u64)> = Vec::new();
        for (stamp, units) in ledger.entries() {
            let second = (stamp + shift + SECOND_MS - 1).div_euclid(SECOND_MS) * SECOND_MS;
            match counts.last_mut() {
                Some((last, counted)) if *last == second => *counted += units,
                _ => counts.push((second, units)),
            }
        }
        if self.in_flight_units > 0 && !matches!(self.measure, Measure::Execution { .. }) {
            counts.push((wall_ms, self.in_flight_units));
        }
        (!counts.is_empty()).then(|| PoolCounts {
            pool: self.name.to_string(),
            counts,
        })
    }

    /// Counts from an earlier run. What lies in the future, because the wall clock was set back, counts as now.
    pub(super) fn restore(&mut self, now: Now, counts: &PoolCounts) {
        let wall_ms = now.wall_us / 1_000;
        for (at_ms, units) in &counts.counts {
            let at_ms = (*at_ms).min(wall_ms);
            match &mut self.measure {
                Measure::CalendarDay { ledger, .. } => ledger.add(at_ms, *units),
                Measure::Rolling { ledger, .. } | Measure::Execution { ledger, .. } => {
                    ledger.add(at_ms - wall_ms + now.mono_ms as i64, *units);
                }
                Measure::Concurrency { .. } => {}
            }
        }
        self.refresh(now);
    }
}

impl Measure {
    fn margin_ms(&self) -> u64 {
        match self {
            Self::Rolling { window_ms, .. } | Self::Execution { window_ms, .. } => {
                (window_ms / 200).clamp(MARGIN_MIN_MS, MARGIN_MAX_MS)
            }
            Self::CalendarDay { .. } | Self::Concurrency { .. } => MARGIN_MAX_MS,
        }
    }
}

/// The midnight at or before a moment, in milliseconds since 1970.
fn day_start_ms(zone: &TimeZone, wall_ms: i64) -> i64 {
    civil_day(zone, wall_ms, 0)
}

fn next_day_start_ms(zone: &TimeZone, wall_ms: i64) -> i64 {
    civil_day(zone, wall_ms, 1)
}

fn civil_day(zone: &TimeZone, wall_ms: i64, days: i64) -> i64 {
    let moment = jiff::Timestamp::from_millisecond(wall_ms).unwrap_or_default();
    let date = zone.to_datetime(moment).date();
    date.checked_add(jiff::Span::new().days(days))
        .and_then(|date| zone.to_timestamp(date.at(0, 0, 0, 0)))
        .map_or(wall_ms, |midnight| midnight.as_millisecond())
}
