//! What Salesforce answers: JSON where all is well, an array of errors where it is not, and now and then
//! something else altogether.
//!
//! A fault never repeats Salesforce's own words, since those may quote the values of a query.

use serde::Deserialize;
use tidegate_sdk::{Fault, HttpResponse};

/// One entry of an error body, or of a row's `errors`, where the code goes by the name of `statusCode`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct VendorError {
    #[serde(alias = "errorCode", alias = "statusCode")]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) fields: Vec<String>,
}

/// The errors of an answer that has them; `None` for a body of any other shape, such as a proxy's page.
pub(crate) fn errors(response: &HttpResponse) -> Option<Vec<VendorError>> {
    let errors: Vec<VendorError> = serde_json::from_slice(&response.body).ok()?;
    (!errors.is_empty()).then_some(errors)
}

/// The fault that an answer without success amounts to. `what` names the request for a person.
pub(crate) fn fault(response: &HttpResponse, what: &str) -> Fault {
    match errors(response) {
        Some(errors) => fault_of(response.status, &errors[0].code, what),
        None => foreign(response, what),
    }
}

/// Not Salesforce's way to answer: whether the request was carried out can't be told.
pub(crate) fn foreign(response: &HttpResponse, what: &str) -> Fault {
    let media_type = response.header("content-type").unwrap_or("no media type");
    Fault::broken(
        "not-a-salesforce-answer",
        format!(
            "{what}: status {} with {media_type}, {} bytes, is not an answer of Salesforce's API; look for a proxy, a \
             maintenance page or a wrong origin",
            response.status,
            response.body.len()
        ),
    )
    .with_unknown_fate()
}

/// From Salesforce's code to what is asked of whoever meets it. Codes decide before statuses, since the
/// same code comes under several.
pub(crate) fn fault_of(status: u16, code: &str, what: &str) -> Fault {
    let said = format!("{what}: Salesforce answered {status} {code}");
    match code {
        "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER" => Fault::auth(
            code,
            format!("{said}; reconnect the app, or allow its run-as user the REST API"),
        ),
        "REQUEST_LIMIT_EXCEEDED" => Fault::throttled(
            code,
            format!("{said}; the org's allowance is used up, by all its applications together"),
            None,
        ),
        "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED" | "FUNCTIONALITY_NOT_ENABLED" => {
            Fault::auth(
                code,
                format!("{said}; the org's edition or the user's profile lacks API access"),
            )
        }
        "INSUFFICIENT_ACCESS" | "INSUFFICIENT_ACCESS_OR_READONLY" => Fault::auth(
            code,
            format!("{said}; give the run-as user the rights for it"),
        ),
        "SERVER_UNAVAILABLE"
        | "UNABLE_TO_LOCK_ROW"
        | "QUERY_TIMEOUT"
        | "REQUEST_RUNNING_TOO_LONG" => Fault::transient(code, said),
        "GONE" | "UNSUPPORTED_API_VERSION" => retired(code, &said),
        "NOT_FOUND" | "INVALID_TYPE" => Fault::missing(
            code,
            format!("{said}; it does not exist, or the run-as user may not see it"),
        ),
        _ => fault_of_status(status, code, said),
    }
}

fn fault_of_status(status: u16, code: &str, said: String) -> Fault {
    match status {
        401 => Fault::auth(code, format!("{said}; reconnect the app")),
        404 => Fault::missing(code, said),
        410 => retired(code, &said),
        500.. => Fault::transient(code, said).with_unknown_fate(),
        _ => Fault::refused(code, said),
    }
}

fn retired(code: &str, said: &str) -> Fault {
    Fault::config(
        code,
        format!(
            "{said}; this API version is retired: set a later api-version in the endpoint's config"
        ),
    )
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::{Executed, FaultKind};

    use super::*;

    fn response(status: u16, body: &str) -> HttpResponse {
        HttpResponse {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn every_answer_without_success_has_its_fault() {
        let cases = [
            (401, "INVALID_SESSION_ID", FaultKind::Auth, Executed::No),
            (401, "INVALID_AUTH_HEADER", FaultKind::Auth, Executed::No),
            (401, "SOMETHING_NEW", FaultKind::Auth, Executed::No),
            (
                403,
                "REQUEST_LIMIT_EXCEEDED",
                FaultKind::Throttled,
                Executed::No,
            ),
            (403, "API_DISABLED_FOR_ORG", FaultKind::Auth, Executed::No),
            (
                403,
                "INSUFFICIENT_ACCESS_OR_READONLY",
                FaultKind::Auth,
                Executed::No,
            ),
            (
                503,
                "SERVER_UNAVAILABLE",
                FaultKind::Transient,
                Executed::No,
            ),
            (400, "QUERY_TIMEOUT", FaultKind::Transient, Executed::No),
            (404, "NOT_FOUND", FaultKind::Missing, Executed::No),
            (400, "INVALID_TYPE", FaultKind::Missing, Executed::No),
            (410, "GONE", FaultKind::Config, Executed::No),
            (400, "MALFORMED_QUERY", FaultKind::Refused, Executed::No),
            (400, "INVALID_FIELD", FaultKind::Refused, Executed::No),
            (400, "EXCEEDED_ID_LIMIT", FaultKind::Refused, Executed::No),
            (
                500,
                "UNKNOWN_EXCEPTION",
                FaultKind::Transient,
                Executed::Unknown,
            ),
        ];
        for (status, code, kind, executed) in cases {
            let body = format!(r#"[{{"message":"says 'Ada'","errorCode":"{code}"}}]"#);
            let found = fault(&response(status, &body), "the query of Contact");
            assert_eq!((found.kind, found.executed), (kind, executed), "{code}");
            assert_eq!(found.code, code);
            assert!(!found.message.contains("Ada"), "{}", found.message);
        }
    }

    #[test]
    fn what_is_no_answer_of_salesforce_is_broken() {
        for (status, body) in [
            (502, "<html>Bad gateway</html>"),
            (403, ""),
            (400, r#"[{"message":"cut of"#),
            (400, "[]"),
            (404, r#"{"error":"other shape"}"#),
        ] {
            let found = fault(&response(status, body), "the query of Contact");
            assert_eq!(found.kind, FaultKind::Broken, "{body}");
            assert_eq!(found.executed, Executed::Unknown, "{body}");
        }
    }
}
