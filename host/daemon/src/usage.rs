//! What was used of the vendors' allowances, hour by hour: kept over a restart, and put together for people.
//!
//! The newest hours are written as they grow; a kill forgets the last seconds of a figure that only people read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_core::ledger::{LedgerError, decode, encode};
use tidegate_core::pace::{Hour, Lane, Spender, Spent, Usage};
use tidegate_gateway::{Account, Clock};
use tidegate_store::{Batch, KeyRange, ReadError, Store};

use crate::allowances::AllowanceError;
use crate::host::Reached;

/// First byte of the keys, apart from those of the records.
const ROOM: u8 = b'u';
const EVERY_MS: u64 = 10_000;
const HOUR_US: i64 = 3_600_000_000;
/// Peak hours, and largest transfers, that are named.
const NAMED_MAX: usize = 5;

/// Each account once, with its endpoints.
pub fn accounts(
    gateways: &BTreeMap<Arc<str>, Reached>,
) -> BTreeMap<&str, (&Account, Vec<&Arc<str>>)> {
    let mut accounts: BTreeMap<&str, (&Account, Vec<&Arc<str>>)> = BTreeMap::new();
    for (name, reached) in gateways {
        let account = reached.gateway.account();
        let known = accounts.entry(account.name());
        let (_, endpoints) = known.or_insert((account, Vec::new()));
        endpoints.push(name);
    }
    accounts
}

fn prefix(account: &str) -> Vec<u8> {
    let mut key = vec![ROOM];
    key.extend_from_slice(account.as_bytes());
    key.push(0);
    key
}

fn key(account: &str, hour: &Hour) -> Vec<u8> {
    let mut key = prefix(account);
    key.extend_from_slice(&hour.number().to_be_bytes());
    key
}

/// Gives every account what earlier runs have noted. Called before the first request.
///
/// # Errors
///
/// When the store can't be read.
pub fn restore(
    store: &Store,
    gateways: &BTreeMap<Arc<str>, Reached>,
) -> Result<(), AllowanceError> {
    for (name, (account, _)) in accounts(gateways) {
        let range = KeyRange::prefix(prefix(name));
        let kept = store.scan(&range, usize::MAX).map_err(unreadable(name))?;
        let hours = kept.iter().map(|(_, bytes)| decode("usage", bytes));
        let hours: Vec<Hour> = hours
            .collect::<Result<_, LedgerError>>()
            .map_err(|source| AllowanceError::Decode {
                account: name.to_owned(),
                source,
            })?;
        account.restore_usage(Usage::from_hours(hours));
    }
    Ok(())
}

fn unreadable(account: &str) -> impl Fn(ReadError) -> AllowanceError {
    let account = account.to_owned();
    move |source| AllowanceError::Read {
        account: account.clone(),
        source,
    }
}

/// Takes away the hours that have fallen out.
async fn forget(store: &Store, account: &str, usage: &Usage) -> Result<(), AllowanceError> {
    let range = KeyRange::prefix(prefix(account));
    let kept = store
        .scan(&range, usize::MAX)
        .map_err(unreadable(account))?;
    let known: BTreeSet<Vec<u8>> = usage.hours().map(|hour| key(account, hour)).collect();
    let gone = kept.into_iter().map(|(key, _)| key);
    let batch = Batch {
        deletes: gone.filter(|key| !known.contains(key)).collect(),
        ..Batch::default()
    };
    if !batch.deletes.is_empty() {
        store.apply(batch).await?;
    }
    Ok(())
}

/// Writes the hours that have changed since `last`, and takes away those that are too old.
#[derive(Debug, Default)]
pub struct Keeper {
    /// By account: the newest hour as it was written, and the oldest that is kept.
    last: BTreeMap<String, (Option<Hour>, Option<i64>)>,
}

impl Keeper {
    /// # Errors
    ///
    /// When the store can't be written.
    pub async fn keep(
        &mut self,
        store: &Store,
        gateways: &BTreeMap<Arc<str>, Reached>,
    ) -> Result<(), AllowanceError> {
        for (name, (account, _)) in accounts(gateways) {
            let usage = account.usage();
            let (written, oldest) = self.last.entry(name.to_owned()).or_default();
            let since = written.as_ref().map_or(i64::MIN, Hour::number);
            let newer = usage.hours().filter(|hour| hour.number() >= since);
            for hour in newer.filter(|hour| written.as_ref() != Some(*hour)) {
                let (key, bytes) = (key(name, hour), encode(hour));
                // Whoever keeps for the first time does not know what stands there.
                if store.get(&key).map_err(unreadable(name))?.as_ref() != Some(&bytes) {
                    // An hour by itself, as all together may be more than the store takes at once.
                    store.apply(Batch::new().put(key, bytes)).await?;
                }
            }
            let first = usage.hours().next().map(Hour::number);
            if *oldest != first {
                forget(store, name, &usage).await?;
            }
            *written = usage.hours().next_back().cloned();
            *oldest = first;
        }
        Ok(())
    }

    /// Keeps until it is dropped.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn run(
        mut self,
        store: &Store,
        gateways: &BTreeMap<Arc<str>, Reached>,
        clock: &dyn Clock,
    ) -> Result<(), AllowanceError> {
        loop {
            let due_ms = clock.now().mono_ms.saturating_add(EVERY_MS);
            clock.sleep_until(due_ms).await;
            self.keep(store, gateways).await?;
        }
    }
}

/// Sums of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sums {
    /// HTTP requests.
    pub calls: u64,
    /// What they drew from the pool.
    pub units: u64,
    /// Records written by them.
    pub rows: u64,
    /// Bodies, both ways.
    pub bytes: u64,
    /// Answers in which the vendor said that an allowance is spent.
    pub throttled: u64,
}

impl From<Spent> for Sums {
    fn from(spent: Spent) -> Self {
        Self {
            calls: spent.calls,
            units: spent.units,
            rows: spent.rows,
            bytes: spent.bytes,
            throttled: spent.throttled,
        }
    }
}

/// An hour's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HourUsage {
    /// Its begin, in microseconds since 1970.
    pub at_us: i64,
    #[serde(flatten)]
    pub sums: Sums,
}

/// A sync's operation of a lane; empty names stand for what is nobody's, such as logging in, or beyond the lines
/// that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LineUsage {
    pub sync: String,
    pub operation: String,
    pub lane: Lane,
    #[serde(flatten)]
    pub sums: Sums,
}

/// One pool's use. A request that draws on several pools is counted in each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolUsage {
    pub account: String,
    pub endpoints: Vec<String>,
    /// Empty for requests that draw on no pool.
    pub pool: String,
    pub total: Sums,
    /// Of the total, what was critical.
    pub critical: Sums,
    /// Every hour with any use, oldest first.
    pub hours: Vec<HourUsage>,
    /// The hours with most units, the most first.
    pub peaks: Vec<HourUsage>,
    /// Every sync, operation and lane, most units first.
    pub lines: Vec<LineUsage>,
    /// Those that moved most bytes, the most first.
    pub transfers: Vec<LineUsage>,
}

/// The use since a moment of the wall clock, in microseconds since 1970, by whole hours.
pub fn report(gateways: &BTreeMap<Arc<str>, Reached>, since_us: i64) -> Vec<PoolUsage> {
    let mut report = Vec::new();
    for (name, (account, endpoints)) in accounts(gateways) {
        let usage = account.usage();
        let pools = usage.by(since_us / 1_000, |_, spender| spender.pool.clone());
        for (pool, total) in pools {
            report.push(PoolUsage {
                account: name.to_owned(),
                endpoints: endpoints.iter().map(ToString::to_string).collect(),
                total: total.into(),
                ..pool_usage(&usage, &pool, since_us / 1_000)
            });
        }
    }
    report
}

fn pool_usage(usage: &Usage, pool: &Arc<str>, since_ms: i64) -> PoolUsage {
    let ours = |spender: &Spender| spender.pool == *pool;
    let by_hour = usage.by(since_ms, |at_ms, spender| ours(spender).then_some(at_ms));
    let hours: Vec<HourUsage> = by_hour
        .into_iter()
        .filter_map(|(at_ms, spent)| {
            Some(HourUsage {
                at_us: at_ms? * 1_000,
                sums: spent.into(),
            })
        })
        .collect();
    let by_line = usage.by(since_ms, |_, spender| {
        ours(spender).then(|| {
            let Spender {
                sync,
                operation,
                lane,
                ..
            } = spender.clone();
            (sync, operation, lane)
        })
    });
    let lines: Vec<LineUsage> = by_line
        .into_iter()
        .filter_map(|(line, spent)| {
            let (sync, operation, lane) = line?;
            Some(LineUsage {
                sync: sync.to_string(),
                operation: operation.to_string(),
                lane,
                sums: spent.into(),
            })
        })
        .collect();
    let by_lane = usage.by(since_ms, |_, spender| ours(spender).then_some(spender.lane));
    let critical = by_lane.get(&Some(Lane::Critical)).copied();
    PoolUsage {
        pool: pool.to_string(),
        critical: critical.unwrap_or_default().into(),
        peaks: most(&hours, |hour| hour.sums.units, NAMED_MAX),
        transfers: most(&lines, |line| line.sums.bytes, NAMED_MAX),
        lines: most(&lines, |line| line.sums.units, usize::MAX),
        hours,
        ..PoolUsage::default()
    }
}

fn most<T: Clone>(all: &[T], by: impl Fn(&T) -> u64, count: usize) -> Vec<T> {
    let mut most = all.to_vec();
    most.sort_by_key(|one| Reverse(by(one)));
    most.truncate(count);
    most
}

/// The begin of the first hour to look at, for so many hours until now.
pub fn since_us(now_us: i64, hours: u32) -> i64 {
    now_us.div_euclid(HOUR_US) * HOUR_US - i64::from(hours.max(1) - 1) * HOUR_US
}
