//! For whom a request is made, and the two seams of this crate: [`Outside`] towards plugins,
//! [`Journal`] towards whatever survives a crash.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{Fault, Request, Response};

/// One plugin call, as the gateway sees it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The sync that caused it, for fairness, logs and usage; empty for `discover` and `prepare`.
    pub sync: Arc<str>,
    /// The connector function that runs, such as `push`.
    pub function: &'static str,
    pub lane: Lane,
    /// `write-batch` is refused unless the function may write.
    pub may_write: bool,
    /// The row tokens that this call was given. Requests naming others are refused.
    pub tokens: Arc<HashSet<u64>>,
}

/// What a write is about to do, made durable before its first byte leaves (invariant 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub sync: Arc<str>,
    pub endpoint: Arc<str>,
    /// The rows whose fate is unknown from now until they are settled.
    pub tokens: Vec<u64>,
}

/// The intent could not be made durable; the write must not leave.
#[derive(Debug, thiserror::Error)]
#[error("the intent could not be stored: {0}")]
pub struct JournalError(pub String);

/// Keeps intents. Returning `Ok` means that the intent survives a power cut.
pub trait Journal: Send + Sync {
    fn intend(&self, intent: Intent) -> BoxFuture<'_, Result<(), JournalError>>;
}

/// What a plugin reaches through its two imports. Answers stand in the order of the requests.
pub trait Outside: Send + Sync {
    /// The endpoint's name, by which the cursors of two endpoints of one plugin are told apart.
    fn endpoint(&self) -> &str {
        ""
    }
    fn fetch_batch<'a>(
        &'a self,
        call: &'a Call,
        requests: Vec<Request>,
    ) -> BoxFuture<'a, Vec<Result<Response, Fault>>>;
    fn write_batch<'a>(
        &'a self,
        call: &'a Call,
        requests: Vec<Request>,
    ) -> BoxFuture<'a, Vec<Result<Response, Fault>>>;
}
