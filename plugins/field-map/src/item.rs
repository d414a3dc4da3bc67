//! A value on its way from one side to the other.

use std::borrow::Cow;

use tidegate_sdk::{DataType, Value};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Decimal(Cow<'a, str>),
    Text(Cow<'a, str>),
    Timestamp(i64),
    Date(i32),
    Bytes(Cow<'a, [u8]>),
    Json(Cow<'a, str>),
}

/// Why a value can't be mapped: a stable code, and words that do not contain the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Trouble {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl<'a> Item<'a> {
    /// `None` for an unset value.
    pub(crate) fn of(value: Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Unset => return None,
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Float(value) => Self::Float(value),
            Value::Decimal(value) => Self::Decimal(value.into()),
            Value::Text(value) => Self::Text(value.into()),
            Value::Timestamp(value) => Self::Timestamp(value),
            Value::Date(value) => Self::Date(value),
            Value::Bytes(value) => Self::Bytes(value.into()),
            Value::Json(value) => Self::Json(value.into()),
        })
    }

    /// What a config's scalar says; `None` for a list or table.
    pub(crate) fn from_config(value: &serde_json::Value) -> Option<Item<'static>> {
        Some(
            match value {
                serde_json::Value::Null => Item::Null,
                serde_json::Value::Bool(value) => Item::Boolean(*value),
                serde_json::Value::String(value) => Item::Text(value.clone().into()),
                serde_json::Value::Number(number) => match number.as_i64() {
                    Some(value) => Item::Integer(value),
                    None => {
                        let text = number.to_string();
                        match crate::number::parse(&text, ".", None) {
                            Ok(decimal) => Item::Decimal(decimal.into_owned().into()),
                            // An exponent: only a float is written so.
                            Err(_) => {
                                Item::Float(number.as_f64().filter(|value| value.is_finite())?)
                            }
                        }
                    }
                },
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
            }
            .into_owned(),
        )
    }

    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Decimal(value) => Value::Decimal(value),
            Self::Text(value) => Value::Text(value),
            Self::Timestamp(value) => Value::Timestamp(*value),
            Self::Date(value) => Value::Date(*value),
            Self::Bytes(value) => Value::Bytes(value),
            Self::Json(value) => Value::Json(value),
        }
    }

    pub(crate) fn data_type(&self) -> Option<DataType> {
        self.value().data_type()
    }

    pub(crate) fn into_owned(self) -> Item<'static> {
        match self {
            Self::Null => Item::Null,
            Self::Boolean(value) => Item::Boolean(value),
            Self::Integer(value) => Item::Integer(value),
            Self::Float(value) => Item::Float(value),
            Self::Decimal(value) => Item::Decimal(value.into_owned().into()),
            Self::Text(value) => Item::Text(value.into_owned().into()),
            Self::Timestamp(value) => Item::Timestamp(value),
            Self::Date(value) => Item::Date(value),
            Self::Bytes(value) => Item::Bytes(value.into_owned().into()),
            Self::Json(value) => Item::Json(value.into_owned().into()),
        }
    }
}
