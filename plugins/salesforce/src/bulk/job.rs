//! What a job's polls must know, as bytes that the host keeps.
//!
//! A result file brings rows in another order and without the host's tokens, so the state holds a table from the
//! row's id or key to its token. Keys stand in it by digest: some ten bytes a row.

use tidegate_sdk::{Job as Answer, OperationKind, RowOutcome};
use xxhash_rust::xxh3::xxh3_64;

use crate::compact::{Reader, Writer};

/// First byte of every state; another one is another layout.
const JOB: u8 = 3;

/// What the rows of a job are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) object: String,
    pub(super) operation: OperationKind,
    /// The field that an upsert goes by.
    pub(super) key: Option<String>,
}

impl Target {
    /// The column by which rows are told apart.
    pub(super) fn column(&self) -> &str {
        self.key.as_deref().unwrap_or("Id")
    }
}

/// A row in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// Digest of its id or key, in 48 bits: of 30,000 rows two share one once in 600,000 jobs, and then the
    /// second waits for another job.
    pub(super) print: u64,
    pub(super) token: u64,
}

/// The digest by which a row is found again.
pub(super) fn print(own: &str) -> u64 {
    xxh3_64(own.as_bytes()) >> 16
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) target: Target,
    /// When it was made, by the host's clock.
    pub(super) made_us: i64,
    /// Salesforce has said that it closed the job. While false, it may have done so unheard.
    pub(super) closed: bool,
    /// How often its state was looked at since.
    pub(super) looks: u32,
    /// In order of their tokens.
    pub(super) rows: Vec<Row>,
}

const OPERATIONS: [OperationKind; 4] = [
    OperationKind::Create,
    OperationKind::Update,
    OperationKind::Upsert,
    OperationKind::Delete,
];

impl Job {
    pub(super) fn encode(mut self) -> Vec<u8> {
        self.rows.sort_unstable();
        let mut writer = Writer::new(JOB);
        writer.text(&self.id);
        writer.text(&self.target.object);
        writer.byte(self.target.operation as u8);
        writer.option(self.target.key.as_ref(), |writer, key| writer.text(key));
        writer.signed(self.made_us);
        writer.byte(u8::from(self.closed));
        writer.unsigned(u64::from(self.looks));
        writer.unsigned(self.rows.len() as u64);
        let mut before = 0;
        for row in &self.rows {
            writer.unsigned(row.print - before);
            writer.unsigned(row.token);
            before = row.print;
        }
        writer.finish()
    }

    /// `None` for bytes of another layout.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, JOB)?;
        let id = reader.text()?;
        let object = reader.text()?;
        let operation = *OPERATIONS.get(usize::from(reader.byte()?))?;
        let key = reader.option(Reader::text)?;
        let made_us = reader.signed()?;
        let closed = reader.byte()? != 0;
        let looks = u32::try_from(reader.unsigned()?).ok()?;
        let mut rows = Vec::new();
        let mut print: u64 = 0;
        for _ in 0..reader.unsigned()? {
            print = print.checked_add(reader.unsigned()?)?;
            let token = reader.unsigned()?;
            rows.push(Row { print, token });
        }
        rows.sort_unstable_by_key(|row: &Row| row.token);
        reader.is_done().then_some(Self {
            id,
            target: Target {
                object,
                operation,
                key,
            },
            made_us,
            closed,
            looks,
            rows,
        })
    }

    /// Every row's fate can't be told.
    pub(super) fn unknown(&self, why: &str) -> Vec<RowOutcome> {
        let rows = self.rows.iter();
        rows.map(|row| RowOutcome::unknown(row.token, why))
            .collect()
    }

    /// To be asked for again after a while.
    pub(super) fn waits(self, wait_ms: u32) -> Answer {
        Answer {
            state: self.encode(),
            wait_ms,
        }
    }

    /// How long until it is worth to look again. A small job is looked at soon; each look doubles the wait, so that the
    /// looks at a job of an hour are some sixty calls and not thousands.
    pub(super) fn pause_ms(&self) -> u32 {
        const FIRST_MS: u32 = 2_000;
        const MOST_MS: u32 = 60_000;
        // Salesforce works at roughly a thousand rows a second.
        let first_ms = FIRST_MS.max(self.rows.len() as u32).min(MOST_MS / 2);
        first_ms.saturating_mul(1 << self.looks.min(5)).min(MOST_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(rows: u64, token: impl Fn(u64) -> u64) -> Job {
        Job {
            id: "750000000000001AAA".to_owned(),
            target: Target {
                object: "A_Custom_Object_With_A_Long_Name__c".to_owned(),
                operation: OperationKind::Upsert,
                key: Some("Tidegate_Id__c".to_owned()),
            },
            made_us: i64::MAX,
            closed: true,
            looks: u32::MAX,
            rows: (0..rows)
                .map(|n| Row {
                    print: print(&n.to_string()),
                    token: token(n),
                })
                .collect(),
        }
    }

    #[test]
    fn the_largest_job_has_room_in_a_state() {
        let rows = manifest_rows();
        let usual = job(rows, |n| (1_000_000 + n) << 1).encode().len();
        assert!(usual <= 12 * rows as usize, "{usual} bytes");
        let worst = job(rows, |n| u64::MAX - n).encode().len();
        assert!(worst <= 512 * 1024, "{worst} bytes");
    }

    fn manifest_rows() -> u64 {
        let text = include_str!("../../plugin.toml");
        let manifest = tidegate_core::manifest::Manifest::parse(text)
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        let mut methods = manifest.methods.iter();
        let bulk = methods.find(|method| method.name == "bulk").expect("bulk");
        u64::from(bulk.rows_max)
    }

    #[test]
    fn a_damaged_state_is_noticed() {
        let whole = job(5, |n| n);
        let bytes = whole.clone().encode();
        for length in 0..bytes.len() {
            assert_eq!(Job::decode(&bytes[..length]), None, "{length} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Job::decode(&longer), None);
        assert_eq!(Job::decode(&bytes), Some(whole));
    }

    #[test]
    fn pauses_grow_with_rows_and_looks() {
        let pauses = |rows: u64| {
            let mut job = job(rows, |n| n);
            (0..7)
                .map(|looks| {
                    job.looks = looks;
                    job.pause_ms()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            pauses(2),
            [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(
            pauses(10_000),
            [10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]
        );
        assert_eq!(pauses(30_000)[..2], [30_000, 60_000]);
    }
}
