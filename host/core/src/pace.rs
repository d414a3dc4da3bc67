//! When a request may leave.

use serde::{Deserialize, Serialize};

/// How urgent work is. Each pool keeps a reserve that lower lanes may not touch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    Critical,
    #[default]
    Normal,
    Backfill,
}
