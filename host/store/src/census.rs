//! How many records there are, counted once on demand and then kept up to date.
//!
//! Counting walks the whole store, so it happens only when somebody asks, and in pages, so that writers go on.
//! A change behind the walk corrects the count; one ahead of it will be met.

/// What is known of the number of records.
#[derive(Debug, Default)]
pub(crate) enum Census {
    #[default]
    Unknown,
    /// The keys up to and with `upto` are counted.
    Walking {
        upto: Vec<u8>,
        count: u64,
    },
    Known(u64),
}

impl Census {
    /// A commit added and removed these keys.
    pub(crate) fn changed(&mut self, added: &[Vec<u8>], removed: &[Vec<u8>]) {
        let (count, counted): (&mut u64, &dyn Fn(&&Vec<u8>) -> bool) = match self {
            Self::Unknown => return,
            Self::Walking { upto, count } => (count, &|key| *key <= upto),
            Self::Known(count) => (count, &|_| true),
        };
        *count += added.iter().filter(counted).count() as u64;
        *count -= removed.iter().filter(counted).count() as u64;
    }
}
