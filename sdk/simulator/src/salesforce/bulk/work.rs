//! How jobs come along: a wait, then a chunk of rows at a time, each a transaction like that of any other call.

use std::collections::HashSet;

use super::job::{Asked, Head, Job, Operation, State};
use super::query;
use super::sheet::{self, Column, Sheet};
use crate::salesforce::answer::RowError;
use crate::salesforce::batch::{self, Done, Fields, ROWS_MAX, Upsert};
use crate::salesforce::faults::Fault;
use crate::salesforce::id::Id;
use crate::salesforce::locks;
use crate::salesforce::org::Org;
use crate::salesforce::transaction::{Began, Transaction};

/// Salesforce cuts a job's rows into batches of so many, and counts those.
const BATCH_ROWS: usize = 10_000;
/// Why a job fails by the fault `job-fails`.
const DOOM: &str = "TooManyLockFailure : Too many lock failures";

/// What became of a row, told by its place in the file.
#[derive(Debug)]
pub(super) enum Outcome {
    Created(Id),
    Written(Id),
    Refused(Box<str>),
}

/// How far a job has come with its file.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(super) sheet: Sheet,
    columns: Vec<Column>,
    /// Where each chunk of rows begins in the file.
    pub(super) chunks: Vec<usize>,
    /// Where the next chunk begins.
    pub(super) next: usize,
    /// Of the rows up to here, in the order of the file.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) failed: usize,
    pub(super) worked_ms: u64,
    chunk: Option<Chunk>,
}

impl Progress {
    pub(super) fn new(sheet: Sheet, columns: Vec<Column>) -> Self {
        Self {
            next: sheet.start,
            sheet,
            columns,
            chunks: Vec::new(),
            outcomes: Vec::new(),
            failed: 0,
            worked_ms: 0,
            chunk: None,
        }
    }

    pub(super) fn chunk_began_ms(&self) -> Option<u64> {
        self.chunk.as_ref().map(|chunk| chunk.began_ms)
    }
}

/// Rows that are being written: stamped with when that began, visible once it ends.
#[derive(Debug)]
struct Chunk {
    rows: Vec<Fields>,
    began_ms: u64,
    parents: HashSet<Id>,
    contended: HashSet<Id>,
    /// The job fails once these are written.
    last_of_doomed: bool,
}

/// Lets every job come as far as it is by now.
pub(crate) fn catch_up(org: &mut Org, now_ms: u64) {
    while let Some(due_ms) = org.bulk.due_ms().filter(|due_ms| *due_ms <= now_ms) {
        step(org, due_ms);
    }
}

/// Lets the job that is due first come one step further, which ends at this time.
pub(crate) fn step(org: &mut Org, end_ms: u64) {
    let Some((due_ms, id)) = org.bulk.due.first().copied() else {
        return;
    };
    let Some(mut job) = org.bulk.take(id) else {
        org.bulk.due.remove(&(due_ms, id));
        return query::step(org, id, end_ms);
    };
    match job.head.state {
        State::UploadComplete => start(org, &mut job, end_ms),
        State::InProgress => {
            finish_chunk(org, &mut job, end_ms);
            if job.head.state == State::InProgress {
                begin_chunk(org, &mut job, end_ms);
            }
        }
        _ => job.head.due_ms = None,
    }
    org.bulk.put(job);
}

/// Gives back what the chunk under way holds, which is then never written.
pub(super) fn abandon_chunk(org: &mut Org, job: &mut Job) {
    let chunk = job
        .progress
        .as_mut()
        .and_then(|progress| progress.chunk.take());
    if let Some(chunk) = chunk {
        org.locks.release(&chunk.parents);
    }
}

fn start(org: &mut Org, job: &mut Job, now_ms: u64) {
    let asked = &job.asked;
    let Some(content) = job.content.clone() else {
        return job.head.fail("InvalidBatch : No data was uploaded", now_ms);
    };
    let object = &org.tables[asked.table].object;
    let Head {
        delimiter,
        line_ending,
        ..
    } = job.head;
    let opened = Sheet::open(content, delimiter, line_ending).and_then(|sheet| {
        let columns = sheet::columns(&sheet.header, object, asked.operation)?;
        Ok(Progress::new(sheet, columns))
    });
    match opened {
        Ok(progress) => {
            job.head.enter(State::InProgress, now_ms, now_ms);
            job.progress = Some(progress);
            begin_chunk(org, job, now_ms);
        }
        Err(problem) => job.head.fail(problem, now_ms),
    }
}

fn begin_chunk(org: &mut Org, job: &mut Job, now_ms: u64) {
    let Some(progress) = &mut job.progress else {
        return;
    };
    let stretch = progress.sheet.read(progress.next, ROWS_MAX);
    if stretch.rows.is_empty() {
        return if job.doomed {
            job.head.fail(DOOM, now_ms)
        } else {
            job.head.end(State::JobComplete, now_ms)
        };
    }
    let mut rows = stretch.rows.iter();
    if let Err(problem) = rows.try_for_each(|row| progress.sheet.check(row)) {
        return job.head.fail(problem, now_ms);
    }
    if progress.outcomes.len() % BATCH_ROWS == 0 && !org.bulk.batches.take(now_ms, 1) {
        return job
            .head
            .fail("ExceededQuota : ApiBatchItems Limit exceeded.", now_ms);
    }
    if !org.bulk.rows.take(now_ms, stretch.rows.len() as u64) {
        // The words are not verified.
        return job
            .head
            .fail("ExceededQuota : Bulk API rows Limit exceeded.", now_ms);
    }
    let mut rows: Vec<Fields> = stretch
        .rows
        .iter()
        .map(|row| sheet::fields(&progress.columns, row))
        .collect();
    // A job that is to fail does so within its last rows, or earlier by chance.
    let last_of_doomed = job.doomed && (rows.len() < ROWS_MAX || org.faults.draw(2) == 0);
    if last_of_doomed {
        rows.truncate(rows.len() / 2);
    }
    let mut parents = HashSet::new();
    let mut contended = HashSet::new();
    if org.faults.is_set(Fault::LockSiblings) {
        parents = locks::parents_of(&rows, &org.tables);
        contended = org.locks.take(&parents);
    }
    progress.chunks.push(progress.next);
    progress.next = stretch.next;
    progress.chunk = Some(Chunk {
        rows,
        began_ms: now_ms,
        parents,
        contended,
        last_of_doomed,
    });
    let due_ms = now_ms + org.options.bulk_chunk_ms;
    job.head.enter(State::InProgress, now_ms, due_ms);
}

fn finish_chunk(org: &mut Org, job: &mut Job, end_ms: u64) {
    let Some(progress) = &mut job.progress else {
        return;
    };
    let Some(chunk) = progress.chunk.take() else {
        return;
    };
    let took_ms = org.options.bulk_chunk_ms;
    let began = Began {
        at_ms: end_ms.saturating_sub(took_ms),
        request: job.request,
        client: job.asked.client.clone(),
        allow_duplicates: false,
        contended: chunk.contended,
    };
    let outcomes = write(org, &began, &job.asked, &chunk.rows);
    org.locks.release(&chunk.parents);
    progress.worked_ms += took_ms;
    progress.failed += outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Refused(_)))
        .count();
    progress.outcomes.extend(outcomes);
    if chunk.last_of_doomed {
        job.head.fail(DOOM, end_ms);
    }
}

fn write(org: &mut Org, began: &Began, asked: &Asked, rows: &[Fields]) -> Vec<Outcome> {
    let (table, operation) = (asked.table, asked.operation);
    let upsert = match (operation, &asked.key) {
        (Operation::Upsert, Some(key)) => match Upsert::new(org, table, key, rows.iter()) {
            Ok(upsert) => Some(upsert),
            Err(error) => return vec_of(rows, &RowError::new(error.code, error.message)),
        },
        _ => None,
    };
    let one = |rows_of: &mut Transaction<'_>, place: usize| {
        let fields = &rows[place];
        match (operation, &upsert) {
            (Operation::Upsert, Some(upsert)) => upsert.write(rows_of, place, fields),
            (Operation::Update, _) => batch::update(rows_of, table, fields),
            (Operation::Delete, _) => batch::own_id(fields).map_err(Into::into).and_then(|id| {
                rows_of.delete(table, id)?;
                Ok(Done::Written(id))
            }),
            (Operation::HardDelete, _) => {
                batch::own_id(fields).map_err(Into::into).and_then(|id| {
                    rows_of.hard_delete(table, id)?;
                    Ok(Done::Written(id))
                })
            }
            _ => batch::insert(rows_of, table, fields),
        }
    };
    let written = batch::each(org, began, false, rows.len(), |rows_of, place| {
        // A value of the wrong type fails its row only: there is no JSON here that could be malformed.
        one(rows_of, place).map_err(|refusal| refusal.of_row().into())
    });
    let inserts = operation == Operation::Insert;
    match written {
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|row| outcome(row, inserts))
            .collect(),
        Err(error) => vec_of(rows, &RowError::new(error.code, error.message)),
    }
}

fn outcome(row: Result<Done, RowError>, inserts: bool) -> Outcome {
    match row {
        Ok(Done::Written(id)) if inserts => Outcome::Created(id),
        Ok(Done::Upserted(id, true)) => Outcome::Created(id),
        Ok(Done::Written(id) | Done::Upserted(id, false)) => Outcome::Written(id),
        Err(error) => Outcome::Refused(told(&error)),
    }
}

fn vec_of(rows: &[Fields], error: &RowError) -> Vec<Outcome> {
    rows.iter().map(|_| Outcome::Refused(told(error))).collect()
}

/// As in `REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --`.
fn told(error: &RowError) -> Box<str> {
    let fields: String = error
        .fields
        .iter()
        .map(|field| format!("{field} "))
        .collect();
    format!("{}:{}:{fields}--", error.code, error.message).into()
}
