//! First contact of a database and an org that are both filled: who is the same is paired and never made twice, whatever
//! kills the host meanwhile; who can't be told apart waits for a person.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use tidegate::status::{Status, SyncState, SyncStatus};
use tidegate_simulator::salesforce::{Entry, Fault, Handle, Simulator, When};
use tidegate_tests::host::Host;
use tidegate_tests::{built, crm, outsider::Outsider, things};

/// The queue is far smaller than what has to wait. The places are compared and not mapped.
const PEOPLE: &str = r#"
[syncs.people]
conflict = "left"
queue-max = 200
left = { endpoint = "db", object = "people", key = "contact_id" }
right = { endpoint = "crm", object = "Contact", key = "Tidegate_Id__c" }
[[syncs.people.pair]]
left = "email"
right = "Email"
[[syncs.people.pair]]
left = ["last_name", "postcode"]
right = ["LastName", "MailingPostalCode"]
[syncs.people.mapping]
plugin = "field-map"
[syncs.people.mapping.config]
rules = [{ left = "last_name", right = "LastName" }, { left = "email", right = "Email" }]
"#;

const BY_MAIL: usize = 2_000;
/// Every tenth of those has another name in the org.
const DIFFER: usize = BY_MAIL / 10;
/// They have no mail on either side.
const BY_NAME: usize = 300;
const ONLY_LEFT: usize = 500;
const ONLY_RIGHT: usize = 400;
/// One of each here is two there.
const AMBIGUOUS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(240);

struct Person {
    name: String,
    mail: Option<String>,
    place: Option<&'static str>,
}

fn person(name: String, mail: Option<String>, place: Option<&'static str>) -> Person {
    Person { name, mail, place }
}

fn left() -> Vec<Person> {
    let by_mail = (0..BY_MAIL).map(|i| person(format!("mail {i}"), mail("m", i), None));
    let by_name = (0..BY_NAME).map(|i| person(format!("name {i}"), None, Some("1010")));
    let only = (0..ONLY_LEFT).map(|i| person(format!("left {i}"), mail("left", i), Some("1010")));
    let two = (0..AMBIGUOUS).map(|i| person(format!("two {i}"), mail("two", i), None));
    by_mail.chain(by_name).chain(only).chain(two).collect()
}

fn right() -> Vec<Person> {
    let by_mail = (0..BY_MAIL).map(|i| {
        let name = match i % (BY_MAIL / DIFFER) {
            0 => format!("other {i}"),
            _ => format!("mail {i}"),
        };
        person(name, mail("m", i), None)
    });
    let by_name = (0..BY_NAME).map(|i| person(format!("name {i}"), None, Some("1010")));
    let only = (0..ONLY_RIGHT).map(|i| person(format!("right {i}"), mail("right", i), Some("9")));
    let two =
        (0..2 * AMBIGUOUS).map(|i| person(format!("two {}", i / 2), mail("two", i / 2), None));
    by_mail.chain(by_name).chain(only).chain(two).collect()
}

fn mail(of: &str, number: usize) -> Option<String> {
    Some(format!("{of}{number}@example.com"))
}

fn fill_database(database: &mut Connection) -> Result<()> {
    database.execute_batch(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, last_name TEXT NOT NULL, email TEXT, postcode TEXT,
             contact_id TEXT UNIQUE)",
    )?;
    let transaction = database.transaction()?;
    for person in left() {
        transaction.execute(
            "INSERT INTO people (last_name, email, postcode) VALUES (?1, ?2, ?3)",
            (person.name, person.mail, person.place),
        )?;
    }
    Ok(transaction.commit()?)
}

async fn fill_org(outsider: &Outsider) -> Result<()> {
    let contacts: Vec<Value> = right()
        .into_iter()
        .map(|person| {
            json!({
                "attributes": { "type": "Contact" },
                "LastName": person.name,
                "Email": person.mail,
                "MailingPostalCode": person.place,
            })
        })
        .collect();
    for records in contacts.chunks(200) {
        let body = json!({ "allOrNone": true, "records": records });
        outsider
            .call("POST", "/composite/sobjects", Some(&body))
            .await?;
    }
    Ok(())
}

fn people(status: &Status) -> Result<&SyncStatus> {
    status.syncs.first().context("no sync")
}

/// Nothing waits but for people.
fn at_rest(status: &Status, dead: usize) -> Result<Vec<String>> {
    let sync = people(status)?;
    let rests = sync.state == SyncState::Running && sync.waiting + sync.in_flight == 0;
    Ok(match rests && sync.dead == dead as u64 {
        true => Vec::new(),
        false => vec![format!("{sync:?}")],
    })
}

/// What the host wrote to the org from this entry on, by operation.
fn written(org: &Handle, after: u64) -> BTreeMap<String, Vec<Entry>> {
    let mut written: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in org.journal(after) {
        written.entry(entry.op.clone()).or_default().push(entry);
    }
    written
}

/// The command's exit code, and what it answers.
fn tidegate(host: &Host, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = Command::new(built::program())
        .args(arguments)
        .arg("--json")
        .arg("--config")
        .arg(host.path("tidegate.toml"))
        .output()?;
    let answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), answer))
}

fn told<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or_default()
}

fn count(database: &Connection, filter: &str) -> Result<usize> {
    let query = format!("SELECT count(*) FROM people WHERE {filter}");
    let count: i64 = database.query_row(&query, [], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_filled_systems_pair_before_anything_is_made() -> Result<()> {
    let org = Simulator::start(crm::patient()).await?;
    let outsider = Outsider::login(&org).await?;
    fill_org(&outsider).await?;
    let filled = org.journal(0).last().map_or(0, |entry| entry.seq);
    let mut host = crm::host(&org, "people.db", "500ms", PEOPLE)?;
    let mut database = things::database(&host, "people.db")?;
    fill_database(&mut database)?;

    // Beforehand nobody knows who pairs.
    let (code, plan) = tidegate(&host, &["plan"])?;
    ensure!(code == Some(0), "{plan}");
    let writes = plan["directions"].as_array().context("directions")?;
    let writes: Vec<&Value> = writes
        .iter()
        .filter_map(|direction| direction["writes"].as_array())
        .flatten()
        .collect();
    ensure!(writes.len() == 2, "{plan}");
    for write in writes {
        ensure!(write["at_most"] == true, "{write}");
    }

    killed_on_the_way(&mut host, &org).await?;
    host.start()?;
    let dead = 3 * AMBIGUOUS;
    host.until(PATIENCE, |status| at_rest(status, dead)).await?;

    let written_there = written(&org, filled);
    let of = |operation: &str| written_there.get(operation).map_or(&[][..], Vec::as_slice);
    let made = of("create");
    ensure!(
        made.len() == ONLY_LEFT,
        "{} were made in the org",
        made.len()
    );
    for entry in made {
        let name = entry.fields["LastName"].as_str().unwrap_or_default();
        ensure!(name.starts_with("left "), "{name} was there already");
    }
    let changed = of("update");
    ensure!(changed.len() == DIFFER, "{} were changed", changed.len());
    ensure!(of("delete").is_empty(), "{:?}", of("delete"));
    let right_made = count(&database, "last_name LIKE 'right %'")?;
    ensure!(right_made == ONLY_RIGHT, "{right_made} were made here");
    let all = left().len() + ONLY_RIGHT;
    ensure!(
        count(&database, "true")? == all,
        "somebody was made twice here"
    );
    ensure!(org.records("Contact").len() == right().len() + ONLY_LEFT);
    ensure!(
        count(&database, "last_name LIKE 'other %'")? == 0,
        "the left wins"
    );

    person_decides(&mut host, &org, &outsider, &database, dead).await?;
    host.stop().await
}

/// Kills it before the org is read, when a part of it is, and when pairing has begun: what was read stays, and nothing is
/// made that has another half. The org sits on each call until the test lets it go.
async fn killed_on_the_way(host: &mut Host, org: &Handle) -> Result<()> {
    org.set_fault(Fault::Slow, When::Rate(1.0));
    until(host, org, |sync| match sync.state {
        SyncState::Starting => Ok(Step::LetGo),
        _ if sync.waiting_for_pairs == 0 => Ok(Step::Look),
        _ => Ok(Step::Kill),
    })
    .await?;
    until(host, org, |sync| {
        ensure!(
            sync.settling.done == 0,
            "paired before the org was read: {sync:?}"
        );
        match sync.waiting_for_pairs > left().len() as u64 {
            true => Ok(Step::Kill),
            false => Ok(Step::LetGo),
        }
    })
    .await?;
    crm::let_go(org);
    until(host, org, |sync| match sync.settling.done {
        0 => Ok(Step::Look),
        _ => Ok(Step::Kill),
    })
    .await
}

/// What to do when the host is looked at.
enum Step {
    Look,
    /// The calls that the org sits on.
    LetGo,
    Kill,
}

/// Starts it, and returns when it has been killed.
async fn until(
    host: &mut Host,
    org: &Handle,
    step: impl Fn(&SyncStatus) -> Result<Step>,
) -> Result<()> {
    host.start()?;
    host.until(PATIENCE, |status| {
        let sync = people(status)?;
        match step(sync)? {
            Step::Kill => return Ok(Vec::new()),
            Step::LetGo if org.calls_in_flight() > 0 => org.advance_ms(crm::SLOW_MS),
            Step::LetGo | Step::Look => {}
        }
        Ok(vec![format!("{sync:?}")])
    })
    .await?;
    host.kill()
}

/// Ids of a name on each side.
fn ids(database: &Connection, org: &Handle, name: &str) -> Result<(String, Vec<String>)> {
    let query = "SELECT CAST(id AS TEXT) FROM people WHERE last_name = ?1 ORDER BY id";
    let here = database.query_row(query, [name], |row| row.get(0))?;
    let there = org.records("Contact");
    let there = there.iter().filter(|contact| contact["LastName"] == name);
    let there = there.map(|contact| told(contact, "Id").to_owned());
    Ok((here, there.collect()))
}

async fn person_decides(
    host: &mut Host,
    org: &Handle,
    outsider: &Outsider,
    database: &Connection,
    dead: usize,
) -> Result<()> {
    let (_, letters) = tidegate(host, &["dead", "list", "people"])?;
    let letters = letters.as_array().context("letters")?;
    ensure!(letters.len() == dead, "{} letters", letters.len());
    for letter in letters {
        ensure!(letter["reason"]["code"] == "pair-ambiguous", "{letter}");
        let message = told(&letter["reason"], "message");
        ensure!(message.contains("rule 1 (email = Email)"), "{message}");
        ensure!(!message.contains("@example"), "a value: {message}");
    }

    // One of two is it, and the other is somebody else.
    let (here, there) = ids(database, org, "two 0")?;
    let (code, answer) = tidegate(host, &["pair", "people", &here, &there[0]])?;
    ensure!(code == Some(0) && answer["changed"] == 1, "{answer}");
    let refused = [
        (vec!["pair", "people", &here, &there[1]], "linked-already"),
        (
            vec!["pair", "people", "nobody", &there[1]],
            "no-such-record",
        ),
        (vec!["pair", "people", "--apart", &here], "linked-already"),
        (vec!["pair", "nobody", &here, &there[1]], "no-such-sync"),
    ];
    for (arguments, expected) in refused {
        let (code, answer) = tidegate(host, &arguments)?;
        ensure!(
            code == Some(1) && told(&answer, "code") == expected,
            "{answer}"
        );
    }
    let (code, answer) = tidegate(host, &["pair", "people", "--apart", &there[1]])?;
    ensure!(code == Some(0) && answer["changed"] == 1, "{answer}");
    host.until(PATIENCE, |status| at_rest(status, dead - 3))
        .await?;
    ensure!(count(database, "last_name = 'two 0'")? == 2);
    ensure!(
        ids(database, org, "two 0")?.1 == there,
        "nobody is made there"
    );

    // One that is changed is tried again by itself; the rest of its group when somebody says so.
    let (_, there) = ids(database, org, "two 1")?;
    let path = format!("/sobjects/Contact/{}", there[1]);
    let changed = json!({ "Email": "another@example.com" });
    outsider.call("PATCH", &path, Some(&changed)).await?;
    host.until(PATIENCE, |status| at_rest(status, dead - 4))
        .await?;
    ensure!(count(database, "last_name = 'two 1'")? == 2);
    let (code, answer) = tidegate(host, &["dead", "retry", "people"])?;
    ensure!(code == Some(0), "{answer}");
    host.until(PATIENCE, |status| at_rest(status, dead - 6))
        .await?;
    ensure!(count(database, "last_name = 'two 1'")? == 2);
    ensure!(
        ids(database, org, "two 1")?.1 == there,
        "nobody is made there"
    );
    Ok(())
}
