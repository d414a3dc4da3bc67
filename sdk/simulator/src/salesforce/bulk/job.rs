//! One ingest job: what was asked for, how far it is, and how it is told.

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::work::Progress;
use crate::salesforce::id::Id;
use crate::salesforce::moment;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Operation {
    Insert,
    Update,
    Upsert,
    Delete,
    HardDelete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Delimiter {
    Backquote,
    Caret,
    #[default]
    Comma,
    Pipe,
    Semicolon,
    Tab,
}

impl Delimiter {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Backquote => b'`',
            Self::Caret => b'^',
            Self::Comma => b',',
            Self::Pipe => b'|',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum LineEnding {
    #[default]
    Lf,
    Crlf,
}

impl LineEnding {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lf => "LF",
            Self::Crlf => "CRLF",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
        }
    }

    /// Nothing more will happen to the job's rows.
    pub(super) fn ended(self) -> bool {
        matches!(self, Self::JobComplete | Self::Failed | Self::Aborted)
    }
}

/// What every job has, whether it writes or reads.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) id: Id,
    pub(super) object: String,
    /// As in `v60.0`; every later call has to be of the same.
    pub(super) version: String,
    pub(super) delimiter: Delimiter,
    pub(super) line_ending: LineEnding,
    pub(super) state: State,
    pub(super) created_ms: u64,
    changed_ms: u64,
    /// When something happens to the job by itself.
    pub(super) due_ms: Option<u64>,
    pub(super) error: Option<String>,
}

impl Head {
    pub(super) fn new(
        id: Id,
        object: &str,
        version: &str,
        format: (Delimiter, LineEnding),
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            object: object.to_owned(),
            version: version.to_owned(),
            delimiter: format.0,
            line_ending: format.1,
            state: State::Open,
            created_ms: now_ms,
            changed_ms: now_ms,
            due_ms: None,
            error: None,
        }
    }

    pub(super) fn enter(&mut self, state: State, now_ms: u64, due_ms: u64) {
        self.state = state;
        self.changed_ms = now_ms;
        self.due_ms = Some(due_ms);
    }

    pub(super) fn end(&mut self, state: State, now_ms: u64) {
        self.state = state;
        self.changed_ms = now_ms;
        self.due_ms = None;
    }

    pub(super) fn fail(&mut self, error: impl Into<String>, now_ms: u64) {
        self.error = Some(error.into());
        self.end(State::Failed, now_ms);
    }

    /// As the answers to a job's creation and to a change of its state begin.
    pub(super) fn brief(&self, operation: Value, kind: &str) -> Map<String, Value> {
        let number = self.version.trim_start_matches('v');
        let version: Value = serde_json::from_str(number).unwrap_or_default();
        let mut info = Map::new();
        for (name, value) in [
            ("id", json!(self.id.to_string())),
            ("operation", operation),
            ("object", json!(self.object)),
            ("createdById", json!(Id::new(*b"005", 1).to_string())),
            ("createdDate", written(self.created_ms)),
            ("systemModstamp", written(self.changed_ms)),
            ("state", json!(self.state.name())),
            ("concurrencyMode", json!("Parallel")),
            ("contentType", json!("CSV")),
            ("apiVersion", version),
            ("jobType", json!(kind)),
            ("lineEnding", json!(self.line_ending)),
            ("columnDelimiter", json!(self.delimiter)),
        ] {
            info.insert(name.to_owned(), value);
        }
        info
    }

    /// What a poll has besides.
    pub(super) fn counts(&self, processed: usize, worked_ms: u64) -> Map<String, Value> {
        let counts = json!({
            "retries": 0,
            "totalProcessingTime": worked_ms,
            "numberRecordsProcessed": processed,
            "errorMessage": self.error,
        });
        match counts {
            Value::Object(counts) => counts,
            _ => Map::new(),
        }
    }
}

/// What a job that writes was created for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) table: usize,
    pub(super) operation: Operation,
    /// The field that an upsert goes by.
    pub(super) key: Option<String>,
    pub(super) client: String,
}

/// A job that writes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(super) head: Head,
    pub(super) asked: Asked,
    pub(super) content: Option<Bytes>,
    pub(super) uploads: u32,
    /// The request that closed it, which its rows are journalled under.
    pub(super) request: u64,
    pub(super) progress: Option<Progress>,
    /// Faults that were drawn for it.
    pub(super) doomed: bool,
    pub(super) lost: bool,
}

impl Job {
    pub(super) fn new(head: Head, asked: Asked) -> Self {
        Self {
            head,
            asked,
            content: None,
            uploads: 0,
            request: 0,
            progress: None,
            doomed: false,
            lost: false,
        }
    }

    pub(super) fn chunk_began_ms(&self) -> Option<u64> {
        self.progress.as_ref()?.chunk_began_ms()
    }

    pub(super) fn brief(&self) -> Map<String, Value> {
        let Head { id, version, .. } = &self.head;
        let mut info = self.head.brief(json!(self.asked.operation), "V2Ingest");
        if let Some(key) = &self.asked.key {
            info.insert("externalIdFieldName".to_owned(), json!(key));
        }
        if self.head.state == State::Open {
            let url = format!("services/data/{version}/jobs/ingest/{id}/batches");
            info.insert("contentUrl".to_owned(), json!(url));
        }
        info
    }

    /// As a poll has it.
    pub(super) fn info(&self) -> Value {
        let progress = self.progress.as_ref();
        let worked_ms = progress.map_or(0, |progress| progress.worked_ms);
        let processed = progress.map_or(0, |progress| progress.outcomes.len());
        let failed = progress.map_or(0, |progress| progress.failed);
        let mut info = self.brief();
        info.extend(self.head.counts(processed, worked_ms));
        info.insert("numberRecordsFailed".to_owned(), json!(failed));
        info.insert("apiActiveProcessingTime".to_owned(), json!(worked_ms));
        info.insert("apexProcessingTime".to_owned(), json!(0));
        Value::Object(info)
    }
}

fn written(ms: u64) -> Value {
    json!(moment::written(moment::whole_seconds(ms)))
}
