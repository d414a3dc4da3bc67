//! Who waits, and in which order.
//!
//! Requests of one lane that draw on the same pools stand in one queue, ordered by their syncs' turns. Only the
//! head of a queue can go, so only heads are looked at, and a head that is short of a pool stands in that
//! pool's line until something changes there: no decision looks at all that wait.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use super::cost::Draws;
use super::pacer::{Seat, Ticket};
use super::tickets::Tickets;
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
    pub(super) fn is_below(&self, lane: Lane) -> bool {
        self.band > lane as u8 + 1
    }

    pub(super) fn is_of(&self, lane: Lane) -> bool {
        self.band == lane as u8 + 1
    }
}

/// Heads that wait for a pool, first come first. They are few, so that a list is quicker than a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    ranks: Vec<Rank>,
}

impl Line {
    pub(super) fn first(&self) -> Option<&Rank> {
        self.ranks.first()
    }

    pub(super) fn last(&self) -> Option<&Rank> {
        self.ranks.last()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    pub(super) fn insert(&mut self, rank: Rank) {
        if let Err(place) = self.ranks.binary_search(&rank) {
            self.ranks.insert(place, rank);
        }
    }

    pub(super) fn remove(&mut self, rank: &Rank) {
        if let Ok(place) = self.ranks.binary_search(rank) {
            self.ranks.remove(place);
        }
    }

    /// The first of a lane.
    pub(super) fn first_of(&self, lane: Lane) -> Option<&Rank> {
        self.ranks.iter().find(|rank| rank.is_of(lane))
    }
}

/// A request from its asking until it is settled.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) draws: Draws,
    /// When it got in line, or left.
    pub(super) since_ms: u64,
    tag: u64,
    queue: usize,
    left: bool,
}

/// Requests of one lane that draw on the same pools.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) lane: Lane,
    /// By tag and ticket.
    items: BTreeSet<(u64, u64)>,
    /// Pools in whose lines the head stands.
    pub(super) stands: Vec<(usize, Rank)>,
    /// Pools in which the head has its turn because it has waited long.
    pub(super) aged: Vec<usize>,
    /// What the head waits for, since it was last looked at.
    pub(super) wait: Option<Wait>,
}

impl Queue {
    /// The head's.
    pub(super) fn tag(&self) -> Option<u64> {
        self.items.first().map(|(tag, _)| *tag)
    }
}

/// Everybody who waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    pub(super) queues: Vec<Queue>,
    by_pools: HashMap<Vec<usize>, [Option<usize>; 3]>,
    /// Those that wait, and those that have left.
    requests: Tickets<Request>,
    waiting: usize,
    /// Heads that nobody has looked at yet.
    fresh: BinaryHeap<Reverse<Rank>>,
    pub(super) turns: Turns,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Gets in line. Returns the ticket, and the queue if its head is another one now.
    pub(super) fn join(
        &mut self,
        now_ms: u64,
        lane: Lane,
        tag: u64,
        draws: Draws,
    ) -> (u64, Option<usize>) {
        let queue = self.queue_of(lane, &draws);
        let ticket = self.requests.issue(Request {
            draws,
            since_ms: now_ms,
            tag,
            queue,
            left: false,
        });
        self.waiting += 1;
        let line = &mut self.queues[queue];
        line.items.insert((tag, ticket));
        let first = line.items.first() == Some(&(tag, ticket));
        (ticket, first.then_some(queue))
    }

    fn queue_of(&mut self, lane: Lane, draws: &Draws) -> usize {
        let pools: Vec<usize> = draws.units.iter().map(|(pool, _)| *pool).collect();
        let slot = &mut self.by_pools.entry(pools).or_default()[lane as usize];
        *slot.get_or_insert_with(|| {
            self.queues.push(Queue {
                lane,
                items: BTreeSet::new(),
                stands: Vec::new(),
                aged: Vec::new(),
                wait: None,
            });
            self.queues.len() - 1
        })
    }

    fn waits(&self, ticket: u64) -> Option<&Request> {
        self.requests.get(ticket).filter(|request| !request.left)
    }

    fn is_head(&self, ticket: u64, request: &Request) -> bool {
        let items = &self.queues[request.queue].items;
        items.first() == Some(&(request.tag, ticket))
    }

    /// The head of a queue, and its ticket.
    pub(super) fn head(&self, queue: usize) -> Option<(u64, &Request)> {
        let (_, ticket) = self.queues[queue].items.first()?;
        Some((*ticket, self.requests.get(*ticket)?))
    }

    /// The head of a queue leaves; it is settled by its ticket.
    pub(super) fn let_go(&mut self, now_ms: u64, queue: usize) -> Option<u64> {
        let (_, ticket) = self.queues[queue].items.pop_first()?;
        let request = self.requests.get_mut(ticket)?;
        request.left = true;
        request.since_ms = now_ms;
        self.waiting -= 1;
        Some(ticket)
    }

    /// Of one that has left.
    pub(super) fn gone(&self, ticket: u64) -> Option<&Request> {
        self.requests.get(ticket).filter(|request| request.left)
    }

    pub(super) fn settle(&mut self, ticket: u64) -> Option<Request> {
        self.gone(ticket)?;
        self.requests.take(ticket)
    }

    /// Takes somebody out. Returns the queue if it was its head.
    pub(super) fn take(&mut self, ticket: u64) -> Option<(Request, Option<usize>)> {
        let head = self.is_head(ticket, self.waits(ticket)?);
        let request = self.requests.take(ticket)?;
        self.waiting -= 1;
        self.queues[request.queue]
            .items
            .remove(&(request.tag, ticket));
        let queue = head.then_some(request.queue);
        Some((request, queue))
    }

    /// Everybody who waits for a seat, in the order of asking.
    pub(super) fn of_seat(&self, seat: Seat) -> Vec<Ticket> {
        let requests = self.requests.iter();
        let theirs = requests.filter(|(_, request)| !request.left && request.draws.seat == seat);
        let mut theirs: Vec<Ticket> = theirs.map(|(ticket, _)| Ticket(ticket)).collect();
        theirs.sort_unstable();
        theirs
    }

    /// Has the queue's head looked at.
    pub(super) fn refresh(&mut self, queue: usize) {
        if let Some(rank) = self.rank(queue, false) {
            self.fresh.push(Reverse(rank));
        }
    }

    /// The next head to look at, the most urgent first. Ranks of heads that are no more are passed over.
    pub(super) fn next_fresh(&mut self) -> Option<usize> {
        loop {
            let Reverse(rank) = self.fresh.pop()?;
            if self.rank(rank.queue, false) == Some(rank) {
                return Some(rank.queue);
            }
        }
    }

    fn rank(&self, queue: usize, aged: bool) -> Option<Rank> {
        let line = &self.queues[queue];
        let (tag, ticket) = *line.items.first()?;
        Some(Rank {
            band: if aged { AGED } else { line.lane as u8 + 1 },
            tag,
            ticket,
            queue,
        })
    }

    /// The head's place in a pool's line.
    pub(super) fn rank_in(&self, queue: usize, pool: usize) -> Option<Rank> {
        self.rank(queue, self.queues[queue].aged.contains(&pool))
    }

    /// Where the head of somebody's queue stands in line.
    pub(super) fn stands(&self, ticket: u64) -> &[(usize, Rank)] {
        let request = self.waits(ticket);
        request.map_or(&[], |request| &self.queues[request.queue].stands)
    }

    /// Why somebody waits, as known since the last look; who stands behind a head waits for its pool.
    pub(super) fn wait(&self, ticket: u64) -> Option<Wait> {
        let request = self.waits(ticket)?;
        let wait = self.queues[request.queue].wait.as_ref()?;
        if self.is_head(ticket, request) {
            return Some(wait.clone());
        }
        let pool: Arc<str> = wait.reason.what().clone();
        Some(Wait {
            reason: Reason::Queued { pool },
            at_ms: wait.at_ms,
        })
    }
}
