//! How records lie in an engine: which entries a record becomes, and back.
//!
//! | entry key | entry |
//! |---|---|
//! | `0x00` name | a note of the store about itself |
//! | `0x01` key | a record: its value, or the head of a value in parts |
//! | `0x02` key, index (u32, big endian) | one part of a large value |
//!
//! Two keys never share a part key: equal part keys have equal lengths, hence equal records' keys. A head holds
//! the value's length and checksum, so that parts of two different values can't pass for one.

use crate::batch::{Batch, Expected};
use crate::engine::{Commit, Engine, EngineError};
use crate::envelope::{self, Damage, Kind, PAYLOAD_BYTES_MAX};
use crate::range::KeyRange;

const NOTE: u8 = 0;
const RECORD: u8 = 1;
const PART: u8 = 2;

/// Why a record could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Damaged(#[from] Damage),
}

/// What a record's own entry says.
enum Entry<'a> {
    Whole(&'a [u8]),
    Head(Head),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    bytes: u32,
    checksum: u32,
}

impl Head {
    fn of(value: &[u8]) -> Self {
        Self {
            bytes: value.len() as u32,
            checksum: crc32c::crc32c(value),
        }
    }

    fn payload(self) -> [u8; 8] {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&self.bytes.to_le_bytes());
        payload[4..].copy_from_slice(&self.checksum.to_le_bytes());
        payload
    }

    fn read(payload: &[u8]) -> Result<Self, Damage> {
        let [a, b, c, d, e, f, g, h] = *payload else {
            return Err(Damage::Length);
        };
        Ok(Self {
            bytes: u32::from_le_bytes([a, b, c, d]),
            checksum: u32::from_le_bytes([e, f, g, h]),
        })
    }

    fn parts(self) -> u32 {
        self.bytes.div_ceil(PAYLOAD_BYTES_MAX as u32)
    }
}

pub(crate) fn note_key(name: &str) -> Vec<u8> {
    let mut key = vec![NOTE];
    key.extend_from_slice(name.as_bytes());
    key
}

fn record_key(key: &[u8]) -> Vec<u8> {
    let mut entry_key = Vec::with_capacity(key.len() + 1);
    entry_key.push(RECORD);
    entry_key.extend_from_slice(key);
    entry_key
}

fn part_key(key: &[u8], index: u32) -> Vec<u8> {
    let mut entry_key = Vec::with_capacity(key.len() + 5);
    entry_key.push(PART);
    entry_key.extend_from_slice(key);
    entry_key.extend_from_slice(&index.to_be_bytes());
    entry_key
}

/// A caller's range, moved into the room of the records.
pub(crate) fn record_range(range: &KeyRange) -> KeyRange {
    use std::ops::Bound;
    KeyRange {
        start: match &range.start {
            Bound::Included(key) => Bound::Included(record_key(key)),
            Bound::Excluded(key) => Bound::Excluded(record_key(key)),
            Bound::Unbounded => Bound::Included(vec![RECORD]),
        },
        end: match &range.end {
            Bound::Included(key) => Bound::Included(record_key(key)),
            Bound::Excluded(key) => Bound::Excluded(record_key(key)),
            Bound::Unbounded => Bound::Excluded(vec![PART]),
        },
    }
}

/// The room of the parts.
pub(crate) fn part_range() -> KeyRange {
    KeyRange::prefix([PART])
}

/// The caller's key of a record's entry key.
pub(crate) fn caller_key(entry_key: &[u8]) -> &[u8] {
    entry_key.get(1..).unwrap_or_default()
}

/// A record that could not be translated because what it replaces is damaged.
pub(crate) struct Stuck {
    pub(crate) key: Vec<u8>,
    pub(crate) error: FetchError,
}

/// A batch as an engine takes it.
pub(crate) struct Translated {
    pub(crate) commit: Commit,
    /// For each expectation of the commit, the caller's expectation that it stands for: index and key.
    pub(crate) expects: Vec<(usize, Vec<u8>)>,
    /// The records that are new, and those that go.
    pub(crate) added: Vec<Vec<u8>>,
    pub(crate) removed: Vec<Vec<u8>>,
}

/// Turns a batch into the engine's terms. Reads what it replaces, so that no part is left behind.
pub(crate) fn translate(batch: Batch, engine: &dyn Engine) -> Result<Translated, Stuck> {
    let mut out = Translated {
        commit: Commit::default(),
        expects: Vec::new(),
        added: Vec::new(),
        removed: Vec::new(),
    };
    for (index, expect) in batch.expects.into_iter().enumerate() {
        let before = out.commit.expects.len();
        expectations(&expect.key, expect.is, &mut out.commit);
        let made = out.commit.expects.len() - before;
        out.expects
            .extend(std::iter::repeat_n((index, expect.key), made));
    }
    for (key, value) in batch.puts {
        let old = old_parts(&key, engine)?;
        let kept = put(&key, &value, &mut out.commit);
        drop_parts(&key, kept, old.unwrap_or(0), &mut out.commit);
        if old.is_none() {
            out.added.push(key);
        }
    }
    for key in batch.deletes {
        if let Some(old) = old_parts(&key, engine)? {
            out.commit.deletes.push(record_key(&key));
            drop_parts(&key, 0, old, &mut out.commit);
            out.removed.push(key);
        }
    }
    Ok(out)
}

fn expectations(key: &[u8], is: Expected, commit: &mut Commit) {
    let Expected::Value(value) = is else {
        commit.expects.push((record_key(key), is));
        return;
    };
    // Entries are made from values the same way each time, so equal values are equal entries.
    let mut entries = Commit::default();
    put(key, &value, &mut entries);
    let expects = entries
        .puts
        .into_iter()
        .map(|(key, entry)| (key, Expected::Value(entry)));
    commit.expects.extend(expects);
}

/// Adds the entries of a record and returns how many parts it has.
fn put(key: &[u8], value: &[u8], commit: &mut Commit) -> u32 {
    let entry_key = record_key(key);
    if value.len() <= PAYLOAD_BYTES_MAX {
        let entry = envelope::seal(Kind::Whole, &entry_key, value);
        commit.puts.push((entry_key, entry));
        return 0;
    }
    let head = Head::of(value);
    let entry = envelope::seal(Kind::Head, &entry_key, &head.payload());
    commit.puts.push((entry_key, entry));
    for (index, payload) in (0..).zip(value.chunks(PAYLOAD_BYTES_MAX)) {
        let entry_key = part_key(key, index);
        let entry = envelope::seal(Kind::Part, &entry_key, payload);
        commit.puts.push((entry_key, entry));
    }
    head.parts()
}

fn drop_parts(key: &[u8], from: u32, to: u32, commit: &mut Commit) {
    let parts = (from..to).map(|index| part_key(key, index));
    commit.deletes.extend(parts);
}

/// How many parts the record has now; `None` when there is no record.
fn old_parts(key: &[u8], engine: &dyn Engine) -> Result<Option<u32>, Stuck> {
    let look = || -> Result<Option<u32>, FetchError> {
        let entry_key = record_key(key);
        let Some(entry) = engine.get(&entry_key)? else {
            return Ok(None);
        };
        Ok(Some(match read_entry(&entry_key, &entry)? {
            Entry::Whole(_) => 0,
            Entry::Head(head) => head.parts(),
        }))
    };
    look().map_err(|error| Stuck {
        key: key.to_vec(),
        error,
    })
}

fn read_entry<'a>(entry_key: &[u8], entry: &'a [u8]) -> Result<Entry<'a>, Damage> {
    match envelope::open(entry_key, entry)? {
        (Kind::Whole, payload) => Ok(Entry::Whole(payload)),
        (Kind::Head, payload) => Head::read(payload).map(Entry::Head),
        (Kind::Part | Kind::Note, _) => Err(Damage::Place),
    }
}

/// The value of one record.
pub(crate) fn fetch(key: &[u8], engine: &dyn Engine) -> Result<Option<Vec<u8>>, FetchError> {
    let entry_key = record_key(key);
    match engine.get(&entry_key)? {
        Some(entry) => value_of(&entry_key, &entry, engine).map(|(value, _)| Some(value)),
        None => Ok(None),
    }
}

/// The value behind a record's entry, its parts fetched and checked, and how many parts there were.
pub(crate) fn value_of(
    entry_key: &[u8],
    entry: &[u8],
    engine: &dyn Engine,
) -> Result<(Vec<u8>, u32), FetchError> {
    let head = match read_entry(entry_key, entry)? {
        Entry::Whole(value) => return Ok((value.to_vec(), 0)),
        Entry::Head(head) => head,
    };
    let mut value = Vec::with_capacity(head.bytes as usize);
    for index in 0..head.parts() {
        let part_key = part_key(caller_key(entry_key), index);
        let part = engine.get(&part_key)?.ok_or(Damage::PartMissing)?;
        match envelope::open(&part_key, &part)? {
            (Kind::Part, payload) => value.extend_from_slice(payload),
            _ => return Err(Damage::Place.into()),
        }
    }
    if Head::of(&value) != head {
        return Err(Damage::Checksum.into());
    }
    Ok((value, head.parts()))
}
