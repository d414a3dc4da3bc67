//! Days as a zone has them: 23, 24 or 25 hours, from midnight to midnight.

use jiff::tz::TimeZone;

/// The day that was asked for last, because the zone's rules are dear to ask.
#[derive(Clone, Debug)]
pub(super) struct Days {
    zone: TimeZone,
    day: Day,
}

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) start_ms: i64,
    /// The next day's start.
    pub(super) end_ms: i64,
}

impl Days {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            day: Day::default(),
        }
    }

    /// The day that a moment lies in.
    pub(super) fn day(&self, wall_ms: i64) -> Day {
        if (self.day.start_ms..self.day.end_ms).contains(&wall_ms) {
            return self.day;
        }
        Day {
            start_ms: self.midnight(wall_ms, 0),
            end_ms: self.midnight(wall_ms, 1),
        }
    }

    /// The same, remembered. `true` when another day was remembered before.
    pub(super) fn turn_to(&mut self, wall_ms: i64) -> (Day, bool) {
        let before = self.day;
        self.day = self.day(wall_ms);
        (self.day, before != Day::default() && before != self.day)
    }

    fn midnight(&self, wall_ms: i64, days: i64) -> i64 {
        let moment = jiff::Timestamp::from_millisecond(wall_ms).unwrap_or_default();
        let date = self.zone.to_datetime(moment).date();
        date.checked_add(jiff::Span::new().days(days))
            .and_then(|date| self.zone.to_timestamp(date.at(0, 0, 0, 0)))
            .map_or(wall_ms, |midnight| midnight.as_millisecond())
    }
}
