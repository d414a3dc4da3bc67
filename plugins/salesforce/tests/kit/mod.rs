//! Runs a conversation: [`script`] reads it, [`vendor`] plays Salesforce's part, [`shown`] writes results down.

mod script;
mod shown;
mod vendor;

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_plugin_salesforce::Salesforce;
use tidegate_sdk::{
    Batch, BatchBuilder, ChangeStream, Connector, Context, DataType, Demand, Fault, Group,
    OperationKind, Operations, Packed, PrepareMode, Progress, Reference, Selection, StreamKind,
    Value,
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
    /// One group, or `groups`.
    #[serde(default)]
    object: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    rows: Vec<Row>,
    /// For merges, by row.
    #[serde(default)]
    into: Vec<String>,
    #[serde(default)]
    groups: Vec<Rows>,
    /// `[token, field, target]`
    #[serde(default)]
    references: Vec<(u64, String, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rows {
    object: String,
    operation: String,
    #[serde(default)]
    key: Option<String>,
    rows: Vec<Row>,
    #[serde(default)]
    into: Vec<String>,
}

/// `[id, {field: value}]`; tokens count from 1 over all groups.
type Row = (String, serde_json::Map<String, Json>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Poll {
    /// Hands over bytes that no job has.
    #[serde(default)]
    damaged: bool,
}

/// By kind of stream and object.
type Cursors = HashMap<(String, String), Vec<u8>>;

/// What the host would keep from call to call.
#[derive(Default)]
struct Kept {
    cursors: Cursors,
    job: Option<Vec<u8>>,
}

impl Kept {
    /// A job that has ended is kept as well, as by a host that was killed before it had stored the end.
    fn progress(&mut self, progress: &Progress) -> Vec<String> {
        if let Some(job) = &progress.job {
            assert!(job.state.len() <= 512 * 1024);
            self.job = Some(job.state.clone());
        }
        shown::outcomes(progress)
    }
}

/// Compares a conversation with what is said. The error names the first line that differs.
pub(crate) fn run(folder: &Path, text: &str) -> Result<(), String> {
    let script = Script::read(folder, text)?;
    let mut kept = Kept::default();
    for call in &script.calls {
        let vendor = Vendor::new(&call.exchanges);
        let context = Context {
            config: script.config.clone(),
            now: call.now_us,
            rows_max: 10_000,
        };
        let found = perform(&vendor, &context, call, &mut kept)
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
    kept: &mut Kept,
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
        "pull" => pull(vendor, context, vec![arguments(call)], &mut kept.cursors),
        "pull-many" => pull(vendor, context, arguments(call), &mut kept.cursors),
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
            Ok(kept.progress(&progress))
        }
        "poll" => {
            let Poll { damaged } = arguments(call);
            let job = match damaged {
                true => vec![99],
                false => kept.job.clone().expect("a job"),
            };
            let progress = Salesforce::poll(vendor, context, job)?;
            Ok(kept.progress(&progress))
        }
        other => panic!("line {}: no such call as {other}", call.line),
    }
}

/// One stream, or several in one call; then each is named before its result.
fn pull(
    vendor: &Vendor<'_>,
    context: &Context,
    pulls: Vec<Pull>,
    cursors: &mut Cursors,
) -> Result<Vec<String>, Fault> {
    let keys: Vec<_> = pulls
        .iter()
        .map(|pull| (pull.kind.clone(), pull.object.clone()))
        .collect();
    let streams = pulls.into_iter().map(|pull| stream(pull, cursors));
    let answers = Salesforce::pull(vendor, context, streams.collect())?;
    assert_eq!(answers.len(), keys.len(), "one answer for each stream");
    if let [key] = keys.as_slice() {
        let page = answers.into_iter().next().expect("an answer")?;
        cursors.insert(key.clone(), page.cursor.clone());
        return Ok(shown::page(&page));
    }
    let mut lines = Vec::new();
    for (key, answer) in keys.into_iter().zip(answers) {
        lines.push(format!("stream {}", key.1));
        match answer {
            Ok(page) => {
                lines.extend(shown::page(&page));
                cursors.insert(key, page.cursor);
            }
            Err(fault) => lines.push(shown::fault(&fault)),
        }
    }
    Ok(lines)
}

fn stream(pull: Pull, cursors: &Cursors) -> ChangeStream {
    let kind = match pull.kind.as_str() {
        "changes" => StreamKind::Changes,
        "snapshot" => StreamKind::Snapshot,
        other => panic!("no such stream as {other}"),
    };
    ChangeStream {
        kind,
        cursor: match pull.damaged {
            true => Some(vec![99]),
            false => cursors.get(&(pull.kind, pull.object.clone())).cloned(),
        },
        selections: vec![Selection {
            object: pull.object,
            fields: pull.fields,
        }],
        rows_max: pull.rows_max,
    }
}

fn operations(push: Push) -> Operations {
    let mut groups = push.groups;
    if groups.is_empty() {
        groups.push(Rows {
            object: push.object,
            operation: push.operation,
            key: push.key,
            rows: push.rows,
            into: push.into,
        });
    }
    let mut first = 1;
    let groups = groups.into_iter().map(|rows| {
        let group = group(rows, first);
        first += group.len() as u64;
        group
    });
    Operations {
        method: push.method,
        groups: groups.collect(),
        references: push
            .references
            .into_iter()
            .map(|(token, field, target)| Reference {
                token,
                field,
                target,
            })
            .collect(),
    }
}

fn group(rows: Rows, first: u64) -> Group {
    let operation = match rows.operation.as_str() {
        "create" => OperationKind::Create,
        "update" => OperationKind::Update,
        "upsert" => OperationKind::Upsert,
        "delete" => OperationKind::Delete,
        "merge" => OperationKind::Merge,
        "restore" => OperationKind::Restore,
        "convert" => OperationKind::Convert,
        other => panic!("no such operation as {other}"),
    };
    Group {
        object: rows.object,
        operation,
        key: rows.key,
        tokens: (first..first + rows.rows.len() as u64).collect(),
        ids: rows.rows.iter().map(|(id, _)| id.as_bytes()).collect(),
        into: (0..rows.rows.len())
            .map(|row| rows.into.get(row).map_or("", String::as_str))
            .collect(),
        versions: rows.rows.iter().map(|_| "").collect(),
        batch: batch(&rows.rows),
    }
}

/// A column for every field that a row names; `"decimal:1.50"` and the like give the type.
fn batch(rows: &[Row]) -> Batch {
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
