//! The one task that owns every sync's queue and records.
//!
//! Pages and settled rounds enter as [`Event`]s, each becomes one transaction, and rounds are started where
//! something is ready and its target can take it. Streams and rounds run beside it and change nothing. A sync
//! joins when it has started, sooner or later than others.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use tidegate_core::batch::Cell;
use tidegate_core::brake::Brake;
use tidegate_core::capture::{Captured, Observation, Standing, capture, rename};
use tidegate_core::ledger::{
    Changes, Ledger, LedgerError, Room, SyncId, decode, encode, key_link, prefix,
};
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{
    COMMITTED_UNKNOWN, ChangeKind, ChangeSet, Page, Selection, StreamKind,
};
use tidegate_core::queue::Queue;
use tidegate_core::record::{Entry, LinkId, Reason, Sides, Stamps};
use tidegate_core::settle::{self, Counter, Left};
use tidegate_core::sync::{Initial, Side};
use tidegate_gateway::{Clock, Readiness};
use tidegate_store::{ApplyError, KeyRange, Seq, Store};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intents::{IntentError, Intents};
use super::marks::{Marks, Touched};
use super::opening::Hindrance;
use super::records::{self, Committed, Counts, Cursor, SyncRecord};
use super::round::{Round, Running, Settled, Settling};
use super::start::{Pending, Started};
use super::streams::{Flow, Source, Stream, endpoint_wide, open};
use super::tally::Tally;
use super::{Assembly, Endpoint};
use crate::status::{Command, CommandError, Done, SyncStatus};

/// What streams and rounds share with the engine.
#[derive(Clone)]
pub(super) struct Host {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub intents: Arc<Intents>,
    pub marks: Arc<Marks>,
    pub seed: u64,
    events: mpsc::Sender<Event>,
}

impl Host {
    pub(super) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        intents: Arc<Intents>,
        seed: u64,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(256);
        (
            Self {
                store,
                clock,
                intents,
                marks: Arc::default(),
                seed,
                events,
            },
            received,
        )
    }

    /// To the engine; lost only when it is gone, and then nothing waits for an answer.
    pub(super) async fn send(&self, event: Event) {
        self.events.send(event).await.ok();
    }

    /// For waiting times, on which nothing else hangs.
    pub(super) fn random(&self) -> u64 {
        (self.seed ^ self.marks.now())
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(31)
    }
}

pub(super) enum Event {
    /// From now on the sync runs.
    Started(Box<Started>),
    /// An attempt to start a sync has failed; another follows.
    Hindered {
        sync: Arc<str>,
        hindrance: Hindrance,
    },
    Page {
        stream: usize,
        mark: u64,
        cursor: Cursor,
        page: Page,
        reply: oneshot::Sender<Seq>,
    },
    Settle {
        sync: usize,
        settled: Settled,
    },
    /// A round asks how many deletes the brake lets through.
    Admit {
        sync: usize,
        deletes: usize,
        reply: oneshot::Sender<usize>,
    },
    /// A push was answered.
    Reached {
        sync: usize,
        side: Side,
    },
    Failed {
        sync: usize,
        side: Side,
        reason: Reason,
        halted: bool,
        wait_ms: u64,
    },
    /// A plugin failed on one record alone, which is tried again before it is blamed.
    Crashed {
        sync: usize,
        reason: Reason,
    },
    PullFailed {
        sync: usize,
        side: Side,
        reason: Reason,
    },
    /// After a failure the source answered again, perhaps without anything new.
    Pulled {
        sync: usize,
        side: Side,
    },
    RoundEnded {
        sync: usize,
        source: Side,
    },
    Broken(EngineError),
    /// A person wants to know.
    Status {
        reply: oneshot::Sender<Vec<SyncStatus>>,
    },
    /// A person wants something done.
    Command {
        command: Command,
        reply: oneshot::Sender<Result<Done, CommandError>>,
    },
}

/// Why the engine can't go on. Nothing was acknowledged that is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the store can't be written: {0}")]
    Store(#[from] ApplyError),
    #[error("the store can't be read: {0}")]
    Read(#[from] tidegate_store::ReadError),
    #[error(transparent)]
    Intent(#[from] IntentError),
}

/// Rounds of one direction that may run at once.
const ROUNDS_MAX: usize = 4;
/// How long a change waits for company where calls cost: by lane.
const HOLD_MS: [u64; 3] = [0, 50, 500];
/// Rows that are captured before others get a turn.
const CAPTURE_ROWS: usize = 500;

/// Why nothing is sent to a side for a while.
pub(super) struct Halt {
    pub until_ms: u64,
    pub reason: Reason,
    /// It will not pass by itself.
    pub person: bool,
}

pub(super) struct Sync {
    pub running: Arc<Running>,
    pub record: SyncRecord,
    pub counts: Counts,
    pub queue: Queue,
    pub brake: Brake,
    pub flow: Arc<Flow>,
    rounds: Sides<usize>,
    /// By target side.
    pub halted: Sides<Option<Halt>>,
    pub pull_failure: Sides<Option<Reason>>,
    touched: Touched,
    pub tally: Tally,
    /// Snapshots that are still being read.
    pub snapshots: usize,
}

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
    streams: Vec<StreamSources>,
    /// The tasks beside the engine that are no rounds.
    tasks: TaskTracker,
    cancel: CancellationToken,
    rounds: TaskTracker,
    pub(super) stopping: bool,
}

impl Sync {
    /// Rebuilds the queue from the store; writes that were under way become unknown (invariant 6).
    pub(super) async fn recover(
        host: &Host,
        running: Arc<Running>,
        record: SyncRecord,
    ) -> Result<Self, EngineError> {
        let id = running.id;
        let now_ms = host.clock.now().mono_ms;
        let base = Committed(host.store.clone());
        for page in scan(&host.store, Room::Intent, id)? {
            let mut ledger = Ledger::new(&base, id);
            for (link, _) in page {
                settle::recover(&mut ledger, link)?;
            }
            records::commit(&host.store, ledger.into_changes()).await?;
        }
        let mut queue = Queue::new(running.model.spec.queue_max);
        for page in scan(&host.store, Room::Entry, id)? {
            for (link, bytes) in page {
                let entry: Entry = decode("queue entry", &bytes)?;
                queue.offer(link, entry.source(), entry.lane, now_ms);
            }
        }
        let counts = records::load_counts(&host.store, id)?;
        let brake = Brake::new(running.model.spec.brake, record.braked);
        Ok(Self {
            running,
            record,
            counts,
            queue,
            brake,
            flow: Arc::default(),
            rounds: Sides::default(),
            halted: Sides::default(),
            pull_failure: Sides::default(),
            touched: Touched::default(),
            tally: Tally::default(),
            snapshots: 0,
        })
    }

    pub(super) fn refresh_flow(&self) {
        self.flow.set(self.record.paused, self.queue.room());
    }

    fn source(&self, side: Side) -> Source {
        let model = &self.running.model;
        Source {
            sync: self.running.index,
            side,
            selection: Selection {
                object: model.spec.side(side).object.to_string(),
                fields: model.selected(side),
            },
            flow: self.flow.clone(),
        }
    }

    /// Whether all of a side's records are read once.
    fn reads_whole(&self, side: Side) -> bool {
        match self.running.model.spec.initial {
            Initial::Both => true,
            Initial::Left => side == Side::Left,
            Initial::Right => side == Side::Right,
            Initial::None => false,
        }
    }

    /// Rows worth taking for one round towards a side: two full uses of its widest interactive method.
    fn round_rows(&self, target: Side) -> usize {
        let manifest = self.running.endpoints[target].plugin.manifest();
        2 * manifest
            .interactive_methods()
            .map(|method| method.rows_max as usize)
            .max()
            .unwrap_or(1)
    }
}

pub(super) type Rows = Vec<(LinkId, Vec<u8>)>;

/// A room of a sync in pages.
pub(super) fn scan(store: &Store, room: Room, sync: SyncId) -> Result<Vec<Rows>, EngineError> {
    const PAGE: usize = 1_000;
    let mut pages = Vec::new();
    let mut range = KeyRange::prefix(prefix(room, sync));
    loop {
        let found = store.scan(&range, PAGE)?;
        let Some((last, _)) = found.last() else {
            return Ok(pages);
        };
        range = range.after(last.clone());
        pages.push(
            found
                .into_iter()
                .filter_map(|(key, value)| Some((key_link(&key)?, value)))
                .collect(),
        );
    }
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
            host,
            assembly,
            syncs: Vec::new(),
            pending,
            streams: Vec::new(),
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
            let due_ms = self.dispatch();
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
            Event::Settle { sync, settled } => self.settle(sync, settled).await?,
            Event::Admit {
                sync,
                deletes,
                reply,
            } => {
                let admitted = self.admit(sync, deletes).await?;
                reply.send(admitted).ok();
            }
            Event::Reached { sync, side } => self.syncs[sync].halted[side] = None,
            Event::Failed {
                sync,
                side,
                reason,
                halted,
                wait_ms,
            } => {
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
            Event::PullFailed { sync, side, reason } => {
                tracing::warn!(sync = %self.syncs[sync].running.model.spec.name, %side, code = %reason.code, "{}", reason.message);
                self.syncs[sync].pull_failure[side] = Some(reason);
            }
            Event::Pulled { sync, side } => self.syncs[sync].pull_failure[side] = None,
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

    // ---- join ------------------------------------------------------------------------------

    /// Takes in a sync that has started: what waited for it in the store, and its streams.
    async fn join(&mut self, started: Started) -> Result<(), EngineError> {
        if self.stopping {
            return Ok(());
        }
        let Started { running, record } = started;
        let running = Arc::new(Running {
            index: self.syncs.len(),
            ..running
        });
        let name = running.model.spec.name.clone();
        self.host.intents.name(name.clone(), running.id);
        let sync = Sync::recover(&self.host, running.clone(), record).await?;
        sync.refresh_flow();
        self.syncs.push(sync);
        self.pending.remove(&name);
        tracing::info!(sync = %name, "started");
        for side in Side::BOTH {
            let endpoint = &running.endpoints[side];
            if !endpoint_wide(endpoint) {
                let source = self.syncs[running.index].source(side);
                self.open(endpoint, vec![source])?;
            } else if side == Side::Left || running.endpoints.left.name != endpoint.name {
                self.open_whole(endpoint)?;
            }
        }
        Ok(())
    }

    /// One position for all objects of an endpoint is read on only when every sync of it can take its changes:
    /// what the position has passed is gone for those that come later (invariant 1).
    fn open_whole(&mut self, endpoint: &Arc<Endpoint>) -> Result<(), EngineError> {
        let takes = |name: &Arc<str>| *name == endpoint.name;
        let missing: Vec<&str> = self
            .assembly
            .syncs
            .iter()
            .map(|parts| &parts.spec)
            .filter(|spec| {
                Side::BOTH
                    .iter()
                    .any(|side| takes(&spec.side(*side).endpoint))
            })
            .filter(|spec| self.pending.contains_key(&spec.name))
            .map(|spec| &*spec.name)
            .collect();
        let waits = (!missing.is_empty()).then(|| Reason {
            code: "waits-for-sync".to_owned(),
            message: format!(
                "endpoint {} has one position for all of its objects, so nothing is read before these syncs have started: {}",
                endpoint.name,
                missing.join(", ")
            ),
            fields: Vec::new(),
            target: None,
        });
        let mut sources = Vec::new();
        for sync in &mut self.syncs {
            for side in Side::BOTH {
                if takes(&sync.running.endpoints[side].name) {
                    sync.pull_failure[side] = waits.clone();
                    sources.push(sync.source(side));
                }
            }
        }
        match waits {
            Some(_) => Ok(()),
            None => self.open(endpoint, sources),
        }
    }

    fn open(&mut self, endpoint: &Arc<Endpoint>, sources: Vec<Source>) -> Result<(), EngineError> {
        let initial: Vec<bool> = sources
            .iter()
            .map(|source| self.syncs[source.sync].reads_whole(source.side))
            .collect();
        let first = self.streams.len();
        for stream in open(&self.host, &self.cancel, endpoint, sources, &initial, first) {
            if stream.kind == StreamKind::Snapshot
                && !records::load_cursor(&self.host.store, &stream.name)?.done
            {
                for source in &stream.sources {
                    self.syncs[source.sync].snapshots += 1;
                }
            }
            self.streams.push(StreamSources {
                name: stream.name.clone(),
                kind: stream.kind,
                sources: stream.sources.clone(),
            });
            self.tasks.spawn(Stream::run(stream));
        }
        Ok(())
    }

    // ---- capture ---------------------------------------------------------------------------

    async fn page(
        &mut self,
        stream: usize,
        mark: u64,
        cursor: Cursor,
        page: Page,
    ) -> Result<Seq, EngineError> {
        if let Some(gap) = &page.gap {
            tracing::warn!(stream = %self.streams[stream].name, "changes may have been missed: {gap}");
            let reason = Reason {
                code: "changes-missed".into(),
                message: format!(
                    "{} may have missed changes: {gap}; compare both sides, and touch what differs",
                    self.streams[stream].name
                ),
                fields: Vec::new(),
                target: None,
            }
            .bounded();
            for source in &self.streams[stream].sources {
                self.syncs[source.sync].tally.trouble(&reason);
            }
        }
        let now_us = self.host.clock.now().wall_us;
        for alias in &page.aliases {
            let Some(source) = self.source(stream, &alias.object) else {
                continue;
            };
            let (index, side) = (source.sync, source.side);
            let base = Committed(self.host.store.clone());
            let sync = &mut self.syncs[index];
            let mut ledger = Ledger::new(&base, sync.running.id);
            let stamps = Stamps {
                committed_us: None,
                seen_us: now_us,
            };
            let lane = sync.running.model.spec.lane;
            let captured = rename(&mut ledger, side, &alias.old, &alias.new, lane, stamps)?;
            self.commit_captured(index, ledger, &[captured]).await?;
        }
        for set in &page.changes {
            if let Some(source) = self.source(stream, &set.object).cloned() {
                self.syncs[source.sync].pull_failure[source.side] = None;
                self.changes(stream, &source, set, mark, now_us).await?;
            }
        }
        for source in self.streams[stream].sources.clone() {
            self.syncs[source.sync].pull_failure[source.side] = None;
        }
        if cursor.done {
            for source in self.streams[stream].sources.clone() {
                let sync = &mut self.syncs[source.sync];
                sync.snapshots = sync.snapshots.saturating_sub(1);
            }
        }
        // Last, so that a crash before it only repeats the page.
        let mut changes = Changes::new();
        changes.insert(
            records::cursor_key(&self.streams[stream].name),
            Some(encode(&cursor)),
        );
        Ok(records::commit(&self.host.store, changes).await?)
    }

    fn source(&self, stream: usize, object: &str) -> Option<&Source> {
        self.streams[stream]
            .sources
            .iter()
            .find(|source| source.selection.object == object)
    }

    async fn changes(
        &mut self,
        stream: usize,
        source: &Source,
        set: &ChangeSet,
        mark: u64,
        now_us: i64,
    ) -> Result<(), EngineError> {
        let side = source.side;
        let model = self.syncs[source.sync].running.model.clone();
        let lane = match self.streams[stream].kind {
            StreamKind::Snapshot => Lane::Backfill,
            StreamKind::Changes => model.spec.lane,
        };
        let columns: Vec<_> = model
            .columns(side, &set.batch)
            .into_iter()
            .map(|field| field.filter(|field| model.is_mapped(side, *field)))
            .collect();
        let key = model
            .key(side)
            .and_then(|field| set.batch.column(model.name(side, field)));
        let mut row = 0;
        while row < set.ids.len() {
            let base = Committed(self.host.store.clone());
            let sync = &mut self.syncs[source.sync];
            let mut ledger = Ledger::new(&base, sync.running.id);
            let mut counter = Counter(sync.counts.last_link);
            let mut captured = Vec::new();
            let (queue, touched, intents, id) = (
                &sync.queue,
                &sync.touched,
                &self.host.intents,
                sync.running.id,
            );
            let standing = |link: LinkId| {
                let in_flight = queue.is_in_flight(link);
                let writing = in_flight
                    && intents
                        .writing(id, link)
                        .is_none_or(|target| target == side);
                Standing {
                    in_flight,
                    touched: writing || touched.since(link, side, mark),
                }
            };
            while row < set.ids.len()
                && captured.len() < CAPTURE_ROWS
                && ledger.bytes() < records::SLICE_BYTES
            {
                let Some(kind) = set.kinds.get(row).copied().and_then(ChangeKind::from_byte) else {
                    row += 1;
                    continue;
                };
                let committed = set
                    .committed
                    .get(row)
                    .copied()
                    .filter(|at| *at != COMMITTED_UNKNOWN);
                let observation = Observation {
                    side,
                    id: set.ids.text(row),
                    kind,
                    version: set.versions.text(row),
                    stamps: Stamps {
                        committed_us: committed,
                        seen_us: now_us,
                    },
                    values: model.row(side, &set.batch, &columns, row),
                    key: key.and_then(|column| match column.cell(row) {
                        Cell::Text(text) | Cell::Decimal(text) => Some(text),
                        _ => None,
                    }),
                };
                captured.push(capture(
                    &mut ledger,
                    &model,
                    observation,
                    lane,
                    &mut counter,
                    &standing,
                )?);
                row += 1;
            }
            sync.counts.last_link = counter.0;
            self.commit_captured(source.sync, ledger, &captured).await?;
            // Between slices the rounds get their turn.
            self.dispatch();
        }
        Ok(())
    }

    async fn commit_captured(
        &mut self,
        index: usize,
        ledger: Ledger<'_>,
        captured: &[Captured],
    ) -> Result<(), EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let mut offers = Vec::new();
        for captured in captured {
            if let Captured::Queued(link) = captured
                && let Some(entry) = ledger.entry(*link)?
            {
                offers.push((*link, entry.source(), entry.lane));
            }
        }
        self.commit(index, ledger).await?;
        let sync = &mut self.syncs[index];
        for captured in captured {
            sync.tally.count(*captured);
            if let Captured::Cancelled(link) | Captured::Dead(link) = captured {
                sync.queue.cancel(*link);
            }
        }
        for (link, source, lane) in offers {
            sync.queue.offer(link, source, lane, now_ms);
        }
        sync.refresh_flow();
        Ok(())
    }

    /// One transaction, with the sync's counts when they moved.
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

    // ---- settle ----------------------------------------------------------------------------

    async fn settle(&mut self, index: usize, settled: Settled) -> Result<(), EngineError> {
        let mut settled = settled.into_iter();
        loop {
            let base = Committed(self.host.store.clone());
            let sync = &mut self.syncs[index];
            let mut ledger = Ledger::new(&base, sync.running.id);
            let mut done = Vec::new();
            while done.len() < CAPTURE_ROWS && ledger.bytes() < records::SLICE_BYTES {
                let Some((link, settling)) = settled.next() else {
                    break;
                };
                let after = sync.apply(&mut ledger, &self.host, link, settling)?;
                done.push((link, after));
            }
            if done.is_empty() {
                self.syncs[index].refresh_flow();
                return Ok(());
            }
            let mut placed = Vec::with_capacity(done.len());
            for (link, after) in done {
                let entry = ledger.entry(link)?;
                placed.push((link, after, entry.map(|entry| (entry.source(), entry.lane))));
            }
            self.commit(index, ledger).await?;
            let now_ms = self.host.clock.now().mono_ms;
            let sync = &mut self.syncs[index];
            for (link, after, place) in placed {
                match (after, place) {
                    (After::Later(wait_ms), Some((source, lane))) => {
                        sync.queue.postpone(link, source, lane, now_ms + wait_ms);
                    }
                    (After::Held, Some((source, lane))) => sync.queue.hold(link, source, lane),
                    (After::Left(Left::Again), place) => sync.queue.finish(link, place, now_ms),
                    _ => sync.queue.finish(link, None, now_ms),
                }
            }
        }
    }

    async fn admit(&mut self, index: usize, deletes: usize) -> Result<usize, EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let sync = &mut self.syncs[index];
        let was_on = sync.brake.is_on();
        let admitted = sync.brake.admit(deletes, sync.counts.links, now_ms);
        if sync.brake.is_on() && !was_on {
            let name = sync.running.model.spec.name.clone();
            tracing::error!(sync = %name, "too many deletes at once: they are held until a person releases them");
            sync.record.braked = true;
            self.save(index).await?;
        }
        Ok(admitted)
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

    // ---- dispatch --------------------------------------------------------------------------

    /// Starts every round that may start now. Returns when to look again.
    fn dispatch(&mut self) -> Option<u64> {
        let now_ms = self.host.clock.now().mono_ms;
        let mut due_ms = None;
        let mut later = |at_ms: u64| {
            due_ms = Some(due_ms.map_or(at_ms, |due: u64| due.min(at_ms)));
        };
        for index in 0..self.syncs.len() {
            self.syncs[index].queue.wake(now_ms);
            if let Some(at_ms) = self.syncs[index].queue.due_ms() {
                later(at_ms);
            }
            if self.stopping || self.syncs[index].record.paused {
                continue;
            }
            for source in Side::BOTH {
                while let Some(start) = self.startable(index, source, now_ms) {
                    match start {
                        Ok(lane) => self.start_round(index, source, lane),
                        Err(at_ms) => {
                            later(at_ms);
                            break;
                        }
                    }
                }
            }
        }
        due_ms
    }

    /// The lane to start a round in, or when to ask again; `None` until something else happens.
    fn startable(&self, index: usize, source: Side, now_ms: u64) -> Option<Result<Lane, u64>> {
        let sync = &self.syncs[index];
        let lane = sync.queue.urgent(source)?;
        if sync.rounds[source] >= ROUNDS_MAX {
            return None;
        }
        let target = source.other();
        if let Some(halt) = &sync.halted[target]
            && halt.until_ms > now_ms
        {
            return Some(Err(halt.until_ms));
        }
        let endpoint = &sync.running.endpoints[target];
        let (ready, since_ms) = sync.queue.ready(source, lane)?;
        let costs = !endpoint.plugin.manifest().pools.is_empty();
        let hold_ms = since_ms + HOLD_MS[lane as usize];
        if costs && ready < sync.round_rows(target) && hold_ms > now_ms {
            return Some(Err(hold_ms));
        }
        match endpoint.gateway.readiness(lane, 1) {
            Readiness::Now => Some(Ok(lane)),
            Readiness::At { mono_ms, .. } => Some(Err(mono_ms.max(now_ms + 1))),
        }
    }

    fn start_round(&mut self, index: usize, source: Side, lane: Lane) {
        let now = self.host.clock.now();
        let sync = &mut self.syncs[index];
        let rows = sync.round_rows(source.other());
        let links = sync.queue.take(source, lane, rows);
        if links.is_empty() {
            return;
        }
        sync.rounds[source] += 1;
        let round = Round {
            host: self.host.clone(),
            running: sync.running.clone(),
            source,
            lane,
            now_us: now.wall_us,
        };
        self.rounds.spawn(round.run(links).boxed());
    }
}

/// Where a settled record goes.
enum After {
    Left(Left),
    Later(u64),
    Held,
}

impl Sync {
    fn tell_dead(&mut self, link: LinkId, reason: &Reason) {
        tracing::warn!(sync = %self.running.model.spec.name, link = link.0, code = %reason.code, fields = ?reason.fields, "to the dead letters");
        self.tally.trouble(reason);
    }

    fn apply(
        &mut self,
        ledger: &mut Ledger<'_>,
        host: &Host,
        link: LinkId,
        settling: Settling,
    ) -> Result<After, LedgerError> {
        let model = self.running.model.clone();
        let now_us = host.clock.now().wall_us;
        Ok(After::Left(match settling {
            Settling::Missing => Left::Nothing,
            Settling::Agreed { generation, prints } => {
                settle::agreed(ledger, &model, link, generation, &prints)?
            }
            Settling::Forget { generation } => settle::forget(ledger, link, generation, now_us)?,
            Settling::Detach { side } => settle::detach(ledger, link, side, now_us)?,
            Settling::Dead { generation, reason } => {
                self.tell_dead(link, &reason);
                settle::buried(ledger, link, generation, reason, now_us)?
            }
            Settling::Written {
                write,
                outcome,
                after,
            } => {
                self.touched.note(link, write.target, &host.marks);
                self.tally.written(&write, now_us);
                settle::written(
                    ledger,
                    &model,
                    link,
                    &write,
                    &outcome,
                    after.as_deref(),
                    now_us,
                )?
            }
            Settling::Unknown { sent } => {
                self.touched.note(link, sent.target, &host.marks);
                settle::unknown(ledger, link, sent)?
            }
            Settling::GivenUp {
                generation,
                sent,
                reason,
            } => {
                self.touched.note(link, sent.target, &host.marks);
                self.tell_dead(link, &reason);
                settle::given_up(ledger, link, generation, sent, reason, now_us)?
            }
            Settling::ReadFirst { side } => settle::read_first(ledger, link, side)?,
            Settling::Observed { side, found } => {
                self.touched.note(link, side, &host.marks);
                settle::observed(ledger, &model, link, side, found, now_us)?
            }
            Settling::Postponed { wait_ms, counts } => {
                settle::postponed(ledger, link, counts)?;
                return Ok(After::Later(wait_ms));
            }
            Settling::Held => return Ok(After::Held),
        }))
    }
}
