//! Every write that was committed, in order, whether or not its client ever heard of it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One record created, updated or deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 without a gap.
    pub seq: u64,
    /// When the transaction began, in milliseconds since 1970 by the simulator's clock.
    pub at_ms: u64,
    /// `create`, `update`, `delete`, `hard-delete`, `undelete` or `merge`.
    pub op: String,
    /// The sObject.
    pub object: String,
    /// The record, in 18 characters.
    pub id: String,
    /// The record's external ids after the write, empty ones left out.
    pub external_ids: Map<String, Value>,
    /// The fields that changed, with what they hold now.
    pub fields: Map<String, Value>,
    /// Who wrote: the client of `Sforce-Call-Options`, or else the user agent.
    pub client: String,
    /// The request, counted from 1; a request that was executed twice has two numbers.
    pub request: u64,
}

/// Entries are kept as their lines: half a million of them as values would take gigabytes.
#[derive(Debug)]
pub(crate) struct Journal {
    lines: Vec<Box<str>>,
    file: Option<File>,
}

impl Journal {
    /// With a path, entries are also appended to that file, which is emptied first.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            lines: Vec::new(),
            file: path.map(File::create).transpose()?,
        })
    }

    /// Takes a committed transaction. The lines are with the operating system when this returns, so
    /// they outlive both the client and the simulator.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let first = self.lines.len();
        for mut entry in entries {
            entry.seq = self.lines.len() as u64 + 1;
            let line = serde_json::to_string(&entry)? + "\n";
            self.lines.push(line.into());
        }
        match &mut self.file {
            Some(file) => file.write_all(self.lines[first..].concat().as_bytes()),
            None => Ok(()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// One JSON object each, with its line feed.
    pub(crate) fn lines_after(&self, seq: u64) -> &[Box<str>] {
        let from = usize::try_from(seq).unwrap_or(usize::MAX);
        self.lines.get(from..).unwrap_or_default()
    }

    pub(crate) fn after(&self, seq: u64) -> Vec<Entry> {
        let lines = self.lines_after(seq).iter();
        // Each line was written by this very room.
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}
