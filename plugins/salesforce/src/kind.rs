//! A field's type and its values: Salesforce's JSON to and from the columns of a batch.
//!
//! Numbers stay text from end to end, so no digit passes through binary floating point.

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Number, Value as Json};
use tidegate_sdk::{DataType, Value};

use crate::{id, stamp};

/// Salesforce's types, told apart as far as their JSON differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Boolean = 0,
    Integer = 1,
    Decimal = 2,
    Text = 3,
    /// Text that is a record's id.
    Id = 4,
    Timestamp = 5,
    Date = 6,
    Bytes = 7,
    Json = 8,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Boolean,
        Self::Integer,
        Self::Decimal,
        Self::Text,
        Self::Id,
        Self::Timestamp,
        Self::Date,
        Self::Bytes,
        Self::Json,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// From the `type` that a describe tells. Types not known here are text, as most are.
    pub(crate) fn of(vendor_type: &str) -> Self {
        match vendor_type {
            "boolean" => Self::Boolean,
            "int" | "long" => Self::Integer,
            "double" | "currency" | "percent" => Self::Decimal,
            "id" | "reference" => Self::Id,
            "datetime" => Self::Timestamp,
            "date" => Self::Date,
            "base64" => Self::Bytes,
            "address" | "location" | "complexvalue" => Self::Json,
            _ => Self::Text,
        }
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Integer,
            Self::Decimal => DataType::Decimal,
            Self::Text | Self::Id => DataType::Text,
            Self::Timestamp => DataType::Timestamp,
            Self::Date => DataType::Date,
            Self::Bytes => DataType::Bytes,
            Self::Json => DataType::Json,
        }
    }

    /// Hands the value that `json` stands for to `take`; `None` when it can't be of this kind. A file's
    /// content comes as an address in queries, which counts as not sent.
    pub(crate) fn read<T>(self, json: &Json, take: impl FnOnce(Value<'_>) -> T) -> Option<T> {
        match (self, json) {
            (_, Json::Null) => Some(take(Value::Null)),
            (Self::Boolean, Json::Bool(value)) => Some(take(Value::Boolean(*value))),
            (Self::Integer, Json::Number(number)) => {
                let plain = plain_decimal(&number.to_string())?;
                let whole = plain
                    .split_once('.')
                    .map_or(plain.as_str(), |(whole, fraction)| {
                        if fraction.bytes().all(|digit| digit == b'0') {
                            whole
                        } else {
                            ""
                        }
                    });
                Some(take(Value::Integer(whole.parse().ok()?)))
            }
            (Self::Decimal, Json::Number(number)) => {
                Some(take(Value::Decimal(&plain_decimal(&number.to_string())?)))
            }
            (Self::Text, Json::String(text)) => Some(take(Value::Text(text))),
            (Self::Text, Json::Number(number)) => Some(take(Value::Text(&number.to_string()))),
            (Self::Text, Json::Bool(value)) => Some(take(Value::Text(&value.to_string()))),
            (Self::Id, Json::String(text)) => Some(take(Value::Text(&id::canonical(text)))),
            (Self::Timestamp, Json::String(text)) => {
                Some(take(Value::Timestamp(stamp::parse(text)?)))
            }
            (Self::Date, Json::String(text)) => Some(take(Value::Date(stamp::parse_date(text)?))),
            (Self::Bytes, Json::String(text)) if text.starts_with("/services/data/") => {
                Some(take(Value::Unset))
            }
            (Self::Bytes, Json::String(text)) => {
                Some(take(Value::Bytes(&BASE64.decode(text).ok()?)))
            }
            (Self::Json, json) => Some(take(Value::Json(&json.to_string()))),
            _ => None,
        }
    }

    /// The literal by which a query compares a field of this kind with `key`; `None` when no value of the
    /// kind is spelt so, and hence no record has it.
    pub(crate) fn literal(self, key: &str) -> Option<String> {
        match self {
            Self::Text | Self::Id => Some(crate::soql::quoted(key)),
            Self::Integer | Self::Decimal => plain_decimal(key),
            Self::Boolean => matches!(key, "true" | "false").then(|| key.to_owned()),
            Self::Timestamp => Some(stamp::soql_text(stamp::parse(key)?)),
            Self::Date => Some(stamp::date_text(stamp::parse_date(key)?)),
            Self::Bytes | Self::Json => None,
        }
    }
}

/// The JSON of a value to be written. `Ok(None)` when it is unset; the error says what is wrong with it,
/// never what it is.
pub(crate) fn written(value: Value<'_>) -> Result<Option<Json>, &'static str> {
    Ok(Some(match value {
        Value::Unset => return Ok(None),
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(value),
        Value::Integer(value) => Json::Number(value.into()),
        Value::Float(value) => Json::Number(Number::from_f64(value).ok_or("not a finite number")?),
        Value::Decimal(text) => {
            let plain = plain_decimal(text).ok_or("not a decimal number")?;
            Json::Number(Number::from_str(&plain).map_err(|_| "not a decimal number")?)
        }
        Value::Text(text) => Json::String(text.to_owned()),
        Value::Timestamp(us) => Json::String(stamp::field_text(us)),
        Value::Date(days) => Json::String(stamp::date_text(days)),
        Value::Bytes(bytes) => Json::String(BASE64.encode(bytes)),
        Value::Json(text) => serde_json::from_str(text).map_err(|_| "not a JSON document")?,
    }))
}

/// The text of an empty cell in a Bulk API file, which leaves the field alone, and of one that empties it.
const UNSET_CELL: &str = "";
pub(crate) const NULL_CELL: &str = "#N/A";

/// Why a value has no cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCell {
    /// No request can carry it; what is wrong with it, never what it is.
    Unwritable(&'static str),
    /// A request in JSON can.
    JsonOnly,
}

/// A value as a cell of a Bulk API file.
pub(crate) fn cell(value: Value<'_>) -> Result<Cow<'_, str>, NoCell> {
    const NOT_DECIMAL: NoCell = NoCell::Unwritable("not a decimal number");
    Ok(match value {
        Value::Unset => Cow::Borrowed(UNSET_CELL),
        // An empty text is null at Salesforce, also in JSON.
        Value::Null | Value::Text("") => Cow::Borrowed(NULL_CELL),
        Value::Text(NULL_CELL) | Value::Bytes(_) | Value::Json(_) => return Err(NoCell::JsonOnly),
        Value::Text(text) => Cow::Borrowed(text),
        Value::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Value::Integer(value) => Cow::Owned(value.to_string()),
        Value::Float(value) if value.is_finite() => Cow::Owned(value.to_string()),
        Value::Float(_) => return Err(NoCell::Unwritable("not a finite number")),
        Value::Decimal(text) => Cow::Owned(plain_decimal(text).ok_or(NOT_DECIMAL)?),
        Value::Timestamp(us) => Cow::Owned(stamp::field_text(us)),
        Value::Date(days) => Cow::Owned(stamp::date_text(days)),
    })
}

impl Kind {
    /// A cell of a query job's results as the JSON that a query would have answered. Salesforce holds no empty texts.
    pub(crate) fn of_cell(self, cell: &str) -> Json {
        let number = || plain_decimal(cell).and_then(|plain| Number::from_str(&plain).ok());
        match (self, cell) {
            (_, "") => Json::Null,
            (Self::Boolean, "true") => Json::Bool(true),
            (Self::Boolean, "false") => Json::Bool(false),
            (Self::Integer | Self::Decimal, _) => {
                number().map_or_else(|| Json::String(cell.to_owned()), Json::Number)
            }
            _ => Json::String(cell.to_owned()),
        }
    }
}

/// `-?digits[.digits]` of a number that may have an exponent, such as `1.0E7`, or zeros in front. Keeps the
/// scale. `None` for what is not a number, or has more digits than any field.
fn plain_decimal(text: &str) -> Option<String> {
    const DIGITS_MAX: i64 = 400;
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(fraction) || exponent.abs() > DIGITS_MAX {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    let mut point = whole.len() as i64 + exponent;
    while point < 1 {
        digits.insert(0, '0');
        point += 1;
    }
    while (digits.len() as i64) < point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point as usize);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Some(if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind, json: &str) -> Option<String> {
        let json: Json = serde_json::from_str(json).ok()?;
        kind.read(&json, |value| format!("{value:?}"))
    }

    #[test]
    fn values_are_read_exactly() {
        let cases = [
            (Kind::Boolean, "true", Some("Boolean(true)")),
            (Kind::Boolean, "\"true\"", None),
            (Kind::Integer, "-7", Some("Integer(-7)")),
            (Kind::Integer, "12.0", Some("Integer(12)")),
            (Kind::Integer, "12.5", None),
            (Kind::Integer, "9223372036854775808", None),
            (Kind::Decimal, "1.50", Some("Decimal(\"1.50\")")),
            (Kind::Decimal, "1.0E7", Some("Decimal(\"10000000\")")),
            (Kind::Decimal, "-1.25e-3", Some("Decimal(\"-0.00125\")")),
            (Kind::Decimal, "0.1", Some("Decimal(\"0.1\")")),
            (
                Kind::Decimal,
                "123456789012345678.123456789012345678",
                Some("Decimal(\"123456789012345678.123456789012345678\")"),
            ),
            (Kind::Decimal, "1e401", None),
            (Kind::Decimal, "\"1.5\"", None),
            (Kind::Text, "\"00420\"", Some("Text(\"00420\")")),
            (Kind::Text, "\"Zoë 🌊\"", Some("Text(\"Zoë 🌊\")")),
            (Kind::Text, "{}", None),
            (
                Kind::Id,
                "\"001D000000IqhSL\"",
                Some("Text(\"001D000000IqhSLIAZ\")"),
            ),
            (
                Kind::Timestamp,
                "\"1969-12-31T23:59:59.000+0000\"",
                Some("Timestamp(-1000000)"),
            ),
            (Kind::Timestamp, "\"soon\"", None),
            (Kind::Date, "\"1969-12-31\"", Some("Date(-1)")),
            (Kind::Bytes, "\"aGk=\"", Some("Bytes([104, 105])")),
            (
                Kind::Bytes,
                "\"/services/data/v60.0/sobjects/Document/015/Body\"",
                Some("Unset"),
            ),
            (Kind::Bytes, "\"*\"", None),
            (
                Kind::Json,
                "{\"city\": \"Oslo\"}",
                Some("Json(\"{\\\"city\\\":\\\"Oslo\\\"}\")"),
            ),
            (Kind::Date, "null", Some("Null")),
        ];
        for (kind, json, expected) in cases {
            assert_eq!(shown(kind, json).as_deref(), expected, "{kind:?} {json}");
        }
    }

    #[test]
    fn values_are_written_exactly() {
        let cases = [
            (Value::Null, Ok(Some("null"))),
            (Value::Unset, Ok(None)),
            (Value::Boolean(false), Ok(Some("false"))),
            (Value::Integer(i64::MIN), Ok(Some("-9223372036854775808"))),
            (Value::Float(0.25), Ok(Some("0.25"))),
            (Value::Float(f64::NAN), Err("not a finite number")),
            (Value::Decimal("1.50"), Ok(Some("1.50"))),
            (Value::Decimal("-007.10"), Ok(Some("-7.10"))),
            (
                Value::Decimal("12345678901234567890.12"),
                Ok(Some("12345678901234567890.12")),
            ),
            (Value::Decimal("1."), Err("not a decimal number")),
            (Value::Text("a\"b\u{0}"), Ok(Some(r#""a\"b\u0000""#))),
            (
                Value::Timestamp(-1_000_000),
                Ok(Some("\"1969-12-31T23:59:59.000+0000\"")),
            ),
            (Value::Date(0), Ok(Some("\"1970-01-01\""))),
            (Value::Bytes(b"hi"), Ok(Some("\"aGk=\""))),
            (Value::Json("[1.10]"), Ok(Some("[1.10]"))),
            (Value::Json("{"), Err("not a JSON document")),
        ];
        for (value, expected) in cases {
            let found = written(value).map(|json| json.map(|json| json.to_string()));
            assert_eq!(
                found.as_ref().map(Option::as_deref).map_err(|why| *why),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn cells_tell_unset_from_empty() {
        let cases = [
            (Value::Unset, Ok("")),
            (Value::Null, Ok("#N/A")),
            (Value::Text(""), Ok("#N/A")),
            (Value::Text("#N/A"), Err(NoCell::JsonOnly)),
            (Value::Text("#n/a, \"so\""), Ok("#n/a, \"so\"")),
            (Value::Boolean(false), Ok("false")),
            (Value::Integer(-7), Ok("-7")),
            (Value::Float(0.25), Ok("0.25")),
            (
                Value::Float(f64::NAN),
                Err(NoCell::Unwritable("not a finite number")),
            ),
            (Value::Decimal("-007.10"), Ok("-7.10")),
            (
                Value::Decimal("1."),
                Err(NoCell::Unwritable("not a decimal number")),
            ),
            (
                Value::Timestamp(-1_000_000),
                Ok("1969-12-31T23:59:59.000+0000"),
            ),
            (Value::Date(0), Ok("1970-01-01")),
            (Value::Bytes(b"hi"), Err(NoCell::JsonOnly)),
            (Value::Json("{}"), Err(NoCell::JsonOnly)),
        ];
        for (value, expected) in cases {
            assert_eq!(
                cell(value).as_deref(),
                expected.as_ref().copied(),
                "{value:?}"
            );
        }
    }

    #[test]
    fn cells_are_read_as_queries_answer() {
        let cases = [
            (Kind::Text, "", "null"),
            (Kind::Text, "007", "\"007\""),
            (Kind::Boolean, "true", "true"),
            (Kind::Boolean, "yes", "\"yes\""),
            (Kind::Decimal, "1.50", "1.50"),
            (Kind::Decimal, "1.0E7", "10000000"),
            (Kind::Integer, "many", "\"many\""),
            (Kind::Date, "2026-03-01", "\"2026-03-01\""),
        ];
        for (kind, cell, expected) in cases {
            assert_eq!(kind.of_cell(cell).to_string(), expected, "{kind:?} {cell}");
        }
    }

    #[test]
    fn keys_are_compared_as_their_field_compares() {
        let cases = [
            (Kind::Text, "it's", Some(r"'it\'s'")),
            (Kind::Decimal, "0042", Some("42")),
            (Kind::Decimal, "1 OR 2", None),
            (Kind::Integer, "", None),
            (Kind::Date, "2026-03-01", Some("2026-03-01")),
            (Kind::Json, "{}", None),
        ];
        for (kind, key, expected) in cases {
            assert_eq!(kind.literal(key).as_deref(), expected, "{kind:?} {key}");
        }
    }
}
