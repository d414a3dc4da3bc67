//! `tidegate remove` with the connectors that come with tidegate: what a host had set up in a database goes, and nothing
//! else; while anybody still counts on it, it stays.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tidegate::status::SyncState;
use tidegate_simulator::salesforce::{Options, Simulator};
use tidegate_tests::{built, crm, host::Host, things};

const ROWS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Exit code and answer.
async fn remove(host: &Host, endpoint: &str) -> Result<(Option<i32>, Value)> {
    let mut command = Command::new(built::program());
    command.args(["remove", endpoint, "--json", "--config"]);
    command.arg(host.path("tidegate.toml"));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let answer = serde_json::from_slice(&output.stdout);
    let answer = answer.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((output.status.code(), answer))
}

/// Everything that the database has beside rows.
fn schema(database: &Connection) -> Result<BTreeSet<String>> {
    let mut names = database.prepare("SELECT name FROM sqlite_master")?;
    let names = names.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_up_goes_when_nobody_wants_it() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    let people = crm::sync("people", "Contact", &[("name", "LastName")], "")?;
    let mut host = crm::host(&org, "people.db", "1h", &people)?;
    let database = things::database(&host, "people.db")?;
    things::table(
        &database,
        "people",
        (0..ROWS).map(|row| format!("Ada {row}")),
    )?;
    let before = schema(&database)?;
    host.start()?;
    host.until(PATIENCE, |status| {
        Ok((status.syncs[0].written < ROWS)
            .then(|| format!("{status:?}"))
            .into_iter()
            .collect())
    })
    .await?;
    let prepared = schema(&database)?;
    ensure!(prepared.len() > before.len(), "{prepared:?}");

    let (code, answer) = remove(&host, "db").await?;
    ensure!(
        code == Some(2) && answer["code"] == "endpoint-in-use",
        "a sync names it: {answer}"
    );
    let without = crm::config(&org, "people.db", "1h", "")?;
    std::fs::write(host.path("tidegate.toml"), without)?;
    let (code, answer) = remove(&host, "db").await?;
    ensure!(
        code == Some(3) && answer["code"] == "store-locked",
        "a host runs: {answer}"
    );
    ensure!(schema(&database)? == prepared, "it was left alone");
    host.stop().await?;

    let (code, answer) = remove(&host, "db").await?;
    ensure!(code == Some(0) && answer["endpoint"] == "db", "{answer}");
    let removed = answer["removed"].as_array().context("a list")?;
    ensure!(
        !removed.is_empty() && removed.iter().all(|step| step["done"] == true),
        "{answer}"
    );
    ensure!(schema(&database)? == before, "{:?}", schema(&database)?);
    let rows: i64 = database.query_row("SELECT count(*) FROM people", [], |row| row.get(0))?;
    ensure!(rows == ROWS as i64, "{rows} rows");
    // Nothing is left, there as at an endpoint that never had anything.
    for endpoint in ["db", "crm"] {
        let (code, answer) = remove(&host, endpoint).await?;
        ensure!(
            code == Some(0) && answer["removed"] == Value::Array(Vec::new()),
            "{answer}"
        );
    }

    // Changes may have been missed since, so the links of this data folder are not trusted with it again.
    std::fs::write(
        host.path("tidegate.toml"),
        crm::config(&org, "people.db", "1h", &people)?,
    )?;
    host.start()?;
    host.until(PATIENCE, |status| {
        let sync = &status.syncs[0];
        let code = sync.reason.as_ref().map_or("", |told| &told.code);
        let refused = sync.state == SyncState::Stopped && code == "other-identity";
        Ok((!refused)
            .then(|| format!("{sync:?}"))
            .into_iter()
            .collect())
    })
    .await?;
    ensure!(schema(&database)? == before, "{:?}", schema(&database)?);
    host.stop().await
}
