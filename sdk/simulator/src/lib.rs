//! Vendors to test against: as faithful as a client can tell, and able to misbehave on demand.
//!
//! HTTP requests enter on loopback and answers leave; a journal of every committed write lets a checker count what
//! was lost or doubled. [`salesforce`] is an org with records; [`meters`] are the limits of five vendors, without any.
//! [`run`] makes each a process of its own.
//!
//! Never connects anywhere and knows nothing of tidegate: what proves it is a client that was not written here.

mod answer;
mod clock;
mod command;
pub mod meters;
pub mod salesforce;
mod wire;

pub use clock::ClockMode;
pub use command::{Command, MetersArguments, SalesforceArguments, run};
