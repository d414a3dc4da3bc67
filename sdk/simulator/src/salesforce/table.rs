//! The rows of one object, and the indexes that keep half a million of them quick.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::slice;

use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::cells::Cells;
use super::id::Id;
use super::schema::{Field, Object, Source};
use super::shelf::Shelf;

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) cells: Cells,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) stamp_ms: i64,
    /// Set while it is in the recycle bin.
    pub(crate) gone: Option<Box<Gone>>,
}

/// How a row came into the recycle bin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone {
    pub(crate) at_ms: i64,
    /// The winner of the merge that this row lost.
    pub(crate) master: Option<Id>,
}

impl Row {
    pub(crate) fn live(&self) -> bool {
        self.gone.is_none()
    }

    pub(crate) fn deleted_ms(&self) -> Option<i64> {
        self.gone.as_ref().map(|gone| gone.at_ms)
    }

    /// To the recycle bin, as of the row's stamp.
    pub(crate) fn bin(&mut self, master: Option<Id>) {
        let at_ms = self.stamp_ms;
        self.gone = Some(Box::new(Gone { at_ms, master }));
    }
}

/// Rows that share a key: one nearly always.
#[allow(
    clippy::box_collection,
    reason = "the rare case is boxed so that the usual one is small"
)]
#[derive(Debug)]
enum Holders {
    One(Id),
    Many(Box<Vec<Id>>),
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) object: Object,
    pub(crate) rows: Shelf,
    /// Seconds and places, as stamps have no fractions. Deleted rows are in it, as their stamps move too.
    by_stamp: BTreeSet<(u32, u32)>,
    /// By cell: live rows by the value of an indexed field.
    keys: Vec<Option<HashMap<Box<str>, Holders>>>,
    /// Places of the rows in the recycle bin.
    binned: BTreeSet<u32>,
    serial: u64,
}

impl Table {
    /// `first` is the serial number before the first id's.
    pub(crate) fn new(object: Object, first: u64) -> Self {
        let mut keys: Vec<_> = (0..object.cells).map(|_| None).collect();
        for field in &object.fields {
            if let (Source::Cell(cell), true) = (field.source, field.indexed()) {
                keys[cell] = Some(HashMap::new());
            }
        }
        Self {
            rows: Shelf::new(object.prefix, first + 1),
            object,
            by_stamp: BTreeSet::new(),
            keys,
            binned: BTreeSet::new(),
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

    /// How many rows are not in the recycle bin.
    pub(crate) fn live(&self) -> usize {
        self.rows.len() - self.binned.len()
    }

    /// What is in the recycle bin.
    pub(crate) fn binned(&self) -> impl Iterator<Item = Id> {
        self.binned.iter().map(|place| self.rows.id(*place))
    }

    /// Live rows that hold this value in an indexed field.
    pub(crate) fn holders(&self, cell: usize, value: &Cell) -> &[Id] {
        let index = self.keys.get(cell).and_then(Option::as_ref);
        match (index, value.key()) {
            (Some(index), Some(key)) => match index.get(&key) {
                Some(Holders::One(id)) => slice::from_ref(id),
                Some(Holders::Many(ids)) => ids,
                None => &[],
            },
            _ => &[],
        }
    }

    /// Whether [`Table::holders`] knows about this field.
    pub(crate) fn is_indexed(&self, cell: usize) -> bool {
        self.keys.get(cell).is_some_and(Option::is_some)
    }

    /// Rows by their stamps, deleted ones too; of one stamp, by their ids.
    pub(crate) fn stamped(&self, from_to_ms: Range<i64>) -> impl Iterator<Item = (Id, &Row)> {
        let from = (seconds_up(from_to_ms.start), 0);
        let to = (seconds_up(from_to_ms.end).max(from.0), 0);
        let found = self.by_stamp.range(from..to);
        found.filter_map(|(_, place)| {
            let id = self.rows.id(*place);
            Some((id, self.rows.get(&id)?))
        })
    }

    /// Stores a row and returns the one that it replaces.
    pub(crate) fn put(&mut self, id: Id, row: Row) -> Option<Row> {
        let before = self.take(id);
        let place = self.rows.place(id)?;
        self.by_stamp.insert((seconds_up(row.stamp_ms), place));
        if row.live() {
            self.file(id, &row);
        } else {
            self.binned.insert(place);
        }
        self.rows.insert(place, row);
        before
    }

    pub(crate) fn take(&mut self, id: Id) -> Option<Row> {
        let place = self.rows.place(id)?;
        let row = self.rows.remove(place)?;
        self.by_stamp.remove(&(seconds_up(row.stamp_ms), place));
        if row.live() {
            self.unfile(id, &row);
        } else {
            self.binned.remove(&place);
        }
        Some(row)
    }

    fn file(&mut self, id: Id, row: &Row) {
        for (cell, index) in self.keys.iter_mut().enumerate() {
            let Some(index) = index else { continue };
            let Some(key) = row.cells.get(cell).key() else {
                continue;
            };
            match index.get_mut(&key) {
                None => {
                    index.insert(key, Holders::One(id));
                }
                Some(holders) => match holders {
                    Holders::One(first) => *holders = Holders::Many(Box::new(vec![*first, id])),
                    Holders::Many(ids) => ids.push(id),
                },
            }
        }
    }

    fn unfile(&mut self, id: Id, row: &Row) {
        for (cell, index) in self.keys.iter_mut().enumerate() {
            let Some(index) = index else { continue };
            let Some(key) = row.cells.get(cell).key() else {
                continue;
            };
            let empty = match index.get_mut(&key) {
                Some(Holders::One(_)) => true,
                Some(Holders::Many(ids)) => {
                    ids.retain(|holder| *holder != id);
                    ids.is_empty()
                }
                None => false,
            };
            if empty {
                index.remove(&key);
            }
        }
    }

    /// The value of any field, computed ones too.
    pub(crate) fn value(id: Id, row: &Row, field: &Field) -> Cell {
        match field.source {
            Source::Cell(cell) => row.cells.get(cell),
            Source::Id => Cell::Link(id),
            Source::IsDeleted => Cell::Flag(!row.live()),
            Source::Master => {
                let master = row.gone.as_ref().and_then(|gone| gone.master);
                master.map_or(Cell::Null, Cell::Link)
            }
            Source::Created => Cell::Moment(row.created_ms),
            Source::Modified => Cell::Moment(row.modified_ms),
            Source::Stamp => Cell::Moment(row.stamp_ms),
            Source::User => Cell::Link(Id::new(*b"005", 1)),
            Source::FullName(first, last) => full_name(row, first, last),
            Source::Address(_) => Cell::Null,
        }
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
    let part = |cell: usize| match row.cells.get(cell) {
        Cell::Text(text) => Some(text),
        _ => None,
    };
    let parts: Vec<Box<str>> = [first.and_then(part), part(last)]
        .into_iter()
        .flatten()
        .collect();
    Cell::text(&parts.join(" "))
}

fn address(row: &Row, parts: [usize; 4]) -> Value {
    let [street, city, postal_code, country] = parts.map(|cell| match row.cells.get(cell) {
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

/// The first whole second that is not before this time.
fn seconds_up(ms: i64) -> u32 {
    u32::try_from(ms.max(0).div_euclid(1000) + i64::from(ms.max(0) % 1000 > 0)).unwrap_or(u32::MAX)
}
