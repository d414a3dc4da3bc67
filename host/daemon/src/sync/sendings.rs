//! Rows that were given to connectors to write, and what became of each: counted where they leave and where their outcomes
//! come in, so that the sums tell whether one was lost on the way.

use std::sync::atomic::{AtomicU64, Ordering};

use super::settling::{Settled, Settling};
use crate::status::WritesStatus;

#[derive(Debug, Default)]
pub(super) struct Sendings {
    sent: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

impl Sendings {
    /// So many rows are on their way from now on.
    pub(super) fn sent(&self, rows: usize) {
        self.sent.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// What became of rows that were sent.
    pub(super) fn ended(&self, settled: &Settled) {
        for (_, settling) in settled {
            let count = match settling {
                Settling::Written { .. } | Settling::Delivered { .. } => &self.done,
                Settling::Unknown { .. } | Settling::GivenUp { .. } => &self.unknown,
                // Its intent is gone, so nothing tells what it was.
                Settling::Missing => &self.unknown,
                Settling::Dead { .. }
                | Settling::Postponed { .. }
                | Settling::ReadFirst { .. }
                | Settling::Unrestorable { .. } => &self.failed,
                Settling::Agreed { .. }
                | Settling::Forget { .. }
                | Settling::Detach { .. }
                | Settling::Rest { .. }
                | Settling::Observed { .. }
                | Settling::Held
                | Settling::Waits { .. }
                | Settling::Half => continue,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn status(&self) -> WritesStatus {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Outcomes first: one that comes in meanwhile must not be without its sending.
        let (done, failed, unknown) =
            (count(&self.done), count(&self.failed), count(&self.unknown));
        WritesStatus {
            sent: count(&self.sent),
            done,
            failed,
            unknown,
        }
    }
}
