//! What survives a crash: one ordered map from bytes to bytes.
//!
//! In comes a [`Batch`] of puts, deletes and expectations, through the [`Store`] handle. One thread applies the
//! waiting batches one after the other: each wholly or not at all, and visible to reads before `apply`
//! returns its [`Seq`]. A second thread makes them durable in groups: one flush and one fdatasync for all that
//! waits, after which every [`Store::durable`] that it covers returns. A caller that acknowledges something
//! to the outside waits for `durable` first (invariant 1), and so does one that sends an intent out (invariant 2).
//! Out come single records, ordered pages, and a portable file.
//!
//! | promise | held by |
//! |---|---|
//! | a batch happens wholly or not at all, also after a crash | one tree per engine, one engine batch per batch |
//! | what `durable` said survives a power cut | flush, then fdatasync through a descriptor of our own |
//! | after the first failed write or sync nothing is acknowledged again | [`Failure`]; an fsync is never retried |
//! | damage is reported, never guessed around | an envelope with a checksum around every record |
//! | a store has one owner | a lock file that names the process |
//!
//! The rooms, in reading order: [`batch`] (what may be asked), `engine` (the seam: what an engine promises),
//! `envelope` and `layout` (how a record lies in an engine), `sled` and `redb` (the two engines), `folder`
//! and `opening` (who owns the folder, how it is born and opened), `records` (logical reads and writes),
//! `progress`, `committer` and `handle` (the two threads and the handle), `portable` and `verify`.
//!
//! Absent: the meaning of keys and values, clocks, the network, and any engine's name outside this crate.

pub mod batch;
mod census;
mod committer;
mod engine;
mod envelope;
mod failure;
mod folder;
mod handle;
mod layout;
mod opening;
mod overlay;
mod portable;
mod progress;
mod range;
mod records;
mod redb;
mod sled;
mod verify;

pub use batch::{BATCH_BYTES_MAX, Batch, BatchError, Expect, Expected, KEY_BYTES_MAX};
pub use engine::EngineKind;
pub use failure::{Failure, FailureCode};
pub use handle::{ApplyError, DurableError, Seq, Stats, Store};
pub use opening::{OpenError, Options};
pub use portable::{ExportError, Exported, ImportError};
pub use range::KeyRange;
pub use records::{ReadError, Record};
pub use verify::{DamagedKey, Verified};
