//! What must be known and prepared before anything moves: schemas, rules, outboxes, and what was under
//! way when the host last stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::ledger::{Changes, LedgerError, SyncId};
use tidegate_core::manifest::CursorScope;
use tidegate_core::model::Model;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{
    Catalog, ConnectorContext, Demand, FaultKind, Field, MappingContext, PrepareMode, Selection,
    StreamKind,
};
use tidegate_core::record::Sides;
use tidegate_core::sync::{Initial, Side, SyncSpec};
use tidegate_core::verdict::{CallVerdict, backoff_ms};
use tidegate_gateway::Call;
use tidegate_sandbox::CallError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::engine::{EngineError, Host, StreamSources, Sync};
use super::records::{self, SyncRecord};
use super::round::Running;
use super::streams::{Source, Stream};
use super::{Assembly, Endpoint, Stage, SyncParts, failure, field_types};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("sync {sync}: {}", problems.join("; "))]
    Model { sync: String, problems: Vec<String> },
    #[error("endpoint {endpoint} has no object {object}, or the credentials may not see it")]
    NoObject { endpoint: String, object: String },
    #[error(
        "endpoint {endpoint} is now {found} and was {known} when this data folder was made; use another [host] data folder, or give it back what it was"
    )]
    OtherIdentity {
        endpoint: String,
        known: String,
        found: String,
    },
    #[error("sync {sync}: the mapping refuses its config: {message}")]
    Mapping { sync: String, message: String },
    #[error("endpoint {endpoint}: {code}: {message}")]
    Endpoint {
        endpoint: String,
        code: String,
        message: String,
    },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<LedgerError> for StartError {
    fn from(error: LedgerError) -> Self {
        Self::Engine(error.into())
    }
}

pub(super) struct Started {
    pub syncs: Vec<Sync>,
    pub streams: Vec<Stream>,
    pub sources: Vec<StreamSources>,
}

pub(super) async fn start(
    assembly: &Assembly,
    host: &Host,
    stage: &watch::Sender<Stage>,
    cancel: &CancellationToken,
) -> Result<Started, StartError> {
    let mut catalogs = BTreeMap::new();
    for endpoint in assembly.endpoints.values() {
        let catalog = discover(assembly, host, stage, endpoint).await?;
        if let Some(known) = records::load_identity(&host.store, &endpoint.name)? {
            same_identity(endpoint, known, &catalog)?;
        }
        catalogs.insert(endpoint.name.clone(), catalog);
    }
    let mut syncs = Vec::with_capacity(assembly.syncs.len());
    for parts in &assembly.syncs {
        syncs.push(sync(assembly, host, parts, &catalogs, syncs.len()).await?);
    }
    for endpoint in assembly.endpoints.values() {
        prepare(host, stage, endpoint, &syncs).await?;
        if records::load_identity(&host.store, &endpoint.name)?.is_none() {
            // What was prepared may be what names the system for good.
            let catalog = discover(assembly, host, stage, endpoint).await?;
            keep_identity(host, endpoint, &catalog).await?;
        }
    }
    let mut streams = Vec::new();
    for endpoint in assembly.endpoints.values() {
        add_streams(host, cancel, endpoint, &syncs, &mut streams);
    }
    for stream in streams
        .iter()
        .filter(|stream| stream.kind == StreamKind::Snapshot)
    {
        if !records::load_cursor(&host.store, &stream.name)?.done {
            for source in &stream.sources {
                syncs[source.sync].snapshots += 1;
            }
        }
    }
    let sources = streams
        .iter()
        .map(|stream| StreamSources {
            name: stream.name.clone(),
            kind: stream.kind,
            sources: stream.sources.clone(),
        })
        .collect();
    Ok(Started {
        syncs,
        streams,
        sources,
    })
}

fn sides(spec: &SyncSpec) -> [(Side, &Arc<str>, &Arc<str>); 2] {
    Side::BOTH.map(|side| (side, &spec.side(side).endpoint, &spec.side(side).object))
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

fn context(host: &Host, endpoint: &Endpoint) -> ConnectorContext {
    ConnectorContext {
        config: endpoint.config.clone(),
        now: host.clock.now().wall_us,
        rows_max: u32::MAX,
    }
}

/// Waits out what may pass; gives up on what a person must mend.
async fn wait_out(
    host: &Host,
    stage: &watch::Sender<Stage>,
    endpoint: &Endpoint,
    error: CallError,
) -> Result<(), StartError> {
    let reason = failure::reason(&error, None);
    let fatal = || StartError::Endpoint {
        endpoint: endpoint.name.to_string(),
        code: reason.code.clone(),
        message: reason.message.clone(),
    };
    let random = host.random();
    let wait_ms = match (&error, failure::verdict(&error, random)) {
        (CallError::Fault(fault), _) if fault.kind == FaultKind::Config => return Err(fatal()),
        (_, CallVerdict::Wait { wait_ms } | CallVerdict::Halt { wait_ms }) => wait_ms,
        // Something between us and the vendor answered, such as a page for people.
        (CallError::Fault(fault), _) if fault.kind == FaultKind::Broken => backoff_ms(2, random),
        (_, CallVerdict::Bisect) => return Err(fatal()),
    };
    tracing::warn!(endpoint = %endpoint.name, code = %reason.code, wait_ms, "not ready: {}", reason.message);
    stage.send_replace(Stage::Starting(format!(
        "endpoint {}: {}: {}",
        endpoint.name, reason.code, reason.message
    )));
    let until_ms = host.clock.now().mono_ms.saturating_add(wait_ms);
    host.clock.sleep_until(until_ms).await;
    Ok(())
}

async fn discover(
    assembly: &Assembly,
    host: &Host,
    stage: &watch::Sender<Stage>,
    endpoint: &Endpoint,
) -> Result<Catalog, StartError> {
    let objects: Vec<String> = assembly
        .syncs
        .iter()
        .flat_map(|parts| sides(&parts.spec))
        .filter(|(_, name, _)| **name == endpoint.name)
        .map(|(_, _, object)| object.to_string())
        .collect();
    loop {
        let answer = endpoint
            .plugin
            .discover(
                endpoint.gateway.clone(),
                call("discover", false),
                &context(host, endpoint),
                objects.clone(),
            )
            .await;
        match answer {
            Ok(catalog) => return Ok(catalog),
            Err(error) => wait_out(host, stage, endpoint, error).await?,
        }
    }
}

/// A swapped database or org must not be taken for the one that the links belong to.
fn same_identity(endpoint: &Endpoint, known: String, catalog: &Catalog) -> Result<(), StartError> {
    if known == catalog.identity {
        return Ok(());
    }
    Err(StartError::OtherIdentity {
        endpoint: endpoint.name.to_string(),
        known,
        found: catalog.identity.clone(),
    })
}

async fn keep_identity(
    host: &Host,
    endpoint: &Endpoint,
    catalog: &Catalog,
) -> Result<(), StartError> {
    let mut changes = Changes::new();
    records::put_identity(&mut changes, &endpoint.name, &catalog.identity);
    records::commit(&host.store, changes)
        .await
        .map_err(EngineError::from)?;
    Ok(())
}

fn object_fields<'a>(
    catalogs: &'a BTreeMap<Arc<str>, Catalog>,
    endpoint: &Arc<str>,
    object: &Arc<str>,
) -> Result<&'a [Field], StartError> {
    catalogs
        .get(endpoint)
        .and_then(|catalog| catalog.objects.iter().find(|found| found.name == **object))
        .map(|found| &*found.fields)
        .ok_or_else(|| StartError::NoObject {
            endpoint: endpoint.to_string(),
            object: object.to_string(),
        })
}

async fn sync(
    assembly: &Assembly,
    host: &Host,
    parts: &SyncParts,
    catalogs: &BTreeMap<Arc<str>, Catalog>,
    index: usize,
) -> Result<Sync, StartError> {
    let spec = &parts.spec;
    let left = object_fields(catalogs, &spec.left.endpoint, &spec.left.object)?.to_vec();
    let right = object_fields(catalogs, &spec.right.endpoint, &spec.right.object)?.to_vec();
    let mut mapping_context = MappingContext {
        config: parts.mapping_config.clone(),
        left: field_types(&left),
        right: field_types(&right),
    };
    let rules = parts
        .mapping
        .describe(&mapping_context)
        .await
        .map_err(|error| StartError::Mapping {
            sync: spec.name.to_string(),
            message: failure::reason(&error, None).message,
        })?;
    let mut record = records::load_sync(&host.store, &spec.name)?;
    let tables = std::mem::take(&mut record.tables);
    let model =
        Model::new(spec.clone(), tables, &Sides { left, right }, &rules).map_err(|problems| {
            StartError::Model {
                sync: spec.name.to_string(),
                problems: problems.iter().map(ToString::to_string).collect(),
            }
        })?;
    // Batches carry these fields and no others, so that is all the mapping needs to know.
    mapping_context.left = model.field_types(Side::Left);
    mapping_context.right = model.field_types(Side::Right);
    let record = SyncRecord {
        tables: model.tables(),
        ..record
    };
    save(host, spec, &record).await?;
    let id = SyncId(record.id);
    host.intents.name(spec.name.clone(), id);
    let endpoint = |side: Side| {
        let name = &spec.side(side).endpoint;
        assembly
            .endpoints
            .get(name)
            .cloned()
            .ok_or_else(|| StartError::NoObject {
                endpoint: name.to_string(),
                object: spec.side(side).object.to_string(),
            })
    };
    let running = Running {
        index,
        id,
        model: Arc::new(model),
        mapping: parts.mapping.clone(),
        mapping_context,
        endpoints: Sides {
            left: endpoint(Side::Left)?,
            right: endpoint(Side::Right)?,
        },
    };
    Ok(Sync::recover(host, Arc::new(running), record).await?)
}

async fn save(host: &Host, spec: &SyncSpec, record: &SyncRecord) -> Result<(), StartError> {
    let mut changes = Changes::new();
    records::put_sync(&host.store, &mut changes, &spec.name, record)?;
    records::commit(&host.store, changes)
        .await
        .map_err(EngineError::from)?;
    Ok(())
}

async fn prepare(
    host: &Host,
    stage: &watch::Sender<Stage>,
    endpoint: &Endpoint,
    syncs: &[Sync],
) -> Result<(), StartError> {
    let mut demands = Vec::new();
    for sync in syncs {
        for (side, name, object) in sides(&sync.running.model.spec) {
            if *name == endpoint.name {
                demands.push(Demand {
                    object: object.to_string(),
                    fields: sync.running.model.selected(side),
                    captured: true,
                    written: true,
                });
            }
        }
    }
    loop {
        let answer = endpoint
            .plugin
            .prepare(
                endpoint.gateway.clone(),
                call("prepare", true),
                &context(host, endpoint),
                demands.clone(),
                PrepareMode::Apply,
            )
            .await;
        match answer {
            Ok(steps) => {
                for step in steps {
                    tracing::debug!(endpoint = %endpoint.name, step = %step.id, done = step.done, "prepared");
                }
                return Ok(());
            }
            Err(error) => wait_out(host, stage, endpoint, error).await?,
        }
    }
}

/// One stream of changes per endpoint or object, as its manifest says, and a snapshot of each object that
/// the sync reads whole.
fn add_streams(
    host: &Host,
    cancel: &CancellationToken,
    endpoint: &Arc<Endpoint>,
    syncs: &[Sync],
    streams: &mut Vec<Stream>,
) {
    let mut sources = Vec::new();
    for sync in syncs {
        let model = &sync.running.model;
        for (side, name, object) in sides(&model.spec) {
            if *name == endpoint.name {
                let selection = Selection {
                    object: object.to_string(),
                    fields: model.selected(side),
                };
                let flow = sync.flow.clone();
                let snapshot = match model.spec.initial {
                    Initial::Both => true,
                    Initial::Left => side == Side::Left,
                    Initial::Right => side == Side::Right,
                    Initial::None => false,
                };
                sources.push((
                    Source {
                        sync: sync.running.index,
                        side,
                        selection,
                        flow,
                    },
                    snapshot,
                ));
            }
        }
    }
    let whole = endpoint
        .plugin
        .manifest()
        .capture
        .as_ref()
        .is_some_and(|capture| capture.cursor == CursorScope::Endpoint);
    let groups: Vec<Vec<(Source, bool)>> = if whole {
        vec![sources]
    } else {
        sources.into_iter().map(|source| vec![source]).collect()
    };
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let (begun, after) = watch::channel(false);
        let object = if whole {
            "*".to_owned()
        } else {
            group[0].0.selection.object.clone()
        };
        for (source, snapshot) in &group {
            if *snapshot {
                let name = format!("{}\0snapshot\0{}", endpoint.name, source.selection.object);
                streams.push(Stream {
                    name,
                    index: streams.len(),
                    endpoint: endpoint.clone(),
                    kind: StreamKind::Snapshot,
                    sources: vec![source.clone()],
                    host: host.clone(),
                    cancel: cancel.clone(),
                    after: Some(after.clone()),
                    begun: None,
                });
            }
        }
        streams.push(Stream {
            name: format!("{}\0changes\0{object}", endpoint.name),
            index: streams.len(),
            endpoint: endpoint.clone(),
            kind: StreamKind::Changes,
            sources: group.into_iter().map(|(source, _)| source).collect(),
            host: host.clone(),
            cancel: cancel.clone(),
            after: None,
            begun: Some(begun),
        });
    }
}
