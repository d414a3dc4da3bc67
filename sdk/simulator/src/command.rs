//! `tidegate sim …`: a simulator as a process of its own.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::clock::ClockMode;
use crate::meters::{self, Failing, Failure, Neighbour, Span, Vendor};
use crate::salesforce::{Credentials, Fault, Options, Simulator, When};

/// Vendors that can be simulated.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A Salesforce org on 127.0.0.1; its base URL is the first line printed
    Salesforce(SalesforceArguments),
    /// Salesforce's limits alone: every call is answered, nothing is stored
    SalesforceMeters(MetersArguments),
    /// HubSpot's limits: every call is answered, nothing is stored
    Hubspot(MetersArguments),
    /// Dataverse's limits: every call is answered, nothing is stored
    Dataverse(MetersArguments),
    /// Pipedrive's limits: every call is answered, nothing is stored
    Pipedrive(MetersArguments),
    /// Zoho CRM's limits: every call is answered, nothing is stored
    Zoho(MetersArguments),
}

/// How a vendor's meters are set up; durations are of simulated time.
#[derive(Debug, Args)]
pub struct MetersArguments {
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Decides every random draw
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Simulated seconds in one of the machine's
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    speed: u32,
    /// How far the vendor's clock is ahead of the machine's, or behind it
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    skew: i64,
    /// Another limit than the vendor's usual one, from the start or so many milliseconds later; an unknown meter lists
    /// what there is
    #[arg(long = "limit", value_name = "METER=UNITS[@MS]", value_parser = limit)]
    limits: Vec<(String, u64, Option<u64>)>,
    /// The way of a request, and of its answer: the least, and what chance adds
    #[arg(long, value_name = "MS+MS", default_value = "0+0", value_parser = span)]
    way: Span,
    /// How long a call is at work: the least, and what chance adds [default: what is usual for the vendor]
    #[arg(long, value_name = "MS+MS", value_parser = span)]
    latency: Option<Span>,
    /// Others take so much of what the first meter counts, drawn anew for each of its windows
    #[arg(long, value_name = "PERCENT-PERCENT", value_parser = percent)]
    neighbour: Option<RangeInclusive<u64>>,
    /// So many of the answers fail, for a time from the start on: error, html, reset or silence
    #[arg(long, value_name = "PERCENT@MS[:HOW]", value_parser = failing)]
    failing: Option<Failing>,
    /// Accept these credentials only, each as its header has it
    #[arg(long = "credential", value_name = "TEXT")]
    credentials: Vec<String>,
}

impl MetersArguments {
    fn options(self, vendor: Vendor) -> meters::Options {
        let (later, limits): (Vec<_>, Vec<_>) =
            self.limits.into_iter().partition(|(.., at)| at.is_some());
        meters::Options {
            port: self.port,
            seed: self.seed,
            clock: ClockMode::Fast { speed: self.speed },
            skew_ms: self.skew,
            limits: limits
                .into_iter()
                .map(|(name, units, _)| (name, units))
                .collect(),
            later: later
                .into_iter()
                .map(|(name, units, at)| (at.unwrap_or_default(), name, units))
                .collect(),
            way: self.way,
            takes: self.latency,
            neighbour: self.neighbour.map(|permille| Neighbour {
                permille,
                stretch_ms: None,
            }),
            failing: self.failing,
            credentials: self.credentials,
            ..meters::Options::new(vendor)
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("{text:?} is no whole number"))
}

fn limit(text: &str) -> Result<(String, u64, Option<u64>), String> {
    let (name, rest) = text.split_once('=').ok_or("write METER=UNITS")?;
    let (units, at) = match rest.split_once('@') {
        Some((units, at)) => (units, Some(number(at)?)),
        None => (rest, None),
    };
    Ok((name.to_owned(), number(units)?, at))
}

fn span(text: &str) -> Result<Span, String> {
    let (least, chance) = text.split_once('+').unwrap_or((text, "0"));
    Ok(Span::new(number(least)?, number(chance)?))
}

/// Thousandths from percents.
fn percent(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let (least, most): (u64, u64) = (number(least)?, number(most)?);
    if least > most || most > 100 {
        return Err("write two percents, as in 0-80".to_owned());
    }
    Ok(least * 10..=most * 10)
}

fn failing(text: &str) -> Result<Failing, String> {
    let (text, how) = text
        .split_once(':')
        .unwrap_or((text, Failure::Error.name()));
    let (share, for_ms) = text.split_once('@').ok_or("write PERCENT@MS")?;
    let mut ways = Failure::ALL.into_iter();
    let how = ways.find(|known| known.name() == how);
    Ok(Failing {
        permille: *percent(share)?.end(),
        for_ms: number(for_ms)?,
        how: how.ok_or("answers fail as error, html, reset or silence")?,
    })
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
    /// Simulated seconds in one of the machine's
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    speed: u32,
    /// API calls in a rolling day, or unlimited
    #[arg(long, value_name = "CALLS", default_value = "100000", value_parser = daily_limit)]
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
    /// The delay of the fault `job-slow`
    #[arg(long, value_name = "MS", default_value_t = 600_000)]
    slow_job: u64,
    /// How long a closed bulk job waits before it is begun
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    bulk_wait: u64,
    /// How long a bulk job takes for 200 rows
    #[arg(long, value_name = "MS", default_value_t = 50)]
    bulk_chunk: u64,
    /// Batches of bulk jobs in a rolling day, one for every started 10,000 rows
    #[arg(long, value_name = "BATCHES", default_value_t = 15_000)]
    bulk_batches: u64,
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
            clock: match self.speed {
                1 => ClockMode::Real,
                speed => ClockMode::Fast { speed },
            },
            daily_limit: self.daily_limit,
            faults: self.faults,
            late_visible_ms_max: self.late_visible,
            late_ms: self.late,
            slow_ms: self.slow,
            slow_job_ms: self.slow_job,
            bulk_wait_ms: self.bulk_wait,
            bulk_chunk_ms: self.bulk_chunk,
            bulk_batches_max: self.bulk_batches,
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

/// More calls than any client makes, and yet a number that clients can read.
const UNLIMITED: u64 = 1_000_000_000;

fn daily_limit(text: &str) -> Result<u64, String> {
    match text {
        "unlimited" => Ok(UNLIMITED),
        calls => number(calls),
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
    let arguments = match command {
        Command::Salesforce(arguments) => {
            let started = Simulator::start(arguments.options()).await;
            let simulator = started.context("the Salesforce simulator did not start")?;
            println!("{}", simulator.base_url());
            return ended().await;
        }
        Command::SalesforceMeters(arguments) => arguments.options(Vendor::Salesforce),
        Command::Hubspot(arguments) => arguments.options(Vendor::HubSpot),
        Command::Dataverse(arguments) => arguments.options(Vendor::Dataverse),
        Command::Pipedrive(arguments) => arguments.options(Vendor::Pipedrive),
        Command::Zoho(arguments) => arguments.options(Vendor::Zoho),
    };
    let vendor = arguments.vendor;
    let started = meters::Simulator::start(arguments).await;
    let simulator = started.with_context(|| format!("the meters of {vendor} did not start"))?;
    println!("{}", simulator.base_url());
    ended().await
}

async fn ended() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listening for Ctrl-C"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_played_is_read_from_the_command_line() {
        assert_eq!(limit("burst=95"), Ok(("burst".to_owned(), 95, None)));
        assert_eq!(
            limit("burst=95@60000"),
            Ok(("burst".to_owned(), 95, Some(60_000)))
        );
        assert_eq!(span("15+3"), Ok(Span::new(15, 3)));
        assert_eq!(span("50"), Ok(Span::new(50, 0)));
        assert_eq!(percent("0-80"), Ok(0..=800));
        assert_eq!(percent("40"), Ok(400..=400));
        let half = Failing {
            permille: 500,
            for_ms: 60_000,
            how: Failure::Error,
        };
        assert_eq!(failing("50@60000"), Ok(half));
        let silent = Failing {
            how: Failure::Silence,
            ..half
        };
        assert_eq!(failing("50@60000:silence"), Ok(silent));
        assert!(limit("burst").is_err() && limit("burst=many").is_err());
        assert!(percent("80-0").is_err() && percent("0-101").is_err());
        assert!(failing("50").is_err() && failing("50@1:loud").is_err());
        assert!(span("quick").is_err());
        assert_eq!(daily_limit("15000"), Ok(15_000));
        assert_eq!(daily_limit("unlimited"), Ok(UNLIMITED));
        assert!(daily_limit("none").is_err());
    }
}
