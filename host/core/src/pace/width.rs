//! How many requests an endpoint has at once: one more after each lot of answers as quick as usual, fewer at once when
//! answers become slow or the vendor says stop.

use super::cost::{KINDS, Kind};

/// Where it begins, and its bounds.
const FIRST: f64 = 32.0;
const LEAST: f64 = 2.0;
const MOST: f64 = 256.0;
const SHRINK: f64 = 0.7;
/// So many answers are looked at together, so that the jitter of a few is no reason.
const LOT: u32 = 64;
/// A lot whose mean is so many times that of the quickest one lately, and so much more, is slow.
const SLOWER: f64 = 2.0;
const SLOWER_MS: f64 = 20.0;
/// Lots older than one to two of these are forgotten: vendors change.
const GENERATION_MS: u64 = 300_000;

/// Answers of one kind.
#[derive(Clone, Copy, Debug)]
struct Track {
    answers: u32,
    sum_ms: u64,
    /// Means of the quickest lots, of this generation and the one before.
    quickest_ms: [f64; 2],
    since_ms: u64,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            answers: 0,
            sum_ms: 0,
            quickest_ms: [f64::INFINITY; 2],
            since_ms: 0,
        }
    }
}

impl Track {
    /// Takes in an answer. At the end of a lot tells whether it was slow.
    fn note(&mut self, now_ms: u64, lasted_ms: u64) -> Option<bool> {
        self.answers += 1;
        self.sum_ms += lasted_ms;
        if self.answers < LOT {
            return None;
        }
        let mean_ms = self.sum_ms as f64 / f64::from(self.answers);
        (self.answers, self.sum_ms) = (0, 0);
        let [now, before] = self.quickest_ms;
        let slow = mean_ms > now.min(before) * SLOWER + SLOWER_MS;
        if now_ms.saturating_sub(self.since_ms) >= GENERATION_MS {
            self.quickest_ms = [mean_ms, now];
            self.since_ms = now_ms;
        } else {
            self.quickest_ms[0] = now.min(mean_ms);
        }
        Some(slow)
    }
}

/// One endpoint's requests at once.
#[derive(Clone, Debug)]
pub struct Width {
    width: f64,
    out: u32,
    tracks: Vec<Track>,
    /// What left before has been answered for by the last shrinking.
    shrunk_ms: u64,
}

impl Default for Width {
    fn default() -> Self {
        Self {
            width: FIRST,
            out: 0,
            tracks: vec![Track::default(); KINDS],
            shrunk_ms: 0,
        }
    }
}

impl Width {
    /// Requests that may be out at once.
    pub fn most(&self) -> u32 {
        self.width as u32
    }

    /// Requests that may leave now.
    pub fn room(&self) -> u32 {
        self.most().saturating_sub(self.out)
    }

    pub fn leave(&mut self) {
        self.out += 1;
    }

    /// A request came to nothing that would tell of the vendor.
    pub fn gone(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    /// The vendor did its work in `lasted_ms`.
    pub fn came_back(&mut self, now_ms: u64, kind: Kind, lasted_ms: u64) {
        // Where few are out, their speed says nothing of more.
        let used = f64::from(self.out) * 2.0 >= self.width;
        self.gone();
        match self.tracks[kind.index()].note(now_ms, lasted_ms) {
            Some(true) => self.shrink(now_ms, lasted_ms),
            Some(false) if used => self.width = (self.width + 1.0).min(MOST),
            _ => {}
        }
    }

    /// The vendor said stop after `lasted_ms`, which tells nothing of how long its work takes.
    pub fn stopped(&mut self, now_ms: u64, lasted_ms: u64) {
        self.gone();
        self.shrink(now_ms, lasted_ms);
    }

    /// Once for all that were out together.
    fn shrink(&mut self, now_ms: u64, lasted_ms: u64) {
        if now_ms.saturating_sub(lasted_ms) >= self.shrunk_ms {
            self.width = (self.width * SHRINK).max(LEAST);
            self.shrunk_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    /// Endless work at a vendor that needs `lasts(out, now)` milliseconds. The widths of the second half.
    fn widths(lasts: impl Fn(u32, u64) -> u64) -> (u32, u32) {
        let (mut width, mut now_ms, mut out) = (Width::default(), 0, BinaryHeap::new());
        let (mut least, mut most) = (u32::MAX, 0);
        for answer in 0..60_000 {
            while width.room() > 0 {
                width.leave();
                let lasts_ms = lasts(width.out, now_ms);
                out.push(Reverse((now_ms + lasts_ms, lasts_ms)));
            }
            let Some(Reverse((at_ms, lasted_ms))) = out.pop() else {
                break;
            };
            now_ms = at_ms;
            width.came_back(now_ms, Kind::default(), lasted_ms);
            if answer >= 30_000 {
                (least, most) = (least.min(width.most()), most.max(width.most()));
            }
        }
        (least, most)
    }

    #[test]
    fn it_fits_what_the_vendor_can_do_at_once() {
        // Twenty at once, and queues beyond: none is idle, and the queue stays about as long as the work.
        let (least, most) = widths(|out, _| 100 * u64::from(out.max(20)) / 20);
        assert!(least >= 20 && most <= 60, "{least} to {most}");
        // Nothing slows down: as many as may be.
        assert_eq!(widths(|_, _| 100).1, 256);
        // Jitter alone, between 20 and 500 ms, is no reason.
        let word = Cell::new(7_u64);
        let jitter = |_, _| {
            let next = word.get().wrapping_mul(6_364_136_223_846_793_005);
            word.set(next.wrapping_add(1_442_695_040_888_963_407));
            20 + (word.get() >> 33) % 480
        };
        let (least, most) = widths(jitter);
        assert!(least >= 100, "{least} to {most}");
        // A vendor that becomes smaller is followed.
        let smaller = |out: u32, now_ms: u64| {
            let wide = if now_ms < 20_000 { 100 } else { 10 };
            100 * u64::from(out.max(wide)) / u64::from(wide)
        };
        let (least, most) = widths(smaller);
        assert!(most <= 40, "{least} to {most}");
    }

    #[test]
    fn stops_of_one_round_trip_are_one() {
        let mut width = Width::default();
        (0..32).for_each(|_| width.leave());
        (0..10).for_each(|_| width.stopped(1_000, 100));
        assert_eq!(width.most(), 22);
        (0..22).for_each(|_| width.stopped(1_100, 100));
        assert_eq!(width.most(), 15);
        for at in 0..100 {
            width.leave();
            width.stopped(2_000 + at * 1_000, 100);
        }
        assert_eq!(width.most(), 2, "never nothing");
    }
}
