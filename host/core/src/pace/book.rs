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
/// This part of the most that were in use at once is forgotten with each snapshot.
const PEAK_PART: u64 = 8;

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

/// The same for what is in use at once: as many may be as the next host will take for such that go on at the vendor.
/// Who waits is booked, and about as many as were in use of late, so that a host at rest leaves none behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AtOnce {
    /// As many may be in use.
    upto: u64,
    /// The most that were in use lately, forgotten little by little.
    peak: u64,
}

impl AtOnce {
    pub(super) fn holds(&self, in_use: u64, units: u64) -> bool {
        in_use + units <= self.upto
    }

    pub(super) fn used(&mut self, in_use: u64) {
        self.peak = self.peak.max(in_use);
    }

    /// Units to book beyond those in use.
    pub(super) fn size(&self, in_use: u64, queued: u64, limit: u64) -> u64 {
        let wanted = (in_use + queued).max(self.peak).min(limit);
        wanted.saturating_sub(in_use)
    }

    /// A snapshot says so many: no more may be in use while it is made durable.
    pub(super) fn snapped(&mut self, in_use: u64, upto: u64) {
        self.upto = self.upto.min(upto);
        self.peak = in_use.max(self.peak - self.peak.div_ceil(PEAK_PART));
    }

    pub(super) fn runs_low(&self, in_use: u64, queued: u64, limit: u64) -> bool {
        let wanted = (in_use + queued).min(limit);
        queued > 0 && self.upto < wanted
    }

    pub(super) fn kept(&mut self, upto: u64) {
        self.upto = self.upto.max(upto);
    }
}
