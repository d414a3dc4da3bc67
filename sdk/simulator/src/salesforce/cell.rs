//! One stored value: read from JSON the way Salesforce reads and normalises it, and written back.

use std::cmp::Ordering;

use jiff::civil::Date;
use serde_json::{Number, Value, json};

use super::answer::{ApiError, Refusal, RowError};
use super::decimal::{self, NotTaken};
use super::id::Id;
use super::moment;
use super::schema::{Field, Kind};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(Box<str>),
    Flag(bool),
    /// In steps of the field's scale.
    Number(i64),
    Day(Date),
    /// Milliseconds since 1970.
    Moment(i64),
    Link(Id),
}

/// Normalisations that an org may have switched on beside the ones that always happen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Habits {
    /// Ten-digit phone numbers become `(415) 555-0100`.
    pub(crate) format_phones: bool,
}

impl Cell {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// The value of a write. What is not of the field's type fails the whole call, as the
    /// JSON does not deserialise; what is of the type but breaks a rule fails the row.
    pub(crate) fn read(field: &Field, value: &Value, habits: Habits) -> Result<Self, Refusal> {
        if value.is_null() {
            return Ok(match field.kind {
                Kind::Checkbox => Self::Flag(false),
                _ => Self::Null,
            });
        }
        match &field.kind {
            Kind::Checkbox => read_flag(value).ok_or_else(|| undeserialisable("boolean", value)),
            Kind::Number { precision, scale } => read_number(field, value, *precision, *scale),
            Kind::Integer => read_number(field, value, 9, 0),
            Kind::Date => read_date(field, value),
            Kind::Datetime => value
                .as_str()
                .and_then(moment::read)
                .map(Self::Moment)
                .ok_or_else(|| undeserialisable("datetime", value)),
            Kind::Id | Kind::Reference { .. } => read_link(field, value),
            _ => read_text(field, value, habits),
        }
    }

    pub(crate) fn json(&self, field: &Field) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => json!(text),
            Self::Flag(flag) => json!(flag),
            Self::Number(steps) if field.kind == Kind::Integer => json!(steps),
            Self::Number(steps) => decimal::written(*steps, field.scale())
                .parse::<Number>()
                .map_or(Value::Null, Value::Number),
            Self::Day(day) => json!(day.to_string()),
            Self::Moment(ms) => json!(moment::written(*ms)),
            Self::Link(id) => json!(id.to_string()),
        }
    }

    /// SOQL's order: nulls first, text without regard to case.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => folded(a).cmp(folded(b)),
            (Self::Flag(a), Self::Flag(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) | (Self::Moment(a), Self::Moment(b)) => a.cmp(b),
            (Self::Day(a), Self::Day(b)) => a.cmp(b),
            (Self::Link(a), Self::Link(b)) => a.cmp(b),
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    /// What an index files the value under; empty values are in no index.
    pub(crate) fn key(&self) -> Option<Box<str>> {
        match self {
            Self::Text(text) if text.is_ascii() => Some(text.to_ascii_lowercase().into()),
            Self::Text(text) => Some(folded(text).collect()),
            Self::Number(steps) => Some(steps.to_string().into()),
            Self::Link(id) => Some(id.to_string().into()),
            _ => None,
        }
    }
}

fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

fn read_flag(value: &Value) -> Option<Cell> {
    let flag = match value {
        Value::Bool(flag) => *flag,
        Value::String(text) if text.eq_ignore_ascii_case("true") => true,
        Value::String(text) if text.eq_ignore_ascii_case("false") => false,
        _ => return None,
    };
    Some(Cell::Flag(flag))
}

fn read_number(field: &Field, value: &Value, precision: u32, scale: u32) -> Result<Cell, Refusal> {
    let written = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.trim().is_empty() => return Ok(Cell::Null),
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(undeserialisable("double", value)),
    };
    match decimal::read(&written, scale, precision) {
        Ok(steps) => Ok(Cell::Number(steps)),
        Err(NotTaken::NotANumber) => Err(undeserialisable("double", value)),
        Err(NotTaken::OutOfRange) => {
            let message = format!(
                "{}: value outside of valid range on numeric field: {written}",
                field.label
            );
            Err(RowError::field("NUMBER_OUTSIDE_VALID_RANGE", message, &field.name).into())
        }
    }
}

fn read_date(field: &Field, value: &Value) -> Result<Cell, Refusal> {
    let text = value
        .as_str()
        .ok_or_else(|| undeserialisable("date", value))?;
    if text.is_empty() {
        return Ok(Cell::Null);
    }
    let day = moment::read_date(text).ok_or_else(|| undeserialisable("date", value))?;
    if !(1700..=4000).contains(&day.year()) {
        let message = format!("{}: invalid date: {text}", field.label);
        return Err(RowError::field("FIELD_INTEGRITY_EXCEPTION", message, &field.name).into());
    }
    Ok(Cell::Day(day))
}

fn read_link(field: &Field, value: &Value) -> Result<Cell, Refusal> {
    let text = value
        .as_str()
        .ok_or_else(|| undeserialisable("string", value))?;
    if text.is_empty() {
        return Ok(Cell::Null);
    }
    Id::parse(text).map(Cell::Link).ok_or_else(|| {
        let message = format!("{}: id value of incorrect type: {text}", field.label);
        RowError::field("MALFORMED_ID", message, &field.name).into()
    })
}

fn read_text(field: &Field, value: &Value, habits: Habits) -> Result<Cell, Refusal> {
    let owned = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return Err(undeserialisable("string", value)),
    };
    // Java's trim, which the platform uses: everything up to the space goes, no-break spaces stay.
    let trimmed = owned.trim_matches(|letter| letter <= ' ');
    if trimmed.is_empty() {
        return Ok(Cell::Null);
    }
    let length = trimmed.encode_utf16().count();
    if length > field.length {
        let message = format!(
            "{}: data value too large: {trimmed} (max length={})",
            field.label, field.length
        );
        return Err(RowError::field("STRING_TOO_LONG", message, &field.name).into());
    }
    match &field.kind {
        Kind::Email => read_email(field, trimmed),
        Kind::Phone if habits.format_phones => Ok(Cell::text(&formatted_phone(trimmed))),
        Kind::Picklist { values, restricted } if *restricted => {
            if values.iter().any(|known| known == trimmed) {
                return Ok(Cell::text(trimmed));
            }
            let code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST";
            let message = format!(
                "{}: bad value for restricted picklist field: {trimmed}",
                field.label
            );
            Err(RowError::field(code, message, &field.name).into())
        }
        _ => Ok(Cell::text(trimmed)),
    }
}

fn read_email(field: &Field, text: &str) -> Result<Cell, Refusal> {
    let plausible = text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && !host.contains('@')
            && host
                .split_once('.')
                .is_some_and(|(first, rest)| !first.is_empty() && !rest.is_empty())
            && !text.contains(char::is_whitespace)
            && !text.ends_with('.')
    });
    if plausible {
        return Ok(Cell::text(&text.to_lowercase()));
    }
    let message = format!("{}: invalid email address: {text}", field.label);
    Err(RowError::field("INVALID_EMAIL_ADDRESS", message, &field.name).into())
}

fn formatted_phone(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let plain = text
        .chars()
        .all(|letter| letter.is_ascii_digit() || " -.()".contains(letter));
    if plain && digits.len() == 10 {
        format!("({}) {}-{}", &digits[..3], &digits[3..6], &digits[6..])
    } else {
        text.to_owned()
    }
}

fn undeserialisable(wanted: &str, value: &Value) -> Refusal {
    let found = match value {
        Value::String(_) => "VALUE_STRING",
        Value::Number(_) => "VALUE_NUMBER",
        Value::Bool(_) => "VALUE_BOOLEAN",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
        Value::Null => "VALUE_NULL",
    };
    let message = format!(
        "Cannot deserialize instance of {wanted} from {found} value {value} or request may be \
         missing a required field"
    );
    ApiError::bad("JSON_PARSER_ERROR", message).into()
}
