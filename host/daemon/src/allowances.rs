//! What was drawn from the vendors' allowances, kept over a restart: a day's window is longer than a host's life.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use serde::Deserialize;
use tidegate_core::ledger::{LedgerError, decode, encode};
use tidegate_gateway::{Account, Clock, PoolCounts};
use tidegate_store::{ApplyError, Batch, DurableError, ReadError, Store};

use crate::host::Reached;

/// First byte of the keys, apart from those of the records; and of those of an earlier format.
const ROOM: u8 = b'a';
const EARLIER_ROOM: u8 = b'p';
/// What was drawn is kept so often, and before what is booked runs out.
const EVERY_MS: u64 = 1_000;

/// Why the counts could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum AllowanceError {
    #[error("the allowances of {account} can't be read")]
    Read { account: String, source: ReadError },
    #[error("the allowances of {account} are not understood")]
    Decode {
        account: String,
        source: LedgerError,
    },
    #[error("the allowances can't be stored")]
    Apply(#[from] ApplyError),
    #[error("the allowances can't be stored for good")]
    Durable(#[from] DurableError),
}

/// Endpoints may share an account.
fn accounts(gateways: &BTreeMap<Arc<str>, Reached>) -> BTreeMap<&str, &Account> {
    let accounts = gateways.values().map(|reached| reached.gateway.account());
    accounts
        .map(|account| (account.name(), &**account))
        .collect()
}

fn snapshots(gateways: &BTreeMap<Arc<str>, Reached>) -> Vec<(&Account, Vec<PoolCounts>)> {
    let accounts = accounts(gateways).into_values();
    accounts
        .map(|account| (account, account.snapshot()))
        .collect()
}

fn key(room: u8, account: &str) -> Vec<u8> {
    let mut key = vec![room];
    key.extend_from_slice(account.as_bytes());
    key
}

/// Counts as they were kept before what answers tell was kept too.
#[derive(Deserialize)]
struct Earlier {
    pool: String,
    holder: Vec<String>,
    counts: Vec<(i64, u64)>,
    booked: u64,
    upto: u64,
    lasts_ms: u64,
}

impl From<Earlier> for PoolCounts {
    fn from(earlier: Earlier) -> Self {
        Self {
            pool: earlier.pool,
            holder: earlier.holder,
            counts: earlier.counts,
            booked: earlier.booked,
            upto: earlier.upto,
            lasts_ms: earlier.lasts_ms,
            ..Self::default()
        }
    }
}

/// What an earlier run has kept of an account; nothing when there was none.
fn found(store: &Store, account: &str) -> Result<Vec<PoolCounts>, AllowanceError> {
    let read = |room| {
        let found = store.get(&key(room, account));
        found.map_err(|source| AllowanceError::Read {
            account: account.to_owned(),
            source,
        })
    };
    let counts = match (read(ROOM)?, read(EARLIER_ROOM)?) {
        (Some(bytes), _) => decode("allowances", &bytes),
        (None, Some(bytes)) => decode::<Vec<Earlier>>("allowances", &bytes)
            .map(|counts| counts.into_iter().map(PoolCounts::from).collect()),
        (None, None) => Ok(Vec::new()),
    };
    counts.map_err(|source| AllowanceError::Decode {
        account: account.to_owned(),
        source,
    })
}

/// Gives every account what an earlier run drew, for somebody who only looks.
pub fn recall(store: &Store, gateways: &BTreeMap<Arc<str>, Reached>) -> Result<(), AllowanceError> {
    for (name, account) in accounts(gateways) {
        account.restore(&found(store, name)?);
    }
    Ok(())
}

/// Gives every account what an earlier run drew, and puts what may leave next on the books: from here on requests
/// leave only as long as a [`Keeper`] works. Called before the first request (invariant 7).
pub fn restore(
    store: &Store,
    gateways: &BTreeMap<Arc<str>, Reached>,
) -> Result<(), AllowanceError> {
    recall(store, gateways)?;
    for account in accounts(gateways).into_values() {
        account.keep_books();
    }
    Ok(())
}

/// Stores the counts of the accounts on which something was drawn since `last`.
#[derive(Debug, Default)]
pub struct Keeper {
    last: BTreeMap<String, Vec<u8>>,
}

impl Keeper {
    /// Makes durable what was drawn, and what may leave next.
    pub async fn keep(
        &mut self,
        store: &Store,
        gateways: &BTreeMap<Arc<str>, Reached>,
    ) -> Result<(), AllowanceError> {
        let snapshots = snapshots(gateways);
        self.store(store, &snapshots).await?;
        for (account, counts) in &snapshots {
            account.kept(counts);
        }
        Ok(())
    }

    /// The last time, when nothing leaves any more: what was booked and has not left is free again.
    pub async fn close(
        mut self,
        store: &Store,
        gateways: &BTreeMap<Arc<str>, Reached>,
    ) -> Result<(), AllowanceError> {
        let mut snapshots = snapshots(gateways);
        for pool in snapshots.iter_mut().flat_map(|(_, counts)| counts) {
            pool.booked = 0;
        }
        self.store(store, &snapshots).await
    }

    async fn store(
        &mut self,
        store: &Store,
        snapshots: &[(&Account, Vec<PoolCounts>)],
    ) -> Result<(), AllowanceError> {
        let mut batch = Batch::new();
        for (account, counts) in snapshots {
            let (name, bytes) = (account.name(), encode(counts));
            if self.last.get(name) != Some(&bytes) {
                batch = batch.put(key(ROOM, name), bytes.clone());
                if self.last.insert(name.to_owned(), bytes).is_none() {
                    batch.deletes.push(key(EARLIER_ROOM, name));
                }
            }
        }
        if !batch.puts.is_empty() {
            let seq = store.apply(batch).await?;
            store.durable(seq).await?;
        }
        Ok(())
    }

    /// Keeps the counts until it is dropped.
    pub async fn run(
        mut self,
        store: &Store,
        gateways: &BTreeMap<Arc<str>, Reached>,
        clock: &dyn Clock,
    ) -> Result<(), AllowanceError> {
        let accounts = accounts(gateways);
        loop {
            self.keep(store, gateways).await?;
            let next = clock.now().mono_ms.saturating_add(EVERY_MS);
            let mut low = accounts
                .values()
                .map(|account| account.runs_low().boxed())
                .collect::<FuturesUnordered<_>>();
            tokio::select! {
                Some(()) = low.next() => {}
                () = clock.sleep_until(next) => {}
            }
        }
    }
}
