//! The meters of five vendors: what their calls cost, when they refuse, and what they say then.
//!
//! A call enters at `serve`, takes its way with its jitter, and arrives at the `desk`: each meter that counts it is
//! asked, and it is let in or refused, as that vendor refuses. What was let in is at work for a while, and may fail
//! when it is told to; every answer carries the vendor's headers. Nothing is stored: any path of the vendor's is
//! answered, with as little as a client can live on. What the vendors say of their limits is written in `vendors`, each
//! figure with its source.
//!
//! Rooms in reading order: `meter` (how one limit counts), `profile` (what a vendor is), `vendors`, `neighbour`
//! (others who use the same allowance), `options`, `desk`, `told` (what was seen), `serve`, `admin`, `handle`.
//!
//! Absent: records, sessions that expire, and everything else of a vendor that is not a limit.

mod admin;
mod desk;
mod handle;
mod meter;
mod neighbour;
mod options;
mod profile;
mod serve;
mod told;
mod vendors;

pub use handle::{Handle, Simulator, StartError};
pub use options::{Failing, Failure, Neighbour, Options, OptionsError, Span};
pub use profile::Vendor;
pub use told::{Refusal, Stats, Window};
