//! sled 0.34.7 behind the seam, with the steps that make it keep its word.
//!
//! | what sled does | the step here |
//! |---|---|
//! | a kill during open leaves `snap.*.generating`, and the next open takes it for a snapshot | removed before every open |
//! | a broken snapshot is reported as corruption | the folder is copied aside, `snap.*` dropped (an index that is rebuilt from the log), one more try; nothing is ever wiped |
//! | `flush` calls sync_file_range, which leaves the growth of the file volatile | fdatasync of `db` after it, through a descriptor of our own: the kernel reports a lost write once per descriptor, and sled's flusher swallows it on its own |
//! | batches are atomic within one tree only | the default tree, and no other |
//! | large pages go to `blobs/`, which is never synced | `layout` keeps entries small |
//! | a background write that fails is only logged | sled answers it to the next apply and flush, and the first error of any of them ends the store (`Failure`) |
//! | segments are collected only by its flusher thread | `flush_every_ms` stays on |
//! | unbounded, its cache takes four times the bytes that it holds | `cache_capacity` is set (`Options::cache_bytes`); what it costs and buys is measured by `examples/load` |
//! | a missing `db` file is replaced by an empty one | a finished store must have its files and its note |

use std::fs::{self, File};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::batch::Expected;
use crate::engine::{Applied, Commit, Engine, EngineError, EngineStats, Visit};
use crate::folder;
use crate::opening::EngineOpenError;
use crate::range::KeyRange;

const FLUSH_EVERY_MS: u64 = 500;

pub(crate) struct Sled {
    db: sled::Db,
    file: File,
    folder: PathBuf,
    cache_bytes: u64,
    applied: Mutex<u64>,
    durable: Mutex<u64>,
}

impl Sled {
    /// Makes a new database in a folder that does not exist yet.
    pub(crate) fn create(folder: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        fs::create_dir(folder)?;
        Self::start(folder, cache_bytes)
    }

    /// Opens a finished database; the owner's lock is held.
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        for name in ["db", "conf"] {
            if !folder.join(name).is_file() {
                return Err(EngineOpenError::missing(folder.join(name)));
            }
        }
        remove_unfinished_snapshots(folder)?;
        let damage = match Self::start(folder, cache_bytes) {
            Err(EngineOpenError::Damaged { source, .. }) => source,
            other => return other,
        };
        let snapshots = files_named(folder, |name| name.starts_with("snap."))?;
        if snapshots.is_empty() {
            return Err(EngineOpenError::Damaged {
                copy: None,
                source: damage,
            });
        }
        let parent = folder.parent().unwrap_or(folder);
        let copy = folder::copy_aside(parent, folder)?;
        tracing::warn!(copy = %copy.display(), "the store's index is damaged; it is rebuilt from the log");
        for snapshot in snapshots {
            fs::remove_file(snapshot)?;
        }
        Self::start(folder, cache_bytes).map_err(|error| error.with_copy(copy))
    }

    fn start(folder: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(FLUSH_EVERY_MS));
        let db = open_db(&config)?;
        // New files have new names, and recovery may have replaced the snapshot: durable before anything builds on it.
        folder::sync_folder(folder)?;
        let file = File::options().write(true).open(folder.join("db"))?;
        Ok(Self {
            db,
            file,
            folder: folder.to_owned(),
            cache_bytes,
            applied: Mutex::new(0),
            durable: Mutex::new(0),
        })
    }
}

impl Engine for Sled {
    fn apply(&self, commit: Commit) -> Result<Applied, EngineError> {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, (key, is)) in commit.expects.iter().enumerate() {
            let found = self.db.get(key)?;
            let holds = match is {
                Expected::Absent => found.is_none(),
                Expected::Present => found.is_some(),
                Expected::Value(value) => found.as_deref() == Some(value.as_slice()),
            };
            if !holds {
                return Ok(Applied::Unexpected(index));
            }
        }
        let mut batch = sled::Batch::default();
        for (key, entry) in commit.puts {
            batch.insert(key, entry);
        }
        for key in commit.deletes {
            batch.remove(key);
        }
        self.db.apply_batch(batch)?;
        *applied += 1;
        Ok(Applied::Seq(*applied))
    }

    fn durable(&self, seq: u64) -> Result<u64, EngineError> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if *durable < seq {
            let applied = *self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            self.db.flush()?;
            self.file.sync_data()?;
            *durable = applied;
        }
        Ok(*durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.db.get(key)?.map(|entry| entry.to_vec()))
    }

    fn scan(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        for entry in self.db.range::<&[u8], _>(range.as_bounds()) {
            let (key, entry) = entry?;
            if !visit(&key, &entry) {
                break;
            }
        }
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats, EngineError> {
        Ok(EngineStats {
            bytes_on_disk: folder::bytes_on_disk(&self.folder)?,
            cache_bytes_max: self.cache_bytes,
        })
    }

    fn settle(&self) -> io::Result<()> {
        self.file.sync_all()?;
        // The names are durable since the start.
        File::open(self.folder.join("conf"))?.sync_all()
    }
}

/// Opens, waiting a moment for a lock that an earlier handle in this process has not let go of yet.
fn open_db(config: &sled::Config) -> Result<sled::Db, EngineOpenError> {
    let mut tries = 0;
    loop {
        // sled asserts what it believes of its files, so damage may also show as a panic.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| config.open()));
        match opened {
            Ok(Err(error)) if is_locked(&error) => {
                tries += 1;
                if tries == folder::LOCK_TRIES {
                    return Err(EngineOpenError::Locked);
                }
                folder::pause();
            }
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => return Err(EngineError::from(error).into()),
            Err(_) => return Err(EngineOpenError::panicked()),
        }
    }
}

/// sled 0.34.7 says so in words only.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

fn remove_unfinished_snapshots(folder: &Path) -> io::Result<()> {
    for path in files_named(folder, |name| name.ends_with(".generating"))? {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn files_named(folder: &Path, chosen: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if chosen(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            error @ sled::Error::Corruption { .. } => Self::Damaged(Box::new(error)),
            error => Self::Broken(Box::new(error)),
        }
    }
}
