//! Streams: each reads one position of an endpoint and hands its pages to the engine.
//!
//! A stream passes a cursor on only when everything up to it is on disk (invariant 1), stops while its syncs'
//! queues are full (invariant 8), and comes back when the source is heard to commit, when the page said so,
//! or after the endpoint's interval.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_core::pace::Lane;
use tidegate_core::plugin::{ChangeStream, Page, Selection, StreamKind};
use tidegate_core::sync::Side;
use tidegate_core::verdict::{CallVerdict, backoff_ms};
use tidegate_sandbox::CallError;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::events::{Event, Host};
use super::pulls::{Asked, Pulls, stopping};
use super::records::{Cursor, load_cursor};
use super::{Endpoint, failure, polls, pulls};
use crate::levels;

/// What holds a sync's streams back: the room in its queue, of which the last part is kept for changes, so that what
/// a side is read whole for never stands in the way of what has just happened.
#[derive(Debug)]
pub(super) struct Flow {
    room: AtomicUsize,
    kept: usize,
    changed: Notify,
}

/// Fewer rows than this are not worth a call while a queue is nearly full.
const ROOM_MIN: usize = 16;
/// The part of a queue that is kept for changes, unless the queue is so small that little would be left.
const KEPT_PART: usize = 10;
const KEPT_FROM: usize = 8 * ROOM_MIN;

impl Flow {
    /// For a queue of this bound.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            room: AtomicUsize::default(),
            kept: if bound < KEPT_FROM {
                0
            } else {
                bound / KEPT_PART
            },
            changed: Notify::default(),
        }
    }

    pub(super) fn set(&self, room: usize) {
        let had_room = self.room.swap(room, Ordering::Relaxed);
        let opens = |kept: usize| (had_room < kept + ROOM_MIN) != (room < kept + ROOM_MIN);
        if opens(0) || opens(self.kept) {
            self.changed.notify_waiters();
        }
    }

    /// What of a queue's room is not kept for changes.
    pub(super) fn beside_changes(&self, room: usize) -> usize {
        room.saturating_sub(self.kept)
    }

    fn room(&self, kind: StreamKind) -> usize {
        let room = self.room.load(Ordering::Relaxed);
        match kind {
            StreamKind::Changes => room,
            StreamKind::Snapshot => self.beside_changes(room),
        }
    }
}

/// One object of a stream.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub sync: usize,
    pub name: Arc<str>,
    pub lane: Lane,
    pub side: Side,
    pub selection: Selection,
    pub flow: Arc<Flow>,
}

pub(super) struct Stream {
    /// Names it in the store: endpoint, kind and object.
    pub name: String,
    pub index: usize,
    pub endpoint: Arc<Endpoint>,
    pub pulls: Arc<Pulls>,
    pub kind: StreamKind,
    pub sources: Vec<Source>,
    pub host: Host,
    pub cancel: CancellationToken,
    /// For a snapshot: waits until the changes from now on are being kept.
    pub after: Option<watch::Receiver<bool>>,
    /// Told once the first page of changes is in.
    pub begun: Option<watch::Sender<bool>>,
}

/// Whether one position covers all objects of an endpoint.
pub(super) fn endpoint_wide(endpoint: &Endpoint) -> bool {
    endpoint.plugin.manifest().is_endpoint_wide()
}

/// Names a stream in the store. The object is `*` where one position covers all.
pub(super) fn name(endpoint: &str, kind: StreamKind, object: &str) -> String {
    let kind = match kind {
        StreamKind::Changes => "changes",
        StreamKind::Snapshot => "snapshot",
    };
    format!("{endpoint}\0{kind}\0{object}")
}

/// The stream of changes of one position, and a snapshot of each of its objects that is read whole. The first
/// gets the number `first`.
pub(super) fn open(
    host: &Host,
    cancel: &CancellationToken,
    pulls: &Arc<Pulls>,
    sources: Vec<Source>,
    initial: &[bool],
    first: usize,
) -> Vec<Stream> {
    let endpoint = pulls.endpoint();
    let (begun, after) = watch::channel(false);
    let object = match sources.as_slice() {
        [only] if !endpoint_wide(endpoint) => only.selection.object.clone(),
        _ => "*".to_owned(),
    };
    let stream = |name: String, kind: StreamKind, sources: Vec<Source>, index: usize| Stream {
        name,
        index,
        endpoint: endpoint.clone(),
        pulls: pulls.clone(),
        kind,
        sources,
        host: host.clone(),
        cancel: cancel.clone(),
        after: None,
        begun: None,
    };
    let mut streams = Vec::new();
    for (source, _) in sources.iter().zip(initial).filter(|(_, whole)| **whole) {
        let object = &source.selection.object;
        let name = name(&endpoint.name, StreamKind::Snapshot, object);
        let index = first + streams.len();
        streams.push(Stream {
            after: Some(after.clone()),
            ..stream(name, StreamKind::Snapshot, vec![source.clone()], index)
        });
    }
    let name = name(&endpoint.name, StreamKind::Changes, &object);
    let index = first + streams.len();
    streams.push(Stream {
        begun: Some(begun),
        ..stream(name, StreamKind::Changes, sources, index)
    });
    streams
}

impl Stream {
    pub(super) async fn run(self) {
        let cancel = self.cancel.clone();
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.read() => {}
        }
    }

    async fn read(&self) {
        if let Some(after) = &self.after
            && after.clone().wait_for(|begun| *begun).await.is_err()
        {
            return;
        }
        let mut commits = self.endpoint.gateway.commits();
        let syncs: Vec<Arc<str>> = self
            .sources
            .iter()
            .map(|source| source.name.clone())
            .collect();
        let mut failures = 0;
        let mut joins = self.kind == StreamKind::Changes && self.pulls.most() > 1;
        let may_join = joins;
        let mut heard = self.kind == StreamKind::Snapshot;
        let mut begun = self.kind == StreamKind::Changes;
        loop {
            let resumes = self.host.gates.times(&syncs);
            let rows_max = self.may_read(&syncs).await;
            if !std::mem::replace(&mut begun, true) {
                self.begin().await;
            }
            let mark = self.host.marks.begin();
            let pulled = self.pull(rows_max, joins).await;
            let handed = match pulled {
                Ok(Some(page)) => self.hand_over(mark, page).await,
                Ok(None) => {
                    self.host.marks.end(mark);
                    return;
                }
                Err(error) => Err(error),
            };
            self.host.marks.end(mark);
            if let (Ok(_), Some(begun)) = (&handed, &self.begun) {
                begun.send_replace(true);
            }
            if handed.is_ok() && failures > 0 {
                self.recovered().await;
            }
            if !std::mem::replace(&mut heard, true) {
                self.tell(|sync, side| Event::Heard { sync, side }).await;
            }
            match handed {
                Ok(Next::Now) => {
                    failures = 0;
                    // It catches up, at its own pace.
                    joins = false;
                }
                Ok(Next::Done) => return,
                Ok(Next::In(wait_ms)) => {
                    failures = 0;
                    joins = may_join;
                    self.wait(wait_ms, &mut commits).await;
                }
                Err(error) => {
                    failures += 1;
                    let wait_ms = self.failed(&error, failures).await;
                    tokio::select! {
                        () = self.pause(wait_ms) => {}
                        () = self.host.gates.resumed(&syncs, resumes) => {}
                    }
                }
            }
        }
    }

    /// Asks how much there is, where nothing has been read yet. A source that can't tell is read all the same.
    async fn begin(&self) {
        let Ok(cursor) = self.cursor() else {
            return;
        };
        let goes_on = cursor.position.is_some() || cursor.done;
        if goes_on && cursor.fields == self.fields() {
            return;
        }
        let objects: Vec<String> = self
            .sources
            .iter()
            .map(|source| source.selection.object.clone())
            .collect();
        let counted = self.pulls.count(self.on_behalf(), objects).await;
        let of = match counted {
            Ok(counted) => counted.into_iter().sum(),
            Err(error) => {
                tracing::debug!(stream = %self.name, code = %failure::reason(&error, None).code, "its rows can't be counted");
                None
            }
        };
        let (reply, kept) = oneshot::channel();
        let stream = self.index;
        let event = Event::ReadBegun { stream, of, reply };
        self.host.send(event).await;
        // The engine may be gone, and then nothing is read either.
        kept.await.ok();
    }

    /// Waits until the endpoint may be called and there is room; the rows that may be asked for.
    async fn may_read(&self, syncs: &[Arc<str>]) -> usize {
        let gates = &self.host.gates;
        let place = self.endpoint.place();
        loop {
            gates.pass(&*self.host.clock, syncs, &[place]).await;
            let rows_max = self.room().await;
            if gates.holds().over_endpoint(place).is_none() {
                return rows_max;
            }
        }
    }

    /// The rows that all syncs of this stream can take; waits until there are some.
    async fn room(&self) -> usize {
        let page = self.page_rows();
        loop {
            let mut changed = Vec::new();
            for source in &self.sources {
                let mut waiter = Box::pin(source.flow.changed.notified());
                waiter.as_mut().enable();
                changed.push(waiter);
            }
            let room = self
                .sources
                .iter()
                .map(|source| source.flow.room(self.kind))
                .min()
                .unwrap_or(0);
            if room >= ROOM_MIN {
                return room.min(page);
            }
            futures::future::select_all(changed).await;
        }
    }

    fn page_rows(&self) -> usize {
        self.endpoint.plugin.manifest().page_rows() as usize
    }

    fn interval_ms(&self) -> u64 {
        let set = self.endpoint.interval_ms;
        set.unwrap_or_else(|| self.endpoint.plugin.manifest().interval_ms())
    }

    fn cursor(&self) -> Result<Cursor, CallError> {
        load_cursor(&self.host.store, &self.name).map_err(|error| CallError::Contract {
            code: "cursor-unreadable",
            message: error.to_string(),
        })
    }

    fn fields(&self) -> Vec<String> {
        let mut fields: Vec<String> = self
            .sources
            .iter()
            .flat_map(|source| source.selection.fields.iter().cloned())
            .collect();
        fields.sort_unstable();
        fields
    }

    /// `None` when a snapshot has been read to its end before. `joins` when others may be due now.
    async fn pull(
        &self,
        rows_max: usize,
        joins: bool,
    ) -> Result<Option<(Cursor, Page)>, CallError> {
        let mut cursor = self.cursor()?;
        if self.kind == StreamKind::Snapshot && cursor.fields != self.fields() {
            cursor = Cursor::default();
        }
        if cursor.done {
            return Ok(None);
        }
        cursor.fields = self.fields();
        let rows_max = u32::try_from(rows_max).unwrap_or(u32::MAX);
        let stream = ChangeStream {
            kind: self.kind,
            selections: self
                .sources
                .iter()
                .map(|source| source.selection.clone())
                .collect(),
            cursor: cursor.position.clone(),
            rows_max,
        };
        let asked = Asked {
            stream,
            sync: self.on_behalf(),
            lane: self.lane(),
        };
        let page = match joins {
            true => self.pulls.joined(asked).await?,
            false => self.pulls.alone(&asked).await?,
        };
        Ok(Some((cursor, page)))
    }

    /// Whose turn it takes; nobody's where several syncs share the position.
    fn on_behalf(&self) -> Arc<str> {
        match self.sources.as_slice() {
            [only] => only.name.clone(),
            _ => "".into(),
        }
    }

    /// A change can't be urgent before it is known, so the most urgent that there may be decides.
    fn lane(&self) -> Lane {
        match self.kind {
            StreamKind::Snapshot => Lane::Backfill,
            StreamKind::Changes => {
                let lanes = self.sources.iter().map(|source| source.lane);
                lanes.min().unwrap_or_default()
            }
        }
    }

    /// Gives the page to the engine and waits until it is on disk.
    async fn hand_over(
        &self,
        mark: u64,
        (mut cursor, page): (Cursor, Page),
    ) -> Result<Next, CallError> {
        let next = match (page.more, page.wait_ms, self.kind) {
            (true, _, _) => Next::Now,
            (false, None, StreamKind::Snapshot) => Next::Done,
            (false, wait_ms, _) => Next::In(wait_ms.map_or(self.interval_ms(), u64::from)),
        };
        let moved = cursor.position.as_deref() != Some(&page.cursor);
        cursor.position = Some(page.cursor.clone());
        cursor.done = matches!(next, Next::Done);
        if !moved
            && !cursor.done
            && page.changes.is_empty()
            && page.aliases.is_empty()
            && page.gap.is_none()
        {
            return Ok(next);
        }
        let (reply, stored) = oneshot::channel();
        self.host
            .send(Event::Page {
                stream: self.index,
                mark,
                cursor,
                page,
                reply,
            })
            .await;
        let seq = stored.await.map_err(|_| stopping())?;
        self.host.store.durable(seq).await.map_err(|_| stopping())?;
        Ok(next)
    }

    async fn failed(&self, error: &CallError, failures: u32) -> u64 {
        let random = self.host.random();
        let wait_ms = match failure::verdict(error, random) {
            CallVerdict::Halt { wait_ms } => wait_ms,
            CallVerdict::Wait { wait_ms } => wait_ms.max(backoff_ms(failures, random)),
            CallVerdict::Bisect => backoff_ms(failures, random),
        };
        let reason = failure::reason(error, None);
        for source in &self.sources {
            let event = Event::PullFailed {
                sync: source.sync,
                side: source.side,
                reason: reason.clone(),
                credential: failure::is_credential(error),
            };
            self.host.send(event).await;
        }
        wait_ms
    }

    async fn recovered(&self) {
        self.tell(|sync, side| Event::Pulled { sync, side }).await;
    }

    async fn tell(&self, event: impl Fn(usize, Side) -> Event) {
        for source in &self.sources {
            self.host.send(event(source.sync, source.side)).await;
        }
    }

    async fn pause(&self, wait_ms: u64) {
        let until_ms = self.host.clock.now().mono_ms.saturating_add(wait_ms);
        self.host.clock.sleep_until(until_ms).await;
    }

    /// Between two looks, longer while an allowance runs out.
    async fn wait(&self, wait_ms: u64, commits: &mut Option<watch::Receiver<u64>>) {
        let gateway = &self.endpoint.gateway;
        let percent = || levels::of(gateway).asks().poll_pause_percent;
        let now_ms = self.host.clock.now().mono_ms;
        let wait_ms = match self.pulls.most() {
            0 | 1 => wait_ms,
            _ => pulls::due_ms(now_ms, wait_ms, self.interval_ms()) - now_ms,
        };
        let pause = polls::pause(&*self.host.clock, wait_ms, percent);
        match commits {
            Some(commits) => tokio::select! {
                () = pause => {}
                Ok(()) = commits.changed() => {}
            },
            None => pause.await,
        }
    }
}

enum Next {
    Now,
    In(u64),
    Done,
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// However much is read whole, a change still finds room.
    #[test]
    fn the_last_room_is_kept_for_changes() {
        for (bound, kept) in [(100_000, 10_000), (128, 12), (127, 0), (16, 0)] {
            let flow = Flow::new(bound);
            flow.set(bound);
            let mut woken = Box::pin(flow.changed.notified());
            woken.as_mut().enable();
            for room in [bound - kept, kept + ROOM_MIN, kept + 1, kept, 0] {
                flow.set(room);
                assert_eq!(flow.room(StreamKind::Changes), room);
                assert_eq!(flow.room(StreamKind::Snapshot), room.saturating_sub(kept));
            }
            // Whoever waits is woken when there is room for its kind.
            woken.now_or_never().expect("it is full");
            for kind in [StreamKind::Changes, StreamKind::Snapshot] {
                let mut woken = Box::pin(flow.changed.notified());
                woken.as_mut().enable();
                let enough = match kind {
                    StreamKind::Changes => ROOM_MIN,
                    StreamKind::Snapshot => kept + ROOM_MIN,
                };
                flow.set(enough);
                if kept > 0 || kind == StreamKind::Changes {
                    woken.now_or_never().expect("there is room");
                }
                assert!(flow.room(kind) >= ROOM_MIN);
            }
        }
    }
}
