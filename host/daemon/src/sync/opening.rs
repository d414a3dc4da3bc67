//! What the syncs of one endpoint share while they start: its schema, and what is prepared there for all of them.
//!
//! The schema is asked for once, however many syncs wait for it, and so is an endpoint that does not answer. A
//! connector takes away what nobody demands, so each demand is prepared together with those of all other
//! syncs, whether they run or not: what was captured for a sync that can't start yet is captured on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::ledger::{Changes, LedgerError};
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{Catalog, ConnectorContext, Demand, FaultKind, PrepareMode};
use tidegate_core::record::Reason;
use tidegate_core::sync::Side;
use tidegate_core::verdict::{CallVerdict, HALT_MS, backoff_ms};
use tidegate_gateway::Call;
use tidegate_sandbox::CallError;
use tidegate_store::ApplyError;
use tokio::sync::{Mutex, MutexGuard};

use super::engine::EngineError;
use super::events::Host;
use super::{Assembly, Endpoint, failure, records};

/// Why a sync has not started, and when it is tried again.
#[derive(Clone, Debug)]
pub(super) struct Hindrance {
    pub reason: Reason,
    /// It will not pass by itself.
    pub person: bool,
    /// The endpoint that refuses its credentials.
    pub credential: Option<Arc<str>>,
    pub until_ms: u64,
    /// A newer schema may remove it.
    pub by_schema: bool,
}

/// What ended an attempt to start a sync.
#[derive(Debug)]
pub(super) enum Unstarted {
    /// This sync waits.
    Hindered(Hindrance),
    /// The host must end.
    Host(EngineError),
}

impl From<EngineError> for Unstarted {
    fn from(error: EngineError) -> Self {
        Self::Host(error)
    }
}

impl From<LedgerError> for Unstarted {
    fn from(error: LedgerError) -> Self {
        Self::Host(error.into())
    }
}

impl From<ApplyError> for Unstarted {
    fn from(error: ApplyError) -> Self {
        Self::Host(error.into())
    }
}

impl Hindrance {
    /// What a person must mend before anything else helps.
    pub(super) fn needs_person(host: &Host, code: &str, message: String) -> Self {
        Self {
            reason: Reason {
                code: code.to_owned(),
                message,
                fields: Vec::new(),
                target: None,
            },
            person: true,
            credential: None,
            until_ms: host.clock.now().mono_ms.saturating_add(HALT_MS),
            by_schema: true,
        }
    }

    /// Of a plugin's call, which has failed so often before. `whose` opens the message.
    pub(super) fn failed(host: &Host, whose: &str, error: &CallError, failures: u32) -> Self {
        let random = host.random();
        let reason = failure::reason(error, None);
        let (person, wait_ms) = match (failure::verdict(error, random), error) {
            (CallVerdict::Wait { wait_ms }, _) => {
                (false, wait_ms.max(backoff_ms(failures, random)))
            }
            (CallVerdict::Halt { wait_ms }, _) => (true, wait_ms),
            // Something between us and the vendor answered, such as a page for people.
            (CallVerdict::Bisect, CallError::Fault(fault)) if fault.kind == FaultKind::Broken => {
                (false, backoff_ms(failures, random))
            }
            (CallVerdict::Bisect, _) => (true, HALT_MS),
        };
        Self {
            reason: Reason {
                message: format!("{whose}: {}", reason.message),
                ..reason
            },
            person,
            credential: None,
            until_ms: host.clock.now().mono_ms.saturating_add(wait_ms),
            by_schema: true,
        }
    }
}

/// Whose demand.
type Place = (Arc<str>, Side);

#[derive(Default)]
struct Known {
    /// With the moment at which it was asked for.
    catalog: Option<(u64, Arc<Catalog>)>,
    /// Some of it is what an earlier answer said.
    recalled: bool,
    /// Answers in a row that were no schema, and what came of the last.
    failures: u32,
    hindrance: Option<Hindrance>,
    /// The last known demand of each sync, on disk.
    demands: BTreeMap<Place, Demand>,
    /// Those that hold now.
    prepared: BTreeSet<Place>,
}

pub(super) struct Opening {
    endpoint: Arc<Endpoint>,
    /// All that any sync wants of it.
    objects: Vec<String>,
    /// Held while the endpoint is asked: whoever comes second gets the first one's answer.
    known: Mutex<Known>,
}

impl Opening {
    pub(super) fn new(assembly: &Assembly, endpoint: &Arc<Endpoint>) -> Result<Self, EngineError> {
        let mut objects = Vec::new();
        let mut known = Known::default();
        for parts in &assembly.syncs {
            let spec = &parts.spec;
            let demanded = records::load_demanded(&assembly.store, &spec.name)?;
            for side in Side::BOTH {
                let wanted = spec.side(side);
                if wanted.endpoint != endpoint.name {
                    continue;
                }
                objects.push(wanted.object.to_string());
                let last = demanded.as_ref().map(|demanded| &demanded[side]);
                if let Some(last) = last
                    && *last.endpoint == *endpoint.name
                    && *last.object == *wanted.object
                {
                    let last = demand(&last.object, last.fields.clone());
                    known.demands.insert((spec.name.clone(), side), last);
                }
            }
        }
        Ok(Self {
            endpoint: endpoint.clone(),
            objects,
            known: Mutex::new(known),
        })
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The schema, asked for after this moment if one is named.
    pub(super) async fn catalog(
        &self,
        host: &Host,
        after_ms: Option<u64>,
    ) -> Result<Arc<Catalog>, Unstarted> {
        let mut known = self.known.lock().await;
        if let Some((at_ms, catalog)) = &known.catalog
            && after_ms.is_none_or(|after_ms| *at_ms > after_ms)
        {
            return Ok(catalog.clone());
        }
        let now_ms = host.clock.now().mono_ms;
        if let Some(hindrance) = &known.hindrance
            && hindrance.until_ms > now_ms
        {
            return Err(Unstarted::Hindered(hindrance.clone()));
        }
        if after_ms.is_some() {
            // A person may have mended it since.
            self.endpoint.gateway.forget_answers().await;
        }
        let catalog = self.ask(host, &mut known).await?;
        if let Some(kept) = records::load_identity(&host.store, &self.endpoint.name)?
            && kept != catalog.identity
        {
            // A swapped database or org must not be taken for the one that the links belong to.
            known.catalog = None;
            return Err(self.hindered(&mut known, self.other_identity(host, &kept, &catalog)));
        }
        Ok(catalog)
    }

    fn other_identity(&self, host: &Host, kept: &str, catalog: &Catalog) -> Hindrance {
        let message = format!(
            "endpoint {} is now {} and was {kept} when this data folder was made; use another [host] data folder, or give it back what it was",
            self.endpoint.name, catalog.identity
        );
        Hindrance::needs_person(host, "other-identity", message)
    }

    fn hindered(&self, known: &mut MutexGuard<'_, Known>, hindrance: Hindrance) -> Unstarted {
        let hindrance = Hindrance {
            by_schema: false,
            ..hindrance
        };
        known.hindrance = Some(hindrance.clone());
        Unstarted::Hindered(hindrance)
    }

    /// Whether the schema is partly what an earlier answer said, so that asking anew may help at once.
    pub(super) async fn is_recalled(&self) -> bool {
        self.known.lock().await.recalled
    }

    /// The endpoint is asked again at the next occasion.
    pub(super) async fn forget_hindrance(&self) {
        self.known.lock().await.hindrance = None;
    }

    async fn ask(
        &self,
        host: &Host,
        known: &mut MutexGuard<'_, Known>,
    ) -> Result<Arc<Catalog>, Unstarted> {
        let at_ms = host.clock.now().mono_ms;
        let endpoint = &self.endpoint;
        let recalled = || {
            let counters = endpoint.gateway.counters();
            counters.recalled + counters.recalled_stale
        };
        let before = recalled();
        let answer = endpoint
            .plugin
            .discover(
                endpoint.gateway.clone(),
                call("discover", false),
                &self.context(host),
                self.objects.clone(),
            )
            .await;
        match answer {
            Ok(catalog) => {
                let catalog = Arc::new(catalog);
                known.recalled = recalled() > before;
                known.catalog = Some((at_ms, catalog.clone()));
                known.failures = 0;
                known.hindrance = None;
                Ok(catalog)
            }
            Err(error) => {
                known.failures += 1;
                let hindrance = self.failed(host, &error, known.failures);
                Err(self.hindered(known, hindrance))
            }
        }
    }

    /// Prepares the endpoint for this demand too, unless it is. `failures` are those of the sync so far.
    pub(super) async fn prepare(
        &self,
        host: &Host,
        place: Place,
        demand: Demand,
        failures: u32,
    ) -> Result<(), Unstarted> {
        let mut known = self.known.lock().await;
        if known.prepared.contains(&place) && known.demands.get(&place) == Some(&demand) {
            return Ok(());
        }
        let mut all = known.demands.clone();
        all.insert(place.clone(), demand.clone());
        if let Err(error) = self.call(host, &all, PrepareMode::Apply).await {
            let hindrance = self.failed(host, &error, failures);
            if !hindrance.person || !self.sift(host, &place, &mut all).await? {
                return Err(Unstarted::Hindered(hindrance));
            }
            self.call(host, &all, PrepareMode::Apply)
                .await
                .map_err(|error| Unstarted::Hindered(self.failed(host, &error, failures)))?;
        }
        known.prepared = all.into_keys().collect();
        known.demands.insert(place, demand);
        if records::load_identity(&host.store, &self.endpoint.name)?.is_none() {
            // What was prepared may be what names the system for good.
            let catalog = self.ask(host, &mut known).await?;
            let mut changes = Changes::new();
            records::put_identity(&mut changes, &self.endpoint.name, &catalog.identity);
            records::commit(&host.store, changes).await?;
        }
        Ok(())
    }

    /// Leaves out the demands of others that can't be met any more, such as of a table that is gone, so that they
    /// hold up no one else. False when it is this demand that can't be met, or no single one is to blame.
    async fn sift(
        &self,
        host: &Host,
        place: &Place,
        all: &mut BTreeMap<Place, Demand>,
    ) -> Result<bool, Unstarted> {
        let mut places: Vec<Place> = all
            .keys()
            .filter(|other| *other != place)
            .cloned()
            .collect();
        places.insert(0, place.clone());
        let mut left_out = false;
        for other in places {
            let alone = all
                .get(&other)
                .map(|demand| (other.clone(), demand.clone()))
                .into_iter()
                .collect();
            let Err(error) = self.call(host, &alone, PrepareMode::Plan).await else {
                continue;
            };
            let hindrance = self.failed(host, &error, 0);
            if !hindrance.person {
                return Err(Unstarted::Hindered(hindrance));
            }
            if other == *place {
                return Ok(false);
            }
            tracing::warn!(endpoint = %self.endpoint.name, sync = %other.0, code = %hindrance.reason.code, "no longer prepared for this sync: {}", hindrance.reason.message);
            all.remove(&other);
            left_out = true;
        }
        Ok(left_out)
    }

    async fn call(
        &self,
        host: &Host,
        demands: &BTreeMap<Place, Demand>,
        mode: PrepareMode,
    ) -> Result<(), CallError> {
        let endpoint = &self.endpoint;
        let demands = demands.values().cloned().collect();
        let steps = endpoint
            .plugin
            .prepare(
                endpoint.gateway.clone(),
                call("prepare", mode == PrepareMode::Apply),
                &self.context(host),
                demands,
                mode,
            )
            .await?;
        for step in steps {
            tracing::debug!(endpoint = %endpoint.name, step = %step.id, done = step.done, "prepared");
        }
        Ok(())
    }

    fn failed(&self, host: &Host, error: &CallError, failures: u32) -> Hindrance {
        let name = &self.endpoint.name;
        let credential = failure::is_credential(error).then(|| name.clone());
        Hindrance {
            credential,
            ..Hindrance::failed(host, &format!("endpoint {name}"), error, failures)
        }
    }

    fn context(&self, host: &Host) -> ConnectorContext {
        ConnectorContext {
            config: self.endpoint.config.clone(),
            now: host.clock.now().wall_us,
            rows_max: u32::MAX,
        }
    }
}

pub(super) fn demand(object: &str, fields: Vec<String>) -> Demand {
    Demand {
        object: object.to_owned(),
        fields,
        captured: true,
        written: true,
    }
}

fn call(function: &'static str, may_write: bool) -> Call {
    Call {
        sync: "".into(),
        function,
        lane: Lane::Critical,
        may_write,
        tokens: Arc::default(),
    }
}
