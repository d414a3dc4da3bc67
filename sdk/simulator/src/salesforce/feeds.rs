//! `updated` and `deleted`: which ids changed in a window of time.

use std::ops::Range;

use serde_json::{Value, json};

use super::answer::{Answer, ApiError};
use super::call::Call;
use super::moment;
use super::org::Org;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const IDS_MAX: usize = 600_000;

pub(crate) fn updated(
    org: &Org,
    call: &Call,
    object: &str,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let window = window(call, now_ms, 30)?;
    let table = &org.tables[org.table(object)?];
    let ids: Vec<String> = table
        .stamped(window.clone())
        .filter(|(_, row)| row.live())
        .map(|(id, _)| id.to_string())
        .collect();
    check_count(ids.len())?;
    let covered = covered(org, &window, now_ms);
    let body = json!({"ids": ids, "latestDateCovered": covered});
    Ok(Answer::json(200, body))
}

pub(crate) fn deleted(
    org: &Org,
    call: &Call,
    object: &str,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let window = window(call, now_ms, 15)?;
    let table = &org.tables[org.table(object)?];
    let records: Vec<Value> = table
        .stamped(window.start..i64::MAX)
        .filter_map(|(id, row)| Some((id, row.deleted_ms()?)))
        .filter(|(_, deleted_ms)| window.contains(deleted_ms))
        .map(|(id, deleted_ms)| {
            json!({"id": id.to_string(), "deletedDate": moment::written(deleted_ms)})
        })
        .collect();
    check_count(records.len())?;
    let body = json!({
        "deletedRecords": records,
        "earliestDateAvailable": moment::written(org.deletes_since_ms),
        "latestDateCovered": covered(org, &window, now_ms),
    });
    Ok(Answer::json(200, body))
}

/// From `start` to `end`, seconds ignored.
fn window(call: &Call, now_ms: u64, days: i64) -> Result<Range<i64>, ApiError> {
    let read = |name: &str| -> Result<i64, ApiError> {
        call.parameter(name)
            .and_then(moment::read)
            .map(|ms| ms - ms.rem_euclid(60_000))
            .ok_or_else(|| {
                ApiError::bad(
                    "INVALID_REPLICATION_DATE",
                    format!("{name} is missing or malformed"),
                )
            })
    };
    let window = read("start")?..read("end")?;
    let earliest = moment::whole_seconds(now_ms) - days * DAY_MS;
    if window.start < earliest - 60_000 {
        let message = format!("startDate cannot be more than {days} days ago");
        return Err(ApiError::bad("INVALID_REPLICATION_DATE", message));
    }
    if window.is_empty() {
        let message = "endDate must be at least one minute greater than startDate";
        return Err(ApiError::bad("INVALID_REPLICATION_DATE", message));
    }
    Ok(window)
}

/// Not beyond a transaction that is still in flight: its rows may appear with older stamps.
fn covered(org: &Org, window: &Range<i64>, now_ms: u64) -> String {
    let settled_ms = moment::whole_seconds(org.settled_ms(now_ms));
    moment::written(window.end.min(settled_ms))
}

fn check_count(ids: usize) -> Result<(), ApiError> {
    if ids <= IDS_MAX {
        return Ok(());
    }
    Err(ApiError::bad("EXCEEDED_ID_LIMIT", "exceeded max id limit"))
}
