//! Dates and times in the forms that the API speaks.

use jiff::Timestamp;
use jiff::civil::Date;

/// As in `2026-03-01T10:00:00.000+0000`.
pub(crate) fn written(ms: i64) -> String {
    let moment = timestamp(ms);
    format!(
        "{}.{:03}+0000",
        moment.strftime("%Y-%m-%dT%H:%M:%S"),
        ms.rem_euclid(1000)
    )
}

/// Milliseconds since 1970 of an ISO 8601 time with its offset, finer digits cut off.
pub(crate) fn read(text: &str) -> Option<i64> {
    let text = text.trim();
    let parsed: Timestamp = text.parse().ok()?;
    let nanoseconds = parsed.as_nanosecond();
    i64::try_from(nanoseconds.div_euclid(1_000_000)).ok()
}

/// Milliseconds since 1970 of an HTTP date.
pub(crate) fn read_http_date(text: &str) -> Option<i64> {
    let read = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(read.timestamp().as_millisecond())
}

/// A plain `YYYY-MM-DD`; a time after it is not looked at.
pub(crate) fn read_date(text: &str) -> Option<Date> {
    let day = text.get(..10)?;
    let shaped = day.bytes().enumerate().all(|(place, byte)| {
        if place == 4 || place == 7 {
            byte == b'-'
        } else {
            byte.is_ascii_digit()
        }
    });
    let alone = text.len() == 10 || text.as_bytes()[10] == b'T';
    (shaped && alone).then(|| day.parse().ok()).flatten()
}

pub(crate) fn whole_seconds(ms: u64) -> i64 {
    i64::try_from(ms / 1000 * 1000).unwrap_or(i64::MAX)
}

/// The day of a time, in UTC.
pub(crate) fn day(ms: i64) -> Date {
    jiff::tz::TimeZone::UTC.to_datetime(timestamp(ms)).date()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}
