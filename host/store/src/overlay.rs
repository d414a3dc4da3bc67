//! Commits that an engine has taken but not yet written: visible at once, written in groups.
//!
//! Two layers over the engine's own tree: what was applied since the last write, and what is being written now.
//! A reader that looks through the layers first and at the tree after that misses nothing, because a layer is
//! dropped only when the tree holds it.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;
use std::sync::Arc;

use crate::range::KeyRange;

/// What a key became; `None` is a delete.
pub(crate) type Layer = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Default)]
pub(crate) struct Overlay {
    /// Applied since the last write began.
    fresh: Layer,
    /// Keys and entries in `fresh`, in bytes, counting what was replaced: a bound, not a measure.
    fresh_bytes: usize,
    writing: Option<Arc<Layer>>,
    /// The last commit in `fresh`.
    seq: u64,
}

impl Overlay {
    /// `None` when the layers don't know the key and the tree must be asked.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let writing = || self.writing.as_ref().and_then(|layer| layer.get(key));
        self.fresh
            .get(key)
            .or_else(writing)
            .map(|change| change.as_deref())
    }

    /// Takes one commit and returns its number.
    pub(crate) fn push(
        &mut self,
        changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> u64 {
        for (key, change) in changes {
            self.fresh_bytes += key.len() + change.as_ref().map_or(0, Vec::len);
            self.fresh.insert(key, change);
        }
        self.seq += 1;
        self.seq
    }

    pub(crate) fn fresh_bytes(&self) -> usize {
        self.fresh_bytes
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Moves what is fresh to be written; the next commits go to a new layer.
    pub(crate) fn begin_write(&mut self) -> Arc<Layer> {
        let layer = Arc::new(std::mem::take(&mut self.fresh));
        self.fresh_bytes = 0;
        self.writing = Some(Arc::clone(&layer));
        layer
    }

    /// The tree holds what was being written.
    pub(crate) fn end_write(&mut self) {
        self.writing = None;
    }

    /// The changes in a range, newest layer first where both know a key.
    pub(crate) fn range<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        static NOTHING: Layer = Layer::new();
        let writing = self.writing.as_deref().unwrap_or(&NOTHING);
        Newest {
            fresh: self.fresh.range::<[u8], _>(range.as_bounds()).peekable(),
            writing: writing.range::<[u8], _>(range.as_bounds()).peekable(),
        }
        .map(|(key, change)| (key.as_slice(), change.as_deref()))
    }
}

type LayerRange<'a> = btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>;

struct Newest<'a> {
    fresh: Peekable<LayerRange<'a>>,
    writing: Peekable<LayerRange<'a>>,
}

impl<'a> Iterator for Newest<'a> {
    type Item = (&'a Vec<u8>, &'a Option<Vec<u8>>);

    fn next(&mut self) -> Option<Self::Item> {
        match (self.fresh.peek(), self.writing.peek()) {
            (Some((fresh, _)), Some((writing, _))) if fresh > writing => self.writing.next(),
            (Some((fresh, _)), Some((writing, _))) => {
                if fresh == writing {
                    self.writing.next();
                }
                self.fresh.next()
            }
            (Some(_), None) => self.fresh.next(),
            (None, _) => self.writing.next(),
        }
    }
}
