//! What a failed plugin call means for the records that it carried.

use tidegate_core::plugin::{Fault, FaultKind};
use tidegate_core::record::Reason;
use tidegate_core::sync::Side;
use tidegate_core::verdict::{CallVerdict, backoff_ms, for_fault};
use tidegate_sandbox::CallError;

use super::events::{Event, Host};

impl Host {
    /// Tells the engine that an endpoint does not answer as it should, and how long it is left alone.
    pub(super) async fn call_failed(&self, sync: usize, side: Side, error: &CallError) -> u64 {
        let (halted, wait_ms) = match verdict(error, self.random()) {
            CallVerdict::Halt { wait_ms } => (true, wait_ms),
            CallVerdict::Wait { wait_ms } => (false, wait_ms),
            CallVerdict::Bisect => (false, backoff_ms(2, self.random())),
        };
        let event = Event::Failed {
            sync,
            side,
            reason: reason(error, Some(side)),
            halted,
            credential: is_credential(error),
            wait_ms,
        };
        self.send(event).await;
        wait_ms
    }
}

pub(super) fn verdict(error: &CallError, random: u64) -> CallVerdict {
    match error {
        CallError::Fault(fault) => for_fault(fault, 2, random),
        CallError::Breach { .. } | CallError::Trap { .. } | CallError::Contract { .. } => {
            CallVerdict::Bisect
        }
    }
}

/// Whether the vendor refuses the credentials.
pub(super) fn is_credential(error: &CallError) -> bool {
    matches!(error, CallError::Fault(fault) if fault.kind == FaultKind::Auth)
}

pub(super) fn reason(error: &CallError, target: Option<Side>) -> Reason {
    let message = match error {
        CallError::Fault(Fault { message, .. })
        | CallError::Breach { message, .. }
        | CallError::Trap { message, .. }
        | CallError::Contract { message, .. } => message.clone(),
    };
    Reason {
        code: error.code().to_owned(),
        message,
        fields: Vec::new(),
        target,
    }
}
