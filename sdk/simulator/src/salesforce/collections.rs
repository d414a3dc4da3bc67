//! Up to 200 records in one call, each with an outcome of its own, in the order they came in.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Refusal, RowError};
use super::call::Call;
use super::cell::Cell;
use super::faults::Fault;
use super::id::Id;
use super::org::Org;
use super::rows::{key_field, record, selected, writable};
use super::transaction::{Began, Transaction};

const ROWS_MAX: usize = 200;
const IDS_MAX: usize = 2_000;
/// Runs of one type in a row, in a call of mixed types.
const CHUNKS_MAX: usize = 10;

type Fields = Map<String, Value>;

/// What a row became.
enum Done {
    Written(Id),
    Upserted(Id, bool),
}

pub(crate) fn collections(org: &mut Org, call: &Call, began: &Began) -> Result<Answer, ApiError> {
    match call.method.as_str() {
        "POST" => {
            let (rows, all_or_none) = body(call)?;
            let tables = types(org, &rows)?;
            run(org, began, all_or_none, rows.len(), |rows_of, place| {
                if rows[place]
                    .keys()
                    .any(|name| name.eq_ignore_ascii_case("id"))
                {
                    let message = "cannot specify Id in an insert call";
                    return Err(
                        RowError::field("INVALID_FIELD_FOR_INSERT_UPDATE", message, "Id").into(),
                    );
                }
                rows_of
                    .create(tables[place], &rows[place])
                    .map(Done::Written)
            })
        }
        "PATCH" => {
            let (rows, all_or_none) = body(call)?;
            let tables = types(org, &rows)?;
            run(org, began, all_or_none, rows.len(), |rows_of, place| {
                let id = own_id(&rows[place])?;
                rows_of.update(tables[place], id, &rows[place])?;
                Ok(Done::Written(id))
            })
        }
        "DELETE" => delete(org, call, began),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn delete(org: &mut Org, call: &Call, began: &Began) -> Result<Answer, ApiError> {
    let ids: Vec<&str> = call
        .parameter("ids")
        .filter(|ids| !ids.is_empty())
        .ok_or_else(|| ApiError::bad("REQUIRED_FIELD_MISSING", "The ids parameter is required"))?
        .split(',')
        .collect();
    check_count(ids.len())?;
    let all_or_none = call.parameter("allOrNone") == Some("true");
    run(org, began, all_or_none, ids.len(), |rows_of, place| {
        let id = Id::parse(ids[place].trim())
            .ok_or_else(|| RowError::new("MALFORMED_ID", format!("bad id {}", ids[place])))?;
        let tables = &rows_of.org.tables;
        let table = tables
            .iter()
            .position(|table| table.object.writable && table.object.holds(id))
            .ok_or_else(|| RowError::new("MALFORMED_ID", format!("bad id {id}")))?;
        rows_of.delete(table, id)?;
        Ok(Done::Written(id))
    })
}

/// `PATCH /composite/sobjects/{object}/{field}`: created or updated by an external id, or by id.
pub(crate) fn upsert(
    org: &mut Org,
    call: &Call,
    began: &Began,
    object: &str,
    field: &str,
) -> Result<Answer, ApiError> {
    if call.method != "PATCH" {
        return Err(ApiError::method_not_allowed());
    }
    let table = writable(org, object)?;
    let (rows, all_or_none) = body(call)?;
    if types(org, &rows)?.iter().any(|found| *found != table) {
        let message = "All records in an upsert must be of the type that the URL names";
        return Err(ApiError::bad("INVALID_TYPE", message));
    }
    if field.eq_ignore_ascii_case("id") {
        return run(org, began, all_or_none, rows.len(), |rows_of, place| {
            if own_text(&rows[place], "Id").is_none() {
                let id = rows_of.create(table, &rows[place])?;
                return Ok(Done::Upserted(id, true));
            }
            let id = own_id(&rows[place])?;
            rows_of.update(table, id, &rows[place])?;
            Ok(Done::Upserted(id, false))
        });
    }
    let (field, cell) = key_field(&org.tables[table], field)?;
    let habits = org.habits();
    let keys: Vec<Result<Cell, Refusal>> = rows
        .iter()
        .map(|row| {
            let value = own(row, &field.name).unwrap_or(&Value::Null);
            Cell::read(&field, value, habits)
        })
        .collect();
    let twice = repeated(&keys);
    run(org, began, all_or_none, rows.len(), |rows_of, place| {
        let key = keys[place].clone()?;
        let Some(filed) = key.key() else {
            let message = format!("{} not specified", field.name);
            return Err(RowError::field("MISSING_ARGUMENT", message, &field.name).into());
        };
        if twice.contains(&filed) {
            let message = format!("Duplicate external id specified: {filed}");
            return Err(RowError::field("DUPLICATE_VALUE", message, &field.name).into());
        }
        match rows_of.org.tables[table].holders(cell, &key) {
            [] => Ok(Done::Upserted(rows_of.create(table, &rows[place])?, true)),
            [id] => {
                let id = *id;
                rows_of.update(table, id, &rows[place])?;
                Ok(Done::Upserted(id, false))
            }
            many => {
                let ids: Vec<String> = many.iter().map(Id::to_string).collect();
                let message = format!(
                    "{}: more than one record found for external id field: [{}]",
                    field.name,
                    ids.join(", ")
                );
                Err(RowError::field("DUPLICATE_EXTERNAL_ID", message, &field.name).into())
            }
        }
    })
}

/// Reads many by id; a missing one leaves a null in its place.
pub(crate) fn retrieve(org: &mut Org, call: &Call, object: &str) -> Result<Answer, ApiError> {
    let table = org.table(object)?;
    let (ids, fields) = match call.method.as_str() {
        "GET" => {
            let list = |name| -> Vec<String> {
                let text: &str = call.parameter(name).unwrap_or_default();
                text.split(',').map(str::to_owned).collect()
            };
            (list("ids"), list("fields"))
        }
        "POST" => {
            let body = call.json()?;
            let list = |name: &str| -> Result<Vec<String>, ApiError> {
                serde_json::from_value(body[name].clone()).map_err(|_| {
                    ApiError::bad(
                        "JSON_PARSER_ERROR",
                        format!("{name} has to be a list of texts"),
                    )
                })
            };
            (list("ids")?, list("fields")?)
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    if ids.len() > IDS_MAX {
        let message = format!(
            "record limit reached. cannot submit more than {IDS_MAX} records in this request"
        );
        return Err(ApiError::bad("EXCEEDED_ID_LIMIT", message));
    }
    let found = &org.tables[table];
    let fields = selected(found, fields.iter().map(String::as_str))?;
    let mut records: Vec<Value> = Vec::with_capacity(ids.len());
    for text in &ids {
        let id = Id::parse(text)
            .ok_or_else(|| ApiError::bad("MALFORMED_ID", format!("malformed id {text}")))?;
        let live = found.rows.get(&id).is_some_and(|row| row.live());
        records.push(if live {
            record(found, id, &fields, call)
        } else {
            Value::Null
        });
    }
    miscount(org, &mut records);
    Ok(Answer::json(200, Value::Array(records)))
}

/// Writes row by row; the answer is 200 whatever became of the rows.
fn run(
    org: &mut Org,
    began: &Began,
    all_or_none: bool,
    count: usize,
    mut write: impl FnMut(&mut Transaction<'_>, usize) -> Result<Done, Refusal>,
) -> Result<Answer, ApiError> {
    let mut transaction = Transaction::new(org, began);
    let start = transaction.mark();
    let mut outcomes = Vec::with_capacity(count);
    for place in 0..count {
        let before = transaction.mark();
        match write(&mut transaction, place) {
            Ok(done) => outcomes.push(Ok(done)),
            Err(Refusal::Row(error)) => {
                transaction.rollback(before);
                outcomes.push(Err(error));
            }
            Err(Refusal::Call(error)) => {
                transaction.rollback(start);
                return Err(error);
            }
        }
    }
    if all_or_none && outcomes.iter().any(Result::is_err) {
        transaction.rollback(start);
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = Err(rolled_back());
        }
    }
    transaction.commit()?;
    let mut answers: Vec<Value> = outcomes.into_iter().map(outcome).collect();
    miscount(org, &mut answers);
    Ok(Answer::json(200, Value::Array(answers)))
}

fn outcome(outcome: Result<Done, RowError>) -> Value {
    match outcome {
        Ok(Done::Written(id)) => json!({"id": id.to_string(), "success": true, "errors": []}),
        Ok(Done::Upserted(id, created)) => {
            json!({"id": id.to_string(), "success": true, "errors": [], "created": created})
        }
        Err(error) => json!({"success": false, "errors": [error]}),
    }
}

/// The fault `wrong-rows`: one answer too few, or one too many.
fn miscount(org: &mut Org, answers: &mut Vec<Value>) {
    if !org.faults.strikes(Fault::WrongRows) {
        return;
    }
    match answers.last().cloned() {
        Some(last) if org.faults.draw(2) == 0 => answers.push(last),
        _ => {
            answers.pop();
        }
    }
}

fn body(call: &Call) -> Result<(Vec<Fields>, bool), ApiError> {
    let mut body = call.json()?;
    let Value::Array(records) = body["records"].take() else {
        let message = "The request has no list of records";
        return Err(ApiError::bad("JSON_PARSER_ERROR", message));
    };
    check_count(records.len())?;
    let all_or_none = body["allOrNone"].as_bool().unwrap_or(false);
    let rows = records
        .into_iter()
        .map(|record| match record {
            Value::Object(fields) => Ok(fields),
            _ => Err(ApiError::bad(
                "JSON_PARSER_ERROR",
                "A record has to be an object",
            )),
        })
        .collect::<Result<_, _>>()?;
    Ok((rows, all_or_none))
}

fn check_count(rows: usize) -> Result<(), ApiError> {
    if rows <= ROWS_MAX {
        return Ok(());
    }
    let message =
        format!("record limit reached. cannot submit more than {ROWS_MAX} records into this call");
    Err(ApiError::bad("EXCEEDED_MAX_SIZE_REQUEST", message))
}

/// The table of each row, by its `attributes.type`.
fn types(org: &Org, rows: &[Fields]) -> Result<Vec<usize>, ApiError> {
    let mut tables = Vec::with_capacity(rows.len());
    let mut chunks = 0;
    for row in rows {
        let name = row
            .get("attributes")
            .and_then(|attributes| attributes["type"].as_str())
            .ok_or_else(|| {
                let message = "Object type must be specified in the attributes of each record";
                ApiError::bad("INVALID_TYPE", message)
            })?;
        let table = writable(org, name).map_err(|_| {
            ApiError::bad(
                "INVALID_TYPE",
                format!("sObject type '{name}' is not supported"),
            )
        })?;
        chunks += usize::from(tables.last() != Some(&table));
        tables.push(table);
    }
    if chunks > CHUNKS_MAX {
        let message = format!("Cannot have more than {CHUNKS_MAX} chunks in a single operation");
        return Err(ApiError::bad("LIMIT_EXCEEDED", message));
    }
    Ok(tables)
}

fn own<'a>(row: &'a Fields, name: &str) -> Option<&'a Value> {
    row.iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn own_text<'a>(row: &'a Fields, name: &str) -> Option<&'a str> {
    own(row, name).and_then(Value::as_str)
}

fn own_id(row: &Fields) -> Result<Id, RowError> {
    let text = own_text(row, "Id")
        .ok_or_else(|| RowError::new("MISSING_ARGUMENT", "Id not specified in an update call"))?;
    Id::parse(text).ok_or_else(|| RowError::new("MALFORMED_ID", format!("bad id {text}")))
}

/// Keys that more than one row of the call has.
fn repeated(keys: &[Result<Cell, Refusal>]) -> HashSet<Box<str>> {
    let mut seen: HashMap<Box<str>, usize> = HashMap::new();
    for key in keys.iter().filter_map(|key| key.as_ref().ok()?.key()) {
        *seen.entry(key).or_default() += 1;
    }
    seen.into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(key, _)| key)
        .collect()
}

fn rolled_back() -> RowError {
    RowError::new(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone \
         header",
    )
}
