//! What a host has heard of a vendor's schema serves the next start: it costs no reading, and hides nothing that a person
//! has changed since.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tidegate::status::{Status, SyncState};
use tidegate_simulator::salesforce::{Credentials, Handle, Options, Simulator};
use tidegate_tests::outsider::Outsider;
use tidegate_tests::{crm, host::Host, things};

const NAME: (&str, &str) = ("name", "LastName");
const PHONE: (&str, &str) = ("phone", "Phone");
const OFF: &str = "[cache]\nmemory-bytes-max = 0\n";
const ROWS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// A start that a person must help is tried again after a minute; one that an old answer hindered, at once.
const AT_ONCE: Duration = Duration::from_secs(30);

/// Calls that the org has counted: all of them, and the describes among them.
fn calls(org: &Handle) -> (u64, u64) {
    let stats = org.stats();
    let describes = stats["calls"]["describe"].as_u64().unwrap_or(0);
    (stats["calls_total"].as_u64().unwrap_or(0), describes)
}

async fn runs(host: &mut Host, patience: Duration) -> Result<Status> {
    host.until(patience, |status| {
        let runs = status.syncs.iter().all(|sync| {
            sync.state == SyncState::Running
                && sync.records == ROWS
                && sync.waiting + sync.in_flight == 0
        });
        let amiss = || vec![format!("{:?}", status.syncs)];
        Ok(if runs { Vec::new() } else { amiss() })
    })
    .await
}

/// What a start costs from its beginning until the sync runs.
async fn start(host: &mut Host, org: &Handle) -> Result<(u64, u64, Status)> {
    let before = calls(org);
    host.start()?;
    let status = runs(host, PATIENCE).await?;
    let after = calls(org);
    Ok((after.0 - before.0, after.1 - before.1, status))
}

async fn set_phone_hidden(org: &Handle, hidden: bool) -> Result<()> {
    let administrator = Outsider::login(org).await?;
    let hidden = json!({ "hidden": hidden });
    administrator
        .administer("field/Contact/Phone", &hidden)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_describes_nothing_anew_and_misses_nothing_new() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    set_phone_hidden(&org, true).await?;
    let config = |rules| {
        let people = crm::sync("people", "Contact", rules, "")?;
        crm::config(&org, "people.db", "1h", &people)
    };
    let mut host = Host::new(&config(&[NAME])?)?;
    host.give_credentials(&Credentials::default())?;
    let database = things::database(&host, "people.db")?;
    database.execute_batch(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, phone TEXT);
         INSERT INTO people VALUES (1, 'Ada', '1'), (2, 'Bob', '2'), (3, 'Cyd', '3')",
    )?;

    let (all, describes, _) = start(&mut host, &org).await?;
    println!("first start: {all} calls, {describes} of them describes");
    ensure!(describes > 0, "a new host knows nothing");
    host.kill()?;
    let (kept_all, kept, status) = start(&mut host, &org).await?;
    println!("restart: {kept_all} calls, {kept} of them describes");
    ensure!(kept == 0, "{kept} describes");
    let crm = status
        .endpoints
        .iter()
        .find(|endpoint| endpoint.name == "crm");
    let reads = crm.context("no status of the crm")?.reads;
    ensure!(reads.recalled > 0 && reads.asked == 0, "{reads:?}");
    ensure!(status.cache.store_answers > 0, "{:?}", status.cache);
    host.kill()?;

    std::fs::write(
        host.path("tidegate.toml"),
        format!("{OFF}{}", config(&[NAME])?),
    )?;
    let (off_all, off, status) = start(&mut host, &org).await?;
    println!("restart without the cache: {off_all} calls, {off} of them describes");
    ensure!(off > 0 && off_all > kept_all, "{off_all} calls");
    ensure!(status.cache.store_answers == 0, "{:?}", status.cache);
    host.kill()?;

    // What is kept does not know the field yet, and the sync needs it.
    std::fs::write(host.path("tidegate.toml"), config(&[NAME])?)?;
    start(&mut host, &org).await?;
    host.kill()?;
    set_phone_hidden(&org, false).await?;
    std::fs::write(host.path("tidegate.toml"), config(&[NAME, PHONE])?)?;
    host.start()?;
    runs(&mut host, AT_ONCE).await?;
    host.stop().await
}
