//! Answers that are kept over a restart, in a room of the store. What is damaged or not understood is as good as gone.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_gateway::{Answers, Bounds, Clock, Key, Shelf};
use tidegate_store::{ApplyError, BATCH_BYTES_MAX, Batch, KeyRange, Store};

/// First byte of the keys, apart from those of the records.
const ROOM: u8 = b'k';
const PAGE_RECORDS: usize = 64;
/// Room for the key beside the record in one batch.
const RECORD_BYTES_MAX: u64 = (BATCH_BYTES_MAX - 64) as u64;
const REMOVED_AT_ONCE: usize = 4_096;

struct Room(Store);

/// The answers of a host, those of an earlier run included. Blocks while it reads them.
pub fn answers(store: &Store, bounds: Bounds, clock: &dyn Clock) -> Answers {
    let answers = Answers::shelved(bounds, Arc::new(Room(store.clone())));
    // Keys are evenly spread, so that one that can't be read costs a small part of the others.
    for first in 0..=u8::MAX {
        let mut range = KeyRange::prefix([ROOM, first]);
        loop {
            let page = match store.scan(&range, PAGE_RECORDS) {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "kept answers can't be read; they are asked for again");
                    break;
                }
            };
            for (place, record) in &page {
                if let Some(key) = place.get(1..).and_then(Key::read) {
                    answers.restore(key, record, clock.now());
                }
            }
            match page.into_iter().next_back() {
                Some((last, _)) => range = range.after(last),
                None => break,
            }
        }
    }
    answers
}

fn place(key: Key) -> Vec<u8> {
    let mut place = vec![ROOM];
    place.extend_from_slice(key.bytes());
    place
}

impl Shelf for Room {
    fn record_bytes_max(&self) -> u64 {
        RECORD_BYTES_MAX
    }

    fn put(&self, key: Key, record: Vec<u8>) -> BoxFuture<'_, ()> {
        async move {
            // A store that fails ends the host by itself.
            if let Err(error) = self.0.apply(Batch::new().put(place(key), record)).await {
                tracing::debug!(%error, "an answer can't be kept");
            }
        }
        .boxed()
    }

    fn get(&self, key: Key) -> BoxFuture<'_, Option<Vec<u8>>> {
        let found = self.0.get(&place(key)).ok().flatten();
        futures::future::ready(found).boxed()
    }

    fn remove(&self, keys: Vec<Key>) -> BoxFuture<'_, bool> {
        async move {
            for keys in keys.chunks(REMOVED_AT_ONCE) {
                match self.delete(keys).await {
                    Deleted::Done => continue,
                    Deleted::Failed => return false,
                    Deleted::Damaged => {}
                }
                for key in keys {
                    // Whatever is damaged is no answer either.
                    if self.delete(&[*key]).await == Deleted::Failed {
                        return false;
                    }
                }
            }
            true
        }
        .boxed()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Done,
    /// None of them was deleted, since one can't be read.
    Damaged,
    Failed,
}

impl Room {
    async fn delete(&self, keys: &[Key]) -> Deleted {
        let gone = keys.iter().copied();
        let batch = gone.fold(Batch::new(), |batch, key| batch.delete(place(key)));
        match self.0.apply(batch).await {
            Ok(_) => Deleted::Done,
            Err(ApplyError::Damaged(_)) => Deleted::Damaged,
            Err(error) => {
                tracing::debug!(%error, "kept answers can't be removed");
                Deleted::Failed
            }
        }
    }
}
