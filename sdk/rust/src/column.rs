//! One field of many records: read with [`Column::value`], write with [`Column::push`].

use std::fmt;

use crate::bindings::connector::tidegate::plugin::records;
use crate::packed::Packed;
use crate::value::{DataType, Value};

pub use records::{Column, Values};

const STATE_VALUE: u8 = 0;
const STATE_NULL: u8 = 1;
const STATE_UNSET: u8 = 2;

/// A value that does not fit the column it was put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    pub column: String,
    pub expected: DataType,
    pub found: DataType,
}

impl fmt::Display for WrongType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "column {} holds {}, not {}",
            self.column, self.expected, self.found
        )
    }
}

impl std::error::Error for WrongType {}

impl Values {
    /// Without rows.
    pub fn new(data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Integer => Self::Integer(Vec::new()),
            DataType::Float => Self::Float(Vec::new()),
            DataType::Decimal => Self::Decimal(Packed::new()),
            DataType::Text => Self::Text(Packed::new()),
            DataType::Timestamp => Self::Timestamp(Vec::new()),
            DataType::Date => Self::Date(Vec::new()),
            DataType::Bytes => Self::Bytes(Packed::new()),
            DataType::Json => Self::Json(Packed::new()),
        }
    }

    /// What the values are.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::Integer(_) => DataType::Integer,
            Self::Float(_) => DataType::Float,
            Self::Decimal(_) => DataType::Decimal,
            Self::Text(_) => DataType::Text,
            Self::Timestamp(_) => DataType::Timestamp,
            Self::Date(_) => DataType::Date,
            Self::Bytes(_) => DataType::Bytes,
            Self::Json(_) => DataType::Json,
        }
    }

    /// How many rows there are, those without a value included.
    pub fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Integer(values) | Self::Timestamp(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Date(values) => values.len(),
            Self::Decimal(packed)
            | Self::Text(packed)
            | Self::Bytes(packed)
            | Self::Json(packed) => packed.len(),
        }
    }

    /// No rows at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn value(&self, row: usize) -> Value<'_> {
        match self {
            Self::Boolean(values) => Value::Boolean(values[row] != 0),
            Self::Integer(values) => Value::Integer(values[row]),
            Self::Float(values) => Value::Float(values[row]),
            Self::Decimal(packed) => Value::Decimal(packed.text(row)),
            Self::Text(packed) => Value::Text(packed.text(row)),
            Self::Timestamp(values) => Value::Timestamp(values[row]),
            Self::Date(values) => Value::Date(values[row]),
            Self::Bytes(packed) => Value::Bytes(packed.get(row)),
            Self::Json(packed) => Value::Json(packed.text(row)),
        }
    }

    fn push_nothing(&mut self) {
        match self {
            Self::Boolean(values) => values.push(0),
            Self::Integer(values) | Self::Timestamp(values) => values.push(0),
            Self::Float(values) => values.push(0.0),
            Self::Date(values) => values.push(0),
            Self::Decimal(packed)
            | Self::Text(packed)
            | Self::Bytes(packed)
            | Self::Json(packed) => packed.push([]),
        }
    }

    /// `false`, and nothing added, when the value is of another type.
    fn push_value(&mut self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Boolean(values), Value::Boolean(value)) => values.push(u8::from(value)),
            (Self::Integer(values), Value::Integer(value)) => values.push(value),
            (Self::Float(values), Value::Float(value)) => values.push(value),
            (Self::Decimal(packed), Value::Decimal(value)) => packed.push(value),
            (Self::Text(packed), Value::Text(value)) => packed.push(value),
            (Self::Timestamp(values), Value::Timestamp(value)) => values.push(value),
            (Self::Date(values), Value::Date(value)) => values.push(value),
            (Self::Bytes(packed), Value::Bytes(value)) => packed.push(value),
            (Self::Json(packed), Value::Json(value)) => packed.push(value),
            _ => return false,
        }
        true
    }
}

impl Column {
    /// Without rows.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            states: Vec::new(),
            values: Values::new(data_type),
        }
    }

    /// A column of `rows` rows that are all unset.
    pub fn unset(name: impl Into<String>, data_type: DataType, rows: usize) -> Self {
        let mut column = Self::new(name, data_type);
        for _ in 0..rows {
            column.push_unset();
        }
        column
    }

    /// Fills a column from values; rows in order.
    pub fn collect<'a, V: Into<Value<'a>>>(
        name: impl Into<String>,
        data_type: DataType,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Self, WrongType> {
        let mut column = Self::new(name, data_type);
        for value in values {
            column.push(value)?;
        }
        Ok(column)
    }

    /// What the column's values are.
    pub fn data_type(&self) -> DataType {
        self.values.data_type()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// No rows at all.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Every row has a value.
    pub fn is_full(&self) -> bool {
        self.states.iter().all(|state| *state == STATE_VALUE)
    }

    /// What a row holds; unset past the end.
    pub fn value(&self, row: usize) -> Value<'_> {
        if row >= self.len() {
            return Value::Unset;
        }
        match self.states.get(row).copied().unwrap_or(STATE_VALUE) {
            STATE_VALUE => self.values.value(row),
            STATE_NULL => Value::Null,
            _ => Value::Unset,
        }
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value<'_>> {
        (0..self.len()).map(|row| self.value(row))
    }

    /// Appends a row.
    pub fn push<'v>(&mut self, value: impl Into<Value<'v>>) -> Result<(), WrongType> {
        let value = value.into();
        match value {
            Value::Null => self.push_null(),
            Value::Unset => self.push_unset(),
            value if self.values.push_value(value) => {
                if !self.states.is_empty() {
                    self.states.push(STATE_VALUE);
                }
            }
            value => {
                return Err(WrongType {
                    column: self.name.clone(),
                    expected: self.data_type(),
                    found: value.data_type().unwrap_or(DataType::Text),
                });
            }
        }
        Ok(())
    }

    /// Appends a row whose field is empty.
    pub fn push_null(&mut self) {
        self.push_absent(STATE_NULL);
    }

    /// Appends a row whose field was not sent.
    pub fn push_unset(&mut self) {
        self.push_absent(STATE_UNSET);
    }

    fn push_absent(&mut self, state: u8) {
        if self.states.is_empty() {
            self.states = vec![STATE_VALUE; self.len()];
        }
        self.values.push_nothing();
        self.states.push(state);
    }
}
