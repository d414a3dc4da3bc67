//! What comes of a permit in a pool: units counted or given back, and kept over a restart.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::hear::Back;
use super::ladder::Level;
use super::learned::Learned;
use super::measure::Measure;
use super::pool::{Candidate, Pool};
use super::timing::Expected;
use super::{Ended, Lane, Reason, Settings};
use crate::time::Now;

const SECOND_MS: i64 = 1_000;
/// What an earlier host has sent reaches the vendor at most so much later.
const ON_ITS_WAY_MS: i64 = 1_000;
const UNKNOWN_CALL_MS: u64 = 1_000;
const UNKNOWN_LASTS_MS: u64 = 60_000;
const HOUR_MS: f64 = 3_600_000.0;

/// A pool's state for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolFigures {
    pub pool: Arc<str>,
    /// Units that are ours at most.
    pub limit: u64,
    /// Units counted, without those reserved.
    pub used: u64,
    /// Units of requests without an answer yet.
    pub reserved: u64,
    pub used_by_others: u64,
    /// What others use per hour, as they did lately.
    pub others_per_hour: u64,
    /// By how much longer than its window a request counts on average, for the measured jitter of its way.
    pub margin_ms: u64,
    /// The part of the limit that is believed in after throttles that nothing explained.
    pub trusted_permille: u32,
    pub parked_until_ms: Option<u64>,
    /// What is asked of everybody, for a long window.
    pub level: Level,
    /// Why a normal request would wait now.
    pub reason: Option<Reason>,
}

/// What a pool must not forget over a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolCounts {
    pub pool: String,
    /// Who the pool belongs to, as in [`super::PoolKey`].
    pub holder: Vec<String>,
    /// Wall clock in milliseconds since 1970, and units; oldest first.
    pub counts: Vec<(i64, u64)>,
    /// Units that may leave before the next snapshot, and count as used if there is none.
    pub booked: u64,
    /// Of all units that ever leave in this life of the host, as many may; or be in use at once.
    pub upto: u64,
    /// For what is in use at once: how long it may go on.
    pub lasts_ms: u64,
    pub learned: Learned,
}

impl Pool {
    /// Ends a permit: counted, or given back when nothing was sent.
    pub(super) fn settle(&mut self, now: Now, back: Back, ended: &Ended) {
        let Some(flight) = self.flights.remove(back.permit) else {
            return;
        };
        // Whether a refused request counts is the vendor's secret: readings tell, where there are any, and what they
        // tell beyond our own count goes with the others'. Counted twice, it would fall out as room that is none.
        let refused = matches!(ended, Ended::Throttled(_)) && self.others.heard_ms().is_some();
        let unsent = matches!(ended, Ended::Unsent);
        if unsent {
            self.left -= flight.units;
            if let Some(spread) = &self.spread {
                spread.give_back(flight.units);
            }
        }
        if unsent || refused {
            match &mut self.likely {
                Some(likely) => likely.take_back(flight.since_ms as i64, flight.units),
                None => self.sent.take_back(flight.since_ms, flight.units),
            }
        } else {
            self.lasted_ms += back.lasted_ms;
            let known_ms = if self.way_ms == 0 {
                back.lasted_ms
            } else {
                self.way_ms
            };
            self.way_ms = (known_ms * 7 + back.lasted_ms).div_ceil(8);
            self.measure
                .count(now, flight.units, back.lasted_ms, back.behind_ms);
        }
        self.longest_ms = back
            .lasted_ms
            .max(self.longest_ms - self.longest_ms / 1_024);
        self.learn(now, back, flight, ended);
        let passed = matches!(ended, Ended::Answered(_));
        let spent = matches!(ended, Ended::Throttled(throttled) if *throttled.pool == *self.name);
        if !spent {
            self.park.came_back(back.permit, passed);
        }
    }

    pub(super) fn figures(&self, now: Now, jitter_ms: u64, settings: &Settings) -> PoolFigures {
        let normal = Candidate {
            lane: Lane::Normal,
            units: 1,
            expected: Expected::default(),
        };
        PoolFigures {
            pool: self.name.clone(),
            limit: self.limit(),
            used: self.measure.counted(),
            reserved: self.flights.units(),
            used_by_others: self.others.used(),
            others_per_hour: (self.others.rate() * HOUR_MS) as u64,
            margin_ms: match self.measure {
                Measure::Concurrency { .. } => 0,
                Measure::CalendarDay { .. } => super::measure::MIDNIGHT_MS as u64,
                Measure::Rolling { .. } | Measure::Execution { .. } => {
                    super::measure::GRAIN_MS + jitter_ms
                }
            },
            trusted_permille: (self.park.trust(now.mono_ms) * 1_000.0) as u32,
            parked_until_ms: self.park.until_ms(now.mono_ms),
            level: self.ladder.map(|ladder| ladder.level()).unwrap_or_default(),
            reason: self
                .check(now, &normal, settings)
                .err()
                .map(|wait| wait.reason),
        }
    }

    /// What is in flight is taken as counted now. A pool that nothing is known of leaves nothing.
    pub(super) fn counts(&self, now: Now) -> PoolCounts {
        let Some(ledger) = self.measure.ledger() else {
            return self.lasting(now);
        };
        let wall_ms = now.wall_us / 1_000;
        let shift = match self.measure {
            Measure::CalendarDay { .. } => 0,
            _ => wall_ms - now.mono_ms as i64,
        };
        // By the second, so that a busy short window stays small in the store.
        let mut counts: Vec<(i64, u64)> = Vec::new();
        for (stamp, units) in ledger.entries() {
            let second = (stamp + shift + SECOND_MS - 1).div_euclid(SECOND_MS) * SECOND_MS;
            match counts.last_mut() {
                Some((last, counted)) if *last == second => *counted += units,
                _ => counts.push((second, units)),
            }
        }
        let flying = match self.measure {
            Measure::Execution { .. } => self.flights.lasting_ms(now.mono_ms, None),
            _ => self.flights.units(),
        };
        if flying > 0 {
            counts.push((wall_ms + ON_ITS_WAY_MS, flying));
        }
        let booked = self.book.map_or(0, |book| book.size(self.limit()));
        PoolCounts {
            counts,
            booked,
            upto: match booked {
                0 => 0,
                _ => self.left + booked,
            },
            learned: self.learned(now),
            ..PoolCounts::default()
        }
    }

    /// A host that is killed leaves requests behind that go on at the vendor: those in use and those booked, for as long
    /// as such a request lasts. As they may have left at any moment, no moment is noted.
    fn lasting(&self, now: Now) -> PoolCounts {
        let in_use = self.flights.long_units();
        let (queued, limit) = (self.queued, self.limit());
        let at_once = self.at_once;
        let booked = at_once.map_or(0, |at_once| at_once.size(in_use, queued, limit));
        let lasts_ms = match (in_use + booked, self.longest_ms) {
            (0, _) => 0,
            (_, 0) => UNKNOWN_LASTS_MS,
            // Few values, so that a snapshot seldom differs from the one before.
            (_, longest_ms) => longest_ms.saturating_mul(2).next_power_of_two(),
        };
        PoolCounts {
            counts: Vec::from_iter((in_use > 0).then_some((0, in_use))),
            booked,
            upto: in_use + booked,
            lasts_ms,
            learned: self.learned(now),
            ..PoolCounts::default()
        }
    }

    /// Counts from an earlier run. What lies in the future, because the wall clock was set back, counts as now; what
    /// was booked or in flight may still be on its way.
    pub(super) fn restore(&mut self, now: Now, counts: &PoolCounts) {
        let wall_ms = now.wall_us / 1_000;
        self.recall(now, &counts.learned);
        let booked = match self.measure {
            // A call's time is not known before its answer.
            Measure::Execution { .. } => counts.booked * UNKNOWN_CALL_MS,
            _ => counts.booked,
        };
        let known = counts.counts.iter().copied();
        for (at_ms, units) in known.chain([(wall_ms + ON_ITS_WAY_MS, booked)]) {
            let at_ms = at_ms.min(wall_ms + ON_ITS_WAY_MS);
            match &mut self.measure {
                Measure::CalendarDay { ledger, .. } => ledger.add(at_ms, units),
                Measure::Rolling { ledger, .. } | Measure::Execution { ledger, .. } => {
                    let at_ms = at_ms - wall_ms + now.mono_ms as i64;
                    ledger.add(at_ms, units);
                    if let Some(likely) = &mut self.likely {
                        likely.add(at_ms, units);
                    }
                }
                Measure::Concurrency { .. } => {
                    let (ghosts, until_ms) = self.ghosts;
                    let until_ms = until_ms.max(now.mono_ms + counts.lasts_ms);
                    self.ghosts = ((ghosts + units).min(self.limit()), until_ms);
                }
            }
        }
        self.longest_ms = self.longest_ms.max(counts.lasts_ms / 2);
        self.forget(now);
        self.refresh(now);
    }
}
