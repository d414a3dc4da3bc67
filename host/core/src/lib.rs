//! What tidegate decides, and nothing else.
//!
//! Captured changes enter, batches of operations leave, and outcomes come back to be settled. Never
//! reads a clock, a socket, a file or an environment variable, never draws a random number: the
//! time is an argument, and what should be done is returned as data (invariants 9 and 12).
//!
//! In reading order:
//! - [`batch`]: records as columns, the currency of every other room
//! - [`plugin`]: what crosses the plugin interface, in the host's own types
//! - [`manifest`]: what a plugin says of itself and of its vendor, as data
//! - [`time`]: the time, as an argument
//! - [`pace`]: when a request may leave
//! - [`sync`]: a sync as meant, with its policies

pub mod batch;
pub mod manifest;
pub mod pace;
pub mod plugin;
pub mod sync;
pub mod time;
