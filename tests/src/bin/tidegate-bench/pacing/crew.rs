//! Work without end: so many jobs wait at a door at any moment, and each is tried until it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_gateway::Lane;
use tokio::task::JoinSet;

use super::doors::{Came, Door, Job};
use super::stage::Stage;

/// The pause after a failure, which doubles each time, with full jitter.
const PAUSE_FIRST_MS: u64 = 500;
const PAUSE_MAX_MS: u64 = 8_000;

/// What came of the work so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Tally {
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Tries one job until it is done; `false` when its credential is not good.
pub(crate) async fn carry(
    stage: &Stage,
    door: &dyn Door,
    (lane, job): (Lane, Job),
    tally: &Tally,
    random: &mut impl Rng,
) -> bool {
    let mut failures = 0;
    loop {
        match door.send(lane, job).await {
            Came::Done => {
                tally.done.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Came::Failed => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                let most_ms = (PAUSE_FIRST_MS << failures.min(10)).min(PAUSE_MAX_MS);
                failures += 1;
                stage.sleep(random.random_range(1..=most_ms)).await;
            }
            Came::Later(ms) => stage.sleep(ms).await,
            Came::Refused => return false,
        }
    }
}

/// So many at once; they end when the set is dropped.
pub(crate) fn endless(
    stage: &Stage,
    door: &Arc<dyn Door>,
    (lane, job): (Lane, fn(&mut ChaCha8Rng) -> Job),
    (workers, seed): (u64, u64),
    tally: &Arc<Tally>,
) -> JoinSet<()> {
    let mut crew = JoinSet::new();
    for worker in 0..workers {
        let (stage, door, tally) = (stage.clone(), door.clone(), tally.clone());
        let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(worker));
        crew.spawn(async move {
            loop {
                let job = job(&mut random);
                if !carry(&stage, &*door, (lane, job), &tally, &mut random).await {
                    return;
                }
            }
        });
    }
    crew
}
