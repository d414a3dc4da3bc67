//! The whole, by processes: a database of people and an org without limits.

use anyhow::Result;
use serde::Serialize;
use tidegate::demo::{Loaded, Phase, Scene as Stage, load};
use tidegate_tests::built;

use crate::report::{Figures, Group, Outcome, Scale};

#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    loaded: Loaded,
}

impl Figures for Measured {
    fn groups(&self) -> Vec<Group> {
        let Loaded {
            first_sync,
            changes,
            peak_rss_mb,
            started_rss_mb,
        } = self.loaded;
        let phase = |title: &str, phase: Phase| {
            Group::new(format!("{title}: {} records", phase.records))
                .line("captured and queued", phase.captured_per_s(), "records/s")
                .aim(">= 20,000")
                .line("written to the org", phase.records_per_s(), "records/s")
                .line(
                    "processor, host alone",
                    phase.cpu_us_per_record(),
                    "us/record",
                )
                .line("API calls", phase.api_calls as f64, "calls")
        };
        vec![
            phase("first sync", first_sync),
            phase("every record changed at once", changes),
            Group::new("resident memory of the host")
                .line("at most", peak_rss_mb as f64, "MB")
                .aim("<= 300 at 500,000 records")
                .line("started again", started_rss_mb as f64, "MB"),
        ]
    }
}

pub(crate) fn run(scale: Scale) -> Result<Outcome> {
    let scene = Stage {
        program: built::program(),
        plugins: built::plugins(&["salesforce", "sqlite", "field-map"]),
        keep: None,
        records: scale.pick(100_000, 200),
        seed: 1,
    };
    let loaded = tokio::runtime::Runtime::new()?.block_on(load(&scene))?;
    Outcome::new(&Measured { loaded })
}
