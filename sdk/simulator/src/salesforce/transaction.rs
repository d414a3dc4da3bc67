//! One transaction: rows written under one stamp, undone together or journalled together.

use std::collections::HashSet;

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::answer::{ApiError, Refusal, RowError};
use super::cell::Cell;
use super::faults::Fault;
use super::id::Id;
use super::journal::Entry;
use super::moment;
use super::org::Org;
use super::schema::{Kind, Source};
use super::table::{Row, Table};

/// What is known of a write when it begins, before it is executed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Began {
    pub(crate) at_ms: u64,
    pub(crate) request: u64,
    pub(crate) client: String,
    /// `Sforce-Duplicate-Rule-Header: allowSave=true`.
    pub(crate) allow_duplicates: bool,
    /// Parents that another call in flight holds locked.
    pub(crate) contended: HashSet<Id>,
}

pub(crate) struct Transaction<'a> {
    pub(crate) org: &'a mut Org,
    pub(super) began: &'a Began,
    stamp_ms: i64,
    pub(super) undo: Vec<(usize, Id, Option<Row>)>,
    entries: Vec<Entry>,
}

/// What the parts of a composite have written so far, when all of them are to stand or fall together.
#[derive(Debug, Default)]
pub(crate) struct Outer {
    undo: Vec<(usize, Id, Option<Row>)>,
    entries: Vec<Entry>,
}

impl Outer {
    pub(crate) fn begin(org: &mut Org) {
        org.outer = Some(Self::default());
    }

    /// Ends it, for good or as though it had never been.
    pub(crate) fn end(org: &mut Org, began: &Began, good: bool) -> Result<(), ApiError> {
        let outer = org.outer.take().unwrap_or_default();
        let mut all = Transaction {
            undo: outer.undo,
            entries: outer.entries,
            ..Transaction::new(org, began)
        };
        if !good {
            all.rollback(Mark(0, 0));
        }
        all.commit()
    }
}

/// How far a transaction had come.
#[derive(Clone, Copy)]
pub(crate) struct Mark(usize, usize);

impl<'a> Transaction<'a> {
    pub(crate) fn new(org: &'a mut Org, began: &'a Began) -> Self {
        Self {
            org,
            began,
            stamp_ms: moment::whole_seconds(began.at_ms),
            undo: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Makes everything permanent, or part of the composite around it.
    pub(crate) fn commit(self) -> Result<(), ApiError> {
        let Self {
            org, undo, entries, ..
        } = self;
        if let Some(outer) = &mut org.outer {
            outer.undo.extend(undo);
            outer.entries.extend(entries);
            return Ok(());
        }
        org.journal
            .append(entries)
            .map_err(|error| ApiError::new(500, "UNKNOWN_EXCEPTION", format!("journal: {error}")))
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.undo.len(), self.entries.len())
    }

    /// Takes back everything since the mark.
    pub(crate) fn rollback(&mut self, mark: Mark) {
        for (table, id, before) in self.undo.drain(mark.0..).rev() {
            match before {
                Some(row) => self.org.tables[table].put(id, row),
                None => self.org.tables[table].take(id),
            };
        }
        self.entries.truncate(mark.1);
    }

    pub(crate) fn create(
        &mut self,
        table: usize,
        fields: &Map<String, Value>,
    ) -> Result<Id, Refusal> {
        let changes = self.changes(table, fields)?;
        let mut cells = vec![Cell::Null; self.org.tables[table].object.cells];
        for field in &self.org.tables[table].object.fields {
            if let (Kind::Checkbox, Source::Cell(cell)) = (&field.kind, field.source) {
                cells[cell] = Cell::Flag(false);
            }
        }
        for (cell, value) in changes {
            cells[cell] = value;
        }
        let row = Row {
            cells: cells.into(),
            created_ms: self.stamp_ms,
            modified_ms: self.stamp_ms,
            stamp_ms: self.stamp_ms,
            gone: None,
        };
        self.check(table, None, &row)?;
        self.check_duplicates(table, &row)?;
        let id = self.org.tables[table].next_id();
        self.put("create", table, id, row);
        Ok(id)
    }

    pub(crate) fn update(
        &mut self,
        table: usize,
        id: Id,
        fields: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        let mut row = self.existing(table, id)?.clone();
        let mut cells = row.cells.open();
        for (cell, value) in self.changes(table, fields)? {
            cells[cell] = value;
        }
        row.cells = cells.into();
        self.touch(&mut row);
        row.modified_ms = row.stamp_ms;
        self.check(table, Some(id), &row)?;
        self.put("update", table, id, row);
        Ok(())
    }

    /// Sets what no client may write.
    pub(crate) fn overwrite(
        &mut self,
        table: usize,
        id: Id,
        values: Vec<(&str, Cell)>,
    ) -> Result<(), Refusal> {
        let mut row = self.existing(table, id)?.clone();
        for (name, value) in values {
            if let Some(cell) = self.org.tables[table].object.cell(name) {
                row.cells.set(cell, value);
            }
        }
        self.touch(&mut row);
        row.modified_ms = row.stamp_ms;
        self.put("update", table, id, row);
        Ok(())
    }

    /// The day on which the transaction began.
    pub(crate) fn today(&self) -> Date {
        moment::day(self.stamp_ms)
    }

    /// A live row, or why there is none.
    pub(crate) fn existing(&self, table: usize, id: Id) -> Result<&Row, RowError> {
        match self.org.tables[table].rows.get(&id) {
            Some(row) if row.live() => Ok(row),
            Some(_) => Err(RowError::new("ENTITY_IS_DELETED", "entity is deleted")),
            None => Err(RowError::new(
                "INVALID_CROSS_REFERENCE_KEY",
                "invalid cross reference id",
            )),
        }
    }

    /// A row's stamp never goes back, though transactions may end in another order than they began.
    pub(super) fn touch(&self, row: &mut Row) {
        row.stamp_ms = row.stamp_ms.max(self.stamp_ms);
    }

    pub(super) fn put(&mut self, op: &str, table: usize, id: Id, row: Row) {
        let before = self.org.tables[table].put(id, row);
        let entry = self.entry(op, table, id, before.as_ref());
        self.entries.push(entry);
        self.undo.push((table, id, before));
    }

    fn entry(&self, op: &str, table: usize, id: Id, before: Option<&Row>) -> Entry {
        let table = &self.org.tables[table];
        let cells = table.rows[&id].cells.open();
        let before = before.map(|before| before.cells.open());
        let mut external_ids = Map::new();
        let mut fields = Map::new();
        for field in &table.object.fields {
            let Source::Cell(cell) = field.source else {
                continue;
            };
            let value = &cells[cell];
            if field.external_id && *value != Cell::Null {
                external_ids.insert(field.name.clone(), value.json(field));
            }
            let was = before.as_ref().map_or(&Cell::Null, |before| &before[cell]);
            if was != value {
                fields.insert(field.name.clone(), value.json(field));
            }
        }
        Entry {
            seq: 0,
            at_ms: self.began.at_ms,
            op: op.to_owned(),
            object: table.object.name.clone(),
            id: id.to_string(),
            external_ids,
            fields,
            client: self.began.client.clone(),
            request: self.began.request,
        }
    }

    /// Another call, or another application, may hold the row.
    pub(super) fn check_locks(&mut self, table: usize, row: &Row) -> Result<(), RowError> {
        let parent = self.parent_in_contention(table, row);
        let faults = &mut self.org.faults;
        if faults.strikes(Fault::LockRows)
            || parent.is_some() && faults.strikes(Fault::LockSiblings)
        {
            let which = parent.map_or(String::new(), |id| format!(": {id}"));
            let message =
                format!("unable to obtain exclusive access to this record or 1 records{which}");
            return Err(RowError::new("UNABLE_TO_LOCK_ROW", message));
        }
        Ok(())
    }

    fn parent_in_contention(&self, table: usize, row: &Row) -> Option<Id> {
        if self.began.contended.is_empty() {
            return None;
        }
        let fields = &self.org.tables[table].object.fields;
        fields
            .iter()
            .find_map(|field| match (&field.kind, field.source) {
                (Kind::Reference { .. }, Source::Cell(cell)) => match row.cells.get(cell) {
                    Cell::Link(parent) if self.began.contended.contains(&parent) => Some(parent),
                    _ => None,
                },
                _ => None,
            })
    }

    pub(super) fn table(&self, table: usize) -> &Table {
        &self.org.tables[table]
    }
}
