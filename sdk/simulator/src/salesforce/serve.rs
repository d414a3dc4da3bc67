//! HTTP on loopback: requests in, answers out, cut short where a fault says so.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::admin;
use super::answer::{Answer, ApiError};
use super::call::Call;
use super::gate::{self, Fate, Shared};
use super::login::{self, Asking};
use super::route;
use super::soap::{self, Envelope};
use crate::wire::Scissors;

const BODY_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Enough to tell an upload that is too large for a job from one that is not a job's at all.
const UPLOAD_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;
/// The request line and the headers together.
const HEAD_BYTES_MAX: usize = 16_384;

pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let upload = head.uri.path().contains("/jobs/ingest/");
    let most = if upload {
        UPLOAD_BYTES_MAX
    } else {
        BODY_BYTES_MAX
    };
    let (answer, fate) = match to_bytes(body, most).await {
        Ok(body) => answer(&shared, &head, body).await,
        Err(_) => {
            let message = "The request exceeds 50 MB";
            let error = ApiError::new(413, "EXCEEDED_MAX_SIZE_REQUEST", message);
            (Answer::from(error), Fate::Delivered)
        }
    };
    match fate {
        Fate::Closed => scissors.close(),
        Fate::Reset => scissors.reset(),
        Fate::Delivered | Fate::Truncated => {}
    }
    answer.response(fate == Fate::Truncated)
}

async fn answer(shared: &Arc<Shared>, head: &Parts, body: Bytes) -> (Answer, Fate) {
    let path = head.uri.path();
    if path.trim_end_matches('/') == "/services/data" {
        return (route::versions(), Fate::Delivered);
    }
    if path.starts_with("/services/data/") {
        return data(shared, head, body).await;
    }
    if path.starts_with("/services/Soap/") && head.method == "POST" {
        return soap_call(shared, head, &body).await;
    }
    (besides(shared, head, &body), Fate::Delivered)
}

/// A login needs no session and counts as no call; everything else does.
async fn soap_call(shared: &Arc<Shared>, head: &Parts, body: &[u8]) -> (Answer, Fate) {
    let path = head.uri.path();
    let mut steps = path.trim_start_matches("/services/Soap/").split('/');
    let (wsdl, version) = (
        steps.next().unwrap_or_default(),
        steps.next().unwrap_or_default(),
    );
    let Some(envelope) = Envelope::read(&String::from_utf8_lossy(body)) else {
        let message = "The request is no SOAP envelope with an operation in its body";
        return (soap::fault(500, "soapenv:Client", message), Fate::Delivered);
    };
    if envelope.operation.name == "login" {
        let now_ms = shared.clock.now_ms();
        let asked = &envelope.operation;
        let answer = login::soap(&mut shared.org(), path, asked, &shared.base_url, now_ms);
        return (answer.dated(now_ms), Fate::Delivered);
    }
    if wsdl != "u" || !route::serves(version) {
        let message = "UNSUPPORTED_API_VERSION: Invalid Api version specified on URL";
        let fault = soap::fault(500, "sf:UNSUPPORTED_API_VERSION", message);
        return (fault, Fate::Delivered);
    }
    let call = Call::soap(version, headers(head), envelope);
    gate::answer(Arc::clone(shared), call).await
}

fn headers(head: &Parts) -> Vec<(String, String)> {
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    headers.collect()
}

async fn data(shared: &Arc<Shared>, head: &Parts, body: Bytes) -> (Answer, Fate) {
    if let Err(error) = check_size(head) {
        return (error.into(), Fate::Delivered);
    }
    let target = head
        .uri
        .path_and_query()
        .map_or_else(|| head.uri.path(), |target| target.as_str());
    match Call::new(head.method.as_str(), target, headers(head), body) {
        Ok(call) => gate::answer(Arc::clone(shared), call).await,
        Err(error) => (error.into(), Fate::Delivered),
    }
}

/// Everything that is not a data call: no session needed, nothing counted, no faults.
fn besides(shared: &Shared, head: &Parts, body: &[u8]) -> Answer {
    let path = head.uri.path();
    let now_ms = shared.clock.now_ms();
    let mut org = shared.org();
    if let Some(path) = path.strip_prefix("/_sim/") {
        let query: Vec<(String, String)> =
            url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let method = head.method.as_str();
        return admin::answer(&mut org, &shared.clock, method, path, &query, body);
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let form =
        || -> HashMap<String, String> { url::form_urlencoded::parse(body).into_owned().collect() };
    let answer = match (head.method.as_str(), path) {
        ("POST", "/services/oauth2/token") => {
            let asking = Asking {
                host: header("host").unwrap_or_default(),
                authorization: header("authorization"),
                form: form(),
                base_url: &shared.base_url,
            };
            login::token(&mut org, &asking, now_ms)
        }
        ("POST", "/services/oauth2/revoke") => login::revoke(&mut org, &form()),
        _ => Answer::text(
            404,
            "text/html; charset=UTF-8",
            "<html><body>URL No Longer Exists</body></html>",
        ),
    };
    answer.dated(now_ms)
}

fn check_size(head: &Parts) -> Result<(), ApiError> {
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let headers: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if target > HEAD_BYTES_MAX {
        return Err(ApiError::new(414, "URI_TOO_LONG", "URI Too Long"));
    }
    if target + headers > HEAD_BYTES_MAX {
        let message = "Request Header Fields Too Large";
        return Err(ApiError::new(
            431,
            "REQUEST_HEADER_FIELDS_TOO_LARGE",
            message,
        ));
    }
    Ok(())
}
