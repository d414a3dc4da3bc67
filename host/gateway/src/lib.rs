//! The plugins' only way out: `fetch-batch` and `write-batch`.
//!
//! A request enters with the [`Call`] that caused it and leaves as a response or a fault. On the way it
//! meets, in this order: the egress rules, the permit, the credentials, the intent journal (writes), and the
//! wire. Never decides what to send: that is the plugin's; never decides when: that is `core::pace`.

mod call;

pub use call::{Call, Intent, Journal, JournalError, Outside};
pub use tidegate_core::pace::Lane;
