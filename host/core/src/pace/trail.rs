//! What went out and what fell out lately, to tell how a pool stood a moment ago: a reading is of the moment at
//! which its request reached the vendor, and heard later.

use std::collections::VecDeque;

const MOMENTS_MAX: usize = 1_024;

#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    /// By moment, oldest first.
    moments: VecDeque<(u64, u64)>,
}

impl Trail {
    pub(super) fn note(&mut self, at_ms: u64, units: u64) {
        if self.moments.len() == MOMENTS_MAX {
            self.moments.pop_front();
        }
        self.moments.push_back((at_ms, units));
    }

    /// Takes back units that were noted at a moment.
    pub(super) fn take_back(&mut self, at_ms: u64, units: u64) {
        let mut moments = self.moments.iter_mut().rev();
        let noted = moments.find(|(known, noted)| *known == at_ms && *noted >= units);
        if let Some((_, noted)) = noted {
            *noted -= units;
        }
    }

    /// Units after a moment.
    pub(super) fn after(&self, at_ms: u64) -> u64 {
        let later = self.moments.iter().rev();
        let later = later.take_while(|(known, _)| *known > at_ms);
        later.map(|(_, units)| units).sum()
    }
}
