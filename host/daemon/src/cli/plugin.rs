//! `tidegate plugin`: from a folder to a component, and a component for people to read.

use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_sandbox::{BuildOptions, build_plugin, inspect};

use super::exit::Exit;
use super::print::{Terminal, bytes, chain};

#[derive(Debug, clap::Subcommand)]
pub(super) enum PluginCommand {
    /// Build a plugin's folder into a component with its manifest inside
    Build {
        /// The folder with `plugin.toml`.
        folder: PathBuf,
        /// Where the component goes; `target/plugins/NAME.wasm` of the workspace around the folder if not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Build even if nothing has changed.
        #[arg(long)]
        force: bool,
    },
    /// Show what a plugin is and what it asks for, without running it
    Inspect {
        /// The component.
        file: PathBuf,
    },
}

pub(super) fn run(command: PluginCommand, terminal: &Terminal) -> Exit {
    match command {
        PluginCommand::Build { folder, out, force } => {
            build(&BuildOptions { folder, out, force }, terminal)
        }
        PluginCommand::Inspect { file } => show(&file, terminal),
    }
}

fn build(options: &BuildOptions, terminal: &Terminal) -> Exit {
    match build_plugin(options, &|step| terminal.note(step)) {
        Ok(built) => {
            let answer = json!({
                "file": built.file,
                "fresh": built.fresh,
                "bytes": built.bytes,
                "sha256": built.sha256,
            });
            terminal.answer(&answer, |_| {
                let state = if built.fresh { "built" } else { "up to date" };
                let size = bytes(built.bytes);
                format!("{}: {state}, {size}", built.file.display())
            });
            Exit::Done
        }
        Err(error) => {
            terminal.failure(error.code(), chain(&error));
            Exit::Failed
        }
    }
}

fn show(file: &Path, terminal: &Terminal) -> Exit {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("{} can't be read: {error}", file.display());
            terminal.failure("read-failed", message);
            return Exit::Failed;
        }
    };
    match inspect(&bytes) {
        Ok(inspection) => {
            terminal.answer(&inspection, ToString::to_string);
            Exit::Done
        }
        Err(error) => {
            terminal.failure(
                error.code(),
                format!("{}: {}", file.display(), chain(&error)),
            );
            Exit::Failed
        }
    }
}
