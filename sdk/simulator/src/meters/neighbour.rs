//! Others who share an allowance: their calls come by chance, at a rate that changes, and are counted before the next
//! of ours is looked at.

use std::ops::RangeInclusive;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::meter::{Meter, Rule};
use super::options::Neighbour;

const HOUR_MS: u64 = 3_600_000;

#[derive(Debug)]
pub(crate) struct Others {
    permille: RangeInclusive<u64>,
    stretch_ms: u64,
    random: ChaCha8Rng,
    /// Which stretch it is, and what is wanted in it.
    stretch: u64,
    wanted: u64,
    /// When the next call comes, in milliseconds with their parts.
    next_ms: f64,
}

impl Others {
    pub(crate) fn new(set: &Neighbour, rule: &Rule, seed: u64, now_ms: u64) -> Self {
        let window_ms = match rule {
            Rule::Window { ms } | Rule::Work { ms } => *ms,
            Rule::Day { .. } | Rule::AtOnce | Rule::Lasting { .. } => HOUR_MS,
        };
        Self {
            permille: set.permille.clone(),
            stretch_ms: set.stretch_ms.unwrap_or(window_ms).max(1),
            // Not the same draws as those of the ways.
            random: ChaCha8Rng::seed_from_u64(seed ^ 0x6e65_6967_6862_6f75),
            stretch: u64::MAX,
            wanted: 0,
            next_ms: now_ms as f64,
        }
    }

    /// They have been there for a stretch before anybody else came.
    pub(crate) fn look_back(&mut self) {
        self.next_ms = (self.next_ms - self.stretch_ms as f64).max(0.0);
    }

    /// Nobody is there yet whose allowance could be shared.
    pub(crate) fn wait(&mut self, now_ms: u64) {
        self.next_ms = now_ms as f64;
    }

    /// Makes the calls that have come since the last look. One that is refused is given up.
    pub(crate) fn catch_up(&mut self, meter: &mut Meter, now_ms: u64) {
        while self.next_ms <= now_ms as f64 {
            let at_ms = self.next_ms as u64;
            let stretch = at_ms / self.stretch_ms;
            if stretch != self.stretch {
                self.stretch = stretch;
                self.wanted = self.random.random_range(self.permille.clone());
            }
            let per_stretch = meter.limit * self.wanted / 1_000;
            if per_stretch > 0 && meter.admits(at_ms, 1) {
                meter.others(at_ms, 1);
            }
            let even_ms = self.stretch_ms as f64 / per_stretch.max(1) as f64;
            let chance: f64 = self.random.random_range(f64::EPSILON..1.0);
            let pause_ms = (-even_ms * chance.ln()).max(0.01);
            // Not beyond the stretch: the next one may want more.
            let end_ms = ((stretch + 1) * self.stretch_ms) as f64;
            self.next_ms = (self.next_ms + pause_ms).min(end_ms);
        }
    }
}
