//! `/_sim/…`: looking behind the vendor's face, and moving things there. Never metered, never faulted.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError};
use super::faults::{Fault, When};
use super::id::Id;
use super::moment;
use super::org::Org;
use super::schema::Kind;
use super::table::Table;
use super::transaction::{Began, Transaction};
use crate::clock::Clock;

/// Why an administrator's request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// No such object.
    #[error("there is no object {0:?}")]
    Object(String),
    /// No such field.
    #[error("there is no field {0:?}")]
    Field(String),
    /// The request is not understood.
    #[error("{0}")]
    Request(String),
}

pub(crate) fn answer(
    org: &mut Org,
    clock: &Clock,
    method: &str,
    path: &str,
    query: &[(String, String)],
    body: &[u8],
) -> Answer {
    let body = if body.is_empty() {
        Value::Null
    } else {
        match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return problem(400, &error.to_string()),
        }
    };
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    let done = match (method, steps.as_slice()) {
        ("GET", ["stats"]) => Ok(org.stats(clock.now_ms())),
        ("GET", ["clock"]) => Ok(json!({"now_ms": clock.now_ms()})),
        ("POST", ["clock"]) => whole(&body, "advance_ms").map(|by_ms| {
            clock.advance_ms(by_ms);
            json!({"now_ms": clock.now_ms()})
        }),
        ("GET", ["faults"]) => Ok(org.faults.settings()),
        ("PUT", ["faults"]) => set_faults(org, &body),
        ("PUT", ["limit"]) => whole(&body, "daily").map(|daily| {
            org.ledger.set_limit(daily);
            json!({"daily": daily})
        }),
        ("POST", ["sessions", "expire"]) => {
            org.sessions.expire_all();
            Ok(json!({}))
        }
        ("POST", ["grants", word @ ("revoke" | "restore")]) => {
            org.sessions.revoked = *word == "revoke";
            org.sessions.expire_all();
            Ok(json!({"revoked": org.sessions.revoked}))
        }
        ("POST", ["cursors", "expire"]) => {
            org.cursors.expire_all();
            Ok(json!({}))
        }
        ("PUT", ["field", object, field]) => set_field(org, object, field, &body, clock.now_ms()),
        ("POST", ["merge", object]) => merge(org, object, &body, clock.now_ms()),
        ("POST", ["undelete", object]) => undelete(org, object, &body, clock.now_ms()),
        ("POST", ["purge"]) => Ok(json!({"purged": purge(org, clock.now_ms())})),
        ("GET", ["records", object]) => return dump(org, object, query),
        ("GET", ["journal"]) => return journal(org, query),
        _ => return problem(404, "the simulator has no such administration path"),
    };
    match done {
        Ok(body) => Answer::json(200, body),
        Err(error) => problem(400, &error.to_string()),
    }
}

fn problem(status: u16, message: &str) -> Answer {
    Answer::json(status, json!({"error": message}))
}

fn whole(body: &Value, name: &str) -> Result<u64, AdminError> {
    body[name]
        .as_u64()
        .ok_or_else(|| AdminError::Request(format!("{name} has to be a whole number")))
}

fn set_faults(org: &mut Org, body: &Value) -> Result<Value, AdminError> {
    let settings = body
        .as_object()
        .ok_or_else(|| AdminError::Request("faults are an object of names and rates".to_owned()))?;
    let mut set = Vec::with_capacity(settings.len());
    for (name, when) in settings {
        let when = when
            .as_str()
            .map_or_else(|| when.to_string(), str::to_owned);
        let read = |error: super::faults::FaultError| AdminError::Request(error.to_string());
        let fault: Fault = name.parse().map_err(read)?;
        set.push((fault, when.parse::<When>().map_err(read)?));
    }
    for (fault, when) in set {
        org.faults.set(fault, when);
    }
    Ok(org.faults.settings())
}

/// Changes what a field is while clients rely on it: hides it, shortens it, narrows its picklist.
fn set_field(
    org: &mut Org,
    object: &str,
    name: &str,
    body: &Value,
    now_ms: u64,
) -> Result<Value, AdminError> {
    let table = table(org, object)?;
    let field = org.tables[table]
        .object
        .field_mut(name)
        .ok_or_else(|| AdminError::Field(name.to_owned()))?;
    if let Some(hidden) = body["hidden"].as_bool() {
        field.hidden = hidden;
    }
    if let Some(required) = body["required"].as_bool() {
        field.required = required;
    }
    if let Some(length) = body["length"].as_u64() {
        field.length = usize::try_from(length).unwrap_or(usize::MAX);
    }
    if let (Some(wanted), Kind::Picklist { values, .. }) =
        (body["values"].as_array(), &mut field.kind)
    {
        *values = wanted
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
    }
    org.described_ms = moment::whole_seconds(now_ms);
    Ok(json!({}))
}

fn merge(org: &mut Org, object: &str, body: &Value, now_ms: u64) -> Result<Value, AdminError> {
    let table = table(org, object)?;
    let master = id(&body["master"])?;
    let losers = ids(&body["losers"])?;
    administer(org, now_ms, |rows| {
        rows.merge(table, master, &Map::new(), &losers).map(drop)
    })
}

fn undelete(org: &mut Org, object: &str, body: &Value, now_ms: u64) -> Result<Value, AdminError> {
    let table = table(org, object)?;
    let ids = ids(&body["ids"])?;
    administer(org, now_ms, |rows| {
        ids.iter().try_for_each(|id| rows.undelete(table, *id))
    })
}

fn administer(
    org: &mut Org,
    now_ms: u64,
    change: impl FnOnce(&mut Transaction<'_>) -> Result<(), super::answer::Refusal>,
) -> Result<Value, AdminError> {
    let failed =
        |error: ApiError| AdminError::Request(format!("{}: {}", error.code, error.message));
    let began = Began {
        at_ms: now_ms,
        client: "administrator".to_owned(),
        ..Began::default()
    };
    let mut transaction = Transaction::new(org, &began);
    let start = transaction.mark();
    match change(&mut transaction) {
        Ok(()) => {
            transaction.commit().map_err(failed)?;
            Ok(json!({}))
        }
        Err(refusal) => {
            transaction.rollback(start);
            Err(failed(refusal.alone()))
        }
    }
}

/// Empties the recycle bin and the delete log, as age and volume do.
fn purge(org: &mut Org, now_ms: u64) -> usize {
    let mut purged = 0;
    for table in &mut org.tables {
        let gone: Vec<Id> = table.binned().collect();
        for id in gone {
            table.take(id);
            purged += 1;
        }
    }
    org.deletes_since_ms = moment::whole_seconds(now_ms);
    purged
}

/// Every record, deleted ones too, one JSON object a line in order of id.
fn dump(org: &Org, object: &str, query: &[(String, String)]) -> Answer {
    let Ok(table) = table(org, object) else {
        return problem(404, "there is no such object");
    };
    let table = &org.tables[table];
    let after = parameter(query, "after").and_then(Id::parse);
    let most = parameter(query, "limit").and_then(|most| most.parse().ok());
    let rows = table.rows.from(after.unwrap_or(Id::LEAST));
    let rows = rows.filter(|(id, _)| Some(*id) != after);
    let mut lines = String::new();
    for (id, row) in rows.take(most.unwrap_or(usize::MAX)) {
        lines.push_str(&Value::Object(table.dump(id, row)).to_string());
        lines.push('\n');
    }
    Answer::text(200, "application/x-ndjson", lines)
}

pub(crate) fn records(table: &Table) -> impl Iterator<Item = Value> + '_ {
    table
        .rows
        .iter()
        .map(|(id, row)| Value::Object(table.dump(id, row)))
}

fn journal(org: &Org, query: &[(String, String)]) -> Answer {
    let number = |name| parameter(query, name).and_then(|value| value.parse().ok());
    let after = number("after").unwrap_or(0);
    let most = number("limit").unwrap_or(u64::MAX);
    match org.journal.lines(after, most) {
        Ok(lines) => Answer::text(200, "application/x-ndjson", lines),
        Err(error) => problem(500, &format!("the journal can't be read: {error}")),
    }
}

fn parameter<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = query.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| value.as_str())
}

fn table(org: &Org, object: &str) -> Result<usize, AdminError> {
    org.table(object)
        .map_err(|_| AdminError::Object(object.to_owned()))
}

fn id(value: &Value) -> Result<Id, AdminError> {
    value
        .as_str()
        .and_then(Id::parse)
        .ok_or_else(|| AdminError::Request(format!("{value} is not a record id")))
}

fn ids(value: &Value) -> Result<Vec<Id>, AdminError> {
    value
        .as_array()
        .map(|ids| ids.iter().map(id).collect())
        .unwrap_or_else(|| {
            Err(AdminError::Request(
                "a list of record ids is needed".to_owned(),
            ))
        })
}
