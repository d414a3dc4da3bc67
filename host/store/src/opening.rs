//! How a store is born, opened, and refused.
//!
//! Birth: lock, a file that says so, engine files, a note in the engine, flush, fsync of the files and of every
//! folder up to the root, and last the marker. A creation that was broken off never acknowledged anything, so it is
//! begun anew; engine files that no creation accounts for are somebody's data, and are refused.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::{Applied, Commit, Engine, EngineError, EngineKind};
use crate::envelope::{self, Kind};
use crate::failure::is_full;
use crate::folder::{self, BeginError, ClaimError, FORMAT, Marker, Owner};
use crate::layout;
use crate::redb::Redb;
use crate::sled::Sled;

/// What is chosen when a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The engine of a new store. A store that exists keeps the engine that it was made with, and opening it
    /// with another is an error.
    pub engine: EngineKind,
    /// The bound of the engine's cache, in bytes; see [`EngineKind::cache_bytes_default`].
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        let engine = EngineKind::default();
        Self {
            engine,
            cache_bytes: engine.cache_bytes_default(),
        }
    }
}

/// Why a store could not be opened. Nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the store in {folder} is in use by {owner}; stop that process, or choose another folder", owner = owner_words(*.pid)
    )]
    Locked { folder: PathBuf, pid: Option<u32> },
    #[error("the store in {folder} is damaged; {advice}", advice = damage_advice(.copy.as_deref()))]
    Damaged {
        folder: PathBuf,
        /// Where the files were copied to before a repair was tried.
        copy: Option<PathBuf>,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error(
        "the store in {folder} has format {found}, and this version reads up to {FORMAT}; use the version that wrote it, or a newer one"
    )]
    NewerFormat { folder: PathBuf, found: u32 },
    #[error(
        "the store in {folder} was made with {found}, not with {asked}; open it with {found}, or export it and import the file into a new folder"
    )]
    OtherEngine {
        folder: PathBuf,
        found: EngineKind,
        asked: EngineKind,
    },
    #[error(
        "the store in {folder} has lost its store.json, and may hold data in {files}; restore that file from a copy of the folder, or move the folder away to begin anew",
        files = .files.display()
    )]
    MarkerLost { folder: PathBuf, files: PathBuf },
    #[error("{folder} holds {entry}, which is not part of a store; choose an empty folder", entry = .entry.display())]
    NotAStore { folder: PathBuf, entry: PathBuf },
    #[error("the disk under {folder} is full; free some space and try again")]
    Full { folder: PathBuf, source: io::Error },
    #[error("the store in {folder} could not be opened")]
    Io { folder: PathBuf, source: io::Error },
    #[error("the storage engine in {folder} failed while it opened")]
    Broken {
        folder: PathBuf,
        source: Box<dyn Error + Send + Sync>,
    },
}

impl OpenError {
    /// A stable word for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "store-locked",
            Self::Damaged { .. } => "store-damaged",
            Self::NewerFormat { .. } => "store-newer-format",
            Self::OtherEngine { .. } => "store-other-engine",
            Self::MarkerLost { .. } => "store-marker-lost",
            Self::NotAStore { .. } => "store-not-a-store",
            Self::Full { .. } => "store-full",
            Self::Io { .. } => "store-io",
            Self::Broken { .. } => "store-broken",
        }
    }

    fn io(folder: &Path, source: io::Error) -> Self {
        let folder = folder.to_owned();
        if is_full(&source) {
            Self::Full { folder, source }
        } else {
            Self::Io { folder, source }
        }
    }

    fn engine(folder: &Path, error: EngineOpenError) -> Self {
        match error {
            EngineOpenError::Locked => Self::Locked {
                folder: folder.to_owned(),
                pid: None,
            },
            EngineOpenError::Damaged { copy, source } => Self::Damaged {
                folder: folder.to_owned(),
                copy,
                source,
            },
            EngineOpenError::Other(EngineError::Io(source)) => Self::io(folder, source),
            EngineOpenError::Other(EngineError::Damaged(source)) => Self::damaged(folder, source),
            EngineOpenError::Other(EngineError::Broken(source)) => Self::Broken {
                folder: folder.to_owned(),
                source,
            },
        }
    }

    fn damaged(folder: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged {
            folder: folder.to_owned(),
            copy: None,
            source: source.into(),
        }
    }
}

fn owner_words(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

fn damage_advice(copy: Option<&Path>) -> String {
    let kept = match copy {
        Some(copy) => format!("a copy of its files is kept in {}; ", copy.display()),
        None => String::new(),
    };
    format!("{kept}move the folder away and import the last export into a new one")
}

/// Why an engine could not be opened.
pub(crate) enum EngineOpenError {
    Locked,
    Damaged {
        copy: Option<PathBuf>,
        source: Box<dyn Error + Send + Sync>,
    },
    Other(EngineError),
}

impl EngineOpenError {
    pub(crate) fn missing(path: PathBuf) -> Self {
        Self::Damaged {
            copy: None,
            source: format!("{} is missing or empty", path.display()).into(),
        }
    }

    pub(crate) fn panicked() -> Self {
        Self::Damaged {
            copy: None,
            source: "the engine gave up on its own files".into(),
        }
    }

    /// Says where the files were copied to.
    pub(crate) fn with_copy(self, path: PathBuf) -> Self {
        match self {
            Self::Damaged { source, .. } => Self::Damaged {
                copy: Some(path),
                source,
            },
            other => other,
        }
    }
}

impl From<EngineError> for EngineOpenError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Damaged(source) => Self::Damaged { copy: None, source },
            error => Self::Other(error),
        }
    }
}

impl From<io::Error> for EngineOpenError {
    fn from(error: io::Error) -> Self {
        Self::Other(EngineError::Io(error))
    }
}

/// An open engine and the lock on its folder, which is dropped after it.
pub(crate) struct Opened {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) owner: Owner,
}

/// Opens the store in a folder, or makes one in a folder that is empty or absent.
pub(crate) fn open(folder: &Path, options: Options) -> Result<Opened, OpenError> {
    match prepare(folder)? {
        (owner, Some(marker)) => {
            let engine = open_finished(folder, marker, options)?;
            Ok(Opened { engine, owner })
        }
        (owner, None) => {
            let engine = create(folder, options, |_| Ok(()))?;
            Ok(Opened { engine, owner })
        }
    }
}

/// Claims a folder and reads its marker.
pub(crate) fn prepare(folder: &Path) -> Result<(Owner, Option<Marker>), OpenError> {
    let io = |error| OpenError::io(folder, error);
    fs::create_dir_all(folder).map_err(io)?;
    if let Some(entry) = folder::foreign_entry(folder).map_err(io)? {
        return Err(OpenError::NotAStore {
            folder: folder.to_owned(),
            entry,
        });
    }
    let owner = folder::claim(folder).map_err(|error| match error {
        ClaimError::Held(pid) => OpenError::Locked {
            folder: folder.to_owned(),
            pid,
        },
        ClaimError::Io(error) => io(error),
    })?;
    match folder::read_marker(folder) {
        Ok(marker) => Ok((owner, marker)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(OpenError::damaged(folder, error))
        }
        Err(error) => Err(io(error)),
    }
}

fn open_finished(
    folder: &Path,
    marker: Marker,
    options: Options,
) -> Result<Arc<dyn Engine>, OpenError> {
    if marker.format > FORMAT {
        return Err(OpenError::NewerFormat {
            folder: folder.to_owned(),
            found: marker.format,
        });
    }
    if marker.engine != options.engine {
        return Err(OpenError::OtherEngine {
            folder: folder.to_owned(),
            found: marker.engine,
            asked: options.engine,
        });
    }
    let files = folder.join(marker.engine.name());
    let engine: Result<Arc<dyn Engine>, _> = match marker.engine {
        EngineKind::Sled => Sled::open(&files, options.cache_bytes).map(|sled| Arc::new(sled) as _),
        EngineKind::Redb => Redb::open(&files, options.cache_bytes).map(|redb| Arc::new(redb) as _),
    };
    let engine = engine.map_err(|error| OpenError::engine(folder, error))?;
    check_note(folder, &*engine)?;
    Ok(engine)
}

/// A new engine, filled by `fill`, made durable, and marked as finished.
pub(crate) fn create<E: From<OpenError>>(
    folder: &Path,
    options: Options,
    fill: impl FnOnce(&Arc<dyn Engine>) -> Result<(), E>,
) -> Result<Arc<dyn Engine>, E> {
    let io = |error| OpenError::io(folder, error);
    folder::begin_creation(folder).map_err(|error| match error {
        BeginError::Finished(files) => OpenError::MarkerLost {
            folder: folder.to_owned(),
            files,
        },
        BeginError::Io(error) => io(error),
    })?;
    let files = folder.join(options.engine.name());
    let failed = |error: EngineOpenError| OpenError::engine(folder, error);
    let engine: Result<Arc<dyn Engine>, _> = match options.engine {
        EngineKind::Sled => {
            Sled::create(&files, options.cache_bytes).map(|sled| Arc::new(sled) as _)
        }
        EngineKind::Redb => {
            Redb::create(&files, options.cache_bytes).map(|redb| Arc::new(redb) as _)
        }
    };
    let engine = engine.map_err(failed)?;
    fill(&engine)?;
    write_note(&*engine).map_err(|error| failed(error.into()))?;
    engine.settle().map_err(io)?;
    folder::sync_folder(folder).map_err(io)?;
    folder::sync_ancestors(folder).map_err(io)?;
    let marker = Marker {
        format: FORMAT,
        engine: options.engine,
    };
    folder::write_marker(folder, marker).map_err(io)?;
    Ok(engine)
}

/// The note that every finished store holds: an engine that comes back without it has lost its data.
const BORN: &str = "born";

fn write_note(engine: &dyn Engine) -> Result<(), EngineError> {
    let key = layout::note_key(BORN);
    let entry = envelope::seal(Kind::Note, &key, &FORMAT.to_le_bytes());
    let commit = Commit {
        puts: vec![(key, entry)],
        ..Commit::default()
    };
    if let Applied::Seq(seq) = engine.apply(commit)? {
        engine.durable(seq)?;
    }
    Ok(())
}

fn check_note(folder: &Path, engine: &dyn Engine) -> Result<(), OpenError> {
    let key = layout::note_key(BORN);
    let found = engine
        .get(&key)
        .map_err(|error| OpenError::engine(folder, error.into()))?
        .ok_or_else(|| OpenError::damaged(folder, "the engine came back without its data"))?;
    match envelope::open(&key, &found) {
        Ok((Kind::Note, _)) => Ok(()),
        Ok(_) => Err(OpenError::damaged(folder, envelope::Damage::Place)),
        Err(damage) => Err(OpenError::damaged(folder, damage)),
    }
}
