//! How the simulated org is set up.

use std::path::PathBuf;

use super::faults::{Fault, When};
use super::sessions::Credentials;
use crate::clock::ClockMode;

/// Everything that can be chosen before the start; each number is a vendor's figure and may be moved.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Where committed writes are appended, one JSON object a line.
    pub journal: Option<PathBuf>,
    /// Decides every draw, and the first record ids.
    pub seed: u64,
    /// API calls in a rolling day.
    pub daily_limit: u64,
    /// How far a paid org may run over that before it is refused, in percent.
    pub soft_overage_percent: u64,
    /// Calls of 20 s and more that may run at once.
    pub long_calls_max: usize,
    /// What goes wrong from the start.
    pub faults: Vec<(Fault, When)>,
    /// A write is stamped when it begins and visible up to so many milliseconds later.
    pub late_visible_ms_max: u64,
    /// The delay of the fault `late`.
    pub late_ms: u64,
    /// The delay of the fault `slow`.
    pub slow_ms: u64,
    /// The delay of the fault `job-slow`.
    pub slow_job_ms: u64,
    /// How long a closed bulk job waits before it is begun.
    pub bulk_wait_ms: u64,
    /// How long a bulk job takes for 200 rows: they are stamped when that begins and visible when it ends.
    pub bulk_chunk_ms: u64,
    /// The most bytes of a bulk job's file; Salesforce's is 150 MB in base64, which its documents make 100 MB of CSV.
    pub bulk_file_bytes_max: usize,
    /// Batches of bulk jobs in a rolling day, one for every started 10,000 rows.
    pub bulk_batches_max: u64,
    /// Rows of bulk jobs in a rolling day.
    pub bulk_rows_max: u64,
    /// Query jobs in a rolling day.
    pub bulk_query_jobs_max: u64,
    /// Rows in a page of a query job's results where none are asked for; the vendor's own figure is not known.
    pub bulk_page_rows: usize,
    /// Rows in a page of a query; Salesforce's most is 2,000.
    pub page_rows_max: usize,
    /// How long a query's cursor lives.
    pub cursor_life_ms: u64,
    /// How long an unused session lives.
    pub session_timeout_ms: u64,
    /// Whether the connected app has a run-as user, without which client credentials fail.
    pub run_as_user: bool,
    /// Whether contacts of one name and e-mail are taken for duplicates.
    pub duplicate_rule: bool,
    /// Whether the org reformats ten-digit phone numbers.
    pub format_phones: bool,
    /// More custom fields, as `Contact.Legacy_Id__c:text(40):external`.
    pub fields: Vec<String>,
    /// Where time comes from.
    pub clock: ClockMode,
    /// Who may call.
    pub credentials: Credentials,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            journal: None,
            seed: 0,
            daily_limit: 100_000,
            soft_overage_percent: 0,
            long_calls_max: 25,
            faults: Vec::new(),
            late_visible_ms_max: 0,
            late_ms: 2_000,
            slow_ms: 25_000,
            slow_job_ms: 600_000,
            bulk_wait_ms: 1_000,
            bulk_chunk_ms: 50,
            bulk_file_bytes_max: 100_000_000,
            bulk_batches_max: 15_000,
            bulk_rows_max: 150_000_000,
            bulk_query_jobs_max: 10_000,
            bulk_page_rows: 50_000,
            page_rows_max: 2_000,
            cursor_life_ms: 2 * 24 * 60 * 60 * 1000,
            session_timeout_ms: 2 * 60 * 60 * 1000,
            run_as_user: true,
            duplicate_rule: false,
            format_phones: false,
            fields: Vec::new(),
            clock: ClockMode::Real,
            credentials: Credentials::default(),
        }
    }
}
