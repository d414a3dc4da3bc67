//! The plugin interface: each call's arguments into this crate's rooms, their results back, and statements to the
//! host's gateway.

use tidegate_sdk::{
    Batch, Catalog, ChangeKind, ChangeSet, ChangeSetBuilder, ChangeStream, Column, Connector,
    Context, DataType, Demand, Fault, Field, Gateway, Level, ObjectSchema, Operations, Packed,
    Page, PrepareMode, Progress, Request, Response, Selection, Sql, Step, StreamKind,
    Value as Given, WrongType,
};

use crate::database::{Answers, Class, Database, Rows, Statement, Value};
use crate::record::Changes;
use crate::schema::{self, Table};
use crate::settings::Settings;
use crate::{changes, lookup, prepare, push, snapshot};

/// The connector that the component exports.
#[derive(Debug)]
pub struct Sqlite;

impl Connector for Sqlite {
    fn discover(
        gateway: &dyn Gateway,
        context: &Context,
        objects: Vec<String>,
    ) -> Result<Catalog, Fault> {
        let (database, settings) = (Host(gateway), Settings::read(&context.config)?);
        let identity = prepare::identity(&database, &settings)?;
        let objects = if objects.is_empty() {
            let names = schema::names(&database, &settings)?;
            names.into_iter().map(named_only).collect()
        } else {
            let tables = schema::describe(&database, &settings, &objects)?;
            tables
                .iter()
                .map(|table| described(table, &settings))
                .collect()
        };
        Ok(Catalog { identity, objects })
    }

    fn count(
        gateway: &dyn Gateway,
        context: &Context,
        objects: Vec<String>,
    ) -> Result<Vec<Option<u64>>, Fault> {
        schema::count(&Host(gateway), &Settings::read(&context.config)?, &objects)
    }

    fn prepare(
        gateway: &dyn Gateway,
        context: &Context,
        demands: Vec<Demand>,
        mode: PrepareMode,
    ) -> Result<Vec<Step>, Fault> {
        let settings = Settings::read(&context.config)?;
        let steps = prepare::prepare(&Host(gateway), &settings, &demands, mode)?;
        let step = |step: prepare::Step| Step {
            id: step.id,
            description: step.statements.join(";\n"),
            done: step.done,
        };
        Ok(steps.into_iter().map(step).collect())
    }

    fn pull(
        gateway: &dyn Gateway,
        context: &Context,
        streams: Vec<ChangeStream>,
    ) -> Result<Vec<Result<Page, Fault>>, Fault> {
        let settings = Settings::read(&context.config)?;
        let answer = |stream: &ChangeStream| {
            let (host, selections) = (Host(gateway), &stream.selections);
            let rows_max = stream.rows_max.min(context.rows_max).max(1);
            let cursor = stream.cursor.as_deref();
            let pulled = match stream.kind {
                StreamKind::Changes => {
                    let now_ms = context.now.div_euclid(1_000);
                    changes::pull(&host, &settings, selections, cursor, rows_max, now_ms)
                }
                StreamKind::Snapshot => {
                    snapshot::pull(&host, &settings, selections, cursor, rows_max)
                }
            };
            pulled.and_then(page)
        };
        Ok(streams.iter().map(answer).collect())
    }

    fn read(
        gateway: &dyn Gateway,
        context: &Context,
        selection: Selection,
        by: Option<String>,
        keys: Packed,
    ) -> Result<ChangeSet, Fault> {
        let settings = Settings::read(&context.config)?;
        let keys: Vec<Vec<u8>> = keys.iter().map(<[u8]>::to_vec).collect();
        let Selection { object, fields } = selection;
        let found = lookup::read(
            &Host(gateway),
            &settings,
            &object,
            &fields,
            by.as_deref(),
            &keys,
        )?;
        change_set(found)
    }

    fn push(
        gateway: &dyn Gateway,
        context: &Context,
        operations: Operations,
    ) -> Result<Progress, Fault> {
        let settings = Settings::read(&context.config)?;
        if !operations.references.is_empty() {
            return Err(Fault::refused(
                "references-not-offered",
                "rows of one push can't refer to each other here; push parents first",
            ));
        }
        let pushed = push::push(&Host(gateway), &settings, &operations.groups)?;
        let after = pushed.after.into_iter().map(change_set);
        Ok(Progress {
            after: after.collect::<Result<_, _>>()?,
            ..Progress::done(pushed.outcomes)
        })
    }

    fn poll(_: &dyn Gateway, _: &Context, _: Vec<u8>) -> Result<Progress, Fault> {
        Err(Fault::missing(
            "no-such-job",
            "this connector's writes are done when push answers",
        ))
    }
}

fn named_only((name, view): (String, bool)) -> ObjectSchema {
    ObjectSchema {
        label: name.clone(),
        name,
        fields: Vec::new(),
        id_fields: Vec::new(),
        readable: !view,
        writable: !view,
        reports_deletes: !view,
    }
}

fn described(table: &Table, settings: &Settings) -> ObjectSchema {
    let usable = table.key.is_some();
    let fields = table.columns.iter();
    ObjectSchema {
        fields: fields
            .map(|column| field(column, usable, settings))
            .collect(),
        id_fields: table.id_fields(),
        readable: usable,
        writable: usable,
        reports_deletes: usable,
        ..named_only((table.name.clone(), table.view))
    }
}

fn field(column: &schema::Column, writable: bool, settings: &Settings) -> Field {
    let writable = writable && !column.generated;
    let moment = column.kind == DataType::Timestamp;
    Field {
        nullable: column.nullable,
        creatable: writable,
        // A changed key makes another record of the row.
        updatable: writable && column.key_place == 0,
        required: writable && !column.nullable && !column.has_default,
        upsert_key: writable && column.unique,
        length_max: column.length_max,
        precision: column.precision,
        scale: column.scale,
        resolution_us: moment.then(|| settings.timestamps.resolution_us()),
        references: column.references.iter().cloned().collect(),
        notes: vec![("declared".to_owned(), column.declared.clone())],
        ..Field::new(column.name.clone(), column.kind)
    }
}

fn page(page: changes::Page) -> Result<Page, Fault> {
    let changes = page.changes.into_iter().map(change_set);
    Ok(Page {
        changes: changes.collect::<Result<_, _>>()?,
        aliases: Vec::new(),
        cursor: page.cursor,
        more: page.more,
        wait_ms: None,
        gap: page.gap,
    })
}

fn change_set(changes: Changes) -> Result<ChangeSet, Fault> {
    let Changes {
        object,
        fields,
        records,
    } = changes;
    let mut set = ChangeSetBuilder::new(object, fields.iter().map(|(name, kind)| (name, *kind)));
    for record in &records {
        if record.kind == ChangeKind::Delete {
            set.delete(&record.id, &record.version, record.committed);
            continue;
        }
        let mut row = set.upsert(&record.id, &record.version, record.committed);
        for ((field, _), cell) in fields.iter().zip(&record.cells) {
            row.set(field, cell.as_value()).map_err(|error| {
                Fault::broken(
                    "wrong-field",
                    format!("a record can't be put together: {error}"),
                )
            })?;
        }
    }
    Ok(set.finish())
}

/// The host behind the seam.
struct Host<'a>(&'a dyn Gateway);

impl Database for Host<'_> {
    fn fetch(&self, statements: Vec<Statement>) -> Answers {
        self.exchange(statements, |requests| self.0.fetch_batch(requests))
    }

    fn write(&self, statements: Vec<Statement>) -> Answers {
        self.exchange(statements, |requests| self.0.write_batch(requests))
    }

    fn warn(&self, message: &str) {
        self.0.log(Level::Warn, message);
    }
}

impl Host<'_> {
    fn exchange(
        &self,
        statements: Vec<Statement>,
        send: impl FnOnce(&[Request]) -> Vec<Result<Response, Fault>>,
    ) -> Answers {
        let requests: Result<Vec<Request>, WrongType> = statements.iter().map(request).collect();
        match requests {
            Ok(requests) => {
                let answers = send(&requests).into_iter();
                answers.map(|answer| answer.and_then(rows)).collect()
            }
            Err(mixed) => {
                let fault = Fault::broken("mixed-parameter", mixed.to_string());
                vec![Err(fault); statements.len()]
            }
        }
    }
}

fn request(statement: &Statement) -> Result<Request, WrongType> {
    let count = statement.executions.first().map_or(0, Vec::len);
    let columns = (0..count).map(|position| parameter(statement, position));
    let mut sql = Sql::new(statement.sql.as_str())
        .parameters(Batch {
            rows: statement.executions.len() as u32,
            columns: columns.collect::<Result<_, _>>()?,
        })
        .results(statement.results.iter().map(|class| data_type(*class)))
        .rows_max(statement.rows_max)
        .rows(statement.tokens.iter().copied());
    if let Some(number) = statement.transaction {
        sql = sql.transaction(number);
    }
    if statement.idempotent {
        sql = sql.idempotent();
    }
    Ok(sql.build())
}

fn parameter(statement: &Statement, position: usize) -> Result<Column, WrongType> {
    let values = || statement.executions.iter().map(|values| &values[position]);
    // Nulls alone fit any type.
    let class = values().find_map(Value::class).unwrap_or(Class::Text);
    let given = values().map(|value| match value {
        Value::Null => Given::Null,
        Value::Integer(value) => Given::Integer(*value),
        Value::Real(value) => Given::Float(*value),
        Value::Text(value) => Given::Text(value),
        Value::Blob(value) => Given::Bytes(value),
    });
    Column::collect(format!("?{}", position + 1), data_type(class), given)
}

fn data_type(class: Class) -> DataType {
    match class {
        Class::Integer => DataType::Integer,
        Class::Real => DataType::Float,
        Class::Text => DataType::Text,
        Class::Blob => DataType::Bytes,
    }
}

fn rows(response: Response) -> Result<Rows, Fault> {
    let response = response.into_sql()?;
    let row = |row: usize| {
        let value = |column: &Column| match column.value(row) {
            Given::Integer(value) => Value::Integer(value),
            Given::Float(value) => Value::Real(value),
            Given::Text(value) => Value::from(value),
            Given::Bytes(value) => Value::Blob(value.to_vec()),
            _ => Value::Null,
        };
        response.rows.columns.iter().map(value).collect()
    };
    Ok(Rows {
        rows: (0..response.rows.len()).map(row).collect(),
        truncated: response.truncated,
    })
}
