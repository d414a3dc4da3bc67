//! Names become fields, and literals values of their types, or the query is refused.

use super::super::answer::ApiError;
use super::super::cell::Cell;
use super::super::decimal::{self, NotTaken};
use super::super::id::Id;
use super::super::moment;
use super::super::schema::{Field, Kind, Object};
use super::judge::glob;
use super::lex::Token;
use super::parse::{Condition, Parsed};
use super::{Comparison, Filter, Order, Query, field};

pub(super) fn bind(parsed: Parsed, table: usize, object: &Object) -> Result<Query, ApiError> {
    let mut fields: Vec<Field> = Vec::with_capacity(parsed.fields.len());
    for name in &parsed.fields {
        let found = field(object, name)?;
        if fields.iter().any(|before| before.name == found.name) {
            let message = format!("duplicate field selected: {}", found.name);
            return Err(ApiError::bad("INVALID_FIELD", message));
        }
        fields.push(found);
    }
    let filter = parsed
        .filter
        .map(|condition| filter(condition, object))
        .transpose()?;
    let order = parsed
        .order
        .into_iter()
        .map(|order| {
            Ok(Order {
                field: filterable(object, &order.field, "sorted")?,
                descending: order.descending,
                nulls_last: order.nulls_last,
            })
        })
        .collect::<Result<_, ApiError>>()?;
    Ok(Query {
        table,
        fields,
        count: parsed.count,
        filter,
        order,
        limit: parsed.limit,
        skips: parsed.offset.is_some(),
        offset: parsed.offset.unwrap_or(0),
    })
}

fn filter(condition: Condition, object: &Object) -> Result<Filter, ApiError> {
    let all = |conditions: Vec<Condition>| {
        conditions
            .into_iter()
            .map(|condition| filter(condition, object))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match condition {
        Condition::And(conditions) => Filter::And(all(conditions)?),
        Condition::Or(conditions) => Filter::Or(all(conditions)?),
        Condition::Not(inner) => Filter::Not(Box::new(filter(*inner, object)?)),
        Condition::Compare(name, sign, literal) => {
            let field = filterable(object, &name, "filtered")?;
            let value = value(&field, &literal)?;
            let comparison = comparison(sign)?;
            Filter::Compare(field, comparison, value)
        }
        Condition::In {
            field: name,
            among,
            negated,
        } => {
            let field = filterable(object, &name, "filtered")?;
            let among = among
                .iter()
                .map(|literal| value(&field, literal))
                .collect::<Result<_, _>>()?;
            Filter::In(field, among, negated)
        }
        Condition::Like(name, pattern) => {
            Filter::Like(filterable(object, &name, "filtered")?, glob(&pattern))
        }
    })
}

fn filterable(object: &Object, name: &str, how: &str) -> Result<Field, ApiError> {
    let found = field(object, name)?;
    if found.filterable() {
        return Ok(found);
    }
    let message = format!("field '{}' can not be {how} in a query call", found.name);
    Err(ApiError::bad("INVALID_FIELD", message))
}

fn comparison(sign: &str) -> Result<Comparison, ApiError> {
    Ok(match sign {
        "=" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => {
            return Err(super::lex::malformed(&format!(
                "unexpected token: '{sign}'"
            )));
        }
    })
}

/// Quotes decide: a text is quoted, everything else is not.
fn value(field: &Field, literal: &Token) -> Result<Cell, ApiError> {
    if matches!(literal, Token::Word(word) if word.eq_ignore_ascii_case("null")) {
        return Ok(Cell::Null);
    }
    let wanted = match (&field.kind, literal) {
        (Kind::Checkbox, Token::Word(word)) if word.eq_ignore_ascii_case("true") => {
            return Ok(Cell::Flag(true));
        }
        (Kind::Checkbox, Token::Word(word)) if word.eq_ignore_ascii_case("false") => {
            return Ok(Cell::Flag(false));
        }
        (Kind::Checkbox, _) => "boolean",
        (Kind::Number { .. } | Kind::Integer, Token::Number(number)) => {
            return match decimal::read(number, field.scale(), 18) {
                Ok(steps) => Ok(Cell::Number(steps)),
                Err(NotTaken::OutOfRange | NotTaken::NotANumber) => {
                    Err(super::lex::malformed(&format!("invalid number: {number}")))
                }
            };
        }
        (Kind::Number { .. } | Kind::Integer, _) => "double",
        (Kind::Date, Token::Moment(text)) if text.len() == 10 => {
            return moment::read_date(text)
                .map(Cell::Day)
                .ok_or_else(|| super::lex::malformed(&format!("Invalid date: {text}")));
        }
        (Kind::Date, _) => "date",
        (Kind::Datetime, Token::Moment(text)) if text.len() > 10 => {
            return moment::read(text)
                .map(Cell::Moment)
                .ok_or_else(|| super::lex::malformed(&format!("Invalid datetime: {text}")));
        }
        (Kind::Datetime, _) => "dateTime",
        (Kind::Id | Kind::Reference { .. }, Token::Text(text)) => {
            return Id::parse(text).map(Cell::Link).ok_or_else(|| {
                ApiError::bad(
                    "INVALID_QUERY_FILTER_OPERATOR",
                    format!("invalid ID field: {text}"),
                )
            });
        }
        (_, Token::Text(text)) => {
            let plain = text
                .replace(super::LITERAL_UNDERSCORE, "_")
                .replace(super::LITERAL_PERCENT, "%");
            return Ok(Cell::text(&plain));
        }
        _ => "string",
    };
    let quotes = if wanted == "string" {
        "should be enclosed in quotes"
    } else {
        "should not be enclosed in quotes"
    };
    let message = format!(
        "value of filter criterion for field '{}' must be of type {wanted} and {quotes}",
        field.name
    );
    Err(ApiError::bad("INVALID_FIELD", message))
}
