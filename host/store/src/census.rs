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
        let (count, upto) = match self {
            Self::Unknown => return,
            Self::Walking { upto, count } => (count, Some(upto)),
            Self::Known(count) => (count, None),
        };
        let counted = |key: &&Vec<u8>| upto.as_ref().is_none_or(|upto| *key <= *upto);
        *count += added.iter().filter(counted).count() as u64;
        *count -= removed.iter().filter(counted).count() as u64;
    }
}
