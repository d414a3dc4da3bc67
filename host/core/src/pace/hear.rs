//! What an answer tells of a pool: its limit, what others use of it, and that it is spent.

use super::Ended;
use super::flight::Flight;
use super::measure::Measure;
use super::park::{Blow, Throttled};
use super::pool::Pool;
use super::report::Report;
use super::timing::Expected;
use crate::time::Now;

/// A permit as it came back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Back {
    pub(super) permit: u64,
    pub(super) lasted_ms: u64,
    /// So long ago at least it has reached the vendor's edge.
    pub(super) behind_ms: u64,
    /// What left so close to it may have been counted before or after it.
    pub(super) overtaking_ms: u64,
}

impl Pool {
    /// An answer may tell of pools that its request did not draw on.
    pub(super) fn overhear(&mut self, now: Now, back: Back, ended: &Ended) {
        let nothing = Flight {
            units: 0,
            since_ms: now.mono_ms,
            lasted_before_ms: self.lasted_ms,
            expected: Expected::default(),
            long: false,
        };
        self.learn(now, back, nothing, ended);
    }

    pub(super) fn learn(&mut self, now: Now, back: Back, flight: Flight, ended: &Ended) {
        match ended {
            Ended::Answered(reports) => {
                let ours = |report: &&Report| *report.pool == *self.name;
                let report = reports.iter().find(ours);
                if flight.units > 0 {
                    self.unheard = false;
                    self.others.answered(report.is_some());
                }
                if let Some(report) = report {
                    self.hear(now, back, flight, report);
                }
            }
            Ended::Throttled(throttled) if *throttled.pool == *self.name => {
                self.throttled(now, back, throttled);
            }
            Ended::Throttled(_) | Ended::Unsent | Ended::Lost => {}
        }
    }

    fn throttled(&mut self, now: Now, back: Back, throttled: &Throttled) {
        let blow = self.park.throttled(now.mono_ms, back.permit, throttled);
        if blow == Blow::Herd {
            return;
        }
        let window_ms = self.measure.window_ms().unwrap_or(u64::MAX);
        let heard = self.others.heard_ms();
        let told = heard.is_some_and(|heard| {
            let ago_ms = (now.mono_ms as i64 - heard).max(0);
            ago_ms as u64 <= window_ms
        });
        if self.measure.is_windowed() && told {
            // Readings come: they will tell whose it was, and until then it was theirs.
            let left_ms = now.mono_ms.saturating_sub(back.lasted_ms);
            let (_, ours) = self.ours_at(now, back, 0);
            self.others
                .exhausted(left_ms, self.whole().saturating_sub(ours));
        } else if self.measure.is_short() && blow == Blow::First {
            self.park.doubt(now.mono_ms);
        }
    }

    /// Used by others = reported - ours. Requests that overlapped the answered one may or may not be in the
    /// vendor's figure, so it bounds the others from both sides.
    fn hear(&mut self, now: Now, back: Back, one: Flight, report: &Report) {
        self.fit(report.limit.filter(|limit| *limit > 0));
        let Some(used) = report.used(self.vendors_limit()) else {
            return;
        };
        if !self.measure.is_windowed() {
            return;
        }
        let since_ms = self.lasted_ms - one.lasted_before_ms;
        self.measure.learn_way(used, since_ms);
        let (least, most) = match self.measure {
            Measure::Execution { .. } => {
                let counted = self.measure.counted();
                let flying = self.flights.lasting_ms(now.mono_ms, None);
                (counted.saturating_sub(since_ms), counted + flying)
            }
            _ => self.ours_at(now, back, one.units),
        };
        let left_ms = now.mono_ms.saturating_sub(back.lasted_ms);
        self.others.hear(
            left_ms,
            used.saturating_sub(most),
            used.saturating_sub(least),
        );
    }

    /// Units of ours, at least and at most, that the vendor has counted when it counted the request that came back
    /// now, which drew `own` of them. What left later is not among them, what has fallen out since is; of what left
    /// with it some may have overtaken it or not.
    fn ours_at(&self, now: Now, back: Back, own: u64) -> (u64, u64) {
        let left_ms = now.mono_ms.saturating_sub(back.lasted_ms);
        let close_ms = back.overtaking_ms;
        if let (Some(likely), Some(window_ms)) = (&self.likely, self.measure.window_ms()) {
            let (at_ms, close_ms) = (left_ms as i64, close_ms as i64);
            let from_ms = at_ms - window_ms as i64;
            let most = likely.between(from_ms - close_ms, at_ms + close_ms);
            let least = likely.between(from_ms + close_ms, at_ms - close_ms) + own;
            return (least.min(most), most);
        }
        let load = self.measure.counted() + self.flights.units() + self.dropped.after(left_ms);
        let most = load.saturating_sub(self.sent.after(left_ms + close_ms));
        let unsure =
            self.sent.after(left_ms.saturating_sub(close_ms)) - self.sent.after(left_ms + close_ms);
        let rounded = self.measure.rounded(left_ms);
        // What tells has counted itself.
        let least = most.saturating_sub(unsure + rounded).max(own.min(most));
        (least, most)
    }
}
