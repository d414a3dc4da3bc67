//! `tidegate status`, and the commands that a running host takes.

use std::path::Path;

use super::exit::Exit;
use super::print::{Table, Terminal, ago, bytes, chain, count};
use super::{pause, progress, quota, runtime};
use crate::alerts::AlertsStatus;
use crate::config;
use crate::control::{self, Answer, AskError, Request};
use crate::status::{
    CacheStatus, Command, DeadLetter, Done, EndpointStatus, Latency, PluginStatus, Status,
    SyncStatus,
};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// As a collector such as Prometheus reads it.
    #[arg(long)]
    metrics: bool,
}

impl From<StatusArguments> for Request {
    fn from(arguments: StatusArguments) -> Self {
        match arguments.metrics {
            true => Self::Metrics,
            false => Self::Status,
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct SyncArguments {
    /// The sync, as the config calls it.
    sync: String,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum DeadCommand {
    /// Show the records that wait for a person, newest first
    List {
        /// Only this sync's.
        sync: Option<String>,
        /// The most to show.
        #[arg(long, default_value_t = 100)]
        rows_max: usize,
    },
    /// Try records again: those named, or all of the sync's
    Retry {
        /// The sync, as the config calls it.
        sync: String,
        /// Records as `dead list` names them; all when there is none.
        records: Vec<String>,
    },
}

impl From<DeadCommand> for Command {
    fn from(command: DeadCommand) -> Self {
        match command {
            DeadCommand::List { sync, rows_max } => Self::DeadList { sync, rows_max },
            DeadCommand::Retry { sync, records } => Self::DeadRetry { sync, records },
        }
    }
}

pub(super) fn release_deletes(arguments: SyncArguments) -> Request {
    let sync = arguments.sync;
    command(Command::ReleaseDeletes { sync })
}

pub(super) fn command(command: impl Into<Command>) -> Request {
    Request::Command {
        command: command.into(),
    }
}

/// Asks the running host and prints its answer.
pub(super) fn run(path: &Path, request: &Request, terminal: &Terminal) -> Exit {
    // Only [host] matters here; the rest of the file may be in the middle of an edit.
    let config::Loaded { config, findings } = config::load(path);
    let unreadable = findings.problems_of("host");
    if !unreadable.is_empty() {
        for problem in unreadable {
            terminal.failure(&problem.code.name(), problem);
        }
        return Exit::Usage;
    }
    let answer = match runtime() {
        Ok(runtime) => runtime.block_on(control::ask(&config.host.data, request)),
        Err(error) => {
            terminal.failure("runtime", error);
            return Exit::Failed;
        }
    };
    match answer {
        Ok(answer) => show(answer, terminal),
        Err(error @ AskError::NotRunning(_)) => {
            terminal.failure("not-running", error);
            Exit::NotRunning
        }
        Err(error) => {
            terminal.failure("no-answer", chain(&error));
            Exit::Failed
        }
    }
}

fn show(answer: Answer, terminal: &Terminal) -> Exit {
    match answer {
        Answer::Status(status) => {
            terminal.answer(&status, |status| text(status));
            if status.syncs.iter().any(|sync| sync.state.needs_person()) {
                Exit::NeedsPerson
            } else {
                Exit::Done
            }
        }
        Answer::Quota(pools) => {
            terminal.answer(&pools, |pools| quota::quota(pools));
            Exit::Done
        }
        Answer::Usage(pools) => {
            terminal.answer(&pools, |pools| quota::usage(pools));
            Exit::Done
        }
        Answer::Metrics(text) => {
            terminal.answer(&serde_json::json!({ "metrics": text }), |_| text.clone());
            Exit::Done
        }
        Answer::Stopping => {
            terminal.answer(&serde_json::json!({ "stopping": true }), |_| {
                "stopping; the calls in flight are being finished".to_owned()
            });
            Exit::Done
        }
        Answer::Done(Done::Changed(changed)) => {
            terminal.answer(
                &serde_json::json!({ "changed": changed }),
                |_| match changed {
                    0 => "there was nothing to do".to_owned(),
                    _ => "done".to_owned(),
                },
            );
            Exit::Done
        }
        Answer::Done(Done::Resumed(resumed)) => {
            terminal.answer(&resumed, pause::told);
            Exit::Done
        }
        Answer::Done(Done::DeadLetters(letters)) => {
            terminal.answer(&letters, |letters| dead(letters));
            Exit::Done
        }
        Answer::Error(error) => {
            terminal.failure(&error.code, &error.message);
            Exit::Failed
        }
    }
}

fn text(status: &Status) -> String {
    let mut parts = vec![format!(
        "tidegate {}, up {}, {} in memory; store: {}, {} records, {}{}",
        status.version,
        ago(status.uptime_ms),
        bytes(status.rss_bytes),
        status.store.engine,
        count(status.store.records),
        bytes(status.store.bytes),
        if status.stopping { "; stopping" } else { "" },
    )];
    let holds: Vec<String> = status.holds.iter().map(pause::held).collect();
    parts.push(holds.join("\n"));
    parts.push(alerts(&status.alerts));
    parts.push(syncs(&status.syncs));
    parts.extend(status.syncs.iter().filter_map(trouble));
    parts.push(endpoints(&status.endpoints));
    parts.push(cache(status.cache));
    parts.push(plugins(&status.plugins));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn alerts(alerts: &AlertsStatus) -> String {
    let mut lines: Vec<String> = alerts
        .standing
        .iter()
        .map(|alert| format!("alert: {} [{}]", alert.message, alert.code))
        .collect();
    if alerts.failed + alerts.left_out > 0 {
        lines.push(format!(
            "the webhook did not take {} alerts, and {} were left out",
            count(alerts.failed),
            count(alerts.left_out)
        ));
    }
    lines.join("\n")
}

fn syncs(syncs: &[SyncStatus]) -> String {
    let mut table = Table::new([
        "sync",
        "state",
        "records",
        "waiting",
        "in flight",
        "dead",
        "captured",
        "written",
        "echoes",
        "conflicts",
        "lag",
        "-> p50/p99",
        "<- p50/p99",
    ]);
    for sync in syncs {
        table.row([
            sync.name.clone(),
            format!("{:?}", sync.state).to_lowercase(),
            count(sync.records),
            count(sync.waiting),
            count(sync.in_flight),
            count(sync.dead),
            count(sync.captured),
            count(sync.written),
            count(sync.echoes),
            count(sync.conflicts),
            ago(sync.lag_ms),
            latency(sync.left_to_right),
            latency(sync.right_to_left),
        ]);
    }
    table.text()
}

fn latency(latency: Latency) -> String {
    match (latency.p50_ms, latency.p99_ms) {
        (Some(p50), Some(p99)) => format!("{} / {}", ago(p50), ago(p99)),
        _ => "-".to_owned(),
    }
}

fn trouble(sync: &SyncStatus) -> Option<String> {
    let mut lines = Vec::new();
    if let Some(reason) = &sync.reason {
        lines.push(format!(
            "{}: {} [{}]",
            sync.name, reason.message, reason.code
        ));
    }
    lines.extend(progress::lines(sync));
    for held in &sync.held_up {
        lines.push(format!(
            "{}: {} {} changes to the {} wait {} for {} [{}]",
            sync.name,
            count(held.changes),
            format!("{:?}", held.lane).to_lowercase(),
            held.to,
            ago(held.in_ms),
            held.reason.message,
            held.reason.code
        ));
    }
    if sync.waiting_for_parents > 0 {
        lines.push(format!(
            "{}: {} records wait until those that they name are on both sides [waits-for-parent]",
            sync.name,
            count(sync.waiting_for_parents)
        ));
    }
    if sync.waiting_for_pairs > 0 {
        lines.push(format!(
            "{}: {} records wait until both sides are read and paired [first-contact]",
            sync.name,
            count(sync.waiting_for_pairs)
        ));
    }
    for job in &sync.jobs {
        lines.push(format!(
            "{}: job {} by {} to the {}: {} records without an outcome; asked {} times",
            sync.name,
            job.job,
            job.method,
            job.to,
            count(job.rows),
            job.polls
        ));
    }
    if let Some(error) = &sync.last_error {
        lines.push(format!(
            "{}: last error: {} [{}]",
            sync.name, error.message, error.code
        ));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn endpoints(endpoints: &[EndpointStatus]) -> String {
    let mut table = Table::new([
        "endpoint",
        "plugin",
        "requests",
        "statements",
        "throttled",
        "held back",
        "from cache",
        "of these stale",
    ]);
    let mut pools = Table::new(["endpoint", "pool", "used", "by others", "limit", "state"]);
    let mut accounts = Table::new(["endpoint", "account", "kept for", "state"]);
    for endpoint in endpoints {
        for account in &endpoint.accounts {
            accounts.row([
                endpoint.name.clone(),
                account.name.clone(),
                account.only.clone(),
                match account.revoked.as_str() {
                    "" => "serves".to_owned(),
                    code => format!("refused by the vendor: {code}"),
                },
            ]);
        }
        table.row([
            endpoint.name.clone(),
            endpoint.plugin.clone(),
            count(endpoint.requests),
            count(endpoint.statements),
            count(endpoint.throttled),
            count(endpoint.held_back),
            count(endpoint.reads.recalled + endpoint.reads.recalled_stale),
            count(endpoint.reads.recalled_stale),
        ]);
        for pool in &endpoint.pools {
            let state = match pool.parked_ms {
                Some(ms) => format!("parked for {}: {}", ago(ms), pool.reason),
                None if pool.reason.is_empty() && pool.level != "plenty" => pool.level.clone(),
                None if pool.reason.is_empty() => "open".to_owned(),
                None => pool.reason.clone(),
            };
            pools.row([
                endpoint.name.clone(),
                pool.name.clone(),
                count(pool.used),
                count(pool.used_by_others),
                count(pool.limit),
                state,
            ]);
        }
    }
    let tables = [table.text(), accounts.text(), pools.text()];
    let filled = tables.into_iter().filter(|table| !table.is_empty());
    filled.collect::<Vec<_>>().join("\n\n")
}

fn cache(cache: CacheStatus) -> String {
    if cache.memory_answers + cache.store_answers == 0 {
        return String::new();
    }
    format!(
        "cache: {} answers in memory, {}; {} in the store, {}",
        count(cache.memory_answers),
        bytes(cache.memory_bytes),
        count(cache.store_answers),
        bytes(cache.store_bytes)
    )
}

fn plugins(plugins: &[PluginStatus]) -> String {
    let mut table = Table::new([
        "plugin",
        "is",
        "version",
        "hash",
        "calls",
        "limited",
        "crashed",
        "broken answers",
    ]);
    for plugin in plugins {
        table.row([
            plugin.name.clone(),
            plugin.plugin.clone(),
            plugin.version.clone(),
            plugin.hash.chars().take(12).collect(),
            count(plugin.calls),
            count(plugin.breached),
            count(plugin.trapped),
            count(plugin.broken),
        ]);
    }
    let failures = plugins.iter().filter_map(|plugin| {
        let failure = plugin.last_failure.as_ref()?;
        Some(format!(
            "{}: last failure: {} [{}]",
            plugin.name, failure.message, failure.code
        ))
    });
    let mut parts = vec![table.text()];
    parts.extend(failures);
    parts.join("\n")
}

fn dead(letters: &[DeadLetter]) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = Table::new(["sync", "record", "left", "right", "code", "fields", "why"]);
    for letter in letters {
        table.row([
            letter.sync.clone(),
            letter.record.clone(),
            letter.left.clone().unwrap_or_else(|| "-".to_owned()),
            letter.right.clone().unwrap_or_else(|| "-".to_owned()),
            letter.reason.code.clone(),
            letter.fields.join(", "),
            letter.reason.message.clone(),
        ]);
    }
    table.text()
}
