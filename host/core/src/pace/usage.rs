//! What was used, by hour, pool, sync, operation and lane, within bounds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cost::Draws;
use super::{Lane, Pacer};

const HOUR_MS: i64 = 3_600_000;
/// Two weeks.
const HOURS_MAX: usize = 336;
/// Lines per hour; what comes beyond is counted together, under empty names.
const LINES_MAX: usize = 256;

/// Whose use it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spender {
    pub pool: Arc<str>,
    pub sync: Arc<str>,
    /// Such as `push` or `pull`.
    pub operation: Arc<str>,
    pub lane: Lane,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    pub calls: u64,
    pub units: u64,
    pub rows: u64,
    pub bytes: u64,
    pub throttled: u64,
}

impl Spent {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.units += other.units;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.throttled += other.throttled;
    }
}

/// One hour's use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// Hours since 1970.
    hour: i64,
    lines: BTreeMap<Spender, Spent>,
}

impl Hour {
    /// Hours since 1970.
    pub fn number(&self) -> i64 {
        self.hour
    }
}

/// The last two weeks, hour by hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    hours: VecDeque<Hour>,
}

/// How an allowance will end at the pace of the last hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    pub units_per_hour: u64,
    /// Milliseconds from now until nothing is left; `None` when it lasts until it comes back.
    pub ends_in_ms: Option<u64>,
}

impl Forecast {
    /// For a window that moves on with the time, in which use falls out again: a pace that it holds never ends it.
    pub fn of_rolling(self, limit: u64, window_ms: u64) -> Self {
        let whole = u128::from(self.units_per_hour) * u128::from(window_ms) / HOUR_MS as u128;
        Self {
            ends_in_ms: self.ends_in_ms.filter(|_| whole > u128::from(limit)),
            ..self
        }
    }
}

impl Usage {
    /// What was kept, in any order.
    pub fn from_hours(hours: impl IntoIterator<Item = Hour>) -> Self {
        let mut hours: Vec<Hour> = hours.into_iter().collect();
        hours.sort_by_key(|hour| hour.hour);
        let old = hours.len().saturating_sub(HOURS_MAX);
        hours.drain(..old);
        Self {
            hours: hours.into(),
        }
    }

    /// Oldest first; two weeks of them at most.
    pub fn hours(&self) -> impl DoubleEndedIterator<Item = &Hour> {
        self.hours.iter()
    }

    /// Counts use at a moment of the wall clock. One from before the newest hour, because the clock was set back,
    /// counts in the newest.
    pub fn note(&mut self, wall_ms: i64, spender: &Spender, spent: &Spent) {
        let hour = wall_ms.div_euclid(HOUR_MS);
        if self.hours.back().is_none_or(|newest| newest.hour < hour) {
            if self.hours.len() == HOURS_MAX {
                self.hours.pop_front();
            }
            self.hours.push_back(Hour {
                hour,
                lines: BTreeMap::new(),
            });
        }
        let Some(newest) = self.hours.back_mut() else {
            return;
        };
        let lines = &mut newest.lines;
        if let Some(known) = lines.get_mut(spender) {
            known.add(spent);
        } else if lines.len() < LINES_MAX {
            lines.insert(spender.clone(), *spent);
        } else {
            let rest = Spender {
                sync: "".into(),
                operation: "".into(),
                ..spender.clone()
            };
            lines.entry(rest).or_default().add(spent);
        }
    }

    /// Sums since a moment, by whatever is asked: an hour of the day, a sync, an operation, a lane.
    pub fn by<K: Ord>(
        &self,
        since_ms: i64,
        key: impl Fn(i64, &Spender) -> K,
    ) -> BTreeMap<K, Spent> {
        let mut sums = BTreeMap::new();
        let since = since_ms.div_euclid(HOUR_MS);
        for hour in self.hours.iter().filter(|hour| hour.hour >= since) {
            for (spender, spent) in &hour.lines {
                let sum: &mut Spent = sums.entry(key(hour.hour * HOUR_MS, spender)).or_default();
                sum.add(spent);
            }
        }
        sums
    }

    /// The hours in which most units of a pool were used, the most first, as (begin of the hour, units).
    pub fn peaks(&self, pool: &str, count: usize) -> Vec<(i64, u64)> {
        let units = self.hours.iter().map(|hour| {
            let lines = hour.lines.iter();
            let ours = lines.filter(|(spender, _)| *spender.pool == *pool);
            let units: u64 = ours.map(|(_, spent)| spent.units).sum();
            (hour.hour * HOUR_MS, units)
        });
        let mut hours: Vec<_> = units.filter(|(_, units)| *units > 0).collect();
        hours.sort_by_key(|(hour, units)| (std::cmp::Reverse(*units), *hour));
        hours.truncate(count);
        hours
    }

    /// When `left` units end at the pace of the last three hours, others' use per hour on top, if they do within
    /// `lasts_ms`.
    pub fn forecast(
        &self,
        wall_ms: i64,
        pool: &str,
        left: u64,
        others_per_hour: u64,
        lasts_ms: u64,
    ) -> Forecast {
        const HOURS: i64 = 3;
        let since_ms = wall_ms - HOURS * HOUR_MS;
        let from = since_ms.div_euclid(HOUR_MS) + 1;
        let hours = self.hours.iter().filter(|hour| hour.hour >= from);
        let lines = hours.flat_map(|hour| &hour.lines);
        let ours = lines.filter(|(spender, _)| *spender.pool == *pool);
        let units: u64 = ours.map(|(_, spent)| spent.units).sum();
        let passed_ms = (wall_ms - from * HOUR_MS).max(1) as u64;
        let own = u128::from(units) * HOUR_MS as u128 / u128::from(passed_ms);
        let units_per_hour = own as u64 + others_per_hour;
        let ends_in = u128::from(left) * HOUR_MS as u128 / u128::from(units_per_hour.max(1));
        let ends_in_ms = u64::try_from(ends_in).unwrap_or(u64::MAX);
        Forecast {
            units_per_hour,
            ends_in_ms: (units_per_hour > 0 && ends_in_ms < lasts_ms).then_some(ends_in_ms),
        }
    }
}

impl Pacer {
    /// What a request draws, by the pools' names.
    pub fn drawn(&self, draws: &Draws) -> Vec<(Arc<str>, u64)> {
        let units = draws.units.iter();
        units
            .map(|(pool, units)| (self.pools[*pool].name.clone(), *units))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spender(sync: &str, lane: Lane) -> Spender {
        Spender {
            pool: "daily".into(),
            sync: sync.into(),
            operation: "push".into(),
            lane,
        }
    }

    #[test]
    fn use_is_kept_within_bounds_and_foreseen() {
        let mut usage = Usage::default();
        let one = Spent {
            calls: 1,
            units: 2,
            ..Spent::default()
        };
        for hour in 0..1_000 {
            for sync in 0..300 {
                let spender = spender(&format!("sync-{sync}"), Lane::Normal);
                usage.note(hour * HOUR_MS, &spender, &one);
            }
        }
        assert_eq!(usage.hours.len(), HOURS_MAX);
        let lines = usage.hours.iter().map(|hour| hour.lines.len()).max();
        assert_eq!(lines, Some(LINES_MAX + 1));
        // Nothing is lost by it.
        let all = usage.by(0, |_, _| ());
        assert_eq!(all[&()].units, 336 * 300 * 2);
        let last = usage.by(999 * HOUR_MS, |_, spender| spender.sync.clone());
        assert_eq!((last["sync-7"].units, last[""].calls), (2, 44));

        usage.note(
            1_000 * HOUR_MS,
            &spender("night", Lane::Critical),
            &Spent {
                units: 9_000,
                ..one
            },
        );
        assert_eq!(usage.peaks("daily", 1), [(1_000 * HOUR_MS, 9_000)]);
        // 600 + 600 + 9,000 units in two hours and a half, and 320 of others' each hour.
        let now_ms = 1_000 * HOUR_MS + HOUR_MS / 2;
        let forecast = usage.forecast(now_ms, "daily", 4_400, 320, 24 * HOUR_MS as u64);
        assert_eq!(forecast.units_per_hour, 4_400);
        assert_eq!(forecast.ends_in_ms, Some(HOUR_MS as u64));
        let lasting = usage.forecast(now_ms, "daily", 4_400, 320, 1_000);
        assert_eq!(lasting.ends_in_ms, None);
        let day_ms = 24 * HOUR_MS as u64;
        assert_eq!(forecast.of_rolling(24 * 4_400, day_ms).ends_in_ms, None);
        assert_eq!(forecast.of_rolling(24 * 4_400 - 1, day_ms), forecast);

        let kept: Vec<Hour> = usage.hours().rev().cloned().collect();
        assert_eq!(Usage::from_hours(kept), usage);
    }
}
