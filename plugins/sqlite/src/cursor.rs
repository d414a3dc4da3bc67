//! Positions, as the host keeps them.

use serde::{Deserialize, Serialize};

/// The last outbox row that the host has made durable. The row is named whole, because after a restored
/// backup another change may have its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changes {
    /// The database that it belongs to.
    pub(crate) identity: String,
    /// 0 before any row.
    pub(crate) seq: i64,
    pub(crate) object: i64,
    pub(crate) id: String,
    pub(crate) at: i64,
}

/// How far a snapshot has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    /// The table being read; empty when all are done.
    pub(crate) object: String,
    /// Id of the last row that was reported, absent at the table's start.
    pub(crate) after: Option<String>,
}

/// Text of both is JSON: an operator can read it.
pub(crate) fn encode(cursor: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(cursor).unwrap_or_default()
}

/// `None` when it is none of ours.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
