//! What a sync has done since the host started, and how long changes took.

use hdrhistogram::Histogram;
use tidegate_core::alert::is_growth;
use tidegate_core::capture::Captured;
use tidegate_core::merge::Write;
use tidegate_core::pace::Lane;
use tidegate_core::record::{Entry, Pending, Reason, Sides, Stamps};
use tidegate_core::sync::Side;

use crate::status::Latency;

/// Latencies above this are counted as this.
const LATENCY_MS_MAX: u64 = 24 * 3_600_000;

#[derive(Debug)]
pub(super) struct Tally {
    captured: u64,
    echoes: u64,
    conflicts: u64,
    written: u64,
    /// Records that went to the dead letters, and of those the ones that were looked at for an alert.
    buried: (u64, u64),
    last_trouble: Option<Reason>,
    /// By the side that was written, from the source's commit to the answer.
    latency_ms: Sides<Histogram<u32>>,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_MS_MAX, 2).expect("these bounds are valid");
        Self {
            captured: 0,
            echoes: 0,
            conflicts: 0,
            written: 0,
            buried: (0, 0),
            last_trouble: None,
            latency_ms: Sides {
                left: histogram(),
                right: histogram(),
            },
        }
    }
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quantiles {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub captured: u64,
    pub echoes: u64,
    pub conflicts: u64,
    pub written: u64,
    pub to_left: Latency,
    pub to_right: Latency,
}

impl Tally {
    pub(super) fn count(&mut self, captured: Captured) {
        match captured {
            Captured::Queued(_) | Captured::Dead(_) | Captured::Cancelled(_) => self.captured += 1,
            Captured::Echo => self.echoes += 1,
            Captured::Passed => {}
        }
    }

    pub(super) fn written(&mut self, write: &Write, now_us: i64) {
        self.conflicts += u64::from(write.conflicts);
        self.reached(write.target, write.lane, Some(write.stamps), now_us);
    }

    /// By a job; `entry` is what it carried, unless the record has changed since.
    pub(super) fn delivered(&mut self, target: Side, entry: Option<&Entry>, now_us: i64) {
        let lane = entry.map_or(Lane::Backfill, |entry| entry.lane);
        let pending = entry.and_then(|entry| entry.pending[target.other()].as_ref());
        self.reached(target, lane, pending.map(Pending::stamps), now_us);
    }

    fn reached(&mut self, target: Side, lane: Lane, stamps: Option<Stamps>, now_us: i64) {
        self.written += 1;
        // A backfill carries what was committed long ago.
        if lane != Lane::Backfill
            && let Some(committed_us) = stamps.and_then(|stamps| stamps.committed_us)
        {
            let ms = u64::try_from((now_us - committed_us) / 1_000).unwrap_or(0);
            self.latency_ms[target].saturating_record(ms.min(LATENCY_MS_MAX));
        }
    }

    pub(super) fn buried(&mut self) {
        self.buried.0 += 1;
    }

    /// How many there are by now, where one of those since the last look is worth telling.
    pub(super) fn grown(&mut self) -> Option<u64> {
        let (count, looked) = self.buried;
        self.buried.1 = count;
        (looked + 1..=count).any(is_growth).then_some(count)
    }

    pub(super) fn trouble(&mut self, reason: &Reason) {
        self.last_trouble = Some(reason.clone());
    }

    pub(super) fn last_trouble(&self) -> Option<&Reason> {
        self.last_trouble.as_ref()
    }

    pub(super) fn snapshot(&self) -> Figures {
        Figures {
            captured: self.captured,
            echoes: self.echoes,
            conflicts: self.conflicts,
            written: self.written,
            to_left: self.towards(Side::Left).into(),
            to_right: self.towards(Side::Right).into(),
        }
    }

    fn towards(&self, side: Side) -> Quantiles {
        let histogram = &self.latency_ms[side];
        Quantiles {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
            count: histogram.len(),
        }
    }
}
