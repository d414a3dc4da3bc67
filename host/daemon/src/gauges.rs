//! Has allowances read from the vendors where no answer has told of them for a while, as when a sync has nothing to do
//! and other applications have.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use tidegate_core::hold::Scope;
use tidegate_gateway::Clock;

use crate::host::Reached;
use crate::status::StatusSource;

const EVERY_MS: u64 = 5_000;

/// Runs until it is dropped. An endpoint that somebody holds is not called.
pub async fn watch(
    gateways: &BTreeMap<Arc<str>, Reached>,
    source: &dyn StatusSource,
    clock: &dyn Clock,
) {
    loop {
        clock.sleep_until(clock.now().mono_ms + EVERY_MS).await;
        let held = source.holds();
        let silent = |name: &str| {
            let scopes =
                [Scope::All, Scope::Endpoint(name.to_owned())].map(|scope| scope.to_string());
            held.iter().any(|hold| scopes.contains(&hold.what))
        };
        let open = gateways.iter().filter(|(name, _)| !silent(name));
        join_all(open.map(|(_, reached)| reached.gateway.read_gauges())).await;
    }
}
