//! What the meters saw, for whoever looks behind the vendor's face.

use serde::Serialize;

/// One meter, or the part of it that counts one credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    pub meter: String,
    /// Whose calls it counts; empty for everybody's. Credentials are numbered in the order in which they came.
    pub holder: String,
    pub limit: u64,
    /// Units that count at this moment.
    pub used: u64,
    /// The most that ever counted at once.
    pub most: u64,
    /// Units let in, those of others included.
    pub admitted: u64,
    /// Units of others among them.
    pub others: u64,
    /// Calls refused.
    pub refused: u64,
    /// Where the limit comes from.
    pub source: &'static str,
}

/// Everything since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub now_ms: u64,
    /// Calls that arrived, refused ones and those that failed included.
    pub arrived: u64,
    /// Calls that were carried out.
    pub done: u64,
    /// Calls that were let in and failed, because they were told to.
    pub failed: u64,
    /// Calls without a good credential.
    pub strangers: u64,
    /// Calls that were refused for a limit.
    pub refused: u64,
    pub windows: Vec<Window>,
}

impl Stats {
    /// All windows of a meter, one for each credential that came.
    pub fn of<'a>(&'a self, meter: &'a str) -> impl Iterator<Item = &'a Window> {
        let windows = self.windows.iter();
        windows.filter(move |window| window.meter == meter)
    }
}

/// A call that was refused for a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// By the vendor's clock, milliseconds since 1970.
    pub at_ms: u64,
    pub meter: String,
    pub holder: String,
    pub method: String,
    pub path: String,
    /// What it weighs there.
    pub units: u64,
    /// What counted already.
    pub used: u64,
    pub limit: u64,
}
