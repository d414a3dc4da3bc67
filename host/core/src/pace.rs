//! When a request may leave.
//!
//! What a request would draw enters; a permit leaves, whole or not at all (invariant 7), or the reason to
//! wait and the time to come back. Never asks for the time and never draws a random number: both are
//! arguments.
//!
//! In reading order:
//! - [`ledger`]: units counted in a window, exact over any window
//! - [`pool`]: one budget of the vendor's, with what is used, reserved, reported and parked
//! - [`report`]: what an answer's headers say of a pool
//! - [`pacer`]: all pools of an endpoint, and who waits for them

pub mod ledger;
pub mod pacer;
pub mod pool;
pub mod report;

pub use pacer::{Draws, Ended, Impossible, Pacer, Settings, Shape, Ticket, UnknownPool};
pub use pool::{PoolCounts, PoolFigures, Throttled};
pub use report::Report;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::DurationError;

/// How urgent work is. Each pool keeps a reserve that lower lanes may not touch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    Critical,
    #[default]
    Normal,
    Backfill,
}

/// What the operator knows better than the manifest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolOverride {
    /// Units; the manifest's figure when `None`. Never exceeded, whatever the vendor reports.
    pub limit: Option<u64>,
    /// The part of the limit that is ours, above 0 and at most 1.
    pub share: f64,
}

/// Why pools can't be made of a manifest and its overrides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("there is no pool called {0} in the plugin's manifest")]
    Unknown(String),
    #[error("the limit of pool {0} can't be set by hand")]
    Fixed(String),
    #[error("pool {0}: a share lies above 0 and is at most 1")]
    Share(String),
    #[error("pool {0}: nothing is left of its limit")]
    Empty(String),
    #[error("pool {pool}: {source}")]
    Duration { pool: String, source: DurationError },
    #[error("pool {pool}: {text:?} is no time zone")]
    Zone { pool: String, text: String },
    #[error("two pools are called {0}")]
    Twice(String),
}

/// When to come back, and why not now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub reason: Reason,
    /// The earliest moment at which asking again makes sense, as far as it is known.
    pub at_ms: u64,
}

/// Why a request has to wait. Every reason is counted by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The pool's units are used.
    PoolSpent { pool: Arc<str> },
    /// What is left is kept for more urgent lanes.
    Reserve { pool: Arc<str> },
    /// The vendor said stop.
    Parked { pool: Arc<str> },
    /// After a stop, one request goes ahead to see whether the pool is open again.
    Probing { pool: Arc<str> },
    /// Others that wait for the same pool come first.
    Queued { pool: Arc<str> },
    /// Units are handed out evenly, so that a burst does not spend the window at its start.
    Smoothed { pool: Arc<str> },
}
