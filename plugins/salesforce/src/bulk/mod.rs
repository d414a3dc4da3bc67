//! Bulk API 2.0 ingest: tens of thousands of rows for a handful of calls.
//!
//! [`push()`] makes a job and uploads the rows as a [`file`]; [`poll`] closes the job, looks for its end with growing
//! pauses, and reads the [`results`]. What one leaves to the next is a [`job`]'s state, which the host keeps.
//!
//! The order of steps is what makes a kill harmless at any of them. Salesforce touches no row before a job is
//! closed, and only a poll closes: so only a job whose state is on the host's disk is ever carried out. A job
//! that a kill orphaned before stays open, does nothing, and is aborted by Salesforce after a day; its rows are
//! read by the host before it writes them again. A close or result that was never heard is asked for again, which
//! changes nothing. Creates are not offered: a row of a result file is found by its id or upsert key, and a
//! create has neither.

mod file;
mod job;
mod poll;
mod results;

use serde::Deserialize;
use serde_json::json;
use tidegate_sdk::{
    Executed, Fault, Group, Http, HttpResponse, Job as Answer, Level, OperationKind, Operations,
    Progress,
};

use self::file::File;
use self::job::{Job, Target};
use crate::answer;
use crate::id;
use crate::org::Org;
use crate::push::{check_names, check_references, collected};

pub(crate) use self::poll::poll;

#[derive(Deserialize)]
struct Made {
    id: String,
}

/// Makes a job with the rows of the one group, and leaves it open. A fault says that nothing was carried out.
pub(crate) fn push(org: &Org<'_>, operations: &Operations) -> Result<Progress, Fault> {
    check_references(operations)?;
    let [group] = operations.groups.as_slice() else {
        return Err(Fault::refused(
            "one-group-per-job",
            "a bulk job carries rows of one object that get the same treatment",
        ));
    };
    check_names(group)?;
    let target = Target::of(group)?;
    let file = File::of(group, &target)?;
    let mut progress = Progress::done(file.refused);
    if !file.rows.is_empty() {
        let id = make(org, &target, file.rows[0].token)?;
        upload(org, &id, file.bytes, file.rows.iter().map(|row| row.token))?;
        let job = Job {
            id,
            target,
            made_us: org.now_us,
            closed: false,
            looks: 0,
            rows: file.rows,
        };
        progress.job = Some(Answer {
            state: job.encode(),
            // The close waits for nothing but the host's disk.
            wait_ms: 0,
        });
    }
    let odd = collected(org, vec![(group, file.odd)])?;
    progress.outcomes.extend(odd.each());
    Ok(progress)
}

/// The id of a new job. Its making carries no row, but what a push writes must name one.
fn make(org: &Org<'_>, target: &Target, token: u64) -> Result<String, Fault> {
    let what = format!("the making of a bulk job for {}", target.object);
    let mut body = json!({
        "object": target.object,
        "operation": operation(target.operation),
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    });
    if let Some(key) = &target.key {
        body["externalIdFieldName"] = json!(key);
    }
    let mut http = Http::post(org.config.path("/jobs/ingest")).json(&body)?;
    for (name, value) in org.config.origin_headers() {
        http = http.header(name, value);
    }
    let response = write(org, http.rows([token]), &what).map_err(nothing_done)?;
    let made: Made = serde_json::from_slice(&response.body)
        .map_err(|_| nothing_done(answer::foreign(&response, &what)))?;
    match id::has_form(&made.id) {
        true => Ok(made.id),
        false => Err(Fault::broken(
            "job-without-id",
            format!("{what}: Salesforce answered with something else than an id"),
        )),
    }
}

/// Sends the rows. They may be sent once to a job, and are worth nothing until it is closed.
fn upload(
    org: &Org<'_>,
    id: &str,
    bytes: Vec<u8>,
    tokens: impl Iterator<Item = u64>,
) -> Result<(), Fault> {
    let what = format!("the upload to bulk job {id}");
    let path = org.config.path(&format!("/jobs/ingest/{id}/batches"));
    let http = Http::put(path).body("text/csv", bytes).rows(tokens);
    write(org, http, &what).map_err(|fault| {
        let line = format!(
            "{what} failed ({}); the job stays open, is never carried out, and ends by itself after a day",
            fault.code
        );
        org.gateway.log(Level::Warn, &line);
        nothing_done(fault)
    })?;
    Ok(())
}

fn write(org: &Org<'_>, http: Http, what: &str) -> Result<HttpResponse, Fault> {
    let response = tidegate_sdk::write(org.gateway, http)?.into_http()?;
    match response.is_success() {
        true => Ok(response),
        false => Err(answer::fault(&response, what)),
    }
}

/// Whatever became of the request: a job that is not closed changes no record.
fn nothing_done(fault: Fault) -> Fault {
    Fault {
        executed: Executed::No,
        ..fault
    }
}

fn operation(operation: OperationKind) -> &'static str {
    match operation {
        OperationKind::Create => "insert",
        OperationKind::Update => "update",
        OperationKind::Upsert => "upsert",
        // Others are refused before; see `Target::of`.
        _ => "delete",
    }
}

impl Target {
    fn of(group: &Group) -> Result<Self, Fault> {
        if group.operation == OperationKind::Create {
            return Err(Fault::refused(
                "no-create-in-bulk",
                "a bulk job's results name rows by id or upsert key, which rows to be created lack",
            ));
        }
        Ok(Self {
            object: group.object.clone(),
            operation: group.operation,
            key: match group.operation {
                OperationKind::Upsert => group.key.clone(),
                _ => None,
            },
        })
    }
}
