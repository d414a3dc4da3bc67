//! What both sides hold in the end, and what the org's journal says of the way there. Shares no code with the
//! sync or its mapping.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;
use tidegate_simulator::salesforce::Handle;

/// What the other application calls itself.
pub(crate) const OUTSIDE: &str = "outside";

/// An e-mail address given to a person at the database, where nobody else touches it.
pub(crate) struct Given {
    pub(crate) id: i64,
    pub(crate) email: String,
}

/// How the same value looks on both sides.
type Form = fn(&str) -> String;

const FIELDS: [(&str, &str, Form); 10] = [
    ("first_name", "FirstName", name),
    ("last_name", "LastName", name),
    ("email", "Email", email),
    ("phone", "Phone", phone),
    ("birthdate", "Birthdate", trimmed),
    ("notes", "Description", trimmed),
    ("score", "Score__c", score),
    ("active", "Active__c", trimmed),
    ("postcode", "MailingPostalCode", trimmed),
    ("status", "Status__c", trimmed),
];

fn trimmed(text: &str) -> String {
    text.trim().to_owned()
}

fn email(text: &str) -> String {
    text.trim().to_lowercase()
}

/// A capital per word, where all letters were of one case.
fn name(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (lower, upper) = (
        text.chars().any(char::is_lowercase),
        text.chars().any(char::is_uppercase),
    );
    if lower == upper {
        return text;
    }
    let mut begins = true;
    let mut form = String::new();
    for letter in text.chars() {
        if begins {
            form.extend(letter.to_uppercase());
        } else {
            form.extend(letter.to_lowercase());
        }
        begins = letter == ' ' || letter == '-';
    }
    form
}

fn phone(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match (text.trim().starts_with('+'), digits.strip_prefix("00")) {
        (_, Some(rest)) => format!("+{rest}"),
        (true, None) => format!("+{digits}"),
        (false, None) => digits,
    }
}

fn score(text: &str) -> String {
    text.parse::<f64>()
        .map_or(text.to_owned(), |number| format!("{number:.2}"))
}

/// A person or a contact: its own id, the other side's where it is known here, and its fields as they stand.
pub(crate) struct Record {
    id: String,
    other: Option<String>,
    fields: Vec<Option<String>>,
}

impl Record {
    fn form(&self, index: usize) -> Option<String> {
        let (_, _, form) = FIELDS[index];
        let text = form(self.fields[index].as_deref()?);
        (!text.is_empty()).then_some(text)
    }
}

/// The org's contacts that are not deleted.
pub(crate) fn live(org: &Handle) -> Vec<Record> {
    let records = org.records("Contact");
    let live = records.iter().filter(|record| record["IsDeleted"] != true);
    live.map(|record| Record {
        id: plain(&record["Id"]).unwrap_or_default(),
        other: plain(&record["Tidegate_Id__c"]),
        fields: FIELDS
            .iter()
            .map(|(_, right, _)| plain(&record[*right]))
            .collect(),
    })
    .collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(value) => Some(u8::from(*value).to_string()),
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn people(connection: &Connection) -> Result<Vec<Record>> {
    let columns = FIELDS.map(|(left, _, _)| left).join(", ");
    let mut statement =
        connection.prepare(&format!("SELECT id, salesforce_id, {columns} FROM people"))?;
    let text = |value: ValueRef<'_>| match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string()),
        ValueRef::Real(value) => Some(value.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
    };
    let rows = statement.query_map([], |row| {
        Ok(Record {
            id: text(row.get_ref(0)?).unwrap_or_default(),
            other: text(row.get_ref(1)?),
            fields: (0..FIELDS.len())
                .map(|index| Ok(text(row.get_ref(index + 2)?)))
                .collect::<rusqlite::Result<_>>()?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Each person's contacts, by either side's key, and the contacts of nobody.
fn pairs<'a>(
    people: &'a [Record],
    contacts: &'a [Record],
) -> (Vec<(&'a Record, Vec<&'a Record>)>, Vec<&'a Record>) {
    let mut taken = BTreeSet::new();
    let pairs = people
        .iter()
        .map(|person| {
            let mine: Vec<_> = contacts
                .iter()
                .filter(|contact| {
                    contact.other.as_ref() == Some(&person.id)
                        || person.other.as_ref() == Some(&contact.id)
                })
                .collect();
            taken.extend(mine.iter().map(|contact| &contact.id));
            (person, mine)
        })
        .collect();
    let strangers = contacts
        .iter()
        .filter(|contact| !taken.contains(&contact.id));
    (pairs, strangers.collect())
}

/// What is not the same on both sides, a line each.
pub(crate) fn differences(connection: &Connection, org: &Handle) -> Result<Vec<String>> {
    let (people, contacts) = (people(connection)?, live(org));
    let (pairs, strangers) = pairs(&people, &contacts);
    let mut amiss: Vec<String> = strangers
        .iter()
        .map(|contact| format!("contact {} has no person", contact.id))
        .collect();
    for (person, mine) in pairs {
        let [contact] = &mine[..] else {
            amiss.push(format!("person {} has {} contacts", person.id, mine.len()));
            continue;
        };
        for (index, (left, _, _)) in FIELDS.iter().enumerate() {
            let (here, there) = (person.form(index), contact.form(index));
            if here != there {
                amiss.push(format!(
                    "person {}: {left} is {here:?} and {there:?}",
                    person.id
                ));
            }
        }
    }
    Ok(amiss)
}

/// What came from the database stands in the org in the form that the mapping gives it.
pub(crate) fn normalised(connection: &Connection, org: &Handle) -> Result<()> {
    let (people, contacts) = (people(connection)?, live(org));
    let mut changed = BTreeMap::new();
    for (person, mine) in pairs(&people, &contacts).0 {
        for contact in mine {
            for (index, (field, _, _)) in FIELDS.iter().enumerate().take(4) {
                let (typed, there) = (&person.fields[index], &contact.fields[index]);
                ensure!(
                    person.form(index) == *there,
                    "person {}: {field} {typed:?} became {there:?}",
                    person.id
                );
                *changed.entry(*field).or_insert(0) += u32::from(typed != there);
            }
        }
    }
    ensure!(
        changed.values().all(|count| *count > 20),
        "hardly anything needed another form: {changed:?}"
    );
    Ok(())
}

/// What somebody gave last and nobody changed since, and that is not there.
pub(crate) fn lost(connection: &Connection, org: &Handle, given: &[Given]) -> Result<Vec<String>> {
    let mut amiss = Vec::new();
    let emails: BTreeMap<i64, &str> = given
        .iter()
        .map(|given| (given.id, &*given.email))
        .collect();
    for person in people(connection)? {
        if let Some(last) = person.id.parse().ok().and_then(|id: i64| emails.get(&id))
            && person.form(2) != Some(email(last))
        {
            amiss.push(format!(
                "person {}: the e-mail given last is lost",
                person.id
            ));
        }
    }
    let mut outside: BTreeMap<(String, String), Value> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    for entry in org.journal(0) {
        if entry.client != OUTSIDE {
            // The host has no reason to touch what only the other application changed, but it may write what
            // was changed at the database, which is the e-mail alone.
            let taken: Vec<_> = entry
                .fields
                .keys()
                .filter(|field| *field != "Email")
                .collect();
            for field in taken {
                if outside.contains_key(&(entry.id.clone(), field.clone())) && entry.op == "update"
                {
                    amiss.push(format!("contact {}: {field} was overwritten", entry.id));
                }
            }
        } else if entry.op == "delete" {
            deleted.insert(entry.id);
        } else {
            for (field, value) in entry.fields {
                outside.insert((entry.id.clone(), field), value);
            }
        }
    }
    let contacts: BTreeMap<String, Record> = live(org)
        .into_iter()
        .map(|contact| (contact.id.clone(), contact))
        .collect();
    for ((id, field), value) in outside {
        let index = FIELDS.iter().position(|(_, right, _)| *right == field);
        if let (Some(contact), Some(index)) = (contacts.get(&id), index)
            && contact.fields[index] != plain(&value)
        {
            amiss.push(format!("contact {id}: {field} is not what was given last"));
        }
    }
    let back = deleted.iter().filter(|id| contacts.contains_key(*id));
    amiss.extend(back.map(|id| format!("contact {id} was deleted and is back")));
    Ok(amiss)
}

/// Contacts that the host made for a person who had one.
pub(crate) fn doubled(org: &Handle) -> Vec<String> {
    let mut amiss = Vec::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for entry in org.journal(0) {
        let key = entry.external_ids.get("Tidegate_Id__c").and_then(plain);
        match (&*entry.op, key) {
            ("create", Some(key)) => {
                if let Some(known) = owners.insert(key.clone(), entry.id.clone()) {
                    amiss.push(format!("person {key} has {known} and got {}", entry.id));
                }
            }
            ("create", None) if entry.client != OUTSIDE => {
                amiss.push(format!("contact {} was made without its key", entry.id));
            }
            ("delete", _) => owners.retain(|_, id| *id != entry.id),
            _ => {}
        }
    }
    amiss
}
