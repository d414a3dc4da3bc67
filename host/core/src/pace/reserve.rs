//! What a lane leaves for the lanes above it.
//!
//! In a short window a reserve that nobody needs would be lost, so it is as large as the lanes above have shown
//! to need, up to its setting. A long window comes back too late for that: there the setting stands.

use super::{Lane, Settings};

/// Demand is forgotten over so many windows.
const WINDOWS: f64 = 2.0;
/// Units come back all the time, so that only a part of it has to be there at once.
const PART: f64 = 8.0;

/// Units that the upper lanes have asked for lately.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    /// `None` where the setting stands.
    window_ms: Option<u64>,
    critical: f64,
    normal: f64,
    at_ms: u64,
}

impl Demand {
    pub(super) fn new(window_ms: Option<u64>) -> Self {
        Self {
            window_ms,
            critical: 0.0,
            normal: 0.0,
            at_ms: 0,
        }
    }

    fn kept(&self, now_ms: u64) -> f64 {
        let Some(window_ms) = self.window_ms else {
            return 1.0;
        };
        let passed = now_ms.saturating_sub(self.at_ms) as f64;
        (1.0 - passed / (window_ms as f64 * WINDOWS)).max(0.0)
    }

    /// Takes in what a request asks for; no more than `most` can be wanted at once.
    pub(super) fn asked(&mut self, now_ms: u64, lane: Lane, units: u64, most: u64) {
        let kept = self.kept(now_ms);
        self.critical *= kept;
        self.normal *= kept;
        self.at_ms = now_ms;
        let wanted = match lane {
            Lane::Critical => &mut self.critical,
            Lane::Normal => &mut self.normal,
            Lane::Backfill => return,
        };
        *wanted = (*wanted + units as f64).min(most as f64);
    }

    /// Units of `limit` that the lane leaves.
    pub(super) fn reserve(&self, now_ms: u64, lane: Lane, limit: u64, settings: &Settings) -> u64 {
        let set = most(lane, limit, settings);
        if set == 0 || self.window_ms.is_none() {
            return set;
        }
        let wanted = match lane {
            Lane::Critical => 0.0,
            Lane::Normal => self.critical,
            Lane::Backfill => self.critical + self.normal,
        };
        set.min((wanted * self.kept(now_ms) / PART).ceil() as u64)
    }
}

/// The most that the lane will ever leave.
pub(super) fn most(lane: Lane, limit: u64, settings: &Settings) -> u64 {
    let permille = match lane {
        Lane::Critical => 0,
        Lane::Normal => settings.normal_leaves_permille,
        Lane::Backfill => settings.backfill_leaves_permille,
    };
    (u128::from(limit) * u128::from(permille.min(1_000)) / 1_000) as u64
}
