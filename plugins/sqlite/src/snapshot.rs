//! The stream of a snapshot: every row once, table after table, in the order of the primary key, so that it goes
//! on wherever it was broken off.

use tidegate_sdk::{Fault, Selection};

use crate::changes::Page;
use crate::cursor;
use crate::database::{Database, Statement, Value, fetch_one, is_too_large};
use crate::lookup::{no_key, no_table};
use crate::quoting;
use crate::record::{Misfits, Reader, Record};
use crate::schema;
use crate::settings::Settings;

pub fn pull(
    database: &dyn Database,
    settings: &Settings,
    selections: &[Selection],
    cursor: Option<&[u8]>,
    rows_max: u32,
) -> Result<Page, Fault> {
    let mut place = match cursor {
        Some(bytes) => cursor::decode(bytes).ok_or_else(foreign)?,
        None => start(selections.first()),
    };
    let objects: Vec<String> = selections
        .iter()
        .map(|wanted| wanted.object.clone())
        .collect();
    let tables = schema::describe(database, settings, &objects)?;
    let mut page = Page::default();
    let mut room = rows_max.max(1) as usize;
    while room > 0 && !place.object.is_empty() {
        let at = selections
            .iter()
            .position(|wanted| wanted.object == place.object)
            .ok_or_else(foreign)?;
        let table = tables.iter().find(|table| table.name == place.object);
        let table = table.ok_or_else(|| no_table(&place.object))?;
        let reader = Reader::new(table, &selections[at].fields, settings.timestamps)
            .ok_or_else(|| no_key(&table.name))?;
        let (records, full) =
            match stretch(database, settings, &reader, place.after.as_deref(), room) {
                // Large records: a shorter page.
                Err(fault) if is_too_large(&fault) && room > 1 => {
                    room /= 2;
                    continue;
                }
                stretch => stretch?,
            };
        room = room.saturating_sub(records.len());
        place = match records.last() {
            Some(last) if full => cursor::Snapshot {
                after: Some(last.id.clone()),
                ..place
            },
            _ => start(selections.get(at + 1)),
        };
        if !records.is_empty() {
            page.changes.push(reader.changes(records));
        }
    }
    page.more = !place.object.is_empty();
    page.cursor = cursor::encode(&place);
    Ok(page)
}

fn start(selection: Option<&Selection>) -> cursor::Snapshot {
    cursor::Snapshot {
        object: selection.map_or_else(String::new, |selection| selection.object.clone()),
        after: None,
    }
}

/// The next rows of one table, and whether there may be more.
fn stretch(
    database: &dyn Database,
    settings: &Settings,
    reader: &Reader<'_>,
    after: Option<&str>,
    rows_max: usize,
) -> Result<(Vec<Record>, bool), Fault> {
    let names = reader.key.names();
    let mut parameters = match after {
        Some(id) => reader.key.place(id).ok_or_else(foreign)?,
        None => Vec::new(),
    };
    let mut conditions = reader.key.present("");
    if !parameters.is_empty() {
        conditions.push(format!(
            "({}) > ({})",
            names.join(", "),
            quoting::placeholders(parameters.len())
        ));
    }
    let filter = match conditions.as_slice() {
        [] => String::new(),
        conditions => format!(" WHERE {}", conditions.join(" AND ")),
    };
    parameters.push(Value::Integer(rows_max as i64));
    let (selected, classes) = reader.selected_now(settings);
    let sql = format!(
        "SELECT {selected} FROM {}{filter} ORDER BY {} LIMIT ?{}",
        quoting::name(&reader.table.name),
        names.join(", "),
        parameters.len()
    );
    let rows = fetch_one(database, Statement::once(sql, parameters, &classes))?.rows;
    let mut misfits = Misfits::default();
    let records = rows
        .iter()
        .filter_map(|row| reader.read_now(row, &mut misfits))
        .collect();
    misfits.report(database);
    Ok((records, rows.len() >= rows_max))
}

fn foreign() -> Fault {
    Fault::broken(
        "foreign-cursor",
        "the snapshot's stored position does not belong to these tables; start the snapshot anew",
    )
}
