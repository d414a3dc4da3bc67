//! Do nothing twice: a digest of all that went into a component stands beside it.

use std::fs;
use std::path::{Path, PathBuf};

use super::toolchain::Guests;
use super::{BuildError, read, write};
use crate::wit;

/// Of the plugin's folder, the packages it depends on by path, the interface, and the toolchain.
pub(super) fn digest(folder: &Path, guests: &Guests) -> Result<String, BuildError> {
    let mut hasher = blake3::Hasher::new();
    let mut part = |name: &str, bytes: &[u8]| {
        for piece in [name.as_bytes(), bytes] {
            hasher.update(&(piece.len() as u64).to_le_bytes());
            hasher.update(piece);
        }
    };
    part("builder", env!("CARGO_PKG_VERSION").as_bytes());
    part("toolchain", guests.note.as_bytes());
    for (name, text) in wit::FILES {
        part(name, text.as_bytes());
    }
    let lock_file = guests.lock_file();
    if lock_file.is_file() {
        part("Cargo.lock", &read(&lock_file)?);
    }
    let mut folders = vec![folder.to_owned()];
    if !folder.join("Cargo.toml").is_file() {
        folders.extend(guests.python_sdk());
    }
    let mut next = 0;
    while next < folders.len() {
        let current = folders[next].clone();
        next += 1;
        for file in files(&current)? {
            part(&file.to_string_lossy(), &read(&file)?);
        }
        for dependency in path_dependencies(&current) {
            if !folders.contains(&dependency) {
                folders.push(dependency);
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// All files below a folder in a stable order, without results and hidden ones.
fn files(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let failed = |source| BuildError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || matches!(&*name, "target" | "__pycache__" | "node_modules") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Folders of the packages that a Cargo.toml names by path, in it or through its workspace.
fn path_dependencies(folder: &Path) -> Vec<PathBuf> {
    let Some(own) = cargo_toml(folder) else {
        return Vec::new();
    };
    let around = folder.ancestors().skip(1).find_map(|ancestor| {
        let text = cargo_toml(ancestor)?;
        text.contains_key("workspace")
            .then(|| (ancestor.to_owned(), text))
    });
    let mut found = Vec::new();
    for section in ["dependencies", "build-dependencies"] {
        let Some(table) = own.get(section).and_then(toml::Value::as_table) else {
            continue;
        };
        for (name, value) in table {
            let by_workspace = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            let (base, entry) = match &around {
                Some((ancestor, text)) if by_workspace => (
                    ancestor.as_path(),
                    text["workspace"]
                        .get("dependencies")
                        .and_then(|all| all.get(name)),
                ),
                _ => (folder, Some(value)),
            };
            let path = entry
                .and_then(|entry| entry.get("path"))
                .and_then(toml::Value::as_str);
            found.extend(path.and_then(|path| fs::canonicalize(base.join(path)).ok()));
        }
    }
    found
}

fn cargo_toml(folder: &Path) -> Option<toml::Table> {
    fs::read_to_string(folder.join("Cargo.toml"))
        .ok()?
        .parse()
        .ok()
}

fn beside(out: &Path) -> PathBuf {
    out.with_extension("stamp")
}

/// Whether the component is there, whole, and made from the same things.
pub(super) fn is_current(out: &Path, digest: &str) -> bool {
    let (Ok(stamp), Ok(component)) = (fs::read_to_string(beside(out)), fs::read(out)) else {
        return false;
    };
    stamp == line(digest, &component)
}

pub(super) fn set(out: &Path, digest: &str) -> Result<(), BuildError> {
    let component = read(out)?;
    write(&beside(out), line(digest, &component).as_bytes())
}

fn line(digest: &str, component: &[u8]) -> String {
    format!("{digest} {}\n", blake3::hash(component).to_hex())
}
