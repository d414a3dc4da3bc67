//! A critical change overtakes a flood that has all of its rounds out, though the vendor answers none of them; and
//! goes when an allowance runs out, while backfill waits.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use tidegate::control::{Answer, Request};
use tidegate::status::{Command, Status, SyncState, SyncStatus};
use tidegate_core::alert::Event;
use tidegate_core::hold::Scope;
use tidegate_core::pace::Lane;
use tidegate_simulator::salesforce::{Fault, Handle, Options, Simulator, When};
use tidegate_tests::{crm, host::Host, outsider::Outsider, things};

/// The rule reads a field that no rule of the mapping does.
/// Large deals go before all others.
fn with_lane(lane: &str) -> Result<String> {
    let own = format!(
        r#"
        lane = "{lane}"
        initial = "none"
        lanes = [{{ lane = "critical", operations = ["create", "update"], field = "amount", above = 50000 }}]
        "#
    );
    crm::sync("deals", "Contact", &[("name", "LastName")], &own)
}

/// Rows of a full request, and how many of those the rounds of the normal lane carry together: five rounds of two.
const FULL: u64 = 1_000;
const REQUESTS: u64 = 10;
/// More than that.
const ROWS: u64 = (REQUESTS + 1) * FULL;
/// Much longer than changes wait for company.
const HELD_UP_MS: u64 = 1_000;
/// Less than a request may take.
const PATIENCE: Duration = Duration::from_secs(100);

fn contacts(org: &Handle, name: &str) -> usize {
    let records = org.records("Contact");
    let names = records
        .iter()
        .filter_map(|record| record["LastName"].as_str());
    names.filter(|known| known.starts_with(name)).count()
}

fn deals(status: &Status, as_wanted: impl Fn(&SyncStatus) -> bool) -> Vec<String> {
    let wrong = status.syncs.iter().filter(|sync| !as_wanted(sync));
    wrong.map(|sync| format!("{sync:?}")).collect()
}

/// The host's own books of the vendor's day come to say what the vendor counted: between two looks for changes they do.
async fn spent(host: &Host, org: &Handle) -> Result<()> {
    let mut amiss = None;
    let agreed = async {
        while let Err(error) = books(host, org).await {
            amiss = Some(error);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let agreed = tokio::time::timeout(PATIENCE, agreed).await;
    match (agreed, amiss) {
        (Err(_), Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// The host's own books of the vendor's day, by lane: they add up to what the vendor counted.
async fn books(host: &Host, org: &Handle) -> Result<()> {
    let quota = host.ask(&Request::Quota).await?;
    let Answer::Quota(quota) = quota else {
        anyhow::bail!("{quota:?}");
    };
    let usage = host.ask(&Request::Usage { hours: 24 }).await?;
    let Answer::Usage(usage) = usage else {
        anyhow::bail!("{usage:?}");
    };
    let daily = quota.iter().find(|pool| pool.pool == "daily");
    let used = usage.iter().find(|pool| pool.pool == "daily");
    let (daily, used) = daily.zip(used).context("no pool daily")?;
    let stats = org.stats();
    let vendors = stats["windows"]["daily"]["used"].as_u64();
    // The vendor does not count logins, and we do not rely on that.
    let logins = stats["sessions_given"].as_u64();
    let both = vendors
        .zip(logins)
        .map(|(vendors, logins)| vendors + logins);
    ensure!(both == Some(used.total.units), "{stats} {used:?}");
    ensure!(
        daily.ours == used.total.units && daily.left == daily.limit - daily.ours - daily.others
    );
    let rows = |lane| {
        let lines = used.lines.iter();
        let pushed = lines.filter(|line| line.operation == "push" && line.sync == "deals");
        let pushed = pushed.filter(|line| line.lane == lane);
        pushed.map(|line| line.sums.rows).sum::<u64>()
    };
    ensure!(rows(Lane::Critical) == 1, "{used:?}");
    ensure!(rows(Lane::Normal) == ROWS, "{used:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_change_overtakes_a_flood() -> Result<()> {
    let org = Simulator::start(crm::patient()).await?;
    let mut host = crm::host(&org, "deals.db", crm::USUAL, &with_lane("normal")?)?;
    let database = things::database(&host, "deals.db")?;
    database.execute_batch(
        "CREATE TABLE deals (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount INTEGER)",
    )?;
    host.start()?;
    let runs = |sync: &SyncStatus| sync.state == SyncState::Running;
    host.until(PATIENCE, |status| Ok(deals(status, runs)))
        .await?;

    // The flood is there before any of it is sent, so that its rounds are full however fast it came.
    let what = || Scope::Sync("deals".to_owned());
    let (by, why) = ("test".to_owned(), String::new());
    let pause = Command::Pause {
        what: what(),
        by,
        why,
    };
    host.command(pause).await?;
    database.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO deals (name, amount) SELECT 'Small ' || i, i FROM n"
    ))?;
    let there = |sync: &SyncStatus| sync.state == SyncState::Paused && sync.waiting == ROWS;
    host.until(PATIENCE, |status| Ok(deals(status, there)))
        .await?;

    // From now on the vendor answers no call, and has got all that can be sent.
    org.set_fault(Fault::Slow, When::Rate(1.0));
    let sent = || org.stats()["calls"]["composite"].as_u64().unwrap_or(0);
    let before = sent();
    host.command(Command::Resume { what: what() }).await?;
    let blocked = |sync: &SyncStatus| {
        sync.in_flight == REQUESTS * FULL
            && sync.waiting == ROWS - REQUESTS * FULL
            && sync.lag_ms > HELD_UP_MS
            && sync.written == 0
            && sent() == before + REQUESTS
    };
    host.until(PATIENCE, |status| Ok(deals(status, blocked)))
        .await?;

    // It would answer another one.
    org.set_fault(Fault::Slow, When::Rate(0.0));
    database.execute_batch("INSERT INTO deals (name, amount) VALUES ('Large', 50001)")?;
    let status = host
        .until(PATIENCE, |status| {
            Ok(deals(status, |sync| sync.written > 0))
        })
        .await?;
    ensure!(contacts(&org, "Large") == 1, "{status:?}");
    ensure!(contacts(&org, "Small") == 0, "the flood was first");

    crm::let_go(&org);
    let done = |sync: &SyncStatus| sync.written == ROWS + 1 && sync.waiting + sync.in_flight == 0;
    host.until(PATIENCE, |status| Ok(deals(status, done)))
        .await?;
    ensure!(contacts(&org, "Small") as u64 == ROWS);
    spent(&host, &org).await?;
    host.stop().await
}

/// Calls of another application in the same org.
async fn neighbour(org: &Handle, calls: u64) -> Result<()> {
    let outsider = Outsider::login(org).await?;
    for _ in 0..calls {
        outsider.call("GET", "/limits", None).await?;
    }
    Ok(())
}

fn insert(database: &Connection, name: &str, amount: i64) -> Result<()> {
    let insert = "INSERT INTO deals (name, amount) VALUES (?1, ?2)";
    database.execute(insert, (name, amount))?;
    Ok(())
}

/// While others use an allowance up, backfill waits and says why, what is critical goes, and people are told; when
/// there is more again, all of it ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_that_runs_out_is_for_urgent_work() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    let mut host = crm::host(&org, "deals.db", crm::USUAL, &with_lane("backfill")?)?;
    let database = things::database(&host, "deals.db")?;
    database.execute_batch(
        "CREATE TABLE deals (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount INTEGER)",
    )?;
    neighbour(&org, 880).await?;
    org.set_daily_limit(1_000);
    host.start()?;
    let runs = |sync: &SyncStatus| sync.state == SyncState::Running;
    host.until(PATIENCE, |status| Ok(deals(status, runs)))
        .await?;
    insert(&database, "Large 1", 50_001)?;
    let level = |status: &Status, wanted: &str| {
        let mut pools = status.endpoints.iter().flat_map(|endpoint| &endpoint.pools);
        let daily = pools.find(|pool| pool.name == "daily");
        let fits = daily.is_some_and(|pool| pool.level == wanted);
        let standing = status.alerts.standing.iter();
        let told =
            standing.filter(|alert| alert.event == Event::AllowanceLevel && alert.code == wanted);
        let alerted = told.count() == usize::from(wanted != "plenty");
        let story = format!("{daily:?} {:?}", status.alerts);
        if fits && alerted {
            Vec::new()
        } else {
            vec![story]
        }
    };
    host.until(PATIENCE, |status| Ok(level(status, "stretch")))
        .await?;
    insert(&database, "Small", 1)?;
    insert(&database, "Large 2", 50_001)?;
    let status = host
        .until(PATIENCE, |status| {
            Ok(deals(status, |sync| sync.written == 2 && sync.waiting == 1))
        })
        .await?;
    let held = &status.syncs[0].held_up;
    let codes: Vec<&str> = held.iter().map(|held| &*held.reason.code).collect();
    // The lane's reserve may come before the level.
    ensure!(
        codes == ["pool-degraded"] || codes == ["pool-reserve"],
        "{held:?}"
    );

    org.set_daily_limit(100_000);
    insert(&database, "Large 3", 50_001)?;
    host.until(PATIENCE, |status| {
        let done = |sync: &SyncStatus| sync.written == 4 && sync.waiting == 0;
        Ok([deals(status, done), level(status, "plenty")].concat())
    })
    .await?;
    host.stop().await
}
