//! Stops the deletes of a sync when too many come at once: an emptied table must not empty a CRM.

use std::collections::VecDeque;

use crate::sync::DeleteBrake;

#[derive(Clone, Debug)]
pub struct Brake {
    rule: DeleteBrake,
    /// When deletes were let through, oldest first.
    passed_ms: VecDeque<u64>,
    /// Deletes that a person let through, and that have not gone yet.
    free: usize,
    on: bool,
}

impl Brake {
    pub fn new(rule: DeleteBrake, on: bool) -> Self {
        Self {
            rule,
            passed_ms: VecDeque::new(),
            free: 0,
            on,
        }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    /// How many of `deletes` may go now, with `linked` records in the sync. Once some may not, none may
    /// until [`Brake::release`].
    pub fn admit(&mut self, deletes: usize, linked: u64, now_ms: u64) -> usize {
        if self.on {
            return 0;
        }
        let free = deletes.min(self.free);
        self.free -= free;
        free + self.count(deletes - free, linked, now_ms)
    }

    fn count(&mut self, deletes: usize, linked: u64, now_ms: u64) -> usize {
        let from = now_ms.saturating_sub(self.rule.window_ms);
        while self.passed_ms.front().is_some_and(|at| *at < from) {
            self.passed_ms.pop_front();
        }
        // Those that were deleted in the window were linked when it began.
        let base = linked as f64 + self.passed_ms.len() as f64;
        let allowed = ((base * self.rule.share) as u64).max(self.rule.least);
        let room = usize::try_from(allowed)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.passed_ms.len());
        let admitted = deletes.min(room);
        self.passed_ms.extend(std::iter::repeat_n(now_ms, admitted));
        self.on = admitted < deletes;
        admitted
    }

    /// A person said that the deletes are meant: so many are held, and go however many they are. For others the window
    /// starts anew.
    pub fn release(&mut self, held: usize) {
        self.on = false;
        self.free = held;
        self.passed_ms.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: DeleteBrake = DeleteBrake {
        share: 0.1,
        window_ms: 1_000,
        least: 5,
    };

    #[test]
    fn a_trickle_passes_and_a_flood_stops() {
        let mut brake = Brake::new(RULE, false);
        for window in 0..100 {
            assert_eq!(brake.admit(10, 1_000, window * 1_001), 10);
        }
        assert_eq!(brake.admit(500, 1_000, 200_000), 100);
        assert!(brake.is_on());
        assert_eq!(
            brake.admit(1, 1_000, 900_000),
            0,
            "only a person releases it"
        );
        brake.release(400);
        assert_eq!(brake.admit(390, 900, 900_001), 390, "they are meant");
        assert_eq!(brake.admit(100, 510, 900_001), 61, "10 more, and a tenth");
        assert!(brake.is_on());
    }

    #[test]
    fn small_syncs_may_always_delete_a_few() {
        let mut brake = Brake::new(RULE, false);
        assert_eq!(brake.admit(5, 6, 0), 5);
        assert!(!brake.is_on());
        assert_eq!(brake.admit(1, 1, 1), 0);
    }
}
