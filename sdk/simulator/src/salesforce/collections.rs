//! Up to 200 records in one call, each with an outcome of its own, in the order they came in.

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, RowError};
use super::batch::{self, Done, Fields, ROWS_MAX, Upsert};
use super::call::Call;
use super::faults::Fault;
use super::id::Id;
use super::org::Org;
use super::rows::{record, selected, writable};
use super::transaction::Began;

const IDS_MAX: usize = 2_000;
/// Runs of one type in a row, in a call of mixed types.
const CHUNKS_MAX: usize = 10;

pub(crate) fn collections(org: &mut Org, call: &Call, began: &Began) -> Result<Answer, ApiError> {
    let write = match call.method.as_str() {
        "POST" => batch::insert,
        "PATCH" => batch::update,
        "DELETE" => return delete(org, call, began),
        _ => return Err(ApiError::method_not_allowed()),
    };
    let (rows, all_or_none) = body(call)?;
    let tables = types(org, &rows)?;
    let outcomes = batch::each(org, began, all_or_none, rows.len(), |rows_of, place| {
        write(rows_of, tables[place], &rows[place])
    })?;
    Ok(answered(org, outcomes))
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
    let outcomes = batch::each(org, began, all_or_none, ids.len(), |rows_of, place| {
        batch::delete(rows_of, ids[place])
    })?;
    Ok(answered(org, outcomes))
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
    let upsert = Upsert::new(org, table, field, rows.iter())?;
    let outcomes = batch::each(org, began, all_or_none, rows.len(), |rows_of, place| {
        upsert.write(rows_of, place, &rows[place])
    })?;
    Ok(answered(org, outcomes))
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

/// 200, whatever became of the rows.
fn answered(org: &mut Org, outcomes: Vec<Result<Done, RowError>>) -> Answer {
    let mut answers: Vec<Value> = outcomes.into_iter().map(outcome).collect();
    miscount(org, &mut answers);
    Answer::json(200, Value::Array(answers))
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
