//! All pools of an endpoint, and who waits for them.
//!
//! Requests stand in line by lane, in a lane the syncs take turns. One that can't go
//! holds back those behind it that want the same pool, so that large requests are not overtaken for ever;
//! one that has waited long counts as one lane more urgent in pools with short windows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::pool::{Pool, PoolCounts, PoolFigures, Throttled};
use super::report::Report;
use super::{Lane, PoolError, PoolOverride, Reason, Wait};
use crate::manifest::Manifest;
use crate::plugin::HttpMethod;
use crate::time::Now;

/// How lanes share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Thousandths of a pool that the normal lane leaves for the critical one.
    pub normal_leaves_permille: u32,
    /// Thousandths of a pool that backfill leaves for the others.
    pub backfill_leaves_permille: u32,
    /// Waiting so long counts as one lane more urgent.
    pub promote_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            normal_leaves_permille: 50,
            backfill_leaves_permille: 200,
            promote_after_ms: 3_000,
        }
    }
}

/// What pools look at in a request.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// `None` for what is not HTTP.
    pub method: Option<HttpMethod>,
    pub path: &'a str,
    pub rows: u32,
}

/// Units by pool that one request draws, all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draws(BTreeMap<usize, u64>);

impl Draws {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names a request from its asking until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// How a request with a permit ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With an answer, and what it says of pools.
    Answered(Vec<Report>),
    /// The vendor says that a pool is spent.
    Throttled(Throttled),
    /// Nothing reached the vendor: the units are free again.
    Unsent,
    /// It left, and nothing was heard.
    Lost,
}

/// A request names a pool that the manifest does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no pool called {0}")]
pub struct UnknownPool(pub String);

/// A request that could never pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request draws {units} units of pool {pool}, of which its lane may use {most}")]
pub struct Impossible {
    pub pool: Arc<str>,
    pub units: u64,
    pub most: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    ticket: u64,
    lane: Lane,
    draws: Draws,
    since_ms: u64,
    /// Its sync's turn: those with lower tags go first.
    tag: u64,
    wait: Option<Wait>,
}

/// A pool that somebody further ahead waits for.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// This lane and those below it stand behind.
    lane: Lane,
    at_ms: u64,
}

/// Hands out permits.
#[derive(Clone, Debug)]
pub struct Pacer {
    pools: Vec<Pool>,
    settings: Settings,
    waiting: Vec<Waiting>,
    permits: HashMap<u64, Draws>,
    /// By sync, the tag of its newest request; and the tag that was served last.
    tags: HashMap<Arc<str>, u64>,
    turn: u64,
    next: u64,
}

impl Pacer {
    /// Pools as the manifest has them, changed by what the operator knows better.
    pub fn new(
        manifest: &Manifest,
        overrides: &BTreeMap<String, PoolOverride>,
        settings: Settings,
    ) -> Result<Self, PoolError> {
        let mut pools: Vec<Pool> = Vec::with_capacity(manifest.pools.len());
        for written in &manifest.pools {
            if pools.iter().any(|pool| *pool.name == *written.name) {
                return Err(PoolError::Twice(written.name.clone()));
            }
            pools.push(Pool::new(written, overrides.get(&written.name))?);
        }
        let known = |name: &str| pools.iter().any(|pool| *pool.name == *name);
        let named = overrides
            .keys()
            .chain(manifest.readings.iter().map(|reading| &reading.pool))
            .chain(manifest.throttles.iter().map(|throttle| &throttle.pool));
        for name in named {
            if !known(name) {
                return Err(PoolError::Unknown(name.clone()));
            }
        }
        Ok(Self {
            pools,
            settings,
            waiting: Vec::new(),
            permits: HashMap::new(),
            tags: HashMap::new(),
            turn: 0,
            next: 0,
        })
    }

    /// What a request draws. Costs that it names itself can raise the manifest's, never lower them.
    pub fn draws(&self, shape: &Shape<'_>, named: &[(String, u32)]) -> Result<Draws, UnknownPool> {
        let mut draws: BTreeMap<usize, u64> = self
            .pools
            .iter()
            .enumerate()
            .map(|(index, pool)| (index, pool.draw(shape)))
            .collect();
        for (name, units) in named {
            let index = self
                .pools
                .iter()
                .position(|pool| *pool.name == **name)
                .ok_or_else(|| UnknownPool(name.clone()))?;
            let units = u64::from(*units);
            draws
                .entry(index)
                .and_modify(|drawn| *drawn = units.max(*drawn));
        }
        draws.retain(|_, units| *units > 0);
        Ok(Draws(draws))
    }

    /// Gets in line. Fails at once when waiting could not help.
    pub fn ask(
        &mut self,
        now: Now,
        lane: Lane,
        sync: &Arc<str>,
        draws: Draws,
    ) -> Result<Ticket, Impossible> {
        for (index, units) in &draws.0 {
            let pool = &self.pools[*index];
            let most = pool.most(lane, &self.settings);
            if *units > most {
                return Err(Impossible {
                    pool: pool.name.clone(),
                    units: *units,
                    most,
                });
            }
        }
        self.next += 1;
        // A sync that asks for much gets later and later turns; one that asks again after a while comes in now.
        let turn = self.turn;
        let tag = self.tags.entry(sync.clone()).or_default();
        *tag = (*tag).max(turn) + 1;
        let tag = *tag;
        self.waiting.push(Waiting {
            ticket: self.next,
            lane,
            draws,
            since_ms: now.mono_ms,
            tag,
            wait: None,
        });
        Ok(Ticket(self.next))
    }

    /// Gives permits to all that can go now, in order. The others learn why not, and when to come back.
    pub fn grant(&mut self, now: Now) -> Vec<Ticket> {
        for pool in &mut self.pools {
            pool.refresh(now);
        }
        let mut granted = Vec::new();
        let mut held_back = HashMap::new();
        let mut line = std::mem::take(&mut self.waiting);
        line.sort_by_key(|waiting| (self.promoted(now, waiting), waiting.tag, waiting.ticket));
        for mut next in line {
            match self.check(now, &next, &held_back) {
                Ok(()) => granted.push(self.permit(now, next)),
                Err((short, wait)) => {
                    // Everybody behind waits for the pools that are short; the others are not their fault.
                    for pool in short {
                        let lane = self.lane_in(now, pool, &next);
                        let held = Held {
                            lane,
                            at_ms: wait.at_ms,
                        };
                        let known = held_back.entry(pool).or_insert(held);
                        if lane < known.lane {
                            *known = held;
                        }
                    }
                    next.wait = Some(wait);
                    self.waiting.push(next);
                }
            }
        }
        granted
    }

    fn promoted(&self, now: Now, waiting: &Waiting) -> Lane {
        let old = now.mono_ms.saturating_sub(waiting.since_ms) >= self.settings.promote_after_ms;
        match waiting.lane {
            Lane::Backfill if old => Lane::Normal,
            Lane::Normal if old => Lane::Critical,
            lane => lane,
        }
    }

    fn lane_in(&self, now: Now, pool: usize, waiting: &Waiting) -> Lane {
        if self.pools[pool].promotes() {
            self.promoted(now, waiting)
        } else {
            waiting.lane
        }
    }

    /// Looks at all pools without touching any (invariant 7). Fails with the pools that are short and the
    /// longest wait.
    fn check(
        &self,
        now: Now,
        waiting: &Waiting,
        held_back: &HashMap<usize, Held>,
    ) -> Result<(), (Vec<usize>, Wait)> {
        let mut short = Vec::new();
        let mut longest: Option<Wait> = None;
        for (index, units) in &waiting.draws.0 {
            let lane = self.lane_in(now, *index, waiting);
            let held = held_back.get(index).filter(|held| held.lane <= lane);
            let checked = match held {
                Some(held) => Err(Wait {
                    reason: Reason::Queued {
                        pool: self.pools[*index].name.clone(),
                    },
                    at_ms: held.at_ms,
                }),
                None => self.check_pool(now, waiting, *index, *units),
            };
            let Err(wait) = checked else { continue };
            short.push(*index);
            if longest
                .as_ref()
                .is_none_or(|known| known.at_ms < wait.at_ms)
            {
                longest = Some(wait);
            }
        }
        longest.map_or(Ok(()), |wait| Err((short, wait)))
    }

    fn check_pool(
        &self,
        now: Now,
        waiting: &Waiting,
        index: usize,
        units: u64,
    ) -> Result<(), Wait> {
        let pool = &self.pools[index];
        let lane = self.lane_in(now, index, waiting);
        let promotion_ms = waiting.since_ms + self.settings.promote_after_ms;
        match pool.check(now, lane, units, &self.settings) {
            Err(wait)
                if pool.promotes()
                    && matches!(wait.reason, Reason::Reserve { .. })
                    && promotion_ms > now.mono_ms =>
            {
                Err(Wait {
                    at_ms: wait.at_ms.min(promotion_ms),
                    ..wait
                })
            }
            checked => checked,
        }
    }

    fn permit(&mut self, now: Now, waiting: Waiting) -> Ticket {
        for (index, units) in &waiting.draws.0 {
            self.pools[*index].reserve_for(now, waiting.ticket, *units);
        }
        self.turn = self.turn.max(waiting.tag);
        self.permits.insert(waiting.ticket, waiting.draws);
        Ticket(waiting.ticket)
    }

    /// Why a request in line has not been given its permit at the last `grant`.
    pub fn wait(&self, ticket: Ticket) -> Option<&Wait> {
        let found = self
            .waiting
            .iter()
            .find(|waiting| waiting.ticket == ticket.0);
        found.and_then(|waiting| waiting.wait.as_ref())
    }

    /// Leaves the line.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiting| waiting.ticket != ticket.0);
    }

    /// Ends a permit. Others may be able to go now: call `grant`.
    pub fn settle(&mut self, now: Now, ticket: Ticket, ended: &Ended) {
        let Some(draws) = self.permits.remove(&ticket.0) else {
            return;
        };
        for pool in &mut self.pools {
            pool.refresh(now);
        }
        for (index, pool) in self.pools.iter_mut().enumerate() {
            if draws.0.contains_key(&index) {
                pool.settle(now, ticket.0, ended);
            } else {
                pool.overhear(now, ticket.0, ended);
            }
        }
    }

    /// Whether `calls` ordinary requests of a lane could be granted now. More than a pool can ever give at once
    /// asks for all that it gives.
    pub fn readiness(&mut self, now: Now, lane: Lane, calls: u32) -> Result<(), Wait> {
        let mut latest: Option<Wait> = None;
        let plain = Shape {
            method: None,
            path: "",
            rows: 1,
        };
        for pool in &mut self.pools {
            pool.refresh(now);
            let units = pool.draw(&plain) * u64::from(calls.max(1));
            if units == 0 {
                continue;
            }
            let units = units.min(pool.most(lane, &self.settings));
            if let Err(wait) = pool.check(now, lane, units, &self.settings)
                && latest.as_ref().is_none_or(|known| known.at_ms < wait.at_ms)
            {
                latest = Some(wait);
            }
        }
        latest.map_or(Ok(()), Err)
    }

    pub fn figures(&mut self, now: Now) -> Vec<PoolFigures> {
        let settings = self.settings;
        let look = |pool: &mut Pool| {
            pool.refresh(now);
            pool.figures(now, &settings)
        };
        self.pools.iter_mut().map(look).collect()
    }

    /// Requests in line.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Short rolling pools among a request's, with window and limit, for smoothing their bursts.
    pub fn bursts(&self) -> Vec<(Arc<str>, u64, u64)> {
        let burst = |pool: &Pool| {
            let (window_ms, limit) = pool.burst()?;
            Some((pool.name.clone(), window_ms, limit))
        };
        self.pools.iter().filter_map(burst).collect()
    }

    /// Units of one pool among the draws.
    pub fn units(&self, draws: &Draws, pool: &str) -> u64 {
        let found = self.pools.iter().position(|known| *known.name == *pool);
        found
            .and_then(|index| draws.0.get(&index))
            .copied()
            .unwrap_or_default()
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
