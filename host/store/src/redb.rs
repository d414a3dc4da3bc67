//! redb 4.6 behind the seam: the second engine, which keeps the seam honest and is small in memory.
//!
//! redb commits one transaction at a time and waits for the disk inside. So commits are taken into an overlay,
//! where reads see them at once, and one transaction writes all of it when durability is asked for: `apply` never
//! waits for the disk unless the overlay has grown to its bound.

use std::fs::{self, File};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::batch::Expected;
use crate::engine::{Applied, Commit, Engine, EngineError, EngineStats, Visit};
use crate::folder;
use crate::opening::EngineOpenError;
use crate::overlay::{Layer, Overlay};
use crate::range::KeyRange;

const FILE: &str = "data.redb";
type Bytes = &'static [u8];
const ENTRIES: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("entries");

/// When the overlay holds this much, `apply` writes it itself: the bound of what waits in memory.
const OVERLAY_BYTES_MAX: usize = 16 << 20;

pub(crate) struct Redb {
    /// As of the last transaction, for all reads: opening it costs more than a read. `None` while one is written, which
    /// can't use the room again of what a reader may still look at.
    table: RwLock<Option<Arc<ReadOnlyTable<Bytes, Bytes>>>>,
    db: Database,
    overlay: RwLock<Overlay>,
    durable: Mutex<u64>,
    folder: PathBuf,
    cache_bytes: u64,
}

impl Redb {
    /// Makes a new database in a folder that does not exist yet.
    pub(crate) fn create(folder: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        fs::create_dir(folder)?;
        let path = folder.join(FILE);
        let db = Self::start(cache_bytes, |builder| builder.create(&path))?;
        write(&db, &Layer::new())?;
        Self::over(db, folder, cache_bytes)
    }

    /// Opens a finished database; the owner's lock is held.
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        let path = folder.join(FILE);
        // redb would lay a new database into an empty file.
        if fs::metadata(&path).map_or(0, |metadata| metadata.len()) == 0 {
            return Err(EngineOpenError::missing(path));
        }
        let db = Self::start(cache_bytes, |builder| builder.open(&path))?;
        Self::over(db, folder, cache_bytes)
    }

    fn start(
        cache_bytes: u64,
        open: impl Fn(&redb::Builder) -> Result<Database, DatabaseError>,
    ) -> Result<Database, EngineOpenError> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(usize::try_from(cache_bytes).unwrap_or(usize::MAX));
        let mut tries = 0;
        loop {
            // redb trusts its files where checking would cost, so damage may also show as a panic.
            let opened = panic::catch_unwind(AssertUnwindSafe(|| open(&builder)));
            match opened {
                Ok(Ok(db)) => return Ok(db),
                Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
                    tries += 1;
                    if tries == folder::LOCK_TRIES {
                        return Err(EngineOpenError::Locked);
                    }
                    folder::pause();
                }
                Ok(Err(error)) => return Err(EngineError::from(redb::Error::from(error)).into()),
                Err(_) => return Err(EngineOpenError::panicked()),
            }
        }
    }

    fn over(db: Database, folder: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        Ok(Self {
            table: RwLock::new(Some(Arc::new(table(&db)?))),
            db,
            overlay: RwLock::default(),
            durable: Mutex::new(0),
            folder: folder.to_owned(),
            cache_bytes,
        })
    }

    fn table(&self) -> Result<Arc<ReadOnlyTable<Bytes, Bytes>>, EngineError> {
        let shared = self.table.read().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            Some(shared) => Ok(Arc::clone(shared)),
            None => Ok(Arc::new(table(&self.db)?)),
        }
    }

    fn share(&self, table: Option<ReadOnlyTable<Bytes, Bytes>>) {
        let mut shared = self.table.write().unwrap_or_else(PoisonError::into_inner);
        *shared = table.map(Arc::new);
    }

    fn layers(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn layers_mut(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self, key: &[u8], is: &Expected) -> Result<bool, EngineError> {
        let found = self.get(key)?;
        Ok(match is {
            Expected::Absent => found.is_none(),
            Expected::Present => found.is_some(),
            Expected::Value(value) => found.as_ref() == Some(value),
        })
    }
}

/// One transaction for all of a layer; durable on return.
fn write(db: &Database, layer: &Layer) -> Result<(), EngineError> {
    let transaction = db.begin_write().map_err(redb::Error::from)?;
    {
        let mut table = transaction.open_table(ENTRIES).map_err(redb::Error::from)?;
        for (key, change) in layer {
            match change {
                Some(entry) => table
                    .insert(key.as_slice(), entry.as_slice())
                    .map_err(redb::Error::from)?,
                None => table.remove(key.as_slice()).map_err(redb::Error::from)?,
            };
        }
    }
    Ok(transaction.commit().map_err(redb::Error::from)?)
}

fn table(db: &Database) -> Result<ReadOnlyTable<Bytes, Bytes>, EngineError> {
    let transaction = db.begin_read().map_err(redb::Error::from)?;
    Ok(transaction.open_table(ENTRIES).map_err(redb::Error::from)?)
}

impl Engine for Redb {
    fn apply(&self, commit: Commit) -> Result<Applied, EngineError> {
        for (index, (key, is)) in commit.expects.iter().enumerate() {
            if !self.holds(key, is)? {
                return Ok(Applied::Unexpected(index));
            }
        }
        let puts = commit
            .puts
            .into_iter()
            .map(|(key, entry)| (key, Some(entry)));
        let deletes = commit.deletes.into_iter().map(|key| (key, None));
        let (seq, bytes) = {
            let mut layers = self.layers_mut();
            let seq = layers.push(puts.chain(deletes));
            (seq, layers.fresh_bytes())
        };
        if bytes > OVERLAY_BYTES_MAX {
            self.durable(seq)?;
        }
        Ok(Applied::Seq(seq))
    }

    fn durable(&self, seq: u64) -> Result<u64, EngineError> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if *durable < seq {
            let (layer, written) = {
                let mut layers = self.layers_mut();
                (layers.begin_write(), layers.seq())
            };
            self.share(None);
            write(&self.db, &layer)?;
            // Readers see the new table before the layer goes whose changes it holds.
            self.share(Some(table(&self.db)?));
            self.layers_mut().end_write();
            *durable = written;
        }
        Ok(*durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        if let Some(change) = self.layers().get(key) {
            return Ok(change.map(<[u8]>::to_vec));
        }
        // An entry borrows a page that redb may free once the table is gone, whatever its lifetime says.
        let table = self.table()?;
        let entry = table.get(key).map_err(redb::Error::from)?;
        Ok(entry.map(|entry| entry.value().to_vec()))
    }

    fn scan(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let layers = self.layers();
        let mut changes = layers.range(range).peekable();
        let table = self.table()?;
        let stored = table
            .range::<&[u8]>(range.as_bounds())
            .map_err(redb::Error::from)?;
        for entry in stored {
            let (key, entry) = entry.map_err(redb::Error::from)?;
            let key = key.value();
            while let Some((changed, change)) = changes.next_if(|(changed, _)| *changed < key) {
                if let Some(entry) = change
                    && !visit(changed, entry)
                {
                    return Ok(());
                }
            }
            let current = match changes.next_if(|(changed, _)| *changed == key) {
                Some((_, change)) => change,
                None => Some(entry.value()),
            };
            if let Some(entry) = current
                && !visit(key, entry)
            {
                return Ok(());
            }
        }
        for (changed, change) in changes {
            if let Some(entry) = change
                && !visit(changed, entry)
            {
                return Ok(());
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
        File::open(self.folder.join(FILE))?.sync_all()?;
        folder::sync_folder(&self.folder)
    }
}

impl From<redb::Error> for EngineError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Damaged(Box::new(error))
            }
            redb::Error::Io(error) => Self::Io(error),
            error @ redb::Error::Corrupted(_) => Self::Damaged(Box::new(error)),
            error => Self::Broken(Box::new(error)),
        }
    }
}
