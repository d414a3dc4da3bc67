//! Pushes that a vendor works on as a job: each is asked after ([`Following`]) until every row has its outcome, also by a
//! host that was started meanwhile.
//!
//! A job is on disk, with its rows, before it is asked for the first time. So a connector may leave the last step,
//! the one that sets the vendor to work, to the first poll: a job that this host does not know never runs.

use std::collections::{BTreeMap, HashMap};

use tidegate_core::job::{Job, JobId, JobRow};
use tidegate_core::ledger::{Changes, Ledger, Room, SyncId, decode, key_job, link_key, prefix};
use tidegate_core::record::LinkId;
use tidegate_store::{KeyRange, Seq, Store};

use super::engine::{Engine, EngineError, scan};
use super::following::Following;
use super::records::{self, Committed};

/// A row that a push has given to a job.
pub(super) struct Carried {
    pub link: LinkId,
    pub generation: u32,
    pub create: bool,
}

/// Jobs as they stand in the store, with the rows that are still out.
pub(super) type Jobs = BTreeMap<JobId, (Job, HashMap<LinkId, JobRow>)>;

/// A job as people see it.
pub(super) struct Underway {
    pub job: Job,
    pub rows: usize,
}

/// The sync's jobs. A row whose job is not on disk was pushed right before the host died: its record is taken away,
/// and it is a write of unknown outcome like any other.
pub(super) async fn recover(store: &Store, sync: SyncId) -> Result<Jobs, EngineError> {
    let mut jobs = Jobs::new();
    for (key, bytes) in store.scan(&KeyRange::prefix(prefix(Room::Job, sync)), usize::MAX)? {
        if let Some(id) = key_job(&key) {
            jobs.insert(id, (decode("job", &bytes)?, HashMap::new()));
        }
    }
    for page in scan(store, Room::JobRow, sync)? {
        let mut orphans = Changes::new();
        for (link, bytes) in page {
            let row: JobRow = decode("job row", &bytes)?;
            match jobs.get_mut(&row.job) {
                Some((_, rows)) => {
                    rows.insert(link, row);
                }
                None => {
                    orphans.insert(link_key(Room::JobRow, sync, link), None);
                }
            }
        }
        if !orphans.is_empty() {
            records::commit(store, orphans).await?;
        }
    }
    Ok(jobs)
}

impl Engine {
    /// Keeps a job that a push has begun, rows first: without its job, a row is of unknown outcome.
    pub(super) async fn job_begun(
        &mut self,
        index: usize,
        job: Job,
        carried: Vec<Carried>,
    ) -> Result<(), EngineError> {
        let sync = &mut self.syncs[index];
        let id = JobId(sync.last_job + 1);
        sync.last_job = id.0;
        let sync_id = sync.running.id;
        let base = Committed(self.host.store.clone());
        let mut rows = HashMap::with_capacity(carried.len());
        let mut carried = carried.into_iter().peekable();
        while carried.peek().is_some() {
            let mut ledger = Ledger::new(&base, sync_id);
            let mut intents = Changes::new();
            let mut bytes = 0;
            while ledger.bytes() + bytes < records::SLICE_BYTES
                && let Some(Carried {
                    link,
                    generation,
                    create,
                }) = carried.next()
            {
                let row = JobRow {
                    job: id,
                    generation,
                    create,
                };
                ledger.put_job_row(link, &row);
                rows.insert(link, row);
                if let Some((key, sent)) = self.host.intents.entrust(sync_id, link) {
                    bytes += key.len() + sent.len();
                    intents.insert(key, Some(sent));
                }
            }
            let mut changes = ledger.into_changes();
            changes.append(&mut intents);
            records::commit(&self.host.store, changes).await?;
        }
        let stored = self.keep_job(index, id, &job).await?;
        tracing::info!(sync = %self.syncs[index].running.model.spec.name, job = id.0, method = %job.method, rows = rows.len(), "a job has begun");
        self.follow(index, id, job, rows, Some(stored));
        Ok(())
    }

    /// Asks after a job from now on, once it is on disk.
    pub(super) fn follow(
        &mut self,
        index: usize,
        id: JobId,
        job: Job,
        rows: HashMap<LinkId, JobRow>,
        stored: Option<Seq>,
    ) {
        let sync = &mut self.syncs[index];
        let underway = Underway {
            job: job.clone(),
            rows: rows.len(),
        };
        sync.jobs.insert(id, underway);
        let following = Following {
            host: self.host.clone(),
            running: sync.running.clone(),
            id,
            job,
            rows,
            stored,
        };
        self.tasks.spawn(following.run(self.cancel.clone()));
    }

    async fn keep_job(&self, index: usize, id: JobId, job: &Job) -> Result<Seq, EngineError> {
        let base = Committed(self.host.store.clone());
        let mut ledger = Ledger::new(&base, self.syncs[index].running.id);
        ledger.put_job(id, job);
        Ok(records::commit(&self.host.store, ledger.into_changes()).await?)
    }

    /// What a poll has told is settled by now; `None` when the job has ended.
    pub(super) async fn job_asked(
        &mut self,
        index: usize,
        id: JobId,
        job: Option<Job>,
    ) -> Result<(), EngineError> {
        if let Some(job) = job {
            self.keep_job(index, id, &job).await?;
            if let Some(underway) = self.syncs[index].jobs.get_mut(&id) {
                underway.job = job;
            }
            return Ok(());
        }
        let base = Committed(self.host.store.clone());
        let mut ledger = Ledger::new(&base, self.syncs[index].running.id);
        ledger.remove_job(id);
        records::commit(&self.host.store, ledger.into_changes()).await?;
        self.syncs[index].jobs.remove(&id);
        tracing::info!(sync = %self.syncs[index].running.model.spec.name, job = id.0, "a job has ended");
        Ok(())
    }
}
