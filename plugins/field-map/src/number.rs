//! Decimal numbers as text: read, rounded, never through binary floating point.

use std::borrow::Cow;

use crate::item::Trouble;
use crate::written::Rounding;

fn not_a_number() -> Trouble {
    Trouble::new("not-a-number", "this text is not a number")
}

/// Reads what a person or a database wrote into `-?digits[.digits]`.
pub(crate) fn parse<'a>(
    text: &'a str,
    point: &str,
    thousands: Option<&str>,
) -> Result<Cow<'a, str>, Trouble> {
    let text = text.trim();
    if is_plain(text) && point == "." {
        return Ok(text.into());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = match digits.split_once(point) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let whole = match thousands {
        Some(separator) => ungrouped(whole, separator)?,
        None => whole.into(),
    };
    let whole = if whole.is_empty() && fraction.is_some() {
        "0".into()
    } else {
        whole
    };
    let number = match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    };
    if is_plain(&number) {
        Ok(number.into())
    } else {
        Err(not_a_number())
    }
}

/// `1.234.567` without its separators, which must stand before groups of three digits.
fn ungrouped<'a>(whole: &'a str, separator: &str) -> Result<Cow<'a, str>, Trouble> {
    let mut groups = whole.split(separator);
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    if rest.is_empty() {
        return Ok(whole.into());
    }
    if first.is_empty() || first.len() > 3 || rest.iter().any(|group| group.len() != 3) {
        return Err(not_a_number());
    }
    Ok(format!("{first}{}", rest.concat()).into())
}

fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match digits.split_once('.') {
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => all_digits(digits),
    }
}

/// The number with at most `scale` digits after the point.
pub(crate) fn fit<'a>(
    number: Cow<'a, str>,
    scale: u32,
    rounding: Rounding,
) -> Result<Cow<'a, str>, Trouble> {
    let scale = scale as usize;
    let Some(point) = number.find('.') else {
        return Ok(number);
    };
    let fraction = &number[point + 1..];
    if fraction.len() <= scale {
        return Ok(number);
    }
    if fraction.as_bytes()[scale..]
        .iter()
        .all(|digit| *digit == b'0')
    {
        let end = if scale == 0 { point } else { point + 1 + scale };
        return Ok(number[..end].to_owned().into());
    }
    if rounding == Rounding::Refuse {
        return Err(Trouble::new(
            "too-many-digits",
            format!(
                "this number has more than {scale} digits after the point; say how to round it"
            ),
        ));
    }
    Ok(round(&number, point, scale, rounding).into())
}

fn round(number: &str, point: usize, scale: usize, rounding: Rounding) -> String {
    let negative = number.starts_with('-');
    let start = usize::from(negative);
    let mut digits: Vec<u8> = number[start..point]
        .bytes()
        .chain(number[point + 1..point + 1 + scale].bytes())
        .collect();
    let rest = &number.as_bytes()[point + 1 + scale..];
    let half = (rest[0], rest[1..].iter().any(|digit| *digit != b'0'));
    let odd = digits.last().is_some_and(|digit| digit % 2 == 1);
    let away = match rounding {
        Rounding::Refuse | Rounding::Down => false,
        Rounding::Up => true,
        Rounding::HalfUp => half.0 >= b'5',
        Rounding::HalfEven => half > (b'5', false) || (half == (b'5', false) && odd),
    };
    if away {
        increment(&mut digits);
    }
    let whole = digits.len() - scale;
    let zero = digits.iter().all(|digit| *digit == b'0');
    let mut text = String::with_capacity(digits.len() + 2);
    if negative && !zero {
        text.push('-');
    }
    for (index, digit) in digits.iter().enumerate() {
        if index == whole {
            text.push('.');
        }
        text.push(char::from(*digit));
    }
    text
}

/// Adds one in the last place.
fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit == b'9' {
            *digit = b'0';
        } else {
            *digit += 1;
            return;
        }
    }
    digits.insert(0, b'1');
}

/// The number as a whole one of 64 bits.
pub(crate) fn whole(number: &str, rounding: Rounding) -> Result<i64, Trouble> {
    let whole = fit(number.into(), 0, rounding).map_err(|_| {
        Trouble::new(
            "not-whole",
            "this number has digits after the point and the field takes whole numbers; say how to round it",
        )
    })?;
    whole.parse().map_err(|_| {
        Trouble::new(
            "out-of-range",
            "this number does not fit a whole number of 64 bits",
        )
    })
}

/// As people of a place write it.
pub(crate) fn write(number: &str, point: &str, thousands: Option<&str>) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if let Some(separator) = thousands
            && index > 0
            && (whole.len() - index).is_multiple_of(3)
        {
            text.push_str(separator);
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push_str(point);
        text.push_str(fraction);
    }
    text
}
