//! Which came first: what a source was asked, or what we wrote.
//!
//! A page may show a record as it was before a write of ours that has settled meanwhile. Pulls and writes
//! draw numbers from one counter, so that such rows are recognised and read again before they are believed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_core::record::LinkId;
use tidegate_core::sync::Side;

#[derive(Debug, Default)]
struct State {
    last: u64,
    pulls: BTreeSet<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<State>);

impl Marks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source is about to be asked.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let mark = state.last;
        state.pulls.insert(mark);
        mark
    }

    pub(super) fn end(&self, mark: u64) {
        self.state().pulls.remove(&mark);
    }

    /// Something was written or read now.
    pub(super) fn now(&self) -> u64 {
        let mut state = self.state();
        state.last += 1;
        state.last
    }

    /// The oldest pull under way; what ended before it can't be in a page any more.
    fn oldest(&self) -> u64 {
        let state = self.state();
        state.pulls.first().copied().unwrap_or(state.last)
    }
}

/// Records touched lately, with the moment and the side.
#[derive(Debug)]
pub(super) struct Touched {
    at: HashMap<(LinkId, Side), u64>,
    /// So many are kept before those that can't matter any more are looked for.
    most: usize,
}

const TOUCHED_LEAST: usize = 20_000;

impl Default for Touched {
    fn default() -> Self {
        Self {
            at: HashMap::new(),
            most: TOUCHED_LEAST,
        }
    }
}

impl Touched {
    pub(super) fn note(&mut self, link: LinkId, side: Side, marks: &Marks) {
        if self.at.len() >= self.most {
            let oldest = marks.oldest();
            self.at.retain(|_, at| *at > oldest);
            // A long pull keeps them all: looking through them for each new one would cost more than they do.
            self.most = (2 * self.at.len()).max(TOUCHED_LEAST);
        }
        self.at.insert((link, side), marks.now());
    }

    pub(super) fn since(&self, link: LinkId, side: Side, mark: u64) -> bool {
        self.at.get(&(link, side)).is_some_and(|at| *at > mark)
    }
}
