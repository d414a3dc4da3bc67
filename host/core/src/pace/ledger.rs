//! Units counted in a window that slides with every millisecond.
//!
//! Exact over *any* window: a bucket that refills (GCRA with burst N) would let 2N pass within one. Long
//! windows are kept by the minute, rounded so that a unit counts for up to a minute too long, never
//! too short.

use std::collections::VecDeque;

/// From here on, minutes are exact enough.
const LONG_MS: u64 = 3_600_000;
pub(super) const MINUTE_MS: i64 = 60_000;

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
        Self::by_grain(if window_ms >= LONG_MS { MINUTE_MS } else { 1 })
    }

    /// With moments rounded up to a multiple of `grain_ms`.
    pub(super) fn by_grain(grain_ms: i64) -> Self {
        Self {
            grain_ms,
            entries: VecDeque::new(),
            total: 0,
        }
    }

    /// Units that are not forgotten yet.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Counts units at a moment, which may lie before that of newer entries: answers overtake each other.
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
        let newer = self
            .entries
            .iter()
            .rev()
            .take_while(|(known, _)| *known > stamp)
            .count();
        let place = self.entries.len() - newer;
        match place.checked_sub(1).map(|before| &mut self.entries[before]) {
            Some((known, counted)) if *known == stamp => *counted += units,
            _ => self.entries.insert(place, (stamp, units)),
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

    /// The same, telling of each entry.
    pub(super) fn forget_each(&mut self, until_ms: i64, mut each: impl FnMut(i64, u64)) {
        let gone = self.entries.iter().take_while(|(at, _)| *at <= until_ms);
        gone.for_each(|(stamp, units)| each(*stamp, *units));
        self.forget(until_ms);
    }

    /// Units of entries after a moment.
    pub(super) fn after(&self, at_ms: i64) -> u64 {
        let later = self.entries.iter().rev();
        let later = later.take_while(|(stamp, _)| *stamp > at_ms);
        later.map(|(_, units)| units).sum()
    }

    /// Units of entries up to a moment.
    pub(super) fn until(&self, at_ms: i64) -> u64 {
        let earlier = self.entries.iter();
        let earlier = earlier.take_while(|(stamp, _)| *stamp <= at_ms);
        earlier.map(|(_, units)| units).sum()
    }

    /// Units after one moment, up to another.
    pub(super) fn between(&self, after_ms: i64, upto_ms: i64) -> u64 {
        let outside = self.until(after_ms) + self.after(upto_ms);
        self.total.saturating_sub(outside)
    }

    /// Takes back units that were counted at a moment.
    pub(super) fn take_back(&mut self, at_ms: i64, units: u64) {
        let found = self
            .entries
            .binary_search_by_key(&at_ms, |(stamp, _)| *stamp);
        let Some((_, counted)) = found.ok().and_then(|place| self.entries.get_mut(place)) else {
            return;
        };
        let taken = units.min(*counted);
        *counted -= taken;
        self.total -= taken;
    }

    /// Takes back units, the oldest first, as many as there are.
    pub(super) fn drop_oldest(&mut self, mut units: u64) {
        while units > 0
            && let Some((_, counted)) = self.entries.front_mut()
        {
            let dropped = units.min(*counted);
            *counted -= dropped;
            units -= dropped;
            self.total -= dropped;
            if *counted == 0 {
                self.entries.pop_front();
            }
        }
    }

    /// Keeps at most about so many entries: neighbours count together, at the later moment.
    pub(super) fn shorten(&mut self, entries_max: usize) {
        if self.entries.len() <= entries_max {
            return;
        }
        let mut shorter = VecDeque::with_capacity(self.entries.len() / 2 + 1);
        let mut entries = std::mem::take(&mut self.entries).into_iter();
        while let Some((stamp, units)) = entries.next() {
            shorter.push_back(match entries.next() {
                Some((later, more)) => (later, units + more),
                None => (stamp, units),
            });
        }
        self.entries = shorter;
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.total = 0;
    }

    /// Entries as (moment, units), oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.entries.iter().copied()
    }
}
