//! `tidegate explain`: by which method rows of a sync would travel, and why by none of the others.

use std::path::Path;

use serde::Serialize;
use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{Lane, Level};
use tidegate_core::plugin::OperationKind;
use tidegate_core::price::{self, Verdict};
use tidegate_core::sync::{DeletePolicy, Side, SyncSpec};
use tidegate_sandbox::SandboxError;

use super::exit::Exit;
use super::print::{Table, Terminal, chain, count};
use super::runtime;
use crate::assembly;
use crate::config::problem::suggest;
use crate::config::{self, Loaded};
use crate::levels;
use crate::quote::reasons::{self, Explanation};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// The sync, as the config calls it.
    sync: String,
    /// Rows that are ready at once.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// The lane in which they wait; the sync's own unless given. What is read whole waits in `backfill`.
    #[arg(long, value_name = "LANE", value_parser = lane)]
    lane: Option<Lane>,
    /// How far an allowance of the endpoint is used up: plenty, notify, stretch or critical.
    #[arg(long, value_name = "LEVEL", default_value = "plenty", value_parser = level)]
    level: Level,
}

fn lane(text: &str) -> Result<Lane, String> {
    named(
        text,
        [Lane::Critical, Lane::Normal, Lane::Backfill],
        lane_name,
    )
}

fn level(text: &str) -> Result<Level, String> {
    let levels = [
        Level::Plenty,
        Level::Notify,
        Level::Stretch,
        Level::Critical,
    ];
    named(text, levels, levels::name)
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Critical => "critical",
        Lane::Normal => "normal",
        Lane::Backfill => "backfill",
    }
}

fn named<T: Copy, const N: usize>(
    text: &str,
    all: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let found = all.into_iter().find(|one| name(*one) == text);
    found.ok_or_else(|| suggest(text, all.into_iter().map(name)))
}

#[derive(Debug, Serialize)]
struct Explained {
    sync: String,
    rows: u32,
    lane: Lane,
    level: Level,
    targets: Vec<Target>,
}

/// One operation on one side.
#[derive(Debug, Serialize)]
struct Target {
    side: Side,
    endpoint: String,
    object: String,
    operation: OperationKind,
    methods: Vec<Explanation>,
    break_evens: Vec<BreakEven>,
}

/// From so many ready rows on, this method.
#[derive(Debug, Serialize)]
struct BreakEven {
    rows: usize,
    method: String,
}

pub(super) fn run(path: &Path, arguments: &ExplainArguments, terminal: &Terminal) -> Exit {
    let Loaded { config, findings } = config::load(path);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.failure("runtime", error);
            return Exit::Failed;
        }
    };
    let loaded = runtime.block_on(async {
        let sandbox = assembly::sandbox(&config)?;
        let plugins = assembly::load_plugins(&config, &sandbox, &findings).await;
        Ok::<_, SandboxError>(plugins)
    });
    let plugins = match loaded {
        Ok(plugins) => plugins,
        Err(error) => {
            terminal.failure("sandbox", chain(&error));
            return Exit::Failed;
        }
    };
    if findings.has_errors() {
        terminal.failure("config", findings.errors_as_text());
        return Exit::Usage;
    }
    let Some(sync) = config.syncs.get(arguments.sync.as_str()) else {
        let names = config.syncs.keys().map(|name| &**name);
        let help = suggest(&arguments.sync, names);
        let message = format!("the config has no sync `{}`; {help}", arguments.sync);
        terminal.failure("unknown-sync", message.trim_end_matches("; "));
        return Exit::Usage;
    };
    let manifest = |side: Side| {
        let endpoint = &config.endpoints[&sync.spec.side(side).endpoint];
        plugins[&endpoint.plugin].manifest()
    };
    let explained = explain(&sync.spec, manifest, arguments);
    terminal.answer(&explained, text);
    Exit::Done
}

fn explain<'a>(
    spec: &SyncSpec,
    manifest: impl Fn(Side) -> &'a Manifest,
    arguments: &ExplainArguments,
) -> Explained {
    let lane = arguments.lane.unwrap_or(spec.lane);
    let mut targets = Vec::new();
    for side in Side::BOTH {
        let methods = &manifest(side).methods;
        for operation in operations(spec, side) {
            let chosen = (lane, arguments.level);
            let rows = arguments.rows as usize;
            let told = reasons::told(methods, chosen, operation, rows);
            let break_evens = price::break_evens(methods, chosen, operation);
            targets.push(Target {
                side,
                endpoint: spec.side(side).endpoint.to_string(),
                object: spec.side(side).object.to_string(),
                operation,
                methods: told,
                break_evens: break_evens
                    .into_iter()
                    .map(|(rows, method)| BreakEven {
                        rows,
                        method: method.name.clone(),
                    })
                    .collect(),
            });
        }
    }
    Explained {
        sync: spec.name.to_string(),
        rows: arguments.rows,
        lane,
        level: arguments.level,
        targets,
    }
}

/// What a sync does on a side.
fn operations(spec: &SyncSpec, side: Side) -> Vec<OperationKind> {
    let makes = match spec.side(side).key {
        Some(_) => OperationKind::Upsert,
        None => OperationKind::Create,
    };
    let mut operations = vec![makes, OperationKind::Update];
    if spec.side(side.other()).deletes == DeletePolicy::Propagate {
        operations.push(OperationKind::Delete);
    }
    let actions = spec.actions.iter();
    let actions = actions.filter(|action| action.side == side.other());
    for need in actions.flat_map(|action| action.does.needs()) {
        if !operations.contains(need) {
            operations.push(*need);
        }
    }
    operations
}

fn text(explained: &Explained) -> String {
    let mut parts = vec![format!(
        "{}: {} rows that are ready in the {} lane, at level {}",
        explained.sync,
        count(u64::from(explained.rows)),
        lane_name(explained.lane),
        levels::name(explained.level)
    )];
    let mut rest = &explained.targets[..];
    while let Some(first) = rest.first() {
        // Operations that travel alike are told together.
        let alike = |other: &Target| {
            let told = |target: &Target| -> Vec<(Option<u64>, Verdict)> {
                target
                    .methods
                    .iter()
                    .map(|one| (one.calls, one.verdict))
                    .collect()
            };
            other.side == first.side && told(other) == told(first)
        };
        let end = rest.iter().take_while(|other| alike(other)).count().max(1);
        let (together, others) = rest.split_at(end);
        rest = others;
        parts.push(target(together, first));
    }
    parts.join("\n\n")
}

fn target(together: &[Target], first: &Target) -> String {
    let names: Vec<String> = together
        .iter()
        .map(|target| format!("{:?}s", target.operation).to_lowercase())
        .collect();
    let mut table = Table::new(["", "method", "kind", "rows", "calls a use", "calls", "why"]);
    for method in &first.methods {
        table.row([
            if method.verdict == Verdict::Chosen {
                "->"
            } else {
                ""
            }
            .to_owned(),
            method.method.clone(),
            format!("{:?}", method.kind).to_lowercase(),
            format!(
                "{}-{}",
                count(u64::from(method.rows_min)),
                count(u64::from(method.rows_max))
            ),
            count(u64::from(method.calls_each)),
            method.calls.map_or_else(|| "-".to_owned(), count),
            method.why.clone(),
        ]);
    }
    let ranges = first
        .break_evens
        .iter()
        .map(|from| format!("from {} rows by {}", count(from.rows as u64), from.method));
    let ranges: Vec<String> = ranges.collect();
    format!(
        "{} on the {} ({}.{})\n{}\n{}",
        names.join(", "),
        first.side,
        first.endpoint,
        first.object,
        table.text(),
        ranges.join(", ")
    )
}
