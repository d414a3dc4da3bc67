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
//! - [`cache`]: which answers are kept, and when one of them serves
//! - [`sync`]: a sync as meant, with its policies
//! - [`value`]: single values, and the fingerprints by which two are called equal
//! - [`record`]: what is kept of each record
//! - [`model`]: a sync's fields by number, and which hang together
//! - [`lanes`]: in which lane a change waits
//! - [`ledger`]: the records as one decision sees and changes them
//! - [`capture`]: from what a source reports to what waits
//! - [`pairing`]: which records of two filled systems are one
//! - [`queue`]: which records wait, and which are worked on
//! - [`rounds`]: when a round of them may start
//! - [`hold`]: what people hold back
//! - [`alert`]: what they are told unasked
//! - [`merge`]: what a waiting record calls for
//! - [`action`]: fields that ask for more than that their value is carried over
//! - [`reference`]: fields that name other records, and what waits for a parent
//! - [`brake`]: the stop for a flood of deletes
//! - [`plan`]: from writes to pushes
//! - [`price`]: what they will cost, before
//! - [`progress`]: how far something is, and how long the rest will take
//! - [`job`]: pushes that a vendor works on, until every row of them is settled
//! - [`verdict`]: from what happened to what is done about it
//! - [`discreet`]: a vendor's words without customers' values
//! - [`settle`]: from what became of a record to what is remembered

pub mod action;
pub mod alert;
pub mod batch;
pub mod brake;
pub mod cache;
pub mod capture;
pub mod discreet;
pub mod hold;
pub mod job;
pub mod lanes;
pub mod ledger;
pub mod manifest;
pub mod merge;
pub mod model;
pub mod pace;
pub mod pairing;
pub mod plan;
pub mod plugin;
pub mod price;
pub mod progress;
pub mod queue;
pub mod record;
pub mod reference;
pub mod rounds;
pub mod settle;
pub mod sync;
pub mod time;
pub mod value;
pub mod verdict;
