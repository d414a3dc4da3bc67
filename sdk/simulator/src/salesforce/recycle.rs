//! Into the recycle bin and out of it: deletes with what hangs on them, merges, undeletes.

use serde_json::{Map, Value};

use super::answer::{Refusal, RowError};
use super::cell::Cell;
use super::id::Id;
use super::schema::{Kind, Source};
use super::transaction::Transaction;

impl Transaction<'_> {
    /// To the recycle bin. Contacts go with their account; other children lose the link.
    pub(crate) fn delete(&mut self, table: usize, id: Id) -> Result<(), Refusal> {
        self.remove("delete", table, id)
    }

    /// As though it had never been: no recycle bin and no delete log knows of the row. Its children go as ever.
    pub(crate) fn hard_delete(&mut self, table: usize, id: Id) -> Result<(), Refusal> {
        self.remove("hard-delete", table, id)?;
        self.erase(table, id);
        Ok(())
    }

    /// Out of the recycle bin for good; the write that put it there is in the journal already.
    pub(crate) fn erase(&mut self, table: usize, id: Id) {
        if let Some(row) = self.org.tables[table].take(id) {
            self.undo.push((table, id, Some(row)));
        }
    }

    fn remove(&mut self, op: &str, table: usize, id: Id) -> Result<(), Refusal> {
        let mut row = self.existing(table, id)?.clone();
        self.touch(&mut row);
        self.check_locks(table, &row)?;
        row.bin(None);
        self.put(op, table, id, row);
        for (child_table, cell, cascades) in self.links_to(table) {
            let holders = self.org.tables[child_table]
                .holders(cell, &Cell::Link(id))
                .to_vec();
            for child in holders {
                if cascades {
                    self.delete(child_table, child)?;
                } else {
                    self.relink(child_table, child, cell, Cell::Null)?;
                }
            }
        }
        Ok(())
    }

    /// Out of the recycle bin again, and with it what went there along with it.
    pub(crate) fn undelete(&mut self, table: usize, id: Id) -> Result<(), Refusal> {
        let (mut row, deleted_ms) = match self.org.tables[table].rows.get(&id) {
            Some(row) => (row.clone(), row.deleted_ms().ok_or_else(undelete_failed)?),
            None => return Err(undelete_failed().into()),
        };
        self.touch(&mut row);
        row.gone = None;
        self.check(table, Some(id), &row)?;
        self.put("undelete", table, id, row);
        for (child_table, cell, cascades) in self.links_to(table) {
            if !cascades {
                continue;
            }
            let children = &self.org.tables[child_table];
            let along: Vec<Id> = children
                .stamped(deleted_ms..deleted_ms + 1)
                .filter(|(_, row)| row.deleted_ms() == Some(deleted_ms))
                .filter(|(_, row)| row.cells.get(cell) == Cell::Link(id))
                .map(|(child, _)| child)
                .collect();
            for child in along {
                self.undelete(child_table, child)?;
            }
        }
        Ok(())
    }

    /// The losers go to the recycle bin pointing at their master, which takes over their children; these are told.
    pub(crate) fn merge(
        &mut self,
        table: usize,
        master: Id,
        fields: &Map<String, Value>,
        losers: &[Id],
    ) -> Result<Vec<Id>, Refusal> {
        self.update(table, master, fields)?;
        let mut related = Vec::new();
        for loser in losers {
            for (child_table, cell, _) in self.links_to(table) {
                let holders = self.org.tables[child_table]
                    .holders(cell, &Cell::Link(*loser))
                    .to_vec();
                for child in holders {
                    // Nobody is its own parent.
                    let parent = if child == master {
                        Cell::Null
                    } else {
                        Cell::Link(master)
                    };
                    self.relink(child_table, child, cell, parent)?;
                    related.push(child);
                }
            }
            let mut row = self.existing(table, *loser)?.clone();
            self.touch(&mut row);
            row.bin(Some(master));
            self.put("merge", table, *loser, row);
        }
        Ok(related)
    }

    fn relink(&mut self, table: usize, id: Id, cell: usize, to: Cell) -> Result<(), Refusal> {
        let mut row = self.existing(table, id)?.clone();
        row.cells.set(cell, to);
        self.touch(&mut row);
        self.put("update", table, id, row);
        Ok(())
    }

    /// Fields of other rows that may point at rows of this table.
    fn links_to(&self, table: usize) -> Vec<(usize, usize, bool)> {
        let name = &self.org.tables[table].object.name;
        let mut links = Vec::new();
        for (place, child) in self.org.tables.iter().enumerate() {
            for field in &child.object.fields {
                if let (Kind::Reference { to }, Source::Cell(cell)) = (&field.kind, field.source)
                    && to == name
                {
                    links.push((place, cell, field.name == "AccountId"));
                }
            }
        }
        links
    }
}

fn undelete_failed() -> RowError {
    RowError::new("UNDELETE_FAILED", "Entity is not in the recycle bin")
}
