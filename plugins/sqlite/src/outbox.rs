//! What is added to the database: the outbox, a small table beside it, and the triggers that fill it.
//!
//! The outbox holds one row per changed record, however often it changes: (sequence, table number, id, time). A
//! change inserts a row with the next number and takes the record's older row away. The newest row always
//! stays, so the largest number plus one is always fresh and no `AUTOINCREMENT` page is written. SQLite has one
//! writer at a time, so numbers become visible in their order.
//!
//! Triggers run inside other programs, with their SQLite library and their conflict clause (`INSERT OR IGNORE`
//! rules inside triggers as well). So they use nothing newer than version 3.8 and never rely on a conflict.

use crate::key::{Key, LIVES, LIVES_ID, LIVES_OF};
use crate::quoting::{literal, name};
use crate::schema::Table;
use crate::settings::Settings;

/// A trigger as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    /// `insert`, `update`, `rekey` or `delete`.
    pub(crate) event: &'static str,
    /// Exactly as the database keeps it, so that a difference shows.
    pub(crate) sql: String,
}

/// Milliseconds since 1970. `julianday` is the one function that every version has.
const NOW_MS: &str = "CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)";

pub(crate) fn create_outbox(settings: &Settings) -> String {
    format!(
        "CREATE TABLE {} (seq INTEGER PRIMARY KEY, object INTEGER NOT NULL, id TEXT NOT NULL, \
         at INTEGER NOT NULL)",
        name(&settings.outbox)
    )
}

pub(crate) fn index_name(settings: &Settings) -> String {
    format!("{}_record", settings.outbox)
}

pub(crate) fn create_index(settings: &Settings) -> String {
    format!(
        "CREATE INDEX {} ON {} (object, id)",
        name(&index_name(settings)),
        name(&settings.outbox)
    )
}

pub(crate) fn create_meta(settings: &Settings) -> String {
    format!(
        "CREATE TABLE {} (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        name(&settings.meta())
    )
}

/// How often a row number was given up. It is never forgotten: an id must not come back.
pub(crate) fn create_lives(settings: &Settings) -> String {
    format!(
        "CREATE TABLE {} ({LIVES_OF} TEXT NOT NULL, {LIVES_ID} INTEGER NOT NULL, {LIVES} INTEGER NOT NULL, \
         PRIMARY KEY ({LIVES_OF}, {LIVES_ID})) WITHOUT ROWID",
        name(&settings.lives())
    )
}

/// The identity is drawn by the database itself, once.
pub(crate) fn insert_identity(settings: &Settings) -> String {
    format!(
        "INSERT INTO {} SELECT 'identity', lower(hex(randomblob(16)))",
        name(&settings.meta())
    )
}

pub(crate) fn insert_number(settings: &Settings, table: &str, number: i64) -> String {
    format!(
        "INSERT INTO {} VALUES ({}, '{number}')",
        name(&settings.meta()),
        literal(&number_key(table))
    )
}

/// Where a table's number stands in the meta table.
pub(crate) fn number_key(table: &str) -> String {
    format!("{NUMBER_PREFIX}{table}")
}

pub(crate) const NUMBER_PREFIX: &str = "object:";

/// What the names of our triggers begin with.
pub(crate) fn trigger_prefix(settings: &Settings) -> String {
    format!("{}:", settings.outbox)
}

pub(crate) fn trigger_name(settings: &Settings, number: i64, event: &str) -> String {
    format!("{}{number}:{event}", trigger_prefix(settings))
}

pub(crate) const EVENTS: [&str; 4] = ["insert", "update", "rekey", "delete"];

/// The triggers of one table, for the fields that somebody wants to hear of.
pub(crate) fn triggers(
    settings: &Settings,
    number: i64,
    table: &Table,
    key: &Key,
    fields: &[String],
) -> Vec<Trigger> {
    EVENTS
        .into_iter()
        .map(|event| {
            let name_text = trigger_name(settings, number, event);
            let (row, head, mut conditions) = match event {
                "insert" => ("NEW.", "AFTER INSERT".to_owned(), Vec::new()),
                "delete" => ("OLD.", "AFTER DELETE".to_owned(), Vec::new()),
                "rekey" => (
                    "OLD.",
                    format!("AFTER UPDATE OF {}", key.assigned_names().join(", ")),
                    vec![any_changed(&key.names())],
                ),
                _ => (
                    "NEW.",
                    update_head(table, key, fields),
                    vec![any_changed(&watched(table, key, fields))],
                ),
            };
            conditions.extend(key.present(row));
            let when = match conditions.as_slice() {
                [] => String::new(),
                conditions => format!(" WHEN {}", conditions.join(" AND ")),
            };
            let mut body = record(settings, number, &key.id(row));
            if let Some(end) = key.end_life(row).filter(|_| row == "OLD.") {
                body = format!("{body} {end}");
            }
            let sql = format!(
                "CREATE TRIGGER {} {head} ON {}{when} BEGIN {body} END",
                name(&name_text),
                name(&table.name),
            );
            Trigger {
                name: name_text,
                event,
                sql,
            }
        })
        .collect()
}

/// Notes one record. `last_insert_rowid()` is the trigger's own inside a trigger.
fn record(settings: &Settings, number: i64, id: &str) -> String {
    let outbox = name(&settings.outbox);
    format!(
        "INSERT INTO {outbox} (object, id, at) VALUES ({number}, {id}, {NOW_MS}); \
         DELETE FROM {outbox} WHERE object = {number} AND id = {id} AND seq < last_insert_rowid();"
    )
}

/// Names of the key's columns and the demanded ones, in a stable order.
fn watched(table: &Table, key: &Key, fields: &[String]) -> Vec<String> {
    let mut names = key.names();
    for column in &table.columns {
        let quoted = name(&column.name);
        if fields.contains(&column.name) && !names.contains(&quoted) {
            names.push(quoted);
        }
    }
    names
}

/// With a list of columns, SQLite does not even enter the trigger for a statement that assigns none of
/// them. A generated column is never assigned, so that its table is watched whole.
fn update_head(table: &Table, key: &Key, fields: &[String]) -> String {
    let computed =
        |column: &&crate::schema::Column| column.generated && fields.contains(&column.name);
    if table.columns.iter().find(computed).is_some() {
        return "AFTER UPDATE".to_owned();
    }
    let mut names = key.assigned_names();
    for watched in watched(table, key, fields) {
        if !names.contains(&watched) {
            names.push(watched);
        }
    }
    format!("AFTER UPDATE OF {}", names.join(", "))
}

/// A column that ignores case must still show that only case changed.
fn any_changed(names: &[String]) -> String {
    let changed: Vec<String> = names
        .iter()
        .map(|name| format!("OLD.{name} IS NOT NEW.{name} COLLATE BINARY"))
        .collect();
    format!("({})", changed.join(" OR "))
}
