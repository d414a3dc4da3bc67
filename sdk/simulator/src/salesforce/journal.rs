//! Every write that was committed, in order, whether or not its client ever heard of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
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

/// Entries are kept as their lines, in a file: half a million of them in memory would take gigabytes.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Where each entry's line ends.
    ends: Vec<u64>,
}

impl Journal {
    /// With a path, the lines are in that file, which is emptied first; without one, in a file that nobody sees.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = match path {
            Some(path) => {
                let mut options = OpenOptions::new();
                let options = options.read(true).write(true).create(true);
                options.truncate(true).open(path)?
            }
            None => tempfile::tempfile()?,
        };
        Ok(Self {
            file,
            ends: Vec::new(),
        })
    }

    /// Takes a committed transaction. The lines are with the operating system when this returns, so
    /// they outlive both the client and the simulator.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let begins = self.ends.last().copied().unwrap_or(0);
        let first = self.ends.len();
        let mut lines = Vec::new();
        let mut ends = Vec::with_capacity(entries.len());
        for (place, mut entry) in entries.into_iter().enumerate() {
            entry.seq = (first + place) as u64 + 1;
            serde_json::to_writer(&mut lines, &entry)?;
            lines.push(b'\n');
            ends.push(begins + lines.len() as u64);
        }
        self.file.write_all_at(&lines, begins)?;
        self.ends.extend(ends);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// At most so many after this sequence number: one JSON object each, with its line feed.
    pub(crate) fn lines(&self, after: u64, most: u64) -> io::Result<String> {
        let end = |entries: u64| {
            let entries = usize::try_from(entries).unwrap_or(usize::MAX);
            let last = entries.min(self.ends.len()).checked_sub(1);
            last.map_or(0, |place| self.ends[place])
        };
        let (from, to) = (end(after), end(after.saturating_add(most)));
        let mut lines = vec![0; usize::try_from(to - from).unwrap_or(0)];
        self.file.read_exact_at(&mut lines, from)?;
        String::from_utf8(lines).map_err(io::Error::other)
    }

    pub(crate) fn after(&self, seq: u64) -> io::Result<Vec<Entry>> {
        let lines = self.lines(seq, u64::MAX)?;
        let entries = lines.lines().map(serde_json::from_str);
        Ok(entries.collect::<Result<_, _>>()?)
    }
}
