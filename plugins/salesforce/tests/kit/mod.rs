//! Runs a conversation: [`script`] reads it, [`vendor`] plays Salesforce's part, [`shown`] writes results down.

mod script;
mod shown;
mod vendor;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_plugin_salesforce::Salesforce;
use tidegate_sdk::{
    Batch, BatchBuilder, ChangeStream, Connector, Context, DataType, Demand, Fault, Group,
    OperationKind, Operations, Packed, PrepareMode, Selection, StreamKind, Value,
};

use script::{Call, Script};
use vendor::Vendor;

/// What a `pull` call says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Pull {
    /// `changes` or `snapshot`
    kind: String,
    object: String,
    fields: Vec<String>,
    #[serde(default = "page")]
    rows_max: u32,
    /// Hands over bytes that no cursor has.
    #[serde(default)]
    damaged: bool,
}

fn page() -> u32 {
    2_000
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Read {
    object: String,
    fields: Vec<String>,
    #[serde(default)]
    by: Option<String>,
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Prepare {
    object: String,
    fields: Vec<String>,
    captured: bool,
    written: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Push {
    method: String,
    object: String,
    operation: String,
    #[serde(default)]
    key: Option<String>,
    /// `[id, {field: value}]`, with tokens from 1 on.
    rows: Vec<(String, serde_json::Map<String, Json>)>,
}

/// Compares a conversation with what is said. The error names the first line that differs.
pub(crate) fn run(folder: &Path, text: &str) -> Result<(), String> {
    let script = Script::read(folder, text)?;
    let mut cursors: [Option<Vec<u8>>; 2] = [None, None];
    for call in &script.calls {
        let vendor = Vendor::new(&call.exchanges);
        let context = Context {
            config: script.config.clone(),
            now: call.now_us,
            rows_max: page(),
        };
        let found = perform(&vendor, &context, call, &mut cursors)
            .unwrap_or_else(|fault| vec![shown::fault(&fault)]);
        let place = format!("line {} ({})", call.line, call.verb);
        vendor
            .finish()
            .map_err(|error| format!("{place}: {error}"))?;
        if found != call.expected {
            return Err(format!(
                "{place} gives\n  {}\ninstead of\n  {}",
                found.join("\n  "),
                call.expected.join("\n  ")
            ));
        }
    }
    Ok(())
}

fn arguments<T: serde::de::DeserializeOwned>(call: &Call) -> T {
    serde_json::from_str(&call.arguments)
        .unwrap_or_else(|error| panic!("line {}: {error}", call.line))
}

fn perform(
    vendor: &Vendor<'_>,
    context: &Context,
    call: &Call,
    cursors: &mut [Option<Vec<u8>>; 2],
) -> Result<Vec<String>, Fault> {
    match call.verb.as_str() {
        "discover" => {
            let catalog = Salesforce::discover(vendor, context, arguments(call))?;
            Ok(shown::catalog(&catalog))
        }
        "prepare" => {
            let demands: Vec<Prepare> = arguments(call);
            let demands = demands
                .into_iter()
                .map(|demand| Demand {
                    object: demand.object,
                    fields: demand.fields,
                    captured: demand.captured,
                    written: demand.written,
                })
                .collect();
            let steps = Salesforce::prepare(vendor, context, demands, PrepareMode::Apply)?;
            Ok(shown::steps(&steps))
        }
        "pull" => pull(vendor, context, arguments(call), cursors),
        "read" => {
            let read: Read = arguments(call);
            let selection = Selection {
                object: read.object,
                fields: read.fields,
            };
            let keys = Packed::from_iter(read.keys);
            let set = Salesforce::read(vendor, context, selection, read.by, keys)?;
            Ok(shown::changes(&set))
        }
        "push" => {
            let progress = Salesforce::push(vendor, context, operations(arguments(call)))?;
            Ok(shown::outcomes(&progress))
        }
        other => panic!("line {}: no such call as {other}", call.line),
    }
}

fn pull(
    vendor: &Vendor<'_>,
    context: &Context,
    pull: Pull,
    cursors: &mut [Option<Vec<u8>>; 2],
) -> Result<Vec<String>, Fault> {
    let kind = match pull.kind.as_str() {
        "changes" => StreamKind::Changes,
        "snapshot" => StreamKind::Snapshot,
        other => panic!("no such stream as {other}"),
    };
    let cursor = &mut cursors[usize::from(kind == StreamKind::Snapshot)];
    let stream = ChangeStream {
        kind,
        selections: vec![Selection {
            object: pull.object,
            fields: pull.fields,
        }],
        cursor: if pull.damaged {
            Some(vec![99])
        } else {
            cursor.clone()
        },
        rows_max: pull.rows_max,
    };
    let mut answers = Salesforce::pull(vendor, context, vec![stream])?;
    let page = answers.pop().expect("one answer for one stream")?;
    assert!(answers.is_empty(), "one answer for one stream");
    *cursor = Some(page.cursor.clone());
    Ok(shown::page(&page))
}

fn operations(push: Push) -> Operations {
    let operation = match push.operation.as_str() {
        "create" => OperationKind::Create,
        "update" => OperationKind::Update,
        "upsert" => OperationKind::Upsert,
        "delete" => OperationKind::Delete,
        other => panic!("no such operation as {other}"),
    };
    let group = Group {
        object: push.object,
        operation,
        key: push.key,
        tokens: (1..=push.rows.len() as u64).collect(),
        ids: push.rows.iter().map(|(id, _)| id.as_bytes()).collect(),
        versions: push.rows.iter().map(|_| "").collect(),
        batch: batch(&push.rows),
    };
    Operations {
        method: push.method,
        groups: vec![group],
        references: Vec::new(),
    }
}

/// A column for every field that a row names; `"decimal:1.50"` and the like give the type.
fn batch(rows: &[(String, serde_json::Map<String, Json>)]) -> Batch {
    let mut columns: Vec<(String, DataType)> = Vec::new();
    for (name, json) in rows.iter().flat_map(|(_, fields)| fields) {
        let data_type = typed(json).data_type();
        match (
            columns.iter_mut().find(|(known, _)| known == name),
            data_type,
        ) {
            (Some(known), Some(data_type)) => known.1 = data_type,
            (Some(_), None) => {}
            (None, data_type) => {
                columns.push((name.clone(), data_type.unwrap_or(DataType::Text)));
            }
        }
    }
    let mut builder = BatchBuilder::new(columns);
    for (_, fields) in rows {
        let mut row = builder.row();
        for (name, json) in fields {
            row.set(name, typed(json)).expect("columns of one type");
        }
    }
    builder.finish()
}

fn typed(json: &Json) -> Value<'_> {
    let text = match json {
        Json::Null => return Value::Null,
        Json::Bool(value) => return Value::Boolean(*value),
        Json::Number(number) => return Value::Integer(number.as_i64().expect("an integer")),
        Json::String(text) => text,
        other => panic!("no field holds {other}"),
    };
    match text.split_once(':') {
        Some(("decimal", digits)) => Value::Decimal(digits),
        Some(("timestamp", us)) => Value::Timestamp(us.parse().expect("microseconds")),
        Some(("date", days)) => Value::Date(days.parse().expect("days")),
        Some(("json", document)) => Value::Json(document),
        _ => Value::Text(text),
    }
}
