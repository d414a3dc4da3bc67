//! The handle that everybody holds.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use crate::batch::{Batch, BatchError};
use crate::committer::{self, Committer, Job};
use crate::engine::EngineKind;
use crate::failure::Failure;
use crate::opening::{self, OpenError, Opened, Options};
use crate::progress::{Progress, Wait};
use crate::range::KeyRange;
use crate::records::{ReadError, Record, Records};

/// How much may wait to be applied before callers wait for room, in KiB.
const WAITING_KIB_MAX: usize = 16 << 10;

/// The number of an applied batch, rising within one opening of a store. It means nothing in another opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(u64);

/// Why a batch did not happen. None of it did.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the record \"{key}\" is not as the batch expects it; read it again and decide anew")]
    Unexpected {
        /// Which of the batch's expectations does not hold; the first one of several.
        index: usize,
        key: String,
    },
    /// A record that the batch would replace can't be read.
    #[error(transparent)]
    Damaged(ReadError),
    #[error("the store is closed")]
    Closed,
    #[error(transparent)]
    Failed(Failure),
}

impl ApplyError {
    /// A stable word for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Batch(error) => error.code(),
            Self::Unexpected { .. } => "store-unexpected",
            Self::Damaged(error) => error.code(),
            Self::Closed => "store-closed",
            Self::Failed(failure) => failure.code().as_str(),
        }
    }
}

/// Why it is not known that a batch is durable. It may still be found after the next opening.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DurableError {
    #[error("no batch {0} was applied in this opening of the store")]
    NeverApplied(u64),
    #[error("the store was closed before the batch was durable")]
    Closed,
    #[error(transparent)]
    Failed(Failure),
}

impl DurableError {
    /// A stable word for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NeverApplied(_) => "store-never-applied",
            Self::Closed => "store-closed",
            Self::Failed(failure) => failure.code().as_str(),
        }
    }
}

/// Figures of an open store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    pub engine: EngineKind,
    pub records: u64,
    /// What the engine's files take up on the disk.
    pub bytes_on_disk: u64,
    /// Batches applied in this opening.
    pub batches: u64,
    /// Flushes with fdatasync in this opening; one covers many batches.
    pub durable_commits: u64,
    /// The bound of the engine's cache.
    pub cache_bytes_max: u64,
}

/// An open store. Clones share it; when the last one goes, what was applied is flushed and the folder freed.
///
/// Reads run on the caller's thread and may touch the disk; they wait for at most one batch. `stats`, `verify`
/// and `export` walk the store: call them where blocking is allowed.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
    records: Arc<Records>,
    progress: Arc<Progress>,
    committer: Mutex<Option<thread::JoinHandle<()>>>,
    folder: PathBuf,
    engine: EngineKind,
}

impl Store {
    /// Opens the store in a folder, or makes one where the folder is absent or empty. Blocks: recovery reads the log.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        let opened = opening::open(folder, options)?;
        Self::start(folder, options, opened).map_err(|source| OpenError::Io {
            folder: folder.to_owned(),
            source,
        })
    }

    pub(crate) fn start(folder: &Path, options: Options, opened: Opened) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let records = Arc::new(Records::new(opened.engine));
        let progress = Arc::new(Progress::default());
        let flusher = {
            let (records, progress) = (Arc::clone(&records), Arc::clone(&progress));
            thread::Builder::new()
                .name("store-flush".to_owned())
                .spawn(move || committer::flush(&records, &progress))?
        };
        let committer = Committer {
            jobs: waiting,
            records: Arc::clone(&records),
            progress: Arc::clone(&progress),
            flusher,
            owner: opened.owner,
        };
        let committer = thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn(move || committer.run())?;
        Ok(Self {
            inner: Arc::new(Inner {
                jobs,
                room: Arc::new(Semaphore::new(WAITING_KIB_MAX)),
                records,
                progress,
                committer: Mutex::new(Some(committer)),
                folder: folder.to_owned(),
                engine: options.engine,
            }),
        })
    }

    /// Applies a batch: wholly or not at all, and visible to every read on return. Not yet durable.
    ///
    /// Batches of one caller that awaits each are applied in that order. When this future is dropped the batch may
    /// happen or not.
    pub async fn apply(&self, batch: Batch) -> Result<Seq, ApplyError> {
        batch.check()?;
        self.well().map_err(ApplyError::Failed)?;
        let kib = batch.bytes().div_ceil(1024).max(1) as u32;
        let room = Arc::clone(&self.inner.room).acquire_many_owned(kib);
        let Ok(room) = room.await else {
            return Err(ApplyError::Closed);
        };
        let (done, answer) = oneshot::channel();
        let job = Job::Apply { batch, room, done };
        if self.inner.jobs.send(job).is_err() {
            return Err(self.gone());
        }
        match answer.await {
            Ok(answer) => answer.map(Seq),
            Err(_) => Err(self.gone()),
        }
    }

    /// Returns once the batch, and every one before it, survives a power cut.
    pub async fn durable(&self, seq: Seq) -> Result<(), DurableError> {
        if !self.inner.progress.want(seq.0) {
            return Err(DurableError::NeverApplied(seq.0));
        }
        match self.inner.progress.wait(seq.0).await {
            Wait::Reached => Ok(()),
            Wait::Failed => Err(match self.well() {
                Err(failure) => DurableError::Failed(failure),
                Ok(()) => DurableError::Closed,
            }),
            Wait::Closed => Err(DurableError::Closed),
        }
    }

    /// The value of one record.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.well().map_err(ReadError::Failed)?;
        self.inner.records.get(key)
    }

    /// The first `limit` records of a range in ascending key order, as they stand between two batches.
    pub fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.well().map_err(ReadError::Failed)?;
        self.inner.records.scan(range, limit)
    }

    /// Figures. The first call counts the records, in pages, while writers go on.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        self.well().map_err(ReadError::Failed)?;
        let records = self.inner.records.count()?;
        let engine = self.inner.records.stats()?;
        Ok(Stats {
            engine: self.inner.engine,
            records,
            bytes_on_disk: engine.bytes_on_disk,
            batches: self.inner.progress.batches(),
            durable_commits: self.inner.progress.durable_commits(),
            cache_bytes_max: engine.cache_bytes_max,
        })
    }

    /// Waits until the store has failed, and says why; `None` when it was closed in health. The process that owns
    /// the store should end then.
    pub async fn failed(&self) -> Option<Failure> {
        self.inner.progress.wait_failed().await
    }

    /// Flushes, closes the engine and frees the folder. Other clones find the store closed. An error is the failure
    /// that kept the last batches from becoming durable.
    pub async fn close(self) -> Result<(), Failure> {
        self.inner.stop();
        self.inner.progress.wait_closed().await;
        self.well()
    }

    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    pub fn engine(&self) -> EngineKind {
        self.inner.engine
    }

    pub(crate) fn records(&self) -> Result<&Records, ReadError> {
        self.well().map_err(ReadError::Failed)?;
        Ok(&self.inner.records)
    }

    fn well(&self) -> Result<(), Failure> {
        match self.inner.progress.failure() {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    fn gone(&self) -> ApplyError {
        match self.well() {
            Err(failure) => ApplyError::Failed(failure),
            Ok(()) => ApplyError::Closed,
        }
    }
}

impl Inner {
    fn stop(&self) {
        if self.jobs.send(Job::Stop).is_err() {
            tracing::debug!("the store has stopped already");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
        let committer = self
            .committer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if committer.is_some_and(|committer| committer.join().is_err()) {
            tracing::error!("the store's committer ended by a panic");
        }
    }
}
