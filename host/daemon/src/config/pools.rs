//! What an operator knows better of a pool than the plugin's manifest, as written and as meant.

use tidegate_core::pace::PoolOverride;

use super::places::join;
use super::problem::{Code, Findings};
use super::written::WrittenPool;

pub(super) fn mean(key: &str, pool: &WrittenPool, findings: &Findings) -> PoolOverride {
    if pool.limit == Some(0) {
        findings.error_with_help(
            Code::PoolOverride,
            &join(key, "limit"),
            "a limit of 0 lets nothing through",
            "to rest a sync use `tidegate pause`",
        );
    }
    let part = pool.share.unwrap_or(1.0);
    share(Code::PoolOverride, &join(key, "share"), part, findings);
    let reserve = pool.reserve.unwrap_or_default();
    let key = join(key, "reserve");
    PoolOverride {
        limit: pool.limit,
        share: part,
        normal_leaves_permille: leaves(&key, "normal", reserve.normal, findings),
        backfill_leaves_permille: leaves(&key, "backfill", reserve.backfill, findings),
    }
}

/// In thousandths. A lane that left all of it could never go.
fn leaves(key: &str, lane: &str, part: Option<f64>, findings: &Findings) -> Option<u32> {
    let part = part?;
    if !(0.0..1.0).contains(&part) {
        let message = format!("{part} is no part that a lane can leave: 0 or more, below 1");
        findings.error(Code::PoolOverride, &join(key, lane), message);
        return None;
    }
    Some((part * 1_000.0).round() as u32)
}

pub(super) fn share(code: Code, key: &str, share: f64, findings: &Findings) {
    if !(share > 0.0 && share <= 1.0) {
        let message = format!("{share} is not a share: above 0, at most 1");
        findings.error(code, key, message);
    }
}
