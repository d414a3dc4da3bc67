//! Records that name others: parents come first, children of a refused parent wait for it, and a circle is closed in
//! two passes. Nobody is ever without the parent that it was given.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use tidegate::status::{Status, SyncStatus};
use tidegate_simulator::salesforce::{Handle, Options, Simulator};
use tidegate_tests::{crm, outsider::Outsider, things};

/// The second reference is found by what both systems say of their fields.
fn families() -> Result<String> {
    let contacts = crm::sync(
        "contacts",
        "Contact",
        &[("name", "LastName")],
        r#"references = [{ left = "company_id", right = "AccountId", sync = "companies" }]"#,
    )?;
    let deals = crm::sync(
        "deals",
        "Opportunity",
        &[
            ("name", "Name"),
            ("stage", "StageName"),
            ("closes", "CloseDate"),
        ],
        r#"references = [{ left = "company_id", right = "AccountId" }]"#,
    )?;
    let companies = crm::sync("companies", "Account", &[("name", "Name")], "")?;
    Ok([contacts, deals, companies].concat())
}

const COMPANIES: u64 = 1_000;
/// Every tenth company's name is longer than the vendor takes.
const REFUSED: u64 = COMPANIES / 10;
const CONTACTS_EACH: u64 = 5;
const DEALS_EACH: u64 = 2;
/// What all of it may cost.
const CALLS_MAX: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(120);

fn fill(database: &Connection) -> Result<()> {
    Ok(database.execute_batch(&format!(
        "CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT NOT NULL,
             company_id INTEGER REFERENCES companies (id));
         CREATE TABLE deals (id INTEGER PRIMARY KEY, name TEXT NOT NULL, stage TEXT NOT NULL, closes DATE,
             company_id INTEGER REFERENCES companies (id));
         CREATE TABLE n (i INTEGER PRIMARY KEY);
         WITH RECURSIVE up(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM up WHERE i < {COMPANIES})
             INSERT INTO n SELECT i FROM up;
         INSERT INTO companies SELECT i, CASE WHEN i % 10 = 0 THEN printf('%0300d', i) ELSE 'of ' || i END FROM n;
         INSERT INTO contacts (name, company_id)
             SELECT 'of ' || n.i, n.i FROM n JOIN n AS each ON each.i <= {CONTACTS_EACH} ORDER BY each.i, n.i;
         INSERT INTO deals (name, stage, closes, company_id)
             SELECT 'of ' || n.i, 'New', '2030-01-31', n.i FROM n JOIN n AS each ON each.i <= {DEALS_EACH}
             ORDER BY each.i, n.i;"
    ))?)
}

/// How each sync stands: written, dead, waiting for parents, and otherwise busy.
fn stands(status: &Status, name: &str) -> [u64; 4] {
    let sync = status.syncs.iter().find(|sync| sync.name == name);
    let of = |sync: &SyncStatus| {
        let busy = sync.waiting + sync.in_flight - sync.waiting_for_parents;
        [sync.written, sync.dead, sync.waiting_for_parents, busy]
    };
    sync.map(of).unwrap_or_default()
}

fn differ(status: &Status, expected: &[(&str, [u64; 4])]) -> Vec<String> {
    let wrong = expected
        .iter()
        .filter(|(name, expected)| stands(status, name) != *expected);
    wrong
        .map(|(name, expected)| {
            let sync = status.syncs.iter().find(|sync| sync.name == *name);
            format!(
                "{name}: {:?} instead of {expected:?}; {sync:?}",
                stands(status, name)
            )
        })
        .collect()
}

/// Everyone's name says whose it is; each must be there.
fn no_orphans(org: &Handle, object: &str, name: &str, expected: u64) -> Result<()> {
    let accounts: BTreeMap<String, String> = org
        .records("Account")
        .iter()
        .map(|account| (text(account, "Id"), text(account, "Name")))
        .collect();
    let children = org.records(object);
    ensure!(
        children.len() as u64 == expected,
        "{} of {expected} {object}s",
        children.len()
    );
    for child in &children {
        let parent = accounts.get(&text(child, "AccountId"));
        let parent = parent.with_context(|| format!("an orphan: {child}"))?;
        ensure!(*parent == text(child, name), "{child} is with {parent}");
    }
    Ok(())
}

fn text(record: &Value, field: &str) -> String {
    record[field].as_str().unwrap_or_default().to_owned()
}

fn calls(org: &Handle) -> Result<u64> {
    org.stats()["calls_total"].as_u64().context("no count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn families_arrive_in_a_handful_of_calls_without_an_orphan() -> Result<()> {
    let org = Simulator::start(crm::patient()).await?;
    // Nobody but us changes anything, so that one look is enough.
    let mut host = crm::host(&org, "families.db", "1d", &families()?)?;
    let database = things::database(&host, "families.db")?;
    fill(&database)?;
    // What comes in drops costs more calls, so all of it is there before anything is sent.
    let all = [
        ("companies", COMPANIES),
        ("contacts", COMPANIES * CONTACTS_EACH),
        ("deals", COMPANIES * DEALS_EACH),
    ];
    crm::start_full(&mut host, &org, &all, PATIENCE).await?;
    let born = COMPANIES - REFUSED;
    let status = host
        .until(PATIENCE, |status| {
            let children = |each: u64| [born * each, 0, REFUSED * each, 0];
            Ok(differ(
                status,
                &[
                    ("companies", [born, REFUSED, 0, 0]),
                    ("contacts", children(CONTACTS_EACH)),
                    ("deals", children(DEALS_EACH)),
                ],
            ))
        })
        .await?;
    no_orphans(&org, "Contact", "LastName", born * CONTACTS_EACH)?;
    no_orphans(&org, "Opportunity", "Name", born * DEALS_EACH)?;
    let spent = calls(&org)?;
    ensure!(spent <= CALLS_MAX, "{spent} calls; {status:?}");
    println!(
        "{spent} calls for {} records",
        COMPANIES * (1 + CONTACTS_EACH + DEALS_EACH)
    );

    // What a person reads of it names the field and not the value.
    let told = status
        .syncs
        .iter()
        .filter_map(|sync| sync.last_error.as_ref());
    for told in told {
        ensure!(!told.message.contains("0000"), "a value: {told:?}");
    }

    // The refused parents are mended: their children follow them by themselves.
    database.execute_batch("UPDATE companies SET name = 'of ' || id WHERE id % 10 = 0")?;
    host.until(PATIENCE, |status| {
        Ok(differ(
            status,
            &[
                ("companies", [COMPANIES, 0, 0, 0]),
                ("contacts", [COMPANIES * CONTACTS_EACH, 0, 0, 0]),
                ("deals", [COMPANIES * DEALS_EACH, 0, 0, 0]),
            ],
        ))
    })
    .await?;
    no_orphans(&org, "Contact", "LastName", COMPANIES * CONTACTS_EACH)?;
    no_orphans(&org, "Opportunity", "Name", COMPANIES * DEALS_EACH)?;
    host.stop().await
}

const BOSSES: &str = r#"
initial = "both"
left = { key = "contact_id" }
references = [{ left = "boss_id", right = "Boss__c" }]
"#;

/// Each one's boss by name, here and there.
fn bosses(database: &Connection, org: &Handle) -> Result<[BTreeMap<String, String>; 2]> {
    let mut statement = database.prepare(
        "SELECT people.name, coalesce(boss.name, '') FROM people LEFT JOIN people AS boss ON boss.id = people.boss_id",
    )?;
    let here = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let contacts = org.records("Contact");
    let names: BTreeMap<String, String> = contacts
        .iter()
        .map(|contact| (text(contact, "Id"), text(contact, "LastName")))
        .collect();
    let there = contacts
        .iter()
        .map(|contact| {
            let boss = names.get(&text(contact, "Boss__c")).cloned();
            (text(contact, "LastName"), boss.unwrap_or_default())
        })
        .collect();
    Ok([here, there])
}

/// Two who name each other, one who names itself, a chain that comes in the wrong order, and somebody from the org.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_is_closed_and_references_go_both_ways() -> Result<()> {
    let org = Simulator::start(Options {
        fields: vec!["Contact.Boss__c:lookup(Contact)".to_owned()],
        ..Options::default()
    })
    .await?;
    let people = crm::sync("people", "Contact", &[("name", "LastName")], BOSSES)?;
    let mut host = crm::host(&org, "families.db", "500ms", &people)?;
    let database = things::database(&host, "families.db")?;
    database.execute_batch(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, contact_id TEXT UNIQUE,
             boss_id INTEGER REFERENCES people (id));
         INSERT INTO people (id, name, boss_id) VALUES (1, 'a', 2), (2, 'b', 1), (3, 'itself', 3),
             (4, 'c', 5), (5, 'd', 6), (6, 'top', NULL);",
    )?;
    let boss = |name: &str, boss: &str| (name.to_owned(), boss.to_owned());
    let mut expected = BTreeMap::from([
        boss("a", "b"),
        boss("b", "a"),
        boss("itself", "itself"),
        boss("c", "d"),
        boss("d", "top"),
        boss("top", ""),
    ]);
    host.start()?;
    let settled = |status: &Status, expected: &BTreeMap<String, String>| {
        let found = bosses(&database, &org)?;
        let busy = status
            .syncs
            .iter()
            .any(|sync| sync.waiting + sync.in_flight > 0);
        let settled = !busy && found.iter().all(|found| found == expected);
        Ok(if settled {
            Vec::new()
        } else {
            vec![format!("{found:?} {status:?}")]
        })
    };
    host.until(PATIENCE, |status| settled(status, &expected))
        .await?;

    // Another application hires somebody, and gives one of ours another boss.
    let outsider = Outsider::login(&org).await?;
    let id = |name: &str| {
        let contacts = org.records("Contact");
        let found = contacts.iter().find(|contact| contact["LastName"] == name);
        found.map(|contact| text(contact, "Id")).context("nobody")
    };
    let hired = json!({ "LastName": "hired", "Boss__c": id("top")? });
    outsider
        .call("POST", "/sobjects/Contact", Some(&hired))
        .await?;
    let moved = json!({ "Boss__c": id("hired")? });
    let path = format!("/sobjects/Contact/{}", id("c")?);
    outsider.call("PATCH", &path, Some(&moved)).await?;
    expected.extend([boss("hired", "top"), boss("c", "hired")]);
    host.until(PATIENCE, |status| settled(status, &expected))
        .await?;
    host.stop().await
}
