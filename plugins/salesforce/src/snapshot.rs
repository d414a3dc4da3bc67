//! Every record of an object once, in order of ids.

use tidegate_sdk::{Fault, Page, Selection};

use crate::changes::PAGE_ROWS_MAX;
use crate::cursor::Snapshot;
use crate::org::Org;
use crate::rows::{Answered, Record, Rows};
use crate::shape::{Misfits, Shape, shaped};
use crate::soql;

/// The page after `cursor`, one request.
pub(crate) fn pull(
    org: &Org<'_>,
    selection: &Selection,
    cursor: Option<&[u8]>,
    rows_max: u32,
) -> Result<Page, Fault> {
    soql::check_name(&selection.object)?;
    // A cursor of another version starts the snapshot again: every record comes once more, none is missed.
    let cursor = cursor.and_then(Snapshot::decode);
    let known = cursor
        .as_ref()
        .filter(|cursor| cursor.shape.fits(&selection.fields))
        .map(|cursor| &cursor.shape);
    let after = cursor.as_ref().map(|cursor| cursor.after.as_str());
    let limit = rows_max.clamp(1, PAGE_ROWS_MAX);
    let found = shaped(org, selection, known, &|shape, misfits| {
        step(org, selection, shape, misfits, after, limit)
    })?;
    let (mut page, last) = found.result;
    let next = Snapshot {
        shape: found.shape,
        after: last.or(after.map(str::to_owned)).unwrap_or_default(),
    };
    page.cursor = next.encode();
    Ok(page)
}

fn step(
    org: &Org<'_>,
    selection: &Selection,
    shape: &Shape,
    misfits: Misfits,
    after: Option<&str>,
    limit: u32,
) -> Result<(Page, Option<String>), Fault> {
    let object = selection.object.as_str();
    let columns = shape.selected().join(", ");
    let after = after.filter(|id| !id.is_empty());
    let query = soql::snapshot(object, &columns, after, limit);
    soql::check_length(&query, object)?;
    let what = format!("the query of all {object}");
    let answered = org.ask::<Answered>(org.query(&query), &what)?.body;
    let mut rows = Rows::new(org, object, shape, misfits);
    let mut last = None;
    for raw in &answered.records {
        let record = Record::read(raw, shape)?;
        rows.upsert(&record)?;
        last = Some(record.id);
    }
    let more = last.is_some() && (answered.records.len() >= limit as usize || !answered.done);
    let changes = match rows.set.is_empty() {
        true => Vec::new(),
        false => vec![rows.set.finish()],
    };
    let page = Page {
        changes,
        aliases: Vec::new(),
        cursor: Vec::new(),
        more,
        wait_ms: None,
        gap: None,
    };
    Ok((page, last))
}
