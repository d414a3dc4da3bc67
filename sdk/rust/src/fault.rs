//! Why a call failed as a whole.

use crate::bindings::connector::tidegate::plugin::faults;

pub use faults::{Executed, Fault, FaultKind};

/// Codes are stable and kebab-case, messages are for a person: what happened and what to do, without
/// secrets and without customers' values.
impl Fault {
    fn new(kind: FaultKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
            retry_after_ms: None,
            executed: Executed::No,
        }
    }

    /// The operator must change the configuration.
    pub fn config(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Config, code, message)
    }

    /// Credentials are dead or lack a right.
    pub fn auth(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Auth, code, message)
    }

    /// What the request names does not exist.
    pub fn missing(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Missing, code, message)
    }

    /// Understood and rejected; it will be rejected again.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Refused, code, message)
    }

    /// Out of allowance; nothing was executed.
    pub fn throttled(
        code: impl Into<String>,
        message: impl Into<String>,
        retry_after_ms: Option<u64>,
    ) -> Self {
        Self {
            retry_after_ms,
            ..Self::new(FaultKind::Throttled, code, message)
        }
    }

    /// May work later; nothing was executed.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Transient, code, message)
    }

    /// Something answered against its contract.
    pub fn broken(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Broken, code, message)
    }

    /// The same fault, when it can't be said whether the write happened.
    pub fn with_unknown_fate(mut self) -> Self {
        self.executed = Executed::Unknown;
        self
    }
}
