//! Why something waits for a pool, an endpoint or an account, for people and scripts.

use tidegate_gateway::Reason;

use crate::status::Told;

/// A reason's code, and words that name what is waited for.
pub fn told(reason: &Reason) -> Told {
    Told {
        code: code(reason).to_owned(),
        message: format!("{}: {}", reason.what(), words(reason)),
    }
}

/// Stable.
fn code(reason: &Reason) -> &'static str {
    match reason {
        Reason::PoolSpent { .. } => "pool-spent",
        Reason::Reserve { .. } => "pool-reserve",
        Reason::Parked { .. } => "pool-parked",
        Reason::Probing { .. } => "pool-probing",
        Reason::Queued { .. } => "pool-queued",
        Reason::Smoothed { .. } => "pool-smoothed",
        Reason::Degraded { .. } => "pool-degraded",
        Reason::Unbooked { .. } => "pool-unbooked",
        Reason::Failing { .. } => "endpoint-failing",
        Reason::Crowded { .. } => "endpoint-crowded",
        Reason::Paused { .. } => "paused",
    }
}

/// Without a name.
pub fn words(reason: &Reason) -> String {
    match reason {
        Reason::PoolSpent { .. } => "spent",
        Reason::Reserve { .. } => "the rest is kept for urgent work",
        Reason::Parked { .. } => "the vendor said stop",
        Reason::Probing { .. } => "one request is trying whether it is open again",
        Reason::Queued { .. } => "others come first",
        Reason::Smoothed { .. } => "handed out evenly",
        Reason::Degraded { .. } => "it runs out, and the rest is for urgent work",
        Reason::Unbooked { .. } => "its use is being put on disk",
        Reason::Failing { .. } => "the endpoint fails, and is left alone for a while",
        Reason::Crowded { .. } => "it has as many requests at once as it answers well",
        Reason::Paused { .. } => "somebody paused it",
    }
    .to_owned()
}
