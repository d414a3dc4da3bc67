//! The `tidegate` binary's rooms: what a person types and writes enters, a running host leaves.
//!
//! In reading order:
//! - [`cli`]: commands, their output and their exit codes
//! - [`config`]: `tidegate.toml`, as written and as meant
//!
//! Decides nothing about records, requests or storage: core, gateway, sandbox and store do.

pub mod cli;
pub mod config;
