//! What was drawn from the vendors' allowances, kept over a restart: a day's window is longer than a host's life.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::ledger::{LedgerError, decode, encode};
use tidegate_gateway::{Account, Clock, PoolCounts};
use tidegate_store::{ApplyError, Batch, DurableError, ReadError, Store};

use crate::host::Reached;

/// First byte of the keys, apart from those of the records.
const ROOM: u8 = b'p';
/// A kill may forget what was drawn in so long; the vendor's own figures correct it at the next answer.
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

fn key(account: &str) -> Vec<u8> {
    let mut key = vec![ROOM];
    key.extend_from_slice(account.as_bytes());
    key
}

/// Gives every account what an earlier run drew. Called before the first request (invariant 7).
pub fn restore(
    store: &Store,
    gateways: &BTreeMap<Arc<str>, Reached>,
) -> Result<(), AllowanceError> {
    for (name, account) in accounts(gateways) {
        let found = store
            .get(&key(name))
            .map_err(|source| AllowanceError::Read {
                account: name.to_owned(),
                source,
            })?;
        let Some(bytes) = found else {
            continue;
        };
        let counts: Vec<PoolCounts> =
            decode("allowances", &bytes).map_err(|source| AllowanceError::Decode {
                account: name.to_owned(),
                source,
            })?;
        account.restore(&counts);
    }
    Ok(())
}

/// Stores the counts of the accounts on which something was drawn since `last`.
#[derive(Debug, Default)]
pub struct Keeper {
    last: BTreeMap<String, Vec<u8>>,
}

impl Keeper {
    pub async fn keep(
        &mut self,
        store: &Store,
        gateways: &BTreeMap<Arc<str>, Reached>,
    ) -> Result<(), AllowanceError> {
        let mut batch = Batch::new();
        for (name, account) in accounts(gateways) {
            let bytes = encode(&account.snapshot());
            if self.last.get(name) != Some(&bytes) {
                batch = batch.put(key(name), bytes.clone());
                self.last.insert(name.to_owned(), bytes);
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
        loop {
            clock
                .sleep_until(clock.now().mono_ms.saturating_add(EVERY_MS))
                .await;
            self.keep(store, gateways).await?;
        }
    }
}
