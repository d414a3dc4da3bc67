//! Limits as Salesforce counts them: a truly rolling day of calls, and a cap on long ones in flight.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Only calls that have lasted this long count as long-running.
const LONG_MS: u64 = 20_000;

/// Calls fall out of the window exactly 24 hours after they were made; nothing resets.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: u64,
    overage_percent: u64,
    /// Time in milliseconds and calls counted then, oldest first.
    calls: VecDeque<(u64, u64)>,
    used: u64,
    most: u64,
    refused: u64,
}

impl Ledger {
    pub(crate) fn new(limit: u64, overage_percent: u64) -> Self {
        Self {
            limit,
            overage_percent,
            calls: VecDeque::new(),
            used: 0,
            most: 0,
            refused: 0,
        }
    }

    /// Counts `calls` now, or refuses them all and counts nothing.
    pub(crate) fn take(&mut self, now_ms: u64, calls: u64) -> bool {
        self.forget(now_ms);
        if self.used + calls > self.limit + self.limit * self.overage_percent / 100 {
            self.refused += 1;
            return false;
        }
        self.used += calls;
        self.most = self.most.max(self.used);
        match self.calls.back_mut() {
            Some((at_ms, counted)) if *at_ms == now_ms => *counted += calls,
            _ => self.calls.push_back((now_ms, calls)),
        }
        true
    }

    pub(crate) fn used(&mut self, now_ms: u64) -> u64 {
        self.forget(now_ms);
        self.used
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    fn forget(&mut self, now_ms: u64) {
        while let Some((at_ms, calls)) = self.calls.front().copied() {
            if at_ms + DAY_MS > now_ms {
                return;
            }
            self.used -= calls;
            self.calls.pop_front();
        }
    }

    pub(crate) fn stats(&mut self, now_ms: u64) -> Value {
        self.forget(now_ms);
        json!({
            "limit": self.limit, "used": self.used, "most": self.most, "refused": self.refused,
        })
    }
}

/// Calls in flight: the gate for long ones, and what writers hold locked meanwhile.
#[derive(Debug)]
pub(crate) struct InFlight {
    long_max: usize,
    next: u64,
    since_ms: BTreeMap<u64, u64>,
    most: usize,
    long_most: usize,
    refused: u64,
}

impl InFlight {
    pub(crate) fn new(long_max: usize) -> Self {
        Self {
            long_max,
            next: 0,
            since_ms: BTreeMap::new(),
            most: 0,
            long_most: 0,
            refused: 0,
        }
    }

    /// Lets a call in unless too many have been running for too long.
    pub(crate) fn enter(&mut self, now_ms: u64) -> Option<u64> {
        let long = self
            .since_ms
            .values()
            .filter(|since_ms| **since_ms + LONG_MS <= now_ms)
            .count();
        self.long_most = self.long_most.max(long);
        if long >= self.long_max {
            self.refused += 1;
            return None;
        }
        self.next += 1;
        self.since_ms.insert(self.next, now_ms);
        self.most = self.most.max(self.since_ms.len());
        Some(self.next)
    }

    pub(crate) fn leave(&mut self, call: u64) {
        self.since_ms.remove(&call);
    }

    pub(crate) fn count(&self) -> usize {
        self.since_ms.len()
    }

    /// When the oldest call in flight began: nothing before it can still appear.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.since_ms.values().min().copied()
    }

    pub(crate) fn stats(&self) -> Value {
        json!({
            "limit": self.long_max, "most": self.long_most, "refused": self.refused,
            "in_flight": self.since_ms.len(), "in_flight_most": self.most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_rolls() {
        let mut ledger = Ledger::new(3, 0);
        assert!(ledger.take(0, 1));
        assert!(ledger.take(1000, 2));
        assert!(!ledger.take(DAY_MS - 1, 1), "the window is still full");
        assert!(ledger.take(DAY_MS, 1), "the first call has fallen out");
        assert!(!ledger.take(DAY_MS + 999, 2));
        assert!(ledger.take(DAY_MS + 1000, 2));
        assert_eq!(ledger.stats(DAY_MS + 1000)["refused"], 2);
        assert_eq!(ledger.stats(DAY_MS + 1000)["most"], 3);
        assert_eq!(ledger.used(3 * DAY_MS), 0);
    }

    #[test]
    fn only_long_calls_count_as_concurrent() {
        let mut in_flight = InFlight::new(2);
        let first = in_flight.enter(0).expect("room");
        in_flight.enter(0).expect("room");
        in_flight.enter(LONG_MS - 1).expect("none is long yet");
        assert_eq!(in_flight.enter(LONG_MS), None);
        in_flight.leave(first);
        assert!(in_flight.enter(LONG_MS).is_some());
    }
}
