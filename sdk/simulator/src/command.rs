//! `tidegate sim …`: a simulator as a process of its own.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::salesforce::{Credentials, Fault, Options, Simulator, When};

/// Vendors that can be simulated.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A Salesforce org on 127.0.0.1; its base URL is the first line printed
    Salesforce(SalesforceArguments),
}

/// How the simulated org is set up.
#[derive(Debug, Args)]
pub struct SalesforceArguments {
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Append every committed write to this file, one JSON object a line; it is emptied first
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Decides every random draw
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// API calls in a rolling day
    #[arg(long, value_name = "CALLS", default_value_t = 100_000)]
    daily_limit: u64,
    /// Make something go wrong: a rate from 0 to 1, or next:COUNT; an unknown name lists what there is
    #[arg(long = "fault", value_name = "NAME=RATE", value_parser = fault)]
    faults: Vec<(Fault, When)>,
    /// A write takes up to so long, and is stamped with the time it began
    #[arg(long, value_name = "MS", default_value_t = 0)]
    late_visible: u64,
    /// The delay of the fault `late`
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    late: u64,
    /// The delay of the fault `slow`
    #[arg(long, value_name = "MS", default_value_t = 25_000)]
    slow: u64,
    /// The most rows in a page of a query
    #[arg(long, value_name = "ROWS", default_value_t = 2_000)]
    page_rows: usize,
    /// How long an unused session lives
    #[arg(long, value_name = "SECONDS", default_value_t = 7_200)]
    session_timeout: u64,
    /// Refuse contacts of one name and e-mail as duplicates
    #[arg(long)]
    duplicate_rule: bool,
    /// Reformat ten-digit phone numbers, as some orgs do
    #[arg(long)]
    format_phones: bool,
    /// Add a custom field, as Contact.Legacy_Id__c:text(40):external
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// The consumer key that is accepted
    #[arg(long, value_name = "TEXT", default_value_t = Credentials::default().client_id)]
    client_id: String,
    /// The consumer secret that is accepted; simulated credentials protect nothing
    #[arg(long, value_name = "TEXT", default_value_t = Credentials::default().client_secret)]
    client_secret: String,
}

impl SalesforceArguments {
    fn options(self) -> Options {
        Options {
            port: self.port,
            journal: self.journal,
            seed: self.seed,
            daily_limit: self.daily_limit,
            faults: self.faults,
            late_visible_ms_max: self.late_visible,
            late_ms: self.late,
            slow_ms: self.slow,
            page_rows_max: self.page_rows,
            session_timeout_ms: self.session_timeout * 1000,
            duplicate_rule: self.duplicate_rule,
            format_phones: self.format_phones,
            fields: self.fields,
            credentials: Credentials {
                client_id: self.client_id,
                client_secret: self.client_secret,
                ..Credentials::default()
            },
            ..Options::default()
        }
    }
}

fn fault(text: &str) -> Result<(Fault, When), String> {
    let (name, when) = text.split_once('=').unwrap_or((text, "1"));
    let fault = name.parse().map_err(|error| format!("{error}"))?;
    let when = when.parse().map_err(|error| format!("{error}"))?;
    Ok((fault, when))
}

/// Simulates until the process is asked to end, by SIGTERM or Ctrl-C. Needs a tokio runtime.
///
/// # Errors
///
/// If the simulator can't be started, as when the port is taken.
#[allow(
    clippy::print_stdout,
    reason = "the address on standard output is how a parent process finds the simulator"
)]
pub async fn run(command: Command) -> Result<()> {
    let Command::Salesforce(arguments) = command;
    let options = arguments.options();
    let simulator = Simulator::start(options)
        .await
        .context("the Salesforce simulator did not start")?;
    println!("{}", simulator.base_url());
    ended().await?;
    Ok(())
}

async fn ended() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listening for Ctrl-C"),
    }
}
