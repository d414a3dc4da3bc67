//! `tidegate store`: what a host keeps, moved and checked while it is not running.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_store::{Exported, Store, Verified};

use super::exit::Exit;
use super::print::{Terminal, bytes, chain, count};
use crate::assembly;
use crate::config::{self, Loaded};

#[derive(Debug, clap::Subcommand)]
pub(super) enum StoreCommand {
    /// Write everything to one portable file, which any engine can import
    Export {
        /// The file to write.
        file: PathBuf,
    },
    /// Make the store anew from an exported file
    Import {
        /// The exported file.
        file: PathBuf,
    },
    /// Read every record and check that it is as it was written
    Verify,
}

pub(super) fn run(path: &Path, command: &StoreCommand, terminal: &Terminal) -> Exit {
    let Loaded { config, findings } = config::load(path);
    // Only [host] matters here.
    if let Some(problem) = findings.problems_of("host").first() {
        terminal.failure(&problem.code.name(), problem);
        return Exit::Usage;
    }
    let folder = assembly::store_folder(&config);
    let done = match command {
        StoreCommand::Import { file } => import(&config, file),
        _ if !folder.exists() => {
            let message = format!("there is no store in {}", folder.display());
            terminal.failure("no-store", message);
            return Exit::Store;
        }
        StoreCommand::Export { file } => open(&config).and_then(|store| export(&store, file)),
        StoreCommand::Verify => open(&config).and_then(|store| verify(&store)),
    };
    match done {
        Ok(Done::Moved(moved)) => {
            let answer = json!({ "records": moved.records, "bytes": moved.bytes });
            terminal.answer(&answer, |_| {
                format!("{} records, {}", count(moved.records), bytes(moved.bytes))
            });
            Exit::Done
        }
        Ok(Done::Verified(verified)) => {
            terminal.answer(&verified, text);
            if verified.is_sound() {
                Exit::Done
            } else {
                Exit::Store
            }
        }
        Err(failure) => {
            terminal.failure(failure.code, &failure.message);
            failure.exit
        }
    }
}

enum Done {
    Moved(Exported),
    Verified(Verified),
}

struct Failure {
    code: &'static str,
    message: String,
    exit: Exit,
}

fn failed(code: &'static str, exit: Exit) -> impl FnOnce(&dyn Error) -> Failure {
    move |error| Failure {
        code,
        message: chain(error),
        exit,
    }
}

fn open(config: &config::meant::Config) -> Result<Store, Failure> {
    assembly::open_store(config).map_err(|error| failed(error.code(), Exit::Store)(&error))
}

fn export(store: &Store, file: &Path) -> Result<Done, Failure> {
    store
        .export(file)
        .map(Done::Moved)
        .map_err(|error| failed(error.code(), Exit::Failed)(&error))
}

fn verify(store: &Store) -> Result<Done, Failure> {
    store
        .verify()
        .map(Done::Verified)
        .map_err(|error| failed(error.code(), Exit::Store)(&error))
}

fn import(config: &config::meant::Config, file: &Path) -> Result<Done, Failure> {
    assembly::make_folder(&config.host.data)
        .map_err(|error| failed(error.code(), Exit::Store)(&error))?;
    let folder = assembly::store_folder(config);
    Store::import(&folder, assembly::store_options(config), file)
        .map(|(_, moved)| Done::Moved(moved))
        .map_err(|error| failed(error.code(), Exit::Failed)(&error))
}

fn text(verified: &Verified) -> String {
    let mut lines = vec![format!(
        "{} sound records, {}",
        count(verified.records),
        bytes(verified.bytes)
    )];
    if !verified.is_sound() {
        lines.push(format!(
            "{} damaged records, {} stray parts",
            count(verified.damaged),
            count(verified.stray_parts)
        ));
    }
    let keys = verified.damaged_keys.iter();
    lines.extend(keys.map(|damaged| format!("  {}: {}", damaged.key, damaged.what)));
    lines.join("\n")
}
