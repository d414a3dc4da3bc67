//! What only SOAP can: records merged, brought back, and leads converted.
//!
//! `ask` writes what goes into the Body of an envelope, which the host builds around it with the session; `told`
//! reads the results. Each row of an answer stands for itself: Salesforce makes a transaction of every merge and
//! every conversion.

mod ask;
mod told;

use tidegate_sdk::{Fault, Group, Http, OperationKind, Operations, Progress, Request};

use crate::lines::{self, Line};
use crate::org::Org;
use crate::push::{self, Answered};
use crate::{id, soql};
use ask::Ask;

/// Merge requests in a call, and ids to bring back.
const ROWS_MAX: usize = 200;
/// Records that become part of another one by one request.
const LOSERS_MAX: usize = 2;
const LEADS_MAX: usize = 100;

/// Whether a method of the manifest goes by SOAP, and for which operation.
pub(crate) fn operation(method: &str) -> Option<OperationKind> {
    match method {
        "merge" => Some(OperationKind::Merge),
        "undelete" => Some(OperationKind::Restore),
        "convert-lead" => Some(OperationKind::Convert),
        _ => None,
    }
}

pub(crate) fn push(
    org: &Org<'_>,
    operations: &Operations,
    operation: OperationKind,
) -> Result<Progress, Fault> {
    push::check_references(operations)?;
    let mut answered = Answered::default();
    let mut calls = Vec::new();
    for group in &operations.groups {
        soql::check_name(&group.object)?;
        if group.operation != operation {
            return Err(Fault::refused(
                "operation-not-offered",
                format!("method {} carries other operations", operations.method),
            ));
        }
        let (lines, refused) = lines::of(group);
        answered.outcomes.extend(refused);
        let asks = asks(group, lines, &mut answered);
        calls.extend(asks.into_iter().map(|asks| (group.object.as_str(), asks)));
    }
    let requests = calls
        .iter()
        .map(|(object, asks)| request(org, operation, object, asks))
        .collect::<Result<Vec<_>, _>>()?;
    let answers = match requests.is_empty() {
        true => Vec::new(),
        false => org.gateway.write_batch(&requests),
    };
    if answers.len() != calls.len() {
        return Err(push::unanswered());
    }
    for ((_, asks), answer) in calls.iter().zip(answers) {
        let response = answer.and_then(tidegate_sdk::Response::into_http);
        let read = response.and_then(|response| told::outcomes(&response, operation, asks));
        match read {
            Ok(rows) => answered.outcomes.extend(rows),
            Err(fault) => {
                let tokens = asks.iter().flat_map(|ask| ask.lines());
                let tokens = tokens.map(|line| line.token).collect();
                answered.failed.push((fault, tokens));
            }
        }
    }
    answered.progress()
}

/// What goes into each call.
fn asks(group: &Group, lines: Vec<Line>, answered: &mut Answered) -> Vec<Vec<Ask>> {
    let (asks, most) = match group.operation {
        OperationKind::Merge => (merges(group, lines, answered), ROWS_MAX),
        OperationKind::Convert => (conversions(group, lines, answered), LEADS_MAX),
        _ => (lines.into_iter().map(Ask::One).collect(), ROWS_MAX),
    };
    let mut calls = Vec::new();
    let mut asks = asks.into_iter().peekable();
    while asks.peek().is_some() {
        calls.push(asks.by_ref().take(most).collect());
    }
    calls
}

/// Records that become part of the same one go together, two at a time.
fn merges(group: &Group, lines: Vec<Line>, answered: &mut Answered) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for line in lines {
        let row = group.tokens.iter().position(|token| *token == line.token);
        let into = row.filter(|row| *row < group.into.len());
        let into = into.map(|row| id::canonical(group.into.text(row)));
        let Some(into) = into.filter(|into| id::has_form(into)) else {
            let message = "the record that this one becomes part of has no id of Salesforce's";
            let refused = lines::refused(line.token, "MALFORMED_ID", None, message.to_owned());
            answered.outcomes.push(refused);
            continue;
        };
        let room = asks.iter_mut().find_map(|ask| match ask {
            Ask::Merge { master, losers } if *master == into && losers.len() < LOSERS_MAX => {
                Some(losers)
            }
            _ => None,
        });
        match room {
            Some(losers) => losers.push(line),
            None => asks.push(Ask::Merge {
                master: into,
                losers: vec![line],
            }),
        }
    }
    asks
}

fn conversions(group: &Group, lines: Vec<Line>, answered: &mut Answered) -> Vec<Ask> {
    if group.object == "Lead" {
        return lines.into_iter().map(Ask::One).collect();
    }
    let refused = |line: Line| {
        let message = format!("Salesforce converts leads, and this is a {}", group.object);
        lines::refused(line.token, "not-a-lead", None, message)
    };
    answered.outcomes.extend(lines.into_iter().map(refused));
    Vec::new()
}

fn request(
    org: &Org<'_>,
    operation: OperationKind,
    object: &str,
    asks: &[Ask],
) -> Result<Request, Fault> {
    let body = ask::body(&org.config, operation, object, asks)?;
    let tokens = asks.iter().flat_map(Ask::lines).map(|line| line.token);
    let http = Http::post(org.config.soap_path())
        .header("soapaction", "\"\"")
        .body("text/xml; charset=UTF-8", body)
        .rows(tokens);
    // What a merge, an undelete or a conversion leaves behind shows in other objects too.
    Ok(http.changes([object]).build())
}
