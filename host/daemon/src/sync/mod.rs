//! Keeps the syncs in step: performs what `tidegate_core` decides.
//!
//! A change enters through a stream, waits in the store, is worked on by a round, and is settled by the
//! engine. Decides nothing about records itself, and speaks to the outside only through plugins.
//!
//! In reading order:
//! - [`start`]: what must be known and prepared before a sync moves
//! - [`opening`]: what the syncs of one endpoint share of that
//! - [`streams`]: read the sources
//! - [`polls`]: how often they look
//! - [`pulls`]: those that are due together, in one call
//! - [`engine`]: owns queues and records; the one place that commits
//!   - [`events`]: what it is told, and what it shares
//!   - [`running`]: one sync there
//!   - [`joining`]: how it comes in
//!   - [`aside`]: what waits in the store beside its queue
//!   - [`contact`]: which records of two filled systems are one
//!   - [`pages`]: what streams bring
//!   - [`dispatch`]: which rounds start
//!   - [`settling`]: what rounds have learnt
//!   - [`families`]: who waits for whom
//! - [`round`]: what becomes of the records that were given to it
//!   - [`mapped`]: their fields as the other side has them
//!   - [`reading`]: what must be seen first
//!   - [`writing`]: pushes, and what became of them
//!   - [`sendings`]: how many rows that were, and whether all came back
//! - [`jobs`]: pushes that the vendor works on for a while
//!   - [`following`]: one that is asked after
//! - [`intents`]: writes under way, on disk before they leave
//! - [`marks`]: which came first, a source's answer or our write
//! - [`failure`]: what a failed plugin call means
//! - [`records`]: where things stand in the store
//! - [`remains`]: what is left to do there, for a host that is not running
//! - [`alarms`]: what is wrong with them, for alerts
//! - [`tally`]: what has been done, and how long changes took
//! - [`gates`]: what people hold back, for the tasks beside the engine
//! - [`doors`]: the same at the gateways
//! - [`people`]: what people see and ask
//! - [`pausing`]: how they hold syncs, and let them go on
//! - [`uniting`]: what they say of records that can't be told apart

mod alarms;
mod aside;
mod contact;
mod dispatch;
mod doors;
mod engine;
mod events;
mod failure;
mod families;
mod following;
mod gates;
mod intents;
mod jobs;
mod joining;
mod mapped;
mod marks;
mod opening;
mod pages;
mod pausing;
mod people;
mod polls;
mod pulls;
mod reading;
mod records;
pub(crate) mod remains;
mod round;
mod running;
mod sendings;
mod settling;
mod start;
mod streams;
mod tally;
mod uniting;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::hold::{Holds, Place};
use tidegate_core::plugin::FieldType;
use tidegate_core::sync::SyncSpec;
use tidegate_gateway::{Clock, Gateway};
use tidegate_sandbox::Plugin;
use tidegate_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use engine::EngineError;
pub use intents::{IntentError, Intents};

use crate::alerts::Alerts;
use engine::Engine;
use events::{Event, Host};

/// A system that is kept in step with another, and the plugin that speaks its language.
pub struct Endpoint {
    pub name: Arc<str>,
    pub plugin: Arc<Plugin>,
    pub gateway: Arc<Gateway>,
    /// The endpoint's `config` table as JSON.
    pub config: String,
    /// Pause between looks for changes, where the operator chose one.
    pub interval_ms: Option<u64>,
}

impl Endpoint {
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            endpoint: &self.name,
            account: self.gateway.account().name(),
        }
    }
}

/// A sync as configured, with its mapping.
pub struct SyncParts {
    pub spec: SyncSpec,
    pub mapping: Arc<Plugin>,
    /// The `mapping.config` table as JSON.
    pub mapping_config: String,
}

/// All that the syncs run on.
pub struct Assembly {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub intents: Arc<Intents>,
    pub endpoints: BTreeMap<Arc<str>, Arc<Endpoint>>,
    pub syncs: Vec<SyncParts>,
    /// Told of what is wrong.
    pub alerts: Alerts,
    /// For jitter; the same seed gives the same waiting times.
    pub seed: u64,
}

/// Reaches a running set of syncs.
#[derive(Clone)]
pub struct Handle {
    host: Host,
}

/// The syncs, ready to run.
pub struct Syncs {
    assembly: Assembly,
    host: Host,
    events: mpsc::Receiver<Event>,
}

impl Syncs {
    pub fn new(assembly: Assembly) -> (Self, Handle) {
        let (host, events) = Host::new(
            assembly.store.clone(),
            assembly.clock.clone(),
            assembly.intents.clone(),
            assembly.alerts.clone(),
            assembly.seed,
        );
        let handle = Handle { host: host.clone() };
        let syncs = Self {
            assembly,
            host,
            events,
        };
        (syncs, handle)
    }

    /// Runs until `cancel`, then finishes the calls in flight and settles them. Each sync begins when it
    /// can; none waits for another.
    ///
    /// # Errors
    ///
    /// When the store fails. A sync or an endpoint that fails is told in the status.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), EngineError> {
        let assembly = Arc::new(self.assembly);
        let holds = records::load_holds(&assembly.store).map_err(EngineError::Ledger)?;
        doors::turn(&assembly, &Holds::default(), &holds);
        self.host.gates.hold(holds);
        let pending = start::enrol(&assembly, &self.host).await?;
        let tasks = TaskTracker::new();
        for starter in start::starters(&assembly, &self.host)? {
            let cancel = cancel.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = starter.run() => {}
                    () = cancel.cancelled() => {}
                }
            });
        }
        let engine = Engine::new(assembly, self.host, pending, tasks.clone(), cancel.clone());
        let ended = engine.run(self.events).await;
        cancel.cancel();
        tasks.close();
        tasks.wait().await;
        ended
    }
}

/// The fields of one side as the mapping is told of them.
pub(crate) fn field_types(fields: &[tidegate_core::plugin::Field]) -> Vec<FieldType> {
    fields
        .iter()
        .map(tidegate_core::model::field_type)
        .collect()
}
