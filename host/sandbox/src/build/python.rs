//! Python plugins: componentize-py makes the component, interpreter included.

use std::fs;
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
    let prepared = folder.join("bin/componentize-py");
    let mut command = if prepared.is_file() {
        let mut command = Command::new(prepared);
        // Modules come from the prepared environment, never from whatever Python is on the path.
        command.env("VIRTUAL_ENV", &folder);
        command
    } else {
        Command::new("componentize-py")
    };
    command
        .current_dir(job.folder)
        .arg("-d")
        .arg(&wit_folder)
        .args(["-w", job.world.name(), "componentize", "--stub-wasi"])
        .args(["-p", "."]);
    if let Some(sdk) = job.guests.python_sdk() {
        command.arg("-p").arg(sdk);
    }
    command.arg(entry).arg("-o").arg(&made);
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
