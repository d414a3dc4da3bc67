//! The host's side of the seam, on a real database file, and stricter than the host: parameters of one position
//! have one class, a fetch may not write, nobody waits for a lock.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use tidegate_plugin_sqlite::cell::Cell;
use tidegate_plugin_sqlite::changes::{self, Page};
use tidegate_plugin_sqlite::database::{Answers, Class, Database, Rows, Statement, Value};
use tidegate_plugin_sqlite::prepare::{self, Step};
use tidegate_plugin_sqlite::settings::Settings;
use tidegate_sdk::{
    Batch, ChangeKind, Column, DataType, Demand, Fault, FaultKind, Group, OperationKind, Packed,
    PrepareMode, Selection, Value as Given,
};

pub(crate) struct Library {
    folder: tempfile::TempDir,
    connection: RefCell<Connection>,
    pub(crate) warnings: RefCell<Vec<String>>,
    /// Transactions that were begun by `write`.
    pub(crate) transactions: std::cell::Cell<usize>,
    /// Bytes of text and blobs that one statement may answer.
    pub(crate) bytes_max: std::cell::Cell<usize>,
    /// The next `write` loses its answers after its first transaction is committed.
    pub(crate) lose_answer: std::cell::Cell<bool>,
}

impl Library {
    pub(crate) fn new(schema: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = open(&folder.path().join("data.db"));
        connection
            .execute_batch(&format!("PRAGMA journal_mode = WAL; {schema}"))
            .expect("the schema");
        Self {
            folder,
            connection: RefCell::new(connection),
            warnings: RefCell::default(),
            transactions: std::cell::Cell::new(0),
            bytes_max: std::cell::Cell::new(usize::MAX),
            lose_answer: std::cell::Cell::new(false),
        }
    }

    /// With our own tables in it, as a host leaves a database of which it captures nothing yet.
    pub(crate) fn prepared(schema: &str) -> Self {
        let library = Self::new(schema);
        library.capture(&[]);
        library.transactions.set(0);
        library
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data.db")
    }

    /// Another process: a connection of its own.
    pub(crate) fn application(&self) -> Connection {
        open(&self.path())
    }

    pub(crate) fn execute(&self, sql: &str) {
        self.application()
            .execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The first column of the first row as text; empty when there is none.
    pub(crate) fn query(&self, sql: &str) -> String {
        let text = self
            .application()
            .query_row(sql, [], |row| {
                Ok(match row.get_ref(0)? {
                    ValueRef::Null => "null".to_owned(),
                    ValueRef::Integer(value) => value.to_string(),
                    ValueRef::Real(value) => value.to_string(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    ValueRef::Blob(bytes) => format!("{bytes:?}"),
                })
            })
            .optional()
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        text.unwrap_or_default()
    }

    /// Replaces the whole file by another, as an operator who restores a backup does.
    pub(crate) fn restore(&self, backup: &Path) {
        *self.connection.borrow_mut() = Connection::open_in_memory().expect("memory");
        for end in ["-wal", "-shm"] {
            let beside = self.folder.path().join(format!("data.db{end}"));
            if beside.exists() {
                std::fs::remove_file(beside).expect("removed");
            }
        }
        std::fs::copy(backup, self.path()).expect("restored");
        *self.connection.borrow_mut() = open(&self.path());
    }

    pub(crate) fn backup(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        self.application()
            .execute("VACUUM INTO ?1", [path.to_str().expect("a name")])
            .expect("a backup");
        path
    }

    pub(crate) fn prepare(
        &self,
        settings: &Settings,
        demands: &[Demand],
        mode: PrepareMode,
    ) -> Vec<Step> {
        prepare::prepare(self, settings, demands, mode).expect("prepared")
    }

    pub(crate) fn capture(&self, wanted: &[Selection]) {
        self.prepare(&Settings::default(), &demands(wanted), PrepareMode::Apply);
    }

    /// Long after whatever has happened.
    pub(crate) fn pull(&self, wanted: &[Selection], cursor: Option<&[u8]>, rows_max: u32) -> Page {
        self.pull_at(i64::MAX, wanted, cursor, rows_max)
    }

    pub(crate) fn pull_at(
        &self,
        now_ms: i64,
        wanted: &[Selection],
        cursor: Option<&[u8]>,
        rows_max: u32,
    ) -> Page {
        let settings = Settings::default();
        changes::pull(self, &settings, wanted, cursor, rows_max, now_ms).expect("a page")
    }

    fn run(&self, statement: &Statement, may_write: bool) -> Result<Rows, Fault> {
        let connection = self.connection.borrow();
        let mut prepared = connection
            .prepare_cached(&statement.sql)
            .map_err(|error| fault(&statement.sql, error))?;
        assert!(
            may_write || prepared.readonly(),
            "a fetch must not write: {}",
            statement.sql
        );
        one_class_each(statement);
        names_differ(&prepared);
        assert_eq!(
            prepared.parameter_count(),
            statement.executions.first().map_or(0, Vec::len),
            "{}",
            statement.sql
        );
        let mut answer = Rows::default();
        for execution in &statement.executions {
            let parameters = rusqlite::params_from_iter(execution.iter().map(bind));
            let mut rows = prepared
                .query(parameters)
                .map_err(|error| fault(&statement.sql, error))?;
            while let Some(row) = rows.next().map_err(|error| fault(&statement.sql, error))? {
                if answer.rows.len() == statement.rows_max as usize {
                    answer.truncated = true;
                    continue;
                }
                let values = statement.results.iter().enumerate().map(|(at, class)| {
                    let value = row.get_ref(at).expect("a column");
                    read(&statement.sql, at, *class, value)
                });
                answer.rows.push(values.collect::<Result<_, _>>()?);
            }
        }
        let size = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        if answer.rows.iter().flatten().map(size).sum::<usize>() > self.bytes_max.get() {
            return Err(Fault::broken("response-too-large", "ask for fewer rows"));
        }
        Ok(answer)
    }

    /// One transaction; when a statement fails, the others tell that they were rolled back.
    fn together(&self, statements: &[Statement]) -> Answers {
        self.transactions.set(self.transactions.get() + 1);
        let begin = self.connection.borrow().execute_batch("BEGIN IMMEDIATE");
        if let Err(error) = begin {
            let busy = fault("BEGIN", error);
            return statements.iter().map(|_| Err(busy.clone())).collect();
        }
        let mut answers = Vec::new();
        for statement in statements {
            let answer = self.run(statement, true);
            let failed = answer.is_err();
            answers.push(answer);
            if failed {
                self.connection
                    .borrow()
                    .execute_batch("ROLLBACK")
                    .expect("rolled back");
                let at = answers.len() - 1;
                let rolled_back = || Err(Fault::refused("rolled-back", "another failed"));
                return (0..statements.len())
                    .map(|other| {
                        if other == at {
                            answers[at].clone()
                        } else {
                            rolled_back()
                        }
                    })
                    .collect();
            }
        }
        self.connection
            .borrow()
            .execute_batch("COMMIT")
            .expect("committed");
        answers
    }
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a database");
    connection
        .execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF")
        .expect("settings");
    connection
        .busy_timeout(std::time::Duration::ZERO)
        .expect("no waiting");
    connection
}

impl Database for Library {
    fn fetch(&self, statements: Vec<Statement>) -> Answers {
        statements
            .iter()
            .map(|statement| self.run(statement, false))
            .collect()
    }

    fn write(&self, statements: Vec<Statement>) -> Answers {
        let mut answers = Answers::new();
        let mut rest = statements.as_slice();
        while let Some(first) = rest.first() {
            let same = |statement: &&Statement| {
                first.transaction.is_some() && statement.transaction == first.transaction
            };
            let size = rest.iter().take_while(same).count().max(1);
            let (now, later) = rest.split_at(size);
            let done = self.together(now);
            if self.lose_answer.replace(false) {
                let lost =
                    Fault::transient("answer-lost", "the connection broke").with_unknown_fate();
                let not = Fault::transient("not-attempted", "an earlier one broke");
                answers.extend(now.iter().map(|_| Err(lost.clone())));
                answers.extend(later.iter().map(|_| Err(not.clone())));
                return answers;
            }
            answers.extend(done);
            rest = later;
        }
        answers
    }

    fn warn(&self, message: &str) {
        self.warnings.borrow_mut().push(message.to_owned());
    }
}

fn names_differ(prepared: &rusqlite::Statement<'_>) {
    let mut names: Vec<&str> = prepared.column_names().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "result columns share a name");
}

fn one_class_each(statement: &Statement) {
    let positions = statement.executions.first().map_or(0, Vec::len);
    for position in 0..positions {
        let mut classes: Vec<Class> = statement
            .executions
            .iter()
            .filter_map(|execution| execution[position].class())
            .collect();
        classes.dedup();
        assert!(
            classes.len() <= 1,
            "?{} of {} has several classes",
            position + 1,
            statement.sql
        );
    }
}

fn bind(value: &Value) -> rusqlite::types::Value {
    use rusqlite::types::Value as Bound;
    match value {
        Value::Null => Bound::Null,
        Value::Integer(value) => Bound::Integer(*value),
        Value::Real(value) => Bound::Real(*value),
        Value::Text(value) => Bound::Text(value.clone()),
        Value::Blob(value) => Bound::Blob(value.clone()),
    }
}

fn read(sql: &str, at: usize, class: Class, value: ValueRef<'_>) -> Result<Value, Fault> {
    Ok(match (class, value) {
        (_, ValueRef::Null) => Value::Null,
        (Class::Integer, ValueRef::Integer(value)) => Value::Integer(value),
        (Class::Real, ValueRef::Real(value)) if value.is_finite() => Value::Real(value),
        (Class::Text, ValueRef::Text(text)) => {
            Value::Text(String::from_utf8(text.to_vec()).expect("only names are read as text"))
        }
        (Class::Blob, ValueRef::Blob(bytes)) => Value::Blob(bytes.to_vec()),
        (class, value) => {
            return Err(Fault::broken(
                "value-does-not-fit",
                format!(
                    "{sql}: column {at} is {} and not {class:?}",
                    value.data_type()
                ),
            ));
        }
    })
}

fn fault(sql: &str, error: rusqlite::Error) -> Fault {
    let said = error.to_string();
    let code = match error.sqlite_error().map(|error| error.extended_code) {
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE) => "SQLITE_CONSTRAINT_UNIQUE",
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => "SQLITE_CONSTRAINT_PRIMARYKEY",
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_NOTNULL) => "SQLITE_CONSTRAINT_NOTNULL",
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_CHECK) => "SQLITE_CONSTRAINT_CHECK",
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => "SQLITE_CONSTRAINT_FOREIGNKEY",
        Some(code) if code & 0xff == rusqlite::ffi::SQLITE_BUSY => "SQLITE_BUSY",
        _ => "SQLITE_ERROR",
    };
    let kind = match code {
        "SQLITE_BUSY" => FaultKind::Transient,
        _ if said.starts_with("no such table") => FaultKind::Missing,
        "SQLITE_ERROR" => panic!("{sql}: {said}"),
        _ => FaultKind::Refused,
    };
    made(kind, code, said)
}

fn made(kind: FaultKind, code: &str, said: String) -> Fault {
    match kind {
        FaultKind::Transient => Fault::transient(code, said),
        FaultKind::Missing => Fault::missing(code, said),
        _ => Fault::refused(code, said),
    }
}

pub(crate) fn select(object: &str, fields: &[&str]) -> Selection {
    Selection {
        object: object.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}

pub(crate) fn demands(wanted: &[Selection]) -> Vec<Demand> {
    wanted
        .iter()
        .map(|selection| Demand {
            object: selection.object.clone(),
            fields: selection.fields.clone(),
            captured: true,
            written: false,
        })
        .collect()
}

/// A page in one line per record, as tests compare it: `kind object id field=value ...`.
pub(crate) fn lines(page: &Page) -> Vec<String> {
    let record = |changes: &tidegate_plugin_sqlite::record::Changes| {
        let object = changes.object.clone();
        let fields = changes.fields.clone();
        changes
            .records
            .iter()
            .map(move |record| {
                let kind = match record.kind {
                    ChangeKind::Upsert => "Upsert",
                    ChangeKind::Delete => "Delete",
                    ChangeKind::Hint => "Hint",
                };
                let mut line = format!("{kind} {object} {}", record.id);
                for ((field, _), cell) in fields.iter().zip(&record.cells) {
                    line.push_str(&format!(" {field}={cell:?}"));
                }
                line
            })
            .collect::<Vec<_>>()
    };
    page.changes.iter().flat_map(record).collect()
}

/// Rows to be pushed, with tokens from 100 on.
pub(crate) fn group(
    object: &str,
    operation: OperationKind,
    key: Option<&str>,
    fields: &[&str],
    rows: &[(&str, &[Cell])],
) -> Group {
    let columns = fields.iter().enumerate().map(|(at, field)| {
        let given = || rows.iter().map(|(_, cells)| cells[at].as_value());
        let data_type = given().find_map(Given::data_type).unwrap_or(DataType::Text);
        Column::collect(*field, data_type, given()).expect("values of one type")
    });
    Group {
        object: object.to_owned(),
        operation,
        key: key.map(str::to_owned),
        tokens: (100..).take(rows.len()).collect(),
        ids: rows.iter().map(|(id, _)| id).collect(),
        into: Packed::new(),
        versions: Packed::new(),
        batch: Batch {
            rows: rows.len() as u32,
            columns: columns.collect(),
        },
    }
}
