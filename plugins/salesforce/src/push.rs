//! Operations carried out, one record a request or 200 in a collection, and what became of each row.

use serde_json::json;
use tidegate_sdk::{
    Executed, Fault, Group, Http, HttpMethod, OperationKind, Operations, Progress, Request,
    Response, RowOutcome, segment,
};

use crate::lines::{self, Line};
use crate::org::Org;
use crate::outcome::{self, Sent};
use crate::soql;

/// Records that one collection takes.
const COLLECTION_ROWS_MAX: usize = 200;

/// A request and the rows that it carries.
struct Parcel<'a> {
    request: Request,
    sent: Sent<'a>,
    lines: Vec<Line>,
}

/// Sends the groups in order and answers for every row. A fault means that the whole push failed.
pub(crate) fn push(org: &Org<'_>, operations: &Operations) -> Result<Progress, Fault> {
    let rows = match operations.method.as_str() {
        "single" => 1,
        "collections" => COLLECTION_ROWS_MAX,
        other => {
            return Err(Fault::refused(
                "unknown-method",
                format!("this plugin's manifest has no method {other}"),
            ));
        }
    };
    if !operations.references.is_empty() {
        return Err(Fault::refused(
            "references-not-offered",
            format!(
                "method {} carries no references between rows",
                operations.method
            ),
        ));
    }
    let mut outcomes = Vec::new();
    let mut parcels = Vec::new();
    for group in &operations.groups {
        check_names(group)?;
        let (lines, refused) = lines::of(group);
        outcomes.extend(refused);
        let mut lines = lines.into_iter().peekable();
        while lines.peek().is_some() {
            let some: Vec<Line> = lines.by_ref().take(rows).collect();
            parcels.push(parcel(org, group, some, rows == 1)?);
        }
    }
    send(org, parcels, outcomes)
}

fn check_names(group: &Group) -> Result<(), Fault> {
    soql::check_name(&group.object)?;
    if let Some(key) = &group.key {
        soql::check_name(key)?;
    }
    if group.operation == OperationKind::Upsert && group.key.is_none() {
        return Err(Fault::refused(
            "upsert-without-key",
            format!(
                "an upsert of {} must name the field that it goes by",
                group.object
            ),
        ));
    }
    Ok(())
}

fn send(
    org: &Org<'_>,
    parcels: Vec<Parcel<'_>>,
    mut outcomes: Vec<RowOutcome>,
) -> Result<Progress, Fault> {
    if parcels.is_empty() {
        return Ok(Progress::done(outcomes));
    }
    let requests: Vec<Request> = parcels
        .iter()
        .map(|parcel| parcel.request.clone())
        .collect();
    let answers = org.gateway.write_batch(&requests);
    if answers.len() != parcels.len() {
        return Err(Fault::broken(
            "wrong-answer",
            "the host must answer every request once; report this to its makers",
        )
        .with_unknown_fate());
    }
    let mut failed: Vec<(Fault, Vec<Line>)> = Vec::new();
    let mut answered = !outcomes.is_empty();
    for (parcel, answer) in parcels.into_iter().zip(answers) {
        match understand(&parcel, answer) {
            Ok(rows) => {
                answered = true;
                outcomes.extend(rows);
            }
            Err(fault) => failed.push((fault, parcel.lines)),
        }
    }
    if !answered {
        return Err(whole(failed));
    }
    for (fault, lines) in failed {
        outcomes.extend(lines.iter().map(|line| outcome::failed(line.token, &fault)));
    }
    Ok(Progress::done(outcomes))
}

fn understand(
    parcel: &Parcel<'_>,
    answer: Result<Response, Fault>,
) -> Result<Vec<RowOutcome>, Fault> {
    let response = answer?.into_http()?;
    match parcel.sent {
        Sent::Alone(_) => outcome::alone(&response, &parcel.lines[0], parcel.sent.attempt())
            .map(|outcome| vec![outcome]),
        Sent::Collection(_) => outcome::collection(&response, &parcel.lines, parcel.sent.attempt()),
    }
}

/// The fault of a push of which nothing was answered. One request of unknown fate makes the whole so.
fn whole(failed: Vec<(Fault, Vec<Line>)>) -> Fault {
    let unknown = failed
        .iter()
        .any(|(fault, _)| fault.executed == Executed::Unknown);
    let fault = failed.into_iter().next().map_or_else(
        || {
            Fault::broken(
                "nothing-sent",
                "the push had requests, but none was answered",
            )
        },
        |(fault, _)| fault,
    );
    match unknown {
        true => fault.with_unknown_fate(),
        false => fault,
    }
}

fn parcel<'a>(
    org: &Org<'_>,
    group: &'a Group,
    lines: Vec<Line>,
    alone: bool,
) -> Result<Parcel<'a>, Fault> {
    let key = group
        .key
        .as_deref()
        .filter(|_| group.operation == OperationKind::Upsert);
    let attempt = crate::refusal::Attempt {
        operation: group.operation,
        key,
    };
    // A key that a path would garble goes into the body of a collection of one, for the same single call.
    let (http, sent) = match lines.as_slice() {
        [line] if alone && line.key_fits_path() => {
            (request_alone(org, group, line, key)?, Sent::Alone(attempt))
        }
        lines => (
            request_collection(org, group, lines, key)?,
            Sent::Collection(attempt),
        ),
    };
    let mut http = http.rows(lines.iter().map(|line| line.token));
    for (name, value) in org.config.write_headers() {
        http = http.header(name, value);
    }
    if group.operation != OperationKind::Create {
        http = http.idempotent();
    }
    Ok(Parcel {
        request: http.build(),
        sent,
        lines,
    })
}

fn request_alone(
    org: &Org<'_>,
    group: &Group,
    line: &Line,
    key: Option<&str>,
) -> Result<Http, Fault> {
    let base = format!("/sobjects/{}", group.object);
    let path = match (group.operation, key) {
        (OperationKind::Create, _) => base,
        (OperationKind::Upsert, Some(key)) => format!("{base}/{key}/{}", segment(&line.key)),
        _ => format!("{base}/{}", line.id),
    };
    let http = Http::new(verb(group.operation), org.config.path(&path));
    match group.operation {
        OperationKind::Delete => Ok(http),
        _ => http.json(&line.body(key)),
    }
}

fn request_collection(
    org: &Org<'_>,
    group: &Group,
    lines: &[Line],
    key: Option<&str>,
) -> Result<Http, Fault> {
    let base = "/composite/sobjects";
    let path = match key {
        Some(key) => format!("{base}/{}/{key}", group.object),
        None => base.to_owned(),
    };
    let http = Http::new(verb(group.operation), org.config.path(&path));
    if group.operation == OperationKind::Delete {
        let ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
        return Ok(http.query("ids", ids.join(",")).query("allOrNone", "false"));
    }
    let records: Vec<_> = lines
        .iter()
        .map(|line| line.record(&group.object, group.operation))
        .collect();
    http.json(&json!({ "allOrNone": false, "records": records }))
}

fn verb(operation: OperationKind) -> HttpMethod {
    match operation {
        OperationKind::Create => HttpMethod::Post,
        OperationKind::Update | OperationKind::Upsert => HttpMethod::Patch,
        OperationKind::Delete => HttpMethod::Delete,
    }
}
