//! How a plugin's calls have ended since it was loaded, so that an operator sees which one misbehaves.

use std::sync::{Mutex, PoisonError};

use crate::call::CallError;

/// Counts of calls. What a plugin reports as a fault of its own is no misconduct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Calls that ended, however they did.
    pub calls: u64,
    /// Ended by a limit.
    pub breached: u64,
    /// Ended by the plugin's own code failing.
    pub trapped: u64,
    /// Answered against the contract; the answer was thrown away.
    pub broken: u64,
    /// The code and words of the last of those three.
    pub last: Option<(&'static str, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Conduct>);

impl Watch {
    pub(crate) fn note<T>(&self, ended: &Result<T, CallError>) {
        let mut conduct = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        conduct.calls += 1;
        let (count, code, message) = match ended {
            Ok(_) | Err(CallError::Fault(_)) => return,
            Err(CallError::Breach { code, message, .. }) => (&mut conduct.breached, code, message),
            Err(CallError::Trap { code, message }) => (&mut conduct.trapped, code, message),
            Err(CallError::Contract { code, message }) => (&mut conduct.broken, code, message),
        };
        *count += 1;
        conduct.last = Some((code, message.clone()));
    }

    pub(crate) fn seen(&self) -> Conduct {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
