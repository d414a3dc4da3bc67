//! The demo, as somebody has it who grows impatient.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tidegate_tests::built;

/// Processes of which some argument holds `text`.
fn processes_with(text: &str) -> Result<usize> {
    let mut found = 0;
    for entry in std::fs::read_dir("/proc")? {
        // A process may end while one looks.
        let arguments = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        found += usize::from(String::from_utf8_lossy(&arguments).contains(text));
    }
    Ok(found)
}

#[test]
fn interrupted_it_leaves_no_process_and_no_folder() -> Result<()> {
    let mut demo = Command::new(built::program())
        .args(["demo", "--records", "50", "--plugins"])
        .arg(built::plugins(&["salesforce", "sqlite", "field-map"]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut folder = None;
    for line in BufReader::new(demo.stderr.take().context("its output")?).lines() {
        let line = line?;
        if let Some((_, path)) = line.split_once("people, in ") {
            folder = Some(path.to_owned());
        }
        if line.contains("first sync") {
            break;
        }
    }
    let folder = folder.context("the demo did not name its folder")?;
    assert_ne!(processes_with(&folder)?, 0, "the host and the simulator");
    let pid = i32::try_from(demo.id())?;
    // SAFETY: a signal to a child that has not been waited for.
    #[allow(unsafe_code, reason = "the standard library sends no SIGTERM")]
    let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
    assert_eq!(sent, 0);
    let ended = demo.wait()?;
    assert_eq!(ended.code(), Some(1));
    assert_eq!(processes_with(&folder)?, 0);
    assert!(!std::path::Path::new(&folder).exists());
    Ok(())
}
