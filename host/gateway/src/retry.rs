//! Repeating within bounds: pauses with jitter, and a budget so that failure can't multiply load.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Repeats that may happen in a row, in thousandths; a request earns a tenth of one.
const BUDGET_MAX: i64 = 10_000;
const REPEAT_COSTS: i64 = 1_000;
const REQUEST_EARNS: i64 = 100;

/// The pause before the first repeat is at most this long; it doubles each time.
const PAUSE_FIRST_MS: u64 = 500;
const PAUSE_MAX_MS: u64 = 30_000;
const PAUSE_MIN_MS: u64 = 20;

/// Repeats in the long run are at most a tenth of the requests.
#[derive(Debug)]
pub(crate) struct Budget(AtomicI64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicI64::new(BUDGET_MAX))
    }
}

impl Budget {
    pub(crate) fn earn(&self) {
        self.add(REQUEST_EARNS);
    }

    /// `false` when nothing is left: then a failure is passed on as it is.
    pub(crate) fn spend(&self) -> bool {
        self.add(-REPEAT_COSTS)
    }

    fn add(&self, amount: i64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                let left = left + amount;
                (left >= 0).then_some(left.min(BUDGET_MAX))
            })
            .is_ok()
    }
}

/// Random numbers that a seed decides (invariant 12).
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// From 0 up to 1 (splitmix64).
    pub(crate) fn roll(&self) -> f64 {
        let mut word = self
            .0
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        (word >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The pause after so many tries, with full jitter.
    pub(crate) fn pause_ms(&self, tried: u32) -> u64 {
        let most = (PAUSE_FIRST_MS << tried.saturating_sub(1).min(10)).min(PAUSE_MAX_MS);
        PAUSE_MIN_MS + (most as f64 * self.roll()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_can_not_multiply_load() {
        let budget = Budget::default();
        let mut repeats = 0;
        for _ in 0..1_000 {
            budget.earn();
            repeats += usize::from(budget.spend()) + usize::from(budget.spend());
        }
        assert!((100..=110).contains(&repeats), "{repeats} repeats of 1000");
    }

    #[test]
    fn the_same_seed_rolls_the_same() {
        let (one, other) = (Dice::new(7), Dice::new(7));
        for _ in 0..100 {
            let rolled = one.roll();
            assert!((0.0..1.0).contains(&rolled));
            assert!(rolled.to_bits() == other.roll().to_bits());
        }
    }
}
