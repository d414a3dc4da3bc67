//! Writes under way: what each was about to make true, on disk before its first byte leaves (invariant 2).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::ledger::{Room, SyncId, encode, link_key};
use tidegate_core::record::{LinkId, Sent, Token};
use tidegate_core::sync::Side;
use tidegate_gateway::{Intent, Journal, JournalError};
use tidegate_store::{Batch, Record, Store};

struct Planned {
    target: Side,
    sent: Vec<u8>,
    /// The gateway asked for the intent, so the write may have left.
    intended: bool,
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
}

impl Intents {
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            store,
            state: Mutex::default(),
        })
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
        // Several requests of one write may name the same row.
        let mut puts = BTreeMap::new();
        for token in &intent.tokens {
            let link = Token(*token).link();
            let Some(planned) = state.planned.get_mut(&(sync, link)) else {
                return Err(JournalError(format!(
                    "row {token} of sync {} is not being pushed",
                    intent.sync
                )));
            };
            planned.intended = true;
            puts.insert(link_key(Room::Intent, sync, link), planned.sent.clone());
        }
        Ok(puts.into_iter().collect())
    }
}

impl Journal for Intents {
    fn intend(&self, intent: Intent) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            if intent.tokens.is_empty() {
                return Ok(());
            }
            let puts = self.puts(&intent)?;
            let failed = |error: &dyn std::error::Error| JournalError(error.to_string());
            let seq = self
                .store
                .apply(Batch {
                    puts,
                    ..Batch::default()
                })
                .await
                .map_err(|error| failed(&error))?;
            self.store
                .durable(seq)
                .await
                .map_err(|error| failed(&error))
        }
        .boxed()
    }
}
