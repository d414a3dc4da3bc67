//! Rust plugins: a `cdylib` for wasm32-unknown-unknown, which imports nothing of WASI.

use std::path::PathBuf;

use serde::Deserialize;

use super::{BuildError, Job, read, toolchain};

const TARGET: &str = "wasm32-unknown-unknown";
const ADVICE: &str = "run `sdk/setup-guests`, which finds or installs a toolchain for guests";

/// One line of cargo's `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

pub(super) fn core_module(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let cargo_toml = job.folder.join("Cargo.toml");
    if !cargo_toml.is_file() {
        let reason = "says language = \"rust\", but there is no Cargo.toml beside it";
        return Err(BuildError::refused(&job.manifest_path, reason));
    }
    let mut command = job.guests.cargo();
    command
        .arg("build")
        .arg("--manifest-path")
        .arg(&cargo_toml)
        .args([
            "--release",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
        ])
        .arg("--target-dir")
        .arg(job.guests.folder().join("rust"))
        // Guests are small and run a million times: one unit, and no debug sections to carry along.
        .args(["--config", "profile.release.debug=false"])
        .args(["--config", "profile.release.codegen-units=1"])
        .args(["--config", "profile.release.panic='abort'"])
        .args(job.guests.cargo_flags());
    (job.progress)(&format!("compiling {} for {TARGET}", job.folder.display()));
    let messages = toolchain::run(command, ADVICE)?;
    match artifact(&messages, &cargo_toml) {
        Some(path) => read(&path),
        None => {
            let reason = "made no module; give the crate `[lib] crate-type = [\"cdylib\"]`";
            Err(BuildError::refused(&cargo_toml, reason))
        }
    }
}

/// The module that cargo says it made from this very package.
fn artifact(messages: &[u8], cargo_toml: &std::path::Path) -> Option<PathBuf> {
    let wanted = std::fs::canonicalize(cargo_toml).ok()?;
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| {
            std::fs::canonicalize(&message.manifest_path).is_ok_and(|path| path == wanted)
        })
        .flat_map(|message| message.filenames)
        .find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
}
