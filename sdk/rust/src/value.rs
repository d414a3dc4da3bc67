//! One field of one record.

use std::fmt;

use crate::bindings::connector::tidegate::plugin::records;

pub use records::DataType;

/// What a field of a record holds, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The field was not sent: leave it alone.
    Unset,
    /// The field is empty.
    Null,
    Boolean(bool),
    Integer(i64),
    /// Always finite.
    Float(f64),
    /// `-?digits[.digits]`
    Decimal(&'a str),
    Text(&'a str),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    Bytes(&'a [u8]),
    /// One JSON document.
    Json(&'a str),
}

impl<'a> Value<'a> {
    /// `None` when there is no value (null, unset).
    pub fn data_type(self) -> Option<DataType> {
        Some(match self {
            Self::Unset | Self::Null => return None,
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

    /// Not sent at all.
    pub fn is_unset(self) -> bool {
        self == Self::Unset
    }

    /// Sent as empty.
    pub fn is_null(self) -> bool {
        self == Self::Null
    }

    /// There is a value.
    pub fn is_value(self) -> bool {
        !matches!(self, Self::Unset | Self::Null)
    }

    /// Text; `None` for every other type and for no value. The same goes for the getters below.
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_boolean(self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_integer(self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_float(self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_decimal(self) -> Option<&'a str> {
        match self {
            Self::Decimal(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_timestamp(self) -> Option<i64> {
        match self {
            Self::Timestamp(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_date(self) -> Option<i32> {
        match self {
            Self::Date(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_json(self) -> Option<&'a str> {
        match self {
            Self::Json(value) => Some(value),
            _ => None,
        }
    }

    /// The kind of what is there, for messages that must not show the value.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Null => "null",
            other => other.data_type().map_or("null", DataType::name),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

/// `None` is null.
impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl DataType {
    /// Every type, in the interface's order.
    pub const ALL: [Self; 9] = [
        Self::Boolean,
        Self::Integer,
        Self::Float,
        Self::Decimal,
        Self::Text,
        Self::Timestamp,
        Self::Date,
        Self::Bytes,
        Self::Json,
    ];

    /// As the interface spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Decimal => "decimal",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Bytes => "bytes",
            Self::Json => "json",
        }
    }

    /// The type that [`name`](Self::name) spells.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|found| found.name() == name)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
