//! What a person holds stays held, over a restart too, and loses nothing; what a failure has stopped goes on as soon
//! as a person says so.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rusqlite::Connection;
use tidegate::alerts::signature;
use tidegate::control::Answer;
use tidegate::status::{Command, Done, Resumed, Status, SyncState, SyncStatus};
use tidegate_core::hold::Scope;
use tidegate_gateway::Secret;
use tidegate_simulator::salesforce::{Credentials, Handle, Options, Simulator};
use tidegate_tests::{crm, hook::Hook, host::Host, things};

const ALERTS: &str = r#"
[alerts]
url = "{hook}"
secret = { file = "hook-secret" }
"#;
const BRAKE: &str = r#"brake = { share = 0.05, window = "10m", least = 2 }"#;

const SECRET: &str = "a secret of sixteen bytes";
const ROWS: u64 = 20;
/// Less than a stopped sync is left alone, and much less than a dead grant is.
const PATIENCE: Duration = Duration::from_secs(45);

fn people(status: &Status) -> Result<&SyncStatus> {
    status.syncs.first().context("no sync")
}

fn requests(status: &Status) -> Result<u64> {
    let mut endpoints = status.endpoints.iter();
    let crm = endpoints.find(|endpoint| endpoint.name == "crm");
    Ok(crm.context("no crm")?.requests)
}

fn unless(as_wanted: bool, story: &impl std::fmt::Debug) -> Vec<String> {
    if as_wanted {
        return Vec::new();
    }
    vec![format!("{story:?}")]
}

async fn resume(host: &Host, what: Scope) -> Result<Resumed> {
    match host.command(Command::Resume { what }).await? {
        Answer::Done(Done::Resumed(resumed)) => Ok(resumed),
        other => bail!("{other:?}"),
    }
}

async fn pause(host: &Host, what: Scope) -> Result<()> {
    let pause = Command::Pause {
        what,
        by: "ana".to_owned(),
        why: "an audit".to_owned(),
    };
    match host.command(pause).await? {
        Answer::Done(Done::Changed(1)) => Ok(()),
        other => bail!("{other:?}"),
    }
}

/// Whether it is paused by whom it should be, with so many changes waiting.
fn held(status: &Status, waiting: u64) -> Result<Vec<String>> {
    let sync = people(status)?;
    let told = sync.reason.as_ref().map_or("", |told| &told.message);
    let as_wanted = sync.state == SyncState::Paused
        && told.contains("paused by ana: an audit")
        && sync.waiting == waiting;
    Ok(unless(as_wanted, sync))
}

/// The stop, its cause, and the end of both, each once and signed.
fn told(hook: &Hook) -> Result<()> {
    let mut events = Vec::new();
    for message in hook.received() {
        let signed = message.signature.split_once(",v1=");
        let (at, _) = signed.context("a signature")?;
        let at_s = at.trim_start_matches("t=").parse()?;
        let signature = signature::sign(&Secret::new(SECRET), at_s, &message.body);
        ensure!(signature == message.signature, "{message:?}");
        let body = message.json();
        ensure!(body["id"].is_string() && body["at"].is_string(), "{body}");
        events.push((
            body["event"].as_str().unwrap_or_default().to_owned(),
            body["over"] == true,
            body["code"].as_str().unwrap_or_default().to_owned(),
        ));
    }
    events.sort();
    let expected = ["credential-revoked", "sync-stopped"].map(|event| {
        [false, true].map(|over| (event.to_owned(), over, "invalid_client".to_owned()))
    });
    ensure!(events == expected.concat(), "{events:?}");
    Ok(())
}

fn even(database: &Connection, org: &Handle) -> Result<Vec<String>> {
    let mut rows = database.prepare("SELECT name FROM people")?;
    let left = rows
        .query_map([], |row| row.get(0))?
        .collect::<Result<BTreeSet<String>, _>>()?;
    let right: BTreeSet<String> = org
        .records("Contact")
        .iter()
        .filter(|record| record["IsDeleted"] != true)
        .filter_map(|record| record["LastName"].as_str())
        .map(str::to_owned)
        .collect();
    let differ = left.symmetric_difference(&right);
    Ok(differ
        .map(|name| format!("{name} is on one side"))
        .collect())
}

fn add(database: &Connection, name: &str, count: u64) -> Result<()> {
    let mut insert = database.prepare("INSERT INTO people (name) VALUES (?1)")?;
    for number in 0..count {
        insert.execute([format!("{name} {number}")])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_syncs_lose_nothing_and_go_on_at_once() -> Result<()> {
    let hook = Hook::start(&[]).await?;
    let org = Simulator::start(Options::default()).await?;
    let braked = crm::sync("people", "Contact", &[("name", "LastName")], BRAKE)?;
    let rest = ALERTS.replace("{hook}", &hook.url) + &braked;
    let mut host = Host::new(&crm::config(&org, "things.db", crm::USUAL, &rest)?)?;
    let database = things::database(&host, "things.db")?;
    things::table(
        &database,
        "people",
        (0..ROWS).map(|row| format!("Ada {row}")),
    )?;

    std::fs::write(host.path("hook-secret"), SECRET)?;
    // A grant that is dead is left alone for a quarter of an hour, and the sync for a minute.
    host.give_credentials(&Credentials {
        client_secret: "revoked".to_owned(),
        ..Credentials::default()
    })?;
    host.start()?;
    host.until(PATIENCE, |status| {
        let sync = people(status)?;
        Ok(unless(sync.state == SyncState::Stopped, sync))
    })
    .await?;
    host.give_credentials(&Credentials::default())?;
    let resumed = resume(&host, Scope::Sync("people".into())).await?;
    ensure!((resumed.lifted, resumed.cleared) == (0, 1), "{resumed:?}");
    let runs = |status: &Status| {
        let sync = people(status)?;
        Ok([
            unless(sync.state == SyncState::Running, sync),
            even(&database, &org)?,
        ]
        .concat())
    };
    host.until(PATIENCE, |status| {
        let told = unless(status.alerts.delivered >= 4, &status.alerts);
        Ok([runs(status)?, told].concat())
    })
    .await?;
    told(&hook)?;

    // A held endpoint is not called at all; what happens at the other end is captured all the same.
    pause(&host, Scope::Endpoint("crm".into())).await?;
    add(&database, "Grace", ROWS)?;
    let status = host.until(PATIENCE, |status| held(status, ROWS)).await?;
    ensure!(status.holds.len() == 1, "{:?}", status.holds);
    let before = requests(&status)?;
    add(&database, "Joan", 1)?;
    let status = host
        .until(PATIENCE, |status| held(status, ROWS + 1))
        .await?;
    ensure!(requests(&status)? == before, "a held endpoint was called");
    host.stop().await?;

    host.start()?;
    let status = host
        .until(PATIENCE, |status| held(status, ROWS + 1))
        .await?;
    ensure!(requests(&status)? == 0, "a held endpoint was called");
    pause(&host, Scope::Sync("people".into())).await?;
    let resumed = resume(&host, Scope::Endpoint("crm".into())).await?;
    ensure!(resumed.lifted == 1, "{resumed:?}");
    let still: Vec<&str> = resumed.still.iter().map(|hold| &*hold.what).collect();
    ensure!(still == ["sync people"], "{still:?}");
    // Now it can start; a sync that is held itself is captured, and sends nothing.
    add(&database, "Mary", 1)?;
    let status = host
        .until(PATIENCE, |status| held(status, ROWS + 2))
        .await?;
    ensure!(people(&status)?.written == 0, "{status:?}");
    let resumed = resume(&host, Scope::All).await?;
    ensure!(
        resumed.lifted == 1 && resumed.still.is_empty(),
        "{resumed:?}"
    );
    host.until(PATIENCE, runs).await?;

    // A paused pool holds up whatever draws on it, and says so; a paused account all of its endpoints.
    let daily = Scope::Pool {
        endpoint: "crm".into(),
        pool: "daily".into(),
    };
    pause(&host, daily.clone()).await?;
    add(&database, "Dorothy", 1)?;
    host.until(PATIENCE, |status| {
        let sync = people(status)?;
        let held = sync.held_up.iter();
        let why: Vec<&str> = held.map(|held| &*held.reason.code).collect();
        Ok(unless(why == ["paused"] && sync.waiting == 1, sync))
    })
    .await?;
    pause(&host, Scope::Account(org.base_url().into())).await?;
    let resumed = resume(&host, daily).await?;
    let still: Vec<&str> = resumed.still.iter().map(|hold| &*hold.what).collect();
    let account = format!("account \"salesforce {}\"", org.base_url());
    ensure!(still == [&*account], "{still:?}");
    host.until(PATIENCE, |status| held(status, 1)).await?;
    resume(&host, Scope::Account(org.base_url().into())).await?;
    host.until(PATIENCE, runs).await?;

    // Deletes that the brake holds are no pause: whoever ends one has not let them through.
    database.execute_batch("DELETE FROM people WHERE id <= 20")?;
    let people_sync = || Scope::Sync("people".into());
    let braked = |status: &Status| {
        let sync = people(status)?;
        let held = sync.state == SyncState::Braked && sync.in_flight == 0 && sync.waiting == 18;
        Ok(unless(held, sync))
    };
    host.until(PATIENCE, braked).await?;
    pause(&host, people_sync()).await?;
    let resumed = resume(&host, people_sync()).await?;
    ensure!((resumed.lifted, resumed.released) == (1, 0), "{resumed:?}");
    let status = host.until(PATIENCE, braked).await?;
    let waiting = people(&status)?.waiting;
    let resumed = resume(&host, Scope::All).await?;
    ensure!(resumed.released == 0, "{resumed:?}");
    let resumed = resume(&host, people_sync()).await?;
    ensure!(resumed.released == waiting, "{resumed:?}");
    host.until(PATIENCE, runs).await?;
    host.stop().await
}
