//! Dates and timestamps as text. Nothing here passes through a time zone: text without an offset is UTC.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::Offset;

use crate::item::Trouble;

const DAY_US: i64 = 86_400_000_000;

fn out_of_range(what: &str) -> Trouble {
    Trouble::new(
        "out-of-range",
        format!("this {what} is before year -9999 or after 9999"),
    )
}

fn utc(timestamp_us: i64) -> Option<DateTime> {
    let timestamp = Timestamp::from_microsecond(timestamp_us).ok()?;
    Some(Offset::UTC.to_datetime(timestamp))
}

fn microseconds(datetime: DateTime) -> Option<i64> {
    Some(Offset::UTC.to_timestamp(datetime).ok()?.as_microsecond())
}

fn civil(days: i32) -> Option<Date> {
    Some(utc(i64::from(days).checked_mul(DAY_US)?)?.date())
}

fn days(date: Date) -> Option<i32> {
    let us = microseconds(date.at(0, 0, 0, 0))?;
    i32::try_from(us.div_euclid(DAY_US)).ok()
}

pub(crate) fn write_date(days: i32, format: Option<&str>) -> Result<String, Trouble> {
    let date = civil(days).ok_or_else(|| out_of_range("date"))?;
    match format {
        None => Ok(date.to_string()),
        Some(format) => strtime::format(format, date).map_err(|_| unwritable("date")),
    }
}

pub(crate) fn write_timestamp(timestamp_us: i64, format: Option<&str>) -> Result<String, Trouble> {
    let timestamp =
        Timestamp::from_microsecond(timestamp_us).map_err(|_| out_of_range("timestamp"))?;
    match format {
        None => Ok(timestamp.to_string()),
        Some(format) => strtime::format(format, timestamp).map_err(|_| unwritable("timestamp")),
    }
}

fn unwritable(what: &str) -> Trouble {
    Trouble::new("format", format!("the format can't write this {what}"))
}

pub(crate) fn read_date(text: &str, format: Option<&str>) -> Result<i32, Trouble> {
    let text = text.trim();
    let date = match format {
        // jiff would also take a date with a time behind it, and drop the time.
        None => text
            .parse()
            .ok()
            .filter(|date: &Date| date.to_string() == text),
        Some(format) => BrokenDownTime::parse(format, text)
            .and_then(|parts| parts.to_date())
            .ok(),
    };
    date.and_then(days).ok_or_else(|| {
        let form = format.unwrap_or("YYYY-MM-DD");
        Trouble::new(
            "not-a-date",
            format!("this text is not a date of the form {form}"),
        )
    })
}

pub(crate) fn read_timestamp(text: &str, format: Option<&str>) -> Result<i64, Trouble> {
    let text = text.trim();
    let read = match format {
        None => text.parse().ok(),
        Some(format) => BrokenDownTime::parse(format, text).ok().and_then(|parts| {
            if parts.offset().is_some() {
                return parts.to_timestamp().ok();
            }
            let datetime = parts.to_datetime().ok()?;
            Offset::UTC.to_timestamp(datetime).ok()
        }),
    };
    read.map(Timestamp::as_microsecond).ok_or_else(|| {
        let form = format.unwrap_or("YYYY-MM-DDThh:mm:ssZ");
        Trouble::new(
            "not-a-timestamp",
            format!("this text is not a timestamp of the form {form}"),
        )
    })
}

/// The timestamp at which the date begins in UTC.
pub(crate) fn midnight(days: i32) -> i64 {
    i64::from(days) * DAY_US
}

/// The date in UTC, and whether the timestamp is its very beginning.
pub(crate) fn date_of(timestamp_us: i64) -> Result<(i32, bool), Trouble> {
    let days =
        i32::try_from(timestamp_us.div_euclid(DAY_US)).map_err(|_| out_of_range("timestamp"))?;
    Ok((days, timestamp_us.rem_euclid(DAY_US) == 0))
}
