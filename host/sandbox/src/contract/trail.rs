//! Where a stream's cursor has lately been, so that one which goes back is noticed.
//!
//! Cursors are opaque, so their order is only known by having seen them. What is remembered is a digest of the
//! last few; it is lost at a restart, when at worst a loop is noticed one round later.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tidegate_core::plugin::{ChangeStream, Page, StreamKind};

use super::broken;
use crate::call::CallError;

const STEPS_MAX: usize = 64;

/// A stream is known by its endpoint, its kind and the objects that it selects.
pub(crate) type StreamKey = (Arc<str>, StreamKind, Vec<String>);

pub(crate) fn stream_key(endpoint: &Arc<str>, stream: &ChangeStream) -> StreamKey {
    let objects = stream.selections.iter();
    let objects = objects.map(|selection| selection.object.clone()).collect();
    (Arc::clone(endpoint), stream.kind, objects)
}

/// The last cursors of one stream, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    steps: VecDeque<u64>,
}

impl Trail {
    /// Takes the step from the cursor that was given to the one that came back.
    pub(crate) fn advance(&mut self, stream: &ChangeStream, page: &Page) -> Result<(), CallError> {
        match &stream.cursor {
            None => self.steps.clear(),
            Some(given) => self.stand_at(digest(given)),
        }
        let next = digest(&page.cursor);
        let read = page.more || page.changes.iter().any(|set| set.batch.rows > 0);
        let stands = self.steps.back() == Some(&next);
        if !stands && read && self.steps.contains(&next) {
            let message = "pull went back to a cursor that it had already left".to_owned();
            return broken("cursor-went-back", message);
        }
        self.stand_at(next);
        Ok(())
    }

    /// The host may itself go back, after a page that it could not store.
    fn stand_at(&mut self, step: u64) {
        if let Some(position) = self.steps.iter().position(|known| *known == step) {
            self.steps.truncate(position + 1);
            return;
        }
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }
}

fn digest(cursor: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    cursor.hash(&mut hasher);
    hasher.finish()
}
