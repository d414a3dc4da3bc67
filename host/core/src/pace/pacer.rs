//! All pools, and who waits for them.
//!
//! Requests stand in line by lane, in a lane the syncs take turns. One that can't go holds back those behind
//! it that want the same pool, so that large requests are not overtaken for ever; in pools with short windows
//! one that has waited long gets a turn among the more urgent ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use super::cost::{Draws, Shape};
use super::count::{Back, PoolCounts, PoolFigures};
use super::identity::{Identity, PoolKey};
use super::line::{Lines, Rank, Waiting};
use super::pool::{Candidate, Pool};
use super::timing::Timing;
use super::turns::WHOLE;
use super::{
    Ended, Impossible, Lane, PoolError, PoolOverride, Reason, Settings, UnknownPool, Wait,
};
use crate::manifest::Manifest;
use crate::time::Now;

/// After so many permits past somebody who has waited long, it is his turn.
const TURN_AFTER: u32 = 8;

/// An endpoint's, or one of its credentials', place at the pacer: its own pools and those that it shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat(u32);

/// Names a request from its asking until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

#[derive(Debug)]
struct Chair {
    /// In the manifest's order.
    pools: Vec<usize>,
    timing: Timing,
}

#[derive(Debug)]
struct Permit {
    draws: Draws,
    since_ms: u64,
}

/// Hands out permits.
#[derive(Debug)]
pub struct Pacer {
    settings: Settings,
    pools: Vec<Pool>,
    by_key: HashMap<PoolKey, usize>,
    chairs: Vec<Chair>,
    lines: Lines,
    permits: HashMap<u64, Permit>,
    /// Pools in which something has changed since their line was looked at.
    stirred: Vec<usize>,
    /// Pools by the moment at which their line is to be looked at.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    next: u64,
}

/// Why a head can't go: the pools that are short, with the moment at which each should be asked again.
struct Short {
    pools: Vec<(usize, Option<u64>)>,
    wait: Wait,
}

impl Pacer {
    /// Pools as the manifest has them, changed by what the operator knows better, with one seat.
    pub fn new(
        manifest: &Manifest,
        overrides: &BTreeMap<String, PoolOverride>,
        settings: Settings,
    ) -> Result<Self, PoolError> {
        let mut pacer = Self::empty(settings);
        pacer.join(manifest, overrides, &Identity::default())?;
        Ok(pacer)
    }

    /// Without pools or seats.
    pub fn empty(settings: Settings) -> Self {
        Self {
            settings,
            pools: Vec::new(),
            by_key: HashMap::new(),
            chairs: Vec::new(),
            lines: Lines::default(),
            permits: HashMap::new(),
            stirred: Vec::new(),
            due: BinaryHeap::new(),
            next: 0,
        }
    }

    /// Takes in an endpoint or one more credential. What its identity shares with others is shared, at the
    /// stricter of what each sets.
    pub fn join(
        &mut self,
        manifest: &Manifest,
        overrides: &BTreeMap<String, PoolOverride>,
        identity: &Identity,
    ) -> Result<Seat, PoolError> {
        check_names(manifest, overrides)?;
        let vendor = &manifest.plugin.name;
        let made = manifest.pools.iter().map(|written| {
            let key = PoolKey::new(vendor, &written.name, written.scope, identity);
            Ok((key, Pool::new(written, overrides.get(&written.name))?))
        });
        let made = made.collect::<Result<Vec<_>, PoolError>>()?;
        let mut pools = Vec::with_capacity(made.len());
        for (key, pool) in made {
            let known = *self.by_key.entry(key).or_insert(self.pools.len());
            match overrides.get(&*pool.name) {
                _ if known == self.pools.len() => self.pools.push(pool),
                Some(set) => self.pools[known].share(set),
                None => {}
            }
            pools.push(known);
        }
        self.chairs.push(Chair {
            pools,
            timing: Timing::default(),
        });
        Ok(Seat(self.chairs.len() as u32 - 1))
    }

    fn chair(&self, seat: Seat) -> &[usize] {
        self.chairs
            .get(seat.0 as usize)
            .map_or(&[], |chair| &chair.pools)
    }

    fn named(&self, seat: Seat, name: &str) -> Option<usize> {
        let mut pools = self.chair(seat).iter().copied();
        pools.find(|pool| *self.pools[*pool].name == *name)
    }

    /// What a request draws. Costs that it names itself can raise the manifest's, never lower them.
    pub fn draws(
        &self,
        seat: Seat,
        shape: &Shape<'_>,
        named: &[(String, u32)],
    ) -> Result<Draws, UnknownPool> {
        let drawn = |pool: &usize| (*pool, self.pools[*pool].tariff.draw(shape));
        let mut units: Vec<(usize, u64)> = self.chair(seat).iter().map(drawn).collect();
        for (name, named) in named {
            let pool = self
                .named(seat, name)
                .ok_or_else(|| UnknownPool(name.clone()))?;
            for (_, drawn) in units.iter_mut().filter(|(drawn, _)| *drawn == pool) {
                *drawn = u64::from(*named).max(*drawn);
            }
        }
        Ok(Draws::new(seat, shape, units))
    }

    /// What a sync gets beside others of its lane, 1 unless said.
    pub fn weigh(&mut self, sync: &Arc<str>, weight: u32) {
        self.lines.turns.weigh(sync, weight);
    }

    /// Gets in line. Fails at once when waiting could not help.
    pub fn ask(
        &mut self,
        now: Now,
        lane: Lane,
        sync: &Arc<str>,
        draws: Draws,
    ) -> Result<Ticket, Impossible> {
        let mut cost = 1;
        for (pool, units) in &draws.units {
            let pool = &self.pools[*pool];
            let most = pool.most(lane, &self.settings);
            if *units > most {
                return Err(Impossible {
                    pool: pool.name.clone(),
                    units: *units,
                    most,
                });
            }
            let part = u128::from(*units) * u128::from(WHOLE) / u128::from(pool.limit().max(1));
            cost = cost.max(part.min(u128::from(WHOLE)) as u64);
        }
        for (pool, units) in &draws.units {
            let pool = &mut self.pools[*pool];
            let most = pool.limit();
            pool.demand.asked(now.mono_ms, lane, *units, most);
        }
        self.next += 1;
        let ticket = self.next;
        let waiting = Waiting {
            ticket,
            since_ms: now.mono_ms,
            tag: self.lines.turns.tag(lane, sync, cost),
            draws,
        };
        if let Some(queue) = self.lines.join(lane, waiting) {
            self.renew(queue);
        }
        Ok(Ticket(ticket))
    }

    /// Gives permits to all that can go now, in order. The others learn why not, and when to come back.
    pub fn grant(&mut self, now: Now) -> Vec<Ticket> {
        while let Some(Reverse((at_ms, pool))) = self.due.peek().copied()
            && at_ms <= now.mono_ms
        {
            self.due.pop();
            if self.pools[pool].wake_ms == at_ms {
                self.pools[pool].wake_ms = u64::MAX;
                self.stirred.push(pool);
            }
        }
        let mut granted = Vec::new();
        loop {
            let queue = match self.lines.next_fresh() {
                Some(queue) => queue,
                None => match self.stirred.pop() {
                    Some(pool) => match self.pools[pool].line.first() {
                        Some(first) => first.queue,
                        None => continue,
                    },
                    None => return granted,
                },
            };
            granted.extend(self.advance(now, queue));
        }
    }

    /// When `grant` should be called again at the latest, if nothing else happens before.
    pub fn due_ms(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// Lets a queue's head go, or stand in line where it is short.
    fn advance(&mut self, now: Now, queue: usize) -> Option<Ticket> {
        match self.check(now, queue)? {
            Ok(()) => self.permit(now, queue),
            Err(short) => {
                self.stand(queue, short);
                None
            }
        }
    }

    /// Looks at all pools without touching any (invariant 7), but for forgetting what is past. Fails with the
    /// pools that are short and the longest wait.
    fn check(&mut self, now: Now, queue: usize) -> Option<Result<(), Short>> {
        let line = &self.lines.queues[queue];
        let head = line.head()?;
        let chair = self.chairs.get(head.draws.seat.0 as usize)?;
        let expected = chair.timing.expected(head.draws.kind);
        let mut short: Option<Short> = None;
        for (index, units) in &head.draws.units {
            let pool = &mut self.pools[*index];
            pool.refresh(now);
            let aged = line.aged.contains(index) && pool.measure.is_short();
            let candidate = Candidate {
                lane: if aged { Lane::Critical } else { line.lane },
                units: *units,
                expected,
            };
            let rank = self.lines.rank_in(queue, *index)?;
            let ahead = pool.line.first();
            let held = ahead.is_some_and(|ahead| *ahead < rank && ahead.queue != queue);
            let (wait, again_ms) = if held {
                let reason = Reason::Queued {
                    pool: pool.name.clone(),
                };
                let at_ms = pool.wake_ms.min(now.mono_ms + 60_000).max(now.mono_ms + 1);
                (Wait { reason, at_ms }, None)
            } else {
                match pool.check(now, &candidate, &self.settings) {
                    Ok(()) => continue,
                    Err(wait) => {
                        let at_ms = wait.at_ms;
                        (wait, Some(at_ms))
                    }
                }
            };
            let known = short.get_or_insert_with(|| Short {
                pools: Vec::new(),
                wait: wait.clone(),
            });
            known.pools.push((*index, again_ms));
            if known.wait.at_ms < wait.at_ms {
                known.wait = wait;
            }
        }
        Some(short.map_or(Ok(()), Err))
    }

    /// Puts a head into the lines of the pools that it is short of, and out of all others.
    fn stand(&mut self, queue: usize, short: Short) {
        let stood = std::mem::take(&mut self.lines.queues[queue].stands);
        let mut stands = Vec::with_capacity(short.pools.len());
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
        let left = stood.into_iter().filter(|place| !stands.contains(place));
        left.for_each(|(pool, rank)| {
            Self::step_out(&mut self.pools, &mut self.stirred, pool, rank)
        });
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
    fn withdraw(&mut self, queue: usize) {
        let stood = std::mem::take(&mut self.lines.queues[queue].stands);
        for (pool, rank) in stood {
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
    fn renew(&mut self, queue: usize) {
        self.withdraw(queue);
        self.lines.queues[queue].aged.clear();
        self.lines.refresh(queue);
    }

    fn permit(&mut self, now: Now, queue: usize) -> Option<Ticket> {
        let head = self.lines.queues[queue].head()?.ticket;
        let lane = self.lines.queues[queue].lane;
        self.withdraw(queue);
        let (waiting, ..) = self.lines.take(head)?;
        let chair = self.chairs.get(waiting.draws.seat.0 as usize)?;
        let expected = chair.timing.expected(waiting.draws.kind);
        for (pool, units) in &waiting.draws.units {
            let candidate = Candidate {
                lane,
                units: *units,
                expected,
            };
            self.pools[*pool].reserve_for(now, head, &candidate);
        }
        let aged = std::mem::take(&mut self.lines.queues[queue].aged);
        for (pool, _) in &waiting.draws.units {
            if !aged.contains(pool) {
                self.pass(now, *pool, lane);
            }
        }
        self.lines.turns.served(lane, waiting.tag);
        let permit = Permit {
            draws: waiting.draws,
            since_ms: now.mono_ms,
        };
        self.permits.insert(head, permit);
        self.lines.refresh(queue);
        Some(Ticket(head))
    }

    /// A permit went past those who wait in lower lanes: after some, the one who has waited longest gets a turn,
    /// if it has waited long.
    fn pass(&mut self, now: Now, pool: usize, lane: Lane) {
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
        let queues = &self.lines.queues;
        let since = |rank: &Rank| queues[rank.queue].head().map(|head| head.since_ms);
        let lower = [Lane::Normal, Lane::Backfill].into_iter();
        let firsts = lower.filter_map(|below| {
            let rank = *passed.line.range(Rank::first_of(below)..).next()?;
            (rank.is_of(below) && rank.is_below(lane)).then_some((since(&rank)?, rank))
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

    /// Why a request in line has not been given its permit at the last `grant`.
    pub fn wait(&self, ticket: Ticket) -> Option<Wait> {
        self.lines.wait(ticket.0)
    }

    /// Leaves the line.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Some((_, queue, true)) = self.lines.take(ticket.0) {
            self.renew(queue);
        }
    }

    /// Ends a permit. Others may be able to go now: call `grant`.
    pub fn settle(&mut self, now: Now, ticket: Ticket, ended: &Ended) {
        let Some(permit) = self.permits.remove(&ticket.0) else {
            return;
        };
        let seat = permit.draws.seat;
        let lasted_ms = now.mono_ms.saturating_sub(permit.since_ms);
        let behind_ms = match (ended, self.chairs.get_mut(seat.0 as usize)) {
            (Ended::Answered(_) | Ended::Throttled(_), Some(chair)) => {
                chair
                    .timing
                    .answered(now.mono_ms, permit.draws.kind, lasted_ms)
            }
            _ => 0,
        };
        let back = Back {
            permit: ticket.0,
            lasted_ms,
            behind_ms,
        };
        for (index, _) in &permit.draws.units {
            let pool = &mut self.pools[*index];
            pool.refresh(now);
            pool.settle(now, back, ended);
            self.stirred.push(*index);
        }
        for index in self.told(seat, ended) {
            if permit.draws.of(index).is_none() {
                let pool = &mut self.pools[index];
                pool.refresh(now);
                pool.overhear(now, ticket.0, ended);
                self.stirred.push(index);
            }
        }
    }

    /// Pools that an answer names.
    fn told(&self, seat: Seat, ended: &Ended) -> Vec<usize> {
        let named = |name: &String| self.named(seat, name);
        match ended {
            Ended::Answered(reports) => {
                let reports = reports.iter();
                reports.filter_map(|report| named(&report.pool)).collect()
            }
            Ended::Throttled(throttled) => named(&throttled.pool).into_iter().collect(),
            Ended::Unsent | Ended::Lost => Vec::new(),
        }
    }

    /// Whether `calls` ordinary requests of a lane could be granted now. More than a pool can ever give at once
    /// asks for all that it gives.
    pub fn readiness(&mut self, now: Now, seat: Seat, lane: Lane, calls: u32) -> Result<(), Wait> {
        let plain = Shape {
            method: None,
            path: "",
            rows: 1,
        };
        let chair = self.chairs.get(seat.0 as usize);
        let expected = Draws::new(seat, &plain, Vec::new());
        let Some(chair) = chair else { return Ok(()) };
        let expected = chair.timing.expected(expected.kind);
        let mut latest: Option<Wait> = None;
        for index in &chair.pools {
            let pool = &mut self.pools[*index];
            pool.refresh(now);
            let units = pool.tariff.draw(&plain) * u64::from(calls.max(1));
            if units == 0 {
                continue;
            }
            let candidate = Candidate {
                lane,
                units: units.min(pool.most(lane, &self.settings)),
                expected,
            };
            if let Err(wait) = pool.check(now, &candidate, &self.settings)
                && latest.as_ref().is_none_or(|known| known.at_ms < wait.at_ms)
            {
                latest = Some(wait);
            }
        }
        latest.map_or(Ok(()), Err)
    }

    pub fn figures(&mut self, now: Now) -> Vec<PoolFigures> {
        let chairs = &self.chairs;
        let jitter_ms = |index: usize| {
            let users = chairs.iter().filter(|chair| chair.pools.contains(&index));
            users.map(|chair| chair.timing.jitter_ms()).max()
        };
        let settings = &self.settings;
        let look = |(index, pool): (usize, &mut Pool)| {
            pool.refresh(now);
            pool.figures(now, jitter_ms(index).unwrap_or_default(), settings)
        };
        self.pools.iter_mut().enumerate().map(look).collect()
    }

    /// Requests in line.
    pub fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// Units of one pool among the draws.
    pub fn units(&self, draws: &Draws, pool: &str) -> u64 {
        let pool = self.named(draws.seat, pool);
        pool.and_then(|pool| draws.of(pool)).unwrap_or_default()
    }

    /// What must be kept over a restart; what is in flight counts as done.
    pub fn snapshot(&mut self, now: Now) -> Vec<PoolCounts> {
        for pool in &mut self.pools {
            pool.refresh(now);
        }
        self.pools
            .iter()
            .filter_map(|pool| pool.counts(now))
            .collect()
    }

    /// Takes over an earlier run's counts, before the first permit. Pools that are no more are left out.
    pub fn restore(&mut self, now: Now, counts: &[PoolCounts]) {
        for kept in counts {
            if let Some(pool) = self.pools.iter_mut().find(|pool| *pool.name == *kept.pool) {
                pool.restore(now, kept);
            }
        }
    }
}

fn check_names(
    manifest: &Manifest,
    overrides: &BTreeMap<String, PoolOverride>,
) -> Result<(), PoolError> {
    let pools = &manifest.pools;
    for (index, written) in pools.iter().enumerate() {
        if pools[..index].iter().any(|pool| pool.name == written.name) {
            return Err(PoolError::Twice(written.name.clone()));
        }
    }
    let named = overrides
        .keys()
        .chain(manifest.readings.iter().map(|reading| &reading.pool))
        .chain(manifest.throttles.iter().map(|throttle| &throttle.pool));
    for name in named {
        if !pools.iter().any(|pool| pool.name == *name) {
            return Err(PoolError::Unknown(name.clone()));
        }
    }
    Ok(())
}
