//! From the answer to a write to what became of its rows.
//!
//! A row counts as written only when the answer says so of that very row; an answer that can't be matched to
//! what was sent leaves every row's fate unknown.

use serde::Deserialize;
use tidegate_sdk::{
    Advice, Executed, Fault, FaultKind, HttpResponse, OperationKind, Outcome, RowOutcome,
};

use crate::answer::{self, VendorError};
use crate::id;
use crate::lines::Line;
use crate::refusal::{Attempt, refusal};

/// How a request carries its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent<'a> {
    Alone(Attempt<'a>),
    Collection(Attempt<'a>),
}

impl<'a> Sent<'a> {
    pub(crate) fn attempt(self) -> Attempt<'a> {
        match self {
            Self::Alone(attempt) | Self::Collection(attempt) => attempt,
        }
    }
}

/// What Salesforce says of one row.
#[derive(Deserialize)]
struct RowResult {
    #[serde(default)]
    id: Option<String>,
    success: bool,
    #[serde(default)]
    errors: Vec<VendorError>,
    #[serde(default)]
    created: Option<bool>,
}

/// The outcome of a row that was sent alone.
pub(crate) fn alone(
    response: &HttpResponse,
    line: &Line,
    attempt: Attempt<'_>,
) -> Result<RowOutcome, Fault> {
    let what = "the write of one record";
    match response.status {
        204 if !line.id.is_empty() => Ok(RowOutcome::written(line.token, &line.id, false, "")),
        200 | 201 => {
            let mut result: RowResult = serde_json::from_slice(&response.body)
                .map_err(|_| answer::foreign(response, what))?;
            if attempt.operation == OperationKind::Upsert {
                result.created = result.created.or(Some(response.status == 201));
            }
            settle(&result, line, attempt)
        }
        300 => Ok(RowOutcome::refused(
            line.token,
            "MULTIPLE_CHOICES",
            "several records have this key; make the external id field unique, or merge them",
            attempt.key.map(str::to_owned).into_iter().collect(),
            Advice::Park,
        )),
        status => {
            let Some(errors) = answer::errors(response) else {
                return Err(answer::foreign(response, what));
            };
            let fault = answer::fault(response, what);
            let speaks_of_row = match fault.kind {
                FaultKind::Missing => true,
                // Locks come under 500 too, and are the row's own; other failures there may have left traces.
                FaultKind::Transient => errors[0].code == "UNABLE_TO_LOCK_ROW",
                FaultKind::Refused => true,
                // The right to this record may lack, not that to the API.
                FaultKind::Auth => status != 401 && errors[0].code.starts_with("INSUFFICIENT_"),
                _ => false,
            };
            match refusal(&errors, attempt).filter(|_| speaks_of_row) {
                Some(refusal) => Ok(RowOutcome {
                    token: line.token,
                    outcome: Outcome::Refused(refusal),
                }),
                None => Err(fault),
            }
        }
    }
}

/// The outcomes of a collection, in the order of its rows.
pub(crate) fn collection(
    response: &HttpResponse,
    lines: &[Line],
    attempt: Attempt<'_>,
) -> Result<Vec<RowOutcome>, Fault> {
    let what = "the write of a collection";
    if response.status != 200 {
        return Err(answer::fault(response, what));
    }
    let results: Vec<RowResult> =
        serde_json::from_slice(&response.body).map_err(|_| answer::foreign(response, what))?;
    if results.len() != lines.len() {
        return Err(misaligned(format!(
            "{what}: {} rows were sent and {} answered",
            lines.len(),
            results.len()
        )));
    }
    results
        .iter()
        .zip(lines)
        .map(|(result, line)| settle(result, line, attempt))
        .collect()
}

fn settle(result: &RowResult, line: &Line, attempt: Attempt<'_>) -> Result<RowOutcome, Fault> {
    let told = result.id.as_deref().map(id::canonical);
    let targeted = matches!(
        attempt.operation,
        OperationKind::Update | OperationKind::Delete
    );
    if targeted && told.as_ref().is_some_and(|told| *told != line.id) {
        return Err(misaligned(
            "the write of records: an answer speaks of another record than was sent".to_owned(),
        ));
    }
    if !result.success {
        return Ok(match refusal(&result.errors, attempt) {
            Some(refusal) => RowOutcome {
                token: line.token,
                outcome: Outcome::Refused(refusal),
            },
            None => RowOutcome::unknown(line.token, "Salesforce says neither success nor error"),
        });
    }
    let created = attempt.operation == OperationKind::Create || result.created == Some(true);
    let id = told.unwrap_or_else(|| line.id.clone());
    Ok(match id.is_empty() {
        true => RowOutcome::unknown(line.token, "Salesforce says success, but of which record"),
        false => RowOutcome::written(line.token, id, created, ""),
    })
}

fn misaligned(message: String) -> Fault {
    Fault::broken("rows-misaligned", message).with_unknown_fate()
}

/// A row whose request failed while others of the same push were answered.
pub(crate) fn failed(token: u64, fault: &Fault) -> RowOutcome {
    match fault.executed {
        Executed::Unknown => RowOutcome::unknown(token, fault.code.clone()),
        Executed::No => {
            let advice = match fault.kind {
                FaultKind::Refused | FaultKind::Missing | FaultKind::Config => Advice::Park,
                _ => Advice::Retry,
            };
            RowOutcome::refused(
                token,
                fault.code.clone(),
                fault.message.clone(),
                Vec::new(),
                advice,
            )
        }
    }
}
