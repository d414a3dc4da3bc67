//! Why rows travel by one method and not by the others, in words.

use serde::Serialize;
use tidegate_core::manifest::{Method, MethodKind};
use tidegate_core::pace::{Lane, Level};
use tidegate_core::plan::Barred;
use tidegate_core::plugin::OperationKind;
use tidegate_core::price::{self, Verdict};

/// One method of a connector's table.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) method: String,
    pub(crate) kind: MethodKind,
    pub(crate) rows_min: u32,
    pub(crate) rows_max: u32,
    pub(crate) calls_each: u32,
    /// For all rows by this method alone; `None` where it can't carry them.
    pub(crate) calls: Option<u64>,
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
}

/// All of them, for so many rows of one operation that are ready in a lane.
pub(crate) fn told(
    methods: &[Method],
    chosen: (Lane, Level),
    operation: OperationKind,
    rows: usize,
) -> Vec<Explanation> {
    let choices = price::choices(methods, chosen, operation, rows);
    let told = choices.into_iter().map(|choice| Explanation {
        method: choice.method.name.clone(),
        kind: choice.method.kind,
        rows_min: choice.method.rows_min,
        rows_max: choice.method.rows_max,
        calls_each: choice.method.calls,
        calls: choice.calls,
        verdict: choice.verdict,
        why: why(choice.verdict, operation),
    });
    told.collect()
}

fn why(verdict: Verdict, operation: OperationKind) -> String {
    match verdict {
        Verdict::Chosen => "taken: no other takes fewer calls".to_owned(),
        Verdict::OtherOperations => format!("carries no {operation:?}s").to_lowercase(),
        Verdict::Barred { why: Barred::Late } => {
            "a job's outcomes come too late for the critical lane".to_owned()
        }
        Verdict::Barred {
            why: Barred::Plenty,
        } => "the normal lane waits for a job only from level stretch on".to_owned(),
        Verdict::TooFew { rows_min } => {
            format!("wants at least {rows_min} rows")
        }
        Verdict::Dearer { by } => format!("{by} more calls"),
        Verdict::AsDear => {
            "as many calls, but answers later, ties rows together or is larger than they need"
                .to_owned()
        }
    }
}
