//! When a request may leave.
//!
//! What a request would draw enters; a permit leaves, whole or not at all (invariant 7), or the reason to
//! wait and the time to come back. Never asks for the time and never draws a random number: both are
//! arguments.
//!
//! In reading order:
//! - [`cost`]: what a request draws, by the manifest's rules
//! - [`identity`]: whose budget a pool is
//! - `pool`: one budget of the vendor's: what it is, and what has been drawn from it
//!   - [`ledger`]: units counted in a window, exact over any window
//!   - `calendar`: days as a zone has them
//!   - `measure`: what a pool counts, and over which time
//!   - `flight`: requests without an answer yet
//!   - `others`: what other applications use of it
//!   - `trail`: what went and fell out lately
//!   - `park`: after the vendor said stop
//!   - `reserve`: what a lane leaves for those above
//!   - `spread`: units handed out evenly
//!   - `room`: whether units can be had, and if not, when
//! - `timing`: how long requests take, and when one has counted
//! - [`report`]: what an answer's headers say of a pool
//! - [`count`]: what comes of a permit in a pool
//!   - [`learned`]: what answers have told of it, for the next host
//!   - `hear`: what its answer tells
//! - `turns`: whose turn it is among the syncs of a lane
//! - `line`: who waits, and in which order
//!   - `tickets`: what tickets stand for
//! - [`pacer`]: all pools, and who waits for them
//!   - `seats`: who sits at it, with which pools
//!   - `stand`: where heads of queues stand
//!   - `back`: permits that come back
//!   - `keep`: what survives a kill
//! - `book`: units on the books before they are used, for hosts that are killed
//! - [`ladder`]: what is asked of everybody as a long allowance runs out
//! - [`accounts`]: several credentials of one endpoint
//! - [`breaker`]: an endpoint that fails is left alone for a while
//! - [`doorway`]: whose turn it is where an endpoint has no room
//! - [`width`]: how many requests an endpoint has at once
//! - [`usage`]: what was used, by hour, pool, sync, operation and lane

pub mod accounts;
mod back;
mod book;
pub mod breaker;
mod calendar;
pub mod cost;
pub mod count;
pub mod doorway;
mod flight;
mod hear;
pub mod identity;
mod keep;
pub mod ladder;
pub mod learned;
pub mod ledger;
mod line;
mod measure;
mod others;
pub mod pacer;
mod park;
mod pool;
pub mod report;
mod reserve;
mod room;
mod seats;
mod spread;
mod stand;
mod tickets;
mod timing;
mod trail;
mod turns;
pub mod usage;
pub mod width;

pub use accounts::{Accounts, Purpose};
pub use breaker::Breaker;
pub use cost::{Draws, Kind, Shape};
pub use count::{PoolCounts, PoolFigures};
pub use doorway::Doorway;
pub use identity::{Identity, PoolKey};
pub use ladder::{Asks, Ladder, Level, Steps};
pub use learned::Learned;
pub use others::Pace;
pub use pacer::{Pacer, Seat, Ticket};
pub use park::Throttled;
pub use report::Report;
pub use usage::{Forecast, Hour, Spender, Spent, Usage};
pub use width::Width;

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
    /// Thousandths of what is ours that the normal lane leaves for the critical one at most, and backfill for both; as for
    /// every pool when `None`.
    pub normal_leaves_permille: Option<u32>,
    pub backfill_leaves_permille: Option<u32>,
}

impl Default for PoolOverride {
    fn default() -> Self {
        Self {
            limit: None,
            share: 1.0,
            normal_leaves_permille: None,
            backfill_leaves_permille: None,
        }
    }
}

/// How lanes share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Thousandths of a pool that the normal lane leaves for the critical one, at most.
    pub normal_leaves_permille: u32,
    /// Thousandths of a pool that backfill leaves for the others, at most.
    pub backfill_leaves_permille: u32,
    /// Who has waited so long gets a turn among the more urgent ones.
    pub promote_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            normal_leaves_permille: 50,
            backfill_leaves_permille: 200,
            promote_after_ms: 3_000,
        }
    }
}

/// How a request with a permit ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With an answer, and what it says of pools.
    Answered(Vec<Report>),
    /// The vendor says that a pool is spent.
    Throttled(Throttled),
    /// Nothing reached the vendor: the units are free again.
    Unsent,
    /// It left, and nothing was heard.
    Lost,
}

/// A request names a pool that the manifest does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no pool called {0}")]
pub struct UnknownPool(pub String);

/// A request that could never pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request draws {units} units of pool {pool}, of which its lane may use {most}")]
pub struct Impossible {
    pub pool: Arc<str>,
    pub units: u64,
    pub most: u64,
}

/// Why pools can't be made of a manifest and its overrides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("there is no pool called {0} in the plugin's manifest")]
    Unknown(String),
    #[error("the limit of pool {0} can't be raised by hand")]
    Fixed(String),
    #[error("pool {0}: a share lies above 0 and is at most 1")]
    Share(String),
    #[error("pool {0}: nothing is left of its limit")]
    Empty(String),
    #[error("pool {0}: a lane can't leave more than all of it for others")]
    Reserve(String),
    #[error(
        "pool {pool}: a request that draws {units} would never pass what is left of its limit, {limit}"
    )]
    Dear {
        pool: String,
        units: u64,
        limit: u64,
    },
    #[error("pool {0}: a window longer than a year never ends")]
    Endless(String),
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
    /// The allowance runs out, and what is left is for more urgent work until it comes back.
    Degraded { pool: Arc<str> },
    /// Its use is not yet on the books that survive a kill.
    Unbooked { pool: Arc<str> },
    /// The endpoint fails, and is left alone for a while or tried with little.
    Failing { endpoint: Arc<str> },
    /// As many requests are out as the endpoint answers well.
    Crowded { endpoint: Arc<str> },
    /// Somebody holds a pool, an endpoint or an account.
    Paused { what: Arc<str> },
}

impl Reason {
    /// The pool, endpoint or account that is waited for.
    pub fn what(&self) -> &Arc<str> {
        match self {
            Self::PoolSpent { pool }
            | Self::Reserve { pool }
            | Self::Parked { pool }
            | Self::Probing { pool }
            | Self::Queued { pool }
            | Self::Smoothed { pool }
            | Self::Degraded { pool }
            | Self::Unbooked { pool } => pool,
            Self::Failing { endpoint } | Self::Crowded { endpoint } => endpoint,
            Self::Paused { what } => what,
        }
    }
}
