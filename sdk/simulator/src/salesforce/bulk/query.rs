//! Requests to `/jobs/query`: a job looks for rows once, its results are read page by page.
//!
//! Which rows there are is settled when the job ends; their values are those of the moment at which a page is read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use csv::{QuoteStyle, Terminator, WriterBuilder};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::job::{Delimiter, Head, LineEnding, State};
use super::{
    Bulk, check_abort, check_ended, check_resource, check_version, list_start, listed,
    wanted_state, wrong_state,
};
use crate::salesforce::answer::{Answer, ApiError};
use crate::salesforce::call::Call;
use crate::salesforce::cell::Cell;
use crate::salesforce::faults::Fault;
use crate::salesforce::id::Id;
use crate::salesforce::moment;
use crate::salesforce::org::Org;
use crate::salesforce::schema::{Field, Source};
use crate::salesforce::soql::{self, Query};
use crate::salesforce::table::{Row, Table};

/// Older versions tell no pages that can be read side by side.
const RESULT_PAGES_VERSION_MIN: u32 = 58;
const RESULT_PAGES: usize = 5;
/// So many rows are looked through in the time that a job of the other kind takes to write 200.
const ROWS_PER_CHUNK: u64 = 10_000;

/// What a request to `/jobs/query` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QueryResource {
    Jobs,
    Job(String),
    Results(String),
    Pages(String),
}

impl QueryResource {
    pub(crate) fn of(segments: &[&str]) -> Option<Self> {
        match segments {
            [] => Some(Self::Jobs),
            [id] => Some(Self::Job((*id).to_owned())),
            [id, "results"] => Some(Self::Results((*id).to_owned())),
            [id, "resultPages"] => Some(Self::Pages((*id).to_owned())),
            _ => None,
        }
    }

    /// The name under which the meter counts it, and the fault that loses its answer.
    pub(crate) fn step(&self, method: &str) -> (&'static str, Option<Fault>) {
        match (self, method) {
            (Self::Jobs, "POST") => ("query-job-create", Some(Fault::DropJobCreate)),
            (Self::Jobs, _) => ("query-jobs", None),
            (Self::Job(_), "PATCH") => ("query-job-close", Some(Fault::DropJobClose)),
            (Self::Job(_), "DELETE") => ("query-job-delete", None),
            (Self::Job(_), _) => ("query-job-poll", Some(Fault::DropJobPoll)),
            (Self::Results(_), _) => ("query-job-results", Some(Fault::DropJobResults)),
            (Self::Pages(_), _) => ("query-job-pages", None),
        }
    }
}

/// A job that reads.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(super) head: Head,
    query: Query,
    deleted_too: bool,
    ids: Option<Vec<Id>>,
    worked_ms: u64,
    lost: bool,
}

impl Reading {
    fn brief(&self) -> Map<String, Value> {
        let operation = if self.deleted_too {
            "queryAll"
        } else {
            "query"
        };
        self.head.brief(json!(operation), "V2Query")
    }

    fn info(&self) -> Value {
        let mut info = self.brief();
        let processed = match (self.head.state, &self.ids) {
            (State::JobComplete, Some(ids)) => ids.len(),
            _ => 0,
        };
        info.extend(self.head.counts(processed, self.worked_ms));
        info.insert("isPkChunkingSupported".to_owned(), json!(true));
        Value::Object(info)
    }
}

pub(crate) fn answer(
    org: &mut Org,
    call: &Call,
    resource: &QueryResource,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    check_resource(call)?;
    org.bulk.age(now_ms);
    match (resource, call.method.as_str()) {
        (QueryResource::Jobs, "POST") => create(org, call, now_ms),
        (QueryResource::Jobs, "GET") => {
            let jobs = org.bulk.readings.range(list_start(call)..);
            let jobs = jobs.filter(|(_, job)| !job.lost);
            Ok(listed(
                call,
                "query",
                jobs.map(|(id, job)| (*id, job.brief())),
            ))
        }
        (QueryResource::Job(id), "GET") => {
            Ok(Answer::json(200, found(&mut org.bulk, call, id)?.info()))
        }
        (QueryResource::Job(id), "PATCH") => {
            let wanted = wanted_state(call)?;
            let job = found(&mut org.bulk, call, id)?;
            if wanted != State::Aborted {
                return Err(wrong_state("A query job can be set to Aborted only"));
            }
            check_abort(&job.head)?;
            let due = job.head.due_ms.map(|due_ms| (due_ms, job.head.id));
            job.head.end(State::Aborted, now_ms);
            let info = job.brief();
            if let Some(due) = due {
                org.bulk.due.remove(&due);
            }
            Ok(Answer::json(200, Value::Object(info)))
        }
        (QueryResource::Job(id), "DELETE") => {
            let head = &found(&mut org.bulk, call, id)?.head;
            if !head.state.ended() {
                return Err(wrong_state("A job has to end before it is deleted"));
            }
            let id = head.id;
            org.bulk.readings.remove(&id);
            Ok(Answer::empty(204))
        }
        (QueryResource::Results(id), "GET") => results(org, call, id),
        (QueryResource::Pages(id), "GET") => pages(org, call, id),
        _ => Err(ApiError::method_not_allowed()),
    }
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
enum Operation {
    Query,
    QueryAll,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    operation: Operation,
    query: String,
    content_type: Option<String>,
    #[serde(default)]
    line_ending: LineEnding,
    #[serde(default)]
    column_delimiter: Delimiter,
}

fn create(org: &mut Org, call: &Call, now_ms: u64) -> Result<Answer, ApiError> {
    let wanted: Wanted = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad("JSON_PARSER_ERROR", error.to_string()))?;
    if wanted.content_type.is_some_and(|given| given != "CSV") {
        return Err(ApiError::bad(
            "INVALIDJOB",
            "The content type has to be CSV",
        ));
    }
    let query = soql::read(&wanted.query, &org.tables)?;
    check_query(&query)?;
    if !org.bulk.query_jobs.take(now_ms, 1) {
        let message = "BulkV2QueryJobs Limit exceeded.";
        return Err(ApiError::bad("EXCEEDEDQUOTA", message));
    }
    let id = org.bulk.next_id();
    let object = &org.tables[query.table].object.name;
    let format = (wanted.column_delimiter, wanted.line_ending);
    let mut head = Head::new(id, object, &call.version, format, now_ms);
    let mut wait_ms = org.options.bulk_wait_ms;
    if org.faults.strikes(Fault::JobSlow) {
        wait_ms += org.options.slow_job_ms;
    }
    head.enter(State::UploadComplete, now_ms, now_ms + wait_ms);
    let job = Reading {
        head,
        query,
        deleted_too: matches!(wanted.operation, Operation::QueryAll),
        ids: None,
        worked_ms: 0,
        lost: org.faults.strikes(Fault::JobLost),
    };
    let info = job.brief();
    org.bulk.due.insert((now_ms + wait_ms, id));
    org.bulk.readings.insert(id, job);
    Ok(Answer::json(200, Value::Object(info)))
}

/// What the grammar knows and a job does not take. That it is refused at once is as recorded.
fn check_query(query: &Query) -> Result<(), ApiError> {
    let code = "FUNCTIONALITY_NOT_ENABLED";
    if query.count {
        let message = "Aggregate Relationships not supported in Bulk Query";
        return Err(ApiError::bad(code, message));
    }
    if query.skips {
        return Err(ApiError::bad(code, "OFFSET not supported in Bulk Query"));
    }
    let compound = |field: &Field| matches!(field.source, Source::Address(_));
    if query.fields.iter().any(compound) {
        let message = "Selecting compound data not supported in Bulk Query";
        return Err(ApiError::bad(code, message));
    }
    Ok(())
}

/// Begins, and a while later ends, what is due.
pub(super) fn step(org: &mut Org, id: Id, end_ms: u64) {
    let Some(job) = org.bulk.readings.get_mut(&id) else {
        return;
    };
    let table = &org.tables[job.query.table];
    if job.head.state == State::UploadComplete {
        let chunks = (table.rows.len() as u64).div_ceil(ROWS_PER_CHUNK).max(1);
        job.worked_ms = chunks * org.options.bulk_chunk_ms;
        let due_ms = end_ms + job.worked_ms;
        job.head.enter(State::InProgress, end_ms, due_ms);
        org.bulk.due.insert((due_ms, id));
        return;
    }
    if org.faults.strikes(Fault::JobFails) {
        let error = "InternalServerError : Retried more than fifteen times";
        return job.head.fail(error, end_ms);
    }
    job.ids = Some(soql::find(&job.query, table, job.deleted_too));
    job.head.end(State::JobComplete, end_ms);
}

fn found<'b>(bulk: &'b mut Bulk, call: &Call, id: &str) -> Result<&'b mut Reading, ApiError> {
    let job = Id::parse(id).and_then(|id| bulk.readings.get_mut(&id));
    let job = job.filter(|job| !job.lost).ok_or_else(ApiError::missing)?;
    check_version(&job.head, call)?;
    Ok(job)
}

fn results(org: &mut Org, call: &Call, id: &str) -> Result<Answer, ApiError> {
    let rows_max = org.options.bulk_page_rows;
    let job = found(&mut org.bulk, call, id)?;
    check_ended(&job.head)?;
    let ids = job
        .ids
        .as_deref()
        .ok_or_else(|| wrong_state("The job has no results"))?;
    let from = call.parameter("locator").map_or(Ok(0), |locator| {
        read_locator(locator)
            .filter(|from| *from < ids.len())
            .ok_or_else(|| ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator"))
    })?;
    let asked = call.parameter("maxRecords").map_or(Ok(rows_max), |most| {
        let most = most.parse().ok().filter(|most| *most > 0);
        most.ok_or_else(|| ApiError::bad("INVALID_INPUT", "maxRecords has to be a number above 0"))
    })?;
    let to = ids.len().min(from.saturating_add(asked));
    let table = &org.tables[job.query.table];
    let (text, rows) = page(&job.head, &job.query, table, &ids[from..to])
        .map_err(|error| ApiError::new(500, "UNKNOWN_EXCEPTION", format!("results: {error}")))?;
    let next = if to < ids.len() {
        locator(to)
    } else {
        "null".to_owned()
    };
    Ok(Answer::text(200, "text/csv", text)
        .with("sforce-locator", next)
        .with("sforce-numberofrecords", rows.to_string()))
}

/// Where the next pages begin, so that they can be read side by side.
fn pages(org: &mut Org, call: &Call, id: &str) -> Result<Answer, ApiError> {
    let number = call.version.trim_start_matches('v').split('.').next();
    if number.and_then(|number| number.parse().ok()) < Some(RESULT_PAGES_VERSION_MIN) {
        return Err(ApiError::missing());
    }
    let rows = org.options.bulk_page_rows;
    let job = found(&mut org.bulk, call, id)?;
    check_ended(&job.head)?;
    let total = job.ids.as_ref().map_or(0, Vec::len);
    let from = call.parameter("locator").map_or(Some(0), read_locator);
    let from =
        from.ok_or_else(|| ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator"))?;
    let base = format!("/services/data/{}/jobs/query/{}", call.version, job.head.id);
    let starts: Vec<usize> = (from..total).step_by(rows).take(RESULT_PAGES).collect();
    let links: Vec<Value> = starts
        .iter()
        .map(|start| json!({"resultLink": format!("{base}/results?locator={}", locator(*start))}))
        .collect();
    let next = from.saturating_add(rows * RESULT_PAGES);
    let next = (next < total).then(|| format!("{base}/resultPages?locator={}", locator(next)));
    let body = json!({"resultPages": links, "nextRecordsUrl": next, "done": next.is_none()});
    Ok(Answer::json(200, body))
}

/// Opaque to whoever gets it.
fn locator(place: usize) -> String {
    URL_SAFE_NO_PAD.encode(place.to_string())
}

fn read_locator(locator: &str) -> Option<usize> {
    let place = URL_SAFE_NO_PAD.decode(locator).ok()?;
    std::str::from_utf8(&place).ok()?.parse().ok()
}

/// A header and the rows that are still there, with how many these are.
fn page(
    head: &Head,
    query: &Query,
    table: &Table,
    ids: &[Id],
) -> Result<(String, usize), Box<dyn std::error::Error>> {
    let mut lines = WriterBuilder::new()
        .delimiter(head.delimiter.byte())
        .quote_style(QuoteStyle::Always)
        .terminator(match head.line_ending {
            LineEnding::Lf => Terminator::Any(b'\n'),
            LineEnding::Crlf => Terminator::CRLF,
        })
        .from_writer(Vec::new());
    lines.write_record(query.fields.iter().map(|field| &field.name))?;
    let mut count = 0;
    for (id, row) in ids.iter().filter_map(|id| Some((*id, table.rows.get(id)?))) {
        lines.write_record(query.fields.iter().map(|field| text(id, row, field)))?;
        count += 1;
    }
    Ok((String::from_utf8(lines.into_inner()?)?, count))
}

fn text(id: Id, row: &Row, field: &Field) -> String {
    let value = Table::value(id, row, field);
    match value {
        Cell::Moment(ms) => moment::written(ms).replace("+0000", "Z"),
        cell => match cell.json(field) {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        },
    }
}
