//! Who waits, and in which order.
//!
//! Requests of one lane that draw on the same pools stand in one queue, ordered by their syncs' turns. Only the
//! head of a queue can go, so only heads are looked at, and a head that is short of a pool stands in that
//! pool's line until something changes there: no decision looks at all that wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::cost::Draws;
use super::pacer::{Seat, Ticket};
use super::turns::Turns;
use super::{Lane, Reason, Wait};

/// Who has waited long enough goes before everybody else, once.
const AGED: u8 = 0;

/// A head's place in a pool's line: first come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    band: u8,
    tag: u64,
    ticket: u64,
    pub(super) queue: usize,
}

impl Rank {
    /// Before all of a lane.
    pub(super) fn first_of(lane: Lane) -> Self {
        Self {
            band: lane as u8 + 1,
            tag: 0,
            ticket: 0,
            queue: 0,
        }
    }

    pub(super) fn is_below(&self, lane: Lane) -> bool {
        self.band > lane as u8 + 1
    }

    pub(super) fn is_of(&self, lane: Lane) -> bool {
        self.band == lane as u8 + 1
    }
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) draws: Draws,
    pub(super) since_ms: u64,
    pub(super) tag: u64,
}

/// Requests of one lane that draw on the same pools.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) lane: Lane,
    items: BTreeMap<(u64, u64), Waiting>,
    /// Pools in whose lines the head stands.
    pub(super) stands: Vec<(usize, Rank)>,
    /// Pools in which the head has its turn because it has waited long.
    pub(super) aged: Vec<usize>,
    /// What the head waits for, since it was last looked at.
    pub(super) wait: Option<Wait>,
}

impl Queue {
    pub(super) fn head(&self) -> Option<&Waiting> {
        self.items.first_key_value().map(|(_, waiting)| waiting)
    }

    fn key(&self) -> Option<(u64, u64)> {
        self.items.first_key_value().map(|(key, _)| *key)
    }
}

/// Everybody who waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    pub(super) queues: Vec<Queue>,
    by_pools: HashMap<Vec<usize>, [Option<usize>; 3]>,
    /// By ticket, queue and tag.
    places: HashMap<u64, (usize, u64)>,
    /// Heads that nobody has looked at yet.
    fresh: BTreeSet<Rank>,
    pub(super) turns: Turns,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Gets in line. Returns the queue if its head is another one now.
    pub(super) fn join(&mut self, lane: Lane, waiting: Waiting) -> Option<usize> {
        let pools = waiting.draws.units.iter().map(|(pool, _)| *pool).collect();
        let slot = &mut self.by_pools.entry(pools).or_default()[lane as usize];
        let queue = *slot.get_or_insert_with(|| {
            self.queues.push(Queue {
                lane,
                items: BTreeMap::new(),
                stands: Vec::new(),
                aged: Vec::new(),
                wait: None,
            });
            self.queues.len() - 1
        });
        let key = (waiting.tag, waiting.ticket);
        self.places.insert(waiting.ticket, (queue, waiting.tag));
        let line = &mut self.queues[queue];
        line.items.insert(key, waiting);
        (line.key() == Some(key)).then_some(queue)
    }

    /// Takes somebody out. Returns the queue, and whether it was its head.
    pub(super) fn take(&mut self, ticket: u64) -> Option<(Waiting, usize, bool)> {
        let (queue, tag) = self.places.remove(&ticket)?;
        let line = &mut self.queues[queue];
        let was_head = line.key() == Some((tag, ticket));
        let waiting = line.items.remove(&(tag, ticket))?;
        Some((waiting, queue, was_head))
    }

    /// Everybody who waits for a seat.
    pub(super) fn of_seat(&self, seat: Seat) -> Vec<Ticket> {
        let waiting = self.queues.iter().flat_map(|queue| queue.items.values());
        let theirs = waiting.filter(|waiting| waiting.draws.seat == seat);
        theirs.map(|waiting| Ticket(waiting.ticket)).collect()
    }

    /// Has the queue's head looked at.
    pub(super) fn refresh(&mut self, queue: usize) {
        if let Some(rank) = self.rank(queue, false) {
            self.fresh.insert(rank);
        }
    }

    /// The next head to look at, the most urgent first. Ranks of heads that are no more are passed over.
    pub(super) fn next_fresh(&mut self) -> Option<usize> {
        loop {
            let rank = self.fresh.pop_first()?;
            if self.rank(rank.queue, false) == Some(rank) {
                return Some(rank.queue);
            }
        }
    }

    fn rank(&self, queue: usize, aged: bool) -> Option<Rank> {
        let line = &self.queues[queue];
        let head = line.head()?;
        Some(Rank {
            band: if aged { AGED } else { line.lane as u8 + 1 },
            tag: head.tag,
            ticket: head.ticket,
            queue,
        })
    }

    /// The head's place in a pool's line.
    pub(super) fn rank_in(&self, queue: usize, pool: usize) -> Option<Rank> {
        self.rank(queue, self.queues[queue].aged.contains(&pool))
    }

    /// Where the head of somebody's queue stands in line.
    pub(super) fn stands(&self, ticket: u64) -> &[(usize, Rank)] {
        let place = self.places.get(&ticket);
        place.map_or(&[], |(queue, _)| &self.queues[*queue].stands)
    }

    /// Why somebody waits, as known since the last look; who stands behind a head waits for its pool.
    pub(super) fn wait(&self, ticket: u64) -> Option<Wait> {
        let (queue, tag) = self.places.get(&ticket)?;
        let line = &self.queues[*queue];
        let wait = line.wait.as_ref()?;
        if line.key() == Some((*tag, ticket)) {
            return Some(wait.clone());
        }
        let pool: Arc<str> = wait.reason.what().clone();
        Some(Wait {
            reason: Reason::Queued { pool },
            at_ms: wait.at_ms,
        })
    }
}
