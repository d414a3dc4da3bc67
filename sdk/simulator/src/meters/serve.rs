//! HTTP on loopback: a call takes its way, arrives at the desk, is at work, and its answer takes its way back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::admin;
use super::desk::{Desk, Fate};
use super::options::Failure;
use super::profile::{Call, Profile};
use crate::answer::Answer;
use crate::clock::Clock;
use crate::wire::Scissors;

const BODY_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Longer than any client waits.
const SILENCE_MS: u64 = 3_600_000;

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) desk: Mutex<Desk>,
    pub(crate) profile: &'static dyn Profile,
    pub(crate) base_url: String,
}

impl Shared {
    /// A panic elsewhere fails its own test; the desk is still the best there is.
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of the connection.
enum Ending {
    Answered(Answer),
    Reset,
    Closed,
}

pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return Answer::text(413, "text/plain", "Content Too Large").response(false);
    };
    if let Some(path) = head.uri.path().strip_prefix("/_sim/") {
        return admin::answer(&shared, head.method.as_str(), path, &body).response(false);
    }
    let call = call(shared.profile, &head, &body);
    // Carried to its end even if the client hangs up meanwhile: the vendor has counted it.
    let carried = tokio::spawn(carry(Arc::clone(&shared), call)).await;
    match carried {
        Ok(Ending::Answered(answer)) => answer.response(false),
        Ok(Ending::Reset) => {
            scissors.reset();
            Answer::empty(200).response(false)
        }
        Ok(Ending::Closed) => {
            scissors.close();
            Answer::empty(200).response(false)
        }
        Err(error) => {
            let message = format!("the simulator failed: {error}");
            Answer::text(500, "text/plain", message).response(false)
        }
    }
}

async fn carry(shared: Arc<Shared>, call: Call) -> Ending {
    let way_ms = shared.desk().way_ms();
    shared.clock.sleep_ms(way_ms).await;
    let arrived_ms = shared.clock.now_ms();
    let fate = shared.desk().arrive(arrived_ms, &call);
    let ending = match fate {
        Fate::Refused { answer } => Ending::Answered(answer),
        Fate::Works {
            number,
            takes_ms,
            answer,
        } => {
            work(&shared, &call, number, (arrived_ms, takes_ms)).await;
            Ending::Answered(answer)
        }
        Fate::Fails {
            number,
            takes_ms,
            how,
        } => {
            work(&shared, &call, number, (arrived_ms, takes_ms)).await;
            if how == Failure::Silence {
                shared.clock.sleep_ms(SILENCE_MS).await;
                return Ending::Closed;
            }
            Ending::Reset
        }
    };
    let way_ms = shared.desk().way_ms();
    shared.clock.sleep_ms(way_ms).await;
    ending
}

async fn work(shared: &Shared, call: &Call, number: u64, (from_ms, takes_ms): (u64, u64)) {
    shared.clock.sleep_until_ms(from_ms + takes_ms).await;
    let now_ms = shared.clock.now_ms();
    shared.desk().end(now_ms, call, number, takes_ms);
}

fn call(profile: &dyn Profile, head: &Parts, body: &Bytes) -> Call {
    let credential = head.headers.get(profile.credential_header());
    // Pipedrive takes OAuth's header as well as its own.
    let credential = credential.or_else(|| head.headers.get("authorization"));
    let credential = credential.and_then(|value| value.to_str().ok());
    let (rows, ids) = rows(body);
    Call {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        rows,
        ids,
        credential: credential.unwrap_or_default().to_owned(),
    }
}

/// Records in a body, under the names that the vendors have for them.
#[derive(Deserialize)]
struct Rows {
    #[serde(
        alias = "inputs",
        alias = "records",
        alias = "Targets",
        alias = "batchRequests"
    )]
    data: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Numbered { id: u64 },
    Other(#[allow(dead_code, reason = "only that it is there counts")] IgnoredAny),
}

/// How many records a body carries, one where it is no list, and the ids that are numbers.
fn rows(body: &[u8]) -> (u64, Vec<u64>) {
    let Ok(rows) = serde_json::from_slice::<Rows>(body) else {
        return (u64::from(!body.is_empty()), Vec::new());
    };
    let ids = rows.data.iter().filter_map(|row| match row {
        Row::Numbered { id } => Some(*id),
        Row::Other(_) => None,
    });
    (rows.data.len() as u64, ids.collect())
}
