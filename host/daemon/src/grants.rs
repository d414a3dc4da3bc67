//! Credentials that an operator has renewed while the host runs: they are read again when somebody lets an endpoint
//! go on, so that a dead grant needs no restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::hold::{Place, Scope};

use crate::assembly::auth_spec;
use crate::config::meant::Config;
use crate::config::{self};
use crate::host::Reached;

/// Reads the secrets of the endpoints that a scope takes in, and hands them to their gateways. One that can't be
/// read any more leaves its endpoint with what it had.
pub async fn renew(config: &Config, gateways: &BTreeMap<Arc<str>, Reached>, what: &Scope) {
    let (mut credentials, problems) = config::credentials_anew(config);
    for problem in problems {
        tracing::warn!(key = problem.place.key, "{}", problem.message);
    }
    for (name, reached) in gateways {
        let account = reached.gateway.account().name();
        if concerns(config, what, name, account)
            && let Some(granted) = credentials.remove(name)
        {
            let gateway = &reached.gateway;
            gateway.reload_credentials(auth_spec(granted.own)).await;
            for (account, credentials) in granted.accounts {
                gateway
                    .reload_account(&account, auth_spec(credentials))
                    .await;
            }
        }
    }
}

fn concerns(config: &Config, what: &Scope, endpoint: &str, account: &str) -> bool {
    match what {
        Scope::Pool { endpoint: name, .. } => *name == *endpoint,
        Scope::All | Scope::Endpoint(_) | Scope::Account(_) => {
            what.silences(Place { endpoint, account })
        }
        Scope::Sync(name) => config.syncs.get(name.as_str()).is_some_and(|sync| {
            let spec = &sync.spec;
            [&spec.left, &spec.right]
                .map(|side| &*side.endpoint)
                .contains(&endpoint)
        }),
    }
}
