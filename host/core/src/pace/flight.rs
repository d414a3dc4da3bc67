//! Requests that have left and have no answer yet.

use std::collections::{BTreeMap, VecDeque};

use super::timing::Expected;

/// A kind that was never long counts as long all the same once it has lasted this part of what makes it so.
const EARLY: u64 = 4;

/// A request that drew on the pool and has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) units: u64,
    pub(super) since_ms: u64,
    /// Milliseconds that answered requests had ever lasted when it left.
    pub(super) lasted_before_ms: u64,
    pub(super) expected: Expected,
    /// Taken for one of those that count.
    pub(super) long: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Flights {
    /// From when on a request counts; 0 where all do.
    after_ms: u64,
    by_permit: BTreeMap<u64, Flight>,
    units: u64,
    long_units: u64,
    newest_ms: u64,
    /// Those taken for short, oldest first.
    short: VecDeque<(u64, u64)>,
}

impl Flights {
    pub(super) fn new(after_ms: u64) -> Self {
        Self {
            after_ms,
            by_permit: BTreeMap::new(),
            units: 0,
            long_units: 0,
            newest_ms: 0,
            short: VecDeque::new(),
        }
    }

    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// Of requests that count or may come to count.
    pub(super) fn long_units(&self) -> u64 {
        self.long_units
    }

    /// When the latest one left, if any is out.
    pub(super) fn newest_ms(&self) -> Option<u64> {
        (self.units > 0).then_some(self.newest_ms)
    }

    pub(super) fn refresh(&mut self, now_ms: u64) {
        while let Some((since_ms, permit)) = self.short.front().copied()
            && now_ms.saturating_sub(since_ms) >= self.after_ms / EARLY
        {
            self.short.pop_front();
            if let Some(flight) = self.by_permit.get_mut(&permit) {
                flight.long = true;
                self.long_units += flight.units;
            }
        }
    }

    pub(super) fn insert(&mut self, permit: u64, flight: Flight) {
        self.units += flight.units;
        self.newest_ms = flight.since_ms;
        if flight.long {
            self.long_units += flight.units;
        } else {
            self.short.push_back((flight.since_ms, permit));
        }
        self.by_permit.insert(permit, flight);
    }

    pub(super) fn remove(&mut self, permit: u64) -> Option<Flight> {
        let flight = self.by_permit.remove(&permit)?;
        self.units -= flight.units;
        if flight.long {
            self.long_units -= flight.units;
        } else if let Some((_, first)) = self.short.front()
            && *first == permit
        {
            self.short.pop_front();
        }
        // Those that came back early are skipped in their turn, unless they pile up.
        if self.short.len() > 2 * self.by_permit.len() + 64 {
            let flying = &self.by_permit;
            self.short.retain(|(_, permit)| flying.contains_key(permit));
        }
        Some(flight)
    }

    /// Milliseconds that they will have lasted in all, as far as can be foreseen; and one more, if there is one. Chances even
    /// out: many together spare less than each of them by itself.
    pub(super) fn lasting_ms(&self, now_ms: u64, more: Option<Expected>) -> u64 {
        let (mut all_ms, mut squares) = (0, 0.0);
        let mut add = |so_far_ms: u64, expected: Expected| {
            let likely_ms = expected.mean_ms + expected.spare_ms;
            let base_ms = so_far_ms.max(expected.mean_ms);
            all_ms += base_ms;
            squares += (likely_ms.saturating_sub(base_ms) as f64).powi(2);
        };
        for flight in self.by_permit.values() {
            add(now_ms.saturating_sub(flight.since_ms), flight.expected);
        }
        if let Some(expected) = more {
            add(0, expected);
        }
        all_ms + squares.sqrt().ceil() as u64
    }
}
