//! How far something is, how fast it goes, and how long the rest will take.
//!
//! The rate is that of the last minute, so that a change of pace is soon seen, and a standstill too: nothing that goes no
//! more gets a time that it will take.

use std::collections::VecDeque;

/// What lies longer back says nothing of how fast it goes now.
const WINDOW_MS: u64 = 60_000;
/// Marks are no closer than this, and nothing younger has a rate.
const STEP_MS: u64 = 1_000;

/// How fast a count grows, of late.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Moments and the count then, oldest first. One is as old as the window or older, once there is any.
    marks: VecDeque<(u64, u64)>,
    /// The last one, which may be closer than a step to the one before.
    latest: Option<(u64, u64)>,
}

impl Rate {
    /// The count is this now. It never goes back; where it does, it begins anew.
    pub fn note(&mut self, now_ms: u64, count: u64) {
        if self.latest.is_some_and(|(_, latest)| count < latest) {
            self.marks.clear();
        }
        self.latest = Some((now_ms, count));
        let due = self
            .marks
            .back()
            .is_none_or(|(last_ms, _)| *last_ms + STEP_MS <= now_ms);
        if due {
            self.marks.push_back((now_ms, count));
        }
        self.forget(now_ms);
    }

    fn forget(&mut self, now_ms: u64) {
        let from_ms = now_ms.saturating_sub(WINDOW_MS);
        while self
            .marks
            .get(1)
            .is_some_and(|(at_ms, _)| *at_ms <= from_ms)
        {
            self.marks.pop_front();
        }
    }

    /// So many a second; `None` before there is anything to go by.
    pub fn per_s(&self, now_ms: u64) -> Option<f64> {
        let (_, count) = self.latest?;
        let from_ms = now_ms.saturating_sub(WINDOW_MS);
        // What was so at the window's beginning: the last mark before it, or the first there is.
        let before = self.marks.iter().rev().find(|(at_ms, _)| *at_ms <= from_ms);
        let (at_ms, then) = match before {
            Some((_, then)) => (from_ms, *then),
            None => *self.marks.front()?,
        };
        let passed_ms = now_ms.saturating_sub(at_ms);
        (passed_ms >= STEP_MS).then(|| (count - then) as f64 * 1_000.0 / passed_ms as f64)
    }

    /// How long it takes at this rate until `left` more are done; `None` when nobody can tell.
    pub fn left_ms(&self, now_ms: u64, left: u64) -> Option<u64> {
        if left == 0 {
            return Some(0);
        }
        let per_s = self.per_s(now_ms).filter(|per_s| *per_s > 0.0)?;
        Some((left as f64 * 1_000.0 / per_s).ceil() as u64)
    }
}

/// Of a side that is read whole.
#[derive(Clone, Debug, Default)]
pub struct FirstRead {
    /// Rows so far, those before a restart included.
    pub rows: u64,
    /// How many there were when it began, where the source could tell.
    pub of: Option<u64>,
    pub done: bool,
    rate: Rate,
}

impl FirstRead {
    /// Goes on from `rows`.
    pub fn new(rows: u64, of: Option<u64>, now_ms: u64) -> Self {
        let mut rate = Rate::default();
        rate.note(now_ms, rows);
        Self {
            rows,
            of,
            done: false,
            rate,
        }
    }

    /// A page came in.
    pub fn read(&mut self, now_ms: u64, rows: u64) {
        self.rows += rows;
        self.rate.note(now_ms, self.rows);
    }

    /// Rows a second; `None` at its beginning, and when it is over.
    pub fn per_s(&self, now_ms: u64) -> Option<f64> {
        self.rate.per_s(now_ms).filter(|_| !self.done)
    }

    /// 0 when it is over. `None` when nobody can tell, as for a source that has turned out to hold more than it said.
    pub fn left_ms(&self, now_ms: u64) -> Option<u64> {
        match self.of {
            _ if self.done => Some(0),
            Some(of) if of > self.rows => self.rate.left_ms(now_ms, of - self.rows),
            _ => None,
        }
    }
}
