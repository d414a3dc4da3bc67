//! Watches how far the long allowances are used up: each step up or down the ladder is logged and alerted. What a
//! step asks for is done where the work is: the pacer holds lanes back, and streams look less often.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::alert::{Alert, Event, Subject};
use tidegate_core::pace::{Lane, Level};
use tidegate_gateway::{Clock, Gateway};

use crate::alerts::Alerts;
use crate::host::Reached;

const EVERY_MS: u64 = 1_000;

/// A level's stable name.
pub fn name(level: Level) -> &'static str {
    match level {
        Level::Plenty => "plenty",
        Level::Notify => "notify",
        Level::Stretch => "stretch",
        Level::Critical => "critical",
    }
}

/// The worst of an endpoint's pools.
pub fn of(gateway: &Gateway) -> Level {
    let pools = gateway.pools().into_iter();
    pools.map(|pool| pool.level).max().unwrap_or_default()
}

/// Levels as they were told last, by account and pool.
#[derive(Debug, Default)]
pub struct Levels(BTreeMap<(String, String), Level>);

impl Levels {
    /// Looks once, and tells what has changed.
    pub fn look(&mut self, gateways: &BTreeMap<Arc<str>, Reached>, alerts: &Alerts) {
        let mut seen = BTreeMap::new();
        for reached in gateways.values() {
            let account = reached.gateway.account().name();
            for pool in reached.gateway.pools() {
                // Several credentials may have one each; the worst counts.
                let known = seen.entry((account.to_owned(), pool.pool.to_string()));
                let level = known.or_insert(pool.level);
                *level = pool.level.max(*level);
            }
        }
        for ((account, pool), level) in &seen {
            let before = self.0.get(&(account.clone(), pool.clone()));
            // At the first look what an earlier host has told may be over.
            if Some(level) == before {
                continue;
            }
            let subject = Subject::pool(account, pool);
            if level.asks().notify {
                let message = told(account, pool, *level);
                let alert = Alert::new(Event::AllowanceLevel, subject, name(*level), message);
                alerts.raise(alert);
            } else {
                alerts.clear(Event::AllowanceLevel, &subject);
            }
        }
        self.0 = seen;
    }
}

fn told(account: &str, pool: &str, level: Level) -> String {
    let asks = level.asks();
    let held = match asks.lowest {
        Lane::Backfill => "nothing is held back yet",
        Lane::Normal => "backfill waits, and changes are looked for less often",
        Lane::Critical => "only what is critical goes, and changes are looked for rarely",
    };
    format!("allowance {pool} of {account} runs out: {held}")
}

/// Runs until it is dropped.
pub async fn watch(gateways: &BTreeMap<Arc<str>, Reached>, clock: &dyn Clock, alerts: &Alerts) {
    let mut levels = Levels::default();
    loop {
        levels.look(gateways, alerts);
        clock.sleep_until(clock.now().mono_ms + EVERY_MS).await;
    }
}
