//! Keeps the syncs in step: performs what `tidegate_core` decides.
//!
//! A change enters through a stream, waits in the store, is worked on by a round, and is settled by the
//! engine. Decides nothing about records itself, and speaks to the outside only through plugins.
//!
//! In reading order:
//! - [`start`]: what must be known and prepared before anything moves
//! - [`streams`]: read the sources
//! - [`engine`]: owns queues and records; the one place that commits
//! - [`round`]: maps, decides, pushes, reads
//! - [`intents`]: writes under way, on disk before they leave
//! - [`marks`]: which came first, a source's answer or our write
//! - [`failure`]: what a failed plugin call means
//! - [`records`]: where things stand in the store
//! - [`tally`]: what has been done, and how long changes took
//! - [`people`]: what people see and ask

mod engine;
mod failure;
mod intents;
mod marks;
mod people;
mod records;
mod round;
mod start;
mod streams;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::plugin::FieldType;
use tidegate_core::sync::SyncSpec;
use tidegate_gateway::{Clock, Gateway};
use tidegate_sandbox::Plugin;
use tidegate_store::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use engine::EngineError;
pub use intents::{IntentError, Intents};
pub use start::StartError;

use engine::{Engine, Event, Host};

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
    /// For jitter; the same seed gives the same waiting times.
    pub seed: u64,
}

/// Where the syncs are in their life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not running yet, and what it waits for.
    Starting(String),
    Running,
}

/// Reaches a running set of syncs.
#[derive(Clone)]
pub struct Handle {
    host: Host,
    names: Vec<Arc<str>>,
    stage: watch::Receiver<Stage>,
}

impl Handle {
    pub fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }
}

/// The syncs, ready to run.
pub struct Syncs {
    assembly: Assembly,
    host: Host,
    events: mpsc::Receiver<Event>,
    stage: watch::Sender<Stage>,
}

impl Syncs {
    pub fn new(assembly: Assembly) -> (Self, Handle) {
        let (host, events) = Host::new(
            assembly.store.clone(),
            assembly.clock.clone(),
            assembly.intents.clone(),
            assembly.seed,
        );
        let (stage, stages) = watch::channel(Stage::Starting("nothing yet".into()));
        let names = assembly
            .syncs
            .iter()
            .map(|parts| parts.spec.name.clone())
            .collect();
        let handle = Handle {
            host: host.clone(),
            names,
            stage: stages,
        };
        (
            Self {
                assembly,
                host,
                events,
                stage,
            },
            handle,
        )
    }

    /// Runs until `cancel`, then finishes the calls in flight and settles them.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), StartError> {
        let started = tokio::select! {
            started = start::start(&self.assembly, &self.host, &self.stage, &cancel) => started?,
            () = cancel.cancelled() => return Ok(()),
        };
        self.stage.send_replace(Stage::Running);
        let streams = tokio_util::task::TaskTracker::new();
        for stream in started.streams {
            streams.spawn(stream.run());
        }
        streams.close();
        let engine = Engine::new(self.host, started.syncs, started.sources);
        let ended = engine.run(self.events, cancel.clone()).await;
        cancel.cancel();
        streams.wait().await;
        Ok(ended?)
    }
}

/// The fields of one side as the mapping is told of them.
pub(crate) fn field_types(fields: &[tidegate_core::plugin::Field]) -> Vec<FieldType> {
    fields
        .iter()
        .map(tidegate_core::model::field_type)
        .collect()
}
