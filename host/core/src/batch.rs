//! Records as columns, the currency of every other room.
//!
//! The layout is the plugin interface's own (`wit/v0.1/records.wit`), so that a column crosses the
//! boundary as one copy. Everything that comes out of a plugin passes [`Batch::check`] first.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Variable-length values, one after the other; `ends[i]` is where value `i` stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    pub bytes: Vec<u8>,
    pub ends: Vec<u32>,
}

impl Packed {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start as usize..self.ends[row] as usize]
    }

    /// The value as text; what is not UTF-8 reads as the empty string (a checked batch has none).
    pub fn text(&self, row: usize) -> &str {
        std::str::from_utf8(self.get(row)).unwrap_or_default()
    }

    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len() as u32);
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Packed {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut packed = Self::default();
        for value in values {
            packed.push(value.as_ref());
        }
        packed
    }
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum DataType {
    Boolean = 0,
    Integer = 1,
    Float = 2,
    Decimal = 3,
    Text = 4,
    Timestamp = 5,
    Date = 6,
    Bytes = 7,
    Json = 8,
}

impl DataType {
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
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Decimal => "decimal",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Bytes => "bytes",
            Self::Json => "json",
        })
    }
}

/// The values of one column, one entry per row.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Boolean(Vec<u8>),
    Integer(Vec<i64>),
    Float(Vec<f64>),
    Decimal(Packed),
    Text(Packed),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    Bytes(Packed),
    Json(Packed),
}

/// Whether a row of a column has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Value = 0,
    Null = 1,
    Unset = 2,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// Empty when every row has a value.
    pub states: Vec<u8>,
    pub values: Values,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub rows: usize,
    pub columns: Vec<Column>,
}

/// One cell, borrowed from its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Unset,
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Decimal(&'a str),
    Text(&'a str),
    Timestamp(i64),
    Date(i32),
    Bytes(&'a [u8]),
    Json(&'a str),
}

/// Why a batch breaks the layout's contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("column {column}: {found} entries for {rows} rows")]
    Length {
        column: String,
        rows: usize,
        found: usize,
    },
    #[error("column {column}: {found} states for {rows} rows")]
    States {
        column: String,
        rows: usize,
        found: usize,
    },
    #[error("column {column}, row {row}: {state} is not a state")]
    State {
        column: String,
        row: usize,
        state: u8,
    },
    #[error("column {column}, row {row}: the ends of its values fall or pass the data")]
    Ends { column: String, row: usize },
    #[error("column {column}: values are left over after the last row")]
    Leftover { column: String },
    #[error("column {column}, row {row}: not a valid {expected}")]
    Value {
        column: String,
        row: usize,
        expected: DataType,
    },
    #[error("column {column} appears twice")]
    Twice { column: String },
}

impl Values {
    /// The column without rows.
    pub fn new(data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Integer => Self::Integer(Vec::new()),
            DataType::Float => Self::Float(Vec::new()),
            DataType::Decimal => Self::Decimal(Packed::default()),
            DataType::Text => Self::Text(Packed::default()),
            DataType::Timestamp => Self::Timestamp(Vec::new()),
            DataType::Date => Self::Date(Vec::new()),
            DataType::Bytes => Self::Bytes(Packed::default()),
            DataType::Json => Self::Json(Packed::default()),
        }
    }

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

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn packed(&self) -> Option<&Packed> {
        match self {
            Self::Decimal(packed)
            | Self::Text(packed)
            | Self::Bytes(packed)
            | Self::Json(packed) => Some(packed),
            _ => None,
        }
    }

    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Boolean(values) => Cell::Boolean(values[row] != 0),
            Self::Integer(values) => Cell::Integer(values[row]),
            Self::Float(values) => Cell::Float(values[row]),
            Self::Decimal(packed) => Cell::Decimal(packed.text(row)),
            Self::Text(packed) => Cell::Text(packed.text(row)),
            Self::Timestamp(values) => Cell::Timestamp(values[row]),
            Self::Date(values) => Cell::Date(values[row]),
            Self::Bytes(packed) => Cell::Bytes(packed.get(row)),
            Self::Json(packed) => Cell::Json(packed.text(row)),
        }
    }

    /// Adds a value, or the placeholder of a row that has none. `false` when the type differs.
    fn push(&mut self, cell: &Cell<'_>) -> bool {
        let absent = matches!(cell, Cell::Null | Cell::Unset);
        match (self, cell) {
            (Self::Boolean(values), Cell::Boolean(value)) => values.push(u8::from(*value)),
            (Self::Integer(values), Cell::Integer(value)) => values.push(*value),
            (Self::Float(values), Cell::Float(value)) => values.push(*value),
            (Self::Decimal(packed), Cell::Decimal(value)) => packed.push(value.as_bytes()),
            (Self::Text(packed), Cell::Text(value)) => packed.push(value.as_bytes()),
            (Self::Timestamp(values), Cell::Timestamp(value)) => values.push(*value),
            (Self::Date(values), Cell::Date(value)) => values.push(*value),
            (Self::Bytes(packed), Cell::Bytes(value)) => packed.push(value),
            (Self::Json(packed), Cell::Json(value)) => packed.push(value.as_bytes()),
            (Self::Boolean(values), _) if absent => values.push(0),
            (Self::Integer(values) | Self::Timestamp(values), _) if absent => values.push(0),
            (Self::Float(values), _) if absent => values.push(0.0),
            (Self::Date(values), _) if absent => values.push(0),
            (
                Self::Decimal(packed)
                | Self::Text(packed)
                | Self::Bytes(packed)
                | Self::Json(packed),
                _,
            ) if absent => {
                packed.push(b"");
            }
            _ => return false,
        }
        true
    }
}

impl Column {
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            states: Vec::new(),
            values: Values::new(data_type),
        }
    }

    pub fn state(&self, row: usize) -> State {
        match self.states.get(row) {
            None | Some(0) => State::Value,
            Some(1) => State::Null,
            Some(_) => State::Unset,
        }
    }

    pub fn cell(&self, row: usize) -> Cell<'_> {
        match self.state(row) {
            State::Value => self.values.cell(row),
            State::Null => Cell::Null,
            State::Unset => Cell::Unset,
        }
    }

    /// Adds a row. `false`, and nothing added, when the cell's type is not the column's.
    pub fn push(&mut self, cell: Cell<'_>) -> bool {
        let state = match cell {
            Cell::Unset => State::Unset,
            Cell::Null => State::Null,
            _ => State::Value,
        };
        let rows = self.values.len();
        if !self.values.push(&cell) {
            return false;
        }
        if state != State::Value && self.states.is_empty() {
            self.states = vec![State::Value as u8; rows];
        }
        if state != State::Value || !self.states.is_empty() {
            self.states.push(state as u8);
        }
        true
    }

    fn check(&self, rows: usize) -> Result<(), BatchError> {
        let column = || self.name.clone();
        if self.values.len() != rows {
            return Err(BatchError::Length {
                column: column(),
                rows,
                found: self.values.len(),
            });
        }
        if !self.states.is_empty() && self.states.len() != rows {
            return Err(BatchError::States {
                column: column(),
                rows,
                found: self.states.len(),
            });
        }
        if let Some(row) = self.states.iter().position(|state| *state > 2) {
            return Err(BatchError::State {
                column: column(),
                row,
                state: self.states[row],
            });
        }
        if let Some(packed) = self.values.packed() {
            check_packed(packed, &self.name)?;
        }
        self.check_values(rows)
    }

    fn check_values(&self, rows: usize) -> Result<(), BatchError> {
        let invalid = |row| BatchError::Value {
            column: self.name.clone(),
            row,
            expected: self.values.data_type(),
        };
        let first = |bad: &dyn Fn(usize) -> bool| {
            (0..rows).find(|row| self.state(*row) == State::Value && bad(*row))
        };
        let found = match &self.values {
            Values::Boolean(values) => first(&|row| values[row] > 1),
            Values::Float(values) => first(&|row| !values[row].is_finite()),
            Values::Text(packed) | Values::Json(packed) => {
                // One pass over the whole column decides the usual case; ends inside a character are
                // found by looking at the byte that each value starts with.
                match std::str::from_utf8(&packed.bytes) {
                    Ok(text)
                        if packed
                            .ends
                            .iter()
                            .all(|end| text.is_char_boundary(*end as usize)) =>
                    {
                        None
                    }
                    _ => first(&|row| std::str::from_utf8(packed.get(row)).is_err()),
                }
            }
            Values::Decimal(packed) => first(&|row| !is_decimal(packed.get(row))),
            Values::Integer(_) | Values::Timestamp(_) | Values::Date(_) | Values::Bytes(_) => None,
        };
        found.map_or(Ok(()), |row| Err(invalid(row)))
    }
}

fn check_packed(packed: &Packed, column: &str) -> Result<(), BatchError> {
    let mut before = 0;
    for (row, end) in packed.ends.iter().enumerate() {
        if *end < before || *end as usize > packed.bytes.len() {
            return Err(BatchError::Ends {
                column: column.to_owned(),
                row,
            });
        }
        before = *end;
    }
    if before as usize == packed.bytes.len() {
        Ok(())
    } else {
        Err(BatchError::Leftover {
            column: column.to_owned(),
        })
    }
}

/// `-?digits[.digits]`
pub fn is_decimal(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = digits.split(|byte| *byte == b'.');
    let whole = |part: Option<&[u8]>| {
        part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
    };
    whole(parts.next())
        && parts.next().is_none_or(|part| whole(Some(part)))
        && parts.next().is_none()
}

impl Packed {
    /// The layout's rules: ends that never fall and finish with the data.
    pub fn check(&self, name: &str) -> Result<(), BatchError> {
        check_packed(self, name)
    }
}

impl Batch {
    /// Every rule of the layout; a batch that passes can be read without further care.
    pub fn check(&self) -> Result<(), BatchError> {
        let mut names = std::collections::HashSet::with_capacity(self.columns.len());
        for column in &self.columns {
            if !names.insert(column.name.as_str()) {
                return Err(BatchError::Twice {
                    column: column.name.clone(),
                });
            }
            column.check(self.rows)?;
        }
        Ok(())
    }

    /// Of the values alone.
    pub fn bytes(&self) -> u64 {
        let bytes = |column: &Column| match &column.values {
            Values::Boolean(values) => values.len(),
            Values::Date(values) => 4 * values.len(),
            Values::Integer(values) | Values::Timestamp(values) => 8 * values.len(),
            Values::Float(values) => 8 * values.len(),
            Values::Decimal(packed)
            | Values::Text(packed)
            | Values::Bytes(packed)
            | Values::Json(packed) => packed.bytes.len(),
        };
        self.columns.iter().map(bytes).sum::<usize>() as u64
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Unset when there is no such column.
    pub fn cell(&self, row: usize, name: &str) -> Cell<'_> {
        self.column(name)
            .map_or(Cell::Unset, |column| column.cell(row))
    }
}
