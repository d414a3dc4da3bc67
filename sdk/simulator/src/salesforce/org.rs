//! The simulated organisation: everything that a call can read or change, behind one lock.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::answer::ApiError;
use super::bulk::Bulk;
use super::cell::{Cell, Habits};
use super::cursors::Cursors;
use super::faults::Faults;
use super::id::Id;
use super::journal::Journal;
use super::ledger::{InFlight, Ledger};
use super::locks::Locks;
use super::options::Options;
use super::sessions::Sessions;
use super::standard::{self, FieldError};
use super::table::{Row, Table};
use super::transaction::Outer;

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A custom field can't be made.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The journal's file can't be written.
    #[error("the journal {} can't be opened for writing", .path.as_deref().unwrap_or(std::path::Path::new("")).display())]
    Journal {
        /// The file.
        path: Option<std::path::PathBuf>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The port can't be had.
    #[error("port {port} of 127.0.0.1 can't be listened on; choose another with --port")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug)]
pub(crate) struct Org {
    pub(crate) options: Options,
    pub(crate) organization: Id,
    pub(crate) tables: Vec<Table>,
    pub(crate) sessions: Sessions,
    pub(crate) ledger: Ledger,
    pub(crate) in_flight: InFlight,
    pub(crate) locks: Locks,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) cursors: Cursors,
    pub(crate) bulk: Bulk,
    pub(crate) meter: Meter,
    /// When the schema last changed.
    pub(crate) described_ms: i64,
    /// The delete log reaches back to here.
    pub(crate) deletes_since_ms: i64,
    pub(crate) requests: u64,
    /// Set while a composite is answered whose parts stand or fall together.
    pub(crate) outer: Option<Outer>,
}

impl Org {
    pub(crate) fn new(options: Options, now_ms: u64) -> Result<Self, StartError> {
        let mut objects = standard::objects();
        for field in &options.fields {
            standard::add_field(&mut objects, field)?;
        }
        let journal =
            Journal::open(options.journal.as_deref()).map_err(|source| StartError::Journal {
                path: options.journal.clone(),
                source,
            })?;
        let first = options.seed % 1000 * 1_000_000_000;
        let mut tables: Vec<Table> = objects
            .into_iter()
            .map(|object| Table::new(object, first))
            .collect();
        let now = super::moment::whole_seconds(now_ms);
        let organization = found_organization(&mut tables, now);
        if options.duplicate_rule {
            index_duplicates(&mut tables);
        }
        Ok(Self {
            organization,
            tables,
            sessions: Sessions::new(options.session_timeout_ms),
            ledger: Ledger::new(options.daily_limit, options.soft_overage_percent),
            in_flight: InFlight::new(options.long_calls_max),
            locks: Locks::default(),
            faults: Faults::new(options.seed, &options.faults),
            journal,
            cursors: Cursors::new(options.cursor_life_ms),
            bulk: Bulk::new(&options),
            meter: Meter::default(),
            described_ms: now,
            deletes_since_ms: now,
            requests: 0,
            outer: None,
            options,
        })
    }

    /// The table of an object, whatever the case of its name.
    pub(crate) fn table(&self, object: &str) -> Result<usize, ApiError> {
        self.tables
            .iter()
            .position(|table| table.object.name.eq_ignore_ascii_case(object))
            .ok_or_else(ApiError::missing)
    }

    /// When the oldest write began that is not visible yet: no stamp before it can still appear.
    pub(crate) fn settled_ms(&self, now_ms: u64) -> u64 {
        let oldest = [self.in_flight.oldest_ms(), self.bulk.oldest_ms()];
        oldest.into_iter().flatten().fold(now_ms, u64::min)
    }

    pub(crate) fn habits(&self) -> Habits {
        Habits {
            format_phones: self.options.format_phones,
        }
    }

    pub(crate) fn limit_info(&mut self, now_ms: u64) -> String {
        format!(
            "api-usage={}/{}",
            self.ledger.used(now_ms),
            self.ledger.limit()
        )
    }

    pub(crate) fn stats(&mut self, now_ms: u64) -> Value {
        let rows: BTreeMap<&str, usize> = self
            .tables
            .iter()
            .map(|table| (table.object.name.as_str(), table.live()))
            .collect();
        json!({
            "now_ms": now_ms,
            "calls": self.meter.calls,
            "calls_total": self.meter.calls.values().sum::<u64>(),
            "refused": self.meter.refused,
            "faults": self.faults.stats(),
            "windows": {
                "daily": self.ledger.stats(now_ms),
                "long_calls": self.in_flight.stats(),
                "bulk_batches": self.bulk.batches.stats(now_ms),
                "bulk_rows": self.bulk.rows.stats(now_ms),
                "query_jobs": self.bulk.query_jobs.stats(now_ms),
            },
            "jobs": self.bulk.stats(),
            "sessions_given": self.sessions.given(),
            "rows_live": rows,
            "journal_entries": self.journal.len(),
        })
    }
}

/// Calls by kind and refusals by reason.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    calls: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
}

impl Meter {
    pub(crate) fn call(&mut self, kind: &'static str) {
        *self.calls.entry(kind).or_default() += 1;
    }

    pub(crate) fn refusal(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }
}

fn found_organization(tables: &mut [Table], now_ms: i64) -> Id {
    for table in tables {
        if table.object.name != "Organization" {
            continue;
        }
        let id = table.next_id();
        let mut cells = vec![Cell::Null; table.object.cells];
        for (name, value) in [
            ("Name", Cell::text("Simulated Organization")),
            ("IsSandbox", Cell::Flag(true)),
            ("OrganizationType", Cell::text("Developer Edition")),
        ] {
            if let Some(cell) = table.object.cell(name) {
                cells[cell] = value;
            }
        }
        table.put(
            id,
            Row {
                cells: cells.into(),
                created_ms: now_ms,
                modified_ms: now_ms,
                stamp_ms: now_ms,
                gone: None,
            },
        );
        return id;
    }
    Id::new(*b"00D", 0)
}

fn index_duplicates(tables: &mut [Table]) {
    for table in tables {
        if let Some(email) = table.object.cell("Email") {
            table.index(email);
        }
    }
}
