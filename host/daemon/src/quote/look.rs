//! What must be asked to know what the syncs would cost: schemas, what would be set up, counts, and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use tidegate_core::manifest::Manifest;
use tidegate_core::model::Model;
use tidegate_core::pace::{Level, PoolCounts, PoolFigures, PoolOverride};
use tidegate_core::record::Sides;
use tidegate_core::sync::Side;
use tidegate_core::time::Now;
use tidegate_gateway::{Gateway, Outside};
use tidegate_store::Store;

use crate::allowances::{self, AllowanceError};
use crate::assembly::{self, Shared};
use crate::check::live::{self, Catalogs, Reach};
use crate::check::plugins::Plugins;
use crate::check::{self, Rules};
use crate::config::meant::{Config, Granted};
use crate::config::places::join;
use crate::config::problem::{Code, Findings};
use crate::host::Reached;
use crate::levels;
use crate::sync::EngineError;
use crate::sync::remains::{self, Remains};

/// Why the store could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Allowances(#[from] AllowanceError),
    #[error(transparent)]
    Remains(#[from] EngineError),
}

/// All that a plan is made of.
pub(crate) struct Seen {
    pub(crate) syncs: Vec<SeenSync>,
    pub(crate) endpoints: BTreeMap<Arc<str>, SeenEndpoint>,
    pub(crate) now: Now,
}

/// One sync, as it would start.
pub(crate) struct SeenSync {
    pub(crate) model: Model,
    pub(crate) remains: Remains,
    /// Records of each side, where it tells.
    pub(crate) records: Sides<Option<u64>>,
}

/// An endpoint of one or more of them.
pub(crate) struct SeenEndpoint {
    pub(crate) manifest: Manifest,
    pub(crate) overrides: BTreeMap<String, PoolOverride>,
    pub(crate) figures: Vec<PoolFigures>,
    pub(crate) counts: Vec<PoolCounts>,
    pub(crate) level: Level,
    pub(crate) interval_ms: u64,
    /// It was never prepared.
    pub(crate) first: bool,
    /// Calls that its schema took, what would be set up, and the counts.
    pub(crate) discover: u64,
    pub(crate) prepare: u64,
    pub(crate) count: u64,
}

/// Looks at the syncs of these names, or at all. Whatever is wrong is a finding; then there is nothing to see.
pub(crate) async fn look(
    config: &Config,
    plugins: &Plugins,
    credentials: BTreeMap<Arc<str>, Granted>,
    store: Option<&Store>,
    only: Option<&str>,
    findings: &Findings,
) -> Result<Option<Seen>, LookError> {
    let shared = Shared::without_records("plan");
    let gateways = gateways(config, plugins, credentials, &shared, findings);
    if let Some(store) = store {
        allowances::recall(store, &gateways)?;
    }
    let now = shared.clock.now();
    let reaches = reaches(config, plugins, &gateways, now);
    let mut meter = Meter::new(&gateways);
    let catalogs = live::discover(config, &reaches, findings).await;
    let discover = meter.read();
    let rules = check::rules(config, plugins, &reaches, &catalogs, findings).await;
    meter.read();
    check::plan(config, &reaches, &catalogs, &rules, findings).await;
    let prepare = meter.read();
    if findings.has_errors() {
        return Ok(None);
    }
    let counts = counts(config, &reaches, only).await;
    let count = meter.read();
    let mut syncs = Vec::new();
    for (name, sync) in &config.syncs {
        if only.is_some_and(|only| *only != **name) {
            continue;
        }
        let Some(model) = model(config, name, &catalogs, &rules, store, findings)? else {
            continue;
        };
        let wide = Sides::new(|side| {
            let endpoint = &gateways[&sync.spec.side(side).endpoint];
            plugins[&endpoint.plugin].manifest().is_endpoint_wide()
        });
        let records = Sides::new(|side| {
            let spec = sync.spec.side(side);
            let counted = counts.get(&(spec.endpoint.clone(), spec.object.clone()));
            counted.copied().flatten()
        });
        syncs.push(SeenSync {
            remains: remains::of(store, &model, &wide)?,
            model,
            records,
        });
    }
    if findings.has_errors() {
        return Ok(None);
    }
    let used = |name: &&Arc<str>| {
        let here = |sync: &SeenSync| {
            Side::BOTH
                .iter()
                .any(|side| sync.model.spec.side(*side).endpoint == **name)
        };
        syncs.iter().any(here)
    };
    let mut endpoints = BTreeMap::new();
    for name in gateways.keys().filter(used) {
        let (reached, endpoint) = (&gateways[name], &config.endpoints[name]);
        let manifest = plugins[&reached.plugin]
            .manifest()
            .clone()
            .at(&endpoint.config);
        let known = store
            .map(|store| remains::is_known(store, name))
            .transpose()?;
        let took = |calls: &BTreeMap<Arc<str>, u64>| calls.get(name).copied().unwrap_or_default();
        let seen = SeenEndpoint {
            interval_ms: endpoint
                .interval_ms
                .unwrap_or_else(|| manifest.interval_ms()),
            manifest,
            overrides: endpoint.pools.clone(),
            figures: reached.gateway.pools(),
            counts: reached.gateway.account().snapshot(),
            level: levels::of(&reached.gateway),
            first: known != Some(true),
            discover: took(&discover),
            prepare: took(&prepare),
            count: took(&count),
        };
        endpoints.insert(name.clone(), seen);
    }
    let now = shared.clock.now();
    Ok(Some(Seen {
        syncs,
        endpoints,
        now,
    }))
}

fn gateways(
    config: &Config,
    plugins: &Plugins,
    credentials: BTreeMap<Arc<str>, Granted>,
    shared: &Shared,
    findings: &Findings,
) -> BTreeMap<Arc<str>, Reached> {
    let mut gateways = BTreeMap::new();
    for (name, made) in assembly::gateways(config, plugins, credentials, shared) {
        let key = join("endpoints", &name);
        if !findings.problems_of(&key).is_empty() {
            continue;
        }
        match made {
            Ok(gateway) => {
                let plugin = config.endpoints[&name].plugin.clone();
                gateways.insert(name, Reached { plugin, gateway });
            }
            Err(error) => findings.error(Code::EndpointUnusable, &key, error.to_string()),
        }
    }
    gateways
}

fn reaches(
    config: &Config,
    plugins: &Plugins,
    gateways: &BTreeMap<Arc<str>, Reached>,
    now: Now,
) -> BTreeMap<Arc<str>, Reach> {
    let reach = |(name, reached): (&Arc<str>, &Reached)| {
        let reach = Reach {
            plugin: plugins[&reached.plugin].clone(),
            outside: reached.gateway.clone() as Arc<dyn Outside>,
            others: BTreeMap::new(),
            config: config.endpoints[name].config.to_string(),
            now_us: now.wall_us,
        };
        (name.clone(), reach)
    };
    gateways.iter().map(reach).collect()
}

/// A sync's fields by number, as its start would number them.
fn model(
    config: &Config,
    name: &Arc<str>,
    catalogs: &Catalogs,
    rules: &Rules,
    store: Option<&Store>,
    findings: &Findings,
) -> Result<Option<Model>, LookError> {
    let spec = &config.syncs[name].spec;
    let fields = Sides::new(|side| {
        let spec = spec.side(side);
        let schema = live::schema(catalogs.get(&spec.endpoint)?, &spec.object)?;
        Some(schema.fields.clone())
    });
    let (Some(left), Some(right), Some(rules)) = (fields.left, fields.right, rules.get(name))
    else {
        return Ok(None);
    };
    let tables = store
        .map(|store| remains::tables(store, name))
        .transpose()?;
    let fields = Sides { left, right };
    match Model::new(spec.clone(), tables.unwrap_or_default(), &fields, rules) {
        Ok(model) => Ok(Some(model)),
        Err(problems) => {
            for problem in problems {
                findings.error(
                    Code::MappingRefused,
                    &join("syncs", name),
                    problem.to_string(),
                );
            }
            Ok(None)
        }
    }
}

type Counts = BTreeMap<(Arc<str>, Arc<str>), Option<u64>>;

/// Records by endpoint and object. One that can't be counted is no mistake: the plan says what is not known.
async fn counts(
    config: &Config,
    reaches: &BTreeMap<Arc<str>, Reach>,
    only: Option<&str>,
) -> Counts {
    let asked = reaches.iter().map(async |(name, reach)| {
        let mut objects: BTreeSet<Arc<str>> = BTreeSet::new();
        for (sync, meant) in &config.syncs {
            let sides = Side::BOTH.map(|side| meant.spec.side(side));
            let here = sides.into_iter().filter(|spec| spec.endpoint == *name);
            let wanted = only.is_none_or(|only| *only == **sync);
            objects.extend(here.filter(|_| wanted).map(|spec| spec.object.clone()));
        }
        let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
        let counted = match names.is_empty() {
            true => Ok(Vec::new()),
            false => reach.count(names).await,
        };
        let counted = counted.unwrap_or_else(|error| {
            tracing::debug!(endpoint = %name, "records can't be counted: {}", live::told(&error));
            vec![None; objects.len()]
        });
        let places = objects.into_iter().map(|object| (name.clone(), object));
        places.zip(counted).collect::<Vec<_>>()
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Counts what leaves, so that a plan knows what the same will cost a host.
struct Meter<'a> {
    gateways: &'a BTreeMap<Arc<str>, Reached>,
    last: BTreeMap<Arc<str>, u64>,
}

impl<'a> Meter<'a> {
    fn new(gateways: &'a BTreeMap<Arc<str>, Reached>) -> Self {
        let mut meter = Self {
            gateways,
            last: BTreeMap::new(),
        };
        meter.read();
        meter
    }

    /// Requests and statements since the last reading, without those for tokens.
    fn read(&mut self) -> BTreeMap<Arc<str>, u64> {
        let calls = |gateway: &Gateway| {
            let counters = gateway.counters();
            counters.requests.saturating_sub(counters.refreshes) + counters.statements
        };
        let gateways = self.gateways.iter();
        let all: BTreeMap<Arc<str>, u64> = gateways
            .map(|(name, reached)| (name.clone(), calls(&reached.gateway)))
            .collect();
        let before = std::mem::replace(&mut self.last, all.clone());
        let since = |(name, calls): (Arc<str>, u64)| {
            let before = before.get(&name).copied().unwrap_or_default();
            (name, calls - before)
        };
        all.into_iter().map(since).collect()
    }
}
