//! Statements for rows to be written. Rows that set the same fields share a statement, prepared once.
//!
//! An upsert is an update by the key and then an insert of what was not there, in one transaction. So a partial
//! row may go to a record whose other columns may not be null, and it is known which of the two happened.

use tidegate_sdk::{Group, OperationKind};

use crate::cell;
use crate::database::{Class, Statement, Value};
use crate::key::Key;
use crate::quoting::{name, placeholders};
use crate::record::Reader;
use crate::schema::{Column, Table};
use crate::settings::{Settings, Timestamps};
use crate::version;

/// A row that can be sent: what it sets, and the values to bind.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) token: u64,
    pub(crate) group: usize,
    /// Places of the set fields in the group, and classes of all values: rows that agree share a statement.
    pub(crate) set: Vec<usize>,
    classes: Vec<Option<Class>>,
    values: Vec<Value>,
    /// The row may only be written while it is as the host knows it.
    unless_changed: Option<[Value; 2]>,
}

impl Planned {
    pub(crate) fn is_conditional(&self) -> bool {
        self.unless_changed.is_some()
    }
}

/// Why a row is refused before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsendable {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) field: Option<String>,
}

impl Unsendable {
    fn field(code: &'static str, field: &str, message: String) -> Self {
        Self {
            code,
            message,
            field: Some(field.to_owned()),
        }
    }
}

/// A row that no row of the table can be: the id is not one of its keys.
pub(crate) const NO_SUCH_ROW: &str = "no-such-row";

/// Judges one row and binds its values: the set fields in order, then the key of an update or delete.
pub(crate) fn plan(
    table: &Table,
    key: &Key,
    timestamps: Timestamps,
    group: &Group,
    place: (usize, usize),
) -> Result<Planned, Unsendable> {
    let (group_at, row) = place;
    let mut set = Vec::new();
    let mut values = Vec::new();
    for (at, given) in group.batch.columns.iter().enumerate() {
        let (field, value) = (given.name.as_str(), given.value(row));
        if !value.is_unset() && group.operation != OperationKind::Delete {
            let column = writable(table, field)?;
            let value = cell::write(column, timestamps, value)
                .map_err(|unfit| Unsendable::field(unfit.code(), field, unfit.message(field)))?;
            set.push(at);
            values.push(value);
        }
    }
    match group.operation {
        OperationKind::Update | OperationKind::Delete => {
            values.extend(key.parse(group.ids.text(row)).ok_or_else(|| Unsendable {
                code: NO_SUCH_ROW,
                message: format!("table {} has no key of that form", table.name),
                field: None,
            })?);
        }
        OperationKind::Upsert => key_value(table, group, &set, &values)?,
        OperationKind::Create => {}
        OperationKind::Merge | OperationKind::Restore | OperationKind::Convert => {
            return Err(Unsendable {
                code: "operation-not-offered",
                message: "a database merges, restores and converts no records".to_owned(),
                field: None,
            });
        }
    }
    Ok(Planned {
        token: group.tokens.get(row).copied().unwrap_or_default(),
        group: group_at,
        set,
        classes: values.iter().map(Value::class).collect(),
        values,
        unless_changed: version::condition(table, group, row),
    })
}

fn writable<'a>(table: &'a Table, field: &str) -> Result<&'a Column, Unsendable> {
    let column = table.column(field).ok_or_else(|| {
        let message = format!("table {} has no column {field}", table.name);
        Unsendable::field("no-such-column", field, message)
    })?;
    if column.generated {
        let message = format!("column {field} is computed by the database");
        return Err(Unsendable::field("not-writable", field, message));
    }
    Ok(column)
}

/// An upsert needs a value of a column that no two rows share: else it could change rows that it never meant.
fn key_value(
    table: &Table,
    group: &Group,
    set: &[usize],
    values: &[Value],
) -> Result<(), Unsendable> {
    let field = group.key.as_deref().unwrap_or_default();
    if !table.column(field).is_some_and(|column| column.unique) {
        let message = format!(
            "column {field} of table {} has no unique constraint of its own; add one, or name another key",
            table.name
        );
        return Err(Unsendable::field("not-a-key", field, message));
    }
    let at = set
        .iter()
        .position(|at| group.batch.columns[*at].name == field);
    match at.map(|at| &values[at]) {
        None | Some(Value::Null) => {
            let message = format!("the row has no value for its key {field}");
            Err(Unsendable::field("key-missing", field, message))
        }
        Some(_) => Ok(()),
    }
}

/// Whether the rows a statement returns were made by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Created,
    Changed,
    Deleted,
    /// Nothing: its row is the version of what the others wrote.
    Seen,
}

/// A statement with what its result rows mean. Their first column is the row's place among `rows`.
pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    pub(crate) effect: Effect,
    /// The set fields, which the result rows carry as they were stored.
    pub(crate) fields: Vec<String>,
    pub(crate) group: usize,
}

/// The statements for some rows, in the order of their first row, and last the one that tells their version where a
/// table is captured. `transaction` binds them together.
pub(crate) fn statements(
    groups: &[Group],
    tables: &[(&Table, &Key)],
    settings: &Settings,
    rows: &[&Planned],
    transaction: u32,
) -> Vec<Prepared> {
    let mut patterns: Vec<Vec<usize>> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let alike = |first: &Planned| {
            first.group == row.group
                && first.set == row.set
                && first.classes == row.classes
                && first.is_conditional() == row.is_conditional()
        };
        match patterns.iter_mut().find(|places| alike(rows[places[0]])) {
            Some(places) => places.push(at),
            None => patterns.push(vec![at]),
        }
    }
    let captured = rows.iter().any(|row| tables[row.group].0.number.is_some());
    let seen = captured.then(|| Prepared {
        statement: Statement {
            transaction: Some(transaction),
            tokens: rows.iter().map(|row| row.token).collect(),
            ..version::statement(settings)
        },
        effect: Effect::Seen,
        fields: Vec::new(),
        group: 0,
    });
    patterns
        .iter()
        .flat_map(|places| {
            let first = rows[places[0]];
            let (table, key) = tables[first.group];
            let group = &groups[first.group];
            let pattern = Pattern::new(group, (table, key), settings, first);
            let executions: Vec<Vec<Value>> = places
                .iter()
                .map(|at| {
                    let mut values = rows[*at].values.clone();
                    values.extend(rows[*at].unless_changed.iter().flatten().cloned());
                    values.push(Value::Integer(*at as i64));
                    values
                })
                .collect();
            let tokens: Vec<u64> = places.iter().map(|at| rows[*at].token).collect();
            let texts = pattern.sql(group.operation);
            texts.into_iter().map(move |(sql, effect)| Prepared {
                statement: Statement {
                    transaction: Some(transaction),
                    tokens: tokens.clone(),
                    // Repeating an insert makes a second row; everything else arrives where it was.
                    idempotent: group.operation != OperationKind::Create,
                    ..Statement::each(sql, executions.clone(), &pattern.classes)
                },
                effect,
                fields: pattern.fields.clone(),
                group: first.group,
            })
        })
        .chain(seen)
        .collect()
}

/// Texts of one statement's parts.
struct Pattern {
    table: String,
    /// Quoted names of the set columns.
    columns: Vec<String>,
    fields: Vec<String>,
    returning: String,
    classes: Vec<Class>,
    /// Condition that finds the row by its id, and as the host knows it.
    by_id: String,
    /// The upsert key's quoted name and its parameter.
    by_key: Option<(String, usize)>,
    /// A column to assign to itself when nothing else is set.
    any: String,
}

impl Pattern {
    fn new(
        group: &Group,
        (table, key): (&Table, &Key),
        settings: &Settings,
        row: &Planned,
    ) -> Self {
        let fields: Vec<String> = row
            .set
            .iter()
            .map(|at| group.batch.columns[*at].name.clone())
            .collect();
        let mut classes = vec![Class::Integer];
        let mut by_id = key.equals(fields.len() + 1);
        let mut place = row.values.len() + 1;
        if let (Some(condition), Some(number)) = (&row.unless_changed, table.number) {
            let unchanged = version::unchanged(settings, number, place);
            by_id = format!("{by_id} AND {unchanged}");
            place += condition.len();
        }
        let mut returning = format!("RETURNING ?{place} AS place");
        if group.operation != OperationKind::Delete
            && let Some(reader) = Reader::new(table, &fields, settings.timestamps)
        {
            let (selected, read) = reader.selected();
            returning = format!("{returning}, {selected}");
            classes.extend(read);
        }
        let by_key = group.key.as_ref().and_then(|key| {
            let at = fields.iter().position(|field| field == key)?;
            Some((name(key), at + 1))
        });
        Self {
            table: name(&table.name),
            columns: fields.iter().map(|field| name(field)).collect(),
            returning,
            classes,
            by_id,
            by_key,
            any: key.names().remove(0),
            fields,
        }
    }

    fn sql(&self, operation: OperationKind) -> Vec<(String, Effect)> {
        let (table, returning) = (&self.table, &self.returning);
        match operation {
            OperationKind::Create if self.columns.is_empty() => vec![(
                format!("INSERT INTO {table} DEFAULT VALUES {returning}"),
                Effect::Created,
            )],
            OperationKind::Create => vec![(
                format!(
                    "INSERT INTO {table} ({}) VALUES ({}) {returning}",
                    self.columns.join(", "),
                    placeholders(self.columns.len())
                ),
                Effect::Created,
            )],
            OperationKind::Update => vec![(
                format!(
                    "UPDATE {table} SET {} WHERE {} {returning}",
                    self.assignments(None),
                    self.by_id
                ),
                Effect::Changed,
            )],
            OperationKind::Upsert => self.upsert(),
            OperationKind::Delete => vec![(
                format!("DELETE FROM {table} WHERE {} {returning}", self.by_id),
                Effect::Deleted,
            )],
            // Refused when they were planned.
            OperationKind::Merge | OperationKind::Restore | OperationKind::Convert => Vec::new(),
        }
    }

    fn upsert(&self) -> Vec<(String, Effect)> {
        let (table, returning) = (&self.table, &self.returning);
        let Some((key, at)) = &self.by_key else {
            return Vec::new();
        };
        let found = format!("{key} = ?{at}");
        vec![
            (
                format!(
                    "UPDATE {table} SET {} WHERE {found} {returning}",
                    self.assignments(Some(key))
                ),
                Effect::Changed,
            ),
            (
                format!(
                    "INSERT INTO {table} ({}) SELECT {} WHERE NOT EXISTS (SELECT 1 FROM {table} \
                     WHERE {found}) {returning}",
                    self.columns.join(", "),
                    placeholders(self.columns.len())
                ),
                Effect::Created,
            ),
        ]
    }

    fn assignments(&self, without: Option<&str>) -> String {
        let assigned: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| without != Some(column.as_str()))
            .map(|(at, column)| format!("{column} = ?{}", at + 1))
            .collect();
        if assigned.is_empty() {
            format!("{any} = {any}", any = self.any)
        } else {
            assigned.join(", ")
        }
    }
}
