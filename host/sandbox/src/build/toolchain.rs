//! Where guest toolchains and their results are.
//!
//! `sdk/setup-guests` prepares them once and notes in `target/guests/toolchain` how to call them: lines of
//! `KEY=VALUE` for the environment, with `CARGO` for the program and `FLAGS` for its further arguments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BuildError, read};

/// What `setup-guests` prepared, or nothing yet.
pub(super) struct Guests {
    root: PathBuf,
    /// The note's text, part of what a build depends on.
    pub(super) note: String,
}

impl Guests {
    /// Of the outermost workspace around a folder, or of the folder itself.
    pub(super) fn around(folder: &Path) -> Result<Self, BuildError> {
        let folder = fs::canonicalize(folder).map_err(|source| BuildError::Read {
            path: folder.to_owned(),
            source,
        })?;
        let root = folder
            .ancestors()
            .filter(|around| is_workspace(around))
            .last()
            .unwrap_or(&folder)
            .to_owned();
        let path = root.join("target/guests/toolchain");
        let note = match read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(BuildError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(error) => return Err(error),
        };
        Ok(Self { root, note })
    }

    /// Shared by all guests of the workspace, apart from the host's own target folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.root.join("target/guests")
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.root.join("target/plugins")
    }

    /// What Python plugins import, where the workspace has it beside them.
    pub(super) fn python_sdk(&self) -> Option<PathBuf> {
        Some(self.root.join("sdk/python")).filter(|folder| folder.is_dir())
    }

    /// The lock file that fixes the guests' dependencies, where there is one.
    pub(super) fn lock_file(&self) -> PathBuf {
        self.root.join("Cargo.lock")
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.lines()
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    }

    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.note.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.filter_map(|line| line.split_once('='))
    }

    /// cargo, as noted; the one on the path when nothing is noted.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new(self.value("CARGO").unwrap_or("cargo"));
        for (key, value) in self
            .lines()
            .filter(|(key, _)| !matches!(*key, "CARGO" | "FLAGS"))
        {
            command.env(key, value);
        }
        command
    }

    pub(super) fn cargo_flags(&self) -> impl Iterator<Item = &str> {
        self.value("FLAGS").unwrap_or_default().split_whitespace()
    }
}

fn is_workspace(folder: &Path) -> bool {
    fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
}

/// Runs a tool to its end and gives what it wrote to its standard output. What it said is shown when it failed.
pub(super) fn run(mut command: Command, advice: &str) -> Result<Vec<u8>, BuildError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let advice = advice.to_owned();
            return Err(BuildError::ToolMissing { tool, advice });
        }
        Err(source) => {
            let path = PathBuf::from(tool);
            return Err(BuildError::Read { path, source });
        }
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    if text.contains("the `wasm32-unknown-unknown` target may not be installed") {
        return Err(BuildError::ToolMissing {
            tool: "the Rust target wasm32-unknown-unknown".to_owned(),
            advice: advice.to_owned(),
        });
    }
    Err(BuildError::Failed {
        command: tool,
        status: output.status.to_string(),
        output: text,
    })
}
