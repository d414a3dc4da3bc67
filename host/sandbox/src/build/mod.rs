//! From a plugin's folder to a component: `tidegate plugin build DIR`.
//!
//! The folder's `plugin.toml` names the language; its toolchain makes a module or component; the manifest is
//! embedded; the result passes the same checks as at install. Nothing is built twice: a stamp beside the result
//! holds a digest of everything that went in.

mod component;
mod python;
mod rust;
mod stamp;
mod toolchain;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tidegate_core::manifest::{BuildSection, Language, Manifest, ManifestProblem};

pub use component::{EncodeError, component_from_core, embed_manifest};

use crate::load::{self, LoadError};
use crate::wit::World;
use toolchain::Guests;

/// What to build and where to put it.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The folder with `plugin.toml`.
    pub folder: PathBuf,
    /// The component; absent means `NAME.wasm` in `target/plugins` of the workspace around the folder.
    pub out: Option<PathBuf>,
    /// Build even if nothing has changed.
    pub force: bool,
}

/// A component that is ready to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    pub file: PathBuf,
    /// False when it was up to date already.
    pub fresh: bool,
    pub bytes: u64,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{} can't be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} can't be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} has mistakes:{}", path.display(), problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Manifest {
        path: PathBuf,
        problems: Vec<ManifestProblem>,
    },
    #[error("{}: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    #[error("{tool} is missing: {advice}")]
    ToolMissing { tool: String, advice: String },
    #[error("{command} failed ({status}):\n{output}")]
    Failed {
        command: String,
        status: String,
        /// What the tool said, as it said it.
        output: String,
    },
    #[error("the module could not be made a component")]
    Encode(#[from] EncodeError),
    #[error("what was built is not a plugin that this host accepts")]
    Unacceptable(#[from] LoadError),
}

impl BuildError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read-failed",
            Self::Write { .. } => "write-failed",
            Self::Manifest { .. } => "manifest-invalid",
            Self::Refused { .. } => "build-refused",
            Self::ToolMissing { .. } => "tool-missing",
            Self::Failed { .. } => "build-failed",
            Self::Encode(_) => "encode-failed",
            Self::Unacceptable(error) => error.code(),
        }
    }

    fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|source| BuildError::Read {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, bytes));
    written.map_err(|source| BuildError::Write {
        path: path.to_owned(),
        source,
    })
}

/// One plugin on its way.
struct Job<'a> {
    folder: &'a Path,
    manifest_path: PathBuf,
    build: &'a BuildSection,
    world: World,
    guests: &'a Guests,
    progress: &'a dyn Fn(&str),
}

/// Builds the plugin in a folder. `progress` is told, in a line each, what takes time. Blocks for as long as the
/// toolchain runs.
pub fn build_plugin(options: &BuildOptions, progress: &dyn Fn(&str)) -> Result<Built, BuildError> {
    let folder = &options.folder;
    let manifest_path = folder.join("plugin.toml");
    let text = String::from_utf8_lossy(&read(&manifest_path)?).into_owned();
    let manifest = Manifest::parse(&text).map_err(|problems| BuildError::Manifest {
        path: manifest_path.clone(),
        problems,
    })?;
    load::check_config_schema(&manifest, &text)?;
    let Some(build) = &manifest.build else {
        let reason = "has no [build] section; say which language the plugin is written in";
        return Err(BuildError::refused(&manifest_path, reason));
    };
    let guests = Guests::around(folder)?;
    let name = &manifest.plugin.name;
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| guests.plugins().join(format!("{name}.wasm")));
    let digest = stamp::digest(folder, &guests)?;
    if !options.force && stamp::is_current(&out, &digest) {
        return finished(out, false);
    }
    let job = Job {
        folder,
        manifest_path,
        build,
        world: World::of(manifest.plugin.kind, manifest.webhook.is_some()),
        guests: &guests,
        progress,
    };
    progress(&format!("building {name}"));
    let component = embed_manifest(&job.component(&text)?, &text)?;
    load::examine(&component, u64::MAX)?;
    write(&out, &component)?;
    stamp::set(&out, &digest)?;
    finished(out, true)
}

impl Job<'_> {
    fn component(&self, manifest_text: &str) -> Result<Vec<u8>, BuildError> {
        match self.build.language {
            Language::Rust => {
                let core = rust::core_module(self)?;
                Ok(component_from_core(&core, manifest_text, self.world)?)
            }
            Language::Python => python::component(self),
            Language::Javascript | Language::C => {
                let reason = "this version builds plugins in rust and python only";
                Err(BuildError::refused(&self.manifest_path, reason))
            }
        }
    }
}

fn finished(file: PathBuf, fresh: bool) -> Result<Built, BuildError> {
    let bytes = read(&file)?;
    Ok(Built {
        fresh,
        bytes: bytes.len() as u64,
        sha256: load::hash(&bytes),
        file,
    })
}
