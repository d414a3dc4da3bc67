//! The whole, by processes: a database of people and an org without limits, on each store engine.

use anyhow::Result;
use serde::Serialize;
use tidegate::demo::{Loaded, Phase, Scene as Stage, load};
use tidegate_store::EngineKind;
use tidegate_tests::built;

use crate::report::{Figures, Group, Outcome, Scale};

#[derive(Serialize)]
struct Measured {
    /// Records, before every one of them is changed once.
    records: u32,
    sled: Loaded,
    redb: Loaded,
}

type PhaseOf = fn(&Loaded) -> Phase;

impl Figures for Measured {
    fn groups(&self) -> Vec<Group> {
        let engines = [("sled", &self.sled), ("redb", &self.redb)];
        let phases: [(&str, PhaseOf); 2] = [
            ("first sync, records", |loaded| loaded.first_sync),
            ("every record changed at once, records", |loaded| {
                loaded.changes
            }),
        ];
        let mut groups = Vec::new();
        for (title, phase) in phases {
            let mut group = Group::new(format!("{title}: {}", self.records));
            for (engine, loaded) in engines {
                group = group
                    .line(
                        format!("{engine}: captured and queued"),
                        phase(loaded).captured_per_s(),
                        "records/s",
                    )
                    .aim(">= 20,000");
            }
            for (engine, loaded) in engines {
                group = group.line(
                    format!("{engine}: written to the org"),
                    phase(loaded).records_per_s(),
                    "records/s",
                );
            }
            for (engine, loaded) in engines {
                group = group.line(
                    format!("{engine}: processor, host alone"),
                    phase(loaded).cpu_us_per_record(),
                    "us/record",
                );
            }
            groups.push(group.line("API calls", phase(&self.sled).api_calls as f64, "calls"));
        }
        let mut memory = Group::new("resident memory of the host");
        for (engine, loaded) in engines {
            memory = memory.line(
                format!("{engine}: at most"),
                loaded.peak_rss_mb as f64,
                "MB",
            );
        }
        for (engine, loaded) in engines {
            memory = memory.line(
                format!("{engine}: started again"),
                loaded.started_rss_mb as f64,
                "MB",
            );
        }
        groups.push(memory.aim("<= 300"));
        groups
    }
}

pub(crate) fn run(scale: Scale) -> Result<Outcome> {
    let records = scale.pick(500_000, 200);
    let runtime = tokio::runtime::Runtime::new()?;
    let measure = |engine| {
        runtime.block_on(load(&Stage {
            program: built::program(),
            plugins: built::plugins(&["salesforce", "sqlite", "field-map"]),
            keep: None,
            engine,
            records,
            seed: 1,
        }))
    };
    let sled = measure(EngineKind::Sled)?;
    let redb = measure(EngineKind::Redb)?;
    Outcome::new(&Measured {
        records,
        sled,
        redb,
    })
}
