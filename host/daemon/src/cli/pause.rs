//! `tidegate pause` and `tidegate resume`: what is meant, and who says so.

use std::os::unix::fs::MetadataExt;

use tidegate_core::hold::Scope;

use super::status::command;
use crate::control::Request;
use crate::status::{Command, HoldStatus, Resumed};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PauseArguments {
    #[command(subcommand)]
    what: What,
    /// Why, for whoever sees it in the status.
    #[arg(long, global = true, default_value = "", value_name = "TEXT")]
    because: String,
    /// Who says so; the user of this command unless given.
    #[arg(long, global = true, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct ResumeArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// One sync, as the config calls it: it sends nothing, and its changes wait
    Sync { name: String },
    /// One endpoint, as the config calls it: it is not called at all
    Endpoint { name: String },
    /// One account at a vendor, as `tidegate quota` names it, or only its address: no endpoint of it is called
    Account { name: String },
    /// One pool of an endpoint: nothing that draws on it leaves
    Pool {
        #[arg(value_name = "ENDPOINT.POOL", value_parser = pool)]
        name: (String, String),
    },
    /// Every endpoint
    All,
}

impl From<What> for Scope {
    fn from(what: What) -> Self {
        match what {
            What::Sync { name } => Self::Sync(name),
            What::Endpoint { name } => Self::Endpoint(name),
            What::Account { name } => Self::Account(name),
            What::Pool {
                name: (endpoint, pool),
            } => Self::Pool { endpoint, pool },
            What::All => Self::All,
        }
    }
}

fn pool(text: &str) -> Result<(String, String), String> {
    let (endpoint, pool) = text
        .split_once('.')
        .ok_or("write the endpoint, a dot and the pool, such as crm.daily")?;
    Ok((endpoint.to_owned(), pool.to_owned()))
}

pub(super) fn pause(arguments: PauseArguments) -> Request {
    command(Command::Pause {
        what: arguments.what.into(),
        by: arguments.by.unwrap_or_else(user),
        why: arguments.because,
    })
}

pub(super) fn resume(arguments: ResumeArguments) -> Request {
    command(Command::Resume {
        what: arguments.what.into(),
    })
}

/// The user of this process, by name where the system lists one.
fn user() -> String {
    let Ok(own) = std::fs::metadata("/proc/self") else {
        return "somebody".to_owned();
    };
    let id = own.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut words = line.split(':');
        let name = words.next()?;
        (words.nth(1) == Some(&*id)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("user {id}"))
}

pub(super) fn told(resumed: &Resumed) -> String {
    let mut lines = Vec::new();
    let counts = [
        (resumed.lifted, "paused no more"),
        (resumed.cleared, "stopped by a failure, tried again now"),
        (resumed.released, "deletes let through"),
    ];
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        lines.push(format!("{count} {what}"));
    }
    if lines.is_empty() {
        lines.push("there was nothing to do".to_owned());
    }
    lines.extend(
        resumed
            .still
            .iter()
            .map(|hold| format!("still held: {}", held(hold))),
    );
    lines.join("\n")
}

/// One hold as a line.
pub(super) fn held(hold: &HoldStatus) -> String {
    let since = jiff::Timestamp::from_microsecond(hold.since_us)
        .map(|since| format!("{since:.0}"))
        .unwrap_or_default();
    let why = match hold.why.as_str() {
        "" => String::new(),
        why => format!(": {why}"),
    };
    format!("{} paused by {} at {since}{why}", hold.what, hold.by)
}
