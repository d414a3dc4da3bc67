//! Records that left the recycle bin, or never went through it: only Salesforce's delete log tells of them.
//!
//! The log also names records that were brought back since, so what it says is a hint, after which the host
//! reads the record. It covers some fifteen days and is cut when it grows too long; that is a gap.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_sdk::{Fault, FaultKind, Level};
use xxhash_rust::xxh3::xxh3_64;

use crate::cursor::{Changes, Seen};
use crate::org::Org;
use crate::part::Part;
use crate::rows::Rows;
use crate::shape::Shape;
use crate::{id, stamp};

/// The log goes by whole minutes.
const MINUTE_US: i64 = 60_000_000;
/// How far back the log may be asked, less an hour for clocks that differ.
const LOG_US: i64 = (15 * 24 - 1) * 60 * MINUTE_US;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    deleted_records: Vec<Deleted>,
    earliest_date_available: String,
    latest_date_covered: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    id: String,
    deleted_date: String,
}

/// What else the log had to say.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) gap: Option<String>,
    /// Not all of it fitted.
    pub(crate) more: bool,
}

/// The note that a record was reported as gone.
pub(crate) fn seen_gone(id: &str, stamp_us: i64) -> Seen {
    Seen {
        at_ms: stamp_us.div_euclid(1_000),
        digest: xxh3_64(id.as_bytes()),
    }
}

/// The stretch of the log that a pull reads.
pub(crate) struct Window {
    from_us: i64,
    until_us: i64,
    /// The last id that was reported of it, when it did not fit one page.
    after: String,
}

/// The stretch that is due, if any. It ends where the last pull stood: that is known before this one has asked
/// anything, so the log comes along with its query.
pub(crate) fn window(cursor: &Changes, shape: &Shape) -> Option<Window> {
    let purge = &cursor.purge;
    let due = purge.open.is_some() || cursor.clock_us >= purge.due_us;
    let (until_us, after) = match purge.open.clone() {
        Some(open) => open,
        None => (cursor.clock_us, String::new()),
    };
    let from_us = purge.from_us.max(until_us - LOG_US);
    let long = until_us - from_us >= 2 * MINUTE_US;
    (shape.replicateable && due && long).then_some(Window {
        from_us,
        until_us,
        after,
    })
}

pub(crate) fn question(org: &Org<'_>, object: &str, window: &Window) -> Part {
    Part::get(org.config.path(&format!("/sobjects/{object}/deleted/")))
        .query("start", stamp::parameter_text(window.from_us))
        .query("end", stamp::parameter_text(window.until_us))
}

/// Adds hints for at most `room` records that the log names and that were not reported before. One request.
/// Trouble with the log never holds up the changes.
pub(crate) fn report(
    org: &Org<'_>,
    object: &str,
    next: &mut Changes,
    window: &Window,
    room: usize,
    rows: &mut Rows<'_>,
) -> Result<Log, Fault> {
    let Window {
        from_us,
        until_us,
        ref after,
    } = *window;
    let mut gap = (from_us > next.purge.from_us).then(|| {
        gap(
            object,
            "the delete log covers fifteen days, and the last visit is longer ago",
        )
    });
    let answered = match ask(org, object, window) {
        Ok(answered) => answered,
        Err(fault) => return postponed(org, object, next, until_us, fault),
    };
    if stamp::parse(&answered.earliest_date_available)
        .is_none_or(|earliest_us| earliest_us > from_us)
    {
        gap.get_or_insert_with(|| self::gap(object, "Salesforce has cut its delete log"));
    }
    let records = unreported(next, &answered, after);
    let more = records.len() > room;
    let mut last = after.clone();
    for (id, deleted_us) in records.into_iter().take(room) {
        rows.set.hint(&id, "", deleted_us);
        last = id;
    }
    next.purge.open = more.then_some((until_us, last));
    if !more {
        let covered_us = stamp::parse(&answered.latest_date_covered).unwrap_or(from_us);
        close(next, org, covered_us.clamp(from_us, until_us));
    }
    Ok(Log { gap, more })
}

fn ask(org: &Org<'_>, object: &str, window: &Window) -> Result<Answered, Fault> {
    let request = question(org, object, window);
    let told = org.ask(request, &format!("the delete log of {object}"))?;
    Ok(told.body)
}

/// In order of their ids, so that a window that does not fit can be read on.
fn unreported(next: &Changes, answered: &Answered, after: &str) -> BTreeMap<String, i64> {
    answered
        .deleted_records
        .iter()
        .map(|record| {
            let deleted_us = stamp::parse(&record.deleted_date);
            (
                id::canonical(&record.id),
                deleted_us.unwrap_or(tidegate_sdk::COMMITTED_UNKNOWN),
            )
        })
        .filter(|(id, _)| id.as_str() > after)
        .filter(|(id, _)| {
            let digest = seen_gone(id, 0).digest;
            next.gone.iter().all(|gone| gone.digest != digest)
        })
        .collect()
}

/// The log is read up to `covered_us`.
fn close(next: &mut Changes, org: &Org<'_>, covered_us: i64) {
    next.purge.from_us = covered_us;
    next.purge.due_us = next.clock_us.saturating_add(org.config.purged_us);
    let covered_ms = (covered_us - org.config.overlap_us).div_euclid(1_000);
    next.gone.retain(|gone| gone.at_ms >= covered_ms);
}

/// What can pass is tried again in a minute; what can't, after the usual time, with a gap in between.
fn postponed(
    org: &Org<'_>,
    object: &str,
    next: &mut Changes,
    until_us: i64,
    fault: Fault,
) -> Result<Log, Fault> {
    let line = format!(
        "{object}: the delete log could not be read: {}",
        fault.message
    );
    org.gateway.log(Level::Warn, &line);
    next.purge.open = None;
    if matches!(
        fault.kind,
        FaultKind::Throttled | FaultKind::Transient | FaultKind::Auth | FaultKind::Broken
    ) {
        next.purge.due_us = next.clock_us.saturating_add(MINUTE_US);
        return Ok(Log::default());
    }
    close(next, org, until_us);
    Ok(Log {
        gap: Some(gap(
            object,
            &format!("Salesforce refused to read its delete log ({})", fault.code),
        )),
        more: false,
    })
}

fn gap(object: &str, why: &str) -> String {
    format!("{object}: {why}; records that were purged meanwhile are not known")
}
