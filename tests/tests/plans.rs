//! `tidegate plan` and `tidegate explain`: what is said beforehand, against what a simulated org counts afterwards.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tidegate::status::{SyncState, SyncStatus};
use tidegate_simulator::salesforce::{Handle, Options, Simulator};
use tidegate_tests::{built, crm, host::Host, things};
use tokio::time::Instant;

/// An object whose table has its name, and what is carried over of it.
type Object<'a> = (&'a str, &'a [(&'a str, &'a str)]);

const PATIENCE: Duration = Duration::from_secs(180);
const INTERVAL_S: u64 = 4;

fn host_of(org: &Handle, objects: &[Object<'_>], interval: &str) -> Result<Host> {
    let syncs = objects.iter().map(|(object, rules)| {
        let own = format!("left = {{ object = \"{object}\" }}");
        crm::sync(&object.to_lowercase(), object, rules, &own)
    });
    let syncs: String = syncs.collect::<Result<_>>()?;
    crm::host(org, "plans.db", interval, &syncs)
}

const PEOPLE: Object<'_> = ("Contact", &[("name", "LastName")]);

fn people(database: &Connection, count: u64) -> Result<()> {
    Ok(database.execute_batch(&format!(
        "CREATE TABLE Contact (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         WITH RECURSIVE up(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM up WHERE i < {count})
             INSERT INTO Contact SELECT i, 'of ' || i FROM up;"
    ))?)
}

/// One command of the program, in the host's folder. The simulator must go on meanwhile.
async fn ask(host: &Host, arguments: &[&str]) -> Result<(Option<i32>, Value, Output)> {
    let config = host.path("tidegate.toml");
    let mut command = Command::new(built::program());
    command.args(arguments).arg("--config").arg(config);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok((output.status.code(), answer, output))
}

/// Calls so far, without those for tokens: they cost nothing of the day.
fn calls(org: &Handle) -> Result<u64> {
    let stats = org.stats();
    let tokens = stats["calls"]["token"].as_u64().unwrap_or_default();
    Ok(stats["calls_total"].as_u64().context("no count")? - tokens)
}

fn number(value: &Value) -> Result<u64> {
    value
        .as_u64()
        .with_context(|| format!("no number: {value}"))
}

/// A first sync of a few thousand records costs what was said, within a tenth and the looks that found nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_sync_costs_what_its_plan_says() -> Result<()> {
    const RECORDS: u64 = 4_500;
    let org = Simulator::start(crm::patient()).await?;
    let mut host = host_of(&org, &[PEOPLE], &format!("{INTERVAL_S}s"))?;
    let database = things::database(&host, "plans.db")?;
    people(&database, RECORDS)?;

    let (code, plan, output) = ask(&host, &["plan", "--json", "--budget", "daily=50%"]).await?;
    ensure!(code == Some(0), "{output:?}");
    ensure!(!host.path("data/store").exists(), "a plan has made a store");
    let crm = &plan["endpoints"][0];
    let planned = number(&crm["calls"]["all"])?;
    let asked = calls(&org)?;
    ensure!(
        number(&crm["asked"])? == asked,
        "{asked} calls, and {crm:#}"
    );
    let out = &plan["directions"][0];
    ensure!(number(&out["first_read"]["records"])? == RECORDS, "{out:#}");
    let write = &out["writes"][0];
    ensure!(
        number(&write["rows"])? == RECORDS && write["operation"] == "upsert",
        "{out:#}"
    );
    ensure!(write["by"][0]["method"] == "composite", "{out:#}");
    ensure!(number(&write["by"][0]["calls"])? == 5, "{out:#}");
    ensure!(plan["directions"][1]["first_read"].is_null(), "{plan:#}");
    ensure!(crm["pools"][0]["pool"] == "daily", "{crm:#}");
    ensure!(number(&crm["pools"][0]["units"])? == planned, "{crm:#}");

    let began = Instant::now();
    // The plan takes it that what is to be written is there: a machine that reads slowly would write in smaller calls.
    crm::start_full(&mut host, &org, &[("contact", RECORDS)], PATIENCE).await?;
    host.until(PATIENCE, |status| {
        let sync = status.syncs.first().context("no sync")?;
        let done = sync.written == RECORDS && sync.waiting + sync.in_flight == 0;
        let amiss = (!done || sync.echoes < RECORDS).then(|| format!("{sync:?}"));
        Ok(amiss.into_iter().collect())
    })
    .await?;
    let cost = calls(&org)? - asked;
    let looks = began.elapsed().as_secs() / INTERVAL_S + 1;
    println!(
        "planned {planned}, cost {cost}, with at most {looks} looks; {:#}",
        crm["calls"]
    );
    ensure!(
        cost <= planned + planned / 10 + 1 + looks,
        "planned {planned}, cost {cost}"
    );
    ensure!(
        planned <= cost + cost / 10 + 1,
        "planned {planned}, cost {cost}"
    );

    // Of a running host its own commands tell.
    let (code, answer, output) = ask(&host, &["plan", "--json"]).await?;
    ensure!(
        code == Some(3) && answer["code"] == "store-locked",
        "{output:?}"
    );
    host.stop().await?;

    // Nothing is left to do but what came since.
    let before = calls(&org)?;
    let (code, plan, output) = ask(&host, &["plan", "--json"]).await?;
    ensure!(code == Some(0), "{output:?}");
    let crm = &plan["endpoints"][0];
    ensure!(number(&crm["asked"])? == calls(&org)? - before, "{crm:#}");
    for direction in plan["directions"].as_array().context("directions")? {
        ensure!(direction["first_read"].is_null(), "{direction:#}");
        ensure!(
            direction["writes"] == serde_json::json!([]),
            "{direction:#}"
        );
    }
    ensure!(number(&crm["calls"]["writes"])? == 0, "{crm:#}");
    // What was used is known from before.
    ensure!(number(&crm["pools"][0]["used"])? >= cost, "{crm:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_kept_or_told() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    let host = host_of(&org, &[PEOPLE], "60s")?;
    people(&things::database(&host, "plans.db")?, 20_000)?;

    // A hundred pages by ones of two hundred would be; a day of looks is more than that.
    let (code, plan, output) = ask(&host, &["plan", "--json", "--budget", "daily=100"]).await?;
    ensure!(code == Some(6), "{output:?}");
    let over = plan["over"].as_array().context("over")?;
    ensure!(over.len() == 1 && over[0]["what"] == "idle-day", "{over:?}");
    let (code, plan, _) = ask(&host, &["plan", "--json", "--budget", "crm.daily=0.02%"]).await?;
    ensure!(
        code == Some(6) && plan["over"][0]["what"] == "work",
        "{plan:#}"
    );
    let (code, _, output) = ask(&host, &["plan", "--budget", "daily=2"]).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        code == Some(6) && text.contains("[over-budget]"),
        "{output:?}"
    );
    println!("{text}");

    let refused = [
        ("dialy=5", "unknown-pool", "did you mean `daily`?"),
        ("db.daily=5", "unknown-pool", "did you mean `crm.daily`?"),
        (
            "daily=lots",
            "bad-budget",
            "`lots` is neither a whole number of calls",
        ),
        ("daily", "bad-budget", "`--budget daily`"),
    ];
    for (budget, stable, words) in refused {
        let (code, answer, output) = ask(&host, &["plan", "--json", "--budget", budget]).await?;
        let message = answer["message"].as_str().unwrap_or_default();
        ensure!(
            code == Some(2) && answer["code"] == stable,
            "{budget}: {output:?}"
        );
        ensure!(message.contains(words), "{budget}: {message}");
    }
    let (code, answer, _) = ask(&host, &["plan", "--json", "--sync", "contcat"]).await?;
    let message = answer["message"].as_str().unwrap_or_default();
    ensure!(
        code == Some(2) && message.contains("did you mean `contact`?"),
        "{answer}"
    );
    Ok(())
}

/// What an idle day costs is a look at all objects together, and a host looks so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_looks_cost_what_the_plan_says() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    let syncs: [Object<'_>; 5] = [
        PEOPLE,
        ("Account", &[("name", "Name")]),
        ("Case", &[("subject", "Subject")]),
        ("Lead", &[("name", "LastName"), ("company", "Company")]),
        (
            "Opportunity",
            &[
                ("name", "Name"),
                ("stage", "StageName"),
                ("closes", "CloseDate"),
            ],
        ),
    ];
    let tables = "CREATE TABLE Account (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        CREATE TABLE \"Case\" (id INTEGER PRIMARY KEY, subject TEXT NOT NULL);
        CREATE TABLE Lead (id INTEGER PRIMARY KEY, name TEXT NOT NULL, company TEXT NOT NULL);
        CREATE TABLE Opportunity (id INTEGER PRIMARY KEY, name TEXT NOT NULL, stage TEXT NOT NULL, closes DATE NOT NULL);";
    let host = host_of(&org, &syncs, "60s")?;
    let database = things::database(&host, "plans.db")?;
    people(&database, 1)?;
    database.execute_batch(tables)?;
    let (code, plan, output) = ask(&host, &["plan", "--json", "--budget", "daily=1500"]).await?;
    ensure!(code == Some(0), "{output:?}");
    let idle = &plan["endpoints"][0]["idle"];
    ensure!(
        number(&idle["looks"])? == 1_440 && number(&idle["calls_each"])? == 1,
        "{idle:#}"
    );
    ensure!(number(&idle["calls"])? == 1_442, "{idle:#}");
    let (_, _, output) = ask(&host, &["plan"]).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    let words = "5 objects in one call, every 60 s: 1,440 calls";
    ensure!(text.contains(words), "{words} is not in\n{text}");

    // The same objects in a host that looks every second.
    let mut host = host_of(&org, &syncs, "1s")?;
    let database = things::database(&host, "plans.db")?;
    people(&database, 1)?;
    database.execute_batch(tables)?;
    host.start()?;
    host.until(PATIENCE, |status| {
        // What began the streams is over, and what was written has been read back.
        let busy = |sync: &&SyncStatus| sync.state != SyncState::Running || sync.waiting > 0;
        let mut amiss: Vec<String> = status
            .syncs
            .iter()
            .filter(busy)
            .map(|sync| format!("{sync:?}"))
            .collect();
        let echoes: u64 = status.syncs.iter().map(|sync| sync.echoes).sum();
        amiss.extend((echoes < 1).then(|| format!("{status:?}")));
        Ok(amiss)
    })
    .await?;
    let looked = tokio::time::timeout(PATIENCE, looks_as_planned(&org)).await;
    looked.context("no stretch of looks cost a call each")??;
    host.stop().await
}

/// Waits for a stretch of looks that cost one call each, a second apart. On a busy machine an object may come too late for
/// the call of the others, so several stretches are tried.
async fn looks_as_planned(org: &Handle) -> Result<()> {
    const LOOKS: u64 = 8;
    loop {
        let (before, began) = (calls(org)?, Instant::now());
        let mut looked = 0;
        while looked < LOOKS {
            tokio::time::sleep(Duration::from_millis(20)).await;
            looked = calls(org)? - before;
        }
        let passed = began.elapsed().as_secs();
        println!("{looked} calls in {passed} s");
        if looked <= passed + 2 {
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_is_explained() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    let host = host_of(&org, &[PEOPLE], "60s")?;
    let explain = async |arguments: &[&str]| -> Result<Value> {
        let (code, answer, output) =
            ask(&host, &[&["explain", "--json"], arguments].concat()).await?;
        ensure!(code == Some(0), "{output:?}");
        let targets = answer["targets"].as_array().context("targets")?;
        let upserts = targets
            .iter()
            .find(|target| target["operation"] == "upsert");
        Ok(upserts.context("no upserts")?.clone())
    };
    let verdict = |target: &Value, name: &str| {
        let methods = target["methods"].as_array().into_iter().flatten();
        let found = methods.into_iter().find(|method| method["method"] == name);
        found
            .map(|method| method["verdict"]["is"].clone())
            .unwrap_or_default()
    };
    let patient = explain(&["contact", "--rows", "10000", "--lane", "backfill"]).await?;
    ensure!(verdict(&patient, "bulk") == "chosen", "{patient:#}");
    ensure!(verdict(&patient, "composite") == "dearer", "{patient:#}");
    ensure!(patient["break_evens"][3]["rows"] == 5_001, "{patient:#}");
    let urgent = explain(&["contact", "--rows", "10000", "--lane", "critical"]).await?;
    ensure!(verdict(&urgent, "composite") == "chosen", "{urgent:#}");
    ensure!(verdict(&urgent, "bulk") == "barred", "{urgent:#}");
    let (code, _, output) = ask(&host, &["explain", "contact", "--lane", "backfill"]).await?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(code == Some(0), "{output:?}");
    let (code, answer, _) = ask(&host, &["explain", "--json", "kontact"]).await?;
    ensure!(
        code == Some(2) && answer["code"] == "unknown-sync",
        "{answer}"
    );
    let (code, _, _) = ask(&host, &["explain", "contact", "--lane", "urgent"]).await?;
    ensure!(code == Some(2), "a lane that is none was taken");
    Ok(())
}
