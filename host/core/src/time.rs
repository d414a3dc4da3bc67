//! The time, as an argument; and lengths of time as people write them.

use std::time::Duration;

/// A reading of the host's clock. Waiting goes by `mono_ms`, stamps and long windows by `wall_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment in this process; never falls, stands still when nothing drives it.
    pub mono_ms: u64,
    /// Microseconds since 1970, as the operating system tells it; may jump.
    pub wall_us: i64,
}

/// Why a written duration could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error(
        "`{0}` is not a duration; write a whole number and a unit, such as `250ms`, `5s`, `10m`, `24h` or `7d`"
    )]
    Malformed(String),
    #[error("`{0}` is longer than a machine can count")]
    TooLong(String),
    #[error("`{0}` is no time at all")]
    Zero(String),
}

/// Reads `250ms`, `5s`, `10m`, `24h` or `7d`: a whole number above zero and one unit.
pub fn parse_duration(written: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(written.to_owned());
    let text = written.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - unit.len()];
    let unit_ms: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(malformed()),
    };
    if digits.is_empty() {
        return Err(malformed());
    }
    let too_long = || DurationError::TooLong(written.to_owned());
    let number: u64 = digits.parse().map_err(|_| too_long())?;
    match number.checked_mul(unit_ms).ok_or_else(too_long)? {
        0 => Err(DurationError::Zero(written.to_owned())),
        ms => Ok(Duration::from_millis(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let cases = [
            ("250ms", Some(250)),
            ("5s", Some(5_000)),
            ("10 m", Some(600_000)),
            ("24h", Some(86_400_000)),
            ("7d", Some(604_800_000)),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("1.5h", None),
            ("-5s", None),
            ("5 s 3 ms", None),
            ("99999999999999999999h", None),
            ("9999999999999999999h", None),
        ];
        for (written, ms) in cases {
            let parsed = parse_duration(written)
                .ok()
                .map(|duration| duration.as_millis());
            assert_eq!(parsed, ms, "{written}");
        }
    }
}
