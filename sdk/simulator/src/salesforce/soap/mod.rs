//! The SOAP API of the partner WSDL: what only it can do (merge, lead conversion, undelete, emptying the recycle
//! bin), and the writes that REST can do as well.
//!
//! `envelope` reads and writes XML, `records` answers calls about records one by one, `conversion` those that turn
//! several into one, or one into several.

mod conversion;
mod envelope;
mod records;

use super::answer::{Answer, ApiError, RowError};
use super::org::Org;
use super::transaction::Began;
pub(crate) use envelope::{Element, Envelope, fault};

/// The name under which the meter counts an operation.
pub(crate) fn kind(operation: &str) -> &'static str {
    match operation {
        "create" => "soap-create",
        "update" => "soap-update",
        "upsert" => "soap-upsert",
        "delete" => "soap-delete",
        "undelete" => "soap-undelete",
        "emptyRecycleBin" => "soap-empty-recycle-bin",
        "merge" => "soap-merge",
        "convertLead" => "soap-convert-lead",
        _ => "soap-unknown",
    }
}

pub(crate) fn answer(
    org: &mut Org,
    envelope: &Envelope,
    began: &Began,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let asked = &envelope.operation;
    let all_or_none = envelope.all_or_none();
    let results = match asked.name.as_str() {
        "create" => records::create(org, asked, began, all_or_none),
        "update" => records::update(org, asked, began, all_or_none),
        "upsert" => records::upsert(org, asked, began, all_or_none),
        "delete" => records::delete(org, asked, began, all_or_none),
        "undelete" => records::undelete(org, asked, began, all_or_none),
        "emptyRecycleBin" => records::empty_recycle_bin(org, asked, began),
        "merge" => conversion::merge(org, asked, began),
        "convertLead" => conversion::convert_lead(org, asked, began),
        name => {
            let message = format!("No operation available for request {name}");
            return Ok(fault(500, "soapenv:Client", &message));
        }
    }?;
    let usage = (org.ledger.used(now_ms), org.ledger.limit());
    Ok(envelope::answer(&asked.name, &results, usage))
}

/// An error of the whole call.
pub(crate) fn refusal(error: &ApiError) -> Answer {
    let status = if error.status == 503 { 503 } else { 500 };
    let message = match error.code {
        "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER" => {
            let message = "INVALID_SESSION_ID: Invalid Session ID found in SessionHeader: Illegal \
                           Session";
            return fault(status, "sf:INVALID_SESSION_ID", message);
        }
        code => format!("{code}: {}", error.message),
    };
    fault(status, &format!("sf:{}", error.code), &message)
}

/// More than a call may hold fails it as a whole.
fn check_most(found: usize, most: usize) -> Result<(), ApiError> {
    if found <= most {
        return Ok(());
    }
    let message =
        format!("record limit reached. cannot submit more than {most} records into this call");
    Err(ApiError::bad("EXCEEDED_ID_LIMIT", message))
}

/// The `errors` of a result.
fn errors(xml: &mut String, error: &RowError) {
    xml.push_str("<errors>");
    for field in &error.fields {
        envelope::leaf(xml, "fields", field);
    }
    envelope::leaf(xml, "message", &error.message);
    envelope::leaf(xml, "statusCode", error.code);
    xml.push_str("</errors>");
}
