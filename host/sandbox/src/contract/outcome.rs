//! What became of rows that were pushed.

use std::collections::{HashMap, HashSet};

use tidegate_core::plugin::{Group, OperationKind, Operations, Outcome, Progress, RowOutcome};

use super::broken;
use super::change::{ID_BYTES_MAX, JOB_BYTES_MAX, RowsMax, change_set};
use crate::call::CallError;

/// The rows that a push, or the polls after it, may speak of.
pub(crate) struct Sent {
    /// What was asked for each token; `None` in a poll, which sees only tokens.
    tokens: HashMap<u64, Option<OperationKind>>,
    /// Objects and ids that were sent; `None` in a poll.
    records: Option<HashSet<(String, Vec<u8>)>>,
    /// The ids of rows that keep theirs; empty in a poll.
    kept: HashMap<u64, Vec<u8>>,
}

impl Sent {
    /// Leaves out what a poll says of rows that have an outcome already: the poll before it may have named them, and
    /// the host have died before it kept the job's new state.
    pub(crate) fn keep_pending(&self, outcomes: &mut Vec<RowOutcome>) {
        outcomes.retain(|row| self.tokens.contains_key(&row.token));
    }

    pub(crate) fn pending(tokens: &HashSet<u64>) -> Self {
        Self {
            tokens: tokens.iter().map(|token| (*token, None)).collect(),
            records: None,
            kept: HashMap::new(),
        }
    }
}

impl From<&Operations> for Sent {
    fn from(operations: &Operations) -> Self {
        let groups = operations.groups.iter();
        let tokens = groups.clone().flat_map(|group| {
            let operation = Some(group.operation);
            group.tokens.iter().map(move |token| (*token, operation))
        });
        let keeps = |group: &&Group| {
            use OperationKind::{Convert, Merge, Restore};
            matches!(group.operation, Merge | Restore | Convert)
        };
        let kept = groups.clone().filter(keeps).flat_map(|group| {
            let ids = group.ids.iter().map(<[u8]>::to_vec);
            group.tokens.iter().copied().zip(ids)
        });
        let records = groups.clone().flat_map(|group| {
            let ids = group.ids.iter();
            ids.map(|id| (group.object.clone(), id.to_vec()))
        });
        Self {
            tokens: tokens.collect(),
            records: Some(records.collect()),
            kept: kept.collect(),
        }
    }
}

pub(crate) fn progress(
    sent: &Sent,
    progress: &Progress,
    rows_max: RowsMax,
) -> Result<(), CallError> {
    let mut named = HashSet::new();
    let mut ids = HashSet::new();
    for row in &progress.outcomes {
        let Some(operation) = sent.tokens.get(&row.token) else {
            let message = format!(
                "an outcome names row {}, which this call was never given",
                row.token
            );
            return broken("token-not-given", message);
        };
        if !named.insert(row.token) {
            return broken("token-twice", format!("row {} has two outcomes", row.token));
        }
        if let Outcome::Written(written) = &row.outcome {
            // A delete may leave nothing to name.
            if written.id.is_empty() && *operation != Some(OperationKind::Delete) {
                return broken(
                    "id-invalid",
                    format!("row {} was written and has no id", row.token),
                );
            }
            let kept = sent.kept.get(&row.token);
            if kept.is_some_and(|id| *id != written.id.as_bytes()) {
                let message = format!(
                    "row {} was merged, restored or converted, and names another record than it was given",
                    row.token
                );
                return broken("id-not-asked", message);
            }
            if written.id.len().max(written.version.len()) > ID_BYTES_MAX {
                let message = format!(
                    "row {}: an id or version longer than {ID_BYTES_MAX} bytes",
                    row.token
                );
                return broken("id-invalid", message);
            }
            ids.insert(written.id.as_bytes());
        }
    }
    if let Some(job) = progress
        .job
        .as_ref()
        .filter(|job| job.state.len() > JOB_BYTES_MAX)
    {
        let message = format!(
            "a job's state of {} bytes; {JOB_BYTES_MAX} are allowed",
            job.state.len()
        );
        return broken("job-too-large", message);
    }
    after(sent, progress, &ids, rows_max)
}

/// Records after the write may only be those that were written.
fn after(
    sent: &Sent,
    progress: &Progress,
    written: &HashSet<&[u8]>,
    rows_max: RowsMax,
) -> Result<(), CallError> {
    rows_max.check(progress.after.iter().map(|set| set.batch.rows).sum())?;
    for set in &progress.after {
        change_set(set)?;
        let Some(records) = &sent.records else {
            continue;
        };
        if !records.iter().any(|(object, _)| *object == set.object) {
            let message = format!("records of {} came back, and none was sent", set.object);
            return broken("object-not-asked", message);
        }
        let stranger = set.ids.iter().position(|id| {
            !written.contains(id) && !records.contains(&(set.object.clone(), id.to_vec()))
        });
        if let Some(row) = stranger {
            let message = format!(
                "{}, row {row} after the write: an id that was not written",
                set.object
            );
            return broken("id-not-asked", message);
        }
    }
    Ok(())
}
