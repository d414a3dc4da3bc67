//! Changes of one object since a cursor, in passes over the modified stamp.
//!
//! A stamp is set when a transaction works and seen when it commits, so a pass starts `overlap` behind the
//! vendor's clock and reads again what was reported already; digests of that tell what is new. When more than
//! half a page was reported lately, most passes start at the newest half page, and one now and then, a
//! *sweep*, starts at the floor. An idle pull is one request.

use std::collections::HashSet;

use tidegate_sdk::{Alias, Fault, Page, Selection};
use xxhash_rust::xxh3::xxh3_64;

use crate::ahead::First;
use crate::cursor::{Changes, Pass, Purge, Seen};
use crate::describe::Described;
use crate::org::Org;
use crate::part::Part;
use crate::purged;
use crate::rows::{Answered, Record, Rows};
use crate::shape::{self, Misfits, Shape, shaped};
use crate::soql::{self, From};

/// Salesforce's page.
pub(crate) const PAGE_ROWS_MAX: u32 = 2_000;
/// A shape is learnt anew after this long, so that a field which became visible is noticed.
const SHAPE_US: i64 = 6 * 3_600_000_000;
/// A sweep that took `n` pages is not repeated before `n` times this, so sweeps cost three requests a minute at most.
const SWEEP_PAGE_US: i64 = 20_000_000;

/// The page after `cursor`; without one, the place from which changes count from now on.
pub(crate) fn pull(
    org: &Org<'_>,
    selection: &Selection,
    cursor: Option<&[u8]>,
    rows_max: u32,
) -> Result<Page, Fault> {
    soql::check_name(&selection.object)?;
    let Some(bytes) = cursor else {
        return begin(org, selection, None);
    };
    let Some(cursor) = Changes::decode(bytes) else {
        let gap = format!(
            "{}: the cursor is not one that this version of the plugin reads; changes count from now on",
            selection.object
        );
        return begin(org, selection, Some(gap));
    };
    let known = is_known(org, selection, &cursor);
    let limit = rows_max.clamp(1, PAGE_ROWS_MAX);
    let found = shaped(
        org,
        selection,
        known.then_some(&cursor.shape),
        &|shape, misfits| step(org, selection, &cursor, shape, misfits, limit),
    )?;
    let (mut next, mut page) = found.result;
    next.shape = found.shape;
    if found.fresh {
        next.described_us = org.now_us;
    }
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
    if soql::check_name(object).is_err() {
        return First::new();
    }
    let Some(cursor) = cursor.and_then(Changes::decode) else {
        return vec![org.describe(object)];
    };
    let limit = rows_max.clamp(1, PAGE_ROWS_MAX);
    let (query, _) = question(org, object, &cursor, &cursor.shape, limit);
    if soql::check_length(&query, object).is_err() {
        return First::new();
    }
    let mut first = vec![request(org, &cursor.shape, &query)];
    if !is_known(org, selection, &cursor) {
        first.push(org.describe(object));
    }
    if let Some(window) = purged::window(&cursor, &cursor.shape) {
        first.push(purged::question(org, object, &window));
    }
    first
}

/// Whether the shape is that of the fields that are asked for, and no older than it may be.
fn is_known(org: &Org<'_>, selection: &Selection, cursor: &Changes) -> bool {
    let age_us = org.now_us.saturating_sub(cursor.described_us);
    cursor.shape.fits(&selection.fields) && (0..SHAPE_US).contains(&age_us)
}

/// From now on: what can be seen already is noted as reported, a page of it at most.
fn begin(org: &Org<'_>, selection: &Selection, gap: Option<String>) -> Result<Page, Fault> {
    let object = selection.object.as_str();
    let told = org.ask::<Described>(org.describe(object), &format!("the describe of {object}"))?;
    let shape = shape::of(org, &told.body, selection)?;
    let clock_us = told.clock_us.unwrap_or(org.now_us);
    let floor_us = clock_us - org.config.overlap_us;
    let columns = shape.selected().join(", ");
    let query = soql::newest(object, &columns, &shape.stamp, floor_us, PAGE_ROWS_MAX);
    let answered = ask(org, &shape, object, &query)?.body;
    let mut seen = Vec::with_capacity(answered.records.len());
    let mut tail = None;
    for raw in &answered.records {
        let record = Record::read(raw, &shape)?;
        seen.push(seen_row(&record, raw.get()));
        // The newest comes first.
        tail.get_or_insert(record.position());
    }
    let cursor = Changes {
        shape,
        described_us: org.now_us,
        clock_us,
        floor_us,
        tail,
        pass: None,
        swept_us: clock_us,
        swept_pages: 1,
        purge: Purge {
            from_us: clock_us,
            due_us: clock_us.saturating_add(org.config.purged_us),
            open: None,
        },
        seen,
        gone: Vec::new(),
    };
    Ok(Page {
        changes: Vec::new(),
        aliases: Vec::new(),
        cursor: cursor.encode(),
        more: false,
        wait_ms: None,
        gap,
    })
}

/// One page of a pass, and what the delete log says when the pass is through.
fn step(
    org: &Org<'_>,
    selection: &Selection,
    cursor: &Changes,
    shape: &Shape,
    misfits: Misfits,
    limit: u32,
) -> Result<(Changes, Page), Fault> {
    let object = selection.object.as_str();
    let mut next = cursor.clone();
    let (query, mut pass) = question(org, object, cursor, shape, limit);
    let told = ask(org, shape, object, &query)?;
    let mut rows = Rows::new(org, object, shape, misfits);
    let aliases = report(&mut next, &mut rows, shape, &told.body)?;
    let last = match told.body.records.last() {
        Some(raw) => Some(Record::read(raw, shape)?),
        None => None,
    };
    next.clock_us = told
        .clock_us
        .or(last.as_ref().map(|record| record.stamp_us))
        .map_or(cursor.clock_us, |us| us.max(cursor.clock_us));
    let more = last.is_some() && (told.body.records.len() >= limit as usize || !told.body.done);
    let place = last.map(|record| record.position());
    if let Some(place) = &place
        && next
            .tail
            .as_ref()
            .is_none_or(|tail| tail.stamp_us <= place.stamp_us)
    {
        next.tail = Some(place.clone());
    }
    pass.pages = pass.pages.saturating_add(1);
    match place.filter(|_| more) {
        Some(after) => next.pass = Some(Pass { after, ..pass }),
        None => finish(&mut next, &pass, org.config.overlap_us),
    }
    let mut gap = None;
    let mut more_purged = false;
    if !more {
        let room = (limit as usize).saturating_sub(rows.set.len());
        let window = purged::window(cursor, shape).filter(|_| room > 0);
        let log = match window {
            Some(window) => purged::report(org, object, &mut next, &window, room, &mut rows)?,
            None => purged::Log::default(),
        };
        (gap, more_purged) = (log.gap, log.more);
    }
    let page = Page {
        changes: rows.changes(),
        aliases,
        cursor: Vec::new(),
        more: more || more_purged,
        wait_ms: None,
        gap,
    };
    Ok((next, page))
}

fn ask(
    org: &Org<'_>,
    shape: &Shape,
    object: &str,
    query: &str,
) -> Result<crate::org::Told<Answered>, Fault> {
    soql::check_length(query, object)?;
    let request = request(org, shape, query);
    org.ask(request, &format!("the query of changes of {object}"))
}

/// Deleted rows stay in the recycle bin, where the same query finds them at no further cost.
fn request(org: &Org<'_>, shape: &Shape, query: &str) -> Part {
    match shape.has_deleted {
        true => org.query_all(query),
        false => org.query(query),
    }
}

/// The query of the next page, and the pass that it belongs to.
fn question(
    org: &Org<'_>,
    object: &str,
    cursor: &Changes,
    shape: &Shape,
    limit: u32,
) -> (String, Pass) {
    let (from, pass) = start(cursor, org.config.overlap_us, limit);
    let columns = shape.selected().join(", ");
    let query = soql::changes(object, &columns, &shape.stamp, &from, limit);
    (query, pass)
}

/// Where the next page starts, and the pass that it belongs to.
fn start(cursor: &Changes, overlap_us: i64, limit: u32) -> (From, Pass) {
    if let Some(pass) = &cursor.pass {
        return (From::After(pass.after.clone()), pass.clone());
    }
    let sweep_us = (i64::from(cursor.swept_pages) * SWEEP_PAGE_US)
        .min(overlap_us)
        .max(SWEEP_PAGE_US);
    let due = cursor.clock_us.saturating_sub(cursor.swept_us) >= sweep_us;
    let newest = newest(cursor, limit as usize / 2).filter(|_| !due);
    let whole = newest.is_none();
    let from = newest.unwrap_or(From::Stamp(cursor.floor_us));
    let pass = Pass {
        after: soql::Position {
            stamp_us: cursor.floor_us,
            id: String::new(),
        },
        whole,
        // An answer that was complete before this pass asks.
        began_us: cursor.clock_us,
        pages: 0,
    };
    (from, pass)
}

/// The place from which at most `rows` reported rows are read again; `None` when there are no more than
/// that above the floor.
fn newest(cursor: &Changes, rows: usize) -> Option<From> {
    let surplus = cursor.seen.len().checked_sub(rows).filter(|n| *n > 0)?;
    let below_ms = cursor.seen[surplus - 1].at_ms;
    // Rows that share a stamp are read again together or not at all.
    match cursor.seen[surplus..]
        .iter()
        .find(|seen| seen.at_ms > below_ms)
    {
        Some(seen) => Some(From::Stamp(seen.at_ms * 1_000)),
        None => cursor.tail.clone().map(From::After),
    }
}

/// Reports the rows that are news, and notes them.
fn report(
    next: &mut Changes,
    rows: &mut Rows<'_>,
    shape: &Shape,
    answered: &Answered,
) -> Result<Vec<Alias>, Fault> {
    let known: HashSet<u64> = next.seen.iter().map(|seen| seen.digest).collect();
    let mut aliases = Vec::new();
    for raw in &answered.records {
        if known.contains(&xxh3_64(raw.get().as_bytes())) {
            continue;
        }
        let record = Record::read(raw, shape)?;
        next.seen.push(seen_row(&record, raw.get()));
        if !record.deleted {
            rows.upsert(&record)?;
            continue;
        }
        next.gone
            .push(purged::seen_gone(&record.id, record.stamp_us));
        match record.master {
            // The host moves what it knows of the loser to the winner; a delete would lose that.
            Some(new) => aliases.push(Alias {
                object: rows.object().to_owned(),
                old: record.id,
                new,
            }),
            None => rows
                .set
                .delete(&record.id, &record.version, record.stamp_us),
        }
    }
    next.seen.sort_unstable();
    Ok(aliases)
}

/// By content, since a record that changes twice within a second keeps its stamp.
fn seen_row(record: &Record, raw: &str) -> Seen {
    Seen {
        at_ms: record.stamp_us.div_euclid(1_000),
        digest: xxh3_64(raw.as_bytes()),
    }
}

/// A pass that began at the floor has seen all that was visible: the floor follows the vendor's clock.
fn finish(next: &mut Changes, pass: &Pass, overlap_us: i64) {
    next.pass = None;
    if !pass.whole {
        return;
    }
    next.floor_us = next.floor_us.max(pass.began_us.saturating_sub(overlap_us));
    next.swept_us = next.clock_us;
    next.swept_pages = pass.pages;
    let floor_ms = next.floor_us.div_euclid(1_000);
    next.seen.retain(|seen| seen.at_ms >= floor_ms);
}
