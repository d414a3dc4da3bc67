//! Parents whose children are being written by calls in flight.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::cell::Cell;
use super::id::Id;
use super::schema::{Kind, Source};
use super::table::Table;

#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: HashMap<Id, usize>,
}

impl Locks {
    /// Takes the locks and returns those that another call already holds.
    pub(crate) fn take(&mut self, parents: &HashSet<Id>) -> HashSet<Id> {
        let mut contended = HashSet::new();
        for parent in parents {
            let holders = self.held.entry(*parent).or_default();
            if *holders > 0 {
                contended.insert(*parent);
            }
            *holders += 1;
        }
        contended
    }

    pub(crate) fn release(&mut self, parents: &HashSet<Id>) {
        for parent in parents {
            if let Some(holders) = self.held.get_mut(parent) {
                *holders -= 1;
                if *holders == 0 {
                    self.held.remove(parent);
                }
            }
        }
    }
}

/// The parents of every record that a body names, by the body's own words and by what is stored.
pub(crate) fn parents(body: &Value, tables: &[Table]) -> HashSet<Id> {
    let mut found = HashSet::new();
    collect(body, tables, &mut found);
    found
}

/// The same of rows that came without a body around them.
pub(crate) fn parents_of(rows: &[Map<String, Value>], tables: &[Table]) -> HashSet<Id> {
    let mut found = HashSet::new();
    for fields in rows {
        collect_fields(fields, tables, &mut found);
    }
    found
}

fn collect(body: &Value, tables: &[Table], found: &mut HashSet<Id>) {
    match body {
        Value::Array(values) => {
            for value in values {
                collect(value, tables, found);
            }
        }
        Value::Object(fields) => collect_fields(fields, tables, found),
        _ => {}
    }
}

fn collect_fields(fields: &Map<String, Value>, tables: &[Table], found: &mut HashSet<Id>) {
    for (name, value) in fields {
        match value.as_str().and_then(Id::parse) {
            Some(id) if name.eq_ignore_ascii_case("id") => stored(id, tables, found),
            Some(id) if is_reference(name, tables) => {
                found.insert(id);
            }
            _ => collect(value, tables, found),
        }
    }
}

fn is_reference(name: &str, tables: &[Table]) -> bool {
    tables.iter().any(|table| {
        table
            .object
            .field(name)
            .is_some_and(|field| field.writable && matches!(field.kind, Kind::Reference { .. }))
    })
}

fn stored(id: Id, tables: &[Table], found: &mut HashSet<Id>) {
    for table in tables {
        let Some(row) = table.rows.get(&id) else {
            continue;
        };
        for field in &table.object.fields {
            if let (Kind::Reference { .. }, Source::Cell(cell)) = (&field.kind, field.source)
                && let Cell::Link(parent) = row.cells.get(cell)
            {
                found.insert(parent);
            }
        }
    }
}
