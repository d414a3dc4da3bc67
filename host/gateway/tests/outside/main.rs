//! The gateway against a vendor that is stricter and ruder than real ones, and against real databases.

mod accounts;
mod cache;
mod egress;
mod envelopes;
mod gates;
mod kit;
mod sessions;
mod sql;
mod transactions;
mod vendor;
