//! Reading records by id or by the value of a column.

use std::collections::HashMap;

use tidegate_sdk::{DataType, Fault};

use crate::database::{Database, Statement, Value, fetch_all};
use crate::quoting;
use crate::record::{Changes, Misfits, Reader, Record};
use crate::schema;
use crate::settings::Settings;

/// Records as they are now. What is not in the answer does not exist.
pub fn read(
    database: &dyn Database,
    settings: &Settings,
    object: &str,
    fields: &[String],
    by: Option<&str>,
    keys: &[Vec<u8>],
) -> Result<Changes, Fault> {
    let tables = schema::describe(database, settings, &[object.to_owned()])?;
    let table = tables.first().ok_or_else(|| no_table(object))?;
    let mut fields = fields.to_vec();
    if let Some(by) = by
        && !fields.iter().any(|field| field == by)
    {
        fields.push(by.to_owned());
    }
    let reader = Reader::new(table, &fields, settings.timestamps).ok_or_else(|| no_key(object))?;
    let records = match by {
        None => {
            let ids: Vec<String> = keys
                .iter()
                .filter_map(|key| String::from_utf8(key.clone()).ok())
                .collect();
            let mut found = by_id(database, settings, &reader, &ids)?;
            ids.iter().filter_map(|id| found.remove(id)).collect()
        }
        Some(by) => by_column(database, settings, &reader, by, keys)?,
    };
    Ok(reader.changes(records))
}

/// The rows of these ids. An id is the row's only when its text is the same: where a key ignores case, asking
/// for `Bob` finds `bob`, which is another id.
pub(crate) fn by_id(
    database: &dyn Database,
    settings: &Settings,
    reader: &Reader<'_>,
    ids: &[String],
) -> Result<HashMap<String, Record>, Fault> {
    let keys: Vec<Vec<Value>> = ids.iter().filter_map(|id| reader.key.parse(id)).collect();
    let (selected, classes) = reader.selected_now(settings);
    let sql = format!(
        "SELECT {selected} FROM {} WHERE {}",
        quoting::name(&reader.table.name),
        reader.key.equals(1)
    );
    let statements = by_class(keys)
        .into_iter()
        .map(|keys| Statement::each(sql.clone(), keys, &classes))
        .collect();
    let rows = rows(database, reader, statements)?.into_iter();
    Ok(rows.map(|record| (record.id.clone(), record)).collect())
}

fn by_column(
    database: &dyn Database,
    settings: &Settings,
    reader: &Reader<'_>,
    by: &str,
    keys: &[Vec<u8>],
) -> Result<Vec<Record>, Fault> {
    let column = reader.table.column(by).ok_or_else(|| {
        Fault::config(
            "no-such-column",
            format!("table {} has no column {by}", reader.table.name),
        )
    })?;
    // SQLite converts text to the column's affinity before it compares.
    let keys: Vec<Vec<Value>> = keys
        .iter()
        .filter_map(|key| match column.kind {
            DataType::Bytes => Some(Value::Blob(key.clone())),
            _ => String::from_utf8(key.clone()).ok().map(Value::Text),
        })
        .map(|value| vec![value])
        .collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (selected, classes) = reader.selected_now(settings);
    let mut conditions = vec![format!("{} = ?1", quoting::name(by))];
    conditions.extend(reader.key.present(""));
    let sql = format!(
        "SELECT {selected} FROM {} WHERE {}",
        quoting::name(&reader.table.name),
        conditions.join(" AND ")
    );
    rows(database, reader, vec![Statement::each(sql, keys, &classes)])
}

fn rows(
    database: &dyn Database,
    reader: &Reader<'_>,
    statements: Vec<Statement>,
) -> Result<Vec<Record>, Fault> {
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let mut misfits = Misfits::default();
    let read = fetch_all(database, statements)?
        .iter()
        .flat_map(|answer| &answer.rows)
        .filter_map(|row| reader.read_now(row, &mut misfits))
        .collect();
    misfits.report(database);
    Ok(read)
}

/// Parameters of one statement are columns of one type each: splits executions that differ in that.
pub(crate) fn by_class(executions: Vec<Vec<Value>>) -> Vec<Vec<Vec<Value>>> {
    let classes = |execution: &[Value]| execution.iter().map(Value::class).collect::<Vec<_>>();
    let mut groups: Vec<Vec<Vec<Value>>> = Vec::new();
    for execution in executions {
        let mine = classes(&execution);
        match groups.iter_mut().find(|group| classes(&group[0]) == mine) {
            Some(group) => group.push(execution),
            None => groups.push(vec![execution]),
        }
    }
    groups
}

pub(crate) fn no_table(object: &str) -> Fault {
    Fault::missing(
        "no-such-table",
        format!("the database has no table {object}, or the endpoint's config hides it"),
    )
}

pub(crate) fn no_key(object: &str) -> Fault {
    Fault::config(
        "no-key",
        format!(
            "{object} is a view or hides its row number, so its rows can't be named; give it a primary key"
        ),
    )
}
