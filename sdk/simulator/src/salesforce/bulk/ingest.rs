//! Requests to `/jobs/ingest`.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::job::{Asked, Delimiter, Head, Job, LineEnding, Operation, State};
use super::{
    Bulk, Resource, check_abort, check_ended, check_resource, check_version, list_start, listed,
    multipart, results, wanted_state, work, wrong_state,
};
use crate::salesforce::answer::{Answer, ApiError};
use crate::salesforce::call::Call;
use crate::salesforce::faults::Fault;
use crate::salesforce::id::Id;
use crate::salesforce::org::Org;
use crate::salesforce::rows::key_field;
use crate::salesforce::transaction::Began;

/// Of the rows that come with the creation of a job.
const CONTENT_CHARS_MAX: usize = 100_000;

pub(crate) fn answer(
    org: &mut Org,
    call: &Call,
    resource: &Resource,
    began: &Began,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    check_resource(call)?;
    org.bulk.age(now_ms);
    match (resource, call.method.as_str()) {
        (Resource::Jobs, "POST") => create(org, call, began, now_ms),
        (Resource::Jobs, "GET") => Ok(list(org, call)),
        (Resource::Job(id), "GET") => Ok(Answer::json(200, found(&org.bulk, call, id)?.info())),
        (Resource::Job(id), "PATCH") => {
            let id = found(&org.bulk, call, id)?.head.id;
            set_state(org, call, id, began, now_ms)
        }
        (Resource::Job(id), "DELETE") => {
            let job = found(&org.bulk, call, id)?;
            if !job.head.state.ended() && job.head.state != State::UploadComplete {
                return Err(wrong_state("A job has to be closed before it is deleted"));
            }
            let id = job.head.id;
            org.bulk.take(id);
            Ok(Answer::empty(204))
        }
        (Resource::Upload(id), "PUT") => {
            let id = found(&org.bulk, call, id)?.head.id;
            upload(org, call, id)
        }
        (Resource::Results(id, outcomes), "GET") => {
            let job = found(&org.bulk, call, id)?;
            check_ended(&job.head)?;
            results::file(job, *outcomes, &mut org.faults)
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    object: String,
    operation: Operation,
    external_id_field_name: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    line_ending: LineEnding,
    #[serde(default)]
    column_delimiter: Delimiter,
    /// Taken, and of no effect: there are no such rules here.
    #[serde(rename = "assignmentRuleId")]
    _assignment_rule_id: Option<String>,
}

fn create(org: &mut Org, call: &Call, began: &Began, now_ms: u64) -> Result<Answer, ApiError> {
    let parts = multipart::parts(call)?;
    let (body, content) = match parts {
        Some((job, content)) => (job, Some(content)),
        None => (call.body.clone(), None),
    };
    let wanted: Wanted = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad("JSON_PARSER_ERROR", error.to_string()))?;
    let format = (wanted.column_delimiter, wanted.line_ending);
    let asked = asked(org, call, wanted)?;
    if org.bulk.batches.used(now_ms) >= org.bulk.batches.limit() {
        let message = "ApiBatchItems Limit exceeded.";
        return Err(ApiError::bad("EXCEEDEDQUOTA", message));
    }
    let object = &org.tables[asked.table].object.name;
    let id = org.bulk.next_id();
    let head = Head::new(id, object, &call.version, format, now_ms);
    let mut job = Job::new(head, asked);
    if let Some(content) = content {
        let chars = std::str::from_utf8(&content).map_or(usize::MAX, |text| text.chars().count());
        if chars > CONTENT_CHARS_MAX {
            let message = format!("The content has more than {CONTENT_CHARS_MAX} characters");
            return Err(ApiError::bad("CLIENTINPUTERROR", message));
        }
        job.content = Some(content);
        close(org, &mut job, began, now_ms);
    }
    let info = job.brief();
    org.bulk.put(job);
    Ok(Answer::json(200, Value::Object(info)))
}

fn asked(org: &Org, call: &Call, wanted: Wanted) -> Result<Asked, ApiError> {
    let invalid = |message: String| ApiError::bad("INVALIDJOB", message);
    let Wanted {
        object,
        operation,
        external_id_field_name: key,
        content_type,
        ..
    } = wanted;
    let table = org
        .table(&object)
        .map_err(|_| invalid(format!("Unable to find object: {object}")))?;
    if !org.tables[table].object.writable {
        let message = format!("Entity '{object}' is not supported by the Bulk API.");
        return Err(ApiError::bad("INVALIDENTITY", message));
    }
    let key = key.filter(|_| operation == Operation::Upsert);
    match &key {
        None if operation == Operation::Upsert => {
            return Err(invalid(format!(
                "External ID was blank for {object}. An External ID must be specified for upsert."
            )));
        }
        Some(key) if !key.eq_ignore_ascii_case("id") => {
            key_field(&org.tables[table], key).map_err(|_| {
                invalid(format!(
                    "Field name provided, {key} does not match an External ID, Salesforce Id, or \
                     indexed field for {object}"
                ))
            })?;
        }
        _ => {}
    }
    if content_type.is_some_and(|given| given != "CSV") {
        return Err(invalid("The content type has to be CSV".to_owned()));
    }
    Ok(Asked {
        table,
        operation,
        key,
        client: call.client(),
    })
}

fn upload(org: &mut Org, call: &Call, id: Id) -> Result<Answer, ApiError> {
    let is_csv = call
        .header("content-type")
        .is_some_and(|given| given.trim().to_ascii_lowercase().starts_with("text/csv"));
    if !is_csv {
        let message = "The content type has to be text/csv";
        return Err(ApiError::new(415, "UNSUPPORTED_MEDIA_TYPE", message));
    }
    let most = org.options.bulk_file_bytes_max;
    let body: Bytes = call.body.clone();
    if body.len() > most {
        let message = format!("The file has {} bytes, the most is {most}", body.len());
        return Err(ApiError::new(413, "EXCEEDED_MAX_SIZE_REQUEST", message));
    }
    let job = org.bulk.jobs.get_mut(&id).ok_or_else(ApiError::missing)?;
    if job.head.state != State::Open {
        let state = job.head.state.name();
        return Err(wrong_state(&format!(
            "The job is {state} and takes no more data"
        )));
    }
    job.uploads += 1;
    job.content = Some(body);
    Ok(Answer::empty(201))
}

fn set_state(
    org: &mut Org,
    call: &Call,
    id: Id,
    began: &Began,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let wanted = wanted_state(call)?;
    let mut job = org.bulk.take(id).ok_or_else(ApiError::missing)?;
    let changed = match wanted {
        State::Aborted => check_abort(&job.head).map(|()| {
            // What is written stays written.
            work::abandon_chunk(org, &mut job);
            job.head.end(State::Aborted, now_ms);
        }),
        _ => check_open(&job).map(|()| close(org, &mut job, began, now_ms)),
    };
    let info = job.brief();
    org.bulk.put(job);
    changed.map(|()| Answer::json(200, Value::Object(info)))
}

fn check_open(job: &Job) -> Result<(), ApiError> {
    let already = match job.head.state {
        State::Open => None,
        State::Aborted => Some("Aborted"),
        _ => Some("Completed"),
    };
    if let Some(already) = already {
        return Err(wrong_state(&format!(
            "Closing already {already} Job not allowed"
        )));
    }
    if job.uploads > 1 {
        // Word for word as recorded.
        let message = format!(
            "Found multipe contents for job: <{}>, please 'Close' / 'Abort' / 'Delete' the current \
             Job then create a new Job and make sure you only do 'PUT' once on a given Job.",
            &job.head.id.to_string()[..15]
        );
        return Err(ApiError::bad("INVALIDJOB", message));
    }
    Ok(())
}

/// From here on the job's rows are Salesforce's affair.
fn close(org: &mut Org, job: &mut Job, began: &Began, now_ms: u64) {
    job.request = began.request;
    job.doomed = org.faults.strikes(Fault::JobFails);
    job.lost = org.faults.strikes(Fault::JobLost);
    let mut wait_ms = org.options.bulk_wait_ms;
    if org.faults.strikes(Fault::JobSlow) {
        wait_ms += org.options.slow_job_ms;
    }
    let due_ms = now_ms + wait_ms;
    job.head.enter(State::UploadComplete, now_ms, due_ms);
}

fn list(org: &Org, call: &Call) -> Answer {
    let jobs = org.bulk.jobs.range(list_start(call)..);
    let jobs = jobs.filter(|(_, job)| !job.lost);
    listed(call, "ingest", jobs.map(|(id, job)| (*id, job.brief())))
}

fn found<'b>(bulk: &'b Bulk, call: &Call, id: &str) -> Result<&'b Job, ApiError> {
    let job = Id::parse(id).and_then(|id| bulk.jobs.get(&id));
    let job = job.filter(|job| !job.lost).ok_or_else(ApiError::missing)?;
    check_version(&job.head, call)?;
    Ok(job)
}
