//! The seam to the database: statements out, rows back. The component speaks to the host behind it, the
//! tests to a real SQLite library.

use tidegate_sdk::Fault;

/// A value as SQLite stores it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// SQLite's storage classes but null, which fits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Integer,
    Real,
    Text,
    Blob,
}

impl Value {
    /// `None` for null.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Null => None,
            Self::Integer(_) => Some(Class::Integer),
            Self::Real(_) => Some(Class::Real),
            Self::Text(_) => Some(Class::Text),
            Self::Blob(_) => Some(Class::Blob),
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(value) => value,
            _ => "",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// One statement and its executions.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    pub sql: String,
    /// Parameters of each execution, `?1` first. Within one position all values are of one class, or null.
    pub executions: Vec<Vec<Value>>,
    /// Class of each result column; a value of another class is a fault.
    pub results: Vec<Class>,
    pub rows_max: u32,
    /// Statements of one call with the same number commit or roll back together.
    pub transaction: Option<u32>,
    /// The rows of a push that it carries.
    pub tokens: Vec<u64>,
    pub idempotent: bool,
}

/// Rows that a statement may return unless it says otherwise: more than any schema or page has.
const ROWS_MAX: u32 = 1_000_000;

impl Statement {
    /// A statement that is executed once.
    pub fn once(sql: impl Into<String>, parameters: Vec<Value>, results: &[Class]) -> Self {
        Self::each(sql, vec![parameters], results)
    }

    /// A statement that is executed once per list of parameters.
    pub fn each(sql: impl Into<String>, executions: Vec<Vec<Value>>, results: &[Class]) -> Self {
        Self {
            sql: sql.into(),
            executions,
            results: results.to_vec(),
            rows_max: ROWS_MAX,
            ..Self::default()
        }
    }
}

/// What a statement gave: the result rows of all its executions in order.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub rows: Vec<Vec<Value>>,
    pub truncated: bool,
}

/// Answers stand in the order of the statements.
pub type Answers = Vec<Result<Rows, Fault>>;

pub trait Database {
    /// Reads; statements may run concurrently.
    fn fetch(&self, statements: Vec<Statement>) -> Answers;
    /// Writes, one after the other.
    fn write(&self, statements: Vec<Statement>) -> Answers;
    /// A line for the operator: names and counts, never values.
    fn warn(&self, message: &str);
}

/// Rows of one read; a cut answer is a fault, because what is missing would look deleted.
pub(crate) fn fetch_one(database: &dyn Database, statement: Statement) -> Result<Rows, Fault> {
    fetch_all(database, vec![statement]).map(|mut all| all.pop().unwrap_or_default())
}

pub(crate) fn fetch_all(
    database: &dyn Database,
    statements: Vec<Statement>,
) -> Result<Vec<Rows>, Fault> {
    let asked = statements.len();
    let answers = database.fetch(statements);
    if answers.len() != asked {
        return Err(miscounted(asked, answers.len()));
    }
    answers.into_iter().map(whole).collect()
}

pub(crate) fn write_all(
    database: &dyn Database,
    statements: Vec<Statement>,
) -> Result<Vec<Rows>, Fault> {
    let asked = statements.len();
    let answers = database.write(statements);
    if answers.len() != asked {
        return Err(miscounted(asked, answers.len()));
    }
    // The statement that failed says more than those that were rolled back with it.
    let cause = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .min_by_key(|fault| is_bystander(fault));
    match cause {
        Some(fault) => Err(fault.clone()),
        None => answers.into_iter().collect(),
    }
}

/// Whether a fault only tells that another statement of the same list failed.
pub(crate) fn is_bystander(fault: &Fault) -> bool {
    matches!(fault.code.as_str(), "rolled-back" | "not-attempted")
}

/// Whether the answer passed the host's bound on bytes, so that fewer rows may fit.
pub(crate) fn is_too_large(fault: &Fault) -> bool {
    fault.code == "response-too-large"
}

pub(crate) fn whole(answer: Result<Rows, Fault>) -> Result<Rows, Fault> {
    let rows = answer?;
    if rows.truncated {
        return Err(Fault::broken(
            "answer-cut",
            "the host cut the answer to a statement; raise the endpoint's row limit",
        ));
    }
    Ok(rows)
}

pub(crate) fn miscounted(asked: usize, answered: usize) -> Fault {
    Fault::broken(
        "answers-miscounted",
        format!("{asked} statements were sent and {answered} answers came back"),
    )
    .with_unknown_fate()
}
