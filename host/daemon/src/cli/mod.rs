//! What a person types, and what a script reads back.

mod check;
mod exit;
mod print;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;

#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    about = "Keeps CRMs and databases in step, both ways, within every vendor's limits",
    after_help = exit::HELP,
    arg_required_else_help = true
)]
struct Arguments {
    /// The config file.
    #[arg(
        long,
        short,
        global = true,
        default_value = "tidegate.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// Answer as JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find everything that is wrong with the config, at once
    Check(check::CheckArguments),
}

/// Parses the command line, runs the command, prints its answer.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = print::Terminal::new(arguments.json);
    let exit = match arguments.command {
        Command::Check(check) => check::run(&arguments.config, &check, &terminal),
    };
    exit.into()
}
