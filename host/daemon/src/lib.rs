//! The `tidegate` binary's rooms: what a person types and writes enters, a running host leaves.
//!
//! In reading order:
//! - [`cli`]: commands, their output and their exit codes
//! - [`config`]: `tidegate.toml`, as written and as meant
//! - [`assembly`]: from a config to the parts of a host
//! - [`check`]: everything that is wrong, before anything runs
//! - [`sync`]: keeps the syncs in step
//! - [`host`]: a host's life
//! - [`allowances`]: what was drawn from the vendors, kept over a restart
//! - [`gauges`]: vendors' own figures, where no answer tells them
//! - [`grants`]: credentials that were renewed meanwhile
//! - `quote`: what the syncs would cost, before a host runs
//! - [`quota`], [`usage`]: how the allowances stand, and what was used of them
//! - [`levels`]: how far allowances are used up
//! - [`ailing`]: endpoints that fail
//! - [`alerts`]: what it tells a webhook
//! - [`metrics`]: its figures, as a collector reads them
//! - [`waits`]: why something waits, in words
//! - [`tasks`]: the tasks of a host, and what stopping and failing mean for each
//! - [`status`]: what a running host tells of itself, and what it can be told to do
//! - [`control`]: the socket on which it is asked
//! - [`logs`], [`progress`]: what it says unasked
//!
//! Decides nothing about records, requests or storage: core, gateway, sandbox and store do.

pub mod ailing;
pub mod alerts;
pub mod allowances;
pub mod assembly;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod gauges;
pub mod grants;
pub mod host;
pub mod levels;
pub mod logs;
pub mod metrics;
pub mod progress;
pub mod quota;
mod quote;
pub mod shelf;
pub mod status;
pub mod sync;
pub mod tasks;
pub mod usage;
pub mod waits;
