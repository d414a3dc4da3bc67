//! Which answers to reads are kept, and when one of them serves instead of a request.
//!
//! A read enters with the credential that it would go by, and leaves with the answer that is kept of it or as what
//! must be asked. Only what a connector asks for is kept, so its word on age counts, not the vendor's `cache-control`,
//! which speaks to browsers. Never reads the time, holds no connection and knows no store: what should be deleted
//! there is returned.
//!
//! In reading order:
//! - [`key`]: what makes two reads the same one
//! - [`kept`]: an answer with all that decides about it later
//! - [`judge`]: whether it serves, and what is worth keeping
//! - [`change`]: what a write or an incoming change makes untrue
//! - [`tiers`]: what there is room for, in memory and in the store

pub mod change;
pub mod judge;
pub mod kept;
pub mod key;
pub mod tiers;

pub use change::{Change, Label};
pub use judge::{Judgement, Keeping, is_cacheable, is_conditional, judge, keeping};
pub use kept::Kept;
pub use key::{Holder, Key};
pub use tiers::{Bounds, Figures, Found, Tiers};
