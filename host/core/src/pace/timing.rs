//! How long requests take, by kind, as measured: when one has counted at the vendor's edge, and how long the
//! next one may last.
//!
//! A request counts at the vendor somewhere between its leaving and its answer. What the quickest of its kind
//! needed can't have been lost before the edge alone, so a request has arrived at the latest that much before
//! its answer, measured from where the quickest arrive; the next request arrives no earlier than they. Windows
//! that are kept by these moments hold at the vendor's edge, whatever the jitter of the way, and lose no more
//! than that jitter. How well the quickest is known is measured too: the gap from it to the eighth.

use super::cost::{KINDS, Kind};

/// Round trips older than one to two of these are forgotten: ways and vendors change.
const GENERATION_MS: u64 = 300_000;
/// The quickest ones that are kept; fewer tell nothing.
const QUICKEST: usize = 8;
/// As many have to be known before a kind is called short.
const KNOWN_MIN: u32 = 16;
/// A kind is short when its longest could last so many times as long.
const LONGER: u64 = 4;
/// What the way out has of the time by which round trips are longer than the quickest, and the least of it.
const OVERTAKING_PART: u64 = 8;
const OVERTAKING_MS: u64 = 4;
/// Assumed length of a request before any has been measured.
const REQUEST_MS: u64 = 100;

#[derive(Clone, Copy, Debug, Default)]
struct Generation {
    /// Ascending; the first `count` are filled.
    quickest_ms: [u64; QUICKEST],
    longest_ms: u64,
    count: u32,
}

impl Generation {
    fn note(&mut self, lasted_ms: u64) {
        let known = (self.count as usize).min(QUICKEST);
        let place = self.quickest_ms[..known].partition_point(|known| *known <= lasted_ms);
        if place < QUICKEST {
            let end = known.min(QUICKEST - 1);
            self.quickest_ms.copy_within(place..end, place + 1);
            self.quickest_ms[place] = lasted_ms;
        }
        self.longest_ms = self.longest_ms.max(lasted_ms);
        self.count = self.count.saturating_add(1);
    }

    fn quickest(&self) -> &[u64] {
        &self.quickest_ms[..(self.count as usize).min(QUICKEST)]
    }
}

/// One kind of request.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    now: Generation,
    before: Generation,
    since_ms: u64,
    mean_ms: f64,
    /// Mean distance from the mean.
    off_ms: f64,
}

impl Track {
    fn note(&mut self, now_ms: u64, lasted_ms: u64) {
        if self.now.count == 0 && self.before.count == 0 {
            self.since_ms = now_ms;
            self.mean_ms = lasted_ms as f64;
            self.off_ms = lasted_ms as f64 / 2.0;
        } else if now_ms.saturating_sub(self.since_ms) >= GENERATION_MS {
            self.before = std::mem::take(&mut self.now);
            self.since_ms = now_ms;
        }
        let off = lasted_ms as f64 - self.mean_ms;
        self.mean_ms += off / 8.0;
        self.off_ms += (off.abs() - self.off_ms) / 8.0;
        self.now.note(lasted_ms);
    }

    fn known(&self) -> u32 {
        self.now.count.saturating_add(self.before.count)
    }

    /// The quickest, and by how much the eighth is slower.
    fn quickest(&self) -> Option<(u64, u64)> {
        let mut both = Generation::default();
        let (now, before) = (self.now.quickest(), self.before.quickest());
        now.iter().chain(before).for_each(|ms| both.note(*ms));
        match both.quickest() {
            [first, .., eighth] if both.count as usize >= QUICKEST => {
                Some((*first, eighth - first))
            }
            _ => None,
        }
    }

    /// The part of a round trip that surely comes after the edge, counted from where the quickest arrive.
    fn behind_edge_ms(&self) -> u64 {
        let quickest = self.quickest();
        quickest.map_or(0, |(first_ms, gap_ms)| first_ms.saturating_sub(gap_ms))
    }
}

/// What a request of a kind may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) mean_ms: u64,
    /// Most last no longer than so much beyond the mean.
    pub(super) spare_ms: u64,
    /// None has come near this; `u64::MAX` when too few are known.
    pub(super) bound_ms: u64,
}

/// All kinds of one credential's requests.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    tracks: Vec<Track>,
    mean_ms: f64,
    /// Mean of what was kept for the jitter of the way.
    jitter_ms: f64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tracks: vec![Track::default(); KINDS],
            mean_ms: REQUEST_MS as f64,
            jitter_ms: 0.0,
        }
    }
}

impl Timing {
    /// Takes in an answer, and tells how long before it the request has counted at the latest.
    pub(super) fn answered(&mut self, now_ms: u64, kind: Kind, lasted_ms: u64) -> u64 {
        let track = &mut self.tracks[kind.index()];
        track.note(now_ms, lasted_ms);
        let behind_ms = track.behind_edge_ms().min(lasted_ms);
        self.mean_ms += (lasted_ms as f64 - self.mean_ms) / 8.0;
        self.jitter_ms += ((lasted_ms - behind_ms) as f64 - self.jitter_ms) / 32.0;
        behind_ms
    }

    /// Requests that leave so close to each other may overtake each other on the way, which is taken for a small part
    /// of what they differ by in all.
    pub(super) fn overtaking_ms(&self, kind: Kind) -> u64 {
        let track = &self.tracks[kind.index()];
        let quickest = track.quickest();
        quickest.map_or(REQUEST_MS, |(first_ms, _)| {
            (track.mean_ms as u64).saturating_sub(first_ms) / OVERTAKING_PART + OVERTAKING_MS
        })
    }

    pub(super) fn expected(&self, kind: Kind) -> Expected {
        let track = &self.tracks[kind.index()];
        let known = track.known();
        let longest_ms = track.now.longest_ms.max(track.before.longest_ms);
        Expected {
            mean_ms: match known {
                0 => self.mean_ms(),
                _ => track.mean_ms.ceil() as u64,
            },
            spare_ms: match known {
                0 => self.mean_ms() * (LONGER - 1),
                _ => (LONGER as f64 * track.off_ms).ceil() as u64,
            },
            bound_ms: match known {
                KNOWN_MIN.. => longest_ms.saturating_mul(LONGER),
                _ => u64::MAX,
            },
        }
    }

    /// Of all requests lately, at least 1.
    pub(super) fn mean_ms(&self) -> u64 {
        (self.mean_ms.round() as u64).max(1)
    }

    /// By how much longer than its window a request has counted lately, on average.
    pub(super) fn jitter_ms(&self) -> u64 {
        self.jitter_ms.ceil() as u64
    }
}
