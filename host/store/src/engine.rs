//! The seam: what an engine promises. Everything above it is the same for every engine.
//!
//! An engine holds small opaque entries (`layout` keeps them within [`ENTRY_BYTES_MAX`]) in key order. It does
//! not know what a record is, and does not judge damage inside an entry.

use std::error::Error;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::batch::Expected;
use crate::range::KeyRange;

/// The largest value that an engine is ever given, in bytes.
pub(crate) const ENTRY_BYTES_MAX: usize = 4096;

/// The storage engines that a store can be made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Log-structured, quick to commit; large on the disk.
    #[default]
    Sled,
    /// A copy-on-write B-tree, small in memory.
    Redb,
}

impl EngineKind {
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// The bound of the cache unless somebody asks for another, in bytes. With it, 500,000 links with their index take
    /// less than 300 MB of memory on either engine. sled holds a cached page as objects, which take about four times
    /// the bytes that it counts: a larger cache buys reads with memory (ARCHITECTURE.md has the curve).
    pub fn cache_bytes_default(self) -> u64 {
        match self {
            Self::Sled => 16 << 20,
            Self::Redb => 64 << 20,
        }
    }

    /// The name in files, options and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One atomic step of an engine. No key is changed twice in it.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) deletes: Vec<Vec<u8>>,
    pub(crate) expects: Vec<(Vec<u8>, Expected)>,
}

/// How a commit ended when the engine itself is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It happened; numbers rise by one within one opening.
    Seq(u64),
    /// Nothing happened, because the expectation at this index does not hold.
    Unexpected(usize),
}

/// What an engine can say about itself without a walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineStats {
    pub(crate) bytes_on_disk: u64,
    pub(crate) cache_bytes_max: u64,
}

/// An engine's own failure. After one from `apply` or `durable` nothing more is asked of the engine: what
/// reached the disk is then known only to the next opening.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("an input or output operation failed")]
    Io(#[source] io::Error),
    #[error("the engine found damage in its files")]
    Damaged(#[source] Box<dyn Error + Send + Sync>),
    #[error("the engine failed")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// Called for each entry in key order; `false` ends the scan.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

/// Ordered entries with one atomic commit.
///
/// - `apply` is called by one thread at a time. Its commit happens wholly or not at all, also across a crash;
///   expectations are checked in the same step; reads that start after it see it. It does not wait for an fsync
///   in progress.
/// - `durable` may run beside `apply` and the reads.
/// - A read sees only whole commits when no `apply` runs beside it; the caller arranges that. `visit` must not
///   ask the engine anything.
pub(crate) trait Engine: Send + Sync {
    fn apply(&self, commit: Commit) -> Result<Applied, EngineError>;

    /// Makes at least the commits up to `seq` survive a power cut, and returns the last one that now does.
    fn durable(&self, seq: u64) -> Result<u64, EngineError>;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Visits the entries of `range` in ascending key order.
    fn scan(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), EngineError>;

    fn stats(&self) -> Result<EngineStats, EngineError>;

    /// Makes the files of a new engine durable, their names included. What was applied is durable already.
    fn settle(&self) -> io::Result<()>;
}

impl From<io::Error> for EngineError {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}
