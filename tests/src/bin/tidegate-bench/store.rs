//! What half a million links with their shadows and index cost in the store, by engine. Each engine works in a process
//! of its own, since resident memory is a process's own.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tidegate_store::EngineKind;
use tidegate_tests::built;

use crate::report::{Figures, Group, Outcome, Scale};

/// What the store's example `load` says, as far as it is told here.
#[derive(Serialize, Deserialize)]
struct Cost {
    engine: EngineKind,
    links: u64,
    links_per_second: f64,
    lone_commits_per_second: f64,
    durable_commits_per_second: f64,
    random_reads_per_second: f64,
    settled_links_per_second: f64,
    reopen_seconds: f64,
    resident_bytes: u64,
    resident_peak_bytes: u64,
    stats: Size,
}

#[derive(Serialize, Deserialize)]
struct Size {
    records: u64,
    bytes_on_disk: u64,
    cache_bytes_max: u64,
}

#[derive(Serialize)]
struct Costs {
    engines: Vec<Cost>,
    /// The second engine's figures, each divided by the first one's.
    ratios: Option<Ratios>,
}

#[derive(Serialize)]
struct Ratios {
    durable_commits: f64,
    random_reads: f64,
    resident: f64,
    disk: f64,
}

impl Ratios {
    fn of(first: &Cost, second: &Cost) -> Self {
        let ratio = |first: u64, second: u64| second as f64 / first as f64;
        Self {
            durable_commits: second.durable_commits_per_second / first.durable_commits_per_second,
            random_reads: second.random_reads_per_second / first.random_reads_per_second,
            resident: ratio(first.resident_bytes, second.resident_bytes),
            disk: ratio(first.stats.bytes_on_disk, second.stats.bytes_on_disk),
        }
    }
}

impl Figures for Costs {
    fn groups(&self) -> Vec<Group> {
        let group = |title: &str, unit: &'static str, figure: fn(&Cost) -> f64| {
            let group = Group::new(title);
            self.engines.iter().fold(group, |group, cost| {
                group.line(cost.engine.name(), figure(cost), unit)
            })
        };
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let resident = Group::new("resident memory");
        let resident = self.engines.iter().fold(resident, |group, cost| {
            let line = group.line(cost.engine.name(), mb(cost.resident_bytes), "MB");
            line.aim("<= 300")
        });
        vec![
            group("links loaded, with two index records each", "/s", |cost| {
                cost.links_per_second
            }),
            group("durable commits, 64 callers", "/s", |cost| {
                cost.durable_commits_per_second
            }),
            group("durable commits, one caller", "/s", |cost| {
                cost.lone_commits_per_second
            }),
            group("random reads", "/s", |cost| cost.random_reads_per_second),
            group("links read and written anew, in no order", "/s", |cost| {
                cost.settled_links_per_second
            }),
            resident,
            group("disk", "MB", |cost| cost.stats.bytes_on_disk as f64 / 1e6),
        ]
    }
}

pub(crate) fn run(scale: Scale) -> Result<Outcome> {
    let links = scale.pick(500_000, 4_000);
    let engines = EngineKind::ALL
        .into_iter()
        .map(|engine| measure(engine, links))
        .collect::<Result<Vec<_>>>()?;
    let ratios = match engines.as_slice() {
        [first, second, ..] => Some(Ratios::of(first, second)),
        _ => None,
    };
    Outcome::new(&Costs { engines, ratios })
}

fn measure(engine: EngineKind, links: u32) -> Result<Cost> {
    let output = Command::new(built::store_example("load"))
        .args(["--engine", engine.name(), "--links", &links.to_string()])
        .output()
        .with_context(|| format!("loading {engine}"))?;
    ensure!(
        output.status.success(),
        "{engine}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("what {engine} cost"))
}
