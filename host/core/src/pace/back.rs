//! Permits that come back: every pool that the request drew on, or that its answer names, learns of it.

use super::cost::{Draws, Shape};
use super::hear::Back;
use super::pacer::{Pacer, Seat, Ticket};
use super::pool::Candidate;
use super::{Ended, Lane, Wait};
use crate::time::Now;

impl Pacer {
    /// Ends a permit. Others may be able to go now: call `grant`.
    pub fn settle(&mut self, now: Now, ticket: Ticket, ended: &Ended) {
        let Some(permit) = self.lines.settle(ticket.0) else {
            return;
        };
        let seat = permit.draws.seat;
        let lasted_ms = now.mono_ms.saturating_sub(permit.since_ms);
        let kind = permit.draws.kind;
        let (behind_ms, overtaking_ms) = match (ended, self.chairs.get_mut(seat.0 as usize)) {
            (Ended::Answered(_), Some(chair)) => (
                chair.timing.answered(now.mono_ms, kind, lasted_ms),
                chair.timing.overtaking_ms(kind),
            ),
            // A refusal is quick, and says nothing of how long work takes.
            (Ended::Throttled(_), Some(chair)) => (0, chair.timing.overtaking_ms(kind)),
            _ => (0, 0),
        };
        let back = Back {
            permit: ticket.0,
            lasted_ms,
            behind_ms,
            overtaking_ms,
        };
        for (index, _) in &permit.draws.units {
            let pool = &mut self.pools[*index];
            pool.refresh(now);
            pool.settle(now, back, ended);
            self.stirred.push(*index);
        }
        for index in self.told(seat, ended) {
            if permit.draws.of(index).is_none() {
                let pool = &mut self.pools[index];
                pool.refresh(now);
                pool.overhear(now, back, ended);
                self.stirred.push(index);
            }
        }
    }

    /// Pools that an answer names.
    pub(super) fn told(&self, seat: Seat, ended: &Ended) -> Vec<usize> {
        let named = |name: &String| self.named(seat, name);
        match ended {
            Ended::Answered(reports) => {
                let reports = reports.iter();
                reports.filter_map(|report| named(&report.pool)).collect()
            }
            Ended::Throttled(throttled) => named(&throttled.pool).into_iter().collect(),
            Ended::Unsent | Ended::Lost => Vec::new(),
        }
    }

    /// Whether `calls` ordinary requests of a lane could be granted now. More than a pool can ever give at once
    /// asks for all that it gives.
    pub fn readiness(&mut self, now: Now, seat: Seat, lane: Lane, calls: u32) -> Result<(), Wait> {
        let plain = Shape {
            method: None,
            path: "",
            rows: 1,
        };
        let chair = self.chairs.get(seat.0 as usize);
        let expected = Draws::new(seat, &plain, Vec::new());
        let Some(chair) = chair else { return Ok(()) };
        let expected = chair.timing.expected(expected.kind);
        let mut latest: Option<Wait> = None;
        for index in &chair.pools {
            let pool = &mut self.pools[*index];
            pool.refresh(now);
            let units = pool.tariff.draw(&plain) * u64::from(calls.max(1));
            if units == 0 {
                continue;
            }
            let candidate = Candidate {
                lane,
                units: units.min(pool.most(lane, &self.settings)),
                expected,
            };
            if let Err(wait) = pool.check(now, &candidate, &self.settings)
                && latest.as_ref().is_none_or(|known| known.at_ms < wait.at_ms)
            {
                latest = Some(wait);
            }
        }
        latest.map_or(Ok(()), Err)
    }
}
