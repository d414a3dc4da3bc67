//! Answers to reads that are kept for a host, in memory and on a shelf that outlives it, and the reads that are on
//! their way.
//!
//! What is kept, how long and at whose expense is decided by `core::cache`; here it is carried out. One lock covers what
//! is kept and what is on its way, so that an answer from before a change is never kept after it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tidegate_core::cache::{Bounds, Change, Figures, Found, Keeping, Kept, Key, Label, Tiers};
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{Fault, Response};
use tidegate_core::time::Now;
use tokio::sync::watch;

/// Keeps answers over a restart. Losing one costs a request, so nothing here fails: what can't be done is left undone.
/// Calls come one after the other.
pub trait Shelf: Send + Sync {
    /// A longer record is never given.
    fn record_bytes_max(&self) -> u64;
    fn put(&self, key: Key, record: Vec<u8>) -> BoxFuture<'_, ()>;
    fn get(&self, key: Key) -> BoxFuture<'_, Option<Vec<u8>>>;
    /// Tells whether they are gone. They stay gone when whatever is made durable after this call is.
    fn remove(&self, keys: Vec<Key>) -> BoxFuture<'_, bool>;
}

/// The answers of a host. Gateways that are made with clones of one value share them, each within its credentials.
#[derive(Clone)]
pub struct Answers {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    shelf: Option<Arc<dyn Shelf>>,
    /// Held while the shelf is written, so that what is removed is not put back by who came earlier.
    shelving: tokio::sync::Mutex<()>,
}

struct State {
    tiers: Tiers,
    /// What the shelf still holds and should not.
    doomed: BTreeSet<Key>,
    flights: HashMap<u64, Flight>,
    next: u64,
}

/// What a read on its way comes to; nothing while it is under way.
type Landing = watch::Receiver<Option<Result<Response, Fault>>>;

/// A read on its way to the vendor.
struct Flight {
    /// By which others find it.
    joined: Key,
    label: Arc<Label>,
    lane: Lane,
    /// The vendor answers whole, whatever is kept.
    whole: bool,
    /// When it left, by `mono_ms`.
    since_ms: u64,
    /// Something has changed since.
    spoiled: bool,
    landing: Landing,
}

/// A read that wants an answer.
pub(crate) struct Passenger {
    pub(crate) joined: Key,
    pub(crate) label: Arc<Label>,
    pub(crate) lane: Lane,
    /// It doubts what is kept.
    pub(crate) whole: bool,
    pub(crate) now_ms: u64,
}

/// How it gets one.
pub(crate) enum Boarding {
    /// It asks the vendor, and others may wait for what it hears.
    Leads(Departure),
    /// It waits for what another one hears, which left at this moment.
    Follows(Landing, u64),
}

/// A read that asks the vendor. Dropped without landing, those who wait are told that it gave up.
pub(crate) struct Departure {
    answers: Answers,
    flight: u64,
    announce: watch::Sender<Option<Result<Response, Fault>>>,
}

impl Default for Answers {
    fn default() -> Self {
        Self::in_memory(Bounds::default())
    }
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Answers").field(&self.figures()).finish()
    }
}

impl Answers {
    /// Nothing outlives this value.
    pub fn in_memory(bounds: Bounds) -> Self {
        let bounds = Bounds {
            store_bytes_max: 0,
            ..bounds
        };
        Self::of(bounds, None)
    }

    pub fn shelved(bounds: Bounds, shelf: Arc<dyn Shelf>) -> Self {
        Self::of(bounds, Some(shelf))
    }

    fn of(bounds: Bounds, shelf: Option<Arc<dyn Shelf>>) -> Self {
        let state = State {
            tiers: Tiers::new(bounds),
            doomed: BTreeSet::new(),
            flights: HashMap::new(),
            next: 0,
        };
        let inner = Inner {
            state: Mutex::new(state),
            shelf,
            shelving: tokio::sync::Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.inner.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// What an earlier run left on the shelf. What is not understood is taken off it.
    pub fn restore(&self, key: Key, record: &[u8], now: Now) {
        let mut state = self.state();
        match Kept::read(record, now) {
            Some(kept) => {
                state.tiers.restore(key, &kept, record.len() as u64);
                state.doom();
            }
            None => {
                state.doomed.insert(key);
            }
        }
    }

    pub fn figures(&self) -> Figures {
        self.state().tiers.figures()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.state().tiers.is_on()
    }

    /// The kept answer to a read.
    pub(crate) async fn find(&self, key: Key, now: Now) -> Option<Arc<Kept>> {
        let found = self.state().tiers.find(&key);
        let serial = match found {
            Found::Here(kept) => return Some(kept),
            Found::Nowhere => return None,
            Found::Stored(serial) => serial,
        };
        let shelf = self.inner.shelf.as_ref()?;
        let record = shelf.get(key).await;
        let kept = record.and_then(|record| Kept::read(&record, now));
        let mut state = self.state();
        let Some(kept) = kept.map(Arc::new) else {
            if state.tiers.is_stored(&key, serial) {
                state.tiers.forget(&key);
                state.doom();
            }
            return None;
        };
        state.tiers.fetched(key, serial, &kept).then_some(kept)
    }

    /// Leads, unless the same read is on its way and nothing has changed since it left. An urgent read does not wait for
    /// one that may wait.
    pub(crate) fn board(&self, passenger: Passenger) -> Boarding {
        let mut state = self.state();
        let serves = |flight: &&Flight| {
            let fits = flight.lane <= passenger.lane && (flight.whole || !passenger.whole);
            flight.joined == passenger.joined && !flight.spoiled && fits
        };
        if let Some(flight) = state.flights.values().find(serves) {
            return Boarding::Follows(flight.landing.clone(), flight.since_ms);
        }
        let (announce, landing) = watch::channel(None);
        state.next += 1;
        let number = state.next;
        let flight = Flight {
            joined: passenger.joined,
            label: passenger.label,
            lane: passenger.lane,
            whole: passenger.whole,
            since_ms: passenger.now_ms,
            spoiled: false,
            landing,
        };
        state.flights.insert(number, flight);
        Boarding::Leads(Departure {
            answers: self.clone(),
            flight: number,
            announce,
        })
    }

    /// Forgets what a change at an account makes untrue, here and on the shelf; what is on its way is not kept.
    pub(crate) async fn change(&self, account: &str, change: &Change<'_>) {
        self.change_here(account, change);
        self.tidy().await;
    }

    pub(crate) fn change_here(&self, account: &str, change: &Change<'_>) {
        let mut state = self.state();
        for flight in state.flights.values_mut() {
            flight.spoiled |= flight.label.is_touched(account, change);
        }
        state.tiers.change(account, change);
        state.doom();
    }

    /// Whether a change could touch anything.
    pub(crate) fn has_any(&self) -> bool {
        let state = self.state();
        !state.tiers.is_empty() || !state.flights.is_empty()
    }

    /// Puts an answer on the shelf, unless it has been forgotten since.
    async fn shelve(&self, key: Key, serial: u64, record: Vec<u8>) {
        let Some(shelf) = &self.inner.shelf else {
            return;
        };
        let _shelving = self.inner.shelving.lock().await;
        {
            let mut state = self.state();
            if !state.tiers.is_stored(&key, serial) {
                return;
            }
            state.doomed.remove(&key);
        }
        shelf.put(key, record).await;
    }

    /// Takes off the shelf what should not be there.
    pub async fn tidy(&self) {
        let Some(shelf) = &self.inner.shelf else {
            return;
        };
        if self.state().doomed.is_empty() {
            return;
        }
        let _shelving = self.inner.shelving.lock().await;
        let doomed = self.state().doomed.clone();
        // Dropped meanwhile, it is done again.
        if shelf.remove(doomed.iter().copied().collect()).await {
            self.state().doomed.retain(|key| !doomed.contains(key));
        }
    }

    fn record(&self, kept: &Kept) -> Option<Vec<u8>> {
        let has_store = self.state().tiers.has_store();
        let shelf = self.inner.shelf.as_ref().filter(|_| has_store)?;
        // A record is a little shorter than what it weighs in memory, which is known without making it.
        let record =
            (kept.response.body.len() as u64 <= shelf.record_bytes_max()).then(|| kept.record())?;
        (record.len() as u64 <= shelf.record_bytes_max()).then_some(record)
    }
}

impl State {
    /// Notes what the tiers say should go.
    fn doom(&mut self) {
        let doomed = self.tiers.take_doomed();
        self.doomed.extend(doomed);
    }
}

impl Departure {
    /// What was heard: it is kept as it deserves, and told to all who wait for it.
    pub(crate) async fn land(
        self,
        key: Key,
        keeping: Keeping,
        kept: impl FnOnce() -> Kept,
        result: &Result<Response, Fault>,
    ) {
        let kept = match keeping {
            Keeping::Long | Keeping::Brief => Some(Arc::new(kept())),
            Keeping::Forget | Keeping::Nothing => None,
        };
        let record = kept.as_ref().filter(|_| keeping == Keeping::Long);
        let record = record.and_then(|kept| self.answers.record(kept));
        let shelved = {
            let mut state = self.answers.state();
            let flight = state.flights.remove(&self.flight);
            let spoiled = flight.is_none_or(|flight| flight.spoiled);
            let bytes = record.as_ref().map(|record| record.len() as u64);
            let serial = match (&kept, keeping) {
                (_, Keeping::Forget) => {
                    state.tiers.forget(&key);
                    None
                }
                (Some(kept), _) if !spoiled => state.tiers.keep(key, kept, bytes),
                _ => None,
            };
            state.doom();
            serial.zip(record)
        };
        // Nobody new finds it any more.
        if self.announce.receiver_count() > 0 {
            self.announce.send_replace(Some(result.clone()));
        }
        let answers = self.answers.clone();
        if let Some((serial, record)) = shelved {
            answers.shelve(key, serial, record).await;
        }
        answers.tidy().await;
    }

    /// Nothing was heard that could be kept; those who wait are told the same.
    pub(crate) fn fail(self, fault: &Fault) {
        self.answers.state().flights.remove(&self.flight);
        self.announce.send_replace(Some(Err(fault.clone())));
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.answers.state().flights.remove(&self.flight);
    }
}

/// What another read heard; nothing when it gave up.
pub(crate) async fn landed(mut landing: Landing) -> Option<Result<Response, Fault>> {
    let landed = landing.wait_for(Option::is_some).await;
    landed.ok().and_then(|landed| landed.clone())
}
