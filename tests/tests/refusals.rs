//! Bad rows among many good ones, and jobs that fail, get lost, or answer with rows missing or twice: each row has an outcome of
//! its own, in the vendor's words where it was the vendor's, and the rest is unharmed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use tidegate::status::{DeadLetter, SyncStatus};
use tidegate_simulator::salesforce::{Fault, Handle, Options, Simulator, When};
use tidegate_tests::{crm, things};

const RULES: &[(&str, &str)] = &[
    ("name", "LastName"),
    ("badge", "Badge__c"),
    ("born", "Birthdate"),
];

const ROWS: u64 = 6_000;
const PATIENCE: Duration = Duration::from_secs(180);

/// The rows that nobody can write: what is wrong, and how many there are.
const BAD: [(&str, u64); 4] = [
    ("STRING_TOO_LONG", 20),
    ("DUPLICATE_VALUE", 15),
    ("REQUIRED_FIELD_MISSING", 10),
    ("not-a-date", 5),
];

/// The first job fails with some of its rows written; later ones tell of a row too few and of one twice.
const TROUBLE: &[(Fault, When)] = &[
    (Fault::JobFails, When::Next(1)),
    (Fault::JobRowMissing, When::Next(2)),
    (Fault::JobRowTwice, When::Next(2)),
    (Fault::DropJobResults, When::Next(1)),
    (Fault::LockRows, When::Rate(0.01)),
];

fn fill(database: &Connection) -> Result<()> {
    database.execute_batch(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, badge TEXT, born TEXT)",
    )?;
    let [(_, long), (_, twins), (_, nameless), (_, unborn)] = BAD;
    database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO people SELECT i, 'of ' || i, 'badge ' || i, '1970-01-01' FROM n",
        [i64::try_from(ROWS)?],
    )?;
    // Spread over all of them, and no row is bad twice.
    let spoil = |set: &str, first: u64, count: u64| {
        let ids = (0..count).map(|n| (first + n * 97).to_string());
        let ids: Vec<String> = ids.collect();
        database.execute_batch(&format!(
            "UPDATE people SET {set} WHERE id IN ({})",
            ids.join(",")
        ))
    };
    spoil("name = printf('%0300d', id)", 11, long)?;
    spoil("badge = 'badge ' || (id + 1)", 22, twins)?;
    spoil("name = NULL", 33, nameless)?;
    spoil("born = 'in spring'", 44, unborn)?;
    Ok(())
}

/// Good rows are there once, were written once, and hold what the database holds.
fn good_ones_are_whole(org: &Handle, bad: u64) -> Result<()> {
    let mut made: BTreeMap<String, u32> = BTreeMap::new();
    for entry in org.journal(0) {
        if entry.object == "Contact" {
            *made.entry(entry.id.clone()).or_default() += 1;
        }
    }
    let contacts = org.records("Contact");
    ensure!(
        contacts.len() as u64 == ROWS - bad,
        "{} contacts",
        contacts.len()
    );
    for contact in contacts {
        let key = contact["Tidegate_Id__c"].as_str().context("no key")?;
        ensure!(contact["LastName"] == format!("of {key}"), "{contact}");
    }
    ensure!(made.values().all(|times| *times == 1), "{made:?}");
    Ok(())
}

fn by_code(letters: &[DeadLetter]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for letter in letters {
        *counts.entry(letter.reason.code.as_str()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_have_their_own_outcomes_and_the_rest_is_unharmed() -> Result<()> {
    let org = Simulator::start(Options {
        seed: 5,
        fields: vec!["Contact.Badge__c:text(40):unique".to_owned()],
        ..crm::patient()
    })
    .await?;
    for (fault, when) in TROUBLE {
        org.set_fault(*fault, *when);
    }
    let people = crm::sync("people", "Contact", RULES, "")?;
    let mut host = crm::host(&org, "people.db", "1h", &people)?;
    fill(&things::database(&host, "people.db")?)?;
    let bad: u64 = BAD.iter().map(|(_, count)| count).sum();
    // All at once, since fewer rows would not be worth a job.
    crm::start_full(&mut host, &org, &[("people", ROWS)], PATIENCE).await?;
    let done = |sync: &SyncStatus| {
        let idle = sync.waiting + sync.in_flight == 0 && sync.jobs.is_empty();
        idle && sync.records == ROWS && sync.dead == bad
    };
    let status = host
        .until(PATIENCE, |status| {
            let wrong = status.syncs.iter().filter(|sync| !done(sync));
            Ok(wrong.map(|sync| format!("{sync:?}")).collect())
        })
        .await?;
    let happened = &org.stats()["faults"];
    for (fault, _) in TROUBLE {
        ensure!(happened[fault.name()].as_u64() > Some(0), "{happened}");
    }
    let writes = status.syncs[0].writes;
    println!("{writes:?}, faults {happened}");
    ensure!(
        writes.sent == writes.done + writes.failed + writes.unknown,
        "{writes:?}"
    );
    ensure!(writes.done == ROWS - bad, "{writes:?}");
    good_ones_are_whole(&org, bad)?;
    let letters = host.dead_letters().await?;
    println!("{:?}", by_code(&letters));
    ensure!(by_code(&letters) == BTreeMap::from(BAD), "{letters:?}");
    for letter in &letters {
        ensure!(!letter.fields.is_empty(), "{letter:?}");
        ensure!(!letter.reason.message.is_empty(), "{letter:?}");
    }
    host.stop().await
}
