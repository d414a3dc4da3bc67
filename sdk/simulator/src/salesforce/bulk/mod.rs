//! Bulk API 2.0: a job takes a file of rows, works on it by and by, and tells afterwards what became of each row.
//!
//! `ingest` answers requests, `job` is what is known of a job, `sheet` reads its file, `work` writes the rows in
//! chunks as time goes by, `results` writes what became of them. `query` is the other way round: a job that reads.
//!
//! Codes are those of the Bulk API 2.0 guide's list of errors, in the capitals in which recorded answers have them; where
//! no source names the status of wrong use, it is 400 and unverified.

mod ingest;
mod job;
mod multipart;
mod query;
mod results;
mod sheet;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError};
use super::call::Call;
use super::faults::Fault;
use super::id::Id;
use super::ledger::Ledger;
use super::options::Options;
pub(crate) use ingest::answer as ingest;
use job::{Head, Job, State};
use query::Reading;
pub(crate) use query::{QueryResource, answer as query};
pub(crate) use work::{catch_up, step};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Older versions have no such resources.
const VERSION_MIN: u32 = 41;
/// A job that nobody closes does not stay open for longer; that it is aborted then is not verified.
const OPEN_MS_MAX: u64 = DAY_MS;
const KEPT_MS: u64 = 7 * DAY_MS;
/// In a page of the list of jobs.
const PAGE_JOBS: usize = 1_000;

/// What a request to `/jobs/ingest` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Jobs,
    Job(String),
    Upload(String),
    Results(String, Outcomes),
}

/// Which rows a result file tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcomes {
    Successful,
    Failed,
    Unprocessed,
}

impl Resource {
    pub(crate) fn of(segments: &[&str]) -> Option<Self> {
        let results = |id: &str, outcomes| Some(Self::Results(id.to_owned(), outcomes));
        match segments {
            [] => Some(Self::Jobs),
            [id] => Some(Self::Job((*id).to_owned())),
            [id, "batches"] => Some(Self::Upload((*id).to_owned())),
            [id, "successfulResults"] => results(id, Outcomes::Successful),
            [id, "failedResults"] => results(id, Outcomes::Failed),
            // Documents write it in lower case, clients in both ways.
            [id, "unprocessedrecords" | "unprocessedRecords"] => results(id, Outcomes::Unprocessed),
            _ => None,
        }
    }

    /// The name under which the meter counts it, and the fault that loses its answer.
    pub(crate) fn step(&self, method: &str) -> (&'static str, Option<Fault>) {
        match (self, method) {
            (Self::Jobs, "POST") => ("job-create", Some(Fault::DropJobCreate)),
            (Self::Jobs, _) => ("jobs", None),
            (Self::Upload(_), _) => ("job-upload", Some(Fault::DropJobUpload)),
            (Self::Job(_), "PATCH") => ("job-close", Some(Fault::DropJobClose)),
            (Self::Job(_), "DELETE") => ("job-delete", None),
            (Self::Job(_), _) => ("job-poll", Some(Fault::DropJobPoll)),
            (Self::Results(..), _) => ("job-results", Some(Fault::DropJobResults)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Bulk {
    jobs: BTreeMap<Id, Job>,
    readings: BTreeMap<Id, Reading>,
    /// When each job that is at work comes a step further.
    due: BTreeSet<(u64, Id)>,
    serial: u64,
    /// One for every started 10,000 rows.
    pub(crate) batches: Ledger,
    pub(crate) rows: Ledger,
    pub(crate) query_jobs: Ledger,
    /// Somebody lets time pass for the jobs already.
    pub(crate) attended: bool,
}

impl Bulk {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            jobs: BTreeMap::new(),
            readings: BTreeMap::new(),
            due: BTreeSet::new(),
            serial: 0,
            batches: Ledger::new(options.bulk_batches_max, 0),
            rows: Ledger::new(options.bulk_rows_max, 0),
            query_jobs: Ledger::new(options.bulk_query_jobs_max, 0),
            attended: false,
        }
    }

    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// When the oldest chunk that is being written began.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        let at_work = self.due.iter().filter_map(|(_, id)| self.jobs.get(id));
        at_work.filter_map(Job::chunk_began_ms).min()
    }

    fn next_id(&mut self) -> Id {
        self.serial += 1;
        Id::new(*b"750", self.serial)
    }

    fn put(&mut self, job: Job) {
        if let Some(due_ms) = job.head.due_ms {
            self.due.insert((due_ms, job.head.id));
        }
        self.jobs.insert(job.head.id, job);
    }

    /// Has to be put back.
    fn take(&mut self, id: Id) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if let Some(due_ms) = job.head.due_ms {
            self.due.remove(&(due_ms, id));
        }
        Some(job)
    }

    /// Old jobs end, and older ones are forgotten.
    fn age(&mut self, now_ms: u64) {
        let kept =
            |head: &Head| head.due_ms.is_some() || head.created_ms.saturating_add(KEPT_MS) > now_ms;
        self.jobs.retain(|_, job| kept(&job.head));
        self.readings.retain(|_, job| kept(&job.head));
        for Job { head, .. } in self.jobs.values_mut() {
            let old = head.created_ms.saturating_add(OPEN_MS_MAX) <= now_ms;
            if head.state == State::Open && old {
                head.end(State::Aborted, now_ms);
            }
        }
    }

    pub(crate) fn stats(&self) -> Value {
        let mut states: BTreeMap<&str, u64> = BTreeMap::new();
        let jobs = self.jobs.values().map(|job| &job.head);
        for head in jobs.chain(self.readings.values().map(|job| &job.head)) {
            *states.entry(head.state.name()).or_default() += 1;
        }
        json!(states)
    }
}

fn check_resource(call: &Call) -> Result<(), ApiError> {
    let number = call.version.trim_start_matches('v').split('.').next();
    if number.and_then(|number| number.parse().ok()) < Some(VERSION_MIN) {
        return Err(ApiError::missing());
    }
    Ok(())
}

/// All calls of a job have to be of the version that created it; the code is not verified, the status is.
fn check_version(head: &Head, call: &Call) -> Result<(), ApiError> {
    if head.version == call.version {
        return Ok(());
    }
    let message = format!("The job was created with API version {}", head.version);
    Err(ApiError::new(409, "API_VERSION_MISMATCH", message))
}

fn wrong_state(message: &str) -> ApiError {
    ApiError::bad("INVALIDJOBSTATE", message)
}

fn check_ended(head: &Head) -> Result<(), ApiError> {
    if head.state.ended() {
        return Ok(());
    }
    let state = head.state.name();
    Err(wrong_state(&format!(
        "The job is {state}, its results are not ready"
    )))
}

/// What a request wants a job to be.
fn wanted_state(call: &Call) -> Result<State, ApiError> {
    match call.json()?["state"].as_str() {
        Some("UploadComplete") => Ok(State::UploadComplete),
        Some("Aborted") => Ok(State::Aborted),
        _ => Err(wrong_state(
            "A job can be set to UploadComplete or to Aborted",
        )),
    }
}

/// The job with which the page of a list begins.
fn list_start(call: &Call) -> Id {
    let locator = call.parameter("queryLocator");
    locator.and_then(Id::parse).unwrap_or(Id::LEAST)
}

fn listed(
    call: &Call,
    kind: &str,
    mut jobs: impl Iterator<Item = (Id, Map<String, Value>)>,
) -> Answer {
    let page = jobs.by_ref().take(PAGE_JOBS);
    let records: Vec<Value> = page.map(|(_, job)| Value::Object(job)).collect();
    let next = jobs.next().map(|(id, _)| {
        format!(
            "/services/data/{}/jobs/{kind}?queryLocator={id}",
            call.version
        )
    });
    let body = json!({"done": next.is_none(), "records": records, "nextRecordsUrl": next});
    Answer::json(200, body)
}

fn check_abort(head: &Head) -> Result<(), ApiError> {
    let already = match head.state {
        State::Aborted => "Aborted",
        state if state.ended() => "Completed",
        _ => return Ok(()),
    };
    Err(wrong_state(&format!(
        "Aborting already {already} Job not allowed"
    )))
}
