//! Lengths of time as people write them: `250ms`, `5s`, `10m`, `24h`, `7d`.

/// Why a length of time was not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a length of time: write a whole number and a unit, such as `250ms`, `5s`, `10m`, `24h` or `7d`"
)]
pub struct DurationError(String);

/// Milliseconds of a length of time. Zero is not one.
pub fn parse_duration_ms(written: &str) -> Result<u64, DurationError> {
    let refused = || DurationError(written.to_owned());
    let digits = written
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(refused)?;
    let (number, unit) = written.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .filter(|ms| *ms > 0)
        .ok_or_else(refused)
}
