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
    /// `create`, `update`, `delete`, `undelete` or `merge`.
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

#[derive(Debug)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
    file: Option<File>,
}

impl Journal {
    /// With a path, entries are also appended to that file, which is emptied first.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            entries: Vec::new(),
            file: path.map(File::create).transpose()?,
        })
    }

    /// Takes a committed transaction. The lines are with the operating system when this returns, so
    /// they outlive both the client and the simulator.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let mut lines = Vec::new();
        for mut entry in entries {
            entry.seq = self.entries.len() as u64 + 1;
            if self.file.is_some() {
                serde_json::to_writer(&mut lines, &entry)?;
                lines.push(b'\n');
            }
            self.entries.push(entry);
        }
        match &mut self.file {
            Some(file) => file.write_all(&lines),
            None => Ok(()),
        }
    }

    pub(crate) fn after(&self, seq: u64) -> &[Entry] {
        let from = usize::try_from(seq).unwrap_or(usize::MAX);
        self.entries.get(from..).unwrap_or_default()
    }
}
