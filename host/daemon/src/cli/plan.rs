//! `tidegate plan`: what would be written and what it costs, and whether it keeps a budget.

use std::path::Path;

use tidegate_core::price::{ANSWER_MS, Verdict};

use super::exit::Exit;
use super::print::{Table, Terminal, ago, chain, count};
use super::runtime;
use crate::assembly;
use crate::config::problem::{Findings, suggest};
use crate::config::{self, Loaded};
use crate::quote::budget::{self, Budget};
use crate::quote::look::look;
use crate::quote::{Direction, EndpointQuote, PoolQuote, Quote, Write, reckon};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PlanArguments {
    /// Only this sync, as the config calls it.
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// What may be used of an allowance, as `daily=1500`, `daily=5%` of a day, or `crm.daily=5%` at one endpoint. It holds for
    /// what is to do, and for a day in which nothing happens. More than that ends with exit code 6.
    #[arg(long = "budget", value_name = "POOL=CALLS|PERCENT%")]
    budgets: Vec<String>,
}

pub(super) fn run(path: &Path, arguments: &PlanArguments, terminal: &Terminal) -> Exit {
    let budgets = arguments
        .budgets
        .iter()
        .map(|written| Budget::read(written));
    let budgets: Vec<Budget> = match budgets.collect() {
        Ok(budgets) => budgets,
        Err(error) => {
            terminal.failure(error.code(), error);
            return Exit::Usage;
        }
    };
    let Loaded { config, findings } = config::load(path);
    if let Some(sync) = &arguments.sync
        && !config.syncs.contains_key(sync.as_str())
        && !findings.has_errors()
    {
        let names = config.syncs.keys().map(|name| &**name);
        let message = format!(
            "`--sync {sync}`: the config has no such sync; {}",
            suggest(sync, names)
        );
        terminal.failure("unknown-sync", message.trim_end_matches("; "));
        return Exit::Usage;
    }
    let credentials = config::credentials(&config, &findings);
    if findings.has_errors() {
        return refused(&findings, terminal);
    }
    // A store is made by `tidegate run`, not by looking.
    let store = match assembly::store_folder(&config).exists() {
        false => None,
        true => match assembly::open_store(&config) {
            Ok(store) => Some(store),
            Err(error) => {
                let help = "a plan is made while no host runs on this data folder; of a running one `tidegate quota` and `tidegate status` tell";
                terminal.failure(error.code(), format!("{}; {help}", chain(&error)));
                return Exit::Store;
            }
        },
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.failure("runtime", error);
            return Exit::Failed;
        }
    };
    let seen = runtime.block_on(async {
        let sandbox = assembly::sandbox(&config)?;
        let plugins = assembly::load_plugins(&config, &sandbox, &findings).await;
        if findings.has_errors() {
            return Ok(None);
        }
        let only = arguments.sync.as_deref();
        let store = store.as_ref();
        let seen = look(&config, &plugins, credentials, store, only, &findings).await?;
        anyhow::Ok(seen)
    });
    let seen = match seen {
        Ok(Some(seen)) => seen,
        Ok(None) => return refused(&findings, terminal),
        Err(error) => {
            terminal.failure("plan-failed", format!("{error:#}"));
            return Exit::Failed;
        }
    };
    let mut quote = reckon(&seen);
    quote.over = match budget::judge(&budgets, &quote.endpoints) {
        Ok(over) => over,
        Err(error) => {
            terminal.failure(error.code(), error);
            return Exit::Usage;
        }
    };
    terminal.answer(&quote, text);
    match quote.over.is_empty() {
        true => Exit::Done,
        false => Exit::OverBudget,
    }
}

/// A config with mistakes has no price.
fn refused(findings: &Findings, terminal: &Terminal) -> Exit {
    let message = format!(
        "`tidegate check` finds mistakes, so nothing can be planned\n{}",
        findings.errors_as_text()
    );
    terminal.failure("config", message);
    Exit::Usage
}

fn text(quote: &Quote) -> String {
    let mut parts = vec![directions(&quote.directions), reasons(&quote.directions)];
    parts.extend(quote.endpoints.iter().map(endpoint));
    if quote.endpoints.is_empty() {
        parts.push("no endpoint has an allowance, so nothing of it costs any".to_owned());
    }
    let over = quote
        .over
        .iter()
        .map(|over| format!("over budget: {over} [over-budget]"));
    parts.push(over.collect::<Vec<_>>().join("\n"));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn lower(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn directions(directions: &[Direction]) -> String {
    let mut table = Table::new(["sync", "from", "to", "to read", "to write", "lane", "by"]);
    let mut notes = Vec::new();
    for direction in directions {
        let Direction {
            sync,
            from,
            to,
            first_read,
            under_way,
            writes,
        } = direction;
        let read = match first_read {
            None => "changes only".to_owned(),
            Some(read) => {
                let records = read.records.map_or_else(|| "unknown".to_owned(), count);
                let begun = if read.begun { "at most " } else { "" };
                let way = match read.way.as_str() {
                    "" => String::new(),
                    way => format!(" by {way}"),
                };
                format!("{begun}{records}{way}")
            }
        };
        if first_read
            .as_ref()
            .is_some_and(|read| read.records.is_none())
        {
            notes.push(format!(
                "{sync}: {} does not tell how many records {} has, so its figures are the least",
                from.endpoint, from.object
            ));
        }
        if *under_way > 0 {
            notes.push(format!(
                "{sync}: {} writes have no outcome yet; they are looked up before anything else is written",
                count(*under_way)
            ));
        }
        let places = [
            format!("{}.{}", from.endpoint, from.object),
            format!("{}.{}", to.endpoint, to.object),
        ];
        let [from, to] = places;
        if writes.is_empty() {
            table.row([
                sync.clone(),
                from,
                to,
                read,
                "-".to_owned(),
                String::new(),
                String::new(),
            ]);
            continue;
        }
        for (place, write) in writes.iter().enumerate() {
            let first = |text: &String| {
                if place == 0 {
                    text.clone()
                } else {
                    String::new()
                }
            };
            table.row([
                first(sync),
                first(&from),
                first(&to),
                first(&read),
                rows(write),
                lower(write.lane),
                by(write),
            ]);
            if write.refused > 0 {
                notes.push(format!(
                    "{sync}: no method carries {} rows; they would go to the dead letters",
                    count(write.refused)
                ));
            }
        }
    }
    let mut parts = vec![table.text()];
    parts.append(&mut notes);
    parts.join("\n")
}

/// Why each kind of row goes by its method, once for all syncs.
fn reasons(directions: &[Direction]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for direction in directions {
        for write in &direction.writes {
            let taken = |verdict: &Verdict| *verdict == Verdict::Chosen;
            let Some(chosen) = write.methods.iter().find(|one| taken(&one.verdict)) else {
                continue;
            };
            let others = write.methods.iter().filter(|one| !taken(&one.verdict));
            let others: Vec<String> = others
                .map(|one| format!("{}: {}", one.method, one.why))
                .collect();
            if others.is_empty() {
                continue;
            }
            let line = format!(
                "{}: {} {}s of a round in the {} lane go by {} in {} calls; {}",
                direction.to.endpoint,
                count(write.round as u64),
                lower(write.operation),
                lower(write.lane),
                chosen.method,
                count(chosen.calls.unwrap_or_default()),
                others.join("; ")
            );
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines.join("\n")
}

fn rows(write: &Write) -> String {
    let most = if write.at_most { "at most " } else { "" };
    format!("{most}{} {}s", count(write.rows), lower(write.operation))
}

fn by(write: &Write) -> String {
    let by = write.by.iter().map(|by| {
        let plural = if by.pushes == 1 { "" } else { "es" };
        format!(
            "{} push{plural} by {} in {} calls",
            count(by.pushes),
            by.method,
            count(by.calls)
        )
    });
    by.collect::<Vec<_>>().join(", ")
}

/// Thousandths as a percentage.
fn percent(permille: u64) -> String {
    format!("{}.{} %", count(permille / 10), permille % 10)
}

fn endpoint(quote: &EndpointQuote) -> String {
    let calls = &quote.calls;
    let least = if quote.complete { "" } else { "at least " };
    let lasts = match quote.lasts_ms {
        Some(ms) => format!(
            "done in {} at the allowances' pace, a call being taken to last {}",
            ago(ms),
            ago(ANSWER_MS)
        ),
        None => format!("never done: {}", quote.never),
    };
    let mut parts = vec![format!(
        "{}: {least}{} calls = {} to open + {} first looks + {} to read all + {} to write + {} to read back; {lasts}",
        quote.endpoint,
        count(calls.all),
        count(calls.opening),
        count(calls.first_looks),
        count(calls.first_reads),
        count(calls.writes),
        count(calls.read_back),
    )];
    let mut table = Table::new([
        "pool",
        "units",
        "of a day",
        "a day gives",
        "used now",
        "idle day",
        "of a day",
    ]);
    for pool in &quote.pools {
        table.row([
            pool.pool.clone(),
            format!("{least}{}", count(pool.units)),
            percent(pool.permille_of_day),
            count(pool.per_day),
            count(pool.used),
            count(pool.idle_units),
            percent(pool.idle_permille_of_day),
        ]);
    }
    parts.push(table.text());
    parts.push(idle(quote));
    parts.push(format!("this plan took {} calls", count(quote.asked)));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn idle(quote: &EndpointQuote) -> String {
    let idle = &quote.idle;
    let looks = match idle.streams {
        0 => String::new(),
        _ => {
            let objects = if idle.streams == 1 {
                "object"
            } else {
                "objects"
            };
            let each = match idle.calls_each {
                1 => "one call".to_owned(),
                calls => format!("{} calls", count(calls)),
            };
            format!(
                "{} {objects} in {each}, every {}: {} calls",
                count(idle.streams),
                ago(idle.every_ms),
                count(idle.calls_each * idle.looks)
            )
        }
    };
    let gauges = match idle.gauges {
        0 => String::new(),
        gauges => format!("{} for the vendor's own figures", count(gauges)),
    };
    let parts: Vec<String> = [looks, gauges]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let parts = match parts.is_empty() {
        true => "nothing".to_owned(),
        false => parts.join(", and "),
    };
    let share =
        |pool: &PoolQuote| format!("{} of {}", percent(pool.idle_permille_of_day), pool.pool);
    let drawn = quote.pools.iter().filter(|pool| pool.idle_units > 0);
    let shares: Vec<String> = drawn.map(share).collect();
    format!(
        "an idle day: {parts}: {} calls = {}",
        count(idle.calls),
        shares.join(", ")
    )
}
