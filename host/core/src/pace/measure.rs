//! What a pool counts, and over which time.

use jiff::tz::TimeZone;

use super::PoolError;
use super::calendar::Days;
use super::ledger::{Ledger, MINUTE_MS};
use super::trail::Trail;
use crate::manifest::{Pool as Written, WINDOW_MAX, Window};
use crate::time::{Now, parse_duration};

/// Moments are read in whole milliseconds, at both ends of a window.
pub(super) const GRAIN_MS: u64 = 2;
/// How far the vendor's midnight may be from ours: clocks are told by the second.
pub(super) const MIDNIGHT_MS: i64 = 1_000;
/// Pools whose window is longer keep their reserve even from work that has waited long.
const SHORT_MS: u64 = 600_000;
/// Fewer calls do not tell what of their time the way took.
const CALLS_MIN: u64 = 32;
/// As many calls may be in a reading or not, because they ended while it was on its way.
const UNSURE_CALLS: f64 = 2.0;
/// By how many times what readings differ beyond that less is taken for the way.
const OFF_TIMES: f64 = 2.0;
/// Nobody's way takes more than this part of the time; a figure that says so is an old one, or of another server.
const WAY_PART: u64 = 4;

/// What the way takes of each call's time, as far as readings of time used have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WayTime {
    mean_ms: f64,
    /// Mean distance from the mean, beyond what can't be known. It is large where each of several servers tells of its
    /// own part, or figures lag behind.
    off_ms: f64,
}

impl WayTime {
    /// A reading falls short of our own measure by so much, which is of so many calls.
    fn learn(&mut self, over_ms: u64, calls: u64, lasted_ms: u64) {
        let calls = calls as f64;
        let each_ms = over_ms as f64 / calls;
        let unsure_ms = UNSURE_CALLS * lasted_ms as f64 / calls / calls;
        let off_ms = ((each_ms - self.mean_ms).abs() - unsure_ms).max(0.0);
        self.off_ms += (off_ms - self.off_ms) / 32.0;
        self.mean_ms += (each_ms - self.mean_ms) / 8.0;
    }

    /// Of so many calls that took so long in all.
    fn of(&self, calls: u64, lasted_ms: u64) -> u64 {
        let each_ms = (self.mean_ms - OFF_TIMES * self.off_ms).max(0.0);
        ((each_ms * calls as f64) as u64).min(lasted_ms / WAY_PART)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Measure {
    Rolling {
        window_ms: u64,
        ledger: Ledger,
    },
    /// The ledger's moments are the wall clock's.
    CalendarDay {
        days: Days,
        ledger: Ledger,
    },
    Concurrency {
        after_ms: u64,
    },
    /// The ledger's units are milliseconds from leaving to answer.
    Execution {
        window_ms: u64,
        ledger: Ledger,
        calls: Ledger,
        way: WayTime,
    },
}

impl Measure {
    pub(super) fn new(written: &Written) -> Result<Self, PoolError> {
        let pool = || written.name.clone();
        let length = |text: &str| {
            let length = parse_duration(text).map_err(|source| PoolError::Duration {
                pool: pool(),
                source,
            })?;
            if length > WINDOW_MAX {
                return Err(PoolError::Endless(pool()));
            }
            Ok(length.as_millis() as u64)
        };
        Ok(match &written.window {
            Window::Rolling(text) => {
                let window_ms = length(text)?;
                let ledger = Ledger::new(window_ms);
                Self::Rolling { window_ms, ledger }
            }
            Window::ExecutionTime(text) => {
                let window_ms = length(text)?;
                Self::Execution {
                    window_ms,
                    ledger: Ledger::new(window_ms),
                    calls: Ledger::new(window_ms),
                    way: WayTime::default(),
                }
            }
            Window::CalendarDay(text) => {
                let zone = TimeZone::get(text).map_err(|_| PoolError::Zone {
                    pool: pool(),
                    text: text.clone(),
                })?;
                Self::CalendarDay {
                    days: Days::new(zone),
                    ledger: Ledger::new(u64::MAX),
                }
            }
            Window::Concurrency { after } => Self::Concurrency {
                after_ms: after.as_deref().map_or(Ok(0), length)?,
            },
        })
    }

    /// The length of a rolling window.
    pub(super) fn window_ms(&self) -> Option<u64> {
        match self {
            Self::Rolling { window_ms, .. } | Self::Execution { window_ms, .. } => Some(*window_ms),
            Self::CalendarDay { .. } | Self::Concurrency { .. } => None,
        }
    }

    /// Whether what is used comes back soon.
    pub(super) fn is_short(&self) -> bool {
        match self {
            Self::Concurrency { .. } => true,
            Self::CalendarDay { .. } => false,
            Self::Rolling { window_ms, .. } | Self::Execution { window_ms, .. } => {
                *window_ms <= SHORT_MS
            }
        }
    }

    /// Whether readings of use can be held against it.
    pub(super) fn is_windowed(&self) -> bool {
        !matches!(self, Self::Concurrency { .. })
    }

    /// Units that have been counted and are not forgotten.
    pub(super) fn counted(&self) -> u64 {
        match self {
            Self::Rolling { ledger, .. } | Self::CalendarDay { ledger, .. } => ledger.total(),
            Self::Concurrency { .. } => 0,
            Self::Execution {
                ledger, calls, way, ..
            } => {
                let lasted_ms = ledger.total();
                lasted_ms - way.of(calls.total(), lasted_ms)
            }
        }
    }

    pub(super) fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Rolling { ledger, .. }
            | Self::CalendarDay { ledger, .. }
            | Self::Execution { ledger, .. } => Some(ledger),
            Self::Concurrency { .. } => None,
        }
    }

    /// Forgets what has left the window, and notes it. `true` when a day has ended.
    pub(super) fn refresh(&mut self, now: Now, dropped: &mut Trail) -> bool {
        match self {
            Self::Rolling { window_ms, ledger } => {
                let kept_ms = (*window_ms + GRAIN_MS) as i64;
                ledger.forget_each(now.mono_ms as i64 - kept_ms, |stamp, units| {
                    dropped.note((stamp + kept_ms).max(0) as u64, units);
                });
            }
            Self::Execution {
                window_ms,
                ledger,
                calls,
                ..
            } => {
                let until_ms = now.mono_ms as i64 - (*window_ms + GRAIN_MS) as i64;
                ledger.forget(until_ms);
                calls.forget(until_ms);
            }
            Self::CalendarDay { days, ledger } => {
                // The day before is kept until our clock is surely past the vendor's midnight.
                let (day, turned) = days.turn_to(now.wall_us / 1_000 - MIDNIGHT_MS);
                ledger.forget(day.start_ms - MIDNIGHT_MS - 1);
                return turned;
            }
            Self::Concurrency { .. } => {}
        }
        false
    }

    /// Counts a request that has been answered, or was lost, after `lasted_ms`; it has reached the vendor's edge
    /// at least `behind_ms` ago.
    pub(super) fn count(&mut self, now: Now, units: u64, lasted_ms: u64, behind_ms: u64) {
        let at_ms = now.mono_ms as i64;
        match self {
            Self::Rolling { ledger, .. } => ledger.add(at_ms - behind_ms as i64, units),
            Self::CalendarDay { ledger, .. } => ledger.add(now.wall_us / 1_000, units),
            Self::Execution { ledger, calls, .. } => {
                ledger.add(at_ms, lasted_ms);
                calls.add(at_ms, 1);
            }
            Self::Concurrency { .. } => {}
        }
    }

    /// A reading of time used shows how much of our own measure was spent on the way.
    /// It is of a moment before `since_ms` of it were answered.
    pub(super) fn learn_way(&mut self, reported: u64, since_ms: u64) {
        if let Self::Execution {
            ledger, calls, way, ..
        } = self
            && calls.total() >= CALLS_MIN
        {
            let over_ms = ledger.total().saturating_sub(since_ms + reported);
            way.learn(over_ms, calls.total(), ledger.total());
        }
    }

    /// Units that are still counted and may have fallen out at a moment, because long windows are kept by the minute.
    pub(super) fn rounded(&self, at_ms: u64) -> u64 {
        match self {
            Self::Rolling { window_ms, ledger } if !self.is_short() => {
                let oldest_ms = at_ms as i64 - (*window_ms + GRAIN_MS) as i64 + MINUTE_MS;
                ledger.until(oldest_ms)
            }
            _ => 0,
        }
    }

    /// Moments at which our units fall out, with the units, oldest first.
    pub(super) fn leaving(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let kept_ms = self.window_ms().map(|window_ms| window_ms + GRAIN_MS);
        let entries = self
            .ledger()
            .into_iter()
            .flat_map(|ledger| ledger.entries());
        entries.filter_map(move |(stamp, units)| {
            let leaves_ms = stamp + kept_ms? as i64;
            Some((leaves_ms.max(0) as u64, units))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: u64 = 800;
    const LASTED_MS: u64 = 1_200_000;

    fn taught(over_ms: impl Fn(u64) -> u64) -> u64 {
        let mut way = WayTime::default();
        (0..400).for_each(|reading| way.learn(over_ms(reading), CALLS, LASTED_MS));
        way.of(CALLS, LASTED_MS)
    }

    #[test]
    fn only_what_readings_agree_on_is_taken_for_the_way() {
        let way_ms = taught(|reading| 30_000 - reading % 2 * 1_500);
        assert!((28_000..=30_000).contains(&way_ms), "{way_ms}");
        assert_eq!(
            taught(|reading| [500_000, 700_000][reading as usize % 2]),
            LASTED_MS / WAY_PART,
            "two servers that each know about a half"
        );
        assert_eq!(
            taught(|reading| reading * 37 % 100 * 4_000),
            0,
            "figures that have nothing to do with each other"
        );
        assert_eq!(
            taught(|_| LASTED_MS),
            LASTED_MS / WAY_PART,
            "a figure that stands still"
        );
    }
}
