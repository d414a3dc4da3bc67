//! What people hold, at the gateways: a call that is under way when somebody pauses its endpoint sends nothing more,
//! and what has gathered does not leave at once afterwards.

use std::collections::BTreeMap;

use tidegate_core::hold::{Holds, Scope};

use super::{Assembly, Endpoint};

/// Holds and lets go what differs between two moments.
pub(super) fn turn(assembly: &Assembly, before: &Holds, after: &Holds) {
    for endpoint in assembly.endpoints.values() {
        let held = |holds: &Holds| holds.over_endpoint(endpoint.place()).is_some();
        match (held(before), held(after)) {
            (false, true) => endpoint.gateway.pause(),
            (true, false) => endpoint.gateway.resume(),
            _ => {}
        }
    }
    let (before, after) = (pools(assembly, before), pools(assembly, after));
    for ((_, pool), endpoint) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        change(pool, endpoint.gateway.account().pause_pool(pool));
    }
    for ((_, pool), endpoint) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        change(pool, endpoint.gateway.account().resume_pool(pool));
    }
}

/// An account and its pool.
type Key<'a> = (&'a str, &'a str);

/// The pools that are held, each once, with an endpoint of those that the config still has.
fn pools<'a>(assembly: &'a Assembly, holds: &'a Holds) -> BTreeMap<Key<'a>, &'a Endpoint> {
    let held = holds.iter().filter_map(|(scope, _)| match scope {
        Scope::Pool { endpoint, pool } => {
            let endpoint = assembly.endpoints.get(endpoint.as_str())?;
            Some(((endpoint.place().account, pool.as_str()), &**endpoint))
        }
        _ => None,
    });
    held.collect()
}

/// A pool that the plugin does not have any more needs no holding.
fn change<E: std::fmt::Display>(pool: &str, changed: Result<(), E>) {
    if let Err(error) = changed {
        tracing::warn!(pool, "can't be held: {error}");
    }
}
