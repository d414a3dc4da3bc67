//! The one task that owns every sync's queue and records.
//!
//! Pages and settled rounds enter as [`Event`]s, each becomes one transaction, and rounds are started where
//! something is ready and its target can take it. Streams and rounds run beside it and change nothing. A sync
//! joins when it has started, sooner or later than others.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::hold::Holds;
use tidegate_core::ledger::{Changes, Ledger, LedgerError, Room, SyncId, encode, key_link, prefix};
use tidegate_core::plugin::StreamKind;
use tidegate_core::record::LinkId;
use tidegate_core::reference::Waits;
use tidegate_store::{ApplyError, KeyRange, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Assembly;
use super::events::{Event, Host};
use super::intents::IntentError;
use super::pulls::Pulls;
use super::records::{self};
use super::running::{Halt, Sync};
use super::start::Pending;
use super::streams::Source;

/// Why the engine can't go on. Nothing was acknowledged that is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the store can't be written: {0}")]
    Store(#[from] ApplyError),
    #[error("the store can't be written for good: {0}")]
    Durable(#[from] tidegate_store::DurableError),
    #[error("the store can't be read: {0}")]
    Read(#[from] tidegate_store::ReadError),
    #[error(transparent)]
    Intent(#[from] IntentError),
}

/// Rows that are captured or settled before others get a turn.
pub(super) const CAPTURE_ROWS: usize = 500;

/// A stream's objects, by name.
pub(super) struct StreamSources {
    pub name: String,
    pub kind: StreamKind,
    pub sources: Vec<Source>,
}

pub(super) struct Engine {
    pub(super) host: Host,
    pub(super) assembly: Arc<Assembly>,
    /// Those that have started, in that order.
    pub(super) syncs: Vec<Sync>,
    /// Those that have not.
    pub(super) pending: BTreeMap<Arc<str>, Pending>,
    /// What people hold back, as it stands on disk.
    pub(super) holds: Holds,
    pub(super) streams: Vec<StreamSources>,
    /// Records that wait for their parents.
    pub(super) waits: Waits,
    /// By endpoint.
    pub(super) pulls: BTreeMap<Arc<str>, Arc<Pulls>>,
    /// The tasks beside the engine that are no rounds.
    pub(super) tasks: TaskTracker,
    pub(super) cancel: CancellationToken,
    pub(super) rounds: TaskTracker,
    pub(super) stopping: bool,
}

pub(super) type Rows = Vec<(LinkId, Vec<u8>)>;

/// A range of a sync's records, a page at a time.
pub(super) fn pages(
    store: &Store,
    range: KeyRange,
) -> impl Iterator<Item = Result<Rows, EngineError>> {
    const PAGE: usize = 1_000;
    let mut rest = Some(range);
    std::iter::from_fn(move || {
        let range = rest.take()?;
        let found = match store.scan(&range, PAGE) {
            Ok(found) => found,
            Err(error) => return Some(Err(error.into())),
        };
        let (last, _) = found.last()?;
        rest = Some(range.after(last.clone()));
        let rows = found.into_iter();
        let rows = rows.filter_map(|(key, value)| Some((key_link(&key)?, value)));
        Some(Ok(rows.collect()))
    })
}

/// A room of a sync in pages.
pub(super) fn scan(store: &Store, room: Room, sync: SyncId) -> Result<Vec<Rows>, EngineError> {
    pages(store, KeyRange::prefix(prefix(room, sync))).collect()
}

/// How many records a room of a sync has, without all of them in memory at once.
pub(super) fn count(store: &Store, room: Room, sync: SyncId) -> Result<u64, EngineError> {
    let mut pages = pages(store, KeyRange::prefix(prefix(room, sync)));
    pages.try_fold(0, |sum, page| Ok(sum + page?.len() as u64))
}

impl Engine {
    /// `tasks` are those that feed it; it adds its streams to them.
    pub(super) fn new(
        assembly: Arc<Assembly>,
        host: Host,
        pending: BTreeMap<Arc<str>, Pending>,
        tasks: TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            holds: host.gates.holds(),
            host,
            assembly,
            syncs: Vec::new(),
            pending,
            streams: Vec::new(),
            waits: Waits::default(),
            pulls: BTreeMap::new(),
            tasks,
            cancel,
            rounds: TaskTracker::new(),
            stopping: false,
        }
    }

    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
    ) -> Result<(), EngineError> {
        let cancel = self.cancel.clone();
        loop {
            let more = self.advance().await?;
            let due_ms = self.dispatch();
            let due_ms = match more {
                true => Some(self.host.clock.now().mono_ms),
                false => due_ms,
            };
            if self.stopping && self.rounds.is_empty() && events.is_empty() {
                return Ok(());
            }
            let clock = self.host.clock.clone();
            let intents = self.host.intents.clone();
            tokio::select! {
                biased;
                // Nothing may be written any more, and what was not sent stays in the queue (invariant 2).
                error = intents.broken() => return Err(error.into()),
                () = cancel.cancelled(), if !self.stopping => {
                    self.stopping = true;
                    self.rounds.close();
                }
                event = events.recv() => {
                    if let Some(event) = event {
                        self.handle(event).await?;
                    }
                    // What arrived meanwhile is taken in before the next round is chosen.
                    while let Ok(event) = events.try_recv() {
                        self.handle(event).await?;
                    }
                }
                () = clock.sleep_until(due_ms.unwrap_or(u64::MAX)), if due_ms.is_some() => {}
                () = self.rounds.wait(), if self.stopping && !self.rounds.is_empty() => {}
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), EngineError> {
        match event {
            Event::Started(started) => self.join(*started).await?,
            Event::Hindered { sync, hindrance } => {
                let reason = &hindrance.reason;
                tracing::warn!(%sync, code = %reason.code, person = hindrance.person, "not started: {}", reason.message);
                self.alarm_hindered(&sync, &hindrance);
                if let Some(pending) = self.pending.get_mut(&sync) {
                    pending.hindrance = Some(hindrance);
                }
            }
            Event::Page {
                stream,
                mark,
                cursor,
                page,
                reply,
            } => {
                let seq = self.page(stream, mark, cursor, page).await?;
                // The stream may have been cancelled; the page is kept all the same.
                reply.send(seq).ok();
            }
            Event::ReadBegun { stream, of, reply } => {
                self.read_begun(stream, of).await?;
                // The stream may have been cancelled.
                reply.send(()).ok();
            }
            Event::Settle { sync, settled, job } => self.settle(sync, settled, job).await?,
            Event::JobBegun { sync, job, rows } => self.job_begun(sync, job, rows).await?,
            Event::JobAsked { sync, id, job } => self.job_asked(sync, id, job).await?,
            Event::Admit {
                sync,
                deletes,
                reply,
            } => {
                let admitted = self.admit(sync, deletes).await?;
                reply.send(admitted).ok();
            }
            Event::Reached { sync, side } => {
                self.syncs[sync].halted[side] = None;
                self.alarm_reached(sync, side);
            }
            Event::Failed {
                sync,
                side,
                reason,
                halted,
                credential,
                wait_ms,
            } => {
                if halted {
                    self.alarm_stopped(sync, side, &reason, credential);
                }
                let until_ms = self.host.clock.now().mono_ms + wait_ms;
                tracing::warn!(sync = %self.syncs[sync].running.model.spec.name, %side, code = %reason.code, wait_ms, "{}", reason.message);
                self.syncs[sync].tally.trouble(&reason);
                self.syncs[sync].halted[side] = Some(Halt {
                    until_ms,
                    reason,
                    person: halted,
                });
            }
            Event::Crashed { sync, reason } => {
                tracing::debug!(sync = %self.syncs[sync].running.model.spec.name, code = %reason.code, "{}", reason.message);
                self.syncs[sync].tally.trouble(&reason);
            }
            Event::PullFailed {
                sync,
                side,
                reason,
                credential,
            } => {
                if credential {
                    self.alarm_credential(sync, side, &reason);
                }
                tracing::warn!(sync = %self.syncs[sync].running.model.spec.name, %side, code = %reason.code, "{}", reason.message);
                self.syncs[sync].pull_failure[side] = Some(reason);
            }
            Event::Heard { sync, side } => self.syncs[sync].heard[side] = true,
            Event::Pulled { sync, side } => {
                self.syncs[sync].pull_failure[side] = None;
                self.alarm_read(sync, side);
            }
            Event::RoundEnded { sync, source } => self.syncs[sync].rounds[source] -= 1,
            Event::Broken(error) => return Err(error),
            Event::Status { reply } => {
                // Whoever asked may be gone.
                reply.send(self.status()?).ok();
            }
            Event::Command { command, reply } => {
                reply.send(self.command(command).await?).ok();
            }
        }
        Ok(())
    }

    pub(super) async fn commit(
        &mut self,
        index: usize,
        ledger: Ledger<'_>,
    ) -> Result<(), EngineError> {
        let sync = &mut self.syncs[index];
        let made = ledger.links_made();
        let id = ledger.sync();
        let now_ms = self.host.clock.now().mono_ms;
        let mut woken = Vec::new();
        for link in ledger.woken() {
            if let Some(entry) = ledger.entry(*link)? {
                woken.push((*link, entry.source(), entry.lane));
            }
        }
        let mut changes = ledger.into_changes();
        if changes.is_empty() {
            return Ok(());
        }
        sync.counts.links = sync.counts.links.saturating_add_signed(made);
        changes.insert(records::counts_key(id), Some(encode(&sync.counts)));
        records::commit(&self.host.store, changes).await?;
        for (link, source, lane) in woken {
            self.syncs[index].queue.offer(link, source, lane, now_ms);
        }
        Ok(())
    }

    pub(super) async fn save(&mut self, index: usize) -> Result<(), EngineError> {
        let sync = &self.syncs[index];
        let mut changes = Changes::new();
        records::put_sync(
            &self.host.store,
            &mut changes,
            &sync.running.model.spec.name,
            &sync.record,
        )?;
        records::commit(&self.host.store, changes).await?;
        Ok(())
    }
}
