//! The walk that looks at every record.

use crate::engine::Engine;
use crate::handle::Store;
use crate::layout::{self, FetchError};
use crate::range::KeyRange;
use crate::records::{ReadError, entries};

const PAGE_RECORDS: usize = 256;

/// How many damaged keys are named; the rest are counted.
const NAMED_MAX: usize = 100;

/// A record that can't be read. Never its value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DamagedKey {
    /// The key with everything but printable ASCII escaped.
    pub key: String,
    pub what: String,
}

/// What a walk over all records found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Records whose envelopes are sound.
    pub records: u64,
    /// Their keys and values together, in bytes.
    pub bytes: u64,
    /// Records that can't be read.
    pub damaged: u64,
    /// The first of them.
    pub damaged_keys: Vec<DamagedKey>,
    /// Parts of large values that no sound record claims. They belong to damaged records, or are left over.
    pub stray_parts: u64,
}

impl Verified {
    /// Whether everything is as it was written.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0 && self.stray_parts == 0
    }
}

impl Store {
    /// Reads every record and checks its envelope and parts. Batches wait meanwhile. Blocks.
    ///
    /// It does not check that records are there which once were: only a comparison with their sources can.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.records()?.with(walk)
    }
}

fn walk(engine: &dyn Engine) -> Result<Verified, ReadError> {
    let mut found = Verified::default();
    let mut parts_claimed = 0;
    let mut range = layout::record_range(&KeyRange::all());
    loop {
        let page = entries(engine, &range, PAGE_RECORDS)?;
        let Some((last, _)) = page.last() else {
            break;
        };
        range = range.after(last.clone());
        for (entry_key, entry) in &page {
            let key = layout::caller_key(entry_key);
            match layout::value_of(entry_key, entry, engine) {
                Ok((value, parts)) => {
                    found.records += 1;
                    found.bytes += (key.len() + value.len()) as u64;
                    parts_claimed += u64::from(parts);
                }
                Err(FetchError::Engine(error)) => return Err(ReadError::engine(error)),
                Err(FetchError::Damaged(damage)) => found.name(key, damage.to_string()),
            }
        }
    }
    let mut parts = 0;
    engine
        .scan(&layout::part_range(), &mut |_, _| {
            parts += 1;
            true
        })
        .map_err(ReadError::engine)?;
    found.stray_parts = u64::saturating_sub(parts, parts_claimed);
    Ok(found)
}

impl Verified {
    fn name(&mut self, key: &[u8], what: String) {
        self.damaged += 1;
        if self.damaged_keys.len() < NAMED_MAX {
            let key = key.escape_ascii().to_string();
            self.damaged_keys.push(DamagedKey { key, what });
        }
    }
}
