//! `/_sim/…`: looking behind the vendor's face, and moving things there. Never metered, never faulted.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::options::{Failing, Failure, Neighbour, OptionsError};
use super::serve::Shared;
use crate::answer::Answer;

/// Why an administrator's request was not done.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    #[error("the request is not understood")]
    Request(#[from] serde_json::Error),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("a limit is a whole number of units")]
    Limit,
    #[error("answers fail as {}", Failure::ALL.map(Failure::name).join(", "))]
    Failure,
    #[error("the simulator has no such administration path")]
    Path,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailingRequest {
    permille: u64,
    for_ms: u64,
    #[serde(default = "error")]
    how: String,
}

fn error() -> String {
    Failure::Error.name().to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NeighbourRequest {
    permille: (u64, u64),
    stretch_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialRequest {
    credential: String,
}

pub(crate) fn answer(shared: &Shared, method: &str, path: &str, body: &[u8]) -> Answer {
    match done(shared, method, path, body) {
        Ok(body) => Answer::json(200, body),
        Err(error) => {
            let status = if matches!(error, AdminError::Path) {
                404
            } else {
                400
            };
            let cause = std::error::Error::source(&error);
            let message =
                cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
            Answer::json(status, json!({"error": message}))
        }
    }
}

fn done(shared: &Shared, method: &str, path: &str, body: &[u8]) -> Result<Value, AdminError> {
    let now_ms = shared.clock.now_ms();
    match (method, path) {
        ("GET", "stats") => Ok(serde_json::to_value(shared.desk().stats(now_ms))?),
        ("GET", "refusals") => Ok(serde_json::to_value(shared.desk().refusals())?),
        ("GET", "clock") => Ok(json!({"now_ms": now_ms})),
        ("POST", "clock") => {
            let advance: Advance = serde_json::from_slice(body)?;
            shared.clock.advance_ms(advance.advance_ms);
            Ok(json!({"now_ms": shared.clock.now_ms()}))
        }
        ("PUT", "limit") => {
            let limits: Map<String, Value> = serde_json::from_slice(body)?;
            for (name, units) in &limits {
                let units = units.as_u64().ok_or(AdminError::Limit)?;
                shared.desk().set_limit(name, units)?;
            }
            Ok(Value::Object(limits))
        }
        ("PUT", "failing") => {
            let asked: FailingRequest = serde_json::from_slice(body)?;
            share(asked.permille)?;
            let mut ways = Failure::ALL.into_iter();
            let how = ways.find(|how| how.name() == asked.how);
            let failing = Failing {
                permille: asked.permille,
                for_ms: asked.for_ms,
                how: how.ok_or(AdminError::Failure)?,
            };
            shared.desk().fail(now_ms, failing);
            Ok(json!({}))
        }
        ("PUT", "neighbour") => {
            let asked: Option<NeighbourRequest> = serde_json::from_slice(body)?;
            let set = asked.map(|asked| Neighbour {
                permille: asked.permille.0..=asked.permille.1,
                stretch_ms: asked.stretch_ms,
            });
            if let Some(set) = &set {
                share(*set.permille.end())?;
                share(*set.permille.start())?;
            }
            let set = set.filter(|set| !set.permille.is_empty());
            shared.desk().neighbour(now_ms, set.as_ref());
            Ok(json!({}))
        }
        ("POST", "credentials/revoke" | "credentials/restore") => {
            let asked: CredentialRequest = serde_json::from_slice(body)?;
            let revoked = path.ends_with("revoke");
            shared.desk().set_revoked(&asked.credential, revoked);
            Ok(json!({"revoked": revoked}))
        }
        _ => Err(AdminError::Path),
    }
}

fn share(permille: u64) -> Result<(), OptionsError> {
    if permille > 1_000 {
        return Err(OptionsError::Share(permille));
    }
    Ok(())
}
