//! Jobs that a vendor works on: what is kept of each, and which rows it carries, until every one is settled.
//!
//! A row that travels in a job keeps its intent, and one small record more that names the job. Both go in the
//! transaction that settles the row, so a host that starts again finds exactly the rows that are still out, and
//! asks the vendor after the job instead of sending them again.

use serde::{Deserialize, Serialize};

use crate::pace::Lane;
use crate::plugin;
use crate::sync::Side;

/// Names a job within its sync. Numbers are given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// A job under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub target: Side,
    /// Of the manifest's table.
    pub method: String,
    pub lane: Lane,
    /// What the connector asks after it with.
    pub state: Vec<u8>,
    /// Microseconds since 1970: when the vendor was given it, and when it is asked next.
    pub begun_us: i64,
    pub due_us: i64,
    /// Times that the vendor was asked.
    pub polls: u32,
}

/// A row that travels in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    pub job: JobId,
    /// Of the entry, when the write was decided on.
    pub generation: u32,
    /// The write makes the record.
    pub create: bool,
}

impl Job {
    pub fn new(target: Side, method: &str, lane: Lane, told: &plugin::Job, now_us: i64) -> Self {
        let mut job = Self {
            target,
            method: method.to_owned(),
            lane,
            state: Vec::new(),
            begun_us: now_us,
            due_us: now_us,
            polls: 0,
        };
        job.goes_on(told, now_us);
        job
    }

    /// The vendor was asked and is not done.
    pub fn asked(&mut self, told: &plugin::Job, now_us: i64) {
        self.polls = self.polls.saturating_add(1);
        self.goes_on(told, now_us);
    }

    fn goes_on(&mut self, told: &plugin::Job, now_us: i64) {
        self.state.clone_from(&told.state);
        self.due_us = now_us.saturating_add(i64::from(told.wait_ms) * 1_000);
    }
}
