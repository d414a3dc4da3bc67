//! What waits in the store and has no place in the queue: after a start, and while records wait for their other half.
//!
//! It is fed to the queue in the order in which its records were met, as there is room; the last room is left to changes.
//! So a queue stays within its bound, however much stands in the store.

use tidegate_core::ledger::{Ledger, Room, SyncId, decode, key_link, prefix};
use tidegate_core::pairing::half;
use tidegate_core::record::Entry;
use tidegate_store::{KeyRange, Store};

use super::engine::EngineError;
use super::records::Committed;
use super::running::Sync;

/// Records that are fed at once.
const FED: usize = 500;
/// Less than this part of a queue is not worth a look at the store.
const ROOM_PART: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Records, about: one that changes while it stands here may be counted twice until its turn has come.
    count: u64,
    /// What is left of the way through the store; `None` when it has been gone.
    range: Option<KeyRange>,
}

impl Aside {
    /// All of a sync's, which are so many.
    pub(super) fn all(id: SyncId, count: u64) -> Self {
        Self {
            count,
            range: Some(KeyRange::prefix(prefix(Room::Entry, id))),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn add(&mut self) {
        self.count += 1;
    }

    pub(super) fn take(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// What had to be passed over may go now.
    pub(super) fn again(&mut self, id: SyncId) {
        *self = Self::all(id, self.count);
    }
}

impl Sync {
    /// Moves some of what stands aside into the queue. True when more could go at once.
    pub(super) fn feed(&mut self, store: &Store, now_ms: u64) -> Result<bool, EngineError> {
        let Some(range) = &self.aside.range else {
            return Ok(false);
        };
        let bound = self.running.model.spec.queue_max;
        let room = self.flow.beside_changes(self.queue.room());
        let most = room.min(FED);
        if most < FED.min(bound / ROOM_PART) {
            return Ok(false);
        }
        let page = store.scan(range, most)?;
        let ended = page.len() < most;
        let rest = page
            .last()
            .map(|(last, _)| range.clone().after(last.clone()));
        let holds = self.running.holds_halves();
        let base = Committed(store.clone());
        let ledger = Ledger::new(&base, self.running.id);
        for (key, bytes) in page {
            let Some(id) = key_link(&key) else { continue };
            let entry: Entry = decode("queue entry", &bytes)?;
            let waits = holds
                && ledger
                    .link(id)?
                    .is_some_and(|link| half(&link, &entry).is_some());
            if !waits {
                self.queue.offer(id, entry.source(), entry.lane, now_ms);
                self.aside.take();
            }
        }
        self.aside.range = rest.filter(|_| !ended);
        if ended && !holds {
            self.aside.count = 0;
        }
        self.refresh_flow();
        Ok(!ended)
    }
}
