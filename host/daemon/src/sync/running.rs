//! A sync that has started: its queue, its brake, and what holds it back.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::brake::Brake;
use tidegate_core::job::JobId;
use tidegate_core::ledger::{Ledger, Room, SyncId};
use tidegate_core::manifest::Method;
use tidegate_core::model::Model;
use tidegate_core::pace::Lane;
use tidegate_core::plan;
use tidegate_core::plugin::{MappingContext, Selection};
use tidegate_core::progress::{FirstRead, Rate};
use tidegate_core::queue::Queue;
use tidegate_core::record::{LinkId, Reason, Sides};
use tidegate_core::reference::Parent;
use tidegate_core::settle;
use tidegate_core::sync::Side;
use tidegate_sandbox::Plugin;

use super::Endpoint;
use super::aside::Aside;
use super::contact::FirstContact;
use super::engine::{EngineError, scan};
use super::events::Host;
use super::jobs::{Jobs, Underway};
use super::marks::Touched;
use super::records::{self, Committed, Counts, SyncRecord};
use super::sendings::Sendings;
use super::streams::{Flow, Source};
use super::tally::Tally;
use crate::levels;

/// A sync that has started: what its rounds need.
pub(super) struct Running {
    /// Its place in the engine.
    pub index: usize,
    pub id: SyncId,
    pub model: Arc<Model>,
    pub mapping: Arc<Plugin>,
    pub mapping_context: MappingContext,
    pub endpoints: Sides<Arc<Endpoint>>,
    /// Whose records its references name.
    pub parents: Vec<Parent>,
    /// Records that are made without their parent, which waits for them.
    pub freed: Mutex<HashSet<LinkId>>,
    /// Records that lack their other half wait until both sides are read and paired.
    pub halves_held: AtomicBool,
    pub sendings: Sendings,
}

impl Running {
    /// Lets a record be made without its parent.
    pub(super) fn free(&self, link: LinkId) {
        let mut freed = self.freed.lock().unwrap_or_else(PoisonError::into_inner);
        freed.insert(link);
    }

    pub(super) fn holds_halves(&self) -> bool {
        self.halves_held.load(Ordering::Relaxed)
    }

    /// Whether it may be made without its parent, for once.
    pub(super) fn is_freed(&self, link: LinkId) -> bool {
        let mut freed = self.freed.lock().unwrap_or_else(PoisonError::into_inner);
        freed.remove(&link)
    }
}

/// Why nothing is sent to a side for a while.
pub(super) struct Halt {
    pub until_ms: u64,
    pub reason: Reason,
    /// It will not pass by itself.
    pub person: bool,
}

pub(super) struct Sync {
    pub running: Arc<Running>,
    pub record: SyncRecord,
    pub counts: Counts,
    pub queue: Queue,
    pub brake: Brake,
    pub flow: Arc<Flow>,
    pub(super) rounds: Sides<usize>,
    /// By target side.
    pub halted: Sides<Option<Halt>>,
    pub pull_failure: Sides<Option<Reason>>,
    pub(super) touched: Touched,
    pub tally: Tally,
    /// Who has been asked for changes since the start. Before both have, nothing is decided: what one side did while
    /// nobody looked must not be overwritten by what the other did before that.
    pub(super) heard: Sides<bool>,
    /// Snapshots that are still being read.
    pub snapshots: usize,
    pub(super) first_reads: Sides<Option<FirstRead>>,
    /// Records that came to rest since the host started.
    pub(super) rested: u64,
    pub(super) resting: Rate,
    pub(super) aside: Aside,
    /// Of a sync with pair rules.
    pub(super) contact: Option<FirstContact>,
    pub(super) jobs: BTreeMap<JobId, Underway>,
    /// The highest number that a job was given.
    pub(super) last_job: u64,
}

impl Sync {
    /// Rebuilds the queue from the store; writes that were under way become unknown (invariant 6), but for those
    /// that travel in a job, which can tell. So many records wait in the store.
    pub(super) async fn recover(
        host: &Host,
        running: Arc<Running>,
        record: SyncRecord,
        jobs: &Jobs,
        waiting: u64,
    ) -> Result<Self, EngineError> {
        let id = running.id;
        let now_ms = host.clock.now().mono_ms;
        let base = Committed(host.store.clone());
        for page in scan(&host.store, Room::Intent, id)? {
            let mut ledger = Ledger::new(&base, id);
            for (link, _) in page {
                if ledger.job_row(link)?.is_none() {
                    settle::recover(&mut ledger, link)?;
                }
            }
            records::commit(&host.store, ledger.into_changes()).await?;
        }
        let mut queue = Queue::new(running.model.spec.queue_max);
        for (job, rows) in jobs.values() {
            rows.keys().for_each(|link| queue.resume(*link));
            host.intents
                .travelling(id, job.target, rows.keys().copied());
        }
        let counts = records::load_counts(&host.store, id)?;
        let flow = Arc::new(Flow::new(running.model.spec.queue_max));
        let brake = Brake::new(running.model.spec.brake, record.braked);
        let contact = FirstContact::load(&host.store, &running).await?;
        let holds = contact
            .as_ref()
            .is_some_and(|contact| contact.phase().holds());
        running.halves_held.store(holds, Ordering::Relaxed);
        let mut sync = Self {
            running,
            record,
            counts,
            queue,
            brake,
            flow,
            rounds: Sides::default(),
            halted: Sides::default(),
            pull_failure: Sides::default(),
            touched: Touched::default(),
            tally: Tally::default(),
            heard: Sides::default(),
            snapshots: 0,
            first_reads: Sides::default(),
            rested: 0,
            resting: Rate::default(),
            aside: Aside::all(id, waiting),
            contact,
            jobs: BTreeMap::new(),
            last_job: jobs.keys().last().map_or(0, |job| job.0),
        };
        while sync.feed(&host.store, now_ms)? {}
        Ok(sync)
    }

    /// Whether both sides have been asked for their changes.
    pub(super) fn listens(&self) -> bool {
        self.heard.left && self.heard.right
    }

    pub(super) fn refresh_flow(&self) {
        self.flow.set(self.queue.room());
    }

    pub(super) fn source(&self, side: Side) -> Source {
        let model = &self.running.model;
        Source {
            sync: self.running.index,
            name: model.spec.name.clone(),
            lane: model.spec.most_urgent(),
            side,
            selection: Selection {
                object: model.spec.side(side).object.to_string(),
                fields: model.selected(side),
            },
            flow: self.flow.clone(),
        }
    }

    /// Whether all of a side's records are read once.
    pub(super) fn reads_whole(&self, side: Side) -> bool {
        self.running.model.spec.initial.reads(side)
    }

    /// The methods that a lane's changes to a side may take now.
    pub(super) fn usable(&self, target: Side, lane: Lane) -> Vec<&Method> {
        let endpoint = &self.running.endpoints[target];
        let methods = &endpoint.plugin.manifest().methods;
        plan::usable(methods, lane, || levels::of(&endpoint.gateway))
    }
}
