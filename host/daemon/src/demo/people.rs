//! What the database holds: people whose data is as messy as real data.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::{Connection, params};

/// An ordinary table: SQLite hands a deleted row's number to the next one.
const SCHEMA: &str = "
CREATE TABLE people (
    id INTEGER PRIMARY KEY,
    salesforce_id TEXT UNIQUE,
    first_name TEXT,
    last_name TEXT NOT NULL,
    email TEXT,
    phone TEXT,
    birthdate DATE,
    notes TEXT,
    score DECIMAL(12,2),
    active BOOLEAN,
    joined TIMESTAMP,
    postcode TEXT,
    status TEXT
)";

/// Fields in the order of both sides: the database's name and the org's.
pub(super) const FIELDS: [(&str, &str); 11] = [
    ("first_name", "FirstName"),
    ("last_name", "LastName"),
    ("email", "Email"),
    ("phone", "Phone"),
    ("birthdate", "Birthdate"),
    ("notes", "Description"),
    ("score", "Score__c"),
    ("active", "Active__c"),
    ("joined", "Joined__c"),
    ("postcode", "MailingPostalCode"),
    ("status", "Status__c"),
];

pub(super) const STATUSES: [(&str, &str); 4] = [
    ("N", "new"),
    ("A", "active"),
    ("P", "paused"),
    ("C", "closed"),
];

const FIRST: &[&str] = &[
    "Ada",
    "Zoë",
    "José",
    "Nguyễn",
    "Σοφία",
    "Мария",
    "さくら",
    "محمد",
    "O'Brien",
    "Anne-Marie",
    "李",
    "Ægir",
    "  Max",
    "\"Q\"",
];
const LAST: &[&str] = &[
    "Müller",
    "O'Neill",
    "van der Berg",
    "Ñandú",
    "Smith\\Jones",
    "Łukasiewicz",
    "D'Angelo",
    "Иванов",
    "de la Cruz",
    "Null",
    "Bobby'); DROP TABLE people;--",
    "Ünal",
    "ß",
    "Öz",
];
const NOTES: &[&str] = &[
    "called back 👍🏽, likes \"quotes\" and commas, too",
    "line one\nline two\twith a tab",
    "<b>not html</b> & 100 % sure",
    "👨‍👩‍👧‍👦 family account",
    "C:\\temp\\file.txt",
    "ends with a zero-width joiner\u{200d}",
];

/// One person's values as the database takes them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Person {
    pub first_name: Option<String>,
    pub last_name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub birthdate: Option<String>,
    pub notes: Option<String>,
    pub score: Option<String>,
    pub active: Option<bool>,
    pub joined: Option<String>,
    pub postcode: Option<String>,
    pub status: Option<&'static str>,
}

/// A person nobody else is: `tag` stands in the last name, so that a double is recognised.
pub(super) fn person(rng: &mut ChaCha8Rng, tag: &str) -> Person {
    let maybe = |rng: &mut ChaCha8Rng| rng.random_bool(0.85);
    let pick = |rng: &mut ChaCha8Rng, words: &[&str]| {
        words
            .choose(rng)
            .map_or_else(String::new, |word| (*word).to_owned())
    };
    let long = rng.random_bool(0.02);
    Person {
        first_name: maybe(rng).then(|| pick(rng, FIRST)),
        last_name: format!("{} {tag}", pick(rng, LAST)),
        email: maybe(rng).then(|| {
            format!(
                "{}.{tag}@example.com",
                ["Post", "mail", "INFO"][rng.random_range(0..3)]
            )
        }),
        phone: maybe(rng).then(|| {
            format!(
                "0{} {:07}",
                rng.random_range(10..99),
                rng.random_range(0..10_000_000)
            )
        }),
        birthdate: maybe(rng).then(|| {
            format!(
                "{:04}-{:02}-{:02}",
                rng.random_range(1899..2015),
                rng.random_range(1..13),
                rng.random_range(1..29)
            )
        }),
        notes: maybe(rng).then(|| {
            if long {
                pick(rng, NOTES).repeat(300)
            } else {
                pick(rng, NOTES)
            }
        }),
        score: maybe(rng).then(|| {
            format!(
                "{}.{:02}",
                rng.random_range(-9_999..1_000_000),
                rng.random_range(0..100)
            )
        }),
        active: maybe(rng).then(|| rng.random_bool(0.5)),
        // Few different moments, so that thousands share one.
        joined: maybe(rng).then(|| format!("20{:02}-03-01 10:00:00", rng.random_range(10..26))),
        postcode: maybe(rng).then(|| format!("{:05}", rng.random_range(0..30_000))),
        status: STATUSES.choose(rng).map(|(left, _)| *left),
    }
}

pub(super) fn open(database: &Path) -> Result<Connection> {
    let connection =
        Connection::open(database).with_context(|| format!("opening {}", database.display()))?;
    connection.busy_timeout(Duration::from_secs(20))?;
    Ok(connection)
}

pub(super) fn insert(connection: &Connection, person: &Person) -> Result<i64> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO people (first_name, last_name, email, phone, birthdate, notes, score, active, joined, postcode, status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    statement.execute(params![
        person.first_name,
        person.last_name,
        person.email,
        person.phone,
        person.birthdate,
        person.notes,
        person.score,
        person.active,
        person.joined,
        person.postcode,
        person.status,
    ])?;
    Ok(connection.last_insert_rowid())
}

pub(super) fn create(database: &Path, records: u32, seed: u64) -> Result<()> {
    let mut connection = open(database)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(SCHEMA)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let transaction = connection.transaction()?;
    for index in 0..records {
        insert(&transaction, &person(&mut rng, &format!("p{index:06}")))?;
    }
    transaction.commit()?;
    Ok(())
}

pub(super) fn count(database: &Path) -> Result<u64> {
    let count: i64 =
        open(database)?.query_row("SELECT count(*) FROM people", [], |row| row.get(0))?;
    Ok(u64::try_from(count)?)
}
