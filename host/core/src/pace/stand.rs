//! Where heads of queues stand: in the lines of the pools that they are short of, and who gets a turn there.

use std::cmp::Reverse;

use super::line::Rank;
use super::pacer::Pacer;
use super::pool::Pool;
use super::{Lane, Wait};
use crate::time::Now;

/// After so many permits past somebody who has waited long, it is his turn.
const TURN_AFTER: u32 = 8;

/// Why a head can't go: the pools that are short, with the moment at which each should be asked again.
pub(super) struct Short {
    pub(super) pools: Vec<(usize, Option<u64>)>,
    pub(super) wait: Wait,
}

impl Pacer {
    /// Puts a head into the lines of the pools that it is short of, and out of all others.
    pub(super) fn stand(&mut self, queue: usize, short: Short) {
        let stood = std::mem::take(&mut self.lines.queues[queue].stands);
        let mut stands = std::mem::take(&mut self.spare);
        for (pool, again_ms) in short.pools {
            let Some(rank) = self.lines.rank_in(queue, pool) else {
                continue;
            };
            self.pools[pool].line.insert(rank);
            stands.push((pool, rank));
            if let Some(again_ms) = again_ms {
                self.wake(pool, again_ms);
            }
        }
        let left = stood.iter().filter(|place| !stands.contains(place));
        left.for_each(|&(pool, rank)| {
            Self::step_out(&mut self.pools, &mut self.stirred, pool, rank)
        });
        self.spare = stood;
        self.spare.clear();
        let line = &mut self.lines.queues[queue];
        line.stands = stands;
        line.wait = Some(short.wait);
    }

    fn wake(&mut self, pool: usize, at_ms: u64) {
        if at_ms < self.pools[pool].wake_ms {
            self.pools[pool].wake_ms = at_ms;
            self.due.push(Reverse((at_ms, pool)));
        }
    }

    /// Takes a queue's head out of all lines.
    pub(super) fn withdraw(&mut self, queue: usize) {
        let stands = &mut self.lines.queues[queue].stands;
        for (pool, rank) in stands.drain(..) {
            Self::step_out(&mut self.pools, &mut self.stirred, pool, rank);
        }
    }

    /// Those behind are looked at, where it stood first.
    fn step_out(pools: &mut [Pool], stirred: &mut Vec<usize>, pool: usize, rank: Rank) {
        let line = &mut pools[pool].line;
        let first = line.first() == Some(&rank);
        line.remove(&rank);
        if first && !line.is_empty() {
            stirred.push(pool);
        }
    }

    /// A queue has another head.
    pub(super) fn renew(&mut self, queue: usize) {
        self.withdraw(queue);
        self.lines.queues[queue].aged.clear();
        self.lines.refresh(queue);
    }

    /// A permit went past those who wait in lower lanes: after some, the one who has waited longest gets a turn,
    /// if it has waited long.
    pub(super) fn pass(&mut self, now: Now, pool: usize, lane: Lane) {
        let passed = &mut self.pools[pool];
        let Some(last) = passed.line.last() else {
            return;
        };
        if !passed.measure.is_short() || !last.is_below(lane) {
            return;
        }
        passed.passed += 1;
        if passed.passed < TURN_AFTER {
            return;
        }
        let lines = &self.lines;
        let since = |rank: &Rank| lines.head(rank.queue).map(|(_, head)| head.since_ms);
        let lower = [Lane::Normal, Lane::Backfill].into_iter();
        let firsts = lower.filter_map(|below| {
            let rank = *passed.line.first_of(below)?;
            rank.is_below(lane).then_some((since(&rank)?, rank))
        });
        let Some((since_ms, rank)) = firsts.min() else {
            return;
        };
        if now.mono_ms.saturating_sub(since_ms) < self.settings.promote_after_ms {
            return;
        }
        passed.passed = 0;
        let queue = rank.queue;
        self.lines.queues[queue].aged.push(pool);
        if let Some(turn) = self.lines.rank_in(queue, pool) {
            let passed = &mut self.pools[pool];
            passed.line.remove(&rank);
            passed.line.insert(turn);
            let stands = &mut self.lines.queues[queue].stands;
            for (_, stood) in stands.iter_mut().filter(|(stood, _)| *stood == pool) {
                *stood = turn;
            }
            self.stirred.push(pool);
        }
    }
}
