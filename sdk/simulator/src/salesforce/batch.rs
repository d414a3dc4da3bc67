//! Rows that are written together and fail apart: what collections, bulk jobs and SOAP calls have in common.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::answer::{ApiError, Refusal, RowError};
use super::cell::Cell;
use super::id::Id;
use super::org::Org;
use super::rows::key_field;
use super::schema::Field;
use super::transaction::{Began, Transaction};

/// Rows of one transaction, as triggers see them: a call has no more, and a job is cut into as many.
pub(crate) const ROWS_MAX: usize = 200;

pub(crate) type Fields = Map<String, Value>;

/// What a row became.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Done {
    Written(Id),
    /// With whether it was created.
    Upserted(Id, bool),
}

/// Writes row by row in one transaction; a row that is refused leaves nothing behind.
pub(crate) fn each(
    org: &mut Org,
    began: &Began,
    all_or_none: bool,
    count: usize,
    mut write: impl FnMut(&mut Transaction<'_>, usize) -> Result<Done, Refusal>,
) -> Result<Vec<Result<Done, RowError>>, ApiError> {
    let mut transaction = Transaction::new(org, began);
    let start = transaction.mark();
    let mut outcomes = Vec::with_capacity(count);
    for place in 0..count {
        let before = transaction.mark();
        match write(&mut transaction, place) {
            Ok(done) => outcomes.push(Ok(done)),
            Err(Refusal::Row(error)) => {
                transaction.rollback(before);
                outcomes.push(Err(error));
            }
            Err(Refusal::Call(error)) => {
                transaction.rollback(start);
                return Err(error);
            }
        }
    }
    if all_or_none && outcomes.iter().any(Result::is_err) {
        transaction.rollback(start);
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = Err(rolled_back());
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

pub(crate) fn insert(
    rows: &mut Transaction<'_>,
    table: usize,
    fields: &Fields,
) -> Result<Done, Refusal> {
    if fields.keys().any(|name| name.eq_ignore_ascii_case("id")) {
        let message = "cannot specify Id in an insert call";
        return Err(RowError::field("INVALID_FIELD_FOR_INSERT_UPDATE", message, "Id").into());
    }
    rows.create(table, fields).map(Done::Written)
}

pub(crate) fn update(
    rows: &mut Transaction<'_>,
    table: usize,
    fields: &Fields,
) -> Result<Done, Refusal> {
    let id = own_id(fields)?;
    rows.update(table, id, fields)?;
    Ok(Done::Written(id))
}

/// Of whichever object the id is.
pub(crate) fn delete(rows: &mut Transaction<'_>, id: &str) -> Result<Done, Refusal> {
    let (table, id) = holder(rows.org, id)?;
    rows.delete(table, id)?;
    Ok(Done::Written(id))
}

/// The table that an id belongs to by its prefix.
pub(crate) fn holder(org: &Org, id: &str) -> Result<(usize, Id), RowError> {
    let malformed = || RowError::new("MALFORMED_ID", format!("bad id {id}"));
    let id = Id::parse(id.trim()).ok_or_else(malformed)?;
    let mut tables = org.tables.iter();
    let table = tables.position(|table| table.object.writable && table.object.holds(id));
    Ok((table.ok_or_else(malformed)?, id))
}

/// By what the rows of a batch are found.
#[derive(Debug)]
pub(crate) enum Upsert {
    ById { table: usize },
    ByKey(Box<Keys>),
}

#[derive(Debug)]
pub(crate) struct Keys {
    table: usize,
    field: Field,
    cell: usize,
    /// Of each row of the batch.
    values: Vec<Result<Cell, Refusal>>,
    /// Those that more than one row of the batch has.
    twice: HashSet<Box<str>>,
}

impl Upsert {
    pub(crate) fn new<'a>(
        org: &Org,
        table: usize,
        field: &str,
        rows: impl Iterator<Item = &'a Fields>,
    ) -> Result<Self, ApiError> {
        if field.eq_ignore_ascii_case("id") {
            return Ok(Self::ById { table });
        }
        let (field, cell) = key_field(&org.tables[table], field)?;
        let habits = org.habits();
        let values: Vec<_> = rows
            .map(|row| {
                let value = own(row, &field.name).unwrap_or(&Value::Null);
                Cell::read(&field, value, habits)
            })
            .collect();
        let twice = repeated(&values);
        Ok(Self::ByKey(Box::new(Keys {
            table,
            field,
            cell,
            values,
            twice,
        })))
    }

    /// Creates or updates the row at this place of the batch.
    pub(crate) fn write(
        &self,
        rows: &mut Transaction<'_>,
        place: usize,
        fields: &Fields,
    ) -> Result<Done, Refusal> {
        match self {
            Self::ById { table } if own_text(fields, "Id").is_none() => {
                Ok(Done::Upserted(rows.create(*table, fields)?, true))
            }
            Self::ById { table } => {
                let id = own_id(fields)?;
                rows.update(*table, id, fields)?;
                Ok(Done::Upserted(id, false))
            }
            Self::ByKey(keys) => keys.write(rows, place, fields),
        }
    }
}

impl Keys {
    fn write(
        &self,
        rows: &mut Transaction<'_>,
        place: usize,
        fields: &Fields,
    ) -> Result<Done, Refusal> {
        let Self {
            table,
            field,
            cell,
            values,
            twice,
        } = self;
        let key = values[place].clone()?;
        let Some(filed) = key.key() else {
            let message = format!("{} not specified", field.name);
            return Err(RowError::field("MISSING_ARGUMENT", message, &field.name).into());
        };
        if twice.contains(&filed) {
            let message = format!("Duplicate external id specified: {filed}");
            return Err(RowError::field("DUPLICATE_VALUE", message, &field.name).into());
        }
        match rows.org.tables[*table].holders(*cell, &key) {
            [] => Ok(Done::Upserted(rows.create(*table, fields)?, true)),
            [id] => {
                let id = *id;
                rows.update(*table, id, fields)?;
                Ok(Done::Upserted(id, false))
            }
            many => {
                let ids: Vec<String> = many.iter().map(Id::to_string).collect();
                let message = format!(
                    "{}: more than one record found for external id field: [{}]",
                    field.name,
                    ids.join(", ")
                );
                Err(RowError::field("DUPLICATE_EXTERNAL_ID", message, &field.name).into())
            }
        }
    }
}

pub(crate) fn own<'a>(row: &'a Fields, name: &str) -> Option<&'a Value> {
    row.iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

pub(crate) fn own_text<'a>(row: &'a Fields, name: &str) -> Option<&'a str> {
    own(row, name).and_then(Value::as_str)
}

pub(crate) fn own_id(row: &Fields) -> Result<Id, RowError> {
    let text = own_text(row, "Id")
        .ok_or_else(|| RowError::new("MISSING_ARGUMENT", "Id not specified in an update call"))?;
    Id::parse(text).ok_or_else(|| RowError::new("MALFORMED_ID", format!("bad id {text}")))
}

fn repeated(values: &[Result<Cell, Refusal>]) -> HashSet<Box<str>> {
    let mut seen: HashMap<Box<str>, usize> = HashMap::new();
    for key in values.iter().filter_map(|key| key.as_ref().ok()?.key()) {
        *seen.entry(key).or_default() += 1;
    }
    seen.into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(key, _)| key)
        .collect()
}

fn rolled_back() -> RowError {
    RowError::new(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone \
         header",
    )
}
