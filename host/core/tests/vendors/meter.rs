//! A vendor's meter, written from the vendors' own words and stricter than they are: it shares no code with
//! the pacer, counts each request at the moment at which it arrives, and looks at every window that ends there.
//!
//! Not checked: a vendor whose clock runs at another speed than ours.

use std::collections::VecDeque;

/// A request as it arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at_ms: i64,
    pub(crate) units: u64,
}

/// What the vendor allows.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// Units in any stretch of so many milliseconds, both ends included.
    Window { ms: i64 },
    /// Units between two neighbours of these moments.
    Day { midnights_ms: Vec<i64> },
    /// Units in work at one moment.
    AtOnce,
    /// Units in work that have been so for this long.
    Lasting { after_ms: i64 },
    /// Milliseconds of work done in any stretch of so many milliseconds.
    Work { ms: i64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Meter {
    pub(crate) name: &'static str,
    rule: Rule,
    pub(crate) limit: u64,
    held: VecDeque<(i64, u64)>,
    sum: u64,
    working: Vec<(u64, i64, u64)>,
    /// The most it ever saw at once, refused ones not counted.
    pub(crate) most: u64,
    /// All units that it ever let in; of work, what was done.
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
}

impl Meter {
    pub(crate) fn new(name: &'static str, limit: u64, rule: Rule) -> Self {
        Self {
            name,
            rule,
            limit,
            held: VecDeque::new(),
            sum: 0,
            working: Vec::new(),
            most: 0,
            admitted: 0,
            refused: 0,
        }
    }

    /// Units that count at a moment.
    pub(crate) fn used(&mut self, at_ms: i64) -> u64 {
        let from_ms = match &self.rule {
            Rule::Window { ms } | Rule::Work { ms } => at_ms - ms,
            Rule::Day { midnights_ms } => {
                let mut latest = midnights_ms.iter().rev();
                *latest
                    .find(|midnight| **midnight <= at_ms)
                    .expect("a midnight before the test begins")
            }
            Rule::AtOnce => return self.working.iter().map(|(_, _, units)| units).sum(),
            Rule::Lasting { after_ms } => {
                let lasting = self.working.iter();
                let lasting = lasting.filter(|(_, since, _)| at_ms - since >= *after_ms);
                return lasting.map(|(_, _, units)| units).sum();
            }
        };
        while self.held.front().is_some_and(|(at, _)| *at < from_ms) {
            self.sum -= self.held.pop_front().map_or(0, |(_, units)| units);
        }
        self.sum
    }

    /// Whether the vendor would let it in.
    pub(crate) fn admits(&mut self, arrival: Arrival) -> bool {
        let used = self.used(arrival.at_ms);
        match self.rule {
            // The newcomer's time is not known yet: what has been used decides.
            Rule::Work { .. } => used <= self.limit,
            Rule::Lasting { .. } => used <= self.limit,
            _ => used + arrival.units <= self.limit,
        }
    }

    pub(crate) fn begin(&mut self, id: u64, arrival: Arrival) {
        match self.rule {
            // It counts when it is done.
            Rule::Work { .. } => return,
            Rule::Window { .. } | Rule::Day { .. } => {
                self.held.push_back((arrival.at_ms, arrival.units));
                self.sum += arrival.units;
            }
            Rule::AtOnce | Rule::Lasting { .. } => {
                self.working.push((id, arrival.at_ms, arrival.units));
            }
        }
        self.admitted += arrival.units;
        self.most = self.most.max(self.used(arrival.at_ms));
    }

    pub(crate) fn end(&mut self, id: u64, at_ms: i64, worked_ms: u64) {
        self.most = self.most.max(self.used(at_ms));
        self.working.retain(|(known, _, _)| *known != id);
        if let Rule::Work { .. } = self.rule {
            self.held.push_back((at_ms, worked_ms));
            self.sum += worked_ms;
            self.admitted += worked_ms;
        }
    }
}
