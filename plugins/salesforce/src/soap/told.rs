//! From an answer's envelope to what became of each row.

use roxmltree::{Document, Node};
use tidegate_sdk::{Fault, HttpResponse, OperationKind, Outcome, RowOutcome};

use super::ask::Ask;
use crate::answer::{self, VendorError};
use crate::id;
use crate::refusal::{Attempt, refusal};

/// The outcomes of a call's rows. A fault means that none of them was carried out, or that nobody can tell.
pub(super) fn outcomes(
    response: &HttpResponse,
    operation: OperationKind,
    asks: &[Ask],
) -> Result<Vec<RowOutcome>, Fault> {
    let what = "a call by SOAP";
    let text = std::str::from_utf8(&response.body).unwrap_or_default();
    let document = Document::parse(text).map_err(|_| answer::foreign(response, what))?;
    if response.status != 200 {
        return Err(fault(&document, what).unwrap_or_else(|| answer::foreign(response, what)));
    }
    let body = child(document.root_element(), "Body");
    let answered = body.and_then(|body| body.first_element_child());
    let Some(answered) = answered.filter(|node| node.tag_name().name().ends_with("Response"))
    else {
        return Err(answer::foreign(response, what));
    };
    let results: Vec<Node<'_, '_>> = children(answered, "result").collect();
    if results.len() != asks.len() {
        let message = format!(
            "{what}: {} requests were sent and {} answered",
            asks.len(),
            results.len()
        );
        return Err(Fault::broken("rows-misaligned", message).with_unknown_fate());
    }
    let rows = results.into_iter().zip(asks);
    Ok(rows
        .flat_map(|(result, ask)| settle(result, operation, ask))
        .collect())
}

/// Salesforce's own errors were found before anything was done, but for those that nobody expected.
fn fault(document: &Document<'_>, what: &str) -> Option<Fault> {
    let mut nodes = document.descendants();
    let fault = nodes.find(|node| node.tag_name().name() == "Fault")?;
    let code = text(fault, "faultcode")?;
    let code = code.rsplit_once(':').map_or(code, |(_, code)| code);
    let status = match code {
        "UNKNOWN_EXCEPTION" | "Server" => 500,
        _ => 400,
    };
    Some(answer::fault_of(status, code, what))
}

fn settle(result: Node<'_, '_>, operation: OperationKind, ask: &Ask) -> Vec<RowOutcome> {
    let attempt = Attempt {
        operation,
        key: None,
    };
    let errors: Vec<VendorError> = children(result, "errors").map(error).collect();
    let outcome = match text(result, "success") {
        Some("true") if !speaks_of(result, operation, ask) => {
            Outcome::Unknown("Salesforce speaks of another record than was sent".to_owned())
        }
        Some("true") => return written(ask),
        Some("false") if is_done(operation, &errors) => return written(ask),
        Some("false") => match refusal(&errors, attempt) {
            Some(refusal) => Outcome::Refused(refusal),
            None => Outcome::Unknown("Salesforce says neither success nor error".to_owned()),
        },
        _ => Outcome::Unknown("Salesforce says neither success nor error".to_owned()),
    };
    let lines = ask.lines().iter();
    lines
        .map(|line| RowOutcome {
            token: line.token,
            outcome: outcome.clone(),
        })
        .collect()
}

fn written(ask: &Ask) -> Vec<RowOutcome> {
    let lines = ask.lines().iter();
    lines
        .map(|line| RowOutcome::written(line.token, &line.id, false, ""))
        .collect()
}

fn speaks_of(result: Node<'_, '_>, operation: OperationKind, ask: &Ask) -> bool {
    let (name, sent) = match (ask, operation) {
        (Ask::Merge { master, .. }, _) => ("id", master),
        (Ask::One(line), OperationKind::Convert) => ("leadId", &line.id),
        (Ask::One(line), _) => ("id", &line.id),
    };
    text(result, name).is_none_or(|told| id::canonical(told) == *sent)
}

/// A lead that was converted before, perhaps by a call of ours whose answer was lost.
fn is_done(operation: OperationKind, errors: &[VendorError]) -> bool {
    operation == OperationKind::Convert
        && matches!(errors, [error] if error.code == "CANNOT_UPDATE_CONVERTED_LEAD")
}

fn error(node: Node<'_, '_>) -> VendorError {
    VendorError {
        code: text(node, "statusCode").unwrap_or_default().to_owned(),
        message: text(node, "message").unwrap_or_default().to_owned(),
        fields: children(node, "fields")
            .filter_map(|field| field.text())
            .map(str::to_owned)
            .collect(),
    }
}

fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children()
        .filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

/// The text of a child that is there and not empty.
fn text<'a>(node: Node<'a, '_>, name: &'static str) -> Option<&'a str> {
    let text = child(node, name)?.text()?.trim();
    (!text.is_empty()).then_some(text)
}
