//! What a person is told in the end, and what `--report` writes.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::Compared;
use crate::status::{Latency, Status};

/// Measures the demo itself, which is no part of the host.
pub(super) struct Timer(std::time::Instant);

impl Timer {
    #[allow(
        clippy::disallowed_methods,
        reason = "the demo times the host from outside"
    )]
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Milliseconds from the source's commit to the destination's answer; 0 when nothing went that way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyMs {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directions {
    pub to_crm: LatencyMs,
    pub to_database: LatencyMs,
}

/// The figures of one demo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// People at the start.
    pub records: u64,
    /// People and contacts in the end.
    pub people: u64,
    pub contacts: u64,
    pub converged: bool,
    pub fields_compared: u64,
    /// Fields that differ between the two sides.
    pub mismatches: u64,
    /// Records that are on one side only, and fields that hold what nobody gave them last.
    pub lost: u64,
    pub duplicates: u64,
    /// Calls that the host made to the org.
    pub api_calls: u64,
    /// Those of the first sync.
    pub first_sync_calls: u64,
    /// One call per changed record, as an integration made by hand would need.
    pub naive_calls: u64,
    /// Requests that the org refused for its limits.
    pub throttled: u64,
    pub conflicts: u64,
    pub latency_ms: Directions,
    pub peak_rss_mb: f64,
    pub first_sync_seconds: f64,
    pub seconds: f64,
    /// The first few things that are not as they should be.
    pub findings: Vec<String>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.converged && self.throttled == 0
    }

    /// Calls of the host after the first sync.
    pub fn later_calls(&self) -> u64 {
        self.api_calls.saturating_sub(self.first_sync_calls)
    }

    /// Records changed after the first sync.
    pub fn later_changes(&self) -> u64 {
        self.naive_calls.saturating_sub(self.records)
    }

    /// Adds one host's figures before it ends; a latency counts as the worse of the two hosts'.
    pub(super) fn add_status(&mut self, status: &Status) {
        for sync in &status.syncs {
            self.conflicts += sync.conflicts;
            worse(&mut self.latency_ms.to_crm, sync.left_to_right);
            worse(&mut self.latency_ms.to_database, sync.right_to_left);
        }
    }

    pub(super) fn add_memory(&mut self, kb: u64) {
        self.peak_rss_mb = self.peak_rss_mb.max(kb as f64 / 1024.0);
    }

    pub(super) fn add_compared(&mut self, compared: Compared) {
        self.people = compared.people;
        self.contacts = compared.contacts;
        self.fields_compared = compared.fields;
        self.mismatches = compared.mismatches;
        self.lost = compared.lost;
        self.duplicates = compared.duplicates;
        self.findings = compared.findings;
        self.converged = self.mismatches == 0 && self.lost == 0 && self.duplicates == 0;
    }

    pub(super) fn add_calls(&mut self, stats: &Value, others: u64, changes: u64) {
        self.api_calls = stats["calls_total"]
            .as_u64()
            .unwrap_or(0)
            .saturating_sub(others);
        self.naive_calls = changes;
        self.throttled = ["daily", "long_calls"]
            .iter()
            .filter_map(|window| stats["windows"][window]["refused"].as_u64())
            .sum();
    }
}

fn worse(known: &mut LatencyMs, latency: Latency) {
    known.p50 = known.p50.max(latency.p50_ms.unwrap_or(0));
    known.p99 = known.p99.max(latency.p99_ms.unwrap_or(0));
    known.max = known.max.max(latency.max_ms.unwrap_or(0));
}

/// Percent of the calls that were not made.
fn saved(calls: u64, instead_of: u64) -> f64 {
    100.0 - 100.0 * calls as f64 / instead_of.max(1) as f64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_clean() {
            "in step"
        } else {
            "NOT in step"
        };
        writeln!(
            f,
            "\n  {verdict}: {} people here, {} contacts there",
            self.people, self.contacts
        )?;
        writeln!(
            f,
            "  {:>9}  fields compared, {} differ",
            self.fields_compared, self.mismatches
        )?;
        writeln!(f, "  {:>9}  lost", self.lost)?;
        writeln!(f, "  {:>9}  doubled", self.duplicates)?;
        writeln!(f, "  {:>9}  requests refused for a limit", self.throttled)?;
        writeln!(f, "  {:>9}  conflicts decided", self.conflicts)?;
        let in_all = saved(self.api_calls, self.naive_calls);
        writeln!(
            f,
            "  {:>9}  API calls, where one call a change would have been {} ({in_all:.1} % saved)",
            self.api_calls, self.naive_calls
        )?;
        let parts = [
            (
                "of them for the first sync",
                self.first_sync_calls,
                self.records,
            ),
            ("of them after it", self.later_calls(), self.later_changes()),
        ];
        for (part, calls, changes) in parts {
            let saved = saved(calls, changes);
            writeln!(
                f,
                "  {calls:>9}  {part}, instead of {changes} ({saved:.1} % saved)"
            )?;
        }
        let ways = [
            ("to the CRM", self.latency_ms.to_crm),
            ("to the database", self.latency_ms.to_database),
        ];
        for (way, latency) in ways {
            writeln!(
                f,
                "  {:>6} ms  {way}, from commit to answer (99 % within {} ms, all within {} ms)",
                latency.p50, latency.p99, latency.max
            )?;
        }
        writeln!(
            f,
            "  {:>6.0} MB  most memory the host had",
            self.peak_rss_mb
        )?;
        writeln!(
            f,
            "  {:>7.1} s  in all, {:.1} s of it for the first sync",
            self.seconds, self.first_sync_seconds
        )?;
        for finding in &self.findings {
            writeln!(f, "  ! {finding}")?;
        }
        Ok(())
    }
}
