//! Who changes what while the host works: people at the database, another application in the org, sometimes
//! both at the same record and field.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::{Connection, Params};
use serde_json::{Value, json};

use super::org::Org;
use super::people::{self, FIELDS, STATUSES, insert, person};
use super::report::Timer;

/// What goes wrong while both sides are changed.
pub(super) const FAULTS: &[(&str, f64)] = &[
    ("refuse", 0.02),
    ("reset", 0.01),
    ("drop", 0.03),
    ("truncate", 0.01),
    ("html", 0.01),
    ("wrong-rows", 0.01),
    ("lock-rows", 0.01),
    ("short-pages", 0.2),
];
pub(super) const NO_FAULTS: &[(&str, f64)] = &[
    ("refuse", 0.0),
    ("reset", 0.0),
    ("drop", 0.0),
    ("truncate", 0.0),
    ("html", 0.0),
    ("wrong-rows", 0.0),
    ("lock-rows", 0.0),
    ("short-pages", 0.0),
];

/// Longer than the mapping may answer, shorter than what the host refuses to queue.
const POISON_BYTES: usize = 350_000;
const LOOK: Duration = Duration::from_millis(25);
const ORG_PAUSE: Duration = Duration::from_millis(250);
/// Most rows that one call may change.
const ORG_ROWS_MAX: f64 = 200.0;
/// Of the other application's calls, those that change many rows.
const ORG_BULK_SHARE: f64 = 0.6;

/// How much is changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy {
    /// Commits at the database, each of which changes one record.
    database_per_s: f64,
    /// Contacts that the other application changes in one call, four times a second.
    org_rows: usize,
}

impl Default for Busy {
    fn default() -> Self {
        Self {
            database_per_s: 40.0,
            org_rows: 5,
        }
    }
}

impl Busy {
    /// So many changes on each side, within this time.
    pub(super) fn with(changes: f64, time: Duration) -> Self {
        let per_s = changes / time.as_secs_f64();
        let rows = per_s * ORG_PAUSE.as_secs_f64() / ORG_BULK_SHARE;
        Self {
            database_per_s: per_s,
            org_rows: rows.clamp(1.0, ORG_ROWS_MAX) as usize,
        }
    }
}

/// One field given a value at the database.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// Of the person, and not the row: SQLite gives a deleted row's number to another person.
    pub tag: String,
    pub field: &'static str,
    pub value: Option<String>,
}

/// What was done at the database. What the other application did stands in the org's journal.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub given: Vec<Given>,
    /// Tags of people who were deleted here.
    pub deleted: BTreeSet<String>,
}

pub(super) struct Crowd<'a> {
    rng: ChaCha8Rng,
    org_rng: ChaCha8Rng,
    busy: Busy,
    connection: Connection,
    org: &'a Org,
    rows: Vec<i64>,
    contacts: Vec<String>,
    history: History,
    made: u64,
    changes: u64,
    org_made: u64,
    org_changes: u64,
    poisoned: Option<i64>,
}

impl<'a> Crowd<'a> {
    pub(super) async fn new(
        seed: u64,
        busy: Busy,
        database: PathBuf,
        org: &'a Org,
    ) -> Result<Self> {
        let connection = people::open(&database)?;
        let mut statement = connection.prepare("SELECT id FROM people ORDER BY id")?;
        let rows = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?;
        drop(statement);
        Ok(Self {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0xdb),
            org_rng: ChaCha8Rng::seed_from_u64(seed ^ 0xc2),
            busy,
            connection,
            org,
            changes: rows.len() as u64,
            rows,
            contacts: org.records("Contact").await?.into_keys().collect(),
            history: History::default(),
            made: 0,
            org_made: 0,
            org_changes: 0,
            poisoned: None,
        })
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Calls of the other application.
    pub(super) fn calls(&self) -> u64 {
        self.org.calls()
    }

    /// Records changed on either side, the first ones included: what a hand-made integration would call for,
    /// one by one.
    pub(super) fn changes(&self) -> u64 {
        self.changes + self.org_changes
    }

    /// Gives one person a note that is too large for the mapping.
    pub(super) fn poison(&mut self) -> Result<()> {
        let row = *self.rows.first().context("no people")?;
        self.give(row, "notes", Some("x".repeat(POISON_BYTES)))?;
        self.rows.retain(|other| *other != row);
        self.poisoned = Some(row);
        Ok(())
    }

    pub(super) fn cure(&mut self) -> Result<()> {
        if let Some(row) = self.poisoned.take() {
            self.give(row, "notes", Some("short again".into()))?;
        }
        Ok(())
    }

    pub(super) async fn act(&mut self, time: Duration) -> Result<()> {
        let timer = Timer::start();
        let (mut done, mut org_due) = (0.0, 0.0);
        while timer.seconds() < time.as_secs_f64() {
            while done <= timer.seconds() * self.busy.database_per_s {
                self.at_database()?;
                done += 1.0;
            }
            if timer.seconds() >= org_due {
                org_due = timer.seconds() + ORG_PAUSE.as_secs_f64();
                // A lost answer is part of the play: the journal knows what was written.
                self.at_org().await.ok();
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn at_database(&mut self) -> Result<()> {
        match self.rng.random_range(0..100) {
            0..12 => {
                self.made += 1;
                let tag = format!("d{:06}", self.made);
                let person = person(&mut self.rng, &tag);
                let row = insert(&self.connection, &person)?;
                self.rows.push(row);
                self.changes += 1;
            }
            12..16 => {
                let Some(row) = self.rows.choose(&mut self.rng).copied() else {
                    return Ok(());
                };
                self.delete(row)?;
            }
            // One change and its undoing, in two commits.
            16..20 => {
                let Some(row) = self.rows.choose(&mut self.rng).copied() else {
                    return Ok(());
                };
                let sql = "SELECT phone FROM people WHERE id = ?1";
                let Ok(phone) = self
                    .connection
                    .query_row(sql, [row], |row| row.get::<_, Option<String>>(0))
                else {
                    return Ok(());
                };
                self.give(row, "phone", Some("000".into()))?;
                self.give(row, "phone", phone)?;
            }
            _ => {
                let Some(row) = self.rows.choose(&mut self.rng).copied() else {
                    return Ok(());
                };
                let (field, value) = value(&mut self.rng);
                self.give(row, field, value)?;
            }
        }
        Ok(())
    }

    fn delete(&mut self, row: i64) -> Result<()> {
        let sql = "DELETE FROM people WHERE id = ?1 RETURNING last_name";
        // The other side may have deleted it already.
        if let Some(tag) = self.touched(sql, [row])? {
            self.history.deleted.insert(tag);
            self.changes += 1;
        }
        self.rows.retain(|other| *other != row);
        Ok(())
    }

    /// The tag of the one whose last name the statement returns; `None` when there was nobody.
    fn touched(&self, sql: &str, parameters: impl Params) -> Result<Option<String>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        // Read to its end, where the statement's transaction ends too.
        let names = statement.query_map(parameters, |row| row.get(0))?;
        let names = names.collect::<Result<Vec<String>, _>>()?;
        Ok(names.first().map(|name| tag(name)))
    }

    fn give(&mut self, row: i64, field: &'static str, value: Option<String>) -> Result<()> {
        let sql = format!("UPDATE people SET {field} = ?1 WHERE id = ?2 RETURNING last_name");
        if let Some(tag) = self.touched(&sql, rusqlite::params![value, row])? {
            self.history.given.push(Given { tag, field, value });
            self.changes += 1;
        }
        Ok(())
    }

    async fn at_org(&mut self) -> Result<()> {
        match self.org_rng.random_range(0..10) {
            0 => {
                let contacts = (0..3)
                    .map(|_| {
                        self.org_made += 1;
                        contact(&mut self.org_rng, &format!("c{:06}", self.org_made))
                    })
                    .collect();
                let made = self.org.create(contacts).await?;
                self.org_changes += made.len() as u64;
                self.contacts.extend(made);
            }
            1 => {
                let Some(id) = self.contacts.choose(&mut self.org_rng).cloned() else {
                    return Ok(());
                };
                self.org_changes += self.org.delete(&id).await?.len() as u64;
                self.contacts.retain(|other| *other != id);
            }
            2..4 => self.contest().await?,
            _ => {
                let mut ids = BTreeSet::new();
                for _ in 0..self.busy.org_rows {
                    ids.extend(self.contacts.choose(&mut self.org_rng).cloned());
                }
                let updates: Vec<Value> = ids
                    .into_iter()
                    .map(|id| {
                        let (field, value) = value(&mut self.org_rng);
                        update(&id, field, value)
                    })
                    .collect();
                self.org_changes += self.org.update(updates).await?.len() as u64;
            }
        }
        Ok(())
    }

    /// Both sides give one field of one person a value at the same time.
    async fn contest(&mut self) -> Result<()> {
        let Some(row) = self.rows.choose(&mut self.rng).copied() else {
            return Ok(());
        };
        let sql = "SELECT salesforce_id FROM people WHERE id = ?1";
        let known = self
            .connection
            .query_row(sql, [row], |row| row.get::<_, Option<String>>(0));
        let id = match known {
            Ok(Some(id)) => id,
            // Records that began here are found in the org by their key.
            _ => match self.org.find(row).await? {
                Some(id) => id,
                None => return Ok(()),
            },
        };
        let (field, here) = value(&mut self.rng);
        let there = loop {
            let (other, value) = value(&mut self.org_rng);
            if other == field {
                break value;
            }
        };
        self.give(row, field, here)?;
        self.org_changes += self
            .org
            .update(vec![update(&id, field, there)])
            .await?
            .len() as u64;
        Ok(())
    }
}

/// The last word of a last name.
pub(super) fn tag(last_name: &str) -> String {
    last_name.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// A new value for some field other than the name, as the database takes it.
fn value(rng: &mut ChaCha8Rng) -> (&'static str, Option<String>) {
    let tag = format!("v{}", rng.random_range(0..1_000_000));
    let person = person(rng, &tag);
    match rng.random_range(0..9) {
        0 => ("first_name", person.first_name),
        1 => ("email", person.email),
        2 => ("phone", person.phone),
        3 => ("birthdate", person.birthdate),
        4 => ("notes", person.notes),
        5 => ("score", person.score),
        6 => ("joined", person.joined),
        7 => ("postcode", person.postcode),
        _ => ("status", person.status.map(str::to_owned)),
    }
}

fn org_field(field: &str) -> &'static str {
    FIELDS
        .iter()
        .find(|(left, _)| *left == field)
        .map_or("", |(_, right)| right)
}

/// A database value as the org's API takes it.
fn org_value(field: &str, value: Option<String>) -> Value {
    let Some(value) = value else {
        return Value::Null;
    };
    match field {
        "score" => value
            .parse::<f64>()
            .map_or(Value::Null, |number| json!(number)),
        "joined" => json!(format!("{}.000Z", value.replace(' ', "T"))),
        "status" => {
            let status = STATUSES.iter().find(|(left, _)| *left == value);
            json!(status.map(|(_, right)| right))
        }
        _ => json!(value),
    }
}

fn update(id: &str, field: &str, value: Option<String>) -> Value {
    json!({ "id": id, org_field(field): org_value(field, value) })
}

fn contact(rng: &mut ChaCha8Rng, tag: &str) -> Value {
    let person = person(rng, tag);
    let mut contact =
        json!({ "LastName": person.last_name, "Active__c": person.active.unwrap_or(false) });
    let fields = [
        ("first_name", person.first_name),
        ("email", person.email),
        ("phone", person.phone),
        ("birthdate", person.birthdate),
        ("notes", person.notes),
        ("score", person.score),
        ("joined", person.joined),
        ("postcode", person.postcode),
        ("status", person.status.map(str::to_owned)),
    ];
    for (field, value) in fields {
        contact[org_field(field)] = org_value(field, value);
    }
    contact
}
