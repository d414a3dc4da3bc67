//! Every file in `cases/` is a config with what it must make of rows, or the mistakes that it must be told.
//!
//! A value is written as its type and content, `{"text": "x"}`; null is null, and a field that is not there is
//! unset. Rows are compared as far as the expectation goes, and that includes fields that must be unset.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tidegate_plugin_field_map::FieldMap;
use tidegate_sdk::{
    Batch, Column, DataType, Direction, FaultKind, FieldType, Mapped, Mapping, MappingContext,
    Value,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cases: Vec<Case>,
}

type Row = BTreeMap<String, Json>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    config: Json,
    /// Types by field name; a decimal's scale follows a slash, as in `decimal/2`.
    #[serde(default)]
    left: BTreeMap<String, String>,
    #[serde(default)]
    right: BTreeMap<String, String>,
    #[serde(default)]
    mistakes: Vec<String>,
    #[serde(default)]
    to_right: Option<Run>,
    #[serde(default)]
    to_left: Option<Run>,
    /// `to_right`'s rows come back as they were.
    #[serde(default)]
    and_back: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    rows: Vec<Row>,
    gives: Vec<Row>,
    /// `row field rule code`
    #[serde(default)]
    errors: Vec<String>,
}

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut count = 0;
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("the cases")
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).expect("readable");
        let file: File = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.cases {
            count += 1;
            check(&case, &format!("{}: {}", path.display(), case.name));
        }
    }
    assert!(count >= 40, "only {count} cases were found");
}

fn check(case: &Case, at: &str) {
    let context = MappingContext {
        config: case.config.to_string(),
        left: fields(&case.left),
        right: fields(&case.right),
    };
    let described = FieldMap::describe(&context);
    if !case.mistakes.is_empty() {
        let fault = described.expect_err(at);
        assert_eq!(fault.kind, FaultKind::Config, "{at}");
        let found: Vec<&str> = fault.message.lines().collect();
        assert_eq!(found.len(), case.mistakes.len(), "{at}: {found:#?}");
        for (found, expected) in found.iter().zip(&case.mistakes) {
            assert!(
                found.starts_with(expected),
                "{at}: {found:?}, not {expected:?}"
            );
        }
        let parked = FieldMap::map_batch(&context, Direction::LeftToRight, Batch::empty());
        assert!(parked.is_err(), "{at}: maps in spite of its mistakes");
        return;
    }
    let rules = described.unwrap_or_else(|fault| panic!("{at}: {}", fault.message));
    let types = [&case.left, &case.right];
    for (direction, run, source) in [
        (Direction::LeftToRight, &case.to_right, types[0]),
        (Direction::RightToLeft, &case.to_left, types[1]),
    ] {
        let Some(run) = run else { continue };
        let batch = batch(&run.rows, source, at);
        let mapped = map(&context, direction, batch.clone(), at);
        compare(&mapped, run, at);
        for column in &mapped.batch.columns {
            let named = rules
                .iter()
                .any(|rule| rule.direction == direction && rule.outputs.contains(&column.name));
            assert!(named, "{at}: describe does not name {}", column.name);
        }
        if case.and_back && direction == Direction::LeftToRight {
            let back = map(&context, Direction::RightToLeft, mapped.batch, at);
            assert!(back.errors.is_empty(), "{at}: {:?}", back.errors);
            for (row, given) in run.rows.iter().enumerate() {
                for (name, value) in given {
                    assert_eq!(
                        &written(back.batch.value(row, name)),
                        value,
                        "{at}: {name} {row}"
                    );
                }
            }
        }
    }
}

fn map(context: &MappingContext, direction: Direction, batch: Batch, at: &str) -> Mapped {
    let rows = batch.rows;
    let mapped = FieldMap::map_batch(context, direction, batch)
        .unwrap_or_else(|fault| panic!("{at}: {}", fault.message));
    assert_eq!(mapped.batch.rows, rows, "{at}");
    for column in &mapped.batch.columns {
        assert_eq!(column.len(), rows as usize, "{at}: {}", column.name);
    }
    mapped
}

fn compare(mapped: &Mapped, run: &Run, at: &str) {
    let errors: Vec<String> = mapped
        .errors
        .iter()
        .map(|error| {
            format!(
                "{} {} {} {}",
                error.row, error.field, error.rule, error.code
            )
        })
        .collect();
    assert_eq!(errors, run.errors, "{at}");
    let secrets = run
        .rows
        .iter()
        .flat_map(|row| row.values())
        .filter_map(content);
    for secret in secrets.filter(|secret| secret.len() > 3) {
        for error in &mapped.errors {
            assert!(
                !error.message.contains(&secret),
                "{at}: shows a value: {}",
                error.message
            );
        }
    }
    let found: Vec<Row> = mapped
        .batch
        .iter()
        .map(|row| {
            row.fields()
                .map(|(name, value)| (name.to_owned(), written(value)))
                .collect()
        })
        .collect();
    assert_eq!(json!(found), json!(run.gives), "{at}");
}

fn content(value: &Json) -> Option<String> {
    let value = value.as_object()?.values().next()?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

fn fields(types: &BTreeMap<String, String>) -> Vec<FieldType> {
    types
        .iter()
        .map(|(name, text)| {
            let (name_of_type, scale) = match text.split_once('/') {
                Some((name, scale)) => (name, Some(scale.parse().expect("a scale"))),
                None => (text.as_str(), None),
            };
            FieldType {
                name: name.clone(),
                data_type: DataType::from_name(name_of_type).expect("a type"),
                nullable: true,
                length_max: None,
                scale,
            }
        })
        .collect()
}

fn batch(rows: &[Row], types: &BTreeMap<String, String>, at: &str) -> Batch {
    let mut names: Vec<&String> = rows.iter().flat_map(|row| row.keys()).collect();
    names.sort();
    names.dedup();
    let columns = names
        .into_iter()
        .map(|name| {
            let by_value = rows
                .iter()
                .filter_map(|row| row.get(name)?.as_object()?.keys().next().cloned())
                .next();
            let spelled = by_value
                .or_else(|| {
                    types
                        .get(name)
                        .map(|text| text.split('/').next().unwrap_or(text).to_owned())
                })
                .unwrap_or_else(|| "text".to_owned());
            let mut column = Column::new(
                name.as_str(),
                DataType::from_name(&spelled).expect("a type"),
            );
            for row in rows {
                let value = row.get(name);
                column
                    .push(read(value))
                    .unwrap_or_else(|wrong| panic!("{at}: {wrong}"));
            }
            column
        })
        .collect();
    Batch::from_columns(rows.len(), columns).expect("even columns")
}

fn read(value: Option<&Json>) -> Value<'_> {
    let Some(value) = value else {
        return Value::Unset;
    };
    let Some((kind, value)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    let text = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "boolean" => Value::Boolean(value.as_bool().expect("a boolean")),
        "integer" => Value::Integer(value.as_i64().expect("an integer")),
        "float" => Value::Float(value.as_f64().expect("a float")),
        "decimal" => Value::Decimal(text),
        "text" => Value::Text(text),
        "timestamp" => Value::Timestamp(value.as_i64().expect("microseconds")),
        "date" => Value::Date(
            value
                .as_i64()
                .and_then(|days| i32::try_from(days).ok())
                .expect("days"),
        ),
        "bytes" => Value::Bytes(text.as_bytes()),
        "json" => Value::Json(text),
        other => panic!("{other} is no type"),
    }
}

fn written(value: Value<'_>) -> Json {
    match value {
        Value::Unset => json!("unset"),
        Value::Null => Json::Null,
        Value::Boolean(value) => json!({ "boolean": value }),
        Value::Integer(value) => json!({ "integer": value }),
        Value::Float(value) => json!({ "float": value }),
        Value::Decimal(value) => json!({ "decimal": value }),
        Value::Text(value) => json!({ "text": value }),
        Value::Timestamp(value) => json!({ "timestamp": value }),
        Value::Date(value) => json!({ "date": value }),
        Value::Bytes(value) => json!({ "bytes": String::from_utf8_lossy(value) }),
        Value::Json(value) => json!({ "json": value }),
    }
}
