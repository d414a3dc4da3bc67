//! Endpoints and credentials that fail: the gateway leaves them alone for seconds at a time and tries them again. People are told once
//! when that begins, and once when it has been over for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::alert::{Alert, Event, Subject};
use tidegate_core::pace::{Lane, Reason};
use tidegate_gateway::{AccountFigures, Clock, Readiness};

use crate::alerts::Alerts;
use crate::host::Reached;

const EVERY_MS: u64 = 250;
/// Between two tries an endpoint looks well; so long without a failure is believed.
const WELL_MS: u64 = 60_000;

/// When each endpoint was seen failing last.
#[derive(Debug, Default)]
pub struct Ailing(BTreeMap<Arc<str>, u64>);

impl Ailing {
    /// Looks once, and tells what has changed.
    pub fn look(&mut self, gateways: &BTreeMap<Arc<str>, Reached>, now_ms: u64, alerts: &Alerts) {
        for (name, reached) in gateways {
            let readiness = reached.gateway.readiness(Lane::Critical, 1);
            let failing = matches!(
                readiness,
                Readiness::At {
                    reason: Reason::Failing { .. },
                    ..
                }
            );
            // What an earlier host has told is over when it has been well for as long.
            self.0.entry(name.clone()).or_insert(now_ms);
            self.note(name, failing, now_ms, alerts);
            let credentials = reached.gateway.accounts();
            // What is wrong with an only one shows in the syncs.
            for credential in credentials.iter().filter(|_| credentials.len() > 1) {
                revoked(name, credential, alerts);
            }
        }
    }

    /// Takes in one endpoint's state at a moment.
    pub fn note(&mut self, endpoint: &Arc<str>, failing: bool, now_ms: u64, alerts: &Alerts) {
        let subject = Subject::endpoint(endpoint);
        if failing {
            self.0.insert(endpoint.clone(), now_ms);
            let message = format!(
                "endpoint {endpoint} fails again and again; it is left alone for a while and tried by itself"
            );
            let alert = Alert::new(Event::BreakerOpen, subject, "endpoint-failing", message);
            alerts.raise(alert);
        } else if let Some(last_ms) = self.0.get(endpoint)
            && now_ms.saturating_sub(*last_ms) >= WELL_MS
        {
            alerts.clear(Event::BreakerOpen, &subject);
        }
    }
}

/// One of several credentials, of which the others do its work meanwhile.
fn revoked(endpoint: &str, credential: &AccountFigures, alerts: &Alerts) {
    let name = &credential.name;
    let subject = Subject {
        account: Some(name.to_string()),
        ..Subject::endpoint(endpoint)
    };
    let Some(code) = &credential.revoked else {
        alerts.clear(Event::CredentialRevoked, &subject);
        return;
    };
    let message = format!(
        "endpoint {endpoint} refuses its credentials called {name}, and goes on with the others; renew them, then `tidegate resume endpoint {endpoint}`"
    );
    let alert = Alert::new(Event::CredentialRevoked, subject, code, message);
    alerts.raise(alert);
}

/// Runs until it is dropped.
pub async fn watch(gateways: &BTreeMap<Arc<str>, Reached>, clock: &dyn Clock, alerts: &Alerts) {
    let mut ailing = Ailing::default();
    loop {
        ailing.look(gateways, clock.now().mono_ms, alerts);
        clock.sleep_until(clock.now().mono_ms + EVERY_MS).await;
    }
}
