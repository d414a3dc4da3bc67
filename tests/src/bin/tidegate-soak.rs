//! `make soak`: the kill loop for as long as asked.

use anyhow::Result;
use clap::Parser;
use tidegate::demo::{Scene, Until, soak};
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

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scene = Scene {
        program: built::program(),
        plugins: built::plugins(&["salesforce", "sqlite", "field-map"]),
        keep: None,
        records: arguments.records,
        seed: arguments.seed,
    };
    let soaked = soak(&scene, Until::Seconds(arguments.seconds), &|line| {
        println!("- {line}")
    })
    .await?;
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
