//! Records as they were read: ids, cells, and what is known of their last change.

use std::collections::BTreeMap;

use crate::cell::{self, Cell};
use crate::database::{Class, Database, Value};
use crate::key::Key;
use crate::schema::{Column, Table};
use crate::settings::{Settings, Timestamps};
use crate::version;
use tidegate_sdk::{COMMITTED_UNKNOWN, ChangeKind, DataType};

/// One record of a [`Changes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: String,
    pub kind: ChangeKind,
    /// Orders the states of one record; empty when not known.
    pub version: String,
    /// Microseconds since 1970.
    pub committed: i64,
    /// One per field of the change set.
    pub cells: Vec<Cell>,
}

/// Records of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub object: String,
    pub fields: Vec<(String, DataType)>,
    pub records: Vec<Record>,
}

/// Reads rows of one table: which expressions to select, and what their values mean.
pub(crate) struct Reader<'a> {
    pub(crate) table: &'a Table,
    pub(crate) key: &'a Key,
    pub(crate) columns: Vec<&'a Column>,
    timestamps: Timestamps,
}

/// Values that were no value of their column's kind, counted by column for one line in the log.
#[derive(Debug, Default)]
pub(crate) struct Misfits(BTreeMap<String, usize>);

impl Misfits {
    /// Tells the operator, by name and count.
    pub(crate) fn report(self, database: &dyn Database) {
        for (place, count) in self.0 {
            database.warn(&format!(
                "{count} value(s) in {place} are not of its type and are left out; correct them, or name \
                 the column's real type in the endpoint's config"
            ));
        }
    }

    fn count(&mut self, table: &Table, column: &str) {
        *self
            .0
            .entry(format!("{}.{column}", table.name))
            .or_default() += 1;
    }
}

impl<'a> Reader<'a> {
    /// `None` for a table whose rows can't be named.
    pub(crate) fn new(table: &'a Table, fields: &[String], timestamps: Timestamps) -> Option<Self> {
        Some(Self {
            table,
            key: table.key.as_ref()?,
            columns: table.select(fields),
            timestamps,
        })
    }

    /// Expressions for the id and each column, and their classes.
    pub(crate) fn selected(&self) -> (String, Vec<Class>) {
        let mut expressions = vec![(format!("CAST({} AS BLOB)", self.key.id("")), Class::Blob)];
        for column in &self.columns {
            expressions.extend(cell::expressions(column));
        }
        let (texts, classes): (Vec<_>, Vec<_>) = expressions.into_iter().unzip();
        // Result columns must differ in name, and tables may have columns of any name.
        let named: Vec<String> = texts
            .iter()
            .enumerate()
            .map(|(at, text)| format!("{text} AS c{at}"))
            .collect();
        (named.join(", "), classes)
    }

    /// Reads what [`Reader::selected`] gave. `None` when the id is no text, which only a damaged key is.
    pub(crate) fn read(
        &self,
        values: &[Value],
        misfits: &mut Misfits,
    ) -> Option<(String, Vec<Cell>)> {
        let Some(id) = values.first().and_then(text) else {
            misfits.count(self.table, "(key)");
            return None;
        };
        let mut at = 1;
        let mut cells = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let width = cell::width(column);
            let read = cell::read(column, self.timestamps, &values[at..at + width]);
            at += width;
            cells.push(read.unwrap_or_else(|| {
                misfits.count(self.table, &column.name);
                Cell::Unset
            }));
        }
        Some((id, cells))
    }

    /// As [`Reader::selected`], with the version that the row is read at before it.
    pub(crate) fn selected_now(&self, settings: &Settings) -> (String, Vec<Class>) {
        let (selected, mut classes) = self.selected();
        classes.insert(0, Class::Integer);
        let now = version::now(settings, self.table);
        (format!("{now} AS seen, {selected}"), classes)
    }

    /// Reads what [`Reader::selected_now`] gave.
    pub(crate) fn read_now(&self, values: &[Value], misfits: &mut Misfits) -> Option<Record> {
        let (seen, values) = values.split_first()?;
        let (id, cells) = self.read(values, misfits)?;
        Some(self.present(id, version::of(seen), cells))
    }

    pub(crate) fn changes(&self, records: Vec<Record>) -> Changes {
        Changes {
            object: self.table.name.clone(),
            fields: self
                .columns
                .iter()
                .map(|column| (column.name.clone(), column.kind))
                .collect(),
            records,
        }
    }

    /// A record as it is now.
    pub(crate) fn present(&self, id: String, version: String, cells: Vec<Cell>) -> Record {
        Record {
            id,
            kind: ChangeKind::Upsert,
            version,
            committed: COMMITTED_UNKNOWN,
            cells,
        }
    }

    /// A record that is gone.
    pub(crate) fn gone(&self, id: String, version: String) -> Record {
        Record {
            id,
            kind: ChangeKind::Delete,
            version,
            committed: COMMITTED_UNKNOWN,
            cells: vec![Cell::Unset; self.columns.len()],
        }
    }
}

/// Text that came as bytes, so that any text could come.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Blob(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}
