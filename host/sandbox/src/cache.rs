//! Compiled code between runs.
//!
//! What is loaded from here runs as native code, so nothing but what this host wrote is accepted: the folder is
//! private to the user, and every entry carries a MAC by a key that never leaves it. An entry that does not
//! verify is rebuilt, never reported to a plugin's author as theirs.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

const KEY_FILE: &str = "key";
const EXTENSION: &str = "cwasm";
const MAC_BYTES: usize = 32;
/// Entries kept; the oldest go first. Each version of a plugin that was ever loaded is one.
const ENTRIES_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
#[error("the folder for compiled plugins, {}, can't be used", folder.display())]
pub struct CacheError {
    pub folder: PathBuf,
    #[source]
    pub source: io::Error,
}

pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    /// Stands for wasmtime's version, its settings and this machine's instruction set.
    compatibility: String,
}

impl Cache {
    pub(crate) fn open(folder: PathBuf, engine: &Engine) -> Result<Self, CacheError> {
        let opened = make_private(&folder).and_then(|()| read_or_make_key(&folder.join(KEY_FILE)));
        match opened {
            Ok(key) => Ok(Self {
                folder,
                key,
                compatibility: compatibility(engine),
            }),
            Err(source) => Err(CacheError { folder, source }),
        }
    }

    /// The compiled component, if it was stored by this host for this engine.
    pub(crate) fn get(&self, engine: &Engine, hash: &str) -> Option<Component> {
        let name = self.name(hash);
        let entry = fs::read(self.folder.join(&name)).ok()?;
        let (mac, code) = entry.split_at_checked(MAC_BYTES)?;
        // blake3's own comparison takes the same time wherever the difference is.
        if self.mac(&name, code) != *<&[u8; MAC_BYTES]>::try_from(mac).ok()? {
            tracing::warn!(
                entry = name,
                "compiled code was changed by somebody else; building it again"
            );
            return None;
        }
        #[allow(
            unsafe_code,
            reason = "the MAC just checked says that these bytes came from `serialize` of this host"
        )]
        let component = unsafe { Component::deserialize(engine, code) };
        match component {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::debug!(entry = name, %error, "compiled code does not fit; building it again");
                None
            }
        }
    }

    /// Stores what was compiled. A failure costs time at the next start and nothing else.
    pub(crate) fn put(&self, hash: &str, component: &Component) {
        let name = self.name(hash);
        let stored = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| self.write(&name, &code))
            .and_then(|()| self.prune());
        if let Err(error) = stored {
            tracing::warn!(entry = name, %error, "compiled code could not be kept for the next start");
        }
    }

    fn name(&self, hash: &str) -> String {
        format!("{hash}-{}.{EXTENSION}", self.compatibility)
    }

    /// Covers the name too, so that an entry can't be passed off as another plugin's.
    fn mac(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(code);
        hasher.finalize()
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let temporary = self.folder.join(format!("{name}.{}", std::process::id()));
        let mut file = File::create(&temporary)?;
        file.write_all(self.mac(name, code).as_bytes())?;
        file.write_all(code)?;
        fs::rename(&temporary, self.folder.join(name))
    }

    fn prune(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry
                .path()
                .extension()
                .is_some_and(|found| found == EXTENSION)
            {
                entries.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        entries.sort();
        let surplus = entries.len().saturating_sub(ENTRIES_MAX);
        for (_, path) in entries.drain(..surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn compatibility(engine: &Engine) -> String {
    let mut hasher = Digest(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().to_hex()[..16].to_owned()
}

/// The standard hashers promise nothing across versions; this one does.
struct Digest(blake3::Hasher);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Only the owner may do this, so it also refuses a folder that is somebody else's.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            file.write_all(&key)?;
            file.sync_all()?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::read(path)?;
            found.try_into().map_err(|found: Vec<u8>| {
                let what = format!(
                    "{} holds {} bytes, not 32; delete it",
                    path.display(),
                    found.len()
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            })
        }
        Err(error) => Err(error),
    }
}
