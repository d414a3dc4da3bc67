//! The plugins' only way out: `fetch-batch` and `write-batch`.
//!
//! A request enters with the [`Call`] that caused it and leaves as a response or a fault. On the way it
//! meets, in this order: what is kept of earlier answers (reads that allow it), the egress rules, the credentials, the
//! permit, the intent journal (writes), and the wire. Never decides what to send: that is the plugin's; never decides when: that is `core::pace`. Never
//! follows a redirect, reads a proxy from the environment, or lets a plugin name a host.
//!
//! In reading order:
//! - `call`: for whom a request is made, and the seams towards plugins and journal
//! - `clock`: the time; the one room that asks the operating system for it
//! - `endpoint`: one connected system as the operator means it
//! - `secret`: text that must never be seen
//! - `gateway`: the way of a request, in order
//! - `remembering`: reads that may be answered by what is kept; `answers`: what is kept, and what is on its way
//! - `exchange`: one HTTP request with its attempts
//! - `auth`: which credential a request carries, and how a new one is had
//! - `envelope`: credentials that stand in a request's body
//! - `roster`: the credentials of an endpoint, and which of them a request goes by
//! - `account`: who shares a vendor's allowance
//! - `permits`: waiting for permits
//! - `gate`: endpoints that fail or are held
//! - `signs`: what an answer means, by the manifest's rules
//! - `gauges`: asking for the vendor's own figures
//! - `retry`: repeating within bounds
//! - `egress`: what may leave, and where to
//! - `wire`: HTTP as it goes over the wire
//! - `transactions`: SQL requests that belong together
//! - `sql`: databases, and the seam behind which each engine sits

mod account;
mod answers;
mod auth;
mod call;
mod clock;
mod egress;
mod endpoint;
mod envelope;
mod exchange;
mod gate;
mod gateway;
mod gauges;
mod permits;
mod remembering;
mod retry;
mod roster;
mod secret;
mod signs;
mod sql;
mod transactions;
mod wire;

pub use account::{Account, Allowances};
pub use answers::{Answers, Shelf};
pub use call::{Call, Intent, Journal, JournalError, Outside};
pub use clock::{Clock, ManualClock, Now, SystemClock};
pub use endpoint::{
    AccountSpec, AuthSpec, Egress, EndpointError, EndpointSpec, Limits, MAIN, Origin, OriginError,
};
pub use gateway::{Counters, Dependencies, Gateway, Readiness};
pub use roster::AccountFigures;
pub use secret::Secret;
pub use tidegate_core::cache::{Bounds, Figures, Key};
pub use tidegate_core::pace::{
    Lane, PoolCounts, PoolError, PoolFigures, PoolOverride, Purpose, Reason, Settings, UnknownPool,
};
