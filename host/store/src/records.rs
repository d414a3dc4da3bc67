//! Logical reads and writes over one engine.
//!
//! A gate lets many readers in, or the committer alone, so that a read never sees half a batch: not between two
//! parts of a value, and not between two records of a page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::batch::Batch;
use crate::census::Census;
use crate::engine::{Applied, Engine, EngineError, EngineStats};
use crate::failure::Failure;
use crate::layout::{self, FetchError, Stuck, Translated};
use crate::range::KeyRange;

/// How many records one step of a walk takes: few enough that a writer waits briefly.
const WALK_RECORDS: usize = 4096;

/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Why a read gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "the record \"{key}\" is damaged: {what}; run a verification, then restore an export or delete what is damaged"
    )]
    Damaged { key: String, what: String },
    #[error("the store is closed")]
    Closed,
    #[error(transparent)]
    Failed(Failure),
}

impl ReadError {
    /// A stable word for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "store-damaged",
            Self::Closed => "store-closed",
            Self::Failed(failure) => failure.code().as_str(),
        }
    }

    pub(crate) fn fetch(key: &[u8], error: FetchError) -> Self {
        match error {
            FetchError::Engine(error) => Self::engine(error),
            FetchError::Damaged(damage) => Self::Damaged {
                key: key.escape_ascii().to_string(),
                what: damage.to_string(),
            },
        }
    }

    pub(crate) fn engine(error: EngineError) -> Self {
        Self::Failed(Failure::new("read", error))
    }
}

/// How a batch ended when the store itself is well.
pub(crate) enum Outcome {
    Seq(u64),
    /// The first expectation that does not hold: its index in the batch, and its key.
    Unexpected {
        index: usize,
        key: Vec<u8>,
    },
    /// A record that would be replaced is damaged.
    Damaged(ReadError),
    Closed,
}

/// The engine with its gate; empty once closed.
pub(crate) struct Records {
    gate: RwLock<Option<Arc<dyn Engine>>>,
    census: Mutex<Census>,
    /// Held while a walk counts.
    counting: Mutex<()>,
}

impl Records {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            gate: RwLock::new(Some(engine)),
            census: Mutex::default(),
            counting: Mutex::default(),
        }
    }

    /// Applies one batch. An `Err` is the engine's failure: the caller must end the store.
    pub(crate) fn apply(&self, batch: Batch) -> Result<Outcome, EngineError> {
        let gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let Some(engine) = &*gate else {
            return Ok(Outcome::Closed);
        };
        let Translated {
            commit,
            expects,
            added,
            removed,
        } = match layout::translate(batch, &**engine) {
            Ok(translated) => translated,
            Err(Stuck { key, error }) => {
                return match error {
                    FetchError::Engine(error) => Err(error),
                    damaged => Ok(Outcome::Damaged(ReadError::fetch(&key, damaged))),
                };
            }
        };
        Ok(match engine.apply(commit)? {
            Applied::Seq(seq) => {
                self.census().changed(&added, &removed);
                Outcome::Seq(seq)
            }
            Applied::Unexpected(entry) => {
                let (index, key) = expects.into_iter().nth(entry).unwrap_or_default();
                Outcome::Unexpected { index, key }
            }
        })
    }

    /// Makes at least what was applied up to `seq` durable. Readers and the committer go on meanwhile.
    pub(crate) fn durable(&self, seq: u64) -> Result<u64, EngineError> {
        let engine = self
            .gate
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match engine {
            Some(engine) => engine.durable(seq),
            None => Ok(seq),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.with(|engine| layout::fetch(key, engine).map_err(|error| ReadError::fetch(key, error)))
    }

    pub(crate) fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.with(|engine| scan(engine, range, limit))
    }

    /// Runs `read` with no commit in between, however many steps it takes.
    pub(crate) fn with<T>(
        &self,
        read: impl FnOnce(&dyn Engine) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        read(&**gate.as_ref().ok_or(ReadError::Closed)?)
    }

    pub(crate) fn stats(&self) -> Result<EngineStats, ReadError> {
        self.with(|engine| engine.stats().map_err(ReadError::engine))
    }

    /// The number of records. The first time this walks the store.
    pub(crate) fn count(&self) -> Result<u64, ReadError> {
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Census::Known(count) = &*self.census() {
            return Ok(*count);
        }
        *self.census() = Census::Unknown;
        while !self.count_on()? {}
        match &*self.census() {
            Census::Known(count) | Census::Walking { count, .. } => Ok(*count),
            Census::Unknown => Ok(0),
        }
    }

    /// Counts the next page; whether that was the last.
    fn count_on(&self) -> Result<bool, ReadError> {
        self.with(|engine| {
            let mut census = self.census();
            let (range, mut count) = match &*census {
                Census::Known(_) => return Ok(true),
                Census::Unknown => (KeyRange::all(), 0),
                Census::Walking { upto, count } => (KeyRange::all().after(upto.clone()), *count),
            };
            let mut met = 0;
            let mut last = None;
            engine
                .scan(&layout::record_range(&range), &mut |key, _| {
                    met += 1;
                    if met == WALK_RECORDS {
                        last = Some(layout::caller_key(key).to_vec());
                    }
                    met < WALK_RECORDS
                })
                .map_err(ReadError::engine)?;
            count += met as u64;
            *census = match last {
                Some(upto) => Census::Walking { upto, count },
                None => Census::Known(count),
            };
            Ok(matches!(*census, Census::Known(_)))
        })
    }

    fn census(&self) -> MutexGuard<'_, Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the engine away; every later call finds the store closed.
    pub(crate) fn close(&self) {
        let engine = self
            .gate
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(engine);
    }
}

/// The first `limit` records of a range.
pub(crate) fn scan(
    engine: &dyn Engine,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<Record>, ReadError> {
    let entries = entries(engine, &layout::record_range(range), limit)?;
    let mut records = Vec::with_capacity(entries.len());
    for (entry_key, entry) in entries {
        let key = layout::caller_key(&entry_key);
        let (value, _) = layout::value_of(&entry_key, &entry, engine)
            .map_err(|error| ReadError::fetch(key, error))?;
        records.push((key.to_vec(), value));
    }
    Ok(records)
}

/// The first `limit` entries of a range of entry keys, as the engine holds them.
pub(crate) fn entries(
    engine: &dyn Engine,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<Record>, ReadError> {
    let mut entries = Vec::new();
    if limit == 0 {
        return Ok(entries);
    }
    engine
        .scan(range, &mut |key, entry| {
            entries.push((key.to_vec(), entry.to_vec()));
            entries.len() < limit
        })
        .map_err(ReadError::engine)?;
    Ok(entries)
}
