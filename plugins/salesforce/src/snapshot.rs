//! Every record of an object once: by queries in order of ids, or by a job where that takes fewer calls.

use tidegate_sdk::{ChangeSet, Fault, Page, Selection};

use crate::ahead::First;
use crate::changes::PAGE_ROWS_MAX;
use crate::config::Snapshots;
use crate::cursor::{Place, Snapshot};
use crate::export::{self, Step};
use crate::org::Org;
use crate::rows::{Answered, Record, Rows};
use crate::shape::{Misfits, Shape, shaped};
use crate::soql;

/// What a job costs beside its pages: the count that decides for it, its making, and some looks at it.
const JOB_CALLS: u64 = 5;

/// The page after `cursor`: one request, or two more before the first.
pub(crate) fn pull(
    org: &Org<'_>,
    selection: &Selection,
    cursor: Option<&[u8]>,
    rows_max: u32,
) -> Result<Page, Fault> {
    soql::check_name(&selection.object)?;
    // A cursor of another version starts the snapshot again, and so do other fields than a job was made for: every
    // record comes once more, none is missed.
    let cursor = cursor.and_then(Snapshot::decode);
    let fits = |cursor: &&Snapshot| cursor.shape.fits(&selection.fields);
    let known = cursor.as_ref().filter(fits).map(|cursor| &cursor.shape);
    let place = cursor
        .as_ref()
        .filter(|cursor| known.is_some() || matches!(cursor.place, Place::After(_)))
        .map(|cursor| &cursor.place);
    let limit = rows_max.max(1);
    let found = shaped(org, selection, known, &|shape, misfits| {
        step(org, selection, shape, misfits, place, limit)
    })?;
    let (mut page, place) = found.result;
    let next = Snapshot {
        shape: found.shape,
        place,
    };
    page.cursor = next.encode();
    Ok(page)
}

/// What a pull with this cursor asks first.
pub(crate) fn first(
    org: &Org<'_>,
    selection: &Selection,
    cursor: Option<&[u8]>,
    rows_max: u32,
) -> First {
    let object = selection.object.as_str();
    let known = cursor
        .and_then(Snapshot::decode)
        .filter(|cursor| cursor.shape.fits(&selection.fields));
    let Some((shape, after)) = known.and_then(|cursor| match cursor.place {
        Place::After(after) => Some((cursor.shape, after)),
        _ => None,
    }) else {
        return First::new();
    };
    let query = question(object, &shape, &after, rows_max);
    match soql::check_length(&query, object) {
        Ok(()) => vec![org.query(&query)],
        Err(_) => First::new(),
    }
}

fn question(object: &str, shape: &Shape, after: &str, limit: u32) -> String {
    let columns = shape.selected().join(", ");
    let after = Some(after).filter(|id| !id.is_empty());
    soql::snapshot(object, &columns, after, limit.clamp(1, PAGE_ROWS_MAX))
}

fn step(
    org: &Org<'_>,
    selection: &Selection,
    shape: &Shape,
    misfits: Misfits,
    place: Option<&Place>,
    limit: u32,
) -> Result<(Page, Place), Fault> {
    let object = selection.object.as_str();
    let step = match place {
        None => match begin(org, selection, shape, limit)? {
            Some(place) => Step::Wait(place, export::pause_ms(0)),
            None => return by_query(org, selection, shape, misfits, "", limit),
        },
        Some(Place::After(after)) => {
            return by_query(org, selection, shape, misfits, after, limit);
        }
        Some(Place::Waiting { job, looks }) => {
            export::look(org, object, shape, misfits, job, *looks, limit)?
        }
        Some(Place::Reading { job, locator }) => {
            let locator = locator.as_deref();
            export::page(org, object, shape, misfits, job, locator, limit)?
        }
    };
    Ok(match step {
        Step::Wait(place, wait_ms) => {
            let page = Page {
                wait_ms: Some(wait_ms),
                ..page(Vec::new(), false)
            };
            (page, place)
        }
        Step::Page(changes, Some(place)) => (page(changes, true), place),
        // The end: a snapshot that is asked once more begins at its last place.
        Step::Page(changes, None) => (page(changes, false), Place::After(String::new())),
        Step::Over => (page(Vec::new(), true), Place::After(String::new())),
    })
}

/// A job's first place, where one takes fewer calls than queries or is wanted anyway.
fn begin(
    org: &Org<'_>,
    selection: &Selection,
    shape: &Shape,
    limit: u32,
) -> Result<Option<Place>, Fault> {
    let pays = match org.config.snapshots {
        Snapshots::Query => false,
        _ if !export::fits(shape) => false,
        Snapshots::Job => true,
        // Pages no larger than a query's never make up for the job itself.
        Snapshots::Auto if limit <= PAGE_ROWS_MAX => false,
        Snapshots::Auto => {
            let rows = export::count(org, &selection.object)?;
            let queries = rows.div_ceil(u64::from(PAGE_ROWS_MAX));
            queries > JOB_CALLS + rows.div_ceil(u64::from(limit))
        }
    };
    match pays {
        true => export::make(org, selection, shape),
        false => Ok(None),
    }
}

fn by_query(
    org: &Org<'_>,
    selection: &Selection,
    shape: &Shape,
    misfits: Misfits,
    after: &str,
    limit: u32,
) -> Result<(Page, Place), Fault> {
    let object = selection.object.as_str();
    let limit = limit.min(PAGE_ROWS_MAX);
    let query = question(object, shape, after, limit);
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
    let place = Place::After(last.unwrap_or_else(|| after.to_owned()));
    Ok((page(rows.changes(), more), place))
}

fn page(changes: Vec<ChangeSet>, more: bool) -> Page {
    Page {
        changes,
        aliases: Vec::new(),
        cursor: Vec::new(),
        more,
        wait_ms: None,
        gap: None,
    }
}
