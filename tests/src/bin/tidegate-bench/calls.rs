//! What a company with many records pays in calls, memory and processor time, and what it would pay otherwise.
//!
//! A first sync and a day are played; orgs of two sizes are filled on each engine, and the host is started again with
//! nothing to do; then [`contenders`] fill an org from the same database. An aim that is missed is printed as missed. A
//! day that ends with anything lost, doubled, different or refused for a limit is an error: its calls bought nothing.

mod contenders;

use anyhow::{Result, ensure};
use futures::try_join;
use serde::Serialize;
use tidegate::demo::{DemoReport, Loaded, Rerun, Scene as Stage, load, play};
use tidegate_store::EngineKind;
use tidegate_tests::built;
use tokio::sync::Semaphore;

use crate::report::{Figures, Group, Outcome, Scale};
use contenders::Filled;

#[derive(Serialize)]
struct Measured {
    played: Played,
    /// Each engine with many records.
    many: Sizes,
    /// And with a tenth of them.
    few: Sizes,
    contenders: Vec<Filled>,
}

#[derive(Serialize)]
struct Played {
    first_sync: Saved,
    after: Saved,
    report: DemoReport,
}

/// Calls, and as many as one for each change would have been.
#[derive(Clone, Copy, Serialize)]
struct Saved {
    calls: u64,
    changes: u64,
    fewer_percent: f64,
}

impl Saved {
    fn new(calls: u64, changes: u64) -> Self {
        let share = calls as f64 / changes.max(1) as f64;
        Self {
            calls,
            changes,
            fewer_percent: 100.0 - 100.0 * share,
        }
    }

    fn group(self, title: String, percent_least: f64) -> Group {
        // Rounding up would claim what was not saved.
        let shown = (self.fewer_percent * 10.0).floor() / 10.0;
        let kept = self.fewer_percent >= percent_least;
        Group::new(title)
            .line("one call a change", self.changes as f64, "calls")
            .line("tidegate", self.calls as f64, "calls")
            .line("fewer by", shown, "%")
            .aim(aim(&format!(">= {percent_least}"), kept))
    }
}

#[derive(Serialize)]
struct Sizes {
    records: u32,
    sled: Loaded,
    redb: Loaded,
}

impl Sizes {
    fn engines(&self) -> [(&'static str, &Loaded); 2] {
        [("sled", &self.sled), ("redb", &self.redb)]
    }
}

const RSS_MB_BELOW: u64 = 500;
const RSS_TIMES_MOST: f64 = 2.0;
const CPU_US_MOST: f64 = 20.0;

/// What was aimed at, and whether it was missed.
fn aim(text: &str, kept: bool) -> String {
    format!("{text}{}", if kept { "" } else { ": missed" })
}

impl Played {
    fn groups(&self) -> [Group; 3] {
        let report = &self.report;
        let mut end = Group::new("in the end, after both");
        for (what, count) in [
            ("lost", report.lost),
            ("doubled", report.duplicates),
            ("fields that differ", report.mismatches),
            ("requests refused for a limit", report.throttled),
        ] {
            let text = aim("0", count == 0);
            end = end.line(what, count as f64, "").aim(text);
        }
        let first_sync = format!("first sync of {} records", self.first_sync.changes);
        let after = format!("then {} changes on both sides", self.after.changes);
        [
            self.first_sync.group(first_sync, 99.0),
            self.after.group(after, 95.0),
            end.line(
                "resident memory of the host, at most",
                report.peak_rss_mb,
                "MB",
            ),
        ]
    }
}

impl Measured {
    fn memory(&self) -> Group {
        let title = format!(
            "resident memory of the host, filling an org and then writing every record anew: {} and {} records",
            self.many.records, self.few.records
        );
        let mut group = Group::new(title);
        for (what, sizes) in [("many", &self.many), ("few", &self.few)] {
            for (engine, loaded) in sizes.engines() {
                let peak = loaded.peak_rss_mb;
                group = group.line(format!("{engine}, {what}: at most"), peak as f64, "MB");
                if what == "many" {
                    let kept = peak < RSS_MB_BELOW;
                    group = group.aim(aim(&format!("< {RSS_MB_BELOW}"), kept));
                }
            }
        }
        for (what, sizes) in [("many", &self.many), ("few", &self.few)] {
            for (engine, loaded) in sizes.engines() {
                let started = loaded.started_rss_mb as f64;
                group = group.line(format!("{engine}, {what}: started again"), started, "MB");
            }
        }
        for ((engine, many), (_, few)) in self.many.engines().into_iter().zip(self.few.engines()) {
            let times = many.peak_rss_mb as f64 / few.peak_rss_mb as f64;
            let text = aim(&format!("<= {RSS_TIMES_MOST}"), times <= RSS_TIMES_MOST);
            group = group
                .line(format!("{engine}: many to few"), times, "times")
                .aim(text);
        }
        group
    }

    fn reruns(&self) -> Group {
        let title = format!(
            "started again with everything in step: {} records",
            self.many.records
        );
        let group = Group::new(title);
        self.many
            .engines()
            .into_iter()
            .fold(group, |group, (engine, loaded)| {
                rerun(group, engine, &loaded.rerun)
            })
    }

    fn contenders(&self) -> [Group; 3] {
        let records = self.few.records;
        let group = |title: &str, unit: &'static str, figure: fn(&Filled) -> f64| {
            let group = Group::new(format!("{records} records into an org: {title}"));
            self.contenders.iter().fold(group, |group, filled| {
                group.line(filled.name, figure(filled), unit)
            })
        };
        let mut processor = Group::new(format!(
            "{records} records into an org: processor, the client alone"
        ));
        for (place, filled) in self.contenders.iter().enumerate() {
            let cpu_us = filled.cpu_us_per_record;
            processor = processor.line(filled.name, cpu_us, "us/record");
            if place == 0 {
                let kept = cpu_us <= CPU_US_MOST;
                processor = processor.aim(aim(&format!("<= {CPU_US_MOST}"), kept));
            }
        }
        [
            group(
                "speed, on a way that takes no time",
                "records/s",
                |filled| filled.records_per_second,
            ),
            processor,
            group("calls", "calls", |filled| filled.api_calls as f64),
        ]
    }
}

fn rerun(group: Group, engine: &str, rerun: &Rerun) -> Group {
    let counted = |group: Group, what: &str, count: u64| {
        let text = aim("0", count == 0);
        group
            .line(format!("{engine}: {what}"), count as f64, "records")
            .aim(text)
    };
    let group = counted(group, "written, says the org", rerun.org_writes);
    let group = counted(group, "written, says the host", rerun.written);
    let group = counted(group, "taken for changes", rerun.captured);
    let after = format!("{engine}: calls in the {:.0} s after", rerun.resting_s);
    group
        .line(
            format!("{engine}: calls until it ran"),
            rerun.starting_calls as f64,
            "calls",
        )
        .line(after, rerun.resting_calls as f64, "calls")
}

impl Figures for Measured {
    fn groups(&self) -> Vec<Group> {
        let mut groups = Vec::from(self.played.groups());
        groups.extend([self.memory(), self.reruns()]);
        groups.extend(self.contenders());
        groups
    }
}

pub(crate) fn run(scale: Scale) -> Result<Outcome> {
    // Better said now than after half an hour.
    built::python();
    let runtime = tokio::runtime::Runtime::new()?;
    let stage = |engine, records| Stage {
        program: built::program(),
        plugins: built::plugins(&["salesforce", "sqlite", "field-map"]),
        keep: None,
        engine,
        records,
        seed: 1,
    };
    let (played, many, few) = runtime.block_on(measured(scale, stage))?;
    let mut contenders = vec![Filled::by_tidegate(few.sled.first_sync)];
    contenders.extend(contenders::fill(&stage(
        EngineKind::default(),
        few.records,
    ))?);
    Outcome::new(&Measured {
        played,
        many,
        few,
        contenders,
    })
}

async fn measured(
    scale: Scale,
    stage: impl Fn(EngineKind, u32) -> Stage,
) -> Result<(Played, Sizes, Sizes)> {
    // What is measured has the machine for itself; where figures mean nothing, all go at once.
    let turns = Semaphore::new(scale.pick(1, 5));
    let day = async {
        let _turn = turns.acquire().await?;
        let records = scale.pick(500_000, 200);
        played(
            &stage(EngineKind::default(), records),
            scale.pick(None, Some(2)),
        )
        .await
    };
    let loaded = async |engine, records| {
        let _turn = turns.acquire().await?;
        load(&stage(engine, records)).await
    };
    let (many, few) = (scale.pick(1_000_000, 400), scale.pick(100_000, 40));
    let (played, many_redb, many_sled, few_redb, few_sled) = try_join!(
        day,
        loaded(EngineKind::Redb, many),
        loaded(EngineKind::Sled, many),
        loaded(EngineKind::Redb, few),
        loaded(EngineKind::Sled, few),
    )?;
    let sizes = |records, sled, redb| Sizes {
        records,
        sled,
        redb,
    };
    Ok((
        played,
        sizes(many, many_sled, many_redb),
        sizes(few, few_sled, few_redb),
    ))
}

async fn played(stage: &Stage, seconds: Option<u32>) -> Result<Played> {
    let report = play(stage, seconds, &|_| {}).await?;
    ensure!(report.is_clean(), "not as it should be: {report}");
    Ok(Played {
        first_sync: Saved::new(report.first_sync_calls, report.records),
        after: Saved::new(report.later_calls(), report.later_changes()),
        report,
    })
}
