//! `make bench`: what things cost, side by side.
//!
//! Benches are named on the command line, or all run. Each leaves its figures in `target/bench/NAME.json` and a
//! table on standard output. [`report`] is what a bench gives back, [`race`] holds contenders against each other,
//! [`scene`] is what several benches work on; each bench is a room of its own.
//!
//! Absent: judgements. Tests never assert on time, and a figure over its aim is still only a figure.

mod calls;
mod end_to_end;
mod mapping;
mod pacing;
mod race;
mod report;
mod sandbox;
mod scene;
mod store;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use report::{Bench, Scale, Told};

/// The host's own, so that what is measured here is what runs there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// In the order in which they run.
const BENCHES: &[Bench] = &[
    Bench {
        name: "end-to-end",
        about: "a database and an org without limits",
        run: end_to_end::run,
    },
    Bench {
        name: "calls",
        about: "calls and memory for many records, beside a plain loop and simple-salesforce",
        run: calls::run,
    },
    Bench {
        name: "sandbox",
        about: "a call of a plugin, in an instance of its own",
        run: sandbox::run,
    },
    Bench {
        name: "mapping",
        about: "batches of 20 columns through field-map",
        run: mapping::run,
    },
    Bench {
        name: "pacing",
        about: "the gateway against the vendors' meters, in simulated time",
        run: pacing::run,
    },
    Bench {
        name: "store",
        about: "half a million links with shadows and index, on each engine",
        run: store::run,
    },
];

/// Measures, and writes target/bench/NAME.json.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which benches; all of them when none is named.
    #[arg(value_parser = names())]
    names: Vec<String>,
    /// Tiny sizes, to see that everything runs; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Where the figures go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"))]
    out: PathBuf,
}

fn names() -> clap::builder::PossibleValuesParser {
    BENCHES
        .iter()
        .map(|bench| bench.name)
        .collect::<Vec<_>>()
        .into()
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scale = if arguments.quick {
        Scale::Quick
    } else {
        Scale::Full
    };
    fs::create_dir_all(&arguments.out)
        .with_context(|| format!("making {}", arguments.out.display()))?;
    let named = |bench: &&Bench| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == bench.name)
    };
    for bench in BENCHES.iter().filter(named) {
        let (seconds, outcome) = race::timed(|| (bench.run)(scale));
        let outcome = outcome.with_context(|| format!("bench {}", bench.name))?;
        let told = Told::new(bench, scale, seconds, outcome);
        let path = arguments.out.join(format!("{}.json", bench.name));
        fs::write(&path, told.json()?).with_context(|| format!("writing {}", path.display()))?;
        println!("{told}");
    }
    Ok(())
}
