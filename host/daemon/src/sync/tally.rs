//! What a sync has done since the host started, and how long changes took.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tidegate_core::capture::Captured;
use tidegate_core::merge::Write;
use tidegate_core::pace::Lane;
use tidegate_core::record::Sides;
use tidegate_core::sync::Side;

/// Latencies above this are counted as this.
const LATENCY_MS_MAX: u64 = 24 * 3_600_000;

#[derive(Debug)]
pub(super) struct Tally {
    captured: u64,
    echoes: u64,
    cancelled: u64,
    written: Sides<u64>,
    deleted: Sides<u64>,
    /// By the side that was written, from the source's commit to the answer.
    latency_ms: Sides<Histogram<u32>>,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MS_MAX, 2).expect("these bounds are valid")
        };
        Self {
            captured: 0,
            echoes: 0,
            cancelled: 0,
            written: Sides::default(),
            deleted: Sides::default(),
            latency_ms: Sides { left: histogram(), right: histogram() },
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    pub count: u64,
}

/// One direction's work, named by the side that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Towards {
    pub written: u64,
    pub deleted: u64,
    /// Milliseconds from the source's commit to the destination's answer.
    pub latency_ms: Latency,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyReport {
    pub captured: u64,
    /// Our own writes that came back, and states that both sides agree on.
    pub echoes: u64,
    /// Changes that met their undoing in the queue.
    pub cancelled: u64,
    pub left: Towards,
    pub right: Towards,
}

impl Tally {
    pub(super) fn count(&mut self, captured: Captured) {
        match captured {
            Captured::Queued(_) | Captured::Dead(_) => self.captured += 1,
            Captured::Echo => self.echoes += 1,
            Captured::Cancelled(_) => self.cancelled += 1,
            Captured::Passed => {}
        }
    }

    pub(super) fn written(&mut self, write: &Write, now_us: i64) {
        let counts = if write.sent.delete { &mut self.deleted } else { &mut self.written };
        counts[write.target] += 1;
        // A backfill carries what was committed long ago.
        if write.lane != Lane::Backfill
            && let Some(committed_us) = write.stamps.committed_us
        {
            let ms = u64::try_from((now_us - committed_us) / 1_000).unwrap_or(0);
            self.latency_ms[write.target].saturating_record(ms.min(LATENCY_MS_MAX));
        }
    }

    pub(super) fn snapshot(&self) -> TallyReport {
        TallyReport {
            captured: self.captured,
            echoes: self.echoes,
            cancelled: self.cancelled,
            left: self.towards(Side::Left),
            right: self.towards(Side::Right),
        }
    }

    fn towards(&self, side: Side) -> Towards {
        let histogram = &self.latency_ms[side];
        Towards {
            written: self.written[side],
            deleted: self.deleted[side],
            latency_ms: Latency {
                p50: histogram.value_at_quantile(0.5),
                p99: histogram.value_at_quantile(0.99),
                max: histogram.max(),
                count: histogram.len(),
            },
        }
    }
}
