//! The sync's records as one decision sees and changes them.
//!
//! Reads go through to a [`Base`] and are then remembered together with what was changed, so that
//! several changes to one record in a page see each other, and all of it leaves as one set of [`Changes`]
//! for one transaction (invariant 3). Knows how records are laid out as keys and values; knows no engine.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::job::{Job, JobId, JobRow};
use crate::pairing::Contact;
use crate::record::{DeadLetter, Entry, IdRef, Link, LinkId, Sent};
use crate::sync::Side;

/// Committed state, by key. Reading it must not block for long.
pub trait Base: Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Up to `most` keys that begin with `prefix` and come after `after`, in order.
    fn keys(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, LedgerError>;
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
    /// Records without their other half, by what a pair rule compares.
    Half = b'h',
    /// Records of which a person said that they have no other half.
    Apart = b'o',
    /// How far the first contact is: one record a sync.
    Contact = b'f',
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

/// Where records of a side stand that have the same values in the fields of a pair rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfPlace {
    pub rule: u8,
    pub side: Side,
    /// Of the values.
    pub hash: u128,
}

/// All halves of a rule and side begin so, in the order of their hashes.
pub fn halves_prefix(sync: SyncId, rule: u8, side: Side) -> Vec<u8> {
    let mut key = prefix(Room::Half, sync);
    key.push(rule);
    key.push(if side == Side::Left { b'<' } else { b'>' });
    key
}

fn half_prefix(sync: SyncId, place: HalfPlace) -> Vec<u8> {
    let mut key = halves_prefix(sync, place.rule, place.side);
    key.extend_from_slice(&place.hash.to_be_bytes());
    key
}

fn half_key(sync: SyncId, place: HalfPlace, link: LinkId) -> Vec<u8> {
    let mut key = half_prefix(sync, place);
    key.extend_from_slice(&link.0.to_be_bytes());
    key
}

/// What a key of [`Room::Half`] says.
pub fn key_half(key: &[u8]) -> Option<(HalfPlace, LinkId)> {
    let (head, link) = key.split_last_chunk::<8>()?;
    let (head, hash) = head.split_last_chunk::<16>()?;
    let &[_, _, _, rule, side] = head else {
        return None;
    };
    let place = HalfPlace {
        rule,
        side: if side == b'<' {
            Side::Left
        } else {
            Side::Right
        },
        hash: u128::from_be_bytes(*hash),
    };
    Some((place, LinkId(u64::from_be_bytes(*link))))
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

    /// Up to `most` keys, as they stand with what was changed.
    pub fn keys(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let from = after.unwrap_or(prefix).to_vec();
        let changed = self.changes.range(from..);
        let mut changed = changed
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after != Some(key.as_slice()))
            .peekable();
        let mut found = Vec::new();
        let mut last = after.map(<[u8]>::to_vec);
        loop {
            let page = self.base.keys(prefix, last.as_deref(), most.max(1))?;
            let ended = page.len() < most.max(1);
            for key in page {
                while let Some((new, value)) = changed.next_if(|(new, _)| **new < key) {
                    found.extend(value.is_some().then(|| new.clone()));
                }
                match changed.next_if(|(new, _)| **new == key) {
                    Some((_, None)) => {}
                    _ => found.push(key.clone()),
                }
                last = Some(key);
            }
            if ended {
                let rest = changed.filter(|(_, value)| value.is_some());
                found.extend(rest.map(|(key, _)| key.clone()));
                found.truncate(most);
                return Ok(found);
            }
            if found.len() >= most {
                found.truncate(most);
                return Ok(found);
            }
        }
    }

    /// Up to `most` halves of a place, by their links, after `after`.
    pub fn halves(
        &self,
        place: HalfPlace,
        after: Option<LinkId>,
        most: usize,
    ) -> Result<Vec<LinkId>, LedgerError> {
        let after = after.map(|link| half_key(self.sync, place, link));
        let prefix = half_prefix(self.sync, place);
        let keys = self.keys(&prefix, after.as_deref(), most)?;
        let links = keys.iter().filter_map(|key| key_half(key));
        Ok(links.map(|(_, link)| link).collect())
    }

    pub fn put_half(&mut self, place: HalfPlace, link: LinkId) {
        self.put(half_key(self.sync, place, link), &());
    }

    pub fn remove_half(&mut self, place: HalfPlace, link: LinkId) {
        self.remove(half_key(self.sync, place, link));
    }

    /// `None` before the first contact of a sync, and where there is none.
    pub fn contact(&self) -> Result<Option<Contact>, LedgerError> {
        self.get("first contact", &prefix(Room::Contact, self.sync))
    }

    pub fn put_contact(&mut self, contact: &Contact) {
        self.put(prefix(Room::Contact, self.sync), contact);
    }

    pub fn remove_contact(&mut self) {
        self.remove(prefix(Room::Contact, self.sync));
    }

    /// A person said that the record has no other half.
    pub fn is_apart(&self, link: LinkId) -> Result<bool, LedgerError> {
        let found = self.get::<()>("mark", &link_key(Room::Apart, self.sync, link))?;
        Ok(found.is_some())
    }

    pub fn put_apart(&mut self, link: LinkId) {
        self.put(link_key(Room::Apart, self.sync, link), &());
    }

    pub fn remove_apart(&mut self, link: LinkId) {
        self.remove(link_key(Room::Apart, self.sync, link));
    }
}
