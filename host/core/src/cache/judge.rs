//! Whether a kept answer serves, and what is worth keeping.

use super::kept::Kept;
use crate::plugin::{Header, HttpMethod, HttpRequest, HttpResponse};
use crate::time::Now;

/// That something is not there is believed for so long at most: somebody may be making it.
pub const NEGATIVE_MS: u64 = 30_000;

/// With these a connector looks after its own copy, or wants a part of the whole.
const OWN_CONDITIONS: [&str; 6] = [
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-unmodified-since",
    "if-range",
    "range",
];

/// What becomes of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The kept answer serves; `stale` when it is older than asked.
    Serve { age_ms: u64, stale: bool },
    /// The vendor is asked, with these headers where it may say that the kept answer still holds.
    Ask { conditions: Vec<Header> },
}

/// `age_percent` is what the allowance asks for: how much older than usual an answer may be, 100 while there is plenty.
/// At an age of 0 the vendor is asked whole: what is kept is what the asker doubts.
pub fn judge(kept: &Kept, age_ms_max: u64, age_percent: u32, now: Now) -> Judgement {
    let age_ms = kept.age_ms(now);
    if age_ms_max == 0 {
        return Judgement::Ask {
            conditions: Vec::new(),
        };
    }
    let negative = is_negative(&kept.response);
    let usual_ms = match negative {
        true => age_ms_max.min(NEGATIVE_MS),
        false => age_ms_max,
    };
    if age_ms <= usual_ms {
        let stale = false;
        return Judgement::Serve { age_ms, stale };
    }
    let stretched_ms = usual_ms.saturating_mul(age_percent.into()) / 100;
    if !negative && age_ms <= stretched_ms {
        let stale = true;
        return Judgement::Serve { age_ms, stale };
    }
    Judgement::Ask {
        conditions: kept.validators(),
    }
}

/// What is done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Also over a restart.
    Long,
    /// In memory only.
    Brief,
    /// What was kept before is untrue or not ours to see any more.
    Forget,
    /// It says nothing of the thing that was asked for.
    Nothing,
}

/// Whether answers to such a read can be kept at all.
pub fn is_cacheable(http: &HttpRequest) -> bool {
    let own = |header: &Header| {
        let is = |name: &&str| header.name.eq_ignore_ascii_case(name);
        OWN_CONDITIONS.iter().any(is)
    };
    let reads = matches!(http.method, HttpMethod::Get | HttpMethod::Post);
    reads && !http.headers.iter().any(own)
}

/// Whether the vendor may be asked if an answer still holds: conditions are defined for reads without a body.
pub fn is_conditional(http: &HttpRequest) -> bool {
    http.method == HttpMethod::Get
}

pub fn keeping(response: &HttpResponse) -> Keeping {
    let varies_by_all = |header: &Header| header.name == "vary" && header.value.contains('*');
    match response.status {
        _ if response.headers.iter().any(varies_by_all) => Keeping::Forget,
        200 | 204 => Keeping::Long,
        _ if is_negative(response) => Keeping::Brief,
        // Come back later.
        408 | 425 | 429 => Keeping::Nothing,
        400..=499 => Keeping::Forget,
        _ => Keeping::Nothing,
    }
}

/// There is no such thing.
fn is_negative(response: &HttpResponse) -> bool {
    matches!(response.status, 404 | 410)
}
