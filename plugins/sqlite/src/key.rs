//! What names a row: the text of its primary key, computed alike by triggers, reads and writes.
//!
//! A key of one text column is its own text, so that ids look as people know them. Everything else is
//! written as SQL literals joined by commas (`17`, `X'00FF'`, `4,'de'`), which keeps storage classes apart and
//! needs no escape of its own. A text key that could be taken for a literal is written as one.
//!
//! SQLite gives the number of a deleted row to a later one, unless the table has `AUTOINCREMENT`. So that an id
//! never names two records, the numbers' earlier lives are counted, and a later life shows in the id: `17~1`.

use crate::database::Value;
use crate::kind::Affinity;
use crate::quoting;
use crate::schema::Column;

#[derive(Clone, Debug)]
pub(crate) struct Key {
    parts: Parts,
    lives: Option<Lives>,
}

#[derive(Clone, Debug)]
enum Parts {
    /// Of a table without primary key, by the one of its names that no column hides. `VACUUM` may give
    /// such rows other numbers.
    Rowid(&'static str),
    /// The primary key's columns in its order.
    Columns(Vec<Column>),
}

/// Where the earlier lives of a table's row numbers are counted.
#[derive(Clone, Debug)]
struct Lives {
    /// Quoted name of the table that counts them.
    counted_in: String,
    /// The counted table's name as a literal.
    object: String,
}

/// Columns of the table that counts lives. The names stand beside a customer's columns in expressions, and must
/// not be taken for one of them.
pub(crate) const LIVES_OF: &str = "\"tidegate:object\"";
pub(crate) const LIVES_ID: &str = "\"tidegate:id\"";
pub(crate) const LIVES: &str = "\"tidegate:lives\"";

/// Parts a row's number from the count of its earlier lives.
const LIFE_MARK: char = '~';

impl Lives {
    /// How many lives of the number `id` have ended; null for none.
    fn ended(&self, id: &str) -> String {
        format!(
            "(SELECT {LIVES} FROM {} WHERE {LIVES_OF} = {} AND {LIVES_ID} = {id})",
            self.counted_in, self.object
        )
    }
}

const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

impl Key {
    /// `None` when the table has neither a primary key nor a visible row number.
    pub(crate) fn of(columns: &[Column]) -> Option<Self> {
        Some(Self {
            parts: Parts::of(columns)?,
            lives: None,
        })
    }

    /// The same for a table whose row numbers are used again, with the quoted name of the table that counts that.
    pub(crate) fn with_lives(self, counted_in: String, table: &str) -> Self {
        Self {
            lives: Some(Lives {
                counted_in,
                object: quoting::literal(table),
            }),
            ..self
        }
    }

    /// The primary key's columns in its order; none of a table without one.
    pub(crate) fn columns(&self) -> &[Column] {
        match &self.parts {
            Parts::Rowid(_) => &[],
            Parts::Columns(columns) => columns,
        }
    }

    /// The key's columns as they stand in statements.
    pub(crate) fn names(&self) -> Vec<String> {
        self.parts.names()
    }

    /// Columns whose assignment can change the key. The row number goes by several names, and SQLite takes
    /// any name here.
    pub(crate) fn assigned_names(&self) -> Vec<String> {
        let mut names = self.names();
        match self.columns() {
            [] => {}
            [column] if column.affinity == Affinity::Integer => {}
            _ => return names,
        }
        names.extend(ROWID_NAMES.map(str::to_owned));
        names.dedup();
        names
    }

    /// An expression for the id of the row that `prefix` (`NEW.`, or nothing) names.
    pub(crate) fn id(&self, prefix: &str) -> String {
        let id = self.parts.id(prefix);
        match &self.lives {
            None => id,
            Some(lives) => format!(
                "{id} || coalesce('{LIFE_MARK}' || {}, '')",
                lives.ended(&self.number(prefix))
            ),
        }
    }

    /// The row's number, where the key is one.
    fn number(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.names().concat())
    }

    /// Statements of a trigger that end the life of the row that `prefix` names; none where ids are not used again.
    pub(crate) fn end_life(&self, prefix: &str) -> Option<String> {
        let lives = self.lives.as_ref()?;
        let number = self.number(prefix);
        let Lives { counted_in, object } = lives;
        Some(format!(
            "INSERT INTO {counted_in} SELECT {object}, {number}, 0 WHERE {} IS NULL; \
             UPDATE {counted_in} SET {LIVES} = {LIVES} + 1 WHERE {LIVES_OF} = {object} AND {LIVES_ID} = {number};",
            lives.ended(&number)
        ))
    }

    /// The values of an id, for the parameters of [`Key::equals`]. `None` when no row can have that id.
    pub(crate) fn parse(&self, id: &str) -> Option<Vec<Value>> {
        if self.lives.is_none() {
            return self.parts.parse(id);
        }
        let (number, ended) = match id.split_once(LIFE_MARK) {
            None => (id, 0),
            Some((number, ended)) => (number, ended.parse().ok().filter(|ended| *ended > 0)?),
        };
        let mut values = self.parts.parse(number)?;
        values.push(Value::Integer(ended));
        Some(values)
    }

    /// The values of the key's columns alone: the row's place in their order.
    pub(crate) fn place(&self, id: &str) -> Option<Vec<Value>> {
        let mut values = self.parse(id)?;
        values.truncate(self.names().len());
        Some(values)
    }

    /// `"a" = ?n AND "b" = ?n+1`, from position `first`, for what [`Key::parse`] gives.
    pub(crate) fn equals(&self, first: usize) -> String {
        let names = self.names();
        let mut conditions: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(at, name)| format!("{name} = ?{}", first + at))
            .collect();
        if let Some(lives) = &self.lives {
            conditions.push(format!(
                "coalesce({}, 0) = ?{}",
                lives.ended(&self.number("")),
                first + names.len()
            ));
        }
        conditions.join(" AND ")
    }

    /// Conditions that each part of the key is there: primary keys of ordinary tables may hold nulls, and
    /// rows with one can't be told apart.
    pub(crate) fn present(&self, prefix: &str) -> Vec<String> {
        self.columns()
            .iter()
            .filter(|column| column.nullable)
            .map(|column| format!("{prefix}{} IS NOT NULL", quoting::name(&column.name)))
            .collect()
    }
}

impl Parts {
    fn of(columns: &[Column]) -> Option<Self> {
        let mut key: Vec<Column> = columns
            .iter()
            .filter(|column| column.key_place > 0)
            .cloned()
            .collect();
        key.sort_by_key(|column| column.key_place);
        if !key.is_empty() {
            return Some(Self::Columns(key));
        }
        ROWID_NAMES
            .into_iter()
            .find(|name| {
                !columns
                    .iter()
                    .any(|column| column.name.eq_ignore_ascii_case(name))
            })
            .map(Self::Rowid)
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Rowid(name) => vec![(*name).to_owned()],
            Self::Columns(columns) => columns
                .iter()
                .map(|column| quoting::name(&column.name))
                .collect(),
        }
    }

    fn id(&self, prefix: &str) -> String {
        let Self::Columns(columns) = self else {
            return format!("quote({prefix}{})", self.names().concat());
        };
        if let [column] = columns.as_slice()
            && column.affinity == Affinity::Text
        {
            let name = format!("{prefix}{}", quoting::name(&column.name));
            return format!(
                "CASE WHEN typeof({name}) = 'text' AND {name} NOT GLOB '''*' AND {name} NOT GLOB 'X''*' \
                 AND {name} NOT GLOB 'TX''*' THEN {name} ELSE {} END",
                as_literal(column, prefix)
            );
        }
        columns
            .iter()
            .map(|column| as_literal(column, prefix))
            .collect::<Vec<_>>()
            .join(" || ',' || ")
    }

    /// Values for the key's columns in order.
    fn parse(&self, id: &str) -> Option<Vec<Value>> {
        let (count, plain) = match self {
            Self::Rowid(_) => (1, false),
            Self::Columns(columns) => (
                columns.len(),
                columns.len() == 1 && columns[0].affinity == Affinity::Text,
            ),
        };
        let marked = ["'", "X'", "TX'"].iter().any(|mark| id.starts_with(mark));
        if plain && !marked {
            return Some(vec![Value::from(id)]);
        }
        let values = literals(id)?;
        (values.len() == count).then_some(values)
    }
}

/// `quote` ends a text at U+0000, so such a text is written as the bytes it is made of, behind a `T`.
fn as_literal(column: &Column, prefix: &str) -> String {
    let name = format!("{prefix}{}", quoting::name(&column.name));
    if column.affinity == Affinity::Integer {
        return format!("quote({name})");
    }
    format!(
        "CASE WHEN typeof({name}) = 'text' AND instr({name}, char(0)) THEN \
         'T' || quote(CAST({name} AS BLOB)) ELSE quote({name}) END"
    )
}

/// Literals joined by commas.
fn literals(text: &str) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, after) = literal(rest)?;
        values.push(value);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(values),
            None => return None,
        }
    }
}

fn literal(text: &str) -> Option<(Value, &str)> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return text_literal(quoted);
    }
    if let Some(hex) = text.strip_prefix("X'") {
        let (digits, after) = hex.split_once('\'')?;
        return Some((Value::Blob(from_hex(digits)?), after));
    }
    if let Some(hex) = text.strip_prefix("TX'") {
        let (digits, after) = hex.split_once('\'')?;
        let text = String::from_utf8(from_hex(digits)?).ok()?;
        return Some((Value::Text(text), after));
    }
    let end = text.find(',').unwrap_or(text.len());
    let (number, after) = text.split_at(end);
    let value = match number.parse::<i64>() {
        Ok(integer) => Value::Integer(integer),
        Err(_) => Value::Real(number.parse::<f64>().ok().filter(|real| real.is_finite())?),
    };
    Some((value, after))
}

/// What follows the opening quote.
fn text_literal(text: &str) -> Option<(Value, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('\'')?;
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((Value::Text(value), after)),
        }
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}
