//! Records of one object: [`Batch`] to read them, [`Row`] for one of them, [`BatchBuilder`] to make them.

use crate::bindings::connector::tidegate::plugin::records;
use crate::column::{Column, WrongType};
use crate::value::{DataType, Value};

pub use records::Batch;

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    batch: &'a Batch,
    index: usize,
}

impl Batch {
    /// Neither rows nor columns.
    pub fn empty() -> Self {
        Self {
            rows: 0,
            columns: Vec::new(),
        }
    }

    /// From columns of one length.
    ///
    /// # Errors
    /// The name of the first column that has another number of rows than `rows`.
    pub fn from_columns(rows: usize, columns: Vec<Column>) -> Result<Self, String> {
        match columns.iter().find(|column| column.len() != rows) {
            Some(column) => Err(column.name.clone()),
            None => Ok(Self {
                rows: rows as u32,
                columns,
            }),
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// No records at all.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// A field of all records. Look columns up once, outside the loop over the rows.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Takes a column out, to send it on without copying.
    pub fn take(&mut self, name: &str) -> Option<Column> {
        let index = self.columns.iter().position(|column| column.name == name)?;
        Some(self.columns.swap_remove(index))
    }

    /// One field of one record; unset when there is no such column or row.
    pub fn value(&self, row: usize, name: &str) -> Value<'_> {
        self.column(name)
            .map_or(Value::Unset, |column| column.value(row))
    }

    /// One record.
    pub fn row(&self, index: usize) -> Row<'_> {
        Row { batch: self, index }
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|index| self.row(index))
    }
}

impl<'a> Row<'a> {
    /// Its place in the batch.
    pub fn index(self) -> usize {
        self.index
    }

    /// A field; unset when the batch has no such column.
    pub fn get(self, name: &str) -> Value<'a> {
        self.batch.value(self.index, name)
    }

    /// Every field that was sent, with its name, in the batch's order.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.batch
            .columns
            .iter()
            .map(move |column| (column.name.as_str(), column.value(self.index)))
            .filter(|(_, value)| !value.is_unset())
    }
}

/// Makes a batch row by row. Fields that a row does not set are unset.
///
/// ```
/// use tidegate_sdk::{BatchBuilder, DataType, Value};
///
/// let mut people = BatchBuilder::new([("name", DataType::Text), ("age", DataType::Integer)]);
/// people.row().set("name", "Ada")?.set("age", 36)?;
/// people.row().set("name", Value::Null)?;
/// let people = people.finish();
/// assert_eq!(people.value(0, "age"), Value::Integer(36));
/// assert_eq!(people.value(1, "age"), Value::Unset);
/// # Ok::<(), tidegate_sdk::WrongField>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    rows: usize,
    columns: Vec<Column>,
}

/// Why a field could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongField {
    /// The builder has no such column.
    Unknown(String),
    /// The row's field was set before.
    Twice(String),
    /// The value is of another type than the column.
    Type(WrongType),
}

impl std::fmt::Display for WrongField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "the batch has no column {name}"),
            Self::Twice(name) => write!(f, "column {name} was set twice in one row"),
            Self::Type(wrong) => wrong.fmt(f),
        }
    }
}

impl std::error::Error for WrongField {}

/// The row that a [`BatchBuilder`] is filling.
#[derive(Debug)]
pub struct RowBuilder<'b> {
    builder: &'b mut BatchBuilder,
}

impl BatchBuilder {
    /// With these columns and no rows.
    pub fn new<N: Into<String>>(columns: impl IntoIterator<Item = (N, DataType)>) -> Self {
        Self {
            rows: 0,
            columns: columns
                .into_iter()
                .map(|(name, data_type)| Column::new(name, data_type))
                .collect(),
        }
    }

    /// How many rows were begun.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// No row was begun.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Begins a row.
    pub fn row(&mut self) -> RowBuilder<'_> {
        self.complete();
        self.rows += 1;
        RowBuilder { builder: self }
    }

    /// The batch, its last row completed.
    pub fn finish(mut self) -> Batch {
        self.complete();
        Batch {
            rows: self.rows as u32,
            columns: self.columns,
        }
    }

    fn complete(&mut self) {
        for column in &mut self.columns {
            if column.len() < self.rows {
                column.push_unset();
            }
        }
    }
}

impl RowBuilder<'_> {
    /// Sets a field by name.
    pub fn set<'v>(
        &mut self,
        name: &str,
        value: impl Into<Value<'v>>,
    ) -> Result<&mut Self, WrongField> {
        let index = self
            .builder
            .columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| WrongField::Unknown(name.to_owned()))?;
        self.set_at(index, value)
    }

    /// Sets a field by its place in the builder, which is quicker.
    pub fn set_at<'v>(
        &mut self,
        index: usize,
        value: impl Into<Value<'v>>,
    ) -> Result<&mut Self, WrongField> {
        let rows = self.builder.rows;
        let column = self
            .builder
            .columns
            .get_mut(index)
            .ok_or_else(|| WrongField::Unknown(index.to_string()))?;
        if column.len() == rows {
            return Err(WrongField::Twice(column.name.clone()));
        }
        column.push(value).map_err(WrongField::Type)?;
        Ok(self)
    }
}
