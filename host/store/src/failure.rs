//! Why a store stopped for good.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::engine::EngineError;

/// The kinds of failure, for scripts and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCode {
    Full,
    Damaged,
    Io,
    Broken,
}

impl FailureCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "store-full",
            Self::Damaged => "store-damaged",
            Self::Io => "store-io",
            Self::Broken => "store-broken",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Full => "the disk is full; free some space, then start again",
            Self::Damaged => {
                "the files are damaged; keep a copy of the folder, then restore an export"
            }
            Self::Io => {
                "the disk refused a read or write; look at the system's log, then start again"
            }
            Self::Broken => "the storage engine failed; start again, and report this if it returns",
        }
    }
}

/// The first failed write or sync of a store. From then on the store refuses everything: a sync that failed
/// once may report success the next time without having written anything, so it is never tried again. What
/// was acknowledged before is safe; a new opening finds it. The process that owns the store should end.
#[derive(Clone, Debug)]
pub struct Failure {
    code: FailureCode,
    during: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(during: &'static str, error: EngineError) -> Self {
        Self {
            code: code_of(&error),
            during,
            source: Some(Arc::new(error)),
        }
    }

    /// A thread of the store ended by a panic.
    pub(crate) fn panicked(during: &'static str) -> Self {
        Self {
            code: FailureCode::Broken,
            during,
            source: None,
        }
    }

    pub fn code(&self) -> FailureCode {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the store stopped while it {}: {}",
            self.during,
            self.code.advice()
        )
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

pub(crate) fn code_of(error: &EngineError) -> FailureCode {
    match error {
        EngineError::Io(error) if is_full(error) => FailureCode::Full,
        EngineError::Io(_) => FailureCode::Io,
        EngineError::Damaged(_) => FailureCode::Damaged,
        EngineError::Broken(_) => FailureCode::Broken,
    }
}

/// No space, or no space for this user or in this file.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
