//! The stream of changes: outbox rows after the cursor, each with its record as it is now.
//!
//! A stream reads and deletes the rows of its own tables only: others may stand elsewhere, or not have begun.
//! What the cursor covers is durable at the host and is deleted from the outbox after a while (invariant 1), all but
//! the row that the cursor names: it, or a newer row of its record, must be found again. If it is not, the database
//! has another history than the host knows, and the page says so.

use std::collections::HashMap;

use tidegate_sdk::{Fault, FaultKind, Selection};

use crate::cursor;
use crate::database::{
    Class, Database, Rows, Statement, Value, fetch_all, fetch_one, is_too_large,
};
use crate::lookup;
use crate::outbox;
use crate::prepare;
use crate::quoting::{literal, name};
use crate::record::{self, Changes, Reader, Record};
use crate::schema::{self, Table};
use crate::settings::Settings;
use crate::version;

/// One answer of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub changes: Vec<Changes>,
    pub cursor: Vec<u8>,
    pub more: bool,
    pub gap: Option<String>,
}

/// One row of the outbox.
#[derive(Clone, Debug)]
struct Entry {
    seq: i64,
    object: i64,
    /// `None` when a damaged key gave no text.
    id: Option<String>,
    at: i64,
}

/// All that one round of questions tells.
struct Seen {
    identity: String,
    /// Old rows of these tables stand before the cursor.
    stale: bool,
    seq_max: i64,
    /// The cursor's row is there, or a newer row of the same record.
    anchored: bool,
    entries: Vec<Entry>,
    numbers: HashMap<String, i64>,
    /// Names of our triggers, with the tables they sit on.
    triggers: Vec<(String, String)>,
    tables: Vec<Table>,
}

pub fn pull(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
    cursor: Option<&[u8]>,
    rows_max: u32,
    now_ms: i64,
) -> Result<Page, Fault> {
    let known: Option<cursor::Changes> = cursor.and_then(cursor::decode);
    let unreadable = cursor.is_some() && known.is_none();
    let start = known.clone().unwrap_or_default();
    let old_ms = now_ms.saturating_sub(version::KEPT_MS);
    let mut seen = look(database, settings, selections, &start, rows_max, old_ms)?;
    let mut gaps = Vec::new();
    if unreadable {
        gaps.push("the stored position is not one of this plugin's".to_owned());
    } else if known.is_some() {
        gaps.extend(lost_place(&start, &seen));
    }
    gaps.extend(repaired(database, settings, selections, &seen)?);
    if known.is_none() && !unreadable {
        // From now on. The outbox may hold older rows; the snapshot brings their records.
        seen.entries = newest(database, settings, selections)?;
        return Ok(first_page(&seen, gaps));
    }
    if unreadable || lost_place(&start, &seen).is_some() {
        // Everything that the outbox still holds is reported, so that as little as possible is left to the
        // comparison of both sides.
        let anew = cursor::Changes::default();
        seen = look(database, settings, selections, &anew, rows_max, old_ms)?;
        return page(database, settings, selections, anew, seen, rows_max, gaps);
    }
    if seen.stale {
        forget(database, settings, selections, start.seq, old_ms);
    }
    page(database, settings, selections, start, seen, rows_max, gaps)
}

/// Why the cursor's place can't be found in this database.
fn lost_place(start: &cursor::Changes, seen: &Seen) -> Option<String> {
    if start.identity != seen.identity {
        return Some(
            "this is another database than before, or its outbox was made anew".to_owned(),
        );
    }
    if start.seq > 0 && (seen.seq_max < start.seq || !seen.anchored) {
        return Some(
            "the outbox does not hold the change that was read last: the database was restored from a \
             backup, or rows of the outbox were deleted"
                .to_owned(),
        );
    }
    None
}

fn look(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
    start: &cursor::Changes,
    rows_max: u32,
    old_ms: i64,
) -> Result<Seen, Fault> {
    let objects: Vec<String> = selections
        .iter()
        .map(|selection| selection.object.clone())
        .collect();
    let mut statements = schema::statements(settings, &objects);
    statements.extend(questions(settings, selections, start, rows_max, old_ms));
    let mut answers = fetch_all(database, statements).map_err(unprepared)?;
    let rest = answers.split_off(schema::STATEMENTS);
    let [head, entries, meta, triggers] = rest.as_slice() else {
        return Err(crate::database::miscounted(4, rest.len()));
    };
    let tables = schema::assemble(settings, &objects, &answers);
    let mut numbers = HashMap::new();
    let mut identity = String::new();
    for row in &meta.rows {
        match row[0].text().strip_prefix(outbox::NUMBER_PREFIX) {
            Some(table) => {
                if let Ok(number) = row[1].text().parse() {
                    numbers.insert(table.to_owned(), number);
                }
            }
            None if row[0].text() == "identity" => identity = row[1].text().to_owned(),
            None => {}
        }
    }
    let head = head.rows.first().map_or(&[] as &[Value], Vec::as_slice);
    let number = |at: usize| head.get(at).and_then(Value::integer);
    Ok(Seen {
        identity,
        stale: number(0) == Some(1),
        seq_max: number(1).unwrap_or(0),
        anchored: number(2) == Some(1),
        entries: read_entries(entries),
        numbers,
        triggers: triggers
            .rows
            .iter()
            .map(|row| (row[0].text().to_owned(), row[1].text().to_owned()))
            .collect(),
        tables,
    })
}

/// Only rows of these tables. The plus keeps SQLite to the order of the sequence, in which the first rows are
/// found at once, however many others there are of a table.
fn theirs(settings: &Settings, selections: &[Selection]) -> String {
    let keys: Vec<String> = selections
        .iter()
        .map(|selection| literal(&outbox::number_key(&selection.object)))
        .collect();
    format!(
        "+object IN (SELECT CAST(value AS INTEGER) FROM {} WHERE key IN ({}))",
        name(&settings.meta()),
        keys.join(", ")
    )
}

fn questions(
    settings: &Settings,
    selections: &[Selection],
    start: &cursor::Changes,
    rows_max: u32,
    old_ms: i64,
) -> Vec<Statement> {
    use Class::{Integer, Text};
    let outbox = name(&settings.outbox);
    let theirs = theirs(settings, selections);
    let prefix = outbox::trigger_prefix(settings);
    vec![
        Statement::once(
            format!(
                "SELECT EXISTS (SELECT 1 FROM {outbox} WHERE seq < ?1 AND at < ?5 AND {theirs}), \
                 (SELECT max(seq) FROM {outbox}), \
                 coalesce((SELECT object = ?2 AND ?3 IN (id, '') AND at = ?4 FROM {outbox} \
                 WHERE seq = ?1), \
                 EXISTS (SELECT 1 FROM {outbox} WHERE object = ?2 AND id = ?3 AND seq > ?1))"
            ),
            vec![
                Value::Integer(start.seq),
                Value::Integer(start.object),
                Value::from(start.id.as_str()),
                Value::Integer(start.at),
                Value::Integer(old_ms),
            ],
            &[Integer, Integer, Integer],
        ),
        Statement::once(
            format!(
                "SELECT {ENTRY} FROM {outbox} WHERE seq > ?1 AND {theirs} ORDER BY seq LIMIT ?2"
            ),
            vec![
                Value::Integer(start.seq),
                Value::Integer(i64::from(rows_max)),
            ],
            &ENTRY_CLASSES,
        ),
        Statement::once(
            format!("SELECT key, value FROM {}", name(&settings.meta())),
            vec![],
            &[Text, Text],
        ),
        Statement::once(
            "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' \
             AND substr(name, 1, length(?1)) = ?1",
            vec![Value::from(prefix.as_str())],
            &[Text, Text],
        ),
    ]
}

const ENTRY: &str = "seq, object, CAST(id AS BLOB), at";
const ENTRY_CLASSES: [Class; 4] = [Class::Integer, Class::Integer, Class::Blob, Class::Integer];

fn read_entries(rows: &Rows) -> Vec<Entry> {
    rows.rows
        .iter()
        .filter_map(|row| {
            Some(Entry {
                seq: row[0].integer()?,
                object: row[1].integer()?,
                id: record::text(&row[2]),
                at: row[3].integer()?,
            })
        })
        .collect()
}

fn newest(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
) -> Result<Vec<Entry>, Fault> {
    let statement = Statement::once(
        format!(
            "SELECT {ENTRY} FROM {} WHERE {} ORDER BY seq DESC LIMIT 1",
            name(&settings.outbox),
            theirs(settings, selections)
        ),
        vec![],
        &ENTRY_CLASSES,
    );
    Ok(read_entries(&fetch_one(database, statement)?))
}

fn first_page(seen: &Seen, gaps: Vec<String>) -> Page {
    let before = cursor::Changes {
        identity: seen.identity.clone(),
        ..cursor::Changes::default()
    };
    Page {
        cursor: cursor::encode(&advanced(before, &seen.entries)),
        gap: joined(gaps),
        ..Page::default()
    }
}

fn advanced(start: cursor::Changes, entries: &[Entry]) -> cursor::Changes {
    match entries.last() {
        None => start,
        Some(entry) => cursor::Changes {
            seq: entry.seq,
            object: entry.object,
            id: entry.id.clone().unwrap_or_default(),
            at: entry.at,
            ..start
        },
    }
}

/// Deletes what the host has, and no write on its way may need any more. A row whose record changed again has a number above the cursor's and stays.
/// Failing to is no harm: the rows are few, and the next pull tries again.
fn forget(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
    seq: i64,
    old_ms: i64,
) {
    let statement = Statement {
        idempotent: true,
        ..Statement::once(
            format!(
                "DELETE FROM {} WHERE seq < ?1 AND at < ?2 AND {}",
                name(&settings.outbox),
                theirs(settings, selections)
            ),
            vec![Value::Integer(seq), Value::Integer(old_ms)],
            &[],
        )
    };
    for answer in database.write(vec![statement]) {
        if let Err(fault) = answer {
            database.warn(&format!(
                "the outbox could not be trimmed ({}); the next pull tries again",
                fault.code
            ));
        }
    }
}

fn page(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
    start: cursor::Changes,
    mut seen: Seen,
    rows_max: u32,
    gaps: Vec<String>,
) -> Result<Page, Fault> {
    let mut more = seen.entries.len() >= rows_max as usize;
    let changes = loop {
        match records(database, settings, selections, &seen) {
            // Large records: a shorter page, and the next one goes on behind it.
            Err(fault) if is_too_large(&fault) && seen.entries.len() > 1 => {
                seen.entries.truncate(seen.entries.len() / 2);
                more = true;
            }
            other => break other?,
        }
    };
    if seen.entries.iter().any(|entry| entry.id.is_none()) {
        database.warn("a changed row has a key that is not text; correct it, it is left out");
    }
    let start = cursor::Changes {
        identity: seen.identity.clone(),
        ..start
    };
    Ok(Page {
        changes,
        cursor: cursor::encode(&advanced(start, &seen.entries)),
        more,
        gap: joined(gaps),
    })
}

/// The records of all entries, table by table.
fn records(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
    seen: &Seen,
) -> Result<Vec<Changes>, Fault> {
    let mut changes = Vec::new();
    for selection in selections {
        let table = seen
            .tables
            .iter()
            .find(|table| table.name == selection.object);
        let (Some(table), Some(number)) = (table, seen.numbers.get(&selection.object)) else {
            continue;
        };
        let entries: Vec<&Entry> = seen
            .entries
            .iter()
            .filter(|entry| entry.object == *number && entry.id.is_some())
            .collect();
        let Some(reader) = Reader::new(table, &selection.fields, settings.timestamps) else {
            continue;
        };
        if !entries.is_empty() {
            changes.push(current(database, settings, &reader, &entries)?);
        }
    }
    Ok(changes)
}

/// The records as they are now. One that is not found is gone; if it comes back, a later entry tells.
fn current(
    database: &dyn Database,
    settings: &Settings,
    reader: &Reader<'_>,
    entries: &[&Entry],
) -> Result<Changes, Fault> {
    let ids: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.id.clone())
        .collect();
    let mut found = lookup::by_id(database, settings, reader, &ids)?;
    let records = entries
        .iter()
        .zip(ids)
        .map(|(entry, id)| {
            let record = found.remove(&id);
            let record = record.unwrap_or_else(|| reader.gone(id, version::text(entry.seq)));
            Record {
                committed: entry.at.saturating_mul(1_000),
                ..record
            }
        })
        .collect();
    Ok(reader.changes(records))
}

/// A table that was made anew (as migrations do) has lost its triggers without a word. They are put back, and
/// what happened meanwhile is for the host to find.
fn repaired(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
    seen: &Seen,
) -> Result<Option<String>, Fault> {
    let mut bare = Vec::new();
    for selection in selections {
        let Some(table) = seen
            .tables
            .iter()
            .find(|table| table.name == selection.object)
        else {
            database.warn(&format!(
                "table {} is gone or hidden; nothing is captured from it",
                selection.object
            ));
            continue;
        };
        let watched = seen.numbers.get(&table.name).is_some_and(|number| {
            outbox::EVENTS.iter().all(|event| {
                let name = outbox::trigger_name(settings, *number, event);
                seen.triggers
                    .iter()
                    .any(|(found, on)| *found == name && *on == table.name)
            })
        });
        if !watched && table.key.is_some() {
            bare.push((table.clone(), selection.fields.clone()));
        }
    }
    if bare.is_empty() {
        return Ok(None);
    }
    prepare::repair(database, settings, &bare)?;
    let names: Vec<&str> = bare.iter().map(|(table, _)| table.name.as_str()).collect();
    Ok(Some(format!(
        "{} had no triggers, as after a migration that makes a table anew; they are in place again",
        names.join(", ")
    )))
}

fn joined(gaps: Vec<String>) -> Option<String> {
    (!gaps.is_empty()).then(|| gaps.join("; "))
}

fn unprepared(fault: Fault) -> Fault {
    if fault.kind != FaultKind::Missing {
        return fault;
    }
    Fault::missing(
        "not-prepared",
        format!(
            "the outbox is not in the database ({}); prepare the endpoint again",
            fault.message
        ),
    )
}
