//! What there is room for, in memory and in the store. Where room is needed, what was used longest ago goes first.

use std::sync::Arc;

use lru::LruCache;

use super::change::{Change, Label};
use super::kept::Kept;
use super::key::Key;

/// One answer takes this part of a tier at most, so that it never clears a tier of all the others.
const PART_MAX: u64 = 4;

/// The most that is kept, in bytes. 0 keeps nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub memory_bytes_max: u64,
    pub store_bytes_max: u64,
}

impl Bounds {
    pub const NONE: Self = Self {
        memory_bytes_max: 0,
        store_bytes_max: 0,
    };
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            memory_bytes_max: 16 << 20,
            store_bytes_max: 64 << 20,
        }
    }
}

/// What is kept now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub memory_answers: u64,
    pub memory_bytes: u64,
    pub store_answers: u64,
    pub store_bytes: u64,
}

/// Where the answer to a read is.
#[derive(Clone, Debug)]
pub enum Found {
    Here(Arc<Kept>),
    /// In the store; the number tells whether it is still the same once it has been fetched.
    Stored(u64),
    Nowhere,
}

/// All that is kept. What the store should no longer hold is told by [`Self::take_doomed`].
#[derive(Debug)]
pub struct Tiers {
    memory: Tier<Arc<Kept>>,
    store: Tier<Stored>,
    serial: u64,
    doomed: Vec<Key>,
}

#[derive(Debug)]
struct Stored {
    label: Arc<Label>,
    serial: u64,
}

impl Tiers {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            memory: Tier::new(bounds.memory_bytes_max),
            store: Tier::new(bounds.store_bytes_max),
            serial: 0,
            doomed: Vec::new(),
        }
    }

    pub fn is_on(&self) -> bool {
        self.memory.bytes_max > 0
    }

    /// Whether anything outlives the process.
    pub fn has_store(&self) -> bool {
        self.store.bytes_max > 0
    }

    pub fn is_empty(&self) -> bool {
        self.memory.answers.is_empty() && self.store.answers.is_empty()
    }

    pub fn find(&mut self, key: &Key) -> Found {
        let stored = self.store.answers.get(key);
        let stored = stored.map(|(_, stored)| stored.serial);
        match (self.memory.answers.get(key), stored) {
            (Some((_, kept)), _) => Found::Here(kept.clone()),
            (None, Some(serial)) => Found::Stored(serial),
            (None, None) => Found::Nowhere,
        }
    }

    /// Keeps an answer in memory, and in the store where it takes so many bytes there: then the number under which
    /// it should be put there is returned.
    pub fn keep(&mut self, key: Key, kept: &Arc<Kept>, record_bytes: Option<u64>) -> Option<u64> {
        self.forget(&key);
        let bytes = kept.bytes();
        // What falls out of memory may still be in the store.
        self.memory.put(key, bytes, kept.clone());
        self.store_as(key, &kept.label, record_bytes?)
    }

    /// An earlier process has left it in the store.
    pub fn restore(&mut self, key: Key, kept: &Kept, record_bytes: u64) {
        self.store_as(key, &kept.label, record_bytes);
    }

    fn store_as(&mut self, key: Key, label: &Arc<Label>, bytes: u64) -> Option<u64> {
        self.serial += 1;
        let stored = Stored {
            label: label.clone(),
            serial: self.serial,
        };
        let gone = self.store.put(key, bytes, stored);
        let kept = !gone.contains(&key);
        self.doomed.extend(gone);
        kept.then_some(self.serial)
    }

    /// Whether the store should hold it under this number.
    pub fn is_stored(&self, key: &Key, serial: u64) -> bool {
        let stored = self.store.answers.peek(key);
        stored.is_some_and(|(_, stored)| stored.serial == serial)
    }

    /// Takes back into memory what was fetched from the store, unless it was forgotten meanwhile.
    pub fn fetched(&mut self, key: Key, serial: u64, kept: &Arc<Kept>) -> bool {
        let still = self.is_stored(&key, serial);
        if still {
            self.memory.put(key, kept.bytes(), kept.clone());
        }
        still
    }

    pub fn forget(&mut self, key: &Key) {
        self.memory.remove(key);
        if self.store.remove(key) {
            self.doomed.push(*key);
        }
    }

    /// Forgets whatever the change makes untrue.
    pub fn change(&mut self, account: &str, change: &Change<'_>) {
        let touched = |label: &Label| label.is_touched(account, change);
        let mut keys = self.memory.matching(|kept| touched(&kept.label));
        keys.extend(self.store.matching(|stored| touched(&stored.label)));
        for key in &keys {
            self.forget(key);
        }
    }

    /// What the store should no longer hold, since the last time that this was asked.
    pub fn take_doomed(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.doomed)
    }

    pub fn figures(&self) -> Figures {
        Figures {
            memory_answers: self.memory.answers.len() as u64,
            memory_bytes: self.memory.bytes,
            store_answers: self.store.answers.len() as u64,
            store_bytes: self.store.bytes,
        }
    }
}

/// Answers or their places, each with what it takes.
#[derive(Debug)]
struct Tier<T> {
    answers: LruCache<Key, (u64, T)>,
    bytes: u64,
    bytes_max: u64,
}

impl<T> Tier<T> {
    fn new(bytes_max: u64) -> Self {
        Self {
            answers: LruCache::unbounded(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Returns what had to go, which may be the answer itself.
    fn put(&mut self, key: Key, bytes: u64, answer: T) -> Vec<Key> {
        self.remove(&key);
        if bytes > self.bytes_max / PART_MAX {
            return vec![key];
        }
        self.answers.put(key, (bytes, answer));
        self.bytes += bytes;
        let mut gone = Vec::new();
        while self.bytes > self.bytes_max
            && let Some((key, (bytes, _))) = self.answers.pop_lru()
        {
            self.bytes -= bytes;
            gone.push(key);
        }
        gone
    }

    fn remove(&mut self, key: &Key) -> bool {
        let removed = self.answers.pop(key);
        self.bytes -= removed.as_ref().map_or(0, |(bytes, _)| *bytes);
        removed.is_some()
    }

    fn matching(&self, is: impl Fn(&T) -> bool) -> Vec<Key> {
        let answers = self.answers.iter();
        answers
            .filter(|(_, (_, answer))| is(answer))
            .map(|(key, _)| *key)
            .collect()
    }
}
