//! Dates and moments as text. A date never passes through a time zone; a moment without one is UTC.

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{Span, Timestamp, Unit};

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Days since 1970. Takes `2024-05-01`, also with a time of day behind it.
pub(crate) fn date(text: &str) -> Option<i32> {
    let day = match text.split_once([' ', 'T']) {
        Some((day, time)) => {
            time.parse::<jiff::civil::Time>().ok()?;
            day
        }
        None => text,
    };
    // Ten characters exactly: other notations would be guesses.
    if day.len() != 10 {
        return None;
    }
    let day: Date = day.parse().ok()?;
    Some(day.since((Unit::Day, EPOCH)).ok()?.get_days())
}

/// `None` for a day outside the years 0 to 9999, which SQLite's functions can't read back.
pub(crate) fn date_text(days: i32) -> Option<String> {
    let day = EPOCH.checked_add(Span::new().try_days(days).ok()?).ok()?;
    (0..=9999).contains(&day.year()).then(|| day.to_string())
}

/// Microseconds since 1970. Takes `2024-05-01 10:20[:30[.5]]`, with `T` or a space, and with `Z`, an offset
/// or nothing, which means UTC.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_microsecond());
    }
    // A zone's name in brackets is no part of what databases write.
    if text.contains(['[', 'Z']) || text.len() < 10 {
        return None;
    }
    let local: DateTime = text.parse().ok()?;
    let moment = Offset::UTC.to_timestamp(local).ok()?;
    Some(moment.as_microsecond())
}

/// `2024-05-01 10:20:30`, with `.123` or `.123456` where there is a fraction, so that texts sort as moments
/// do. `iso` gives `2024-05-01T10:20:30Z`.
pub(crate) fn timestamp_text(micros: i64, iso: bool) -> Option<String> {
    let moment = Timestamp::from_microsecond(micros).ok()?;
    let at = Offset::UTC.to_datetime(moment);
    if !(0..=9999).contains(&at.year()) {
        return None;
    }
    let (between, end) = if iso { ('T', "Z") } else { (' ', "") };
    let (date, hour, minute, second) = (at.date(), at.hour(), at.minute(), at.second());
    let fraction = match micros.rem_euclid(1_000_000) {
        0 => String::new(),
        fraction if fraction % 1_000 == 0 => format!(".{:03}", fraction / 1_000),
        fraction => format!(".{fraction:06}"),
    };
    Some(format!(
        "{date}{between}{hour:02}:{minute:02}:{second:02}{fraction}{end}"
    ))
}
