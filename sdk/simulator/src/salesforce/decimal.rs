//! Exact decimals: a field's number is kept as an integer count of its smallest step.

/// Why a text is not a number that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    NotANumber,
    OutOfRange,
}

/// Reads `-12.345e1` into steps of `10^-scale`, rounding half away from zero.
pub(crate) fn read(text: &str, scale: u32, precision: u32) -> Result<i64, NotTaken> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent.parse::<i32>().map_err(|_| NotTaken::NotANumber)?,
        ),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: String = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotTaken::NotANumber);
    }
    let point = i64::try_from(whole.len()).map_err(|_| NotTaken::OutOfRange)?
        + i64::from(exponent)
        + i64::from(scale);
    let steps = round(all.trim_end_matches('0'), point)?;
    let limit = 10_i64
        .checked_pow(precision.min(18))
        .ok_or(NotTaken::OutOfRange)?;
    if steps >= limit {
        return Err(NotTaken::OutOfRange);
    }
    Ok(if negative { -steps } else { steps })
}

/// The digits before `point` as an integer, rounded by the digit after it.
fn round(digits: &str, point: i64) -> Result<i64, NotTaken> {
    let significant = digits.trim_start_matches('0');
    let zeros = i64::try_from(digits.len() - significant.len()).unwrap_or(0);
    let point = point - zeros;
    if significant.is_empty() || point < 0 {
        return Ok(0);
    }
    let point = usize::try_from(point).map_err(|_| NotTaken::OutOfRange)?;
    if point > 19 {
        return Err(NotTaken::OutOfRange);
    }
    let kept: String = significant
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(point)
        .map(char::from)
        .collect();
    let steps: i64 = if kept.is_empty() {
        0
    } else {
        kept.parse().map_err(|_| NotTaken::OutOfRange)?
    };
    let up = significant
        .as_bytes()
        .get(point)
        .is_some_and(|next| *next >= b'5');
    steps.checked_add(i64::from(up)).ok_or(NotTaken::OutOfRange)
}

/// As Salesforce prints a double: at least one decimal, no more than it needs.
pub(crate) fn written(steps: i64, scale: u32) -> String {
    let sign = if steps < 0 { "-" } else { "" };
    let digits = format!(
        "{:0>width$}",
        steps.unsigned_abs(),
        width = scale as usize + 1
    );
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        for (text, expected) in [
            ("0", Ok("0.0")),
            ("-0.00", Ok("0.0")),
            ("12.345", Ok("12.35")),
            ("-12.345", Ok("-12.35")),
            ("0.004999", Ok("0.0")),
            ("0.005", Ok("0.01")),
            ("0.0004", Ok("0.0")),
            ("1.5e3", Ok("1500.0")),
            ("15E-1", Ok("1.5")),
            ("100", Ok("100.0")),
            ("9999999999.99", Ok("9999999999.99")),
            ("10000000000", Err(NotTaken::OutOfRange)),
            ("9999999999.999", Err(NotTaken::OutOfRange)),
            ("1e400", Err(NotTaken::OutOfRange)),
            ("NaN", Err(NotTaken::NotANumber)),
            ("1,5", Err(NotTaken::NotANumber)),
            (".", Err(NotTaken::NotANumber)),
        ] {
            let got = read(text, 2, 12).map(|steps| written(steps, 2));
            assert_eq!(got.as_deref(), expected.as_deref(), "{text}");
        }
    }
}
