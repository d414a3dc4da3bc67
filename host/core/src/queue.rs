//! Which records wait, in what order, and which are worked on.
//!
//! One [`Queue`] per sync, in memory; what waits stands in the store, and the queue is rebuilt from
//! there. At most one round works on a record (invariant 5), and every queue has a bound (invariant 8).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::pace::Lane;
use crate::record::{LinkId, Sides};
use crate::sync::Side;

const LANES: [Lane; 3] = [Lane::Critical, Lane::Normal, Lane::Backfill];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Waiting {
        source: Side,
        lane: Lane,
    },
    /// Its lane once it is ready again.
    Later {
        lane: Lane,
    },
    /// A round has it; `again` when it changed meanwhile.
    InFlight {
        again: bool,
    },
    /// The delete brake is on.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    since_ms: u64,
    link: LinkId,
}

/// Records ready for a round, by the side that their change comes from.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    bound: usize,
    slots: HashMap<LinkId, Slot>,
    ready: Sides<[VecDeque<Waiting>; 3]>,
    /// When, who, and whether from the right.
    later: BinaryHeap<Reverse<(u64, LinkId, bool)>>,
    held: Vec<(LinkId, Side, Lane)>,
    in_flight: usize,
}

/// What stands in a queue, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub waiting: usize,
    pub in_flight: usize,
    /// Waiting out a backoff or a vendor's pause.
    pub later: usize,
    pub held: usize,
}

impl Queue {
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            ..Self::default()
        }
    }

    pub fn depth(&self) -> Depth {
        let waiting = self
            .slots
            .values()
            .filter(|slot| matches!(slot, Slot::Waiting { .. }))
            .count();
        let later = self
            .slots
            .values()
            .filter(|slot| matches!(slot, Slot::Later { .. }))
            .count();
        Depth {
            waiting,
            in_flight: self.in_flight,
            later,
            held: self.held.len(),
        }
    }

    /// Records that may still be captured before the bound is reached.
    pub fn room(&self) -> usize {
        self.bound.saturating_sub(self.slots.len())
    }

    pub fn is_in_flight(&self, link: LinkId) -> bool {
        matches!(self.slots.get(&link), Some(Slot::InFlight { .. }))
    }

    /// A record has something that waits. Known ones keep their place, and move up when more urgent.
    pub fn offer(&mut self, link: LinkId, source: Side, lane: Lane, now_ms: u64) {
        match self.slots.get_mut(&link) {
            Some(Slot::InFlight { again }) => *again = true,
            Some(Slot::Waiting {
                source: known,
                lane: old,
            }) if *known == source && *old <= lane => {}
            Some(Slot::Held) => {}
            // A new change does not shorten a pause that was set for good reason, but may be more urgent after it.
            Some(Slot::Later { lane: later }) => *later = lane.min(*later),
            _ => {
                self.slots.insert(link, Slot::Waiting { source, lane });
                self.ready[source][lane as usize].push_back(Waiting {
                    since_ms: now_ms,
                    link,
                });
            }
        }
    }

    /// A record that a job carries since before this queue was built.
    pub fn resume(&mut self, link: LinkId) {
        if self
            .slots
            .insert(link, Slot::InFlight { again: false })
            .is_none()
        {
            self.in_flight += 1;
        }
    }

    /// Nothing waits for the record any more. True when something did.
    pub fn cancel(&mut self, link: LinkId) -> bool {
        !self.is_in_flight(link) && self.slots.remove(&link).is_some()
    }

    /// How many changes of a side are ready, and since when the oldest waits.
    pub fn ready(&self, source: Side, lane: Lane) -> Option<(usize, u64)> {
        let queue = &self.ready[source][lane as usize];
        Some((queue.len(), queue.front()?.since_ms))
    }

    /// Since when the oldest ready record waits.
    pub fn oldest_ms(&self) -> Option<u64> {
        Side::BOTH
            .into_iter()
            .flat_map(|side| &self.ready[side])
            .filter_map(|lane| lane.front())
            .map(|waiting| waiting.since_ms)
            .min()
    }

    /// The most urgent lane in which a side has something ready.
    pub fn urgent(&self, source: Side) -> Option<Lane> {
        LANES
            .into_iter()
            .find(|lane| !self.ready[source][*lane as usize].is_empty())
    }

    /// Takes up to `most` records of a lane, oldest first, for one round. They are in flight until
    /// [`Queue::finish`].
    pub fn take(&mut self, source: Side, lane: Lane, most: usize) -> Vec<LinkId> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(waiting) = self.ready[source][lane as usize].pop_front() else {
                break;
            };
            let slot = self.slots.get_mut(&waiting.link);
            // What was cancelled, or moved to another lane, leaves its old place behind.
            if let Some(slot @ Slot::Waiting { .. }) = slot
                && *slot == (Slot::Waiting { source, lane })
            {
                *slot = Slot::InFlight { again: false };
                self.in_flight += 1;
                taken.push(waiting.link);
            }
        }
        taken
    }

    fn land(&mut self, link: LinkId) -> bool {
        match self.slots.remove(&link) {
            Some(Slot::InFlight { again }) => {
                self.in_flight -= 1;
                again
            }
            Some(other) => {
                self.slots.insert(link, other);
                false
            }
            None => false,
        }
    }

    /// A round is done with a record, and something still waits when `left` says from which side.
    pub fn finish(&mut self, link: LinkId, left: Option<(Side, Lane)>, now_ms: u64) {
        self.land(link);
        if let Some((source, lane)) = left {
            self.offer(link, source, lane, now_ms);
        }
    }

    /// A round is done with a record, which must not be tried before `due_ms`.
    pub fn postpone(&mut self, link: LinkId, source: Side, lane: Lane, due_ms: u64) {
        self.land(link);
        self.slots.insert(link, Slot::Later { lane });
        self.later
            .push(Reverse((due_ms, link, source == Side::Right)));
    }

    /// The delete brake holds a record back.
    pub fn hold(&mut self, link: LinkId, source: Side, lane: Lane) {
        self.land(link);
        self.slots.insert(link, Slot::Held);
        self.held.push((link, source, lane));
    }

    pub fn release_held(&mut self, now_ms: u64) {
        for (link, source, lane) in std::mem::take(&mut self.held) {
            if self.slots.get(&link) == Some(&Slot::Held) {
                self.slots.remove(&link);
                self.offer(link, source, lane, now_ms);
            }
        }
    }

    /// Makes ready what has waited long enough.
    pub fn wake(&mut self, now_ms: u64) {
        while let Some(Reverse((due_ms, link, right))) = self.later.peek().copied() {
            if due_ms > now_ms {
                break;
            }
            self.later.pop();
            if let Some(Slot::Later { lane }) = self.slots.get(&link).copied() {
                self.slots.remove(&link);
                let source = if right { Side::Right } else { Side::Left };
                self.offer(link, source, lane, now_ms);
            }
        }
    }

    /// Ends every pause, for a person who has removed its cause. Returns how many there were.
    pub fn wake_all(&mut self, now_ms: u64) -> usize {
        let before = self.depth().later;
        self.later = std::mem::take(&mut self.later)
            .into_iter()
            .map(|Reverse((_, link, right))| Reverse((now_ms, link, right)))
            .collect();
        self.wake(now_ms);
        before
    }

    /// When [`Queue::wake`] next has something to do.
    pub fn due_ms(&self) -> Option<u64> {
        self.later.peek().map(|Reverse((due_ms, ..))| *due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_per_record_and_no_change_forgotten() {
        let mut queue = Queue::new(10);
        let link = LinkId(1);
        queue.offer(link, Side::Left, Lane::Normal, 0);
        queue.offer(link, Side::Left, Lane::Normal, 1);
        assert_eq!(queue.take(Side::Left, Lane::Normal, 10), [link]);
        assert_eq!(
            queue.take(Side::Left, Lane::Normal, 10),
            [],
            "in flight (invariant 5)"
        );
        queue.offer(link, Side::Left, Lane::Normal, 2);
        assert_eq!(queue.take(Side::Left, Lane::Normal, 10), []);
        queue.finish(link, Some((Side::Left, Lane::Normal)), 3);
        assert_eq!(queue.take(Side::Left, Lane::Normal, 10), [link]);
        queue.finish(link, None, 4);
        assert_eq!(queue.depth(), Depth::default());
        assert_eq!(queue.room(), 10);
    }

    #[test]
    fn more_urgent_work_moves_up_and_leaves_no_ghost() {
        let mut queue = Queue::new(10);
        queue.offer(LinkId(1), Side::Left, Lane::Backfill, 0);
        queue.offer(LinkId(1), Side::Left, Lane::Critical, 0);
        assert_eq!(queue.urgent(Side::Left), Some(Lane::Critical));
        assert_eq!(queue.take(Side::Left, Lane::Critical, 9), [LinkId(1)]);
        assert_eq!(queue.take(Side::Left, Lane::Backfill, 9), []);
    }

    #[test]
    fn pauses_are_kept_and_end() {
        let mut queue = Queue::new(10);
        queue.offer(LinkId(1), Side::Right, Lane::Normal, 0);
        queue.take(Side::Right, Lane::Normal, 1);
        queue.postpone(LinkId(1), Side::Right, Lane::Normal, 100);
        queue.offer(LinkId(1), Side::Right, Lane::Normal, 5);
        assert_eq!(queue.take(Side::Right, Lane::Normal, 1), []);
        assert_eq!(queue.due_ms(), Some(100));
        queue.wake(99);
        assert_eq!(queue.depth().later, 1);
        queue.wake(100);
        assert_eq!(queue.take(Side::Right, Lane::Normal, 1), [LinkId(1)]);
        queue.postpone(LinkId(1), Side::Right, Lane::Normal, 1_000);
        assert_eq!(queue.wake_all(101), 1);
        assert_eq!(queue.take(Side::Right, Lane::Normal, 1), [LinkId(1)]);
        assert_eq!(queue.due_ms(), None);
    }

    #[test]
    fn what_became_urgent_during_a_pause_is_urgent_after_it() {
        let mut queue = Queue::new(10);
        queue.offer(LinkId(1), Side::Left, Lane::Backfill, 0);
        queue.take(Side::Left, Lane::Backfill, 1);
        queue.postpone(LinkId(1), Side::Left, Lane::Backfill, 100);
        queue.offer(LinkId(1), Side::Left, Lane::Critical, 5);
        queue.wake(100);
        assert_eq!(queue.take(Side::Left, Lane::Critical, 1), [LinkId(1)]);
    }

    #[test]
    fn held_deletes_wait_for_a_person() {
        let mut queue = Queue::new(10);
        queue.offer(LinkId(1), Side::Left, Lane::Normal, 0);
        queue.take(Side::Left, Lane::Normal, 1);
        queue.hold(LinkId(1), Side::Left, Lane::Normal);
        queue.offer(LinkId(1), Side::Left, Lane::Normal, 1);
        assert_eq!(queue.take(Side::Left, Lane::Normal, 1), []);
        queue.release_held(2);
        assert_eq!(queue.take(Side::Left, Lane::Normal, 1), [LinkId(1)]);
    }
}
