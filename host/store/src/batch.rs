//! What a caller may ask of the store in one step, and the sizes it must keep to.

use std::collections::HashSet;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The most that one batch may weigh: keys and values of puts, deletes and expectations together, in bytes.
/// A caller with more splits it, and so decides what must happen together.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Puts, deletes and expectations that happen together or not at all.
///
/// A key may be changed once in a batch: two changes to one key have no order among themselves. A key may be
/// changed and expected. Expectations look at the state before the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Key and new value. Values larger than an engine takes well are split inside the store.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys that are gone afterwards; one that was absent already is no error.
    pub deletes: Vec<Vec<u8>>,
    /// What must be true for the batch to happen.
    pub expects: Vec<Expect>,
}

/// One precondition of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    pub key: Vec<u8>,
    pub is: Expected,
}

/// What a key must be at the moment its batch is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The key holds nothing.
    Absent,
    /// The key holds some value.
    Present,
    /// The key holds exactly these bytes.
    Value(Vec<u8>),
}

/// Why a batch can't be taken, whatever the state of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error(
        "a key of {bytes} bytes is longer than the {KEY_BYTES_MAX} bytes that a key may have; shorten it or store a digest"
    )]
    KeyTooLong { bytes: usize },
    #[error(
        "a batch of {bytes} bytes is larger than the {BATCH_BYTES_MAX} bytes that one may have; split it into several"
    )]
    TooLarge { bytes: usize },
    #[error("key \"{key}\" is changed twice in one batch; keep the change that is meant")]
    ChangedTwice { key: String },
}

impl BatchError {
    /// A stable word for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::KeyTooLong { .. } => "store-key-too-long",
            Self::TooLarge { .. } => "store-batch-too-large",
            Self::ChangedTwice { .. } => "store-key-changed-twice",
        }
    }
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn put(mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.puts.push((key.into(), value.into()));
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.deletes.push(key.into());
        self
    }

    #[must_use]
    pub fn expect(mut self, key: impl Into<Vec<u8>>, is: Expected) -> Self {
        self.expects.push(Expect {
            key: key.into(),
            is,
        });
        self
    }

    /// Keys and values together, in bytes: what [`BATCH_BYTES_MAX`] bounds.
    pub fn bytes(&self) -> usize {
        let puts = self.puts.iter().map(|(key, value)| key.len() + value.len());
        let deletes = self.deletes.iter().map(Vec::len);
        let expects = self.expects.iter().map(|expect| {
            expect.key.len()
                + match &expect.is {
                    Expected::Value(value) => value.len(),
                    Expected::Absent | Expected::Present => 0,
                }
        });
        puts.chain(deletes).chain(expects).sum()
    }

    /// Checks the sizes, and that no key is changed twice.
    pub fn check(&self) -> Result<(), BatchError> {
        let bytes = self.bytes();
        if bytes > BATCH_BYTES_MAX {
            return Err(BatchError::TooLarge { bytes });
        }
        let expected = self.expects.iter().map(|expect| &expect.key);
        if let Some(key) = self
            .changed()
            .chain(expected)
            .find(|key| key.len() > KEY_BYTES_MAX)
        {
            return Err(BatchError::KeyTooLong { bytes: key.len() });
        }
        let mut seen = HashSet::with_capacity(self.puts.len() + self.deletes.len());
        match self.changed().find(|key| !seen.insert(key.as_slice())) {
            Some(key) => Err(BatchError::ChangedTwice {
                key: key.escape_ascii().to_string(),
            }),
            None => Ok(()),
        }
    }

    fn changed(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.puts
            .iter()
            .map(|(key, _)| key)
            .chain(self.deletes.iter())
    }
}
