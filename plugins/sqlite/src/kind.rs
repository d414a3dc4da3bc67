//! What a column holds, judged by its declared type.

use tidegate_sdk::DataType;

/// What SQLite does to a value on its way into a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affinity {
    Integer,
    Real,
    Numeric,
    Text,
    /// Leaves every value as it is.
    Blob,
}

impl Affinity {
    /// SQLite's own rules, in their order.
    pub(crate) fn of(declared: &str, strict: bool) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if strict && declared == "ANY" {
            Self::Blob
        } else if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || declared.is_empty() {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

/// Declared types are free text in SQLite. What says nothing (none at all, `ANY`, `UUID`, an invented
/// word) is text, because everything can be shown as text.
pub(crate) fn of(declared: &str, affinity: Affinity) -> DataType {
    let word = declared
        .split('(')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_uppercase();
    let is = |words: &[&str]| words.iter().any(|candidate| word.starts_with(candidate));
    if is(&["BOOL"]) {
        DataType::Boolean
    } else if is(&["DATETIME", "TIMESTAMP"]) {
        DataType::Timestamp
    } else if word == "DATE" {
        DataType::Date
    } else if is(&["JSON"]) {
        DataType::Json
    } else if is(&["DEC", "NUM", "MONEY", "CURRENCY"]) {
        DataType::Decimal
    } else {
        match affinity {
            Affinity::Integer => DataType::Integer,
            Affinity::Real => DataType::Float,
            Affinity::Blob if !word.is_empty() && word != "ANY" => DataType::Bytes,
            Affinity::Text | Affinity::Numeric | Affinity::Blob => DataType::Text,
        }
    }
}

/// The numbers in `VARCHAR(40)` or `DECIMAL(12, 2)`.
pub(crate) fn arguments(declared: &str) -> Vec<u32> {
    let inside = declared
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(inside, _)| inside);
    inside
        .split(',')
        .map_while(|part| part.trim().parse().ok())
        .collect()
}
