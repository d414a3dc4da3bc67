//! The sqlite connector.
//!
//! The host's calls enter, SQL statements leave, and rows come back as records. Changes are captured by
//! triggers into an outbox table, so that they survive whatever happens to this process; rows are written by
//! key. Never opens a file, never reads a clock, keeps nothing between calls.
//!
//! In reading order:
//! - [`database`]: the seam, statements out and rows back
//! - [`settings`]: the endpoint's config
//! - [`kind`], [`schema`]: what a table's columns hold
//! - [`key`]: what names a row
//! - [`calendar`], [`cell`]: values on their way between columns and records
//! - [`record`]: records as they were read
//! - [`outbox`], [`prepare`]: what is added to the database, and how it is put there and removed
//! - [`cursor`], [`changes`], [`snapshot`]: the two streams
//! - [`lookup`]: reading by id or by a column
//! - [`write`], [`refusal`], [`push`]: carrying operations out
//! - [`component`]: the plugin interface around all of it

mod calendar;
pub mod cell;
pub mod changes;
pub mod component;
mod cursor;
pub mod database;
mod key;
mod kind;
pub mod lookup;
mod outbox;
pub mod prepare;
pub mod push;
mod quoting;
pub mod record;
mod refusal;
pub mod schema;
pub mod settings;
pub mod snapshot;
mod version;
mod write;

tidegate_sdk::export_connector!(component::Sqlite);
