//! One limit as its vendor counts it, and stricter where the vendor's words leave room: each call counts at the
//! moment at which it arrives, and every window that ends there is looked at, both of its ends included.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What is counted, and over which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Units in any stretch of so many milliseconds.
    Window { ms: u64 },
    /// Units from one midnight of a time zone to the next.
    Day { zone: TimeZone },
    /// Units in work at one moment.
    AtOnce,
    /// Calls in work at one moment that have been so for this many milliseconds.
    Lasting { after_ms: u64 },
    /// Milliseconds of work that ended in any stretch of so many milliseconds.
    Work { ms: u64 },
}

/// What a meter has seen so far, in its units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The most that ever counted at once.
    pub(crate) most: u64,
    /// Units let in, those of others included.
    pub(crate) admitted: u64,
    /// Units let in of others, who share the limit.
    pub(crate) others: u64,
    /// Calls refused.
    pub(crate) refused: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Meter {
    rule: Rule,
    pub(crate) limit: u64,
    /// When, and how much; oldest first.
    held: VecDeque<(u64, u64)>,
    sum: u64,
    /// By call: since when it has been in work, and what it weighs.
    working: BTreeMap<u64, (u64, u64)>,
    /// From midnight to midnight, where days are counted.
    day: (u64, u64),
    pub(crate) seen: Seen,
}

impl Meter {
    pub(crate) fn new(rule: Rule, limit: u64) -> Self {
        Self {
            rule,
            limit,
            held: VecDeque::new(),
            sum: 0,
            working: BTreeMap::new(),
            day: (0, 0),
            seen: Seen::default(),
        }
    }

    /// Units that count at a moment. Moments must not go back.
    pub(crate) fn used(&mut self, at_ms: u64) -> u64 {
        let from_ms = match &self.rule {
            Rule::Window { ms } | Rule::Work { ms } => at_ms.saturating_sub(*ms),
            Rule::Day { zone } => {
                if !(self.day.0..self.day.1).contains(&at_ms) {
                    self.day = day(zone, at_ms);
                }
                self.day.0
            }
            Rule::AtOnce => return self.working.values().map(|(_, units)| units).sum(),
            Rule::Lasting { after_ms } => {
                let calls = self.working.values();
                let lasting = calls.filter(|(since_ms, _)| since_ms + after_ms <= at_ms);
                return lasting.map(|(_, units)| units).sum();
            }
        };
        while let Some((_, units)) = self.held.pop_front_if(|(at_ms, _)| *at_ms < from_ms) {
            self.sum -= units;
        }
        self.sum
    }

    /// Whether the vendor lets in a call that weighs so much.
    pub(crate) fn admits(&mut self, at_ms: u64, units: u64) -> bool {
        let used = self.used(at_ms);
        match self.rule {
            // What the newcomer will take is not known yet: what has been used decides.
            Rule::Work { .. } => used <= self.limit,
            Rule::Lasting { .. } => used < self.limit,
            Rule::Window { .. } | Rule::Day { .. } | Rule::AtOnce => used + units <= self.limit,
        }
    }

    pub(crate) fn begin(&mut self, call: u64, at_ms: u64, units: u64) {
        match self.rule {
            Rule::Window { .. } | Rule::Day { .. } => self.hold(at_ms, units),
            Rule::AtOnce | Rule::Lasting { .. } => {
                self.working.insert(call, (at_ms, units));
            }
            // It counts when it is done.
            Rule::Work { .. } => return,
        }
        self.seen.admitted += units;
        self.seen.most = self.seen.most.max(self.used(at_ms));
    }

    /// A call of somebody else, where windows are counted.
    pub(crate) fn others(&mut self, at_ms: u64, units: u64) {
        self.seen.others += units;
        self.begin(u64::MAX, at_ms, units);
    }

    pub(crate) fn end(&mut self, call: u64, at_ms: u64, worked_ms: u64) {
        self.seen.most = self.seen.most.max(self.used(at_ms));
        self.working.remove(&call);
        if let Rule::Work { .. } = self.rule {
            self.hold(at_ms, worked_ms);
            self.seen.admitted += worked_ms;
        }
    }

    fn hold(&mut self, at_ms: u64, units: u64) {
        self.sum += units;
        match self.held.back_mut() {
            Some((last_ms, held)) if *last_ms == at_ms => *held += units,
            _ => self.held.push_back((at_ms, units)),
        }
    }

    /// Milliseconds until so much would be let in, if nothing else comes; `None` where nobody can know.
    pub(crate) fn free_in_ms(&mut self, at_ms: u64, units: u64) -> Option<u64> {
        let mut over = (self.used(at_ms) + units).saturating_sub(self.limit);
        let ms = match &self.rule {
            Rule::Window { ms } | Rule::Work { ms } => *ms,
            Rule::Day { .. } => return Some(self.day.1 - at_ms),
            Rule::AtOnce | Rule::Lasting { .. } => return None,
        };
        for (held_ms, held) in &self.held {
            over = over.saturating_sub(*held);
            if over == 0 {
                return Some((held_ms + ms + 1).saturating_sub(at_ms));
            }
        }
        None
    }
}

/// The midnights around a moment. A zone whose days can't be told has one day that never ends.
fn day(zone: &TimeZone, at_ms: u64) -> (u64, u64) {
    let around = || -> Option<(u64, u64)> {
        let at = Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?;
        let start = at.to_zoned_datetime(zone.clone()).start_of_day().ok()?;
        let end = start.tomorrow().ok()?.start_of_day().ok()?;
        let ms = |moment: Timestamp| u64::try_from(moment.as_millisecond()).ok();
        Some((ms(start.timestamp())?, ms(end.timestamp())?))
    };
    around().unwrap_or((0, u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-10T05:00:00Z: midnight in New York, on the day on which its clocks go forward.
    const SHORT_DAY_MS: u64 = 1_710_046_800_000;
    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn a_window_is_full_until_its_oldest_call_is_older_than_it() {
        let mut meter = Meter::new(Rule::Window { ms: 10_000 }, 3);
        for at_ms in [1_000, 1_500, 11_000] {
            assert!(meter.admits(at_ms, 1), "{at_ms}");
            meter.begin(at_ms, at_ms, 1);
        }
        assert!(!meter.admits(11_000, 1), "both ends of the window count");
        assert_eq!(meter.free_in_ms(11_000, 1), Some(1));
        assert!(meter.admits(11_001, 1));
        assert!(!meter.admits(11_001, 2), "one call has fallen out, not two");
        assert_eq!(meter.seen.most, 3);
    }

    #[test]
    fn a_day_has_as_many_hours_as_its_zone_gives_it() {
        let zone = TimeZone::get("America/New_York").expect("a zone");
        let mut meter = Meter::new(Rule::Day { zone }, 1);
        meter.begin(1, SHORT_DAY_MS, 1);
        assert!(!meter.admits(SHORT_DAY_MS + 23 * HOUR_MS - 1, 1));
        assert!(meter.admits(SHORT_DAY_MS + 23 * HOUR_MS, 1));
    }

    #[test]
    fn what_is_in_work_counts_until_it_ends() {
        let mut at_once = Meter::new(Rule::AtOnce, 2);
        at_once.begin(1, 0, 1);
        at_once.begin(2, 0, 1);
        assert!(!at_once.admits(5_000, 1));
        at_once.end(1, 5_000, 5_000);
        assert!(at_once.admits(5_000, 1));

        let mut lasting = Meter::new(Rule::Lasting { after_ms: 20_000 }, 1);
        lasting.begin(1, 0, 1);
        assert!(lasting.admits(19_999, 1), "it has not lasted long yet");
        assert!(!lasting.admits(20_000, 1));
        lasting.end(1, 30_000, 30_000);
        assert!(lasting.admits(30_000, 1));

        let mut work = Meter::new(Rule::Work { ms: 300_000 }, 1_000);
        work.end(1, 1_500, 1_000);
        assert!(work.admits(1_500, 1), "it is used up, not exceeded");
        work.end(2, 1_501, 1);
        assert!(!work.admits(1_501, 1));
        assert!(work.admits(301_501, 1));
    }
}
