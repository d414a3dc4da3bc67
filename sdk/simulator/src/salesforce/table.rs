//! The rows of one object, and the indexes that keep half a million of them quick.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::id::Id;
use super::schema::{Field, Object, Source};

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) cells: Box<[Cell]>,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) stamp_ms: i64,
    /// When it went to the recycle bin.
    pub(crate) deleted_ms: Option<i64>,
    /// The winner of the merge that this row lost.
    pub(crate) master: Option<Id>,
}

impl Row {
    pub(crate) fn live(&self) -> bool {
        self.deleted_ms.is_none()
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) object: Object,
    pub(crate) rows: BTreeMap<Id, Row>,
    /// Deleted rows are in it, as their stamps move too.
    pub(crate) by_stamp: BTreeSet<(i64, Id)>,
    /// By cell: live rows by the value of an indexed field.
    keys: Vec<Option<HashMap<Box<str>, Vec<Id>>>>,
    serial: u64,
}

impl Table {
    /// `first` is the serial number of the first id.
    pub(crate) fn new(object: Object, first: u64) -> Self {
        let mut keys: Vec<_> = (0..object.cells).map(|_| None).collect();
        for field in &object.fields {
            if let (Source::Cell(cell), true) = (field.source, field.indexed()) {
                keys[cell] = Some(HashMap::new());
            }
        }
        Self {
            object,
            rows: BTreeMap::new(),
            by_stamp: BTreeSet::new(),
            keys,
            serial: first,
        }
    }

    /// Indexes a field that would not be, for the duplicate rule; the table has to be empty.
    pub(crate) fn index(&mut self, cell: usize) {
        self.keys[cell].get_or_insert_default();
    }

    pub(crate) fn next_id(&mut self) -> Id {
        self.serial += 1;
        Id::new(self.object.prefix, self.serial)
    }

    /// Live rows that hold this value in an indexed field.
    pub(crate) fn holders(&self, cell: usize, value: &Cell) -> &[Id] {
        let index = self.keys.get(cell).and_then(Option::as_ref);
        match (index, value.key()) {
            (Some(index), Some(key)) => index.get(&key).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// Whether [`Table::holders`] knows about this field.
    pub(crate) fn is_indexed(&self, cell: usize) -> bool {
        self.keys.get(cell).is_some_and(Option::is_some)
    }

    /// Stores a row and returns the one that it replaces.
    pub(crate) fn put(&mut self, id: Id, row: Row) -> Option<Row> {
        let before = self.take(id);
        self.by_stamp.insert((row.stamp_ms, id));
        if row.live() {
            self.file(id, &row);
        }
        self.rows.insert(id, row);
        before
    }

    pub(crate) fn take(&mut self, id: Id) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        self.by_stamp.remove(&(row.stamp_ms, id));
        if row.live() {
            self.unfile(id, &row);
        }
        Some(row)
    }

    fn file(&mut self, id: Id, row: &Row) {
        for (index, cell) in self.keys.iter_mut().zip(&row.cells) {
            if let (Some(index), Some(key)) = (index, cell.key()) {
                index.entry(key).or_default().push(id);
            }
        }
    }

    fn unfile(&mut self, id: Id, row: &Row) {
        for (index, cell) in self.keys.iter_mut().zip(&row.cells) {
            let (Some(index), Some(key)) = (index, cell.key()) else {
                continue;
            };
            if let Some(holders) = index.get_mut(&key) {
                holders.retain(|holder| *holder != id);
                if holders.is_empty() {
                    index.remove(&key);
                }
            }
        }
    }

    /// The value of any field, computed ones too.
    pub(crate) fn value<'a>(id: Id, row: &'a Row, field: &Field) -> Cow<'a, Cell> {
        Cow::Owned(match field.source {
            Source::Cell(cell) => return Cow::Borrowed(&row.cells[cell]),
            Source::Id => Cell::Link(id),
            Source::IsDeleted => Cell::Flag(!row.live()),
            Source::Master => row.master.map_or(Cell::Null, Cell::Link),
            Source::Created => Cell::Moment(row.created_ms),
            Source::Modified => Cell::Moment(row.modified_ms),
            Source::Stamp => Cell::Moment(row.stamp_ms),
            Source::User => Cell::Link(Id::new(*b"005", 1)),
            Source::FullName(first, last) => full_name(row, first, last),
            Source::Address(_) => Cell::Null,
        })
    }

    pub(crate) fn json(id: Id, row: &Row, field: &Field) -> Value {
        match field.source {
            Source::Address(parts) => address(row, parts),
            _ => Self::value(id, row, field).json(field),
        }
    }

    /// Every field, with no attributes around them.
    pub(crate) fn dump(&self, id: Id, row: &Row) -> Map<String, Value> {
        self.object
            .fields
            .iter()
            .map(|field| (field.name.clone(), Self::json(id, row, field)))
            .collect()
    }
}

fn full_name(row: &Row, first: Option<usize>, last: usize) -> Cell {
    let part = |cell: usize| match &row.cells[cell] {
        Cell::Text(text) => Some(text.as_ref()),
        _ => None,
    };
    let parts: Vec<&str> = [first.and_then(part), part(last)]
        .into_iter()
        .flatten()
        .collect();
    Cell::text(&parts.join(" "))
}

fn address(row: &Row, parts: [usize; 4]) -> Value {
    let [street, city, postal_code, country] = parts.map(|cell| match &row.cells[cell] {
        Cell::Text(text) => json!(text),
        _ => Value::Null,
    });
    if [&street, &city, &postal_code, &country]
        .iter()
        .all(|part| part.is_null())
    {
        return Value::Null;
    }
    json!({
        "street": street, "city": city, "postalCode": postal_code, "country": country,
        "state": null, "latitude": null, "longitude": null, "geocodeAccuracy": null,
    })
}
