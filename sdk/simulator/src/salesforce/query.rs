//! `query`, `queryAll` and their pages.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, ApiError};
use super::call::Call;
use super::cursors::Cursor;
use super::faults::Fault;
use super::id::Id;
use super::org::Org;
use super::rows::record;
use super::soql;

const PAGE_ROWS: std::ops::RangeInclusive<usize> = 200..=2000;

pub(crate) fn query(
    org: &mut Org,
    call: &Call,
    deleted_too: bool,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let text = call
        .parameter("q")
        .ok_or_else(|| ApiError::bad("MALFORMED_QUERY", "SOQL statements may not be empty"))?;
    let query = soql::read(text, &org.tables)?;
    let ids: Arc<[Id]> = soql::find(&query, &org.tables[query.table], deleted_too).into();
    if query.count {
        let body = json!({"totalSize": ids.len(), "done": true, "records": []});
        return Ok(Answer::json(200, body));
    }
    let query = Arc::new(query);
    let rows = page_rows(org, call);
    let total = ids.len();
    let rest = (total > rows).then(|| {
        org.cursors
            .open(Arc::clone(&query), Arc::clone(&ids), now_ms)
    });
    let records = records(org, call, &query, &ids[..rows.min(total)]);
    Ok(page_of(
        call,
        total,
        records,
        rest.map(|cursor| (cursor, rows)),
    ))
}

/// What `nextRecordsUrl` leads to; the size of a page is the server's choice again.
pub(crate) fn page(
    org: &mut Org,
    call: &Call,
    locator: &str,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let (id, Cursor { query, ids, .. }, from) = org.cursors.find(locator, now_ms)?;
    let to = (from + page_rows(org, call)).min(ids.len());
    let records = records(org, call, &query, &ids[from..to]);
    let rest = (to < ids.len()).then_some((id, to));
    Ok(page_of(call, ids.len(), records, rest))
}

fn page_of(call: &Call, total: usize, records: Vec<Value>, rest: Option<(Id, usize)>) -> Answer {
    let mut body = json!({"totalSize": total, "done": rest.is_none(), "records": records});
    if let Some((cursor, from)) = rest {
        let url = format!("/services/data/{}/query/{cursor}-{from}", call.version);
        body["nextRecordsUrl"] = json!(url);
    }
    Answer::json(200, body)
}

/// Values are those of now; a row that was purged since the query began is no longer there.
fn records(org: &Org, call: &Call, query: &soql::Query, ids: &[Id]) -> Vec<Value> {
    let table = &org.tables[query.table];
    ids.iter()
        .filter(|id| table.rows.contains_key(id))
        .map(|id| record(table, *id, &query.fields, call))
        .collect()
}

/// `Sforce-Query-Options: batchSize=` is a hint; a page may always be smaller.
fn page_rows(org: &mut Org, call: &Call) -> usize {
    let asked = call
        .header("sforce-query-options")
        .and_then(|options| options.split("batchSize=").nth(1))
        .and_then(|size| size.split([',', ' ']).next()?.parse::<usize>().ok())
        .unwrap_or(*PAGE_ROWS.end())
        .clamp(*PAGE_ROWS.start(), *PAGE_ROWS.end());
    let rows = asked.min(org.options.page_rows_max).max(1);
    if org.faults.strikes(Fault::ShortPages) {
        return usize::try_from(org.faults.draw(rows as u64)).unwrap_or(0) + 1;
    }
    rows
}
