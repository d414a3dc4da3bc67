//! Where the rows of a table stand: ids count up, so a row's place follows from its id, and ids need not be kept.

use std::ops::Index;

use super::id::Id;
use super::table::Row;

#[derive(Debug)]
pub(crate) struct Shelf {
    prefix: [u8; 3],
    /// The serial number of the first place.
    first: u64,
    rows: Vec<Option<Row>>,
    count: usize,
}

impl Shelf {
    pub(crate) fn new(prefix: [u8; 3], first: u64) -> Self {
        Self {
            prefix,
            first,
            rows: Vec::new(),
            count: 0,
        }
    }

    /// Nothing for an id that is not given out here.
    pub(crate) fn place(&self, id: Id) -> Option<u32> {
        if id.prefix() != self.prefix {
            return None;
        }
        let place = id.serial()?.checked_sub(self.first)?;
        u32::try_from(place).ok()
    }

    pub(crate) fn id(&self, place: u32) -> Id {
        Id::new(self.prefix, self.first + u64::from(place))
    }

    pub(crate) fn get(&self, id: &Id) -> Option<&Row> {
        self.rows.get(self.place(*id)? as usize)?.as_ref()
    }

    pub(crate) fn contains_key(&self, id: &Id) -> bool {
        self.get(id).is_some()
    }

    /// Puts a row where its id belongs.
    pub(crate) fn insert(&mut self, place: u32, row: Row) {
        let place = place as usize;
        if place >= self.rows.len() {
            self.rows.resize_with(place + 1, || None);
        }
        self.count += usize::from(self.rows[place].is_none());
        self.rows[place] = Some(row);
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<Row> {
        let row = self.rows.get_mut(place as usize)?.take()?;
        self.count -= 1;
        Some(row)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &Row)> {
        self.from(Id::LEAST)
    }

    /// In order of their ids, from this one on, which need not be one of theirs.
    pub(crate) fn from(&self, id: Id) -> impl Iterator<Item = (Id, &Row)> {
        let start = match self.place(id) {
            Some(place) => place as usize,
            None if id < self.id(0) => 0,
            None => self.rows.len(),
        };
        let rows = self.rows.iter().enumerate().skip(start);
        rows.filter_map(|(place, row)| {
            let serial = self.first + place as u64;
            Some((Id::new(self.prefix, serial), row.as_ref()?))
        })
    }
}

impl Index<&Id> for Shelf {
    type Output = Row;

    /// Only for ids that an index of the same table has.
    fn index(&self, id: &Id) -> &Row {
        match self.get(id) {
            Some(row) => row,
            None => panic!("no row {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cells::Cells;
    use super::*;

    #[test]
    fn rows_stand_where_their_ids_say() {
        let mut shelf = Shelf::new(*b"003", 5_000_000_001);
        let row = |stamp_ms| Row {
            cells: Cells::from(Vec::new()),
            created_ms: 0,
            modified_ms: 0,
            stamp_ms,
            gone: None,
        };
        for place in [0, 1, 4] {
            shelf.insert(place, row(i64::from(place)));
        }
        let ids: Vec<Id> = shelf.iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [0, 1, 4].map(|place| shelf.id(place)));
        assert_eq!(shelf[&ids[2]].stamp_ms, 4);
        assert_eq!(shelf.from(shelf.id(1)).count(), 2);
        assert_eq!(shelf.from(shelf.id(2)).count(), 1);
        assert_eq!(shelf.from(Id::new(*b"003", 1)).count(), 3);
        assert_eq!(shelf.from(Id::new(*b"001", 5_000_000_009)).count(), 3);
        assert_eq!(shelf.from(Id::new(*b"00Q", 1)).count(), 0);
        assert!(shelf.get(&Id::new(*b"001", 5_000_000_001)).is_none());
        assert!(shelf.remove(1).is_some() && shelf.remove(1).is_none());
        assert_eq!((shelf.len(), shelf.get(&ids[1]).is_none()), (2, true));
    }
}
