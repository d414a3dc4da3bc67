//! Two filled databases whose host is killed again and again while it pairs their records: the passes go on where they
//! were, and nobody is paired with another, made twice or lost.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rusqlite::Connection;
use tidegate::control::{Answer, Request};
use tidegate::status::{SyncState, SyncStatus};
use tidegate_core::ledger::{Room, SyncId, decode, prefix};
use tidegate_core::pairing::{Contact, Phase};
use tidegate_store::{EngineKind, Options, Store};
use tidegate_tests::{built, host::Host, things};

const CONFIG: &str = r#"
[plugins]
sqlite.file = "{plugins}/sqlite.wasm"
field-map.file = "{plugins}/field-map.wasm"
[endpoints.a]
plugin = "sqlite"
origins = { main = "sqlite:a.db" }
[endpoints.b]
plugin = "sqlite"
origins = { main = "sqlite:b.db" }
[syncs.people]
conflict = "left"
left = { endpoint = "a", object = "people", key = "other" }
right = { endpoint = "b", object = "people", key = "other" }
pair = [{ left = "mail", right = "mail" }, { left = ["name", "place"], right = ["name", "place"] }]
[syncs.people.mapping]
plugin = "field-map"
[syncs.people.mapping.config]
rules = [{ left = "name", right = "name" }, { left = "mail", right = "mail" }]
"#;
/// Ten times as many as are gone through at once, so that there is much to be killed between.
const BY_MAIL: usize = 5_000;
/// Every tenth of those has another name there.
const DIFFER: usize = BY_MAIL / 10;
/// They have no mail.
const BY_NAME: usize = 2_000;
const ONLY_A: usize = 300;
const ONLY_B: usize = 200;
/// One of each in `a` is two in `b`.
const AMBIGUOUS: usize = 20;
/// By which rule it says that it pairs when it is killed.
const KILLS: [u8; 6] = [1, 1, 1, 1, 2, 2];
const PATIENCE: Duration = Duration::from_secs(120);

type Person = (String, Option<String>, Option<&'static str>);

fn mail(of: &str, number: usize) -> Option<String> {
    Some(format!("{of}{number}@example.com"))
}

/// Those of `b`, or of `a`.
fn people(b: bool) -> Vec<Person> {
    let name = |of: &str, i: usize| format!("{of} {i}");
    let by_mail = (0..BY_MAIL).map(|i| match b && i % (BY_MAIL / DIFFER) == 0 {
        true => (name("other", i), mail("m", i), None),
        false => (name("mail", i), mail("m", i), None),
    });
    let by_name = (0..BY_NAME).map(|i| (name("name", i), None, Some("1010")));
    let (only, count, copies) = match b {
        true => ("b", ONLY_B, 2),
        false => ("a", ONLY_A, 1),
    };
    let only = (0..count).map(move |i| (name(only, i), mail(only, i), Some("9")));
    let two = (0..AMBIGUOUS * copies).map(move |i| {
        let which = i / copies;
        (name("two", which), mail("two", which), None)
    });
    let all = only.chain(by_name).chain(two).chain(by_mail);
    all.collect()
}

fn fill(host: &Host, file: &str, people: Vec<Person>) -> Result<Connection> {
    let mut database = things::database(host, file)?;
    database.execute_batch(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, mail TEXT, place TEXT, other TEXT UNIQUE)",
    )?;
    let transaction = database.transaction()?;
    for person in people {
        transaction.execute(
            "INSERT INTO people (name, mail, place) VALUES (?1, ?2, ?3)",
            person,
        )?;
    }
    transaction.commit()?;
    Ok(database)
}

fn count(database: &Connection, what: &str, filter: &str) -> Result<usize> {
    let query = format!("SELECT count({what}) FROM people WHERE {filter}");
    let count: i64 = database.query_row(&query, [], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}

/// Whether it is between two parts of this rule's passes. Who looks is answered there.
fn pairs(sync: &SyncStatus, rule: u8) -> bool {
    let words = format!("by rule {rule} ");
    let told = sync.reason.as_ref();
    told.is_some_and(|told| told.code == "first-contact" && told.message.contains(&words))
}

/// Starts it, and kills it while it pairs by this rule. False when pairing is over.
async fn killed(host: &mut Host, rule: u8) -> Result<bool> {
    host.start()?;
    let killed = async {
        loop {
            let Ok(Answer::Status(status)) = host.ask(&Request::Status).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let sync = status.syncs.first().context("no sync")?;
            match sync.state {
                _ if pairs(sync, rule) => {
                    host.kill()?;
                    return Ok(true);
                }
                // While a side is being read there is a reason as well.
                SyncState::Running | SyncState::Initial if sync.reason.is_none() => {
                    return Ok(false);
                }
                SyncState::Stopped => bail!("{sync:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, killed).await?
}

/// How far the passes are on disk.
fn phase(host: &Host) -> Result<Phase> {
    let options = Options {
        engine: EngineKind::Sled,
        cache_bytes: 16 << 20,
    };
    let store = Store::open(host.path("data/store"), options)?;
    let bytes = store.get(&prefix(Room::Contact, SyncId(1)))?;
    let contact: Contact = decode("first contact", &bytes.context("no first contact")?)?;
    Ok(contact.phase)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_go_on_where_they_were_killed() -> Result<()> {
    let plugins = built::plugins(&["sqlite", "field-map"]).canonicalize()?;
    let config = CONFIG.replace("{plugins}", &plugins.display().to_string());
    let mut host = Host::new(&config)?;
    let a = fill(&host, "a.db", people(false))?;
    let b = fill(&host, "b.db", people(true).into_iter().rev().collect())?;

    let mut phases = Vec::new();
    let mut runs = false;
    for rule in KILLS {
        if !killed(&mut host, rule).await? {
            runs = true;
            break;
        }
        phases.push(phase(&host)?);
    }
    println!("killed at {phases:?}");
    // The disk may be some parts behind what is told.
    let begun = |phase: &Phase| matches!(phase, Phase::Pairing { .. }) && *phase != Phase::PAIRING;
    ensure!(phases.iter().any(begun), "killed at {phases:?}");
    if !runs {
        host.start()?;
    }

    let dead = 3 * AMBIGUOUS;
    host.until(PATIENCE, |status| {
        let sync = status.syncs.first().context("no sync")?;
        let rests = sync.state == SyncState::Running && sync.waiting + sync.in_flight == 0;
        Ok((!rests || sync.dead != dead as u64)
            .then(|| format!("{sync:?}"))
            .into_iter()
            .collect())
    })
    .await?;
    let both = BY_MAIL + BY_NAME + ONLY_A + ONLY_B;
    for (database, name, ambiguous) in [(&a, "a", AMBIGUOUS), (&b, "b", 2 * AMBIGUOUS)] {
        let held = count(database, "*", "true")?;
        ensure!(held == both + ambiguous, "{held} people in {name}");
        let other = count(database, "*", "name LIKE 'other %'")?;
        ensure!(other == 0, "{other} names in {name}, and the left wins");
        for (of, wanted) in [
            ("mail", BY_MAIL),
            ("name", BY_NAME),
            ("a", ONLY_A),
            ("b", ONLY_B),
        ] {
            let filter = format!("name LIKE '{of} %'");
            let found = count(database, "DISTINCT name", &filter)?;
            ensure!(found == wanted, "{found} of {of} in {name}");
        }
    }
    host.stop().await
}
