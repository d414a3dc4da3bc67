//! Cells into SQLite's values and back.
//!
//! SQLite knows five storage classes, the plugin interface nine types. Going in: booleans are 0 and 1,
//! decimals, dates and timestamps are text (`2024-02-29`, `2024-02-29 13:00:00.25`, UTC), as SQLite's own date
//! functions write them, and a column's affinity does the rest. Coming out, only what loses nothing is
//! accepted: text or whole numbers for most; for timestamps and dates ISO text (UTC when it names no offset) or
//! whole seconds since 1970, which for a date must be a midnight.

use jiff::civil;
use jiff::tz::TimeZone;
use rusqlite::types::{Value, ValueRef};
use tidegate_core::batch::{Cell, Column, DataType, is_decimal};

const DAY_S: i64 = 86_400;
/// Whole numbers up to here have an exact floating-point twin.
const EXACT: i64 = 1 << 53;

/// A parameter; `None` when the cell is unset, which no statement can take.
pub(super) fn parameter(cell: Cell<'_>) -> Option<Value> {
    Some(match cell {
        Cell::Unset => return None,
        Cell::Null => Value::Null,
        Cell::Boolean(value) => Value::Integer(i64::from(value)),
        Cell::Integer(value) => Value::Integer(value),
        Cell::Float(value) => Value::Real(value),
        Cell::Decimal(value) | Cell::Text(value) | Cell::Json(value) => {
            Value::Text(value.to_owned())
        }
        Cell::Timestamp(micros) => {
            timestamp_text(micros).map_or(Value::Integer(micros), Value::Text)
        }
        Cell::Date(days) => date_text(days).map_or(Value::Integer(days.into()), Value::Text),
        Cell::Bytes(value) => Value::Blob(value.to_owned()),
    })
}

/// `None` beyond the years that ISO text can name.
fn timestamp_text(micros: i64) -> Option<String> {
    let moment = jiff::Timestamp::from_microsecond(micros).ok()?;
    let civil = TimeZone::UTC.to_datetime(moment);
    let mut text = civil.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    Some(text)
}

fn date_text(days: i32) -> Option<String> {
    let span = jiff::Span::new().try_days(i64::from(days)).ok()?;
    let date = civil::date(1970, 1, 1).checked_add(span).ok()?;
    Some(date.strftime("%Y-%m-%d").to_string())
}

/// One result column on its way into a batch. Its type is the one asked for, else the declared one, else
/// that of the first value.
pub(super) struct Reader {
    name: String,
    nulls_before: usize,
    column: Option<Column>,
}

impl Reader {
    pub(super) fn new(name: &str, asked: Option<DataType>, declared: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            nulls_before: 0,
            column: asked
                .or_else(|| declared.and_then(declared_type))
                .map(|data_type| Column::new(name, data_type)),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a value; `Err` names the type that it does not fit.
    pub(super) fn push(&mut self, value: ValueRef<'_>) -> Result<(), DataType> {
        let column = match (&mut self.column, storage_type(value)) {
            (Some(column), _) => column,
            (None, None) => {
                self.nulls_before += 1;
                return Ok(());
            }
            (None, Some(data_type)) => {
                let mut column = Column::new(&*self.name, data_type);
                for _ in 0..self.nulls_before {
                    column.push(Cell::Null);
                }
                self.column.insert(column)
            }
        };
        add(column, value).ok_or(column.values.data_type())
    }

    /// A column without a single value reads as text.
    pub(super) fn finish(self) -> Column {
        self.column.unwrap_or_else(|| {
            let mut column = Column::new(self.name, DataType::Text);
            for _ in 0..self.nulls_before {
                column.push(Cell::Null);
            }
            column
        })
    }
}

fn storage_type(value: ValueRef<'_>) -> Option<DataType> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(_) => Some(DataType::Integer),
        ValueRef::Real(_) => Some(DataType::Float),
        ValueRef::Text(_) => Some(DataType::Text),
        ValueRef::Blob(_) => Some(DataType::Bytes),
    }
}

/// The type behind a declared one such as `VARCHAR(80)`; SQLite lets people declare anything.
fn declared_type(declared: &str) -> Option<DataType> {
    const KNOWN: [(&str, DataType); 15] = [
        ("BOOL", DataType::Boolean),
        ("TIMESTAMP", DataType::Timestamp),
        ("DATETIME", DataType::Timestamp),
        ("DATE", DataType::Date),
        ("JSON", DataType::Json),
        ("DEC", DataType::Decimal),
        ("NUMERIC", DataType::Decimal),
        ("CHAR", DataType::Text),
        ("CLOB", DataType::Text),
        ("TEXT", DataType::Text),
        ("REAL", DataType::Float),
        ("FLOA", DataType::Float),
        ("DOUB", DataType::Float),
        ("BLOB", DataType::Bytes),
        ("INT", DataType::Integer),
    ];
    let declared = declared.to_ascii_uppercase();
    KNOWN
        .iter()
        .find(|(part, _)| declared.contains(part))
        .map(|(_, data_type)| *data_type)
}

/// `None`, and nothing added, when the value does not fit the column's type without loss.
fn add(column: &mut Column, value: ValueRef<'_>) -> Option<()> {
    if value == ValueRef::Null {
        return column.push(Cell::Null).then_some(());
    }
    let owned;
    let cell = match column.values.data_type() {
        DataType::Boolean => Cell::Boolean(boolean(value)?),
        DataType::Integer => Cell::Integer(integer(value)?),
        DataType::Float => Cell::Float(float(value)?),
        DataType::Decimal => {
            owned = decimal(value)?;
            Cell::Decimal(&owned)
        }
        DataType::Text => match value {
            ValueRef::Integer(number) => {
                owned = number.to_string();
                Cell::Text(&owned)
            }
            _ => Cell::Text(text(value)?),
        },
        DataType::Timestamp => Cell::Timestamp(timestamp(value)?),
        DataType::Date => Cell::Date(date(value)?),
        DataType::Bytes => match value {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Cell::Bytes(bytes),
            _ => return None,
        },
        DataType::Json => {
            // A column that is declared JSON has numeric affinity: lone numbers are stored as such.
            let text = match value {
                ValueRef::Integer(_) | ValueRef::Real(_) => {
                    owned = decimal(value)?;
                    &owned
                }
                _ => text(value)?,
            };
            serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
            Cell::Json(text)
        }
    };
    column.push(cell).then_some(())
}

fn text(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn boolean(value: ValueRef<'_>) -> Option<bool> {
    match value {
        ValueRef::Integer(0) => Some(false),
        ValueRef::Integer(1) => Some(true),
        _ => match text(value)? {
            word if word == "0" || word.eq_ignore_ascii_case("false") => Some(false),
            word if word == "1" || word.eq_ignore_ascii_case("true") => Some(true),
            _ => None,
        },
    }
}

fn integer(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Real(number) if number.trunc() == number && number.abs() <= EXACT as f64 => {
            Some(number as i64)
        }
        _ => None,
    }
}

fn float(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Real(number) if number.is_finite() => Some(number),
        ValueRef::Integer(number) if (-EXACT..=EXACT).contains(&number) => Some(number as f64),
        _ => None,
    }
}

/// A stored floating-point number reads as the shortest decimal that is the same number.
fn decimal(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) if number.is_finite() => Some(number.to_string()),
        ValueRef::Text(bytes) if is_decimal(bytes) => text(value).map(str::to_owned),
        _ => None,
    }
}

fn timestamp(value: ValueRef<'_>) -> Option<i64> {
    if let ValueRef::Integer(seconds) = value {
        return seconds.checked_mul(1_000_000);
    }
    let text = text(value)?;
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment,
        Err(_) => {
            let civil = text.parse::<civil::DateTime>().ok()?;
            TimeZone::UTC.to_timestamp(civil).ok()?
        }
    };
    let micros = moment.as_microsecond();
    // Digits beyond microseconds would be lost.
    (jiff::Timestamp::from_microsecond(micros).ok()? == moment).then_some(micros)
}

fn date(value: ValueRef<'_>) -> Option<i32> {
    if let ValueRef::Integer(seconds) = value {
        return (seconds % DAY_S == 0)
            .then(|| i32::try_from(seconds / DAY_S).ok())
            .flatten();
    }
    let written = text(value)?.parse::<civil::DateTime>().ok()?;
    if written.time() != civil::Time::midnight() {
        return None;
    }
    let since = civil::date(1970, 1, 1).until(written.date()).ok()?;
    Some(since.get_days())
}
