//! The store's folder: whose it is, whether it was ever finished, and how its names become durable.
//!
//! | name | what |
//! |---|---|
//! | `lock` | locked by the owner while a store is open; holds its process id |
//! | `creating` | from before the engine's first file until after the marker: nothing was ever acknowledged |
//! | `store.json` | the marker, written last at creation: format and engine |
//! | `sled/`, `redb/` | the engine's own files |
//! | `damaged-N/` | copies of an engine's files, made before anything in a damaged store was touched |
//! | `unfinished-N/` | engine files of a creation that never finished, hence never acknowledged anything |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::EngineKind;

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

const LOCK: &str = "lock";
const MARKER: &str = "store.json";
const CREATING: &str = "creating";
const MARKER_DRAFT: &str = "store.json.draft";

/// An engine may hold its lock a moment longer than its last handle lives, so a lock is asked for this often.
pub(crate) const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Waits a moment before a lock is tried again.
pub(crate) fn pause() {
    thread::sleep(LOCK_PAUSE);
}

/// What the marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) format: u32,
    pub(crate) engine: EngineKind,
}

/// The lock on a folder; dropped last, after the engine.
pub(crate) struct Owner {
    _file: File,
}

/// Why a folder could not be claimed.
pub(crate) enum ClaimError {
    /// Another owner holds it; its process id, if it could be read.
    Held(Option<u32>),
    Io(io::Error),
}

/// Locks the folder for this process. Comes before any other touch, so that nobody tidies up under an owner.
pub(crate) fn claim(folder: &Path) -> Result<Owner, ClaimError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(LOCK))
        .map_err(ClaimError::Io)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => {
                write_pid(&mut file).map_err(ClaimError::Io)?;
                return Ok(Owner { _file: file });
            }
            Err(TryLockError::WouldBlock) => pause(),
            Err(TryLockError::Error(error)) => return Err(ClaimError::Io(error)),
        }
    }
    let mut text = String::new();
    let pid = match file.read_to_string(&mut text) {
        Ok(_) => text.trim().parse().ok(),
        Err(_) => None,
    };
    Err(ClaimError::Held(pid))
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// The marker as it stands; `None` when there is none, `Err(InvalidData)` when it can't be understood.
pub(crate) fn read_marker(folder: &Path) -> io::Result<Option<Marker>> {
    let text = match fs::read(folder.join(MARKER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Why a creation can't begin.
pub(crate) enum BeginError {
    /// These engine files belong to a store that was finished, and has lost its marker.
    Finished(PathBuf),
    Io(io::Error),
}

impl From<io::Error> for BeginError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Begins a creation, and says so on the disk before the engine writes anything. What an earlier creation left behind
/// is moved out of the way, rather than deleted: somebody may want to look at it.
pub(crate) fn begin_creation(folder: &Path) -> Result<(), BeginError> {
    let creating = folder.join(CREATING);
    let begun = creating.exists();
    for kind in EngineKind::ALL {
        let engine = folder.join(kind.name());
        if engine.exists() {
            if !begun {
                return Err(BeginError::Finished(engine));
            }
            fs::rename(&engine, unused_name(folder, "unfinished"))?;
        }
    }
    File::create(&creating)?.sync_all()?;
    Ok(sync_folder(folder)?)
}

/// Declares the folder finished. Everything else in it is durable before, and the marker is on return.
pub(crate) fn write_marker(folder: &Path, marker: Marker) -> io::Result<()> {
    let draft = folder.join(MARKER_DRAFT);
    let mut file = File::create(&draft)?;
    let mut text = serde_json::to_vec(&marker)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(MARKER))?;
    sync_folder(folder)?;
    // With the marker there it means nothing any more, and should it come back, it still does not.
    fs::remove_file(folder.join(CREATING))
}

/// Anything in the folder that no store puts there.
pub(crate) fn foreign_entry(folder: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let ours = [LOCK, CREATING, MARKER, MARKER_DRAFT].contains(&name.as_ref())
            || EngineKind::ALL.iter().any(|kind| kind.name() == name)
            || name.starts_with("damaged-")
            || name.starts_with("unfinished-");
        if !ours {
            return Ok(Some(folder.join(name.as_ref())));
        }
    }
    Ok(None)
}

/// Copies an engine's files to `damaged-N` beside it, and returns that folder.
pub(crate) fn copy_aside(folder: &Path, engine: &Path) -> io::Result<PathBuf> {
    let copy = unused_name(folder, "damaged");
    copy_all(engine, &copy)?;
    sync_folder(folder)?;
    Ok(copy)
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    sync_folder(to)
}

fn unused_name(folder: &Path, stem: &str) -> PathBuf {
    let mut number = 1;
    loop {
        let path = folder.join(format!("{stem}-{number}"));
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the name of a folder durable in its parent, and so on upwards. Folders further up that this process may
/// not open are somebody else's and stood before.
pub(crate) fn sync_ancestors(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    for (height, ancestor) in folder.ancestors().skip(1).enumerate() {
        match sync_folder(ancestor) {
            Ok(()) => {}
            Err(error) if height == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(())
}

/// What all files below a folder take up on the disk, in bytes.
pub(crate) fn bytes_on_disk(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // The engine may drop a file between the listing and the look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            bytes += bytes_on_disk(&entry.path())?;
        } else {
            bytes += metadata.blocks() * 512;
        }
    }
    Ok(bytes)
}
