//! A job asked for: closed by the first poll, looked at by the others, read when it has ended.

use serde::Deserialize;
use serde_json::json;
use tidegate_sdk::{Advice, Fault, FaultKind, Http, Level, Progress, RowOutcome};

use super::job::Job;
use super::results;
use crate::answer;
use crate::org::Org;

/// An open job older than this is not carried out any more: its rows may have changed on both sides since.
const STALE_US: i64 = 3_600_000_000;
/// Salesforce keeps results for seven days.
const KEPT_US: i64 = 7 * 24 * 3_600_000_000;

/// What Salesforce says of a job.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub(super) state: String,
    #[serde(default)]
    pub(super) number_records_processed: Option<u64>,
    #[serde(default)]
    pub(super) number_records_failed: Option<u64>,
    #[serde(default)]
    pub(super) error_message: Option<String>,
}

/// What became of a request to close a job.
enum Close {
    Done,
    /// Salesforce does not want to: an earlier request may have closed it.
    Unwilling,
    Lost,
}

/// One step of a job. A fault leaves it as it was, to be asked for again; after seven days it ends by itself.
pub(crate) fn poll(org: &Org<'_>, state: &[u8]) -> Result<Progress, Fault> {
    let Some(mut job) = Job::decode(state) else {
        let line = "a bulk job's state is not one that this version of the plugin reads; its rows are read again";
        org.gateway.log(Level::Warn, line);
        return Ok(Progress::done(Vec::new()));
    };
    let age_us = org.now_us.saturating_sub(job.made_us);
    if age_us > KEPT_US {
        return Ok(Progress::done(
            job.unknown("the job's results are kept for seven days only"),
        ));
    }
    let stale = age_us > STALE_US;
    if !job.closed && !stale {
        match set_state(org, &job, "UploadComplete")? {
            Close::Done => {
                job.closed = true;
                let wait_ms = job.pause_ms();
                return Ok(waiting(job, wait_ms));
            }
            Close::Unwilling => {}
            Close::Lost => return Ok(lost(org, &job)),
        }
    }
    let Some(told) = look(org, &job)? else {
        return Ok(lost(org, &job));
    };
    match told.state.as_str() {
        "Open" => opened(org, job, stale),
        "JobComplete" | "Failed" | "Aborted" => results::read(org, &job, &told).map(Progress::done),
        // Under way, or in a state that only a later version of the API knows.
        _ => {
            job.closed = true;
            let wait_ms = job.pause_ms();
            job.looks = job.looks.saturating_add(1);
            Ok(waiting(job, wait_ms))
        }
    }
}

fn waiting(job: Job, wait_ms: u32) -> Progress {
    Progress {
        outcomes: Vec::new(),
        job: Some(job.waits(wait_ms)),
        after: Vec::new(),
    }
}

/// A job that is still open has changed nothing.
fn opened(org: &Org<'_>, mut job: Job, stale: bool) -> Result<Progress, Fault> {
    if job.closed && !stale {
        // Said to be closed, and open when looked at: asked to be closed once more.
        job.closed = false;
        let wait_ms = job.pause_ms();
        return Ok(waiting(job, wait_ms));
    }
    let (code, why) = match stale {
        true => (
            "job-stale",
            "the job waited so long that its rows may be out of date",
        ),
        false => ("job-not-closed", "Salesforce refused to start the job"),
    };
    // Only what has certainly ended leaves its rows as they were.
    match set_state(org, &job, "Aborted")? {
        Close::Done => Ok(Progress::done(refused(&job, code, why))),
        Close::Lost => Ok(lost(org, &job)),
        Close::Unwilling => {
            job.closed = true;
            let wait_ms = job.pause_ms();
            Ok(waiting(job, wait_ms))
        }
    }
}

fn refused(job: &Job, code: &str, why: &str) -> Vec<RowOutcome> {
    let outcome = |token| RowOutcome::refused(token, code, why, Vec::new(), Advice::Retry);
    job.rows.iter().map(|row| outcome(row.token)).collect()
}

fn lost(org: &Org<'_>, job: &Job) -> Progress {
    let line = format!(
        "bulk job {} of {} is not known to Salesforce any more; its {} rows are read again",
        job.id,
        job.target.object,
        job.rows.len()
    );
    org.gateway.log(Level::Warn, &line);
    Progress::done(job.unknown("Salesforce does not know the job any more"))
}

/// Repeating it changes nothing: a job is closed or aborted once.
fn set_state(org: &Org<'_>, job: &Job, state: &str) -> Result<Close, Fault> {
    let what = format!("the request to set bulk job {} to {state}", job.id);
    let http = Http::patch(path(org, job, "")).json(&json!({ "state": state }))?;
    let response = tidegate_sdk::write(org.gateway, http.idempotent())?.into_http()?;
    if response.is_success() {
        return Ok(Close::Done);
    }
    let fault = answer::fault(&response, &what);
    match fault.kind {
        FaultKind::Missing => Ok(Close::Lost),
        FaultKind::Refused => {
            org.gateway.log(Level::Warn, &fault.message);
            Ok(Close::Unwilling)
        }
        _ => Err(fault),
    }
}

/// `None` when there is no such job.
fn look(org: &Org<'_>, job: &Job) -> Result<Option<Told>, Fault> {
    let what = format!("the state of bulk job {}", job.id);
    match org.ask(Http::get(path(org, job, "")), &what) {
        Ok(told) => Ok(Some(told.body)),
        Err(fault) if fault.kind == FaultKind::Missing => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A resource of the job; `rest` starts with `/`.
pub(super) fn path(org: &Org<'_>, job: &Job, rest: &str) -> String {
    org.config.path(&format!("/jobs/ingest/{}{rest}", job.id))
}
