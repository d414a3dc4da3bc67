//! One table from what happened to what is done about it.

use crate::plugin::{Advice, Executed, Fault, FaultKind, Refusal};

/// For one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Again, after this long.
    Retry { wait_ms: u64, counts: bool },
    /// The target's state is not what we think: read it, then decide anew.
    ReadFirst,
    /// A person must look.
    Park,
}

/// For a call that failed as a whole; `unknown` rows among it are read first in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallVerdict {
    /// All rows again, after this long. Nobody's fault.
    Wait { wait_ms: u64 },
    /// One of the rows is to blame: halve until it is alone, then park it.
    Bisect,
    /// Nothing of this endpoint works until a person acts; try again after this long all the same.
    Halt { wait_ms: u64 },
}

/// Refusals of one row before it is parked.
pub const ATTEMPTS_MAX: u32 = 8;
const BACKOFF_FIRST_MS: u64 = 200;
const BACKOFF_MAX_MS: u64 = 60_000;
/// How long an endpoint that needs a person is left alone.
pub const HALT_MS: u64 = 60_000;

/// Exponential with full jitter; `random` is uniform over its range.
pub fn backoff_ms(attempts: u32, random: u64) -> u64 {
    let ceiling = BACKOFF_FIRST_MS
        .saturating_mul(1 << attempts.min(20))
        .min(BACKOFF_MAX_MS);
    BACKOFF_FIRST_MS / 2 + random % ceiling
}

pub fn for_refusal(refusal: &Refusal, attempts: u32, random: u64) -> Verdict {
    if attempts >= ATTEMPTS_MAX {
        return Verdict::Park;
    }
    match refusal.advice {
        Advice::Park => Verdict::Park,
        Advice::Retry => Verdict::Retry {
            wait_ms: backoff_ms(attempts, random),
            counts: true,
        },
        Advice::Gone | Advice::Adopt | Advice::Changed => Verdict::ReadFirst,
    }
}

pub fn for_fault(fault: &Fault, failures: u32, random: u64) -> CallVerdict {
    let wait_ms = fault
        .retry_after_ms
        .unwrap_or_else(|| backoff_ms(failures, random));
    match fault.kind {
        FaultKind::Throttled | FaultKind::Transient => CallVerdict::Wait { wait_ms },
        // Something between us and the vendor: it says nothing about the rows.
        FaultKind::Broken if fault.executed == Executed::Unknown => CallVerdict::Wait { wait_ms },
        FaultKind::Broken | FaultKind::Refused | FaultKind::Missing => CallVerdict::Bisect,
        FaultKind::Auth | FaultKind::Config => CallVerdict::Halt {
            wait_ms: fault.retry_after_ms.unwrap_or(HALT_MS),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backing_off_grows_to_a_bound() {
        for attempts in 0..40 {
            for random in [0, 1, u64::MAX / 2, u64::MAX] {
                let wait_ms = backoff_ms(attempts, random);
                assert!(
                    (BACKOFF_FIRST_MS / 2..=BACKOFF_MAX_MS + BACKOFF_FIRST_MS).contains(&wait_ms)
                );
            }
        }
        assert!(backoff_ms(8, 40_000) > backoff_ms(0, 40_000));
    }

    #[test]
    fn every_advice_and_fault_has_its_verdict() {
        let refusal = |advice| Refusal {
            code: String::new(),
            message: String::new(),
            fields: Vec::new(),
            advice,
        };
        assert_eq!(for_refusal(&refusal(Advice::Park), 0, 0), Verdict::Park);
        for advice in [Advice::Gone, Advice::Adopt, Advice::Changed] {
            assert_eq!(for_refusal(&refusal(advice), 3, 0), Verdict::ReadFirst);
        }
        assert!(matches!(
            for_refusal(&refusal(Advice::Retry), 0, 0),
            Verdict::Retry { counts: true, .. }
        ));
        for advice in [Advice::Retry, Advice::Gone, Advice::Adopt, Advice::Changed] {
            assert_eq!(
                for_refusal(&refusal(advice), ATTEMPTS_MAX, 0),
                Verdict::Park,
                "{advice:?} must end"
            );
        }
        let cases = [
            (
                FaultKind::Throttled,
                Executed::No,
                Some(30_000),
                CallVerdict::Wait { wait_ms: 30_000 },
            ),
            (
                FaultKind::Transient,
                Executed::Unknown,
                Some(5),
                CallVerdict::Wait { wait_ms: 5 },
            ),
            (
                FaultKind::Broken,
                Executed::Unknown,
                Some(5),
                CallVerdict::Wait { wait_ms: 5 },
            ),
            (FaultKind::Broken, Executed::No, None, CallVerdict::Bisect),
            (FaultKind::Refused, Executed::No, None, CallVerdict::Bisect),
            (
                FaultKind::Auth,
                Executed::No,
                None,
                CallVerdict::Halt { wait_ms: HALT_MS },
            ),
            (
                FaultKind::Config,
                Executed::No,
                Some(9),
                CallVerdict::Halt { wait_ms: 9 },
            ),
        ];
        for (kind, executed, after, expected) in cases {
            let mut fault = Fault::new(kind, "x", "x").executed(executed);
            fault.retry_after_ms = after;
            assert_eq!(for_fault(&fault, 0, 0), expected, "{kind:?}");
        }
    }
}
