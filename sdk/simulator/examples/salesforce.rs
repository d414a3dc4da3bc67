//! The Salesforce simulator on its own: `cargo run -p tidegate-simulator --example salesforce -- salesforce --port 8080`.

use clap::Parser;
use tidegate_simulator::Command;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tidegate_simulator::run(Arguments::parse().command).await
}
