//! The time, as an argument.

/// A reading of the host's clock. Waiting goes by `mono_ms`, stamps and long windows by `wall_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment in this process; never falls, stands still when nothing drives it.
    pub mono_ms: u64,
    /// Microseconds since 1970, as the operating system tells it; may jump.
    pub wall_us: i64,
}
