//! Databases: the seam behind which each engine's executor sits.
//!
//! Statements that share a transaction enter together and leave together. Never looks into a statement's
//! text; what a plugin may do is judged by the database itself as it compiles the statement.

mod commits;
mod errors;
mod guard;
mod sqlite;
mod values;

use futures::future::BoxFuture;
use tidegate_core::plugin::{Fault, SqlRequest, SqlResponse};
use tokio::sync::watch;

pub(crate) use sqlite::Sqlite;

/// Whether statements may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

pub(crate) type Answers = Vec<Result<SqlResponse, Fault>>;

/// One database. Results stand in the order of the statements.
pub(crate) trait Sql: Send + Sync {
    /// Executes the statements in order as one transaction. When one fails, all are rolled back: it bears
    /// its own fault and the others `rolled-back`. A statement fails with `executed: unknown` only when
    /// the commit itself did, in a way that leaves it open.
    fn execute(&self, access: Access, statements: Vec<SqlRequest>) -> BoxFuture<'_, Answers>;

    /// Counts commits by anybody, as seen by this database; `None` when it can't be told cheaply.
    fn commits(&self) -> Option<watch::Receiver<u64>>;
}
