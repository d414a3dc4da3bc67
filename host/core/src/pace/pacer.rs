//! All pools, and who waits for them.
//!
//! Requests stand in line by lane, in a lane the syncs take turns. One that can't go holds back those behind
//! it that want the same pool, so that large requests are not overtaken for ever; in pools with short windows
//! one that has waited long gets a turn among the more urgent ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use super::cost::Draws;
use super::count::PoolFigures;
use super::identity::{Identity, PoolKey};
use super::line::{Lines, Rank};
use super::pool::{Candidate, Pool};
use super::stand::Short;
use super::timing::Timing;
use super::turns::WHOLE;
use super::{Impossible, Lane, PoolError, PoolOverride, Reason, Settings, Wait};
use crate::manifest::Manifest;
use crate::time::Now;

/// An endpoint's, or one of its credentials', place at the pacer: its own pools and those that it shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat(pub(super) u32);

/// Names a request from its asking until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

#[derive(Debug)]
pub(super) struct Chair {
    /// In the manifest's order.
    pub(super) pools: Vec<usize>,
    pub(super) timing: Timing,
}

/// Hands out permits.
#[derive(Debug)]
pub struct Pacer {
    pub(super) settings: Settings,
    pub(super) pools: Vec<Pool>,
    pub(super) by_key: HashMap<PoolKey, usize>,
    pub(super) chairs: Vec<Chair>,
    pub(super) lines: Lines,
    /// A list that is not used, so that none is made for each look.
    pub(super) spare: Vec<(usize, Rank)>,
    /// Pools in which something has changed since their line was looked at.
    pub(super) stirred: Vec<usize>,
    /// Pools by the moment at which their line is to be looked at.
    pub(super) due: BinaryHeap<Reverse<(u64, usize)>>,
    /// Heads of queues looked at so far.
    looks: u64,
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
            spare: Vec::new(),
            stirred: Vec::new(),
            due: BinaryHeap::new(),
            looks: 0,
        }
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
            pool.queued += units;
        }
        let tag = self.lines.turns.tag(lane, sync, cost);
        let (ticket, queue) = self.lines.join(now.mono_ms, lane, tag, draws);
        if let Some(queue) = queue {
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
        self.looks += 1;
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
        let (_, head) = self.lines.head(queue)?;
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
            if let Some(book) = &mut pool.book {
                book.miss(*units);
            }
            let (wait, again_ms) = if held {
                let reason = Reason::Queued {
                    pool: pool.name.clone(),
                };
                let at_ms = pool.wake_ms.min(now.mono_ms + 60_000).max(now.mono_ms + 1);
                (Wait { reason, at_ms }, None)
            } else {
                let room = pool.check(now, &candidate, &self.settings);
                match room.and_then(|()| pool.check_book(now, &candidate)) {
                    Ok(()) => continue,
                    Err(wait) => {
                        let at_ms = wait.at_ms;
                        (wait, Some(at_ms))
                    }
                }
            };
            match &mut short {
                None => {
                    let pools = vec![(*index, again_ms)];
                    short = Some(Short { pools, wait });
                }
                Some(known) => {
                    known.pools.push((*index, again_ms));
                    if known.wait.at_ms < wait.at_ms {
                        known.wait = wait;
                    }
                }
            }
        }
        Some(short.map_or(Ok(()), Err))
    }

    fn permit(&mut self, now: Now, queue: usize) -> Option<Ticket> {
        let lane = self.lines.queues[queue].lane;
        self.withdraw(queue);
        let tag = self.lines.queues[queue].tag()?;
        let ticket = self.lines.let_go(now.mono_ms, queue)?;
        let draws = &self.lines.gone(ticket)?.draws;
        let chair = self.chairs.get(draws.seat.0 as usize)?;
        let expected = chair.timing.expected(draws.kind);
        for (pool, units) in &draws.units {
            let candidate = Candidate {
                lane,
                units: *units,
                expected,
            };
            let pool = &mut self.pools[*pool];
            pool.queued -= units;
            pool.reserve_for(now, ticket, &candidate);
        }
        let aged = std::mem::take(&mut self.lines.queues[queue].aged);
        let places = self.lines.gone(ticket)?.draws.units.len();
        for place in 0..places {
            let (pool, _) = self.lines.gone(ticket)?.draws.units[place];
            if !aged.contains(&pool) {
                self.pass(now, pool, lane);
            }
        }
        self.lines.turns.served(lane, tag);
        self.lines.refresh(queue);
        Some(Ticket(ticket))
    }

    /// Why a request in line has not been given its permit at the last `grant`.
    pub fn wait(&self, ticket: Ticket) -> Option<Wait> {
        let wait = self.lines.wait(ticket.0)?;
        let Reason::Queued { pool } = &wait.reason else {
            return Some(wait);
        };
        // Who comes first there may have been looked at later, and knows the time.
        let stands = self.lines.stands(ticket.0).iter();
        let wakes = stands.map(|(pool, _)| &self.pools[*pool]);
        let known = wakes
            .filter(|stood| stood.name == *pool && stood.wake_ms < u64::MAX)
            .map(|stood| stood.wake_ms);
        let at_ms = known.max().unwrap_or(wait.at_ms);
        Some(Wait { at_ms, ..wait })
    }

    /// Leaves the line.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Some((request, queue)) = self.lines.take(ticket.0) {
            for (pool, units) in &request.draws.units {
                self.pools[*pool].queued -= units;
            }
            if let Some(queue) = queue {
                self.renew(queue);
            }
        }
    }

    pub fn figures(&mut self, now: Now) -> Vec<PoolFigures> {
        let pools = 0..self.pools.len();
        pools.map(|pool| self.look(now, pool)).collect()
    }

    /// Of the pools that a seat draws on, its own and shared ones.
    pub fn figures_of(&mut self, now: Now, seat: Seat) -> Vec<PoolFigures> {
        let pools = self.chair(seat).to_vec();
        pools.iter().map(|pool| self.look(now, *pool)).collect()
    }

    fn look(&mut self, now: Now, index: usize) -> PoolFigures {
        let users = self.chairs.iter();
        let users = users.filter(|chair| chair.pools.contains(&index));
        let jitter_ms = users.map(|chair| chair.timing.jitter_ms()).max();
        let pool = &mut self.pools[index];
        pool.refresh(now);
        pool.figures(now, jitter_ms.unwrap_or_default(), &self.settings)
    }

    /// Heads of queues looked at so far: what its decisions cost, on whatever machine.
    pub fn looks(&self) -> u64 {
        self.looks
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

    /// Takes everybody out of the line who waits for this seat.
    pub(super) fn evict(&mut self, seat: Seat) -> Vec<Ticket> {
        let evicted = self.lines.of_seat(seat);
        for ticket in &evicted {
            self.leave(*ticket);
        }
        evicted
    }
}
