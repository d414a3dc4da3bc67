//! What crosses the plugin interface, in the host's own types.
//!
//! One to one with `wit/v0.1`, whose doc comments are the contract; the conversions live in
//! `host/sandbox`, so that nothing else depends on the WIT version.

use serde::{Deserialize, Serialize};

use crate::batch::{Batch, DataType, Packed};

/// What a fault asks of whoever meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    Config,
    Auth,
    Missing,
    Refused,
    Throttled,
    Transient,
    Broken,
}

/// What is known about a failed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executed {
    No,
    Unknown,
}

/// A call or request that failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{code}: {message}")]
pub struct Fault {
    pub kind: FaultKind,
    pub code: String,
    pub message: String,
    pub retry_after_ms: Option<u64>,
    pub executed: Executed,
}

impl Fault {
    pub fn new(kind: FaultKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
            retry_after_ms: None,
            executed: Executed::No,
        }
    }

    pub fn executed(mut self, executed: Executed) -> Self {
        self.executed = executed;
        self
    }

    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

// ---- gateway -------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    pub method: HttpMethod,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
    pub origin: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SqlRequest {
    pub statement: String,
    pub parameters: Batch,
    pub result_types: Vec<DataType>,
    pub transaction: Option<u32>,
    pub rows_max: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FeedRequest {
    pub feed: String,
    pub position: Vec<u8>,
    pub changes_max: u32,
    pub wait_ms: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Http(HttpRequest),
    Sql(SqlRequest),
    Feed(FeedRequest),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub age_ms_max: u32,
    pub tags: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub operation: Operation,
    pub costs: Vec<(String, u32)>,
    pub rows: Vec<u64>,
    pub idempotent: bool,
    pub freshness: Option<Freshness>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SqlResponse {
    pub rows: Batch,
    pub affected: Vec<u64>,
    pub truncated: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FeedChanges {
    pub table: String,
    pub kinds: Vec<u8>,
    pub committed: Vec<i64>,
    pub rows: Batch,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FeedResponse {
    pub changes: Vec<FeedChanges>,
    pub position: Vec<u8>,
    pub interrupted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Http(HttpResponse),
    Sql(SqlResponse),
    Feed(FeedResponse),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub answer: Answer,
    pub age_ms: u64,
    pub stale: bool,
}

// ---- connector -----------------------------------------------------------------------------

/// What the host tells every connector call.
#[derive(Clone, Debug)]
pub struct ConnectorContext {
    pub config: String,
    pub now: i64,
    pub rows_max: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub label: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub creatable: bool,
    pub updatable: bool,
    pub required: bool,
    pub upsert_key: bool,
    pub length_max: Option<u32>,
    pub precision: Option<u32>,
    pub scale: Option<u32>,
    pub resolution_us: Option<u32>,
    pub choices: Vec<String>,
    pub references: Vec<String>,
    pub notes: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectSchema {
    pub name: String,
    pub label: String,
    pub fields: Vec<Field>,
    pub id_fields: Vec<String>,
    pub readable: bool,
    pub writable: bool,
    pub reports_deletes: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    pub identity: String,
    pub objects: Vec<ObjectSchema>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub object: String,
    pub fields: Vec<String>,
    pub captured: bool,
    pub written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrepareMode {
    Plan,
    Apply,
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub id: String,
    pub description: String,
    pub done: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub object: String,
    pub fields: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    Changes,
    Snapshot,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeStream {
    pub kind: StreamKind,
    pub selections: Vec<Selection>,
    pub cursor: Option<Vec<u8>>,
    pub rows_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ChangeKind {
    Upsert = 0,
    Delete = 1,
    Hint = 2,
}

impl ChangeKind {
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Upsert),
            1 => Some(Self::Delete),
            2 => Some(Self::Hint),
            _ => None,
        }
    }
}

/// A commit time that the source could not tell.
pub const COMMITTED_UNKNOWN: i64 = i64::MIN;

#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSet {
    pub object: String,
    pub ids: Packed,
    pub kinds: Vec<u8>,
    pub versions: Packed,
    pub committed: Vec<i64>,
    pub batch: Batch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub object: String,
    pub old: String,
    pub new: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub changes: Vec<ChangeSet>,
    pub aliases: Vec<Alias>,
    pub cursor: Vec<u8>,
    pub more: bool,
    pub wait_ms: Option<u32>,
    pub gap: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    Create,
    Update,
    Upsert,
    Delete,
    Merge,
    Restore,
    Convert,
}

impl OperationKind {
    /// As manifests and people spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
            Self::Merge => "merge",
            Self::Restore => "restore",
            Self::Convert => "convert",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub object: String,
    pub operation: OperationKind,
    pub key: Option<String>,
    pub tokens: Vec<u64>,
    pub ids: Packed,
    /// For a merge, the record that each becomes part of.
    pub into: Packed,
    pub versions: Packed,
    pub batch: Batch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub token: u64,
    pub field: String,
    pub target: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Operations {
    pub method: String,
    pub groups: Vec<Group>,
    pub references: Vec<Reference>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub id: String,
    pub created: bool,
    pub version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    Park,
    Retry,
    Gone,
    Adopt,
    Changed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub fields: Vec<String>,
    pub advice: Advice,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Written(Written),
    Refused(Refusal),
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOutcome {
    pub token: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub state: Vec<u8>,
    pub wait_ms: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub outcomes: Vec<RowOutcome>,
    pub job: Option<Job>,
    pub after: Vec<ChangeSet>,
}

// ---- inbound -------------------------------------------------------------------------------

/// One delivery that the vendor made to us; its signature has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRequest {
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

/// What to answer the vendor once the changes are durable (invariant 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub changes: Vec<ChangeSet>,
    pub aliases: Vec<Alias>,
    pub deliveries: Vec<String>,
    pub acknowledgement: Acknowledgement,
    pub gap: Option<String>,
}

// ---- mapping -------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    LeftToRight,
    RightToLeft,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldType {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub length_max: Option<u32>,
    pub scale: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct MappingContext {
    pub config: String,
    pub left: Vec<FieldType>,
    pub right: Vec<FieldType>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub direction: Direction,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowError {
    pub row: u32,
    pub field: String,
    pub rule: String,
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    pub batch: Batch,
    pub errors: Vec<RowError>,
}
