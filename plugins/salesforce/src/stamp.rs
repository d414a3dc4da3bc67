//! Dates and moments as Salesforce writes them, to and from microseconds and days since 1970.
//!
//! Plain arithmetic over the proleptic Gregorian calendar: a date never meets a time zone, and a plugin that
//! carries no time zone table stays small.

const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a civil date.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March put the leap day last, which makes the months' lengths regular.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
fn civil_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The number that `width` digits at the front of `text` make, and the rest.
fn digits(text: &str, width: usize) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(width)?;
    if head.bytes().all(|byte| byte.is_ascii_digit()) {
        Some((head.parse().ok()?, rest))
    } else {
        None
    }
}

/// `2026-03-01` at the front of `text`, as days since 1970, and the rest.
fn leading_date(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    Some((checked_days(year, month, day)?, rest))
}

fn checked_days(year: i64, month: i64, day: i64) -> Option<i64> {
    let days = days_of(year, month, day);
    // A day that the month does not have comes back as one of the next month.
    (civil_of(days) == (year, month, day)).then_some(days)
}

/// `10:00:00` at the front of `text`, as microseconds, and the rest.
fn leading_time(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let valid = hour < 24 && minute < 60 && second < 60;
    valid.then_some((((hour * 60 + minute) * 60 + second) * 1_000_000, rest))
}

fn leading_fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, rest) = rest.split_at(length);
    if fraction.is_empty() {
        return None;
    }
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some((micros.parse().ok()?, rest))
}

/// `Z`, `+0000` or `+00:00` as the whole of `text`.
fn offset_us(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = digits(rest, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':').unwrap_or(rest), 2)?;
    rest.is_empty()
        .then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

/// Days since 1970 of `2026-03-01`.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let (days, rest) = leading_date(text)?;
    rest.is_empty().then_some(i32::try_from(days).ok()?)
}

/// Microseconds since 1970 of `2026-03-01T10:00:00.000+0000`.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (days, rest) = leading_date(text)?;
    let (time_us, rest) = leading_time(rest.strip_prefix('T')?)?;
    let (fraction_us, rest) = leading_fraction(rest)?;
    Some(days * DAY_US + time_us + fraction_us - offset_us(rest)?)
}

/// Microseconds since 1970 of an HTTP `Date` header: `Sun, 01 Mar 2026 10:00:00 GMT`.
pub(crate) fn parse_http(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let (day, rest) = digits(rest, 2)?;
    let (name, rest) = rest.strip_prefix(' ')?.split_at_checked(3)?;
    let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
    let (year, rest) = digits(rest.strip_prefix(' ')?, 4)?;
    let (time_us, rest) = leading_time(rest.strip_prefix(' ')?)?;
    (rest == " GMT").then_some(checked_days(year, month, day)? * DAY_US + time_us)
}

/// `2026-03-01`
pub(crate) fn date_text(days: i32) -> String {
    let (year, month, day) = civil_of(i64::from(days));
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-03-01T10:00:00.000`, floored to the millisecond, without a zone.
fn moment(us: i64) -> String {
    let date = date_text(us.div_euclid(DAY_US) as i32);
    let ms = us.rem_euclid(DAY_US) / 1_000;
    let (second, ms) = (ms / 1_000, ms % 1_000);
    let (minute, second) = (second / 60, second % 60);
    format!(
        "{date}T{:02}:{:02}:{second:02}.{ms:03}",
        minute / 60,
        minute % 60
    )
}

/// As a field's value: `2026-03-01T10:00:00.000+0000`.
pub(crate) fn field_text(us: i64) -> String {
    moment(us) + "+0000"
}

/// As a SOQL literal: `2026-03-01T10:00:00.000Z`.
pub(crate) fn soql_text(us: i64) -> String {
    moment(us) + "Z"
}

/// As a parameter of the replication resources, which go by whole seconds: `2026-03-01T10:00:00+00:00`.
pub(crate) fn parameter_text(us: i64) -> String {
    let mut text = moment(us);
    text.truncate(text.len() - ".000".len());
    text + "+00:00"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_spelling() {
        let cases = [
            ("1970-01-01T00:00:00.000+0000", Some(0)),
            ("1969-12-31T23:59:59.999Z", Some(-1_000)),
            ("2026-03-01T10:00:00.000+0000", Some(1_772_359_200_000_000)),
            ("2026-03-01T12:30:00+02:30", Some(1_772_359_200_000_000)),
            ("2026-03-01T07:30:00.000-0230", Some(1_772_359_200_000_000)),
            ("2000-02-29T00:00:00.123456789Z", Some(951_782_400_123_456)),
            ("1700-01-01T00:00:00.000+0000", Some(-8_520_336_000_000_000)),
            ("2026-02-29T00:00:00.000+0000", None),
            ("2026-03-01T24:00:00.000+0000", None),
            ("2026-03-01T10:00:00.+0000", None),
            ("2026-03-01T10:00:00.000", None),
            ("2026-03-01", None),
            ("gestern", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let mut us = -12_345_678_901_000;
        while us < 9_000_000_000_000_000 {
            for text in [field_text(us), soql_text(us)] {
                assert_eq!(parse(&text), Some(us), "{text}");
            }
            let seconds = us.div_euclid(1_000_000) * 1_000_000;
            assert_eq!(parse(&parameter_text(us)), Some(seconds));
            let days = us.div_euclid(DAY_US) as i32;
            assert_eq!(parse_date(&date_text(days)), Some(days));
            us += 7_777_777_777_000;
        }
        assert_eq!(field_text(-1), "1969-12-31T23:59:59.999+0000");
        assert_eq!(date_text(-25_567), "1900-01-01");
        assert_eq!(parse_date("2026-13-01"), None);
        assert_eq!(parse_date("2026-03-01T00:00:00Z"), None);
    }

    #[test]
    fn the_date_header_is_the_vendors_clock() {
        assert_eq!(
            parse_http("Sun, 01 Mar 2026 10:00:00 GMT"),
            Some(1_772_359_200_000_000)
        );
        assert_eq!(parse_http("Sun, 31 Feb 2026 10:00:00 GMT"), None);
        assert_eq!(parse_http("Sun, 01 Mar 2026 10:00:00 CET"), None);
        assert_eq!(parse_http(""), None);
    }
}
