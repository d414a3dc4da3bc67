//! Writes under way: what each was about to make true, on disk before its first byte leaves (invariant 2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::ledger::{Room, SyncId, encode, link_key};
use tidegate_core::record::{LinkId, Sent, Token};
use tidegate_core::sync::Side;
use tidegate_gateway::{Intent, Journal, JournalError};
use tidegate_store::{ApplyError, Batch, DurableError, Record, Seq, Store};
use tokio::sync::watch;

use super::records::SLICE_BYTES;

/// Why an intent is not on disk. Its write did not leave, and no other one may: the host must end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntentError {
    #[error("an intent could not be stored, so its write was not sent")]
    Apply(#[source] ApplyError),
    #[error("an intent could not be made durable, so its write was not sent")]
    Durable(#[source] DurableError),
}

struct Planned {
    target: Side,
    sent: Vec<u8>,
    /// The gateway asked for the intent, so the write may have left.
    intended: bool,
}

impl Planned {
    /// What goes to disk before the row's first request leaves; those after it find it there.
    fn put(&mut self, sync: SyncId, link: LinkId) -> Option<Record> {
        if std::mem::replace(&mut self.intended, true) {
            return None;
        }
        Some((
            link_key(Room::Intent, sync, link),
            std::mem::take(&mut self.sent),
        ))
    }
}

#[derive(Default)]
struct State {
    syncs: HashMap<Arc<str>, SyncId>,
    planned: HashMap<(SyncId, LinkId), Planned>,
}

/// The gateways' journal.
pub struct Intents {
    store: Store,
    state: Mutex<State>,
    /// The first intent that could not be kept. From then on every write is refused.
    broken: watch::Sender<Option<IntentError>>,
}

impl Intents {
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            store,
            state: Mutex::default(),
            broken: watch::Sender::new(None),
        })
    }

    /// Whether an intent could not be kept. What a call says after that is no verdict on its rows.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.borrow().is_some()
    }

    /// Waits for the first intent that can't be kept, or forever.
    pub(super) async fn broken(&self) -> IntentError {
        let mut broken = self.broken.subscribe();
        loop {
            if let Some(error) = &*broken.borrow_and_update() {
                return error.clone();
            }
            // The sender lives in `self`, so the channel can't end before this wait does.
            if broken.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self, name: Arc<str>, sync: SyncId) {
        self.state().syncs.insert(name, sync);
    }

    /// Says what a push is about to write, before the connector is called.
    pub(super) fn plan<'a>(&self, sync: SyncId, writes: impl Iterator<Item = (LinkId, &'a Sent)>) {
        let mut state = self.state();
        for (link, sent) in writes {
            let planned = Planned {
                target: sent.target,
                sent: encode(sent),
                intended: false,
            };
            state.planned.insert((sync, link), planned);
        }
    }

    /// The side that a record is being written on.
    pub(super) fn writing(&self, sync: SyncId, link: LinkId) -> Option<Side> {
        self.state()
            .planned
            .get(&(sync, link))
            .map(|planned| planned.target)
    }

    /// Rows that travel in a job since before this host started; their intents are on disk.
    pub(super) fn travelling(
        &self,
        sync: SyncId,
        target: Side,
        rows: impl Iterator<Item = LinkId>,
    ) {
        let mut state = self.state();
        for link in rows {
            let planned = Planned {
                target,
                sent: Vec::new(),
                intended: true,
            };
            state.planned.insert((sync, link), planned);
        }
    }

    /// A job carries this row from now on: its intent, where it is not on disk yet.
    pub(super) fn entrust(&self, sync: SyncId, link: LinkId) -> Option<Record> {
        let mut state = self.state();
        state.planned.get_mut(&(sync, link))?.put(sync, link)
    }

    /// A push has ended for this record. True when its write may have left.
    pub(super) fn end(&self, sync: SyncId, link: LinkId) -> bool {
        self.state()
            .planned
            .remove(&(sync, link))
            .is_some_and(|planned| planned.intended)
    }

    /// What to put on disk for an intent; `Err` when it names a row that no push carries.
    fn puts(&self, intent: &Intent) -> Result<Vec<Record>, JournalError> {
        let mut state = self.state();
        let Some(sync) = state.syncs.get(&intent.sync).copied() else {
            return Err(JournalError(format!("no sync is called {}", intent.sync)));
        };
        let stranger = intent.tokens.iter().find(|token| {
            let row = (sync, Token(**token).link());
            !state.planned.contains_key(&row)
        });
        if let Some(token) = stranger {
            return Err(JournalError(format!(
                "row {token} of sync {} is not being pushed",
                intent.sync
            )));
        }
        // Several requests of one write may name the same row.
        let links = intent.tokens.iter().map(|token| Token(*token).link());
        let puts = links.filter_map(|link| state.planned.get_mut(&(sync, link))?.put(sync, link));
        Ok(puts.collect())
    }

    /// Returns when all of it survives a power cut.
    async fn keep(&self, puts: Vec<Record>) -> Result<(), IntentError> {
        let mut last = None;
        for slice in slices(puts) {
            let batch = Batch {
                puts: slice,
                ..Batch::default()
            };
            last = Some(self.store.apply(batch).await.map_err(IntentError::Apply)?);
        }
        match last {
            Some(seq) => self.durable(seq).await,
            None => Ok(()),
        }
    }

    async fn durable(&self, seq: Seq) -> Result<(), IntentError> {
        self.store.durable(seq).await.map_err(IntentError::Durable)
    }
}

/// A write of many rows may intend more than the store takes at once. The rows' intents need not happen together:
/// all are durable before the write leaves, and one too many only means a read.
fn slices(puts: Vec<Record>) -> Vec<Vec<Record>> {
    let mut slices = Vec::new();
    let mut slice = Vec::new();
    let mut bytes = 0;
    for (key, value) in puts {
        bytes += key.len() + value.len();
        slice.push((key, value));
        if bytes >= SLICE_BYTES {
            slices.push(std::mem::take(&mut slice));
            bytes = 0;
        }
    }
    if !slice.is_empty() {
        slices.push(slice);
    }
    slices
}

impl Journal for Intents {
    fn intend(&self, intent: Intent) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            if self.is_broken() {
                return Err(JournalError("the host is stopping".to_owned()));
            }
            let puts = self.puts(&intent)?;
            self.keep(puts).await.map_err(|error| {
                let told = JournalError(error.to_string());
                self.broken.send_if_modified(|broken| {
                    let first = broken.is_none();
                    broken.get_or_insert(error);
                    first
                });
                told
            })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::record::{Deed, FieldId};
    use tidegate_store::{KeyRange, Options};

    use super::*;

    const SYNC: SyncId = SyncId(1);

    fn intents(folder: &tempfile::TempDir) -> (Store, Arc<Intents>) {
        let store = Store::open(folder.path().join("store"), Options::default()).expect("a store");
        let intents = Intents::new(store.clone());
        intents.name("people".into(), SYNC);
        (store, intents)
    }

    fn sent(prints: u16) -> Sent {
        Sent {
            target: Side::Right,
            deed: Deed::Fields,
            written: (0..prints)
                .map(|field| (FieldId(field), u64::MAX))
                .collect(),
            consumed: Vec::new(),
        }
    }

    fn planned(intents: &Intents, links: std::ops::Range<u64>, sent: &Sent) -> Intent {
        intents.plan(SYNC, links.clone().map(|link| (LinkId(link), sent)));
        Intent {
            sync: "people".into(),
            endpoint: "crm".into(),
            tokens: links
                .map(|link| Token::new(LinkId(link), Side::Right).0)
                .collect(),
        }
    }

    /// However many rows a write carries, all of their intents are on disk before it leaves.
    #[tokio::test]
    async fn an_intent_may_be_larger_than_a_batch() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, intents) = intents(&folder);
        let intent = planned(&intents, 0..4_000, &sent(60));
        intents.intend(intent).await.expect("kept");
        let kept = store.scan(&KeyRange::all(), usize::MAX).expect("a scan");
        assert_eq!(kept.len(), 4_000);
        let bytes: usize = kept
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        assert!(bytes > tidegate_store::BATCH_BYTES_MAX, "{bytes} bytes");
    }

    /// The first intent that can't be kept ends all writing, and the engine hears of it.
    #[tokio::test]
    async fn an_intent_that_is_not_kept_ends_all_writing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, intents) = intents(&folder);
        let first = planned(&intents, 0..2, &sent(3));
        assert!(!intents.is_broken());
        store.close().await.expect("closed");
        intents.intend(first.clone()).await.expect_err("not kept");
        assert!(intents.is_broken());
        let told = intents.broken().await;
        assert!(
            matches!(told, IntentError::Apply(ApplyError::Closed)),
            "{told:?}"
        );
        intents
            .intend(first)
            .await
            .expect_err("nothing leaves any more");
        assert!(
            intents.end(SYNC, LinkId(1)),
            "it may have left, for all we know"
        );
    }
}
