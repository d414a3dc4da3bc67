//! Several calls in one: `composite`, whose parts may refer to earlier ones, and `batch`, whose parts may not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Body};
use super::call::Call;
use super::org::Org;
use super::route::{self, Target};
use super::transaction::{Began, Outer};

const PARTS_MAX: usize = 25;
/// Of the parts of a composite, so many may be queries or collections.
const HEAVY_MAX: usize = 5;

pub(crate) fn composite(
    org: &mut Org,
    call: &Call,
    began: &Began,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    if call.method != "POST" {
        return Err(ApiError::method_not_allowed());
    }
    let body = call.json()?;
    let parts = parts(&body, "compositeRequest")?;
    let all_or_none = body["allOrNone"] == json!(true);
    let heavy = parts.iter().filter(|part| is_heavy(part)).count();
    if heavy > HEAVY_MAX {
        let message = format!(
            "Cannot have more than {HEAVY_MAX} query or collections subrequests in a composite"
        );
        return Err(ApiError::bad("LIMIT_EXCEEDED", message));
    }
    check_references(parts)?;
    if all_or_none {
        Outer::begin(org);
    }
    let Parts {
        mut responses,
        failed,
    } = run(org, call, began, parts, now_ms);
    if all_or_none {
        let good = !failed.contains(&true);
        Outer::end(org, began, good)?;
        if !good {
            halt_innocents(&mut responses, &failed);
        }
    }
    Ok(Answer::json(200, json!({"compositeResponse": responses})))
}

/// What became of the parts, and which of them failed.
pub(crate) struct Parts {
    pub(crate) responses: Vec<Value>,
    pub(crate) failed: Vec<bool>,
}

/// One after the other; a later part may refer to what an earlier one answered.
pub(crate) fn run(
    org: &mut Org,
    call: &Call,
    began: &Began,
    parts: &[Value],
    now_ms: u64,
) -> Parts {
    let mut answered: HashMap<String, Value> = HashMap::new();
    let mut responses = Vec::with_capacity(parts.len());
    let mut failed = Vec::with_capacity(parts.len());
    for part in parts {
        let reference = part["referenceId"].as_str().unwrap_or_default().to_owned();
        let answer = resolved(part, &answered)
            .and_then(|part| subrequest(org, call, began, &part, now_ms))
            .unwrap_or_else(Answer::from);
        let body = json_body(&answer);
        failed.push(answer.status >= 400 || has_failed_rows(&body));
        if answer.status < 300 {
            answered.insert(reference.clone(), body.clone());
        }
        responses.push(json!({
            "body": body, "httpHeaders": headers(&answer),
            "httpStatusCode": answer.status, "referenceId": reference,
        }));
    }
    Parts { responses, failed }
}

/// Names by which parts refer to one another have to be plain, and each may stand for one part only.
pub(crate) fn check_references(parts: &[Value]) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for part in parts {
        let name = part["referenceId"].as_str().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            let message = format!("The referenceId {name:?} is not of letters, digits and _ only");
            return Err(ApiError::bad("INVALID_INPUT", message));
        }
        if !seen.insert(name) {
            let message = format!("There are two subrequests with the referenceId {name}");
            return Err(ApiError::bad("INVALID_INPUT", message));
        }
    }
    Ok(())
}

/// The parts that a part refers to.
pub(crate) fn references(part: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match part {
        Value::String(text) => {
            for rest in text.split("@{").skip(1) {
                let name = rest.split(['.', '}']).next().unwrap_or_default();
                found.push(name.to_owned());
            }
        }
        Value::Array(values) => found.extend(values.iter().flat_map(references)),
        Value::Object(fields) => found.extend(fields.values().flat_map(references)),
        _ => {}
    }
    found
}

fn has_failed_rows(body: &Value) -> bool {
    body.as_array()
        .is_some_and(|rows| rows.iter().any(|row| row["success"] == json!(false)))
}

/// Parts that would have succeeded say that they were taken back.
pub(crate) fn halt_innocents(responses: &mut [Value], failed: &[bool]) {
    for (response, _) in responses
        .iter_mut()
        .zip(failed)
        .filter(|(_, failed)| !**failed)
    {
        *response = halted(response);
    }
}

/// What a part is told that was not done, or not kept, because of another.
pub(crate) fn halted(part: &Value) -> Value {
    let message = "The transaction was rolled back since another operation in the same transaction \
                   failed.";
    json!({
        "body": ApiError::bad("PROCESSING_HALTED", message).body(), "httpHeaders": {},
        "httpStatusCode": 400, "referenceId": part["referenceId"],
    })
}

pub(crate) fn batch(
    org: &mut Org,
    call: &Call,
    began: &Began,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    if call.method != "POST" {
        return Err(ApiError::method_not_allowed());
    }
    let body = call.json()?;
    let mut failed = false;
    let mut results = Vec::new();
    for part in parts(&body, "batchRequests")? {
        let mut part = part.clone();
        if let Some(url) = part["url"].as_str() {
            part["url"] = json!(format!("/services/data/{}", url.trim_start_matches('/')));
        }
        let answer = subrequest(org, call, began, &part, now_ms).unwrap_or_else(Answer::from);
        failed |= answer.status >= 400;
        results.push(json!({"statusCode": answer.status, "result": json_body(&answer)}));
    }
    let body = json!({"hasErrors": failed, "results": results});
    Ok(Answer::json(200, body))
}

/// What a call costs of the day: a batch every part, anything else one.
pub(crate) fn cost(call: &Call, target: &Target) -> u64 {
    if *target != Target::Batch {
        return 1;
    }
    let parts = call
        .json()
        .ok()
        .and_then(|body| Some(body["batchRequests"].as_array()?.len()));
    parts.map_or(1, |parts| parts.max(1) as u64)
}

/// Whether a part does anything else than read.
pub(crate) fn writes(call: &Call) -> bool {
    let body = call.json().unwrap_or_default();
    let parts = ["compositeRequest", "batchRequests"]
        .into_iter()
        .filter_map(|name| body[name].as_array());
    let mut methods = parts
        .flatten()
        .map(|part| part["method"].as_str().unwrap_or("GET"));
    methods.any(|method| method != "GET")
}

fn parts<'a>(body: &'a Value, name: &str) -> Result<&'a Vec<Value>, ApiError> {
    let parts = body[name].as_array().ok_or_else(|| {
        ApiError::bad(
            "JSON_PARSER_ERROR",
            format!("The request has no list of {name}"),
        )
    })?;
    if parts.len() > PARTS_MAX {
        let message = format!("Cannot have more than {PARTS_MAX} subrequests");
        return Err(ApiError::bad("LIMIT_EXCEEDED", message));
    }
    Ok(parts)
}

fn is_heavy(part: &Value) -> bool {
    let url = part["url"].as_str().unwrap_or_default();
    let method = part["method"].as_str().unwrap_or("GET");
    Call::new(method, url, Vec::new(), Vec::new())
        .and_then(|call| Target::of(&call))
        .is_ok_and(|target| target.is_query() || target.is_collections())
}

fn subrequest(
    org: &mut Org,
    outer: &Call,
    began: &Began,
    part: &Value,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let url = part["url"].as_str().unwrap_or_default();
    let method = part["method"].as_str().unwrap_or("GET");
    let mut call = Call::new(method, url, outer.headers.clone(), Vec::new())?;
    let body = part.get("body").or_else(|| part.get("richInput"));
    call.parsed = body.cloned().map(Arc::new);
    let target = Target::of(&call)?;
    if matches!(
        target,
        Target::Composite
            | Target::Batch
            | Target::Graph
            | Target::Tree(_)
            | Target::Ingest(_)
            | Target::QueryJobs(_)
            | Target::Soap(_)
    ) {
        let message = "A subrequest can be neither a composite itself nor a bulk job";
        return Err(ApiError::bad("INVALID_INPUT", message));
    }
    route::answer(org, &call, &target, began, now_ms)
}

/// Puts what earlier parts answered in place of `@{reference.path}`.
fn resolved(part: &Value, answered: &HashMap<String, Value>) -> Result<Value, ApiError> {
    Ok(match part {
        Value::String(text) => Value::String(resolved_text(text, answered)?),
        Value::Array(values) => values
            .iter()
            .map(|value| resolved(value, answered))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| Ok((name.clone(), resolved(value, answered)?)))
            .collect::<Result<Map<_, _>, ApiError>>()?
            .into(),
        other => other.clone(),
    })
}

fn resolved_text(text: &str, answered: &HashMap<String, Value>) -> Result<String, ApiError> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("@{") {
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        let path = &rest[start + 2..start + length];
        resolved.push_str(&rest[..start]);
        resolved.push_str(&look_up(path, answered)?);
        rest = &rest[start + length + 1..];
    }
    resolved.push_str(rest);
    Ok(resolved)
}

fn look_up(path: &str, answered: &HashMap<String, Value>) -> Result<String, ApiError> {
    let (reference, inner) = path.split_once('.').unwrap_or((path, ""));
    let pointer: String = inner
        .split(['.', '[', ']'])
        .filter(|step| !step.is_empty())
        .map(|step| format!("/{step}"))
        .collect();
    let found = answered
        .get(reference)
        .and_then(|body| body.pointer(&pointer));
    match found {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value) if !value.is_null() => Ok(value.to_string()),
        _ => {
            let message = format!("Invalid reference specified. No value for {path} found");
            Err(ApiError::bad("PROCESSING_HALTED", message))
        }
    }
}

fn json_body(answer: &Answer) -> Value {
    match &answer.body {
        Body::Json(body) => body.clone(),
        Body::Empty | Body::Text(..) => Value::Null,
    }
}

fn headers(answer: &Answer) -> Value {
    answer
        .headers
        .iter()
        .filter(|(name, _)| *name == "location")
        .map(|(_, value)| ("Location".to_owned(), json!(value)))
        .collect::<Map<_, _>>()
        .into()
}
