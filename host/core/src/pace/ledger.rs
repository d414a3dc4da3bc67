//! Units counted in a window that slides with every millisecond.
//!
//! Exact over *any* window: a bucket that refills (GCRA with burst N) would let 2N pass within one. Long
//! windows are kept by the minute, rounded so that a unit counts for up to a minute too long, never
//! too short.

use std::collections::VecDeque;

/// From here on, minutes are exact enough.
const LONG_MS: u64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// Units by the moment at which they count, oldest first.
#[derive(Clone, Debug)]
pub struct Ledger {
    grain_ms: i64,
    entries: VecDeque<(i64, u64)>,
    total: u64,
}

impl Ledger {
    /// For a window of this length.
    pub fn new(window_ms: u64) -> Self {
        Self {
            grain_ms: if window_ms >= LONG_MS { MINUTE_MS } else { 1 },
            entries: VecDeque::new(),
            total: 0,
        }
    }

    /// Units that are not forgotten yet.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Counts units at a moment. What lies before the newest entry counts with it: later than it was.
    pub fn add(&mut self, at_ms: i64, units: u64) {
        if units == 0 {
            return;
        }
        let grain = self.grain_ms;
        let mut stamp = at_ms.div_euclid(grain) * grain;
        if stamp < at_ms {
            stamp += grain;
        }
        self.total += units;
        match self.entries.back_mut() {
            Some((newest, counted)) if *newest >= stamp => *counted += units,
            _ => self.entries.push_back((stamp, units)),
        }
    }

    /// Drops what was counted at `until_ms` or before.
    pub fn forget(&mut self, until_ms: i64) {
        while let Some((stamp, units)) = self.entries.front()
            && *stamp <= until_ms
        {
            self.total -= units;
            self.entries.pop_front();
        }
    }

    /// Entries as (moment, units), oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.entries.iter().copied()
    }
}
