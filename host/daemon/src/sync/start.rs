//! Brings each sync to where it can run, by itself: one that can't start holds up no other.
//!
//! A task per sync asks for the schemas and rules, has its endpoints prepared, and hands the sync to the
//! engine. Whatever fails is told and tried again: soon if it may pass, slowly if a person must act. Only
//! a store that fails ends the host.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tidegate_core::ledger::{Changes, Room, SyncId};
use tidegate_core::model::Model;
use tidegate_core::plugin::{Catalog, Field, MappingContext};
use tidegate_core::record::Sides;
use tidegate_core::reference::{Parent, parent_of};
use tidegate_core::sync::{Side, SyncSpec};

use super::engine::{EngineError, count};
use super::events::{Event, Host};
use super::opening::{Hindrance, Opening, Unstarted, demand};
use super::records::{self, Demanded, SyncRecord};
use super::running::Running;
use super::sendings::Sendings;
use super::{Assembly, field_types};

/// A sync that can join the engine.
pub(super) struct Started {
    /// Its index is the engine's to give.
    pub running: Running,
    pub record: SyncRecord,
}

/// A sync that has not started: what is known of it all the same.
pub(super) struct Pending {
    pub id: SyncId,
    pub links: u64,
    pub waiting: u64,
    /// `None` during the first attempt.
    pub hindrance: Option<Hindrance>,
}

/// Gives each sync its number, before the first task runs: numbers are drawn one after the other.
pub(super) async fn enrol(
    assembly: &Assembly,
    host: &Host,
) -> Result<BTreeMap<Arc<str>, Pending>, EngineError> {
    let mut pending = BTreeMap::new();
    for parts in &assembly.syncs {
        let name = &parts.spec.name;
        let record = records::load_sync(&host.store, name)?;
        save(host, name, &record).await?;
        let id = SyncId(record.id);
        let known = Pending {
            id,
            links: records::load_counts(&host.store, id)?.links,
            waiting: count(&host.store, Room::Entry, id)?,
            hindrance: None,
        };
        pending.insert(name.clone(), known);
    }
    Ok(pending)
}

async fn save(host: &Host, name: &str, record: &SyncRecord) -> Result<(), EngineError> {
    let mut changes = Changes::new();
    records::put_sync(&host.store, &mut changes, name, record)?;
    records::commit(&host.store, changes).await?;
    Ok(())
}

/// One sync on its way.
pub(super) struct Starter {
    assembly: Arc<Assembly>,
    /// Which of its syncs.
    index: usize,
    host: Host,
    openings: Sides<Arc<Opening>>,
}

/// A starter for every sync.
pub(super) fn starters(assembly: &Arc<Assembly>, host: &Host) -> Result<Vec<Starter>, EngineError> {
    let mut openings = BTreeMap::new();
    for (name, endpoint) in &assembly.endpoints {
        let opening = Opening::new(assembly, endpoint)?;
        openings.insert(name.clone(), Arc::new(opening));
    }
    let starters = assembly.syncs.iter().enumerate().map(|(index, parts)| {
        let opening = |side: Side| openings[&parts.spec.side(side).endpoint].clone();
        Starter {
            assembly: assembly.clone(),
            index,
            host: host.clone(),
            openings: Sides::new(opening),
        }
    });
    Ok(starters.collect())
}

impl Starter {
    /// Tries until the sync has started.
    pub(super) async fn run(self) {
        let name = &self.assembly.syncs[self.index].spec.name;
        let itself = [name.clone()];
        let mut failures = 0;
        let mut after_ms = None;
        loop {
            let gates = &self.host.gates;
            let resumes = gates.times(&itself);
            let places = Side::BOTH.map(|side| self.openings[side].endpoint().place());
            gates.pass(&*self.host.clock, &itself, &places).await;
            let hindrance = match self.attempt(after_ms, failures).await {
                Ok(started) => return self.host.send(Event::Started(Box::new(started))).await,
                Err(Unstarted::Host(error)) => return self.host.send(Event::Broken(error)).await,
                Err(Unstarted::Hindered(hindrance)) => hindrance,
            };
            failures += 1;
            if hindrance.by_schema {
                let before = after_ms.replace(self.host.clock.now().mono_ms);
                if before.is_none() && self.is_recalled().await {
                    continue;
                }
            }
            let until_ms = hindrance.until_ms;
            let event = Event::Hindered {
                sync: name.clone(),
                hindrance,
            };
            self.host.send(event).await;
            tokio::select! {
                () = self.host.clock.sleep_until(until_ms) => {}
                // Whatever was in its way, a person says that it is not any more.
                () = gates.resumed(&itself, resumes) => self.forget_hindrances().await,
            }
        }
    }

    /// Whether what hinders it may be over already.
    async fn is_recalled(&self) -> bool {
        self.openings.left.is_recalled().await || self.openings.right.is_recalled().await
    }

    async fn forget_hindrances(&self) {
        for side in Side::BOTH {
            self.openings[side].forget_hindrance().await;
        }
    }

    async fn attempt(&self, after_ms: Option<u64>, failures: u32) -> Result<Started, Unstarted> {
        let parts = &self.assembly.syncs[self.index];
        let spec = &parts.spec;
        let host = &self.host;
        let (left, right) = futures::join!(
            self.openings.left.catalog(host, after_ms),
            self.openings.right.catalog(host, after_ms),
        );
        let fields = Sides {
            left: self.fields(Side::Left, &*left?)?,
            right: self.fields(Side::Right, &*right?)?,
        };
        let mut mapping_context = MappingContext {
            config: parts.mapping_config.clone(),
            left: field_types(&fields.left),
            right: field_types(&fields.right),
        };
        let rules = parts.mapping.describe(&mapping_context).await;
        let rules = rules.map_err(|error| {
            let hindrance = Hindrance::failed(host, "the mapping", &error, failures);
            Unstarted::Hindered(hindrance)
        })?;
        let record = records::load_sync(&host.store, &spec.name)?;
        let model =
            Model::new(spec.clone(), record.tables, &fields, &rules).map_err(|problems| {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                self.needs_person("mapping-unfit", problems.join("; "))
            })?;
        let parents = self.parents(spec, &fields, &model)?;
        // Batches carry these fields and no others, so that is all the mapping needs to know.
        mapping_context.left = model.field_types(Side::Left);
        mapping_context.right = model.field_types(Side::Right);
        let record = SyncRecord {
            tables: model.tables(),
            ..record
        };
        save(host, &spec.name, &record).await?;
        self.prepare(spec, &model, failures).await?;
        let running = Running {
            index: 0,
            id: SyncId(record.id),
            model: Arc::new(model),
            mapping: parts.mapping.clone(),
            mapping_context,
            endpoints: Sides::new(|side| self.openings[side].endpoint().clone()),
            parents,
            freed: Mutex::default(),
            halves_held: AtomicBool::default(),
            sendings: Sendings::default(),
        };
        Ok(Started { running, record })
    }

    /// Whose records the references name.
    fn parents(
        &self,
        spec: &SyncSpec,
        fields: &Sides<Vec<Field>>,
        model: &Model,
    ) -> Result<Vec<Parent>, Unstarted> {
        let specs: Vec<&SyncSpec> = self
            .assembly
            .syncs
            .iter()
            .map(|parts| &parts.spec)
            .collect();
        let references = spec.references.iter().zip(&model.references);
        references
            .map(|(reference, fields_of)| {
                let parent = parent_of(reference, spec, &specs, fields)
                    .map_err(|error| self.needs_person("reference-unfit", error.to_string()))?;
                let record = records::load_sync(&self.host.store, &parent.name)?;
                Ok(Parent {
                    fields: fields_of.clone(),
                    sync: SyncId(record.id),
                })
            })
            .collect()
    }

    fn needs_person(&self, code: &str, message: String) -> Unstarted {
        Unstarted::Hindered(Hindrance::needs_person(&self.host, code, message))
    }

    fn fields(&self, side: Side, catalog: &Catalog) -> Result<Vec<Field>, Unstarted> {
        let wanted = self.assembly.syncs[self.index].spec.side(side);
        let found = catalog
            .objects
            .iter()
            .find(|found| *found.name == *wanted.object);
        found.map(|found| found.fields.clone()).ok_or_else(|| {
            let message = format!(
                "endpoint {} has no object {}, or the credentials may not see it",
                wanted.endpoint, wanted.object
            );
            self.needs_person("no-object", message)
        })
    }

    /// Both endpoints, and remembers for what: a later start may know less than this one.
    async fn prepare(
        &self,
        spec: &SyncSpec,
        model: &Model,
        failures: u32,
    ) -> Result<(), Unstarted> {
        for side in Side::BOTH {
            let demand = demand(&spec.side(side).object, model.selected(side));
            let place = (spec.name.clone(), side);
            self.openings[side]
                .prepare(&self.host, place, demand, failures)
                .await?;
        }
        let demanded = Sides::new(|side| Demanded {
            endpoint: spec.side(side).endpoint.to_string(),
            object: spec.side(side).object.to_string(),
            fields: model.selected(side),
        });
        let mut changes = Changes::new();
        records::put_demanded(&mut changes, &spec.name, &demanded);
        records::commit(&self.host.store, changes).await?;
        Ok(())
    }
}
