//! Units that are on the books before they are used, so that a host that is killed forgets none.
//!
//! A snapshot says what was used, and books some more. Only what is booked in a snapshot that has been made
//! durable may leave; the next host counts all of it as used. What is booked is small beside the limit,
//! so that little is lost by a kill, and never goes out while the host keeps pace with it.

/// The part of a short window that is booked at once, and of a long one.
const SHORT_PART: u64 = 20;
const LONG_PART: u64 = 10_000;
/// What is wanted at once of a long window is booked too, up to this part: a busy host need not wait for each snapshot.
const BUSY_PART: u64 = 500;

#[derive(Clone, Copy, Debug)]
pub(super) struct Book {
    /// Of all units that ever left, as many may.
    upto: u64,
    part: u64,
    /// The largest request that did not fit.
    missed: u64,
    /// Units that are wanted before the next snapshot, as things go.
    wanted: u64,
}

impl Book {
    pub(super) fn new(short: bool) -> Self {
        Self {
            upto: 0,
            part: if short { SHORT_PART } else { LONG_PART },
            missed: 1,
            wanted: 0,
        }
    }

    /// For what is only in use at once, and needs no count.
    pub(super) fn without_end() -> Self {
        Self {
            upto: u64::MAX,
            ..Self::new(true)
        }
    }

    pub(super) fn holds(&self, left: u64, units: u64) -> bool {
        left + units <= self.upto
    }

    pub(super) fn miss(&mut self, units: u64) {
        self.missed = self.missed.max(units);
    }

    /// Units to book beyond those that have left.
    pub(super) fn size(&self, limit: u64) -> u64 {
        let busy = self.wanted.min(limit / BUSY_PART);
        (limit / self.part).max(self.missed).max(busy)
    }

    /// Units that left of late. Those that wait say nothing: a backlog has more than the window can give.
    pub(super) fn wants(&mut self, units: u64) {
        self.wanted = units;
    }

    /// Whether the next snapshot should be made durable now.
    pub(super) fn runs_low(&self, left: u64, limit: u64) -> bool {
        let rest = self.upto.saturating_sub(left);
        rest < self.missed || rest <= self.size(limit) / 2
    }

    pub(super) fn kept(&mut self, upto: u64) {
        self.upto = self.upto.max(upto);
    }
}
