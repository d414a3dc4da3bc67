//! A Salesforce org: REST and SOAP on loopback, no customer and no network needed.
//!
//! A request enters at [`serve`], which sorts logins and administration from data calls. A data call passes the
//! `gate` (session, limits, what will go wrong with it), `route` finds its resource, and one of `rows`,
//! `collections`, `composite`, `graph`, `tree`, `query`, `feeds`, `bulk`, `soap` and `describe` answers it. Writes go
//! through a `transaction`, whose `rules` check them; what it commits goes to the `journal`.
//!
//! Rooms in reading order: `options`, `schema` and `standard` (what the org is); `id`, `cell`, `decimal`, `moment`
//! (what a value is); `cells`, `shelf`, `table`, `org` (where values live); `transaction`, `rules`, `recycle`,
//! `locks`, `journal` (how they change); `batch` (what all writers of many rows share); `soql`, `cursors` (how they
//! are found); `call`, `route`, then the answering rooms; `login`, `sessions`, `ledger`, `faults`, `gate`, `worker`,
//! `serve`, `admin`, `handle`.
//!
//! Absent: a disk (everything is in memory, but for the journal), push, Apex, sharing rules.

mod admin;
mod answer;
mod batch;
mod bulk;
mod call;
mod cell;
mod cells;
mod collections;
mod composite;
mod cursors;
mod decimal;
mod describe;
mod faults;
mod feeds;
mod gate;
mod graph;
mod handle;
mod id;
mod journal;
mod ledger;
mod locks;
mod login;
mod moment;
mod options;
mod org;
mod query;
mod recycle;
mod route;
mod rows;
mod rules;
mod schema;
mod serve;
mod sessions;
mod shelf;
mod soap;
mod soql;
mod standard;
mod table;
mod transaction;
mod tree;
mod worker;

pub use crate::clock::ClockMode;
pub use faults::{Fault, FaultError, When};
pub use handle::{Handle, Simulator};
pub use journal::Entry;
pub use options::Options;
pub use org::StartError;
pub use sessions::Credentials;
pub use standard::FieldError;
