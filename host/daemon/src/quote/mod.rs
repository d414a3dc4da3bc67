//! `tidegate plan`: what the syncs would write and what that costs, before a host runs.
//!
//! The endpoints are asked for their schemas and counts, and the store for what waits; [`price`] reckons the rest. Changes
//! nothing anywhere.
//!
//! In reading order:
//! - [`look`]: what must be asked, and what the asking costs
//! - [`reckon`]: what it comes to; [`reasons`]: by which methods, and why
//! - [`budget`]: whether it may

pub(crate) mod budget;
pub(crate) mod look;
pub(crate) mod reasons;
mod reckon;

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::OperationKind;
use tidegate_core::price::{Idle, Pushes};

pub(crate) use reckon::reckon;

/// What all of it would cost.
#[derive(Debug, Serialize)]
pub(crate) struct Quote {
    pub(crate) directions: Vec<Direction>,
    pub(crate) endpoints: Vec<EndpointQuote>,
    /// Budgets that it does not keep, or may not.
    pub(crate) over: Vec<budget::Over>,
}

/// What one side of a sync brings to the other.
#[derive(Debug, Serialize)]
pub(crate) struct Direction {
    pub(crate) sync: String,
    pub(crate) from: Place,
    pub(crate) to: Place,
    /// `None` when nothing is left to be read whole.
    pub(crate) first_read: Option<FirstRead>,
    /// Writes that an earlier host did not hear the outcome of: they are looked up first.
    pub(crate) under_way: u64,
    pub(crate) writes: Vec<Write>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Place {
    pub(crate) endpoint: String,
    pub(crate) object: String,
}

/// All records of a side, read once.
#[derive(Debug, Serialize)]
pub(crate) struct FirstRead {
    /// `None` when the endpoint does not tell; then only the least that it costs is known.
    pub(crate) records: Option<u64>,
    /// A part has been read already, so that all of this is the most.
    pub(crate) begun: bool,
    /// The manifest's name for the way; empty where the manifest has none.
    pub(crate) way: String,
    pub(crate) calls: u64,
}

/// Rows of one operation in one lane.
#[derive(Debug, Serialize)]
pub(crate) struct Write {
    pub(crate) lane: Lane,
    pub(crate) operation: OperationKind,
    pub(crate) rows: u64,
    /// What both sides hold already is not written.
    pub(crate) at_most: bool,
    pub(crate) by: Vec<Pushes>,
    /// Rows of the largest round, and why it goes by the method that it goes by.
    pub(crate) round: usize,
    pub(crate) methods: Vec<reasons::Explanation>,
    /// Rows that no method of the target carries.
    pub(crate) refused: u64,
}

/// What an endpoint's allowances are asked for.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointQuote {
    pub(crate) endpoint: String,
    pub(crate) calls: Purposes,
    /// Whether all that brings calls could be counted; else they are the least.
    pub(crate) complete: bool,
    pub(crate) pools: Vec<PoolQuote>,
    /// By the pools' pace, each call taken to last a second; `None` when it never ends.
    pub(crate) lasts_ms: Option<u64>,
    /// Why it never ends; empty when it does.
    pub(crate) never: String,
    pub(crate) idle: Idle,
    /// What this plan took to find out: requests, or statements.
    pub(crate) asked: u64,
}

/// Calls by what they are for.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Purposes {
    pub(crate) all: u64,
    /// Schemas and what is set up, before the first change moves.
    pub(crate) opening: u64,
    /// Where changes count from now on.
    pub(crate) first_looks: u64,
    pub(crate) first_reads: u64,
    pub(crate) writes: u64,
    /// What was written comes back among the changes.
    pub(crate) read_back: u64,
}

/// One allowance.
#[derive(Debug, Serialize)]
pub(crate) struct PoolQuote {
    pub(crate) pool: String,
    pub(crate) units: u64,
    /// Tidegate's part of what the pool gives in a day.
    pub(crate) per_day: u64,
    /// In tenths of a percent, rounded up.
    pub(crate) permille_of_day: u64,
    /// In its window now, by anybody.
    pub(crate) used: u64,
    pub(crate) idle_units: u64,
    pub(crate) idle_permille_of_day: u64,
}

/// Units by pool.
type Units = BTreeMap<String, u64>;
