//! The syncs' state in the store: where it stands, and how it is read and written.

use serde::{Deserialize, Serialize};
use tidegate_core::hold::Holds;
use tidegate_core::ledger::{Base, Changes, LedgerError, SyncId, decode, encode};
use tidegate_core::model::FieldTable;
use tidegate_core::record::Sides;
use tidegate_store::{Batch, KeyRange, Seq, Store};

/// Records are committed in slices of about this size, well below what the store takes at once.
pub(super) const SLICE_BYTES: usize = 256 * 1024;

const SYNC: u8 = b's';
const COUNTS: u8 = b'n';
const CURSOR: u8 = b'c';
const IDENTITY: u8 = b'e';
const DEMANDED: u8 = b'd';
const READ: u8 = b'g';
const SYNCS: &[u8] = b"S";
const HOLDS: &[u8] = b"H";

/// The store as decisions see it.
pub(super) struct Committed(pub(super) Store);

impl Base for Committed {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.0
            .get(key)
            .map_err(|error| LedgerError::Base(Box::new(error)))
    }

    fn keys(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut range = KeyRange::prefix(prefix);
        if let Some(after) = after {
            range = range.after(after);
        }
        let found = self.0.scan(&range, most);
        let found = found.map_err(|error| LedgerError::Base(Box::new(error)))?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }
}

/// What is kept of a sync itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SyncRecord {
    pub id: u16,
    pub tables: Sides<FieldTable>,
    /// The delete brake is on until a person releases it.
    pub braked: bool,
}

/// Numbers that change with every batch of new links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub last_link: u64,
    pub links: u64,
}

/// Where a stream goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub position: Option<Vec<u8>>,
    /// A snapshot that has been read to its end.
    pub done: bool,
    /// The fields that it reads; a snapshot with others is read again.
    pub fields: Vec<String>,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadSoFar {
    pub rows: u64,
    /// How many there were when it began, where the source told.
    pub of: Option<u64>,
}

/// What a sync's endpoints were last prepared for on its behalf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Demanded {
    pub endpoint: String,
    pub object: String,
    pub fields: Vec<String>,
}

fn key(room: u8, name: &str) -> Vec<u8> {
    let mut key = vec![room];
    key.extend_from_slice(name.as_bytes());
    key
}

fn load<T: serde::de::DeserializeOwned>(
    store: &Store,
    what: &'static str,
    key: &[u8],
) -> Result<Option<T>, LedgerError> {
    store
        .get(key)
        .map_err(|error| LedgerError::Base(Box::new(error)))?
        .map(|bytes| decode(what, &bytes))
        .transpose()
}

pub(super) fn counts_key(sync: SyncId) -> Vec<u8> {
    let mut key = vec![COUNTS];
    key.extend_from_slice(&sync.0.to_be_bytes());
    key
}

pub(super) fn cursor_key(stream: &str) -> Vec<u8> {
    key(CURSOR, stream)
}

pub(super) fn load_counts(store: &Store, sync: SyncId) -> Result<Counts, LedgerError> {
    Ok(load(store, "count", &counts_key(sync))?.unwrap_or_default())
}

pub(super) fn load_cursor(store: &Store, stream: &str) -> Result<Cursor, LedgerError> {
    Ok(load(store, "cursor", &cursor_key(stream))?.unwrap_or_default())
}

/// `None` before a snapshot has begun.
pub(super) fn load_read(store: &Store, stream: &str) -> Result<Option<ReadSoFar>, LedgerError> {
    load(store, "read", &key(READ, stream))
}

pub(super) fn put_read(changes: &mut Changes, stream: &str, read: ReadSoFar) {
    changes.insert(key(READ, stream), Some(encode(&read)));
}

pub(super) fn load_identity(store: &Store, endpoint: &str) -> Result<Option<String>, LedgerError> {
    load(store, "identity", &key(IDENTITY, endpoint))
}

pub(super) fn put_identity(changes: &mut Changes, endpoint: &str, identity: &str) {
    changes.insert(key(IDENTITY, endpoint), Some(encode(&identity)));
}

/// `None` before the sync's first start.
pub(super) fn load_demanded(
    store: &Store,
    sync: &str,
) -> Result<Option<Sides<Demanded>>, LedgerError> {
    load(store, "demand", &key(DEMANDED, sync))
}

pub(super) fn put_demanded(changes: &mut Changes, sync: &str, demanded: &Sides<Demanded>) {
    changes.insert(key(DEMANDED, sync), Some(encode(demanded)));
}

/// What people hold back.
pub(super) fn load_holds(store: &Store) -> Result<Holds, LedgerError> {
    Ok(load(store, "hold", HOLDS)?.unwrap_or_default())
}

pub(super) fn put_holds(changes: &mut Changes, holds: &Holds) {
    changes.insert(HOLDS.to_vec(), Some(encode(holds)));
}

/// The sync's record, if it has ever been started.
pub(super) fn find_sync(store: &Store, name: &str) -> Result<Option<SyncRecord>, LedgerError> {
    load(store, "sync", &key(SYNC, name))
}

/// The sync's record, or a new one with the next free number.
pub(super) fn load_sync(store: &Store, name: &str) -> Result<SyncRecord, LedgerError> {
    if let Some(record) = find_sync(store, name)? {
        return Ok(record);
    }
    let taken: u16 = load(store, "sync count", SYNCS)?.unwrap_or_default();
    Ok(SyncRecord {
        id: taken + 1,
        ..SyncRecord::default()
    })
}

pub(super) fn put_sync(
    store: &Store,
    changes: &mut Changes,
    name: &str,
    record: &SyncRecord,
) -> Result<(), LedgerError> {
    let taken: u16 = load(store, "sync count", SYNCS)?.unwrap_or_default();
    changes.insert(SYNCS.to_vec(), Some(encode(&taken.max(record.id))));
    changes.insert(key(SYNC, name), Some(encode(record)));
    Ok(())
}

/// One transaction.
pub(super) async fn commit(
    store: &Store,
    changes: Changes,
) -> Result<Seq, tidegate_store::ApplyError> {
    let mut batch = Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.puts.push((key, value)),
            None => batch.deletes.push(key),
        }
    }
    store.apply(batch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a build has once stored: the bytes are never changed, as stores out there hold them. Where a format
    /// changes, its old bytes stay, with what they mean now.
    fn stood<T>(bytes: &[u8], value: &T)
    where
        T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let found: Result<T, LedgerError> = decode("record", bytes);
        assert_eq!(found.as_ref().ok(), Some(value), "{found:?}");
        assert_eq!(encode(value), bytes);
    }

    #[test]
    fn what_an_earlier_build_wrote_means_the_same() {
        let mut tables = Sides::<FieldTable>::default();
        tables.left.intern("id");
        tables.right.intern("Id");
        tables.right.intern("Email");
        let sync = SyncRecord {
            id: 300,
            tables,
            braked: true,
        };
        stood(b"\xac\x02\x01\x02id\x02\x02Id\x05Email\x01", &sync);
        let counts = Counts {
            last_link: 1_000,
            links: 999,
        };
        stood(b"\xe8\x07\xe7\x07", &counts);
        let cursor = Cursor {
            position: Some(vec![0, 255]),
            done: true,
            fields: vec!["id".into(), "email".into()],
        };
        stood(b"\x01\x02\x00\xff\x01\x02\x02id\x05email", &cursor);
        stood(b"\x00\x00\x00", &Cursor::default());
        let read = ReadSoFar {
            rows: 5,
            of: Some(70_000),
        };
        stood(b"\x05\x01\xf0\xa2\x04", &read);
        let demanded = Sides::new(|side| Demanded {
            endpoint: side.to_string(),
            object: "people".into(),
            fields: vec!["id".into()],
        });
        stood(
            b"\x04left\x06people\x01\x02id\x05right\x06people\x01\x02id",
            &demanded,
        );
        stood(b"\x1200D000000000001EAA", &"00D000000000001EAA".to_owned());
    }

    #[test]
    fn records_stand_where_they_stood() {
        assert_eq!(counts_key(SyncId(0x0102)), b"n\x01\x02");
        let named = [SYNC, CURSOR, READ, IDENTITY, DEMANDED].map(|room| key(room, "people"));
        let stood = [b"speople", b"cpeople", b"gpeople", b"epeople", b"dpeople"];
        assert_eq!(named, stood.map(|key| key.to_vec()));
        assert_eq!((SYNCS, HOLDS), (&b"S"[..], &b"H"[..]));
    }
}
