//! A day of a company with many records, compressed: as many changes as a day brings, and a minute that lasts as much
//! shorter, so that the org is asked as often as in a whole day.

use std::time::Duration;

use super::crowd::Busy;

/// From so many records on the demo plays a day instead of a few busy seconds.
const RECORDS_LEAST: u32 = 50_000;
/// Of all records, how many change on each side in a day.
const CHANGED_SHARE: f64 = 0.1;
const MINUTES: u32 = 24 * 60;
const SECONDS_BUSY: u32 = 12;
const SECONDS_DAY: u32 = 300;
/// More often than this nothing is asked.
const MINUTE_LEAST: Duration = Duration::from_millis(100);

/// How both sides are changed after the first sync, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub time: Duration,
    pub busy: Busy,
    /// How long a minute lasts, where the whole is a day.
    pub minute: Option<Duration>,
}

impl Course {
    pub(super) fn of(records: u32, seconds: Option<u32>) -> Self {
        let is_day = records >= RECORDS_LEAST;
        let usual = if is_day { SECONDS_DAY } else { SECONDS_BUSY };
        let mut time = Duration::from_secs(seconds.unwrap_or(usual).into());
        if is_day {
            time = time.max(MINUTE_LEAST * MINUTES);
        }
        Self {
            time,
            busy: match is_day {
                true => Busy::with(f64::from(records) * CHANGED_SHARE, time),
                false => Busy::default(),
            },
            minute: is_day.then(|| time / MINUTES),
        }
    }
}
