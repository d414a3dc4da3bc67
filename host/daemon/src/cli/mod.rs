//! What a person types, and what a script reads back.

mod check;
mod demo;
mod exit;
mod explain;
mod pair;
mod pause;
mod plan;
mod plugin;
mod print;
mod progress;
mod quota;
mod remove;
mod run;
mod status;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;

use crate::control::Request;

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
    /// Show what would be written, by which method, and what it costs, before anything is done
    Plan(plan::PlanArguments),
    /// Show by which method rows of a sync travel, and why by none of the others
    Explain(explain::ExplainArguments),
    /// Keep the syncs in step until SIGTERM or SIGINT
    Run,
    /// Show how a running host is doing
    Status(status::StatusArguments),
    /// Show every allowance: what is used, by whom, what is left, and until when it lasts
    Quota,
    /// Show what was used of the allowances, by hour, sync, operation and lane
    Usage(quota::UsageArguments),
    /// Hold a sync, an endpoint or everything; changes wait, and nothing is lost
    Pause(pause::PauseArguments),
    /// Let what is held, or was stopped by a failure, go on at once
    Resume(pause::ResumeArguments),
    /// Let the deletes through that a sync's brake holds back
    ReleaseDeletes(status::SyncArguments),
    /// List the records that wait for a person, or try them again
    #[command(subcommand)]
    Dead(status::DeadCommand),
    /// Say which records of two filled systems are one, or that one has no other half, where their rules can't tell
    Pair(pair::PairArguments),
    /// End a running host as SIGTERM does
    Stop,
    /// Take away what was set up at an endpoint that no sync names any more
    Remove(remove::RemoveArguments),
    /// Export, import or verify the store of a host that is not running
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Keep a simulated CRM and a database in step while things go wrong
    Demo(crate::demo::DemoArguments),
    /// Run a vendor's simulator
    #[command(subcommand)]
    Sim(tidegate_simulator::Command),
    /// Build and inspect plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
}

/// Parses the command line, runs the command, prints its answer.
pub fn main() -> ExitCode {
    let Arguments {
        config,
        json,
        command,
    } = Arguments::parse();
    let terminal = print::Terminal::new(json);
    let ask = |request: Request| status::run(&config, &request, &terminal);
    let exit = match command {
        Command::Check(arguments) => check::run(&config, &arguments, &terminal),
        Command::Plan(arguments) => plan::run(&config, &arguments, &terminal),
        Command::Explain(arguments) => explain::run(&config, &arguments, &terminal),
        Command::Run => run::run(&config, &terminal),
        Command::Status(arguments) => ask(arguments.into()),
        Command::Quota => ask(Request::Quota),
        Command::Usage(arguments) => ask(quota::request(arguments)),
        Command::Pause(arguments) => ask(pause::pause(arguments)),
        Command::Resume(arguments) => ask(pause::resume(arguments)),
        Command::ReleaseDeletes(sync) => ask(status::release_deletes(sync)),
        Command::Dead(dead) => ask(status::command(dead)),
        Command::Pair(arguments) => ask(pair::request(arguments)),
        Command::Stop => ask(Request::Stop),
        Command::Remove(arguments) => remove::run(&config, &arguments, &terminal),
        Command::Store(command) => store::run(&config, &command, &terminal),
        Command::Demo(arguments) => demo::run(&arguments, &terminal),
        Command::Sim(command) => simulate(command, &terminal),
        Command::Plugin(command) => plugin::run(command, &terminal),
    };
    exit.into()
}

fn simulate(command: tidegate_simulator::Command, terminal: &print::Terminal) -> Exit {
    let ended = runtime()
        .map_err(anyhow::Error::new)
        .and_then(|runtime| runtime.block_on(tidegate_simulator::run(command)));
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            terminal.failure("simulator", print::chain(error.as_ref()));
            Exit::Failed
        }
    }
}

/// The async runtime of a command.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}
