//! What a failed plugin call means for the records that it carried.

use tidegate_core::record::Reason;
use tidegate_core::sync::Side;
use tidegate_core::verdict::{CallVerdict, for_fault};
use tidegate_sandbox::CallError;

/// Codes of calls that ended because of the plugin and not of what it was told.
const CRASH: &[&str] = &["trap", "contract"];

pub(super) fn verdict(error: &CallError, random: u64) -> CallVerdict {
    match error {
        CallError::Fault(fault) => for_fault(fault, 2, random),
        CallError::Breach { .. } | CallError::Trap { .. } | CallError::Contract { .. } => {
            CallVerdict::Bisect
        }
    }
}

pub(super) fn reason(error: &CallError, target: Option<Side>) -> Reason {
    let (code, message) = match error {
        CallError::Fault(fault) => (fault.code.clone(), fault.message.clone()),
        CallError::Breach {
            code,
            knob,
            message,
        } => (
            (*code).to_string(),
            format!("{message}; the limit is {knob} in the plugin's [limits]"),
        ),
        CallError::Trap { code, message } | CallError::Contract { code, message } => {
            ((*code).to_string(), message.clone())
        }
    };
    Reason {
        code,
        message,
        fields: Vec::new(),
        target,
    }
}

pub(super) fn is_crash(code: &str) -> bool {
    CRASH.iter().any(|crash| code.starts_with(crash)) || code.ends_with("-limit")
}
