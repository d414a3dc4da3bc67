//! Who waits for an endpoint to be called: the more urgent lane goes first, but one that has waited long gets a turn
//! among the more urgent ones, so that a flood of them does not starve it.

use std::collections::BTreeSet;

use super::Lane;

/// After so many that went past somebody who has waited long, it is his turn.
const TURN_AFTER: u32 = 8;
const LANES: [Lane; 3] = [Lane::Critical, Lane::Normal, Lane::Backfill];

/// Somebody's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    lane: Lane,
    since_ms: u64,
    number: u64,
}

/// Everybody who waits at one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Doorway {
    /// By lane: since when each waits, and a number that tells them apart.
    lanes: [BTreeSet<(u64, u64)>; 3],
    next: u64,
    /// Requests that went past somebody who has waited long.
    passed: u32,
}

impl Doorway {
    /// Who comes back keeps its `since_ms`.
    pub fn enter(&mut self, since_ms: u64, lane: Lane) -> Place {
        let number = self.next;
        self.next += 1;
        self.lanes[lane as usize].insert((since_ms, number));
        Place {
            lane,
            since_ms,
            number,
        }
    }

    pub fn leave(&mut self, place: Place) {
        self.lanes[place.lane as usize].remove(&(place.since_ms, place.number));
    }

    pub fn waiting(&self) -> [usize; 3] {
        self.lanes.each_ref().map(BTreeSet::len)
    }

    /// The lane below `lane` in which somebody has waited longest, and long.
    fn aged_below(&self, now_ms: u64, lane: Option<Lane>, long_ms: u64) -> Option<Lane> {
        let since = |below: &Lane| Some(self.lanes[*below as usize].first()?.0);
        let below = LANES.into_iter().filter(|below| Some(*below) > lane);
        let aged = below.filter_map(|below| Some((since(&below)?, below)));
        let (since_ms, aged) = aged.min()?;
        (now_ms.saturating_sub(since_ms) >= long_ms).then_some(aged)
    }

    /// Whose turn it is out of order.
    fn turn(&self, now_ms: u64, long_ms: u64) -> Option<Lane> {
        if self.passed < TURN_AFTER {
            return None;
        }
        self.aged_below(now_ms, Some(Lane::Critical), long_ms)
    }

    /// Of those who wait, as many go before a request of this lane. Who has waited `long_ms` may be due a turn.
    pub fn ahead(&self, now_ms: u64, lane: Lane, long_ms: u64) -> u32 {
        let above: usize = self.waiting()[..lane as usize].iter().sum();
        match self.turn(now_ms, long_ms) {
            Some(turn) if turn == lane => 0,
            Some(turn) if turn > lane => above as u32 + 1,
            _ => above as u32,
        }
    }

    /// A request of a lane has gone in.
    pub fn went(&mut self, now_ms: u64, lane: Lane, long_ms: u64) {
        if self.turn(now_ms, long_ms) == Some(lane) {
            self.passed = 0;
        } else if self.aged_below(now_ms, Some(lane), long_ms).is_some() {
            self.passed += 1;
        }
    }

    /// How many of each lane may be woken, where there is room for so many.
    pub fn woken(&self, now_ms: u64, mut room: usize, long_ms: u64) -> [usize; 3] {
        let mut woken = [0; 3];
        if let Some(turn) = self.turn(now_ms, long_ms)
            && room > 0
        {
            woken[turn as usize] = 1;
            room -= 1;
        }
        for (woken, waiting) in woken.iter_mut().zip(self.waiting()) {
            let more = (waiting - *woken).min(room);
            *woken += more;
            room -= more;
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_MS: u64 = 3_000;

    /// A flood of critical requests, always more than there is room for, one of which goes in every 10 ms: how long the
    /// others have waited who went in meanwhile.
    fn flood(others: &[Lane]) -> Vec<(Lane, u64)> {
        let mut doorway = Doorway::default();
        let urgent: Vec<Place> = (0..4).map(|_| doorway.enter(0, Lane::Critical)).collect();
        let mut waiting: Vec<Place> = others.iter().map(|lane| doorway.enter(0, *lane)).collect();
        let mut went = Vec::new();
        for now_ms in (0..10_000).step_by(10) {
            let first = waiting
                .iter()
                .position(|place| doorway.ahead(now_ms, place.lane, LONG_MS) == 0);
            let lane = match first {
                Some(first) => {
                    let place = waiting.remove(first);
                    doorway.went(now_ms, place.lane, LONG_MS);
                    doorway.leave(place);
                    went.push((place.lane, now_ms));
                    continue;
                }
                None => Lane::Critical,
            };
            assert!(!urgent.is_empty());
            doorway.went(now_ms, lane, LONG_MS);
        }
        went
    }

    #[test]
    fn a_flood_of_the_urgent_starves_nobody() {
        let others = [Lane::Backfill, Lane::Normal, Lane::Backfill];
        let went = flood(&others);
        assert_eq!(went.len(), 3, "{went:?}");
        assert_eq!(went[0], (Lane::Normal, 3_080));
        let rare = went.windows(2).all(|two| two[1].1 - two[0].1 >= 80);
        assert!(rare, "not more than one in nine: {went:?}");
    }

    #[test]
    fn the_urgent_go_first_until_somebody_has_waited_long() {
        let mut doorway = Doorway::default();
        let old = doorway.enter(0, Lane::Backfill);
        doorway.enter(0, Lane::Critical);
        let ahead = |doorway: &Doorway, now_ms| {
            [Lane::Critical, Lane::Normal, Lane::Backfill]
                .map(|lane| doorway.ahead(now_ms, lane, LONG_MS))
        };
        assert_eq!(ahead(&doorway, 0), [0, 1, 1]);
        (0..100).for_each(|_| doorway.went(2_999, Lane::Critical, LONG_MS));
        assert_eq!(ahead(&doorway, 2_999), [0, 1, 1], "not long yet");
        (0..8).for_each(|_| doorway.went(3_000, Lane::Critical, LONG_MS));
        assert_eq!(ahead(&doorway, 3_000), [1, 2, 0], "its turn");
        assert_eq!(doorway.woken(3_000, 1, LONG_MS), [0, 0, 1]);
        assert_eq!(doorway.woken(3_000, 9, LONG_MS), [1, 0, 1]);
        doorway.went(3_000, Lane::Backfill, LONG_MS);
        assert_eq!(ahead(&doorway, 3_000), [0, 1, 1], "one turn");
        doorway.leave(old);
        assert_eq!(doorway.waiting(), [1, 0, 0]);
    }
}
