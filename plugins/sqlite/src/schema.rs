//! Tables as the database declares them. Read anew in every call, because any process may alter a table
//! at any time.

use std::collections::HashMap;

use tidegate_sdk::{DataType, Fault};

use crate::database::{Class, Database, Rows, Statement, Value, fetch_all};
use crate::key::Key;
use crate::kind::{self, Affinity, arguments};
use crate::outbox;
use crate::quoting;
use crate::settings::Settings;

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub declared: String,
    pub kind: DataType,
    pub(crate) affinity: Affinity,
    pub nullable: bool,
    pub has_default: bool,
    /// Computed by the database; can't be written.
    pub generated: bool,
    /// Place in the primary key from 1, or 0.
    pub(crate) key_place: u32,
    /// No two rows share a value, by a constraint on this column alone.
    pub unique: bool,
    /// Table that a foreign key on this column alone points to.
    pub references: Option<String>,
    pub length_max: Option<u32>,
    pub precision: Option<u32>,
    pub scale: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub view: bool,
    pub columns: Vec<Column>,
    /// What names a row; a view has nothing.
    pub(crate) key: Option<Key>,
    /// What the outbox calls it, while our triggers are in place.
    pub(crate) number: Option<i64>,
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns of these names; names that are gone or hidden are left out, so that they read as unset.
    pub(crate) fn select(&self, names: &[String]) -> Vec<&Column> {
        names.iter().filter_map(|name| self.column(name)).collect()
    }

    /// Names of the columns that are the record's id.
    pub fn id_fields(&self) -> Vec<String> {
        let columns = self.key.as_ref().map_or(&[][..], Key::columns);
        columns.iter().map(|column| column.name.clone()).collect()
    }
}

/// Names of all tables and views that the operator lets us see, in order.
pub fn names(database: &dyn Database, settings: &Settings) -> Result<Vec<(String, bool)>, Fault> {
    let statement = Statement::once(
        format!("{} ORDER BY name", tables(settings)),
        vec![],
        &TABLE_CLASSES,
    );
    let rows = fetch_all(database, vec![statement])?.remove(0);
    Ok(rows
        .rows
        .iter()
        .map(|row| (row[0].text().to_owned(), row[1].text() == "view"))
        .filter(|(name, _)| settings.sees(name))
        .collect())
}

// The word stands nowhere but in the table's statement; one in a comment behind the key is taken for it.
const TABLES: &str = "SELECT name, type, wr, strict, EXISTS (SELECT 1 FROM sqlite_master m \
    WHERE m.name = l.name AND m.type = 'table' AND m.sql LIKE '%PRIMARY%KEY%AUTOINCREMENT%') AS numbered_once, \
    {captured_as} AS captured_as \
    FROM pragma_table_list l WHERE schema = 'main' AND type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_'";

const TABLE_CLASSES: [Class; 6] = [
    Class::Text,
    Class::Text,
    Class::Integer,
    Class::Integer,
    Class::Integer,
    Class::Integer,
];

/// A table's number is part of its triggers' names.
fn tables(settings: &Settings) -> String {
    let prefix = outbox::trigger_prefix(settings);
    let length = prefix.chars().count();
    let captured_as = format!(
        "(SELECT max(CAST(substr(t.name, {}) AS INTEGER)) FROM sqlite_master t WHERE t.type = 'trigger' \
         AND t.tbl_name = l.name AND substr(t.name, 1, {length}) = {})",
        length + 1,
        quoting::literal(&prefix)
    );
    TABLES.replace("{captured_as}", &captured_as)
}

const COLUMNS: &str = "SELECT m.name AS owner, x.name, x.type, x.\"notnull\", \
    x.dflt_value IS NOT NULL AS given, x.pk, x.hidden \
    FROM sqlite_master m JOIN pragma_table_xinfo(m.name) x \
    WHERE m.name = ?1 AND m.type IN ('table', 'view') ORDER BY x.cid";

// A unique index on one plain column, and any index that stands for the primary key.
const INDEXES: &str = "SELECT ?1 AS owner, i.origin, \
    (SELECT CASE count(*) WHEN 1 THEN max(c.name) END FROM pragma_index_info(i.name) c) AS only \
    FROM pragma_index_list(?1) i WHERE i.\"unique\" AND NOT i.partial";

const REFERENCES: &str = "SELECT ?1 AS owner, min(f.\"from\") AS source, min(f.\"table\") AS target \
    FROM pragma_foreign_key_list(?1) f GROUP BY f.id HAVING count(*) = 1";

/// The statements whose answers [`assemble`] understands, for a call that has more to ask at once.
pub(crate) fn statements(settings: &Settings, objects: &[String]) -> Vec<Statement> {
    use Class::{Integer, Text};
    let each = |sql: &str, results: &[Class]| {
        let mut once = std::collections::HashSet::new();
        let executions = objects
            .iter()
            .filter(|object| once.insert(object.as_str()))
            .map(|object| vec![Value::from(object.as_str())])
            .collect();
        Statement::each(sql, executions, results)
    };
    vec![
        each(
            &format!("{} AND name = ?1", tables(settings)),
            &TABLE_CLASSES,
        ),
        each(
            COLUMNS,
            &[Text, Text, Text, Integer, Integer, Integer, Integer],
        ),
        each(INDEXES, &[Text, Text, Text]),
        each(REFERENCES, &[Text, Text, Text]),
    ]
}

/// How many statements [`statements`] gives.
pub(crate) const STATEMENTS: usize = 4;

/// The tables of these names, in their order; unknown ones are left out.
pub fn describe(
    database: &dyn Database,
    settings: &Settings,
    objects: &[String],
) -> Result<Vec<Table>, Fault> {
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let answers = fetch_all(database, statements(settings, objects))?;
    Ok(assemble(settings, objects, &answers))
}

/// How many rows each of the tables has, by its smallest index; `None` for what is none or is hidden. Views are left out, since
/// nobody knows what their query costs.
pub fn count(
    database: &dyn Database,
    settings: &Settings,
    objects: &[String],
) -> Result<Vec<Option<u64>>, Fault> {
    let tables = describe(database, settings, objects)?;
    let tables: Vec<&Table> = tables.iter().filter(|table| !table.view).collect();
    let counting = tables.iter().map(|table| {
        let name = quoting::name(&table.name);
        Statement::once(
            format!("SELECT count(*) FROM {name}"),
            vec![],
            &[Class::Integer],
        )
    });
    let counted = fetch_all(database, counting.collect())?;
    let count = |object: &String| {
        let place = tables.iter().position(|table| table.name == *object)?;
        match counted[place].rows.first()?.first()? {
            Value::Integer(count) => u64::try_from(*count).ok(),
            _ => None,
        }
    };
    Ok(objects.iter().map(count).collect())
}

pub(crate) fn assemble(settings: &Settings, objects: &[String], answers: &[Rows]) -> Vec<Table> {
    let [tables, columns, indexes, references] = answers else {
        return Vec::new();
    };
    let of = |rows: &Rows, name: &str| -> Vec<Vec<Value>> {
        let mine = |row: &&Vec<Value>| row[0].text() == name;
        rows.rows.iter().filter(mine).cloned().collect()
    };
    let declared: HashMap<&str, &Vec<Value>> =
        tables.rows.iter().map(|row| (row[0].text(), row)).collect();
    let mut seen = std::collections::HashSet::new();
    objects
        .iter()
        .filter(|name| settings.sees(name) && seen.insert(name.as_str()))
        .filter_map(|name| {
            let facts = declared.get(name.as_str())?;
            Some(table(
                settings,
                facts,
                &of(columns, name),
                &of(indexes, name),
                &of(references, name),
            ))
        })
        .collect()
}

fn table(
    settings: &Settings,
    facts: &[Value],
    columns: &[Vec<Value>],
    indexes: &[Vec<Value>],
    references: &[Vec<Value>],
) -> Table {
    let name = facts[0].text().to_owned();
    let view = facts[1].text() == "view";
    let without_rowid = facts[2] == Value::Integer(1);
    let strict = facts[3] == Value::Integer(1);
    let numbered_once = facts[4] == Value::Integer(1);
    let types = settings.types.get(&name);
    let mut columns: Vec<Column> = columns
        .iter()
        // Hidden columns of 1 belong to virtual tables; 2 and 3 are generated.
        .filter(|row| row[6] != Value::Integer(1))
        .map(|row| {
            let mut column = column(row, strict);
            if let Some(kind) = types.and_then(|types| types.get(&column.name)) {
                column.kind = kind.0;
            }
            column
        })
        .collect();
    let key_columns = columns.iter().filter(|column| column.key_place > 0).count();
    let has_key_index = indexes.iter().any(|row| row[1].text() == "pk");
    let mut named_by_number = key_columns == 0;
    for column in &mut columns {
        let only_key = column.key_place > 0 && key_columns == 1;
        let indexed = |row: &Vec<Value>| row[2].text() == column.name;
        column.unique = only_key || indexes.iter().any(indexed);
        column.references = references
            .iter()
            .find(|row| row[1].text() == column.name)
            .map(|row| row[2].text().to_owned());
        // The row number itself: never null, and given by the database when left out.
        let numbers_rows = only_key
            && !without_rowid
            && !has_key_index
            && column.declared.eq_ignore_ascii_case("integer");
        if numbers_rows {
            column.nullable = false;
            column.has_default = true;
        }
        named_by_number |= numbers_rows;
    }
    let key = Key::of(&columns).filter(|_| !view);
    let key = if named_by_number && !numbered_once {
        key.map(|key| key.with_lives(quoting::name(&settings.lives()), &name))
    } else {
        key
    };
    Table {
        name,
        view,
        columns,
        key,
        number: facts[5].integer(),
    }
}

fn column(row: &[Value], strict: bool) -> Column {
    let declared = row[2].text().to_owned();
    let affinity = Affinity::of(&declared, strict);
    let kind = kind::of(&declared, affinity);
    let numbers = arguments(&declared);
    let sized = matches!(kind, DataType::Text | DataType::Bytes);
    let exact = kind == DataType::Decimal;
    Column {
        name: row[1].text().to_owned(),
        kind,
        affinity,
        nullable: row[3] == Value::Integer(0),
        has_default: row[4] == Value::Integer(1),
        generated: matches!(row[6], Value::Integer(2 | 3)),
        key_place: row[5].integer().unwrap_or_default().try_into().unwrap_or(0),
        unique: false,
        references: None,
        length_max: numbers.first().copied().filter(|_| sized),
        precision: numbers.first().copied().filter(|_| exact),
        // `DECIMAL(12)` means whole numbers.
        scale: (exact && !numbers.is_empty()).then(|| numbers.get(1).copied().unwrap_or(0)),
        declared,
    }
}
