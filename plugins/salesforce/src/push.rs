//! Operations carried out, one record a request, 200 in a collection or five collections in a composite, and what
//! became of each row.

use serde_json::json;
use tidegate_sdk::{
    Executed, Fault, Group, HttpMethod, HttpResponse, OperationKind, Operations, Progress, Request,
    Response, RowOutcome, segment,
};

use crate::lines::{self, Line};
use crate::org::Org;
use crate::outcome::{self, Sent};
use crate::part::{self, Answers, HEAVY_PARTS_MAX, Part};
use crate::refusal::Attempt;
use crate::{bulk, graph, soap, soql};

/// Records that one collection takes.
const COLLECTION_ROWS_MAX: usize = 200;

/// Rows of one group that go together, as a request of their own or as part of one.
struct Parcel<'a> {
    object: &'a str,
    part: Part,
    sent: Sent<'a>,
    lines: Vec<Line>,
}

/// What became of rows that were sent.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) outcomes: Vec<RowOutcome>,
    pub(crate) failed: Vec<(Fault, Vec<u64>)>,
}

/// Sends the groups in order and answers for every row. A fault means that the whole push failed.
pub(crate) fn push(org: &Org<'_>, operations: &Operations) -> Result<Progress, Fault> {
    let (rows, parcels) = match operations.method.as_str() {
        "single" => (1, 1),
        "collections" => (COLLECTION_ROWS_MAX, 1),
        "composite" => (COLLECTION_ROWS_MAX, HEAVY_PARTS_MAX),
        "graph" => return graph::push(org, operations),
        "bulk" => return bulk::push(org, operations),
        other => {
            if let Some(operation) = soap::operation(other) {
                return soap::push(org, operations, operation);
            }
            return Err(Fault::refused(
                "unknown-method",
                format!("this plugin's manifest has no method {other}"),
            ));
        }
    };
    check_references(operations)?;
    let mut refused = Vec::new();
    let mut loads = Vec::new();
    for group in &operations.groups {
        check_names(group)?;
        let (lines, unsent) = lines::of(group);
        refused.extend(unsent);
        loads.push((group, lines));
    }
    let mut answered = ship(org, loads, rows, parcels)?;
    answered.outcomes.splice(..0, refused);
    answered.progress()
}

/// Rows by collections, as few requests as possible.
pub(crate) fn collected(org: &Org<'_>, loads: Vec<(&Group, Vec<Line>)>) -> Result<Answered, Fault> {
    ship(org, loads, COLLECTION_ROWS_MAX, HEAVY_PARTS_MAX)
}

/// So many rows in a parcel, and so many parcels in a request.
fn ship(
    org: &Org<'_>,
    loads: Vec<(&Group, Vec<Line>)>,
    rows: usize,
    parcels: usize,
) -> Result<Answered, Fault> {
    let mut together = Vec::new();
    let mut apart = Vec::new();
    for (group, lines) in loads {
        let (odd, lines) = match parcels {
            1 => (Vec::new(), lines),
            _ => lines.into_iter().partition(Line::reads_as_reference),
        };
        together.extend(packed(org, group, lines, rows));
        apart.extend(packed(org, group, odd, rows));
    }
    let mut shipments = shipped(together, parcels);
    shipments.extend(shipped(apart, 1));
    match shipments.is_empty() {
        true => Ok(Answered::default()),
        false => send(org, shipments),
    }
}

impl Answered {
    /// The answer to the push. A fault where nothing was answered; else every row has an outcome.
    pub(crate) fn progress(self) -> Result<Progress, Fault> {
        if self.outcomes.is_empty() && !self.failed.is_empty() {
            return Err(whole(self.failed));
        }
        Ok(Progress::done(self.each()))
    }

    /// An outcome for every row.
    pub(crate) fn each(self) -> Vec<RowOutcome> {
        let mut outcomes = self.outcomes;
        for (fault, tokens) in &self.failed {
            let failed = |token: &u64| outcome::failed(*token, fault);
            outcomes.extend(tokens.iter().map(failed));
        }
        outcomes
    }
}

pub(crate) fn unanswered() -> Fault {
    Fault::broken(
        "wrong-answer",
        "the host must answer every request once; report this to its makers",
    )
    .with_unknown_fate()
}

/// Only the method of graphs says `references` in the manifest.
pub(crate) fn check_references(operations: &Operations) -> Result<(), Fault> {
    if operations.references.is_empty() {
        return Ok(());
    }
    Err(Fault::refused(
        "references-not-offered",
        format!(
            "method {} carries no references between rows",
            operations.method
        ),
    ))
}

pub(crate) fn check_names(group: &Group) -> Result<(), Fault> {
    soql::check_name(&group.object)?;
    if matches!(
        group.operation,
        OperationKind::Merge | OperationKind::Restore | OperationKind::Convert
    ) {
        return Err(Fault::refused(
            "operation-not-offered",
            "merges, restores and conversions go by methods of their own",
        ));
    }
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

fn packed<'a>(org: &Org<'_>, group: &'a Group, lines: Vec<Line>, rows: usize) -> Vec<Parcel<'a>> {
    let mut parcels = Vec::new();
    let mut lines = lines.into_iter().peekable();
    while lines.peek().is_some() {
        let some: Vec<Line> = lines.by_ref().take(rows).collect();
        parcels.push(parcel(org, group, some, rows == 1));
    }
    parcels
}

/// So many parcels go as one request.
fn shipped(parcels: Vec<Parcel<'_>>, most: usize) -> Vec<Vec<Parcel<'_>>> {
    let mut shipments = Vec::new();
    let mut parcels = parcels.into_iter().peekable();
    while parcels.peek().is_some() {
        shipments.push(parcels.by_ref().take(most).collect());
    }
    shipments
}

fn send(org: &Org<'_>, shipments: Vec<Vec<Parcel<'_>>>) -> Result<Answered, Fault> {
    let requests = shipments
        .iter()
        .map(|parcels| request(org, parcels))
        .collect::<Result<Vec<_>, _>>()?;
    let answers = org.gateway.write_batch(&requests);
    if answers.len() != shipments.len() {
        return Err(unanswered());
    }
    let mut answered = Answered::default();
    for (parcels, answer) in shipments.into_iter().zip(answers) {
        let answers = delivered(answer, parcels.len());
        for (parcel, answer) in parcels.into_iter().zip(answers) {
            match answer.and_then(|response| understand(&parcel, &response)) {
                Ok(rows) => answered.outcomes.extend(rows),
                Err(fault) => answered
                    .failed
                    .push((fault, tokens(&parcel.lines).collect())),
            }
        }
    }
    Ok(answered)
}

fn request(org: &Org<'_>, parcels: &[Parcel<'_>]) -> Result<Request, Fault> {
    let headers = org.config.write_headers();
    let http = match parcels {
        [parcel] => parcel.part.http()?,
        parcels => {
            let parts = parcels.iter().enumerate();
            let parts = parts.map(|(index, parcel)| parcel.part.named(&name(index), &headers));
            part::composite(org, parts.collect())?
        }
    };
    let mut http = http.rows(parcels.iter().flat_map(|parcel| tokens(&parcel.lines)));
    for (name, value) in headers {
        http = http.header(name, value);
    }
    http = http.changes(parcels.iter().map(|parcel| parcel.object));
    let creates = |parcel: &Parcel<'_>| parcel.sent.attempt().operation == OperationKind::Create;
    if !parcels.iter().any(creates) {
        http = http.idempotent();
    }
    Ok(http.build())
}

/// The name of a parcel within its request.
fn name(index: usize) -> String {
    format!("rows{index}")
}

/// The answer to each of so many parcels that were one request.
fn delivered(answer: Result<Response, Fault>, parcels: usize) -> Vec<Result<HttpResponse, Fault>> {
    let answer = answer.and_then(Response::into_http);
    if parcels == 1 {
        return vec![answer];
    }
    let what = "the write of several collections";
    match answer.and_then(|response| Answers::read(&response, what)) {
        Ok(mut answers) => (0..parcels)
            .map(|index| answers.take(&name(index), what))
            .collect(),
        Err(fault) => vec![Err(fault); parcels],
    }
}

fn understand(parcel: &Parcel<'_>, response: &HttpResponse) -> Result<Vec<RowOutcome>, Fault> {
    match parcel.sent {
        Sent::Alone(attempt) => {
            outcome::alone(response, &parcel.lines[0], attempt).map(|outcome| vec![outcome])
        }
        Sent::Collection(attempt) => outcome::collection(response, &parcel.lines, attempt),
    }
}

fn tokens(lines: &[Line]) -> impl Iterator<Item = u64> {
    lines.iter().map(|line| line.token)
}

/// The fault of a push of which nothing was answered. One request of unknown fate makes the whole so.
fn whole(failed: Vec<(Fault, Vec<u64>)>) -> Fault {
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

fn parcel<'a>(org: &Org<'_>, group: &'a Group, lines: Vec<Line>, alone: bool) -> Parcel<'a> {
    let key = group
        .key
        .as_deref()
        .filter(|_| group.operation == OperationKind::Upsert);
    let attempt = Attempt {
        operation: group.operation,
        key,
    };
    // A key that a path would garble goes into the body of a collection of one, for the same single call.
    let (part, sent) = match lines.as_slice() {
        [line] if alone && line.key_fits_path() => {
            (part_alone(org, group, line, key), Sent::Alone(attempt))
        }
        lines => (
            part_collection(org, group, lines, key),
            Sent::Collection(attempt),
        ),
    };
    Parcel {
        object: &group.object,
        part,
        sent,
        lines,
    }
}

/// The write of one record.
pub(crate) fn part_alone(org: &Org<'_>, group: &Group, line: &Line, key: Option<&str>) -> Part {
    let base = format!("/sobjects/{}", group.object);
    let path = match (group.operation, key) {
        (OperationKind::Create, _) => base,
        (OperationKind::Upsert, Some(key)) => format!("{base}/{key}/{}", segment(&line.key)),
        _ => format!("{base}/{}", line.id),
    };
    let part = Part::new(verb(group.operation), org.config.path(&path));
    match group.operation {
        OperationKind::Delete => part,
        _ => part.body(line.body(key)),
    }
}

fn part_collection(org: &Org<'_>, group: &Group, lines: &[Line], key: Option<&str>) -> Part {
    let base = "/composite/sobjects";
    let path = match key {
        Some(key) => format!("{base}/{}/{key}", group.object),
        None => base.to_owned(),
    };
    let part = Part::new(verb(group.operation), org.config.path(&path));
    if group.operation == OperationKind::Delete {
        let ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
        return part.query("ids", ids.join(",")).query("allOrNone", "false");
    }
    let records: Vec<_> = lines
        .iter()
        .map(|line| line.record(&group.object, group.operation))
        .collect();
    part.body(json!({ "allOrNone": false, "records": records }))
}

fn verb(operation: OperationKind) -> HttpMethod {
    match operation {
        OperationKind::Create => HttpMethod::Post,
        OperationKind::Update | OperationKind::Upsert => HttpMethod::Patch,
        // Those of SOAP never come here.
        _ => HttpMethod::Delete,
    }
}
