//! What both sides hold in the end, and whether anything was lost or doubled on the way.
//!
//! Does not check the order of conflicting changes: of two values given on two sides at once either may stand, but no
//! third, and the same on both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::crowd::{History, tag};
use super::org::{Org, Record};
use super::people::{self, FIELDS, STATUSES};

/// One person's fields in the order of [`FIELDS`], in a form that both sides share.
type Plain = [Option<String>; FIELDS.len()];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub people: u64,
    pub contacts: u64,
    pub fields: u64,
    pub mismatches: u64,
    pub lost: u64,
    pub duplicates: u64,
    /// The first few things that are not as they should be.
    pub findings: Vec<String>,
}

const FINDINGS_MAX: usize = 20;

impl Compared {
    fn find(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        }
    }
}

struct Row {
    plain: Plain,
}

pub(super) async fn compare(database: &Path, org: &Org, history: &History) -> Result<Compared> {
    let mut compared = Compared::default();
    let rows = rows(database)?;
    let contacts = org.records("Contact").await?;
    let journal = Journal::read(org).await?;
    let given = given_here(history);
    compared.people = rows.len() as u64;
    compared.contacts = contacts.len() as u64;

    let mut left: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        left.entry(tag(row.plain[1].as_deref().unwrap_or_default()))
            .or_default()
            .push(row);
    }
    let mut right: BTreeMap<String, Vec<(&String, Plain)>> = BTreeMap::new();
    for (id, contact) in &contacts {
        let plain = plain_contact(contact);
        right
            .entry(tag(plain[1].as_deref().unwrap_or_default()))
            .or_default()
            .push((id, plain));
    }
    let tags: BTreeSet<&String> = left
        .keys()
        .chain(right.keys())
        .chain(journal.made.keys())
        .collect();
    for tag in tags {
        let here = left.get(tag).map_or(&[][..], Vec::as_slice);
        let there = right.get(tag).map_or(&[][..], Vec::as_slice);
        let deleted = history.deleted.contains(tag) || journal.deleted.contains(tag);
        judge(&mut compared, tag, here, there, deleted, &given, &journal);
    }
    Ok(compared)
}

fn judge(
    compared: &mut Compared,
    tag: &str,
    here: &[&Row],
    there: &[(&String, Plain)],
    deleted: bool,
    given_here: &GivenHere<'_>,
    journal: &Journal,
) {
    let made = journal.made.get(tag).copied().unwrap_or(0);
    let doubles = here
        .len()
        .saturating_sub(1)
        .max(there.len().saturating_sub(1));
    let doubles = doubles.max(if deleted { 0 } else { made.saturating_sub(1) });
    if doubles > 0 {
        compared.duplicates += doubles as u64;
        compared.find(format!(
            "{tag}: {} people, {} contacts, made {made} times in the org",
            here.len(),
            there.len()
        ));
    }
    match (here.first(), there.first()) {
        (Some(row), Some((id, contact))) => {
            compared.fields += FIELDS.len() as u64;
            for (index, (name, _)) in FIELDS.iter().enumerate() {
                if row.plain[index] != contact[index] {
                    compared.mismatches += 1;
                    compared.find(format!(
                        "{tag}: {name} differs: {:?} and {:?}",
                        row.plain[index], contact[index]
                    ));
                }
                let given = given(given_here, journal, tag, id, index);
                if !given.is_empty() && !given.contains(&row.plain[index]) {
                    compared.lost += 1;
                    compared.find(format!(
                        "{tag}: {name} is {:?}, given last {given:?}",
                        row.plain[index]
                    ));
                }
            }
        }
        (None, None) if deleted => {}
        _ => {
            let one_sided = if deleted {
                &mut compared.mismatches
            } else {
                &mut compared.lost
            };
            *one_sided += 1;
            let verb = if deleted { "was deleted and" } else { "" };
            compared.find(format!(
                "{tag}: {verb} is {} times in the database, {} times in the org",
                here.len(),
                there.len()
            ));
        }
    }
}

/// The last value that was given at the database, by person and field.
type GivenHere<'a> = HashMap<(&'a str, &'a str), Option<&'a str>>;

fn given_here(history: &History) -> GivenHere<'_> {
    let given = history.given.iter();
    given
        .map(|given| ((&*given.tag, given.field), given.value.as_deref()))
        .collect()
}

/// The last value that each side's people gave a field.
fn given(
    given_here: &GivenHere<'_>,
    journal: &Journal,
    tag: &str,
    id: &str,
    index: usize,
) -> Vec<Option<String>> {
    let (left, right) = FIELDS[index];
    let here = given_here.get(&(tag, left));
    let mut values: Vec<Option<String>> = here
        .map(|value| plain(left, value.map(Value::from)))
        .into_iter()
        .collect();
    if let Some(value) = journal.given.get(&(id.to_owned(), right.to_owned())) {
        values.push(plain(right, Some(value.clone())));
    }
    values
}

/// What the org's own journal says of the other application, and of how often each person was made.
#[derive(Default)]
struct Journal {
    given: BTreeMap<(String, String), Value>,
    deleted: BTreeSet<String>,
    made: BTreeMap<String, usize>,
}

impl Journal {
    async fn read(org: &Org) -> Result<Self> {
        let mut journal = Self::default();
        let mut tags: BTreeMap<String, String> = BTreeMap::new();
        for entry in org.journal().await? {
            if entry["object"] != "Contact" {
                continue;
            }
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let id = text("id");
            if let Some(last_name) = entry["fields"]["LastName"].as_str() {
                tags.insert(id.clone(), tag(last_name));
            }
            let known = tags.get(&id).cloned().unwrap_or_default();
            let outside = text("client") == "other-application";
            match text("op").as_str() {
                "create" => *journal.made.entry(known).or_default() += 1,
                "delete" if outside => {
                    journal.deleted.insert(known);
                }
                "update" if outside => {
                    for (field, value) in entry["fields"].as_object().into_iter().flatten() {
                        journal
                            .given
                            .insert((id.clone(), field.clone()), value.clone());
                    }
                }
                _ => {}
            }
        }
        Ok(journal)
    }
}

fn rows(database: &Path) -> Result<Vec<Row>> {
    let connection = people::open(database)?;
    let columns: Vec<&str> = FIELDS.iter().map(|(left, _)| *left).collect();
    let mut statement =
        connection.prepare(&format!("SELECT {} FROM people", columns.join(", ")))?;
    let rows = statement.query_map([], |row| {
        let mut plain_row = Plain::default();
        for (index, (name, _)) in FIELDS.iter().enumerate() {
            let value = match row.get_ref(index)? {
                rusqlite::types::ValueRef::Null => None,
                rusqlite::types::ValueRef::Integer(value) => Some(Value::from(value)),
                rusqlite::types::ValueRef::Real(value) => Some(Value::from(value)),
                rusqlite::types::ValueRef::Text(text) => {
                    Some(String::from_utf8_lossy(text).into_owned().into())
                }
                rusqlite::types::ValueRef::Blob(_) => Some("a blob".into()),
            };
            plain_row[index] = plain(name, value);
        }
        Ok(Row { plain: plain_row })
    })?;
    Ok(rows.collect::<Result<Vec<Row>, _>>()?)
}

fn plain_contact(contact: &Record) -> Plain {
    let mut plain_row = Plain::default();
    for (index, (_, name)) in FIELDS.iter().enumerate() {
        plain_row[index] = plain(name, contact.get(*name).cloned());
    }
    plain_row
}

/// A value of either side in the form that both share: what the org would make of it.
fn plain(field: &str, value: Option<Value>) -> Option<String> {
    let text = match value.unwrap_or_default() {
        // A checkbox is never empty; the config says what an empty flag becomes.
        Value::Null if field == "active" => return Some("0".into()),
        Value::Null => return None,
        Value::Bool(value) => i64::from(value).to_string(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    let text = text.trim().to_owned();
    if text.is_empty() {
        return None;
    }
    Some(match field {
        "score" | "Score__c" => text
            .parse::<f64>()
            .map_or(text, |number| format!("{number:.2}")),
        "joined" | "Joined__c" => text.replace('T', " ").chars().take(19).collect(),
        "email" | "Email" => text.to_lowercase(),
        "status" => STATUSES
            .iter()
            .find(|(left, _)| *left == text)
            .map_or(text, |(_, right)| (*right).to_owned()),
        _ => text,
    })
}
