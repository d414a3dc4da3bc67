//! Python plugins: componentize-py makes the component, interpreter included.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{BuildError, Job, read, toolchain, write};
use crate::wit;

const ADVICE: &str = "run `sdk/setup-guests`, or `pip install componentize-py`";
const ENTRY: &str = "app";

pub(super) fn component(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let entry = job.build.entry.as_deref().unwrap_or(ENTRY);
    let folder = job.guests.folder().join("python");
    let wit_folder = folder.join("wit");
    for (name, text) in wit::FILES {
        write(&wit_folder.join(name), text.as_bytes())?;
    }
    let made = folder.join(format!("{}.wasm", std::process::id()));
    let mut command = Command::new(program(job));
    command
        .current_dir(job.folder)
        .arg("-d")
        .arg(&wit_folder)
        .args([
            "-w",
            job.world.name(),
            "componentize",
            "--stub-wasi",
            entry,
            "-o",
        ])
        .arg(&made);
    (job.progress)(&format!(
        "componentizing {} with Python",
        job.folder.display()
    ));
    let result = toolchain::run(command, ADVICE).and_then(|_| read(&made));
    if let Err(error) = fs::remove_file(&made) {
        // It is not there when the tool failed, and harmless when it stays.
        tracing::debug!(file = %made.display(), %error, "not removed");
    }
    result
}

/// The one that was set up for guests, else the one on the path.
fn program(job: &Job<'_>) -> PathBuf {
    let prepared = job.guests.folder().join("python/bin/componentize-py");
    if prepared.is_file() {
        prepared
    } else {
        PathBuf::from("componentize-py")
    }
}
