//! A vendor that fails for a minute, and credentials that are several or lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tidegate_gateway::Lane;
use tidegate_simulator::meters::{Failing, Failure, Options};
use tokio::task::JoinSet;

use super::backlog::options;
use super::crew::{Tally, carry, endless};
use super::doors::{Door, Paced, Setting};
use super::stage::Stage;
use super::vendors::{hubspot, upsert};
use crate::report::Scale;

const MINUTE_MS: u64 = 60_000;
const WORKERS: u64 = 40;
/// Before a record is carried again that came back with a credential refused.
const REFUSED_PAUSE_MS: u64 = 100;

/// What a minute of failures costs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failed {
    pub(crate) attempts: u64,
    /// Jobs that were done: as many attempts were needed.
    pub(crate) needed: u64,
    pub(crate) attempts_per_needed: f64,
    /// The same for the minute of failures alone.
    pub(crate) attempts_meanwhile: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    /// Jobs done in the window before the minute, and in those after it.
    pub(crate) before: u64,
    pub(crate) after: Vec<u64>,
    /// The third window after the minute, against the one before it.
    pub(crate) recovered_share: f64,
}

/// A minute of good weather, one in which half of all answers fail, and one more.
pub(crate) fn failing(scale: Scale, seed: u64) -> Result<Failed> {
    let case = hubspot(scale);
    let runtime = Stage::runtime()?;
    runtime.block_on(async {
        let stage = Stage::set(case.start_ms, options(&case, seed)).await?;
        let gateway = Setting::new(case.manifest, &case.limits, seed)?.open(&stage, "a")?;
        let door: Arc<dyn Door> = Arc::new(Paced::new(&stage, gateway));
        let tally = Arc::new(Tally::default());
        let job = (Lane::Normal, case.job);
        let mut crew = endless(&stage, &door, job, (WORKERS, seed), &tally);
        let mut by_window = Vec::new();
        let mut arrived = Vec::new();
        for window in 0..3 * MINUTE_MS / case.window_ms {
            if window == MINUTE_MS / case.window_ms {
                stage.meters.fail(Failing {
                    permille: 500,
                    for_ms: MINUTE_MS,
                    how: Failure::Error,
                });
            }
            let before = tally.done();
            stage.play(case.window_ms, || false).await;
            by_window.push(tally.done() - before);
            arrived.push(stage.meters.arrived());
        }
        crew.shutdown().await;
        let stats = stage.meters.stats();
        let per_minute = (MINUTE_MS / case.window_ms) as usize;
        let before = by_window[per_minute - 1];
        let after = by_window[2 * per_minute..].to_vec();
        Ok(Failed {
            attempts: stats.arrived,
            needed: tally.done(),
            attempts_per_needed: stats.arrived as f64 / tally.done().max(1) as f64,
            attempts_meanwhile: arrived[2 * per_minute - 1] - arrived[per_minute - 1],
            failed: stats.failed,
            refused: stats.refused,
            before,
            recovered_share: after[2] as f64 / before.max(1) as f64,
            after,
        })
    })
}

/// What several credentials carry.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Carried {
    pub(crate) credentials: usize,
    /// One of them is refused from the middle on.
    pub(crate) one_lost: bool,
    pub(crate) records: u64,
    pub(crate) refused: u64,
    pub(crate) strangers: u64,
    /// Records that were begun and neither are done nor under way.
    pub(crate) lost: u64,
}

/// Records by their numbers, each carried until it is done.
#[derive(Default)]
struct Records {
    next: AtomicU64,
    /// Came back with a credential that is no longer good.
    again: Mutex<Vec<u64>>,
    under_way: Mutex<BTreeSet<u64>>,
    done: Mutex<BTreeSet<u64>>,
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Records {
    fn take(&self) -> u64 {
        let again = held(&self.again).pop();
        let record = again.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        held(&self.under_way).insert(record);
        record
    }

    fn settle(&self, record: u64, done: bool) {
        held(&self.under_way).remove(&record);
        if done {
            held(&self.done).insert(record);
        } else {
            held(&self.again).push(record);
        }
    }

    fn lost(&self) -> u64 {
        let begun: BTreeSet<u64> = (0..self.next.load(Ordering::Relaxed)).collect();
        let (done, under_way, again) = (held(&self.done), held(&self.under_way), held(&self.again));
        let missing = begun.iter().filter(|record| {
            !done.contains(record) && !under_way.contains(record) && !again.contains(record)
        });
        missing.count() as u64
    }
}

/// Works with so many credentials, one of which may be lost half-way.
pub(crate) fn credentials(
    count: usize,
    one_lost: bool,
    scale: Scale,
    seed: u64,
) -> Result<Carried> {
    let case = hubspot(scale);
    let lasts_ms = case.window_ms * scale.pick(10, 2);
    let runtime = Stage::runtime()?;
    runtime.block_on(async {
        let tokens: Vec<String> = (0..count).map(|app| format!("app-{app}")).collect();
        let options = Options {
            credentials: tokens
                .iter()
                .map(|token| format!("Bearer {token}"))
                .collect(),
            ..options(&case, seed)
        };
        let stage = Stage::set(case.start_ms, options).await?;
        let setting = Setting::new(case.manifest, &case.limits, seed)?;
        let records = Arc::new(Records::default());
        let tally = Arc::new(Tally::default());
        let mut crew = JoinSet::new();
        let gateway = setting.open_with(&stage, &tokens[0], &tokens[1..])?;
        let door: Arc<dyn Door> = Arc::new(Paced::new(&stage, gateway));
        for worker in 0..WORKERS * tokens.len() as u64 {
            let (stage, door) = (stage.clone(), door.clone());
            let (records, tally) = (records.clone(), tally.clone());
            let mut random = ChaCha8Rng::seed_from_u64(seed + worker);
            crew.spawn(async move {
                loop {
                    let record = records.take();
                    let job = (Lane::Normal, upsert());
                    let good = carry(&stage, &*door, job, &tally, &mut random).await;
                    records.settle(record, good);
                    if !good {
                        stage.sleep(REFUSED_PAUSE_MS).await;
                    }
                }
            });
        }
        stage.play(lasts_ms / 2, || false).await;
        if one_lost && let Some(token) = tokens.last() {
            stage.meters.set_revoked(&format!("Bearer {token}"), true);
        }
        stage.play(lasts_ms / 2, || false).await;
        let lost = records.lost();
        crew.shutdown().await;
        let stats = stage.meters.stats();
        Ok(Carried {
            credentials: count,
            one_lost,
            records: tally.done(),
            refused: stats.refused,
            strangers: stats.strangers,
            lost,
        })
    })
}
