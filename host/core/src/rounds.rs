//! When a round may start: urgent work at once, the rest with company.
//!
//! Rounds of one direction run side by side, and the last places are kept for more urgent lanes, so that a critical
//! change never waits for a backfill round to end. Where calls cost, a change that can wait is held back a little,
//! since a call that is full costs no more; a critical one never is.

use crate::pace::Lane;

/// Rounds of one direction that may run when one more starts, by its lane.
const ROUNDS_MAX: [usize; 3] = [6, 5, 4];
/// How long a change waits for company where calls cost, when its sync does not say.
pub const LINGER_MS: u64 = 50;
/// The same in the backfill lane, at least.
const BACKFILL_LINGER_MS: u64 = 2_000;

/// What waits in the most urgent lane of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub lane: Lane,
    pub rows: usize,
    /// When the first of them became ready.
    pub since_ms: u64,
    /// How long a change of the normal lane may wait for company.
    pub linger_ms: u64,
    /// Records that the sync's queue holds at most.
    pub queue_max: usize,
}

impl Ready {
    fn linger_ms(&self) -> u64 {
        match self.lane {
            Lane::Critical => 0,
            Lane::Normal => self.linger_ms,
            Lane::Backfill => self.linger_ms.max(BACKFILL_LINGER_MS),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Now,
    /// For company.
    At(u64),
    /// When one that runs has ended.
    AfterOther,
}

/// Rounds of a lane that run side by side.
pub fn most(lane: Lane) -> usize {
    ROUNDS_MAX[lane as usize]
}

/// `running` rounds of the same direction; `full` is what one round takes, where calls cost.
pub fn start(ready: &Ready, running: usize, full: Option<usize>, now_ms: u64) -> Start {
    if running >= most(ready.lane) {
        return Start::AfterOther;
    }
    let until_ms = ready.since_ms + ready.linger_ms();
    // A queue that is half full may soon take no more, and then company would be waited for in vain.
    let full = full.map(|rows| rows.min(ready.queue_max / 2));
    match full {
        Some(full) if ready.rows < full && until_ms > now_ms => Start::At(until_ms),
        _ => Start::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_urgent_overtakes_and_is_not_held_back() {
        let ready = |lane, rows| Ready {
            lane,
            rows,
            since_ms: 1_000,
            linger_ms: LINGER_MS,
            queue_max: 1_000,
        };
        let costs = Some(200);
        let small = Ready {
            queue_max: 300,
            ..ready(Lane::Backfill, 150)
        };
        let cases = [
            (ready(Lane::Critical, 1), 0, costs, 1_000, Start::Now),
            (ready(Lane::Normal, 1), 0, costs, 1_000, Start::At(1_050)),
            (ready(Lane::Normal, 1), 0, costs, 1_050, Start::Now),
            (
                ready(Lane::Backfill, 199),
                0,
                costs,
                1_000,
                Start::At(3_000),
            ),
            (ready(Lane::Backfill, 200), 0, costs, 1_000, Start::Now),
            (ready(Lane::Backfill, 1), 0, None, 1_000, Start::Now),
            (small, 0, costs, 1_000, Start::Now),
        ];
        for (ready, running, full, now_ms, expected) in cases {
            assert_eq!(start(&ready, running, full, now_ms), expected, "{ready:?}");
        }
        // However many rounds of a lane run, one of a more urgent lane still starts.
        for (lane, above) in [
            (Lane::Backfill, Lane::Normal),
            (Lane::Normal, Lane::Critical),
        ] {
            let most = (0..)
                .find(|running| {
                    start(&ready(lane, 200), *running, costs, 9_000) == Start::AfterOther
                })
                .expect("a bound");
            assert_eq!(start(&ready(above, 1), most, costs, 9_000), Start::Now);
        }
    }
}
