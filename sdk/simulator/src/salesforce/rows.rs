//! Calls for one record: by id, and by an external id.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Refusal, RowError};
use super::call::Call;
use super::cell::Cell;
use super::id::Id;
use super::org::Org;
use super::schema::{Field, Source};
use super::table::Table;
use super::transaction::{Began, Transaction};

pub(crate) fn create(
    org: &mut Org,
    call: &Call,
    began: &Began,
    object: &str,
) -> Result<Answer, ApiError> {
    let table = writable(org, object)?;
    let fields = body(call)?;
    let name = org.tables[table].object.name.clone();
    let id = single(org, began, |rows| rows.create(table, &fields))?.to_string();
    let location = call.row_url(&name, &id);
    let body = json!({"id": id, "success": true, "errors": []});
    Ok(Answer::json(201, body).with("location", location))
}

pub(crate) fn row(
    org: &mut Org,
    call: &Call,
    began: &Began,
    object: &str,
    id: &str,
) -> Result<Answer, ApiError> {
    let table = org.table(object)?;
    let id = Id::parse(id).ok_or_else(|| {
        let message =
            format!("Provided external ID field does not exist or is not accessible: {id}");
        ApiError::new(404, "NOT_FOUND", message)
    })?;
    match call.method.as_str() {
        "GET" | "HEAD" => get(org, call, table, id),
        "PATCH" => {
            writable(org, object)?;
            let fields = body(call)?;
            exists(org, table, id)?;
            single(org, began, |rows| rows.update(table, id, &fields))?;
            Ok(Answer::empty(204))
        }
        "DELETE" => {
            writable(org, object)?;
            exists(org, table, id)?;
            single(org, began, |rows| rows.delete(table, id))?;
            Ok(Answer::empty(204))
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// By the value of an external id: `GET`, upsert by `PATCH`, `DELETE`.
pub(crate) fn external(
    org: &mut Org,
    call: &Call,
    began: &Began,
    (object, field, value): (&str, &str, &str),
) -> Result<Answer, ApiError> {
    let table = org.table(object)?;
    let (field, cell) = key_field(&org.tables[table], field)?;
    let key = Cell::read(&field, &json!(value), org.habits()).map_err(Refusal::alone)?;
    let holders = org.tables[table].holders(cell, &key).to_vec();
    if holders.len() > 1 {
        let name = &org.tables[table].object.name;
        let urls: Vec<String> = holders
            .iter()
            .map(|id| call.row_url(name, &id.to_string()))
            .collect();
        return Ok(Answer::json(300, json!(urls)));
    }
    let found = holders.first().copied();
    match (call.method.as_str(), found) {
        ("GET" | "HEAD", Some(id)) => get(org, call, table, id),
        ("DELETE", Some(id)) => {
            single(org, began, |rows| rows.delete(table, id))?;
            Ok(Answer::empty(204))
        }
        ("PATCH", _) => {
            writable(org, object)?;
            let mut fields = body(call)?;
            if fields
                .keys()
                .any(|name| name.eq_ignore_ascii_case(&field.name))
            {
                let message = format!(
                    "The {} field should not be specified in the sobject data.",
                    field.name
                );
                return Err(ApiError::bad("INVALID_FIELD", message));
            }
            let update_only = call.parameter("updateOnly") == Some("true");
            if found.is_none() && update_only {
                return Err(ApiError::missing());
            }
            fields.insert(field.name.clone(), json!(value));
            upserted(org, began, table, found, &fields)
        }
        ("GET" | "HEAD" | "DELETE", None) => Err(ApiError::missing()),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn upserted(
    org: &mut Org,
    began: &Began,
    table: usize,
    found: Option<Id>,
    fields: &Map<String, Value>,
) -> Result<Answer, ApiError> {
    let id = single(org, began, |rows| match found {
        Some(id) => rows.update(table, id, fields).map(|()| id),
        None => rows.create(table, fields),
    })?;
    let created = found.is_none();
    let body = json!({"id": id.to_string(), "success": true, "errors": [], "created": created});
    Ok(Answer::json(if created { 201 } else { 200 }, body))
}

fn get(org: &Org, call: &Call, table: usize, id: Id) -> Result<Answer, ApiError> {
    exists(org, table, id)?;
    let table = &org.tables[table];
    let fields = match call.parameter("fields") {
        Some(names) => selected(table, names.split(','))?,
        None => table.object.visible().cloned().collect(),
    };
    Ok(Answer::json(200, record(table, id, &fields, call)))
}

/// A record as reads answer it, with its attributes.
pub(crate) fn record(table: &Table, id: Id, fields: &[Field], call: &Call) -> Value {
    let name = &table.object.name;
    let url = call.row_url(name, &id.to_string());
    let mut record = Map::new();
    record.insert("attributes".to_owned(), json!({"type": name, "url": url}));
    let row = &table.rows[&id];
    for field in fields {
        record.insert(field.name.clone(), Table::json(id, row, field));
    }
    Value::Object(record)
}

pub(crate) fn selected<'a>(
    table: &Table,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<Field>, ApiError> {
    names
        .map(|name| {
            table.object.field(name.trim()).cloned().ok_or_else(|| {
                let message = format!(
                    "No such column '{name}' on sobject of type {}",
                    table.object.name
                );
                ApiError::bad("INVALID_FIELD", message)
            })
        })
        .collect()
}

fn exists(org: &Org, table: usize, id: Id) -> Result<(), ApiError> {
    match org.tables[table].rows.get(&id) {
        Some(row) if row.live() => Ok(()),
        Some(_) => Err(RowError::new("ENTITY_IS_DELETED", "entity is deleted").alone()),
        None => Err(ApiError::missing()),
    }
}

/// A field that upserts may go by.
pub(crate) fn key_field(table: &Table, name: &str) -> Result<(Field, usize), ApiError> {
    let found = table.object.field(name).filter(|field| field.external_id);
    match found.map(|field| (field, field.source)) {
        Some((field, Source::Cell(cell))) => Ok((field.clone(), cell)),
        _ => {
            let message =
                format!("Provided external ID field does not exist or is not accessible: {name}");
            Err(ApiError::new(404, "NOT_FOUND", message))
        }
    }
}

pub(crate) fn writable(org: &Org, object: &str) -> Result<usize, ApiError> {
    let table = org.table(object)?;
    if org.tables[table].object.writable {
        return Ok(table);
    }
    let message = format!("entity type {object} does not support this operation");
    Err(ApiError::new(
        403,
        "INSUFFICIENT_ACCESS_OR_READONLY",
        message,
    ))
}

fn body(call: &Call) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(fields) = call.json()? else {
        let message = "The HTTP entity body is required to be a JSON object";
        return Err(ApiError::bad("JSON_PARSER_ERROR", message));
    };
    if fields.keys().any(|name| name.eq_ignore_ascii_case("id")) {
        let message = "The Id field should not be specified in the sobject data.";
        let mut error = ApiError::bad("INVALID_FIELD", message);
        error.fields.push("Id".to_owned());
        return Err(error);
    }
    Ok(fields)
}

/// One row in a transaction of its own.
fn single<T>(
    org: &mut Org,
    began: &Began,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<T, Refusal>,
) -> Result<T, ApiError> {
    let mut transaction = Transaction::new(org, began);
    let start = transaction.mark();
    match write(&mut transaction) {
        Ok(done) => {
            transaction.commit()?;
            Ok(done)
        }
        Err(refusal) => {
            transaction.rollback(start);
            Err(refusal.alone())
        }
    }
}
