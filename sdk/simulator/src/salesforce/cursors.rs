//! Query cursors: which rows a query found, for as long as its pages may be asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer::ApiError;
use super::id::Id;
use super::soql::Query;

/// An org keeps only so many; the oldest goes.
const CURSORS_MAX: usize = 200;
/// Nor is there room for more rows than this in all of them together, but for the newest one's.
const ROWS_MAX: usize = 10_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) query: Arc<Query>,
    pub(crate) ids: Arc<[Id]>,
    opened_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Cursors {
    life_ms: u64,
    given: u64,
    open: BTreeMap<Id, Cursor>,
}

impl Cursors {
    pub(crate) fn new(life_ms: u64) -> Self {
        Self {
            life_ms,
            given: 0,
            open: BTreeMap::new(),
        }
    }

    pub(crate) fn open(&mut self, query: Arc<Query>, ids: Arc<[Id]>, now_ms: u64) -> Id {
        self.given += 1;
        let id = Id::new(*b"01g", self.given);
        let cursor = Cursor {
            query,
            ids,
            opened_ms: now_ms,
        };
        self.open.insert(id, cursor);
        let mut rows: usize = self.open.values().map(|cursor| cursor.ids.len()).sum();
        while self.open.len() > CURSORS_MAX || (rows > ROWS_MAX && self.open.len() > 1) {
            let gone = self.open.pop_first();
            rows -= gone.map_or(0, |(_, cursor)| cursor.ids.len());
        }
        id
    }

    /// Finds `01g…-2000`: a cursor, and how many of its rows come before the page.
    pub(crate) fn find(
        &mut self,
        locator: &str,
        now_ms: u64,
    ) -> Result<(Id, Cursor, usize), ApiError> {
        let gone = || ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator");
        let (id, from) = locator.split_once('-').ok_or_else(gone)?;
        let id = Id::parse(id).ok_or_else(gone)?;
        let from: usize = from.parse().map_err(|_| gone())?;
        let cursor = self.open.get(&id).ok_or_else(gone)?;
        if cursor.opened_ms + self.life_ms <= now_ms {
            self.open.remove(&id);
            return Err(gone());
        }
        if from >= cursor.ids.len() {
            return Err(gone());
        }
        Ok((id, cursor.clone(), from))
    }

    pub(crate) fn expire_all(&mut self) {
        self.open.clear();
    }
}
