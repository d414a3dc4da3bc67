//! A vendor that fails for a minute, and credentials that are several or lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
/// Nobody waits longer for what was begun.
const END_MS: u64 = 600_000;
/// Before a batch is carried again that came back with a credential refused.
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
    /// Batches that were done in the time.
    pub(crate) batches: u64,
    pub(crate) refused: u64,
    pub(crate) strangers: u64,
    /// When all that was begun has ended: records that the vendor has not, and that it was given more than once.
    pub(crate) records: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

/// Batches by their numbers, each carried until it is done.
#[derive(Default)]
struct Batches {
    next: AtomicU64,
    /// Came back with a credential that is no longer good.
    again: Mutex<Vec<u64>>,
    /// No more are begun.
    closed: AtomicBool,
    under_way: AtomicU64,
}

impl Batches {
    fn again(&self) -> MutexGuard<'_, Vec<u64>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<u64> {
        let again = self.again().pop();
        let open = !self.closed.load(Ordering::Relaxed);
        let begun = || open.then(|| self.next.fetch_add(1, Ordering::Relaxed));
        let batch = again.or_else(begun)?;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Some(batch)
    }

    fn settle(&self, batch: u64, done: bool) {
        if !done {
            self.again().push(batch);
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    fn all_ended(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0 && self.again().is_empty()
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
    let lasts_ms = case.window_ms * scale.pick(10, 4);
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
        let gateway = setting.open_with(&stage, &tokens[0], &tokens[1..])?;
        let door: Arc<dyn Door> = Arc::new(Paced::new(&stage, gateway));
        let batches = Arc::new(Batches::default());
        let tally = Arc::new(Tally::default());
        let mut crew = JoinSet::new();
        for worker in 0..WORKERS * tokens.len() as u64 {
            let random = ChaCha8Rng::seed_from_u64(seed + worker);
            let (batches, tally) = (batches.clone(), tally.clone());
            crew.spawn(carry_on(
                stage.clone(),
                door.clone(),
                batches,
                tally,
                random,
            ));
        }
        stage.play(lasts_ms / 2, || false).await;
        if one_lost && let Some(token) = tokens.last() {
            stage.meters.set_revoked(&format!("Bearer {token}"), true);
        }
        stage.play(lasts_ms / 2, || false).await;
        let done = tally.done();
        batches.closed.store(true, Ordering::Relaxed);
        stage.play(END_MS, || batches.all_ended()).await;
        crew.shutdown().await;
        let (stats, carried) = (stage.meters.stats(), stage.meters.carried());
        let records = batches.next.load(Ordering::Relaxed) * u64::from(upsert().rows);
        let has = |record: &u64| carried.get(record).copied().unwrap_or_default();
        Ok(Carried {
            credentials: count,
            one_lost,
            batches: done,
            refused: stats.refused,
            strangers: stats.strangers,
            records,
            lost: (0..records).filter(|record| has(record) == 0).count() as u64,
            doubled: (0..records).filter(|record| has(record) > 1).count() as u64,
        })
    })
}

/// One worker, until no more batches are begun and none comes back.
async fn carry_on(
    stage: Stage,
    door: Arc<dyn Door>,
    batches: Arc<Batches>,
    tally: Arc<Tally>,
    mut random: ChaCha8Rng,
) {
    loop {
        let Some(batch) = batches.take() else {
            if batches.all_ended() {
                return;
            }
            stage.sleep(REFUSED_PAUSE_MS).await;
            continue;
        };
        let job = (Lane::Normal, upsert().of(batch));
        let good = carry(&stage, &*door, job, &tally, &mut random).await;
        batches.settle(batch, good);
        if !good {
            stage.sleep(REFUSED_PAUSE_MS).await;
        }
    }
}
