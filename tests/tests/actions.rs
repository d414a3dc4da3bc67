//! Fields that ask for what only SOAP can: people who are merged, deleted by a mark and brought back, and leads that are
//! converted. Each is done once in the org, whatever becomes of hosts and answers, and no row of the database is
//! touched for it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use tidegate::status::{Command, Status, SyncState};
use tidegate_simulator::salesforce::{Fault, Handle, Options, Simulator, When};
use tidegate_tests::host::Host;
use tidegate_tests::{crm, outsider::Outsider, things};

const MARKED: &str = r#"
left = { key = "contact_id" }
actions = [
    { side = "left", field = "merged_into", does = "merge" },
    { side = "left", field = "deleted_at", does = "delete" },
]
"#;
const CONVERTED: &str = r#"
actions = [{ side = "left", field = "stage", does = "convert", equals = "won" }]
"#;

const PATIENCE: Duration = Duration::from_secs(240);

fn host(org: &Handle, brake: &str) -> Result<Host> {
    let marked = format!("{MARKED}{brake}");
    let people = crm::sync("people", "Contact", &[("name", "LastName")], &marked)?;
    let rules = [("name", "LastName"), ("company", "Company")];
    let leads = crm::sync("leads", "Lead", &rules, CONVERTED)?;
    crm::host(org, "actions.db", "500ms", &(people + &leads))
}

fn fill(database: &Connection, people: u64, leads: u64) -> Result<()> {
    Ok(database.execute_batch(&format!(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, contact_id TEXT UNIQUE,
             merged_into INTEGER, deleted_at TIMESTAMP);
         CREATE TABLE leads (id INTEGER PRIMARY KEY, name TEXT NOT NULL, company TEXT NOT NULL, stage TEXT);
         WITH RECURSIVE up(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM up WHERE i < {people})
             INSERT INTO people (id, name) SELECT i, 'P' || i FROM up;
         WITH RECURSIVE up(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM up WHERE i < {leads})
             INSERT INTO leads SELECT i, 'L' || i, 'C' || i, 'new' FROM up;"
    ))?)
}

/// Every row of the two tables; what a conversion brings as a new person left out.
fn rows(database: &Connection, people: u64) -> Result<Vec<String>> {
    let mut statement = database.prepare(
        "SELECT 'p' || id || name || ifnull(merged_into, '-') || ifnull(deleted_at, '-') FROM people WHERE id <= ?1
         UNION ALL SELECT 'l' || id || name || company || stage FROM leads",
    )?;
    let rows = statement.query_map([i64::try_from(people)?], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How often the org did what to each record that has a key of ours, as `OBJECT KEY`.
fn done(org: &Handle, op: &str) -> BTreeMap<String, usize> {
    let mut done = BTreeMap::new();
    for entry in org.journal(0) {
        let converted = entry.fields.get("IsConverted") == Some(&json!(true));
        let is = match op {
            "convert" => converted,
            // Not the org's own touch of a record that others became part of.
            "update" => entry.op == "update" && entry.client == "tidegate",
            op => entry.op == op,
        };
        if let (true, Some(key)) = (is, entry.external_ids.get("Tidegate_Id__c")) {
            let key = key.as_str().unwrap_or_default();
            *done.entry(format!("{} {key}", entry.object)).or_default() += 1;
        }
    }
    done
}

fn once(object: &str, keys: impl IntoIterator<Item = u64>) -> BTreeMap<String, usize> {
    keys.into_iter()
        .map(|key| (format!("{object} {key}"), 1))
        .collect()
}

/// The contact of a person, deleted or not.
fn contact(org: &Handle, person: u64) -> Result<Value> {
    let mut contacts = org.records("Contact").into_iter();
    let key = person.to_string();
    let found = contacts.find(|contact| contact["Tidegate_Id__c"] == *key);
    found.with_context(|| format!("no contact of person {person}"))
}

/// What is still to be done before all of it has happened as `expected` says.
fn amiss(
    org: &Handle,
    status: &Status,
    expected: &[(&str, BTreeMap<String, usize>)],
) -> Vec<String> {
    let mut amiss: Vec<String> = expected
        .iter()
        .map(|(op, expected)| (op, done(org, op), expected))
        .filter(|(_, found, expected)| found != *expected)
        .map(|(op, found, expected)| format!("{op}: {found:?} instead of {expected:?}"))
        .collect();
    let busy = |sync: &&tidegate::status::SyncStatus| sync.waiting + sync.in_flight + sync.dead > 0;
    amiss.extend(
        status
            .syncs
            .iter()
            .filter(busy)
            .map(|sync| format!("{sync:?}")),
    );
    amiss
}

async fn settled(
    host: &mut Host,
    org: &Handle,
    expected: &[(&str, BTreeMap<String, usize>)],
) -> Result<()> {
    host.until(PATIENCE, |status| Ok(amiss(org, status, expected)))
        .await?;
    Ok(())
}

/// Waits until the org's own reports of what was done to it have come back: until it was asked for changes of both objects
/// once more from the beginning. At rest nothing else is asked.
async fn looked_at_again(org: &Handle) -> Result<()> {
    // One look that was under way, and two more where each object is asked for by itself.
    const CALLS: u64 = 6;
    let calls = || org.stats()["calls_total"].as_u64().context("no count");
    let enough = calls()? + CALLS;
    let looks = async {
        while calls()? < enough {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    let looked = tokio::time::timeout(PATIENCE, looks).await;
    looked.context("the org is not asked any more")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_merges_and_conversions_are_done_once_and_leave_the_rows_alone() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    let mut host = host(&org, "")?;
    let database = things::database(&host, "actions.db")?;
    fill(&database, 7, 2)?;
    host.start()?;
    let made = [once("Contact", 1..=7), once("Lead", 1..=2)];
    let made: BTreeMap<String, usize> = made.into_iter().flatten().collect();
    settled(&mut host, &org, &[("create", made.clone())]).await?;

    // Two become part of a third, one is marked, and a lead is won, its company changed with it.
    database.execute_batch(
        "UPDATE people SET merged_into = 2 WHERE id IN (3, 4);
         UPDATE people SET deleted_at = '2026-03-01 10:00:00' WHERE id = 1;
         UPDATE leads SET stage = 'won', company = 'C1 Ltd' WHERE id = 1;",
    )?;
    let before = rows(&database, 7)?;
    let gone = |restored: &[u64], updated: BTreeMap<String, usize>| {
        vec![
            ("create", made.clone()),
            ("merge", once("Contact", [3, 4])),
            ("delete", once("Contact", [1])),
            ("undelete", once("Contact", restored.iter().copied())),
            ("convert", once("Lead", [1])),
            ("update", updated),
        ]
    };
    settled(&mut host, &org, &gone(&[], once("Lead", [1]))).await?;
    looked_at_again(&org).await?;
    settled(&mut host, &org, &gone(&[], once("Lead", [1]))).await?;
    ensure!(
        rows(&database, 7)? == before,
        "rows were touched: {before:?}"
    );
    let master = contact(&org, 2)?["Id"].clone();
    for loser in [3, 4] {
        let loser = contact(&org, loser)?;
        ensure!(
            loser["MasterRecordId"] == master,
            "{loser} is not part of {master}"
        );
    }
    let accounts = org.records("Account");
    ensure!(
        accounts.len() == 1 && accounts[0]["Name"] == "C1 Ltd",
        "{accounts:?}"
    );

    // The mark is cleared, and the name given anew meanwhile goes along.
    let id = contact(&org, 1)?["Id"].clone();
    database
        .execute_batch("UPDATE people SET deleted_at = NULL, name = 'P1 again' WHERE id = 1")?;
    let updated: BTreeMap<String, usize> = [once("Lead", [1]), once("Contact", [1])]
        .into_iter()
        .flatten()
        .collect();
    settled(&mut host, &org, &gone(&[1], updated.clone())).await?;
    let back = contact(&org, 1)?;
    ensure!(
        back["Id"] == id && back["IsDeleted"] == json!(false) && back["LastName"] == "P1 again",
        "{back}"
    );
    looked_at_again(&org).await?;
    settled(&mut host, &org, &gone(&[1], updated)).await?;

    // Marked once more, emptied from the recycle bin by somebody, and brought back: now it is another record.
    database.execute_batch("UPDATE people SET deleted_at = '2026-03-02 10:00:00' WHERE id = 5")?;
    host.until(PATIENCE, |status| {
        let deleted = [("delete", once("Contact", [1, 5]))];
        Ok(amiss(&org, status, &deleted))
    })
    .await?;
    let old = contact(&org, 5)?["Id"].clone();
    let outsider = Outsider::login(&org).await?;
    let id = old.as_str().context("an id")?;
    let emptied = outsider
        .soap(&format!(
            "<emptyRecycleBin><ids>{id}</ids></emptyRecycleBin>"
        ))
        .await?;
    ensure!(emptied.contains("<success>true</success>"), "{emptied}");
    database.execute_batch("UPDATE people SET deleted_at = NULL WHERE id = 5")?;
    host.until(PATIENCE, |status| {
        let new = contact(&org, 5).is_ok_and(|contact| contact["Id"] != old);
        let mut amiss = amiss(&org, status, &[]);
        amiss.extend((!new).then(|| "person 5 has no new contact".to_owned()));
        Ok(amiss)
    })
    .await?;
    host.stop().await
}

const PEOPLE: u64 = 60;
const LEADS: u64 = 20;

/// Kills the host while the org sits on a call by SOAP, which is carried out all the same, or when all has happened as
/// `expected` says; and starts it again.
async fn killed_at_work(
    host: &mut Host,
    org: &Handle,
    expected: &[(&str, BTreeMap<String, usize>)],
) -> Result<()> {
    let calls = || {
        let stats = org.stats();
        let calls = stats["calls"].as_object().into_iter().flatten();
        let by_soap = calls.filter(|(kind, _)| kind.starts_with("soap-"));
        by_soap.filter_map(|(_, count)| count.as_u64()).sum::<u64>()
    };
    let before = calls();
    org.set_fault(Fault::Slow, When::Rate(1.0));
    host.until(PATIENCE, |status| {
        if calls() > before {
            return Ok(Vec::new());
        }
        org.advance_ms(crm::SLOW_MS);
        Ok(amiss(org, status, expected))
    })
    .await?;
    host.kill()?;
    crm::let_go(org);
    host.start()
}

/// Answers are lost and hosts are killed while all of it happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_kills_double_nothing() -> Result<()> {
    let org = Simulator::start(crm::patient()).await?;
    let mut host = host(&org, "")?;
    let database = things::database(&host, "actions.db")?;
    fill(&database, PEOPLE, LEADS)?;
    host.start()?;
    let made = [once("Contact", 1..=PEOPLE), once("Lead", 1..=LEADS)];
    let made: BTreeMap<String, usize> = made.into_iter().flatten().collect();
    settled(&mut host, &org, &[("create", made.clone())]).await?;

    // A third each is merged, marked, and left alone; one in four answers is lost from now on.
    org.set_fault(Fault::Drop, When::Rate(0.25));
    database.execute_batch(
        "UPDATE people SET merged_into = id + 1 WHERE id % 3 = 1;
         UPDATE people SET deleted_at = '2026-03-01 10:00:00' WHERE id % 3 = 0;
         UPDATE leads SET stage = 'won' WHERE id % 2 = 0;",
    )?;
    let before = rows(&database, PEOPLE)?;
    let every = |third: u64| (1..=PEOPLE).filter(move |id| id % 3 == third);
    let mut expected = vec![
        ("create", made),
        ("merge", once("Contact", every(1))),
        ("delete", once("Contact", every(0))),
        (
            "convert",
            once("Lead", (1..=LEADS).filter(|id| id % 2 == 0)),
        ),
        ("update", BTreeMap::new()),
        ("undelete", BTreeMap::new()),
    ];
    for _ in 0..4 {
        killed_at_work(&mut host, &org, &expected).await?;
    }
    settled(&mut host, &org, &expected).await?;

    database.execute_batch("UPDATE people SET deleted_at = NULL WHERE id % 3 = 0")?;
    expected.pop();
    expected.push(("undelete", once("Contact", every(0))));
    for _ in 0..2 {
        killed_at_work(&mut host, &org, &expected).await?;
    }
    settled(&mut host, &org, &expected).await?;
    org.set_fault(Fault::Drop, When::Rate(0.0));
    looked_at_again(&org).await?;
    settled(&mut host, &org, &expected).await?;

    let after = rows(&database, PEOPLE)?;
    let unmarked = |row: &String| row.replace("2026-03-01 10:00:00", "-");
    ensure!(
        after == before.iter().map(unmarked).collect::<Vec<_>>(),
        "rows were touched: {after:?}"
    );
    let opportunities = org.records("Opportunity").len() as u64;
    ensure!(opportunities == LEADS / 2, "{opportunities} opportunities");
    host.stop().await
}

/// Marks that come all at once are as bad as deletes that do: most of them wait for a person.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_marks_and_merges_is_braked() -> Result<()> {
    let org = Simulator::start(Options::default()).await?;
    let brake = r#"brake = { share = 0.1, window = "10m", least = 5 }"#;
    let mut host = host(&org, brake)?;
    let database = things::database(&host, "actions.db")?;
    fill(&database, PEOPLE, 1)?;
    host.start()?;
    let made = [once("Contact", 1..=PEOPLE), once("Lead", 1..=1)];
    let made: BTreeMap<String, usize> = made.into_iter().flatten().collect();
    settled(&mut host, &org, &[("create", made)]).await?;

    database.execute_batch(
        "UPDATE people SET deleted_at = '2026-03-01 10:00:00' WHERE id % 2 = 0;
         UPDATE people SET merged_into = id + 2 WHERE id % 2 = 1 AND id < 59;",
    )?;
    let ended = |org: &Handle| done(org, "delete").len() + done(org, "merge").len();
    let all = usize::try_from(PEOPLE)? - 1;
    host.until(PATIENCE, |status| {
        let sync = status.syncs.iter().find(|sync| sync.name == "people");
        let held = sync.is_some_and(|sync| {
            let waits = sync.waiting as usize == all - ended(&org);
            sync.state == SyncState::Braked && waits && sync.in_flight == 0
        });
        Ok((!held)
            .then(|| format!("{} ended, {sync:?}", ended(&org)))
            .into_iter()
            .collect())
    })
    .await?;
    ensure!(ended(&org) <= 6, "{} got through", ended(&org));

    let release = Command::ReleaseDeletes {
        sync: "people".to_owned(),
    };
    host.command(release).await?;
    let odd = (1..59).filter(|id| id % 2 == 1);
    let even = (1..=PEOPLE).filter(|id| id % 2 == 0);
    let expected = [
        ("delete", once("Contact", even)),
        ("merge", once("Contact", odd)),
    ];
    settled(&mut host, &org, &expected).await?;
    let master = contact(&org, 59)?;
    ensure!(master["IsDeleted"] == json!(false), "{master}");
    host.stop().await
}
