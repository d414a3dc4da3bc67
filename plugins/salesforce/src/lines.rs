//! The rows of a push as Salesforce takes them: one JSON record each.

use serde_json::{Map, Value as Json, json};
use tidegate_sdk::{Advice, Group, OperationKind, RowOutcome, Value};

use crate::id;

/// A row that can be sent.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) token: u64,
    /// The target's id; empty where it has none yet.
    pub(crate) id: String,
    /// The value that an upsert goes by.
    pub(crate) key: String,
    /// Fields to write, the key among them.
    pub(crate) fields: Map<String, Json>,
}

/// The group's rows in order, and the outcomes of those that can't be sent.
pub(crate) fn of(group: &Group) -> (Vec<Line>, Vec<RowOutcome>) {
    let mut lines = Vec::with_capacity(group.len());
    let mut outcomes = Vec::new();
    for (row, token) in group.tokens.iter().enumerate() {
        match line(group, row, *token) {
            Ok(line) => lines.push(line),
            Err(outcome) => outcomes.push(outcome),
        }
    }
    (lines, outcomes)
}

/// One row; the error is the outcome of one that can't be sent.
pub(crate) fn line(group: &Group, row: usize, token: u64) -> Result<Line, RowOutcome> {
    let mut fields = Map::new();
    if group.operation != OperationKind::Delete {
        for (name, value) in group.batch.row(row).fields() {
            let json = crate::kind::written(value).map_err(|why| unwritable(token, name, why))?;
            if let Some(json) = json {
                fields.insert(name.to_owned(), json);
            }
        }
    }
    let Address { id, key } = address(group, row, token)?;
    Ok(Line {
        token,
        id,
        key,
        fields,
    })
}

/// The outcome of a row with a value that no request can carry; `why` never quotes it.
pub(crate) fn unwritable(token: u64, field: &str, why: &str) -> RowOutcome {
    let message = format!("the value for {field} is {why}");
    refused(token, "value-unwritable", Some(field), message)
}

/// The outcome of a row that is not sent, since it would be refused again and again.
pub(crate) fn refused(token: u64, code: &str, field: Option<&str>, message: String) -> RowOutcome {
    let fields = field.map(str::to_owned).into_iter().collect();
    RowOutcome::refused(token, code, message, fields, Advice::Park)
}

/// Which record a row means.
pub(crate) struct Address {
    /// The target's id; empty where it has none yet.
    pub(crate) id: String,
    /// The value that an upsert goes by; empty for other operations.
    pub(crate) key: String,
}

pub(crate) fn address(group: &Group, row: usize, token: u64) -> Result<Address, RowOutcome> {
    let id = id::canonical(group.ids.text(row));
    let makes = matches!(
        group.operation,
        OperationKind::Create | OperationKind::Upsert
    );
    if !makes && !id::has_form(&id) {
        let message = "the record's id is not one of Salesforce's".to_owned();
        return Err(refused(token, "MALFORMED_ID", None, message));
    }
    let key = match (&group.key, group.operation) {
        (Some(field), OperationKind::Upsert) => {
            key_of(group.batch.value(row, field)).ok_or_else(|| {
                let message = format!("an upsert by {field} needs a value in it");
                refused(token, "key-missing", Some(field), message)
            })?
        }
        _ => String::new(),
    };
    Ok(Address { id, key })
}

/// The key as text; `None` when it is empty or of a type that keys don't have.
fn key_of(value: Value<'_>) -> Option<String> {
    let key = match value {
        Value::Text(text) | Value::Decimal(text) => text.to_owned(),
        Value::Integer(number) => number.to_string(),
        _ => return None,
    };
    (!key.is_empty()).then_some(key)
}

impl Line {
    /// The record as collections take it.
    pub(crate) fn record(&self, object: &str, operation: OperationKind) -> Json {
        let mut record = self.fields.clone();
        record.insert("attributes".to_owned(), json!({ "type": object }));
        if operation == OperationKind::Update {
            record.insert("id".to_owned(), Json::String(self.id.clone()));
        }
        Json::Object(record)
    }

    /// The record as a request for it alone takes it: id and key stand in the path.
    pub(crate) fn body(&self, key: Option<&str>) -> Json {
        let mut record = self.fields.clone();
        if let Some(key) = key {
            record.remove(key);
        }
        Json::Object(record)
    }

    /// Whether the key survives as part of a path: what looks like a file extension there is taken for one.
    pub(crate) fn key_fits_path(&self) -> bool {
        self.key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    }

    /// Whether a composite request would take part of the row for a reference to another part's answer.
    pub(crate) fn reads_as_reference(&self) -> bool {
        self.fields.values().any(|json| match json {
            Json::String(text) => text.contains("@{"),
            Json::Object(_) | Json::Array(_) => json.to_string().contains("@{"),
            _ => false,
        })
    }
}
