//! What several streams will ask first, asked in one request.
//!
//! A stream's first requests follow from its cursor, so they are known before any of them is made. They go
//! together as the parts of a composite, which counts as one call, and each stream then finds its answers here. What
//! was foreseen wrongly, or refused as a part, a stream asks for itself: then it costs a call, and nothing else.

use std::cell::RefCell;
use std::collections::HashMap;

use tidegate_sdk::bindings::connector::tidegate::plugin::gateway::{HttpMethod, Operation};
use tidegate_sdk::{Fault, HttpResponse, Request};

use crate::org::Org;
use crate::part::{self, Answers, HEAVY_PARTS_MAX, PARTS_MAX, Part};

/// Answers that nobody has used yet, by path and query.
#[derive(Default)]
pub(crate) struct Ahead(RefCell<HashMap<String, Result<HttpResponse, Fault>>>);

/// What one stream will ask: at most one query, and lighter things.
pub(crate) type First = Vec<Part>;

impl Ahead {
    /// The answer to this request, once.
    pub(crate) fn take(&self, request: &Request) -> Option<Result<HttpResponse, Fault>> {
        let Operation::Http(http) = &request.operation else {
            return None;
        };
        if http.method != HttpMethod::Get || self.0.borrow().is_empty() {
            return None;
        }
        let address = part::address(&http.path, &http.query);
        self.0.borrow_mut().remove(&address)
    }

    /// Asks for what the streams will ask first. One part alone is left to its stream.
    pub(crate) fn ask(&self, org: &Org<'_>, firsts: Vec<First>) -> Result<(), Fault> {
        for parts in composites(firsts) {
            if parts.len() > 1 {
                self.ask_together(org, &parts)?;
            }
        }
        Ok(())
    }

    fn ask_together(&self, org: &Org<'_>, parts: &[Part]) -> Result<(), Fault> {
        let what = "the reading of several streams";
        let names: Vec<String> = (0..parts.len())
            .map(|index| format!("read{index}"))
            .collect();
        let named = parts.iter().zip(&names);
        let request = part::composite(
            org,
            named.map(|(part, name)| part.named(name, &[])).collect(),
        )?;
        let answer = tidegate_sdk::fetch(org.gateway, request)
            .and_then(tidegate_sdk::Response::into_http)
            .and_then(|response| Answers::read(&response, what));
        let mut known = self.0.borrow_mut();
        match answer {
            Ok(mut answers) => {
                for (part, name) in parts.iter().zip(&names) {
                    let answer = answers.take(name, what);
                    // A resource that only refuses to be a part of something is asked by itself.
                    if let Some(response) = answer.ok().filter(HttpResponse::is_success) {
                        known.insert(part.address(), Ok(response));
                    }
                }
            }
            Err(fault) => {
                let all = parts
                    .iter()
                    .map(|part| (part.address(), Err(fault.clone())));
                known.extend(all);
            }
        }
        Ok(())
    }
}

/// Spread over as few composites as take them; what a stream asks stays together.
fn composites(firsts: Vec<First>) -> Vec<Vec<Part>> {
    let mut composites: Vec<(usize, Vec<Part>)> = Vec::new();
    for first in firsts {
        match composites.last_mut() {
            Some((streams, parts))
                if *streams < HEAVY_PARTS_MAX && parts.len() + first.len() <= PARTS_MAX =>
            {
                *streams += 1;
                parts.extend(first);
            }
            _ => composites.push((1, first)),
        }
    }
    composites.into_iter().map(|(_, parts)| parts).collect()
}
