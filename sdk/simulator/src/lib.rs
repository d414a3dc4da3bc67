//! Vendors to test against: as faithful as a client can tell, and able to misbehave on demand.
//!
//! HTTP requests enter on loopback and answers leave; a journal of every committed write lets a checker count what
//! was lost or doubled. [`salesforce`] is the one vendor so far; [`run`] makes it a process of its own.
//!
//! Never connects anywhere and knows nothing of tidegate: what proves it is a client that was not written here.

mod command;
pub mod salesforce;

pub use command::{Command, SalesforceArguments, run};
