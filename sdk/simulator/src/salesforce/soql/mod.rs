//! A subset of SOQL: text in, matching ids out, in order.
//!
//! `lex` and `parse` know the grammar, `bind` checks names and literals against an object, `judge` decides
//! about a row, `find` walks the narrowest index. Absent: relationships, aggregates other than `COUNT()`,
//! `GROUP BY`, date functions and relative dates; they are refused, never guessed at.

mod bind;
mod find;
mod judge;
mod lex;
mod parse;

use super::answer::ApiError;
use super::cell::Cell;
use super::schema::{Field, Object};
use super::table::Table;

pub(crate) use find::find;

/// Stand for an escaped `_` and `%` between the lexer and LIKE; private-use characters.
const LITERAL_UNDERSCORE: char = '\u{f8f0}';
const LITERAL_PERCENT: char = '\u{f8f1}';

/// A query that is known to fit its object.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) table: usize,
    pub(crate) fields: Vec<Field>,
    pub(crate) count: bool,
    /// There is an OFFSET in it, if only of 0.
    pub(crate) skips: bool,
    filter: Option<Filter>,
    order: Vec<Order>,
    limit: Option<usize>,
    offset: usize,
}

#[derive(Debug)]
enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Field, Comparison, Cell),
    In(Field, Vec<Cell>, bool),
    Like(Field, Vec<judge::Glob>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug)]
struct Order {
    field: Field,
    descending: bool,
    nulls_last: bool,
}

/// Parses and binds.
pub(crate) fn read(text: &str, tables: &[Table]) -> Result<Query, ApiError> {
    let parsed = parse::parse(text)?;
    let place = tables
        .iter()
        .position(|table| table.object.name.eq_ignore_ascii_case(&parsed.object))
        .ok_or_else(|| {
            let message = format!(
                "sObject type '{}' is not supported. If you are attempting to use a custom object, \
                 be sure to append the '__c' after the entity name.",
                parsed.object
            );
            ApiError::bad("INVALID_TYPE", message)
        })?;
    bind::bind(parsed, place, &tables[place].object)
}

fn field(object: &Object, name: &str) -> Result<Field, ApiError> {
    let own = name
        .split_once('.')
        .filter(|(prefix, _)| prefix.eq_ignore_ascii_case(&object.name))
        .map_or(name, |(_, own)| own);
    if own.contains('.') {
        let message = format!("Didn't understand relationship '{own}' in field path.");
        return Err(ApiError::bad("INVALID_FIELD", message));
    }
    object.field(own).cloned().ok_or_else(|| {
        let message = format!(
            "No such column '{own}' on entity '{}'. If you are attempting to use a custom field, be \
             sure to append the '__c' after the custom field name.",
            object.name
        );
        ApiError::bad("INVALID_FIELD", message)
    })
}
