//! The way out of the sandbox, as a trait, so that a connector's logic can be tested without a host.

use crate::fault::Fault;
use crate::log::{self, Level};
use crate::request::Request;
use crate::response::Response;

/// What a connector can reach. On wasm it is [`Host`]; in a connector's own tests a fake that answers
/// as the vendor would.
pub trait Gateway {
    /// Reads. One result per request, in order; they may run at once, so none may depend on another.
    fn fetch_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>>;

    /// Writes, one after the other. Stops at the first whose fate is unknown.
    fn write_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>>;

    /// Adds a line to the operator's log.
    fn log(&self, level: Level, message: &str) {
        log::write(level, message);
    }
}

/// One read.
pub fn fetch(gateway: &dyn Gateway, request: impl Into<Request>) -> Result<Response, Fault> {
    only(gateway.fetch_batch(&[request.into()]))
}

/// One write.
pub fn write(gateway: &dyn Gateway, request: impl Into<Request>) -> Result<Response, Fault> {
    only(gateway.write_batch(&[request.into()]))
}

fn only(mut results: Vec<Result<Response, Fault>>) -> Result<Response, Fault> {
    match (results.pop(), results.is_empty()) {
        (Some(result), true) => result,
        _ => Err(Fault::broken(
            "wrong-answer",
            "the host must answer one request with one result; report this to its makers",
        )
        .with_unknown_fate()),
    }
}

/// The host that runs this component.
#[cfg(target_arch = "wasm32")]
#[derive(Clone, Copy, Debug)]
pub struct Host;

#[cfg(target_arch = "wasm32")]
impl Gateway for Host {
    fn fetch_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        crate::bindings::connector::tidegate::plugin::gateway::fetch_batch(requests)
    }

    fn write_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        crate::bindings::connector::tidegate::plugin::gateway::write_batch(requests)
    }
}
