//! Work without end against one limit: how much of the allowance is used, and whether anything is refused; alone,
//! beside others, and by a host that is killed again and again.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tidegate_gateway::{Gateway, PoolCounts};
use tidegate_simulator::meters::{Neighbour, Options, Span, Stats, Vendor};

use super::crew::{Tally, endless};
use super::doors::{Door, Paced, Setting};
use super::stage::Stage;
use super::vendors::Case;

/// Jobs that stand in line at any moment.
const WORKERS: u64 = 40;
/// One way, each: the least, and the jitter that comes on top.
pub(crate) const WAY: Span = Span {
    least_ms: 15,
    chance_ms: 3,
};

/// How a backlog is worked off.
#[derive(Clone, Default)]
pub(crate) struct Course {
    pub(crate) seed: u64,
    /// Others beside us, in thousandths of the limit.
    pub(crate) others: Option<(u64, u64)>,
    /// The host is killed so many times, at random moments.
    pub(crate) kills: usize,
}

/// What became of a backlog.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Worked {
    pub(crate) name: &'static str,
    pub(crate) window_ms: u64,
    pub(crate) windows: u64,
    pub(crate) limit: u64,
    /// The most that the meter ever saw in a window.
    pub(crate) most: u64,
    pub(crate) calls: u64,
    /// Calls that the vendor refused for any limit.
    pub(crate) refused: u64,
    /// Units that others used.
    pub(crate) others: u64,
    /// Units that the simulator would have let in, without those.
    pub(crate) allowed: u64,
    pub(crate) used: u64,
    pub(crate) used_share: f64,
    /// As much is aimed at.
    pub(crate) aim: f64,
    /// The most that anybody can use without a risk, where that is known.
    pub(crate) without_a_risk: Option<f64>,
    pub(crate) refused_share: f64,
    /// By how much longer than its window a request counted, for the measured jitter of its way.
    pub(crate) margin_ms: u64,
}

pub(crate) fn options(case: &Case, seed: u64) -> Options {
    let limits = case.limits.iter();
    Options {
        seed,
        limits: limits
            .map(|(name, units)| ((*name).to_owned(), *units))
            .collect(),
        way: WAY,
        takes: case.takes,
        credentials: match case.vendor {
            // It gives out tokens of its own.
            Vendor::Salesforce => Vec::new(),
            _ => vec!["Bearer a".to_owned()],
        },
        ..Options::new(case.vendor)
    }
}

/// Works for as long as the case lasts.
pub(crate) fn work(case: &Case, course: &Course) -> Result<Worked> {
    let runtime = Stage::runtime()?;
    runtime.block_on(async {
        let mut options = options(case, course.seed);
        options.neighbour = course.others.map(|(least, most)| Neighbour {
            permille: least..=most,
            stretch_ms: None,
        });
        let mut stage = Stage::set(case.start_ms, options).await?;
        let before = others(case, &stage.meters.stats());
        let mut random = ChaCha8Rng::seed_from_u64(course.seed);
        let kills = (0..course.kills).map(|_| random.random_range(1..case.lasts_ms));
        let mut ends: Vec<u64> = kills.chain([case.lasts_ms]).collect();
        ends.sort_unstable();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (mut began_ms, mut margin_ms) = (0, 0);
        for end_ms in ends {
            let life = Life {
                case,
                seed: random.random(),
                books: course.kills > 0,
            };
            margin_ms = life.live(&stage, end_ms - began_ms, &kept).await?;
            began_ms = end_ms;
            stage.reboot();
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(making) = kept.making.take()
                && random.random()
            {
                kept.durable = making;
            }
        }
        Ok(judged(case, &stage.meters.stats(), before, margin_ms))
    })
}

/// Units that others have used so far.
fn others(case: &Case, stats: &Stats) -> u64 {
    stats.of(case.meter).map(|window| window.others).sum()
}

/// `before` is what others had used when we came.
fn judged(case: &Case, stats: &Stats, before: u64, margin_ms: u64) -> Worked {
    let windows = || stats.of(case.meter);
    let others = others(case, stats);
    let used: u64 = windows().map(|window| window.admitted).sum::<u64>() - others;
    let others = others - before;
    let allowed = (case.limit * case.windows).saturating_sub(others);
    Worked {
        name: case.name,
        window_ms: case.window_ms,
        windows: case.windows,
        limit: case.limit,
        most: windows()
            .map(|window| window.most)
            .max()
            .unwrap_or_default(),
        calls: stats.arrived,
        refused: stats.refused,
        others,
        allowed,
        used,
        used_share: used as f64 / allowed.max(1) as f64,
        aim: case.aim,
        without_a_risk: case.without_a_risk(),
        refused_share: stats.refused as f64 / stats.arrived.max(1) as f64,
        margin_ms,
    }
}

/// What a host has made durable, and what it is making so.
#[derive(Default)]
struct Kept {
    durable: Vec<PoolCounts>,
    making: Option<Vec<PoolCounts>>,
}

/// A host from its start to its end, which comes without a word.
struct Life<'a> {
    case: &'a Case,
    seed: u64,
    books: bool,
}

impl Life<'_> {
    async fn live(&self, stage: &Stage, lasts_ms: u64, kept: &Arc<Mutex<Kept>>) -> Result<u64> {
        let setting = Setting::new(self.case.manifest, &self.case.limits, self.seed)?;
        let gateway = setting.open(stage, "a")?;
        let account = gateway.account().clone();
        let keeper = self.books.then(|| {
            let durable = kept.lock().unwrap_or_else(PoisonError::into_inner);
            account.restore(&durable.durable);
            account.keep_books();
            drop(durable);
            tokio::spawn(keep(
                stage.clone(),
                gateway.clone(),
                kept.clone(),
                self.seed,
            ))
        });
        let door: Arc<dyn Door> = Arc::new(Paced::new(stage, gateway.clone()));
        let tally = Arc::new(Tally::default());
        let job = (self.case.lane, self.case.job);
        let mut crew = endless(stage, &door, job, (WORKERS, self.seed), &tally);
        stage.play(lasts_ms, || false).await;
        let pools = gateway.pools();
        let bound = pools.iter().find(|pool| *pool.pool == *self.case.meter);
        let margin_ms = bound.map_or(0, |pool| pool.margin_ms);
        if let Some(keeper) = keeper {
            keeper.abort();
        }
        crew.shutdown().await;
        Ok(margin_ms)
    }
}

/// Makes snapshots durable, which takes its time, whenever what is booked runs low.
async fn keep(stage: Stage, gateway: Arc<Gateway>, kept: Arc<Mutex<Kept>>, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let account = gateway.account();
    loop {
        let counts = account.snapshot();
        {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.making = Some(counts.clone());
        }
        stage.sleep(random.random_range(1..20)).await;
        {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.making = None;
            kept.durable.clone_from(&counts);
        }
        account.kept(&counts);
        stage.moved();
        account.runs_low().await;
        stage.moved();
    }
}
