//! Calls whose records each have a result of their own, in the order of the request.

use super::envelope::{Element, leaf, nil};
use super::{check_most, errors};
use crate::salesforce::answer::{ApiError, Refusal, RowError};
use crate::salesforce::batch::{self, Done, Fields, ROWS_MAX, Upsert};
use crate::salesforce::id::Id;
use crate::salesforce::org::Org;
use crate::salesforce::rows::writable;
use crate::salesforce::transaction::{Began, Transaction};

type Results = Result<String, ApiError>;
type Write = fn(&mut Transaction<'_>, usize, &Fields) -> Result<Done, Refusal>;

pub(super) fn create(org: &mut Org, asked: &Element, began: &Began, all_or_none: bool) -> Results {
    written(org, asked, began, all_or_none, batch::insert)
}

pub(super) fn update(org: &mut Org, asked: &Element, began: &Began, all_or_none: bool) -> Results {
    written(org, asked, began, all_or_none, batch::update)
}

fn written(
    org: &mut Org,
    asked: &Element,
    began: &Began,
    all_or_none: bool,
    write: Write,
) -> Results {
    let rows = rows(org, asked)?;
    let outcomes = batch::each(org, began, all_or_none, rows.len(), |rows_of, place| {
        let (table, fields) = &rows[place];
        write(rows_of, *table, fields).map_err(own)
    })?;
    Ok(results(&outcomes))
}

pub(super) fn upsert(org: &mut Org, asked: &Element, began: &Began, all_or_none: bool) -> Results {
    let rows = rows(org, asked)?;
    let Some((table, _)) = rows.first() else {
        return Ok(String::new());
    };
    if rows.iter().any(|(other, _)| other != table) {
        let message = "All records of an upsert have to be of one type";
        return Err(ApiError::bad("INVALID_TYPE", message));
    }
    let field = asked.text("externalIDFieldName").unwrap_or_default();
    let upsert = Upsert::new(org, *table, field, rows.iter().map(|(_, fields)| fields))
        .map_err(|error| ApiError::bad("INVALID_FIELD", error.message))?;
    let outcomes = batch::each(org, began, all_or_none, rows.len(), |rows_of, place| {
        upsert.write(rows_of, place, &rows[place].1).map_err(own)
    })?;
    Ok(results(&outcomes))
}

pub(super) fn delete(org: &mut Org, asked: &Element, began: &Began, all_or_none: bool) -> Results {
    by_id(org, asked, began, all_or_none, batch::delete)
}

pub(super) fn undelete(
    org: &mut Org,
    asked: &Element,
    began: &Began,
    all_or_none: bool,
) -> Results {
    by_id(org, asked, began, all_or_none, |rows, id| {
        let (table, id) = batch::holder(rows.org, id)?;
        rows.undelete(table, id)?;
        Ok(Done::Written(id))
    })
}

pub(super) fn empty_recycle_bin(org: &mut Org, asked: &Element, began: &Began) -> Results {
    by_id(org, asked, began, false, |rows, id| {
        let (table, id) = batch::holder(rows.org, id)?;
        let row = rows.org.tables[table].rows.get(&id);
        if row.is_none_or(|row| row.live()) {
            let message = "Invalid record id; no recycle bin entry found";
            return Err(RowError::new("INVALID_ID_FIELD", message).into());
        }
        rows.erase(table, id);
        Ok(Done::Written(id))
    })
}

fn by_id(
    org: &mut Org,
    asked: &Element,
    began: &Began,
    all_or_none: bool,
    write: impl Fn(&mut Transaction<'_>, &str) -> Result<Done, Refusal>,
) -> Results {
    let ids = asked.texts("ids");
    check_most(ids.len(), ROWS_MAX)?;
    let outcomes = batch::each(org, began, all_or_none, ids.len(), |rows_of, place| {
        write(rows_of, ids[place]).map_err(own)
    })?;
    Ok(results(&outcomes))
}

/// Values are texts here, so one of the wrong type fails its record only.
fn own(refusal: Refusal) -> Refusal {
    refusal.of_row().into()
}

/// Table and fields of each record; an unknown type fails the call.
fn rows(org: &Org, asked: &Element) -> Result<Vec<(usize, Fields)>, ApiError> {
    let rows: Vec<(usize, Fields)> = asked
        .all("sObjects")
        .map(|record| Ok((table(org, record)?, record.record())))
        .collect::<Result<_, ApiError>>()?;
    check_most(rows.len(), ROWS_MAX)?;
    Ok(rows)
}

pub(super) fn table(org: &Org, record: &Element) -> Result<usize, ApiError> {
    let object = record.text("type").unwrap_or_default();
    writable(org, object).map_err(|_| {
        let message = format!("sObject type '{object}' is not supported.");
        ApiError::bad("INVALID_TYPE", message)
    })
}

fn results(outcomes: &[Result<Done, RowError>]) -> String {
    let mut xml = String::new();
    for outcome in outcomes {
        xml.push_str("<result>");
        match outcome {
            Ok(Done::Written(id)) => succeeded(&mut xml, *id),
            Ok(Done::Upserted(id, created)) => {
                leaf(&mut xml, "created", if *created { "true" } else { "false" });
                succeeded(&mut xml, *id);
            }
            Err(error) => {
                errors(&mut xml, error);
                nil(&mut xml, "id");
                leaf(&mut xml, "success", "false");
            }
        }
        xml.push_str("</result>");
    }
    xml
}

fn succeeded(xml: &mut String, id: Id) {
    leaf(xml, "id", &id.to_string());
    leaf(xml, "success", "true");
}
