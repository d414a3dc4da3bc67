//! Urgent changes beside a backfill that would take everything, by whoever sends them.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tidegate_gateway::Lane;
use tidegate_simulator::meters::{Options, Span};
use tokio::task::JoinSet;

use super::backlog::{WAY, options};
use super::crew::{Tally, carry};
use super::doors::{Door, Governed, Paced, Setting, Sleeping};
use super::stage::Stage;
use super::vendors::{hubspot, upsert};
use crate::report::Scale;

/// Records in one batch of the backfill.
const BATCH: u64 = 100;
const URGENT_EVERY_MS: u64 = 200;
/// At the vendor, way included.
const VENDOR_MS: u64 = 50;
/// Nobody waits longer for a backfill.
const END_MS: u64 = 3_600_000;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The gateway, with the urgent changes in the critical lane.
    Lanes,
    /// The gateway, with everything in one lane: first in, first out.
    OneLine,
    /// Sleeps after a refusal, twice as long each time.
    SleepOnRefusal,
    /// `governor` at the nominal limit.
    Governor,
}

impl Sender {
    pub(crate) const ALL: [Self; 4] = [
        Self::Lanes,
        Self::OneLine,
        Self::SleepOnRefusal,
        Self::Governor,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lanes => "tidegate",
            Self::OneLine => "tidegate, first in, first out",
            Self::SleepOnRefusal => "sleep on 429, exponential",
            Self::Governor => "governor (GCRA), nominal limit",
        }
    }
}

/// What became of a backfill and of the urgent changes beside it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    pub(crate) sender: &'static str,
    pub(crate) records: u64,
    pub(crate) took_ms: u64,
    pub(crate) records_per_second: f64,
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    /// Calls that were carried out, urgent ones too.
    pub(crate) calls_per_second: f64,
    pub(crate) urgent: usize,
    pub(crate) urgent_p50_ms: u64,
    pub(crate) urgent_p99_ms: u64,
    pub(crate) urgent_most_ms: u64,
}

/// Everything is there from the start, and an urgent change comes every 200 ms until the backfill is through.
pub(crate) fn beside(sender: Sender, scale: Scale, seed: u64) -> Result<Beside> {
    let records = scale.pick(200_000, 30_000);
    // The whole burst, as urgent changes alone would fill a small one.
    let case = hubspot(Scale::Full);
    let runtime = Stage::runtime()?;
    runtime.block_on(async {
        let way_ms = WAY.least_ms * 2 + WAY.chance_ms;
        let options = Options {
            takes: Some(Span::new(VENDOR_MS - way_ms, 0)),
            ..options(&case, seed)
        };
        let stage = Stage::set(case.start_ms, options).await?;
        let door: Arc<dyn Door> = match sender {
            Sender::Lanes | Sender::OneLine => {
                let gateway = Setting::new(case.manifest, &case.limits, seed)?.open(&stage, "a")?;
                Arc::new(Paced::new(&stage, gateway))
            }
            Sender::SleepOnRefusal => Arc::new(Sleeping::new(&stage, seed)?),
            Sender::Governor => Arc::new(Governed::new(&stage, case.limit as u32, case.window_ms)?),
        };
        let mut crew = JoinSet::new();
        let filled = Arc::new(Tally::default());
        for batch in 0..records / BATCH {
            let (stage, door, filled) = (stage.clone(), door.clone(), filled.clone());
            let mut random = ChaCha8Rng::seed_from_u64(seed ^ batch);
            crew.spawn(async move {
                let job = (Lane::Backfill, upsert());
                carry(&stage, &*door, job, &filled, &mut random).await;
            });
        }
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let lane = match sender {
            Sender::OneLine => Lane::Backfill,
            _ => Lane::Critical,
        };
        crew.spawn(changes(stage.clone(), door, lane, latencies.clone()));
        let batches = records / BATCH;
        stage.play(END_MS, || filled.done() >= batches).await;
        let took_ms = stage.now_ms();
        crew.shutdown().await;
        let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.sort_unstable();
        let stats = stage.meters.stats();
        Ok(Beside {
            sender: sender.name(),
            records,
            took_ms,
            records_per_second: (filled.done() * BATCH * 1_000) as f64 / took_ms.max(1) as f64,
            calls: stats.arrived,
            refused: stats.refused,
            calls_per_second: (stats.done * 1_000) as f64 / took_ms.max(1) as f64,
            urgent: latencies.len(),
            urgent_p50_ms: at(&latencies, 50),
            urgent_p99_ms: at(&latencies, 99),
            urgent_most_ms: at(&latencies, 100),
        })
    })
}

fn at(ascending: &[u64], percent: usize) -> u64 {
    let last = ascending.len().saturating_sub(1);
    let place = (ascending.len() * percent / 100).min(last);
    ascending.get(place).copied().unwrap_or_default()
}

/// One change after the other, each for itself; what has no answer at the end has waited until then.
async fn changes(stage: Stage, door: Arc<dyn Door>, lane: Lane, latencies: Arc<Mutex<Vec<u64>>>) {
    let mut under_way = JoinSet::new();
    for number in 0.. {
        stage.clock_until(number * URGENT_EVERY_MS).await;
        let waiting = Waiting {
            stage: stage.clone(),
            since_ms: stage.now_ms(),
            latencies: latencies.clone(),
        };
        let (stage, door) = (stage.clone(), door.clone());
        let mut random = ChaCha8Rng::seed_from_u64(number);
        under_way.spawn(async move {
            let waiting = waiting;
            let tally = Tally::default();
            carry(&stage, &*door, (lane, upsert()), &tally, &mut random).await;
            drop(waiting);
        });
    }
}

/// Notes how long a change has waited, whether it got its answer or the run has ended.
struct Waiting {
    stage: Stage,
    since_ms: u64,
    latencies: Arc<Mutex<Vec<u64>>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited_ms = self.stage.now_ms() - self.since_ms;
        let latencies = self.latencies.lock();
        latencies
            .unwrap_or_else(PoisonError::into_inner)
            .push(waited_ms);
    }
}
