//! Values on their way between columns and records.
//!
//! Any SQLite column may hold anything. So a column is read in a form that always fits, and judged here: what
//! is not of the column's kind becomes *unset*, so that one odd value stops neither its row nor its table, and
//! nothing is ever converted by guess. What can't be stored exactly is refused, never rounded.

use tidegate_sdk::{DataType, Value as Given};

use crate::calendar;
use crate::database::{Class, Value};
use crate::kind::Affinity;
use crate::quoting;
use crate::schema::Column;
use crate::settings::Timestamps;

/// One field of one record, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Unset,
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Decimal(String),
    Text(String),
    Timestamp(i64),
    Date(i32),
    Bytes(Vec<u8>),
    Json(String),
}

impl Cell {
    /// As the SDK's builders take it.
    pub fn as_value(&self) -> Given<'_> {
        match self {
            Self::Unset => Given::Unset,
            Self::Null => Given::Null,
            Self::Boolean(value) => Given::Boolean(*value),
            Self::Integer(value) => Given::Integer(*value),
            Self::Float(value) => Given::Float(*value),
            Self::Decimal(value) => Given::Decimal(value),
            Self::Text(value) => Given::Text(value),
            Self::Timestamp(value) => Given::Timestamp(*value),
            Self::Date(value) => Given::Date(*value),
            Self::Bytes(value) => Given::Bytes(value),
            Self::Json(value) => Given::Json(value),
        }
    }
}

/// Expressions that read a column, with their classes. Numbers come as text, because that class never
/// fails to fit; 15 digits are what SQLite promises to keep of a decimal. Floating point comes as it is,
/// beside a sign that there was something else.
pub(crate) fn expressions(column: &Column) -> Vec<(String, Class)> {
    let name = quoting::name(&column.name);
    if column.kind == DataType::Float {
        return vec![
            (
                format!(
                    "CASE WHEN typeof({name}) = 'real' AND abs({name}) < 9e999 THEN {name} \
                    WHEN typeof({name}) = 'integer' THEN CAST({name} AS REAL) END"
                ),
                Class::Real,
            ),
            (format!("{name} IS NOT NULL"), Class::Integer),
        ];
    }
    let text = match column.affinity {
        Affinity::Text => format!("CAST({name} AS BLOB)"),
        _ => format!(
            "CAST(CASE typeof({name}) WHEN 'real' THEN printf('%!.15g', {name}) ELSE {name} END AS BLOB)"
        ),
    };
    vec![(text, Class::Blob)]
}

/// How many result columns [`expressions`] gives.
pub(crate) fn width(column: &Column) -> usize {
    if column.kind == DataType::Float { 2 } else { 1 }
}

/// Reads a cell from the result columns that [`expressions`] asked for. `None`: there is a value, but it
/// is not of the column's kind.
pub(crate) fn read(column: &Column, timestamps: Timestamps, values: &[Value]) -> Option<Cell> {
    if column.kind == DataType::Float {
        return match (&values[0], &values[1]) {
            (Value::Real(value), _) => Some(Cell::Float(*value)),
            (_, Value::Integer(0)) => Some(Cell::Null),
            _ => None,
        };
    }
    let Value::Blob(bytes) = &values[0] else {
        return Some(Cell::Null);
    };
    if column.kind == DataType::Bytes {
        return Some(Cell::Bytes(bytes.clone()));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    match column.kind {
        DataType::Boolean => boolean(text).map(Cell::Boolean),
        DataType::Integer => text.parse().ok().map(Cell::Integer),
        DataType::Decimal => decimal(column, text).map(Cell::Decimal),
        DataType::Date => calendar::date(text).map(Cell::Date),
        DataType::Timestamp => timestamp(text, timestamps).map(Cell::Timestamp),
        DataType::Json => serde_json::from_str::<serde::de::IgnoredAny>(text)
            .is_ok()
            .then(|| Cell::Json(text.to_owned())),
        DataType::Text | DataType::Bytes | DataType::Float => Some(Cell::Text(text.to_owned())),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" => Some(true),
        "0" | "false" | "f" => Some(false),
        _ => None,
    }
}

fn timestamp(text: &str, timestamps: Timestamps) -> Option<i64> {
    let per_unit = match timestamps {
        Timestamps::Text | Timestamps::Iso => return calendar::timestamp(text),
        Timestamps::Seconds => 1_000_000,
        Timestamps::Milliseconds => 1_000,
    };
    match text.parse::<i64>() {
        Ok(units) => units.checked_mul(per_unit),
        Err(_) => calendar::timestamp(text),
    }
}

/// Plain digits, padded to the column's scale. Digits beyond the scale stay: they are in the database.
fn decimal(column: &Column, text: &str) -> Option<String> {
    // A text column keeps the digits that were written, zeros included.
    if column.affinity == Affinity::Text && is_plain(text) {
        return Some(text.to_owned());
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    // Larger exponents than doubles have are no number of this database's.
    if exponent.abs() > 400 {
        return None;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    let scale = column.scale.unwrap_or(0) as usize;
    Some(place(negative, &digits, point, scale))
}

/// `-?digits[.digits]`
fn is_plain(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    }
}

/// Writes digits with the point after the first `point` of them.
fn place(negative: bool, digits: &str, point: i64, scale: usize) -> String {
    let mut digits = digits.to_owned();
    let mut point = point;
    while point < 1 {
        digits.insert(0, '0');
        point += 1;
    }
    let point = usize::try_from(point).unwrap_or_default();
    while digits.len() < point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    // A real always shows a digit after the point; zeros beyond the scale say nothing.
    let mut fraction = fraction.trim_end_matches('0').to_owned();
    while fraction.len() < scale {
        fraction.push('0');
    }
    let zero = whole == "0" && fraction.bytes().all(|byte| byte == b'0');
    let sign = if negative && !zero { "-" } else { "" };
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// Why a value can't be written to a column. Names the kinds, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Kind {
        expected: DataType,
        found: &'static str,
    },
    Digits,
    Range,
}

impl Unfit {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Kind { .. } => "wrong-kind",
            Self::Digits => "decimal-too-precise",
            Self::Range => "out-of-range",
        }
    }

    pub(crate) fn message(self, column: &str) -> String {
        match self {
            Self::Kind { expected, found } => format!(
                "column {column} holds {} and was given {found}; convert it in the mapping",
                expected.name()
            ),
            Self::Digits => format!(
                "column {column} would round a number of more than 15 digits; declare the column TEXT \
                 and set its type to decimal in the endpoint's config"
            ),
            Self::Range => format!("column {column} can't hold a moment so far away"),
        }
    }
}

/// What to bind for a field that is not unset. Every kind may go into text, in its usual notation.
pub(crate) fn write(
    column: &Column,
    timestamps: Timestamps,
    given: Given<'_>,
) -> Result<Value, Unfit> {
    let text = column.kind == DataType::Text;
    match (given, column.kind) {
        (Given::Null | Given::Unset, _) => Ok(Value::Null),
        (Given::Boolean(value), DataType::Boolean | DataType::Integer) => {
            Ok(Value::Integer(i64::from(value)))
        }
        (Given::Integer(value), DataType::Integer) => Ok(Value::Integer(value)),
        (Given::Integer(value), DataType::Decimal | DataType::Text) => {
            Ok(Value::Text(value.to_string()))
        }
        (Given::Float(value), DataType::Float) => Ok(Value::Real(value)),
        // Whole numbers beyond 2^53 are not all there in floating point.
        (Given::Integer(value), DataType::Float) if value.unsigned_abs() <= 1 << 53 => {
            Ok(Value::Real(value as f64))
        }
        (Given::Integer(_), DataType::Float) => Err(Unfit::Digits),
        (Given::Decimal(value), DataType::Decimal | DataType::Text) => {
            kept_digits(column.affinity, value)
                .map(Value::from)
                .ok_or(Unfit::Digits)
        }
        (Given::Text(value) | Given::Json(value), DataType::Text | DataType::Json) => {
            Ok(Value::from(value))
        }
        (Given::Date(days), _) if text || column.kind == DataType::Date => {
            calendar::date_text(days)
                .map(Value::Text)
                .ok_or(Unfit::Range)
        }
        (Given::Timestamp(micros), _) if text || column.kind == DataType::Timestamp => {
            moment(micros, if text { Timestamps::Text } else { timestamps }).ok_or(Unfit::Range)
        }
        (Given::Bytes(value), DataType::Bytes) => Ok(Value::Blob(value.to_vec())),
        (given, expected) => Err(Unfit::Kind {
            expected,
            found: given.kind(),
        }),
    }
}

fn moment(micros: i64, timestamps: Timestamps) -> Option<Value> {
    match timestamps {
        Timestamps::Text => calendar::timestamp_text(micros, false).map(Value::Text),
        Timestamps::Iso => calendar::timestamp_text(micros, true).map(Value::Text),
        Timestamps::Seconds => Some(Value::Integer(micros.div_euclid(1_000_000))),
        Timestamps::Milliseconds => Some(Value::Integer(micros.div_euclid(1_000))),
    }
}

/// The text from which the column makes exactly this number. A column of a numeric affinity turns text into a 64-bit
/// integer, if there is no point in it, or into a double, whatever its declaration says.
fn kept_digits(affinity: Affinity, decimal: &str) -> Option<&str> {
    if matches!(affinity, Affinity::Text | Affinity::Blob) {
        return Some(decimal);
    }
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() && affinity != Affinity::Real && whole.parse::<i64>().is_ok() {
        return Some(whole);
    }
    let significant = format!("{}{fraction}", whole.trim_start_matches('-'));
    (significant.trim_matches('0').len() <= 15).then_some(decimal)
}
