//! The sync's records as one decision sees and changes them.
//!
//! Reads go through to a [`Base`] and are then remembered together with what was changed, so that
//! several changes to one record in a page see each other, and all of it leaves as one set of [`Changes`]
//! for one transaction (invariant 3). Knows how records are laid out as keys and values; knows no engine.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::job::{Job, JobId, JobRow};
use crate::record::{DeadLetter, Entry, IdRef, Link, LinkId, Sent};
use crate::sync::Side;

/// Committed state, by key. Reading it must not block for long.
pub trait Base: Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the store could not be read: {0}")]
    Base(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a stored {what} can't be understood; it was written by another version or is damaged")]
    Decode {
        what: &'static str,
        source: postcard::Error,
    },
}

/// Which sync's records; numbers are given once and kept in the store.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize,
)]
pub struct SyncId(pub u16);

/// The rooms of the key space. The byte leads every key, the sync's number follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Room {
    Link = b'l',
    Id = b'i',
    Entry = b'q',
    Dead = b'd',
    Intent = b't',
    Job = b'j',
    /// Which job a link's row travels in.
    JobRow = b'r',
}

/// All keys of one room and sync begin so.
pub fn prefix(room: Room, sync: SyncId) -> Vec<u8> {
    let mut key = Vec::with_capacity(12);
    key.push(room as u8);
    key.extend_from_slice(&sync.0.to_be_bytes());
    key
}

/// Keys by link sort in the order in which links were made.
pub fn link_key(room: Room, sync: SyncId, link: LinkId) -> Vec<u8> {
    let mut key = prefix(room, sync);
    key.extend_from_slice(&link.0.to_be_bytes());
    key
}

/// The link in a key of [`link_key`].
pub fn key_link(key: &[u8]) -> Option<LinkId> {
    let bytes = key.get(3..11)?;
    Some(LinkId(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// Jobs sort in the order in which they were made.
pub fn job_key(sync: SyncId, job: JobId) -> Vec<u8> {
    let mut key = prefix(Room::Job, sync);
    key.extend_from_slice(&job.0.to_be_bytes());
    key
}

/// The job in a key of [`job_key`].
pub fn key_job(key: &[u8]) -> Option<JobId> {
    key_link(key).map(|LinkId(number)| JobId(number))
}

/// Remote ids longer than this are kept by their hash, since keys are bounded.
const ID_BYTES_MAX: usize = 512;

pub fn id_key(sync: SyncId, side: Side, id: &str) -> Vec<u8> {
    let mut key = prefix(Room::Id, sync);
    key.push(if side == Side::Left { b'<' } else { b'>' });
    if id.len() <= ID_BYTES_MAX {
        key.extend_from_slice(id.as_bytes());
    } else {
        key.extend_from_slice(&id.as_bytes()[..ID_BYTES_MAX]);
        key.extend_from_slice(&xxhash_rust::xxh3::xxh3_128(id.as_bytes()).to_be_bytes());
    }
    key
}

/// What to put and what to delete (`None`), in one transaction.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The format of values; first byte of each.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Writing to a Vec can't fail, and no type here refuses to be serialised.
    postcard::to_stdvec(value).unwrap_or_default()
}

pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, LedgerError> {
    postcard::from_bytes(bytes).map_err(|source| LedgerError::Decode { what, source })
}

pub struct Ledger<'a> {
    base: &'a dyn Base,
    sync: SyncId,
    changes: Changes,
    bytes: usize,
    links_made: i64,
    woken: Vec<LinkId>,
}

impl<'a> Ledger<'a> {
    pub fn new(base: &'a dyn Base, sync: SyncId) -> Self {
        Self {
            base,
            sync,
            changes: Changes::new(),
            bytes: 0,
            links_made: 0,
            woken: Vec::new(),
        }
    }

    /// Roughly what a transaction of these changes weighs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A record that waits because of what became of another.
    pub fn wake(&mut self, link: LinkId) {
        self.woken.push(link);
    }

    pub fn woken(&self) -> &[LinkId] {
        &self.woken
    }

    /// Links made less links removed.
    pub fn links_made(&self) -> i64 {
        self.links_made
    }

    pub fn into_changes(self) -> Changes {
        self.changes
    }

    pub fn sync(&self) -> SyncId {
        self.sync
    }

    fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, LedgerError> {
        if let Some(change) = self.changes.get(key) {
            return change
                .as_deref()
                .map(|bytes| decode(what, bytes))
                .transpose();
        }
        self.base
            .get(key)?
            .map(|bytes| decode(what, &bytes))
            .transpose()
    }

    fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        let value = encode(value);
        self.bytes += key.len() + value.len();
        self.changes.insert(key, Some(value));
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.changes.insert(key, None);
    }

    pub fn id(&self, side: Side, id: &str) -> Result<Option<IdRef>, LedgerError> {
        self.get("id", &id_key(self.sync, side, id))
    }

    pub fn put_id(&mut self, side: Side, id: &str, reference: IdRef) {
        self.put(id_key(self.sync, side, id), &reference);
    }

    pub fn link(&self, link: LinkId) -> Result<Option<Link>, LedgerError> {
        self.get("link", &link_key(Room::Link, self.sync, link))
    }

    pub fn make_link(&mut self, id: LinkId, link: &Link) {
        self.links_made += 1;
        self.put_link(id, link);
    }

    pub fn put_link(&mut self, id: LinkId, link: &Link) {
        self.put(link_key(Room::Link, self.sync, id), link);
    }

    pub fn remove_link(&mut self, id: LinkId) {
        self.links_made -= 1;
        self.remove(link_key(Room::Link, self.sync, id));
    }

    pub fn entry(&self, link: LinkId) -> Result<Option<Entry>, LedgerError> {
        self.get("queue entry", &link_key(Room::Entry, self.sync, link))
    }

    pub fn put_entry(&mut self, link: LinkId, entry: &Entry) {
        self.put(link_key(Room::Entry, self.sync, link), entry);
    }

    pub fn remove_entry(&mut self, link: LinkId) {
        self.remove(link_key(Room::Entry, self.sync, link));
    }

    pub fn dead(&self, link: LinkId) -> Result<Option<DeadLetter>, LedgerError> {
        self.get("dead letter", &link_key(Room::Dead, self.sync, link))
    }

    pub fn put_dead(&mut self, link: LinkId, letter: &DeadLetter) {
        self.put(link_key(Room::Dead, self.sync, link), letter);
    }

    pub fn remove_dead(&mut self, link: LinkId) {
        self.remove(link_key(Room::Dead, self.sync, link));
    }

    pub fn intent(&self, link: LinkId) -> Result<Option<Sent>, LedgerError> {
        self.get("intent", &link_key(Room::Intent, self.sync, link))
    }

    pub fn remove_intent(&mut self, link: LinkId) {
        self.remove(link_key(Room::Intent, self.sync, link));
    }

    pub fn put_job(&mut self, id: JobId, job: &Job) {
        self.put(job_key(self.sync, id), job);
    }

    pub fn remove_job(&mut self, id: JobId) {
        self.remove(job_key(self.sync, id));
    }

    pub fn job_row(&self, link: LinkId) -> Result<Option<JobRow>, LedgerError> {
        self.get("job row", &link_key(Room::JobRow, self.sync, link))
    }

    pub fn put_job_row(&mut self, link: LinkId, row: &JobRow) {
        self.put(link_key(Room::JobRow, self.sync, link), row);
    }

    pub fn remove_job_row(&mut self, link: LinkId) {
        self.remove(link_key(Room::JobRow, self.sync, link));
    }
}
