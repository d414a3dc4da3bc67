//! Single values, and the fingerprints by which two of them are called equal.
//!
//! A fingerprint stands for a value wherever the value itself need not be kept. Values that mean the
//! same have one fingerprint, whatever the type that carries them: `1.5`, `1.50` and the float 1.5 are
//! one number, and two timestamps are equal at the coarser side's resolution.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::batch::{Cell, DataType};

/// An owned value of one field. What is unset has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Decimal(Box<str>),
    Text(Box<str>),
    Timestamp(i64),
    Date(i32),
    Bytes(Box<[u8]>),
    Json(Box<str>),
}

impl Value {
    /// `None` for an unset cell.
    pub fn from_cell(cell: Cell<'_>) -> Option<Self> {
        Some(match cell {
            Cell::Unset => return None,
            Cell::Null => Self::Null,
            Cell::Boolean(value) => Self::Boolean(value),
            Cell::Integer(value) => Self::Integer(value),
            Cell::Float(value) => Self::Float(value),
            Cell::Decimal(value) => Self::Decimal(value.into()),
            Cell::Text(value) => Self::Text(value.into()),
            Cell::Timestamp(value) => Self::Timestamp(value),
            Cell::Date(value) => Self::Date(value),
            Cell::Bytes(value) => Self::Bytes(value.into()),
            Cell::Json(value) => Self::Json(value.into()),
        })
    }

    pub fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Boolean(value) => Cell::Boolean(*value),
            Self::Integer(value) => Cell::Integer(*value),
            Self::Float(value) => Cell::Float(*value),
            Self::Decimal(value) => Cell::Decimal(value),
            Self::Text(value) => Cell::Text(value),
            Self::Timestamp(value) => Cell::Timestamp(*value),
            Self::Date(value) => Cell::Date(*value),
            Self::Bytes(value) => Cell::Bytes(value),
            Self::Json(value) => Cell::Json(value),
        }
    }

    /// What it takes to keep the value, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Decimal(text) | Self::Text(text) | Self::Json(text) => text.len() + 8,
            Self::Bytes(bytes) => bytes.len() + 8,
            _ => 16,
        }
    }

    /// `None` for null.
    pub fn data_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(_) => DataType::Boolean,
            Self::Integer(_) => DataType::Integer,
            Self::Float(_) => DataType::Float,
            Self::Decimal(_) => DataType::Decimal,
            Self::Text(_) => DataType::Text,
            Self::Timestamp(_) => DataType::Timestamp,
            Self::Date(_) => DataType::Date,
            Self::Bytes(_) => DataType::Bytes,
            Self::Json(_) => DataType::Json,
        })
    }
}

/// The fingerprint of a field that has never been agreed on; no value has it.
pub const NEVER: u64 = 0;

const TAG_NULL: u8 = 0;
const TAG_BOOLEAN: u8 = 1;
const TAG_NUMBER: u8 = 2;
const TAG_TEXT: u8 = 3;
const TAG_TIMESTAMP: u8 = 4;
const TAG_DATE: u8 = 5;
const TAG_BYTES: u8 = 6;
const TAG_JSON: u8 = 7;

/// The fingerprint of a cell; [`NEVER`] when it is unset. `resolution_us` is the smallest step of a
/// timestamp that both sides can hold.
pub fn fingerprint(cell: Cell<'_>, resolution_us: u32) -> u64 {
    canonical(cell, resolution_us, digest).unwrap_or(NEVER)
}

/// Gives `take` a tag for the kind of value, and bytes that are equal for values that mean the same. `None` when the cell
/// is unset.
pub(crate) fn canonical<T>(
    cell: Cell<'_>,
    resolution_us: u32,
    take: impl FnOnce(u8, &[u8]) -> T,
) -> Option<T> {
    Some(match cell {
        Cell::Unset => return None,
        Cell::Null => take(TAG_NULL, b""),
        Cell::Boolean(value) => take(TAG_BOOLEAN, &[u8::from(value)]),
        Cell::Integer(value) => take(TAG_NUMBER, value.to_string().as_bytes()),
        Cell::Float(value) => take(TAG_NUMBER, plain_number(&value.to_string()).as_bytes()),
        Cell::Decimal(value) => take(TAG_NUMBER, plain_number(value).as_bytes()),
        Cell::Text(value) => take(TAG_TEXT, value.as_bytes()),
        Cell::Timestamp(value) => {
            let step = i64::from(resolution_us.max(1));
            take(TAG_TIMESTAMP, &value.div_euclid(step).to_le_bytes())
        }
        Cell::Date(value) => take(TAG_DATE, &value.to_le_bytes()),
        Cell::Bytes(value) => take(TAG_BYTES, value),
        Cell::Json(value) => match serde_json::from_str::<serde_json::Value>(value) {
            // Parsed and written again: key order and white space do not count.
            Ok(document) => take(TAG_JSON, document.to_string().as_bytes()),
            Err(_) => take(TAG_JSON, value.as_bytes()),
        },
    })
}

/// Whether values of two types can mean the same.
pub fn may_equal(one: DataType, other: DataType) -> bool {
    let is_number = |kind: DataType| {
        matches!(
            kind,
            DataType::Integer | DataType::Float | DataType::Decimal
        )
    };
    one == other || is_number(one) && is_number(other)
}

fn digest(tag: u8, bytes: &[u8]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&[tag]);
    hasher.update(bytes);
    match hasher.digest() {
        NEVER => 1,
        other => other,
    }
}

/// Without leading and trailing zeros, and without a sign on zero.
fn plain_number(text: &str) -> std::borrow::Cow<'_, str> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() {
        if whole == "0" {
            return "0".into();
        }
        return format!("{sign}{whole}").into();
    }
    format!("{sign}{whole}.{fraction}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_has_one_fingerprint() {
        let second = 1_000_000;
        let same: &[(Cell<'_>, Cell<'_>)] = &[
            (Cell::Decimal("1.50"), Cell::Decimal("1.5")),
            (Cell::Decimal("-0.00"), Cell::Integer(0)),
            (Cell::Decimal("007"), Cell::Integer(7)),
            (Cell::Float(1.5), Cell::Decimal("1.500")),
            (Cell::Float(1e21), Cell::Decimal("1000000000000000000000")),
            (Cell::Timestamp(-1), Cell::Timestamp(-999_999)),
            (
                Cell::Json(r#"{"a":1, "b":2}"#),
                Cell::Json(r#"{"b":2,"a":1}"#),
            ),
        ];
        for (left, right) in same {
            assert_eq!(
                fingerprint(*left, second),
                fingerprint(*right, second),
                "{left:?} {right:?}"
            );
        }
        let different: &[(Cell<'_>, Cell<'_>)] = &[
            (Cell::Text("007"), Cell::Text("7")),
            (Cell::Text(""), Cell::Null),
            (Cell::Text("0"), Cell::Integer(0)),
            (Cell::Null, Cell::Boolean(false)),
            (Cell::Timestamp(-1), Cell::Timestamp(0)),
            (Cell::Date(0), Cell::Timestamp(0)),
            (Cell::Integer(1), Cell::Integer(-1)),
            (Cell::Decimal("10"), Cell::Decimal("1")),
            (Cell::Null, Cell::Unset),
        ];
        for (left, right) in different {
            assert_ne!(
                fingerprint(*left, second),
                fingerprint(*right, second),
                "{left:?} {right:?}"
            );
        }
    }
}
