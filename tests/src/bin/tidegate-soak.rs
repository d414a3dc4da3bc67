//! `make soak`: the store is crashed in every way on either engine, then a syncing host is killed again and again, for
//! as long as asked.

use std::process::Command;

use anyhow::Result;
use clap::Parser;
use tidegate::demo::{Scene, Until, soak};
use tidegate_store::EngineKind;
use tidegate_tests::built;

/// Kills a syncing host again and again, and compares in the end.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    #[arg(long, default_value_t = 2_000)]
    records: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The store alone gets one part of the time in so many.
const STORE_SHARE: u64 = 4;
const CRASHES: [&str; 3] = ["kills", "cuts", "faults"];

/// Each way to crash a store, on each engine, for an equal part of the time.
fn crash_store(seconds: u64, seed: u64) -> Result<()> {
    let part = seconds / (CRASHES.len() * EngineKind::ALL.len()) as u64;
    for engine in EngineKind::ALL {
        for crash in CRASHES {
            let status = Command::new(built::store_example("crash"))
                .args([crash, "--engine", engine.name(), "--rounds", "1"])
                .args(["--seconds", &part.to_string(), "--seed", &seed.to_string()])
                .status()?;
            anyhow::ensure!(status.success(), "{crash} of a store on {engine}: {status}");
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scene = Scene {
        program: built::program(),
        plugins: built::plugins(&["salesforce", "sqlite", "field-map"]),
        keep: None,
        engine: EngineKind::Sled,
        records: arguments.records,
        seed: arguments.seed,
    };
    let store_seconds = arguments.seconds / STORE_SHARE;
    crash_store(store_seconds, arguments.seed)?;
    let until = Until::Seconds(arguments.seconds - store_seconds);
    let soaked = soak(&scene, until, &|line| println!("- {line}")).await?;
    println!(
        "{}\n  {} kills, {} of them at work, seed {}",
        soaked.report, soaked.kills, soaked.kills_at_work, arguments.seed
    );
    anyhow::ensure!(
        soaked.report.is_clean(),
        "something was lost, doubled or refused"
    );
    Ok(())
}
