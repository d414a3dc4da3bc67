//! Contenders side by side. The machine may be busy with other things, so they take turns in one run, and medians
//! are compared.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

/// Does something and says how many seconds it took.
#[allow(
    clippy::disallowed_methods,
    reason = "measuring time is what this room is for"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed().as_secs_f64(), done)
}

/// What one of the rounds cost, per turn.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median_us: f64,
    pub(crate) least_us: f64,
    pub(crate) p90_us: f64,
}

/// One way of doing the work.
pub(crate) struct Contender<'a> {
    turn: Box<dyn FnMut() -> Result<()> + 'a>,
}

impl<'a> Contender<'a> {
    /// A turn includes everything that the work needs each time.
    pub(crate) fn new(turn: impl FnMut() -> Result<()> + 'a) -> Self {
        Self {
            turn: Box::new(turn),
        }
    }

    /// As many turns as fit.
    fn turns_within(&mut self, budget: Duration) -> Result<u32> {
        let mut turns = 0;
        let mut spent = 0.0;
        while spent < budget.as_secs_f64() {
            let (seconds, done) = timed(&mut self.turn);
            done?;
            spent += seconds;
            turns += 1;
        }
        Ok(turns)
    }

    fn round(&mut self, turns: u32) -> Result<f64> {
        let (seconds, done) = timed(|| (0..turns).try_for_each(|_| (self.turn)()));
        done?;
        Ok(seconds * 1e6 / f64::from(turns))
    }
}

/// How long a race takes: each contender gets `slice` in each of the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
}

impl Course {
    /// Every contender takes its turns in every round, in an order that shifts from round to round. The first slice
    /// warms up, and settles how many turns fill a slice.
    pub(crate) fn race<const N: usize>(
        self,
        mut contenders: [Contender<'_>; N],
    ) -> Result<[Spread; N]> {
        let mut turns = [1; N];
        for (contender, turns) in contenders.iter_mut().zip(&mut turns) {
            *turns = contender.turns_within(self.slice)?;
        }
        let mut costs = [const { Vec::new() }; N];
        for round in 0..self.rounds {
            for place in 0..N {
                let index = (round + place) % N;
                costs[index].push(contenders[index].round(turns[index])?);
            }
        }
        Ok(costs.map(spread))
    }
}

fn spread(mut costs: Vec<f64>) -> Spread {
    costs.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = costs.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        costs.get(index).copied().unwrap_or(f64::NAN)
    };
    Spread {
        median_us: at(0.5),
        least_us: at(0.0),
        p90_us: at(0.9),
    }
}
