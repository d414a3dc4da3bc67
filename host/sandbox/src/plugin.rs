//! A loaded plugin, and its functions.
//!
//! Every answer that leaves here has been held against the interface's contract.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::batch::{Batch, Packed};
use tidegate_core::manifest::Manifest;
use tidegate_core::plugin::{
    Catalog, ChangeSet, ChangeStream, ConnectorContext, Demand, Direction, EventRequest, Fault,
    Mapped, MappingContext, Operations, Page, PrepareMode, Progress, Received, Rule, Selection,
    Step,
};
use tidegate_gateway::{Call, Outside};
use tokio::sync::Semaphore;
use wasmtime::component::InstancePre;

use crate::bindings::{connecting, mapping_exports, receiving};
use crate::call::{CallError, Session};
use crate::conduct::{Conduct, Watch};
use crate::contract::{self, Trail};
use crate::convert::Convert;
use crate::engine::Sandbox;
use crate::guest::{Door, Guest};
use crate::limits::Limits;

/// The functions that a component exports, found once.
pub(crate) enum Exports {
    Connector {
        connector: connecting::GuestIndices,
        inbound: Option<receiving::GuestIndices>,
    },
    Mapping(mapping_exports::GuestIndices),
}

/// A checked, compiled and linked component. Each call gets an instance of its own, so calls may run at the same
/// time and know nothing of each other; what exceeds `calls-max` waits.
pub struct Plugin {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) manifest: Manifest,
    pub(crate) name: Arc<str>,
    pub(crate) hash: String,
    pub(crate) limits: Arc<Limits>,
    pub(crate) calls: Semaphore,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) exports: Exports,
    /// Where each stream's cursor has lately been.
    pub(crate) trails: Mutex<HashMap<contract::StreamKey, Trail>>,
    pub(crate) watch: Watch,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let section = &self.manifest.plugin;
        write!(
            f,
            "Plugin({} {}, {})",
            section.name, section.version, self.hash
        )
    }
}

/// Calls one exported function of the connector interface in a fresh instance.
macro_rules! connector_call {
    ($plugin:expr, $name:literal, $outside:expr, $call:expr, $ctx:expr, |$guest:ident, $store:ident, $context:ident| $body:expr) => {{
        let Exports::Connector { connector, .. } = &$plugin.exports else {
            return Err(CallError::not_exported("connector", $name));
        };
        let call = Call {
            function: $name,
            ..$call
        };
        let door = Some(Door {
            outside: $outside,
            call,
        });
        let $context: connecting::Context = $ctx.clone().convert();
        let called = async move |mut session: Session| {
            let result = async {
                let $guest = connector.load(&mut session.store, &session.instance)?;
                let $store = &mut session.store;
                $body.await
            }
            .await;
            (session, result)
        };
        $plugin.run($name, door, $ctx.now, called).await?.convert()
    }};
}

/// Calls one exported function of the mapping interface in a fresh instance.
macro_rules! mapping_call {
    ($plugin:expr, $name:literal, $ctx:expr, |$guest:ident, $store:ident, $context:ident| $body:expr) => {{
        let Exports::Mapping(mapping) = &$plugin.exports else {
            return Err(CallError::not_exported("mapping", $name));
        };
        let $context: mapping_exports::Context = $ctx.clone().convert();
        let called = async move |mut session: Session| {
            let result = async {
                let $guest = mapping.load(&mut session.store, &session.instance)?;
                let $store = &mut session.store;
                $body.await
            }
            .await;
            (session, result)
        };
        $plugin.run($name, None, 0, called).await?.convert()
    }};
}

impl Plugin {
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the component file, in hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether it takes events from its vendor.
    pub fn has_inbound(&self) -> bool {
        matches!(
            &self.exports,
            Exports::Connector {
                inbound: Some(_),
                ..
            }
        )
    }

    pub async fn discover(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        objects: Vec<String>,
    ) -> Result<Catalog, CallError> {
        self.watched(async {
            let asked = objects.clone();
            let answer: Result<Catalog, Fault> = connector_call!(
                self,
                "discover",
                outside,
                call,
                ctx,
                |guest, store, context| guest.call_discover(store, &context, &objects)
            );
            let catalog = answer?;
            contract::catalog(&asked, &catalog)?;
            Ok(catalog)
        })
        .await
    }

    /// How many records each of these objects has; `None` where that is not cheap to know.
    pub async fn count(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        objects: Vec<String>,
    ) -> Result<Vec<Option<u64>>, CallError> {
        self.watched(async {
            let asked = objects.len();
            let answer: Result<Vec<Option<u64>>, Fault> = connector_call!(
                self,
                "count",
                outside,
                call,
                ctx,
                |guest, store, context| guest.call_count(store, &context, &objects)
            );
            let counts = answer?;
            contract::counts(asked, &counts)?;
            Ok(counts)
        })
        .await
    }

    pub async fn prepare(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        demands: Vec<Demand>,
        mode: PrepareMode,
    ) -> Result<Vec<Step>, CallError> {
        self.watched(async {
            let demands: Vec<connecting::Demand> = demands.convert();
            let answer: Result<Vec<Step>, Fault> = connector_call!(
                self,
                "prepare",
                outside,
                call,
                ctx,
                |guest, store, context| guest.call_prepare(
                    store,
                    &context,
                    &demands,
                    mode.convert()
                )
            );
            let steps = answer?;
            contract::steps(&steps)?;
            Ok(steps)
        })
        .await
    }

    /// One answer per stream, in order.
    pub async fn pull(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        streams: Vec<ChangeStream>,
    ) -> Result<Vec<Result<Page, Fault>>, CallError> {
        self.watched(async {
            let asked = streams.clone();
            let endpoint: Arc<str> = outside.endpoint().into();
            let streams: Vec<connecting::ChangeStream> = streams.convert();
            let answer: Result<Vec<Result<Page, Fault>>, Fault> =
                connector_call!(self, "pull", outside, call, ctx, |guest, store, context| {
                    guest.call_pull(store, &context, &streams)
                });
            let pages = answer?;
            contract::pages(&asked, &pages, self.rows_max(ctx.rows_max))?;
            self.follow(&endpoint, &asked, &pages)?;
            Ok(pages)
        })
        .await
    }

    /// Notices a cursor that goes back to where it has been.
    fn follow(
        &self,
        endpoint: &Arc<str>,
        streams: &[ChangeStream],
        pages: &[Result<Page, Fault>],
    ) -> Result<(), CallError> {
        let mut trails = self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        for (stream, page) in streams.iter().zip(pages) {
            if let Ok(page) = page {
                let key = contract::stream_key(endpoint, stream);
                trails.entry(key).or_default().advance(stream, page)?;
            }
        }
        Ok(())
    }

    pub async fn read(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        selection: Selection,
        by: Option<String>,
        keys: Packed,
    ) -> Result<ChangeSet, CallError> {
        self.watched(async {
            let asked = contract::Asked {
                selection: selection.clone(),
                by: by.clone(),
                keys: keys.clone(),
            };
            let (selection, keys): (connecting::Selection, _) =
                (selection.convert(), keys.convert());
            let answer: Result<ChangeSet, Fault> =
                connector_call!(self, "read", outside, call, ctx, |guest, store, context| {
                    guest.call_read(store, &context, &selection, by.as_deref(), &keys)
                });
            let found = answer?;
            contract::found(&asked, &found, self.rows_max(ctx.rows_max))?;
            Ok(found)
        })
        .await
    }

    pub async fn push(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        operations: Operations,
    ) -> Result<Progress, CallError> {
        self.watched(async {
            let sent = contract::Sent::from(&operations);
            let operations: connecting::Operations = operations.convert();
            let answer: Result<Progress, Fault> =
                connector_call!(self, "push", outside, call, ctx, |guest, store, context| {
                    guest.call_push(store, &context, &operations)
                });
            let progress = answer?;
            contract::progress(&sent, &progress, self.rows_max(ctx.rows_max))?;
            Ok(progress)
        })
        .await
    }

    /// Asks for a job. `call.tokens` are the rows of its push that have no outcome yet.
    pub async fn poll(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        job: Vec<u8>,
    ) -> Result<Progress, CallError> {
        self.watched(async {
            let sent = contract::Sent::pending(&call.tokens);
            let answer: Result<Progress, Fault> =
                connector_call!(self, "poll", outside, call, ctx, |guest, store, context| {
                    guest.call_poll(store, &context, &job)
                });
            let mut progress = answer?;
            sent.keep_pending(&mut progress.outcomes);
            contract::progress(&sent, &progress, self.rows_max(ctx.rows_max))?;
            Ok(progress)
        })
        .await
    }

    /// Understands one delivery from the vendor, whose signature has been checked.
    pub async fn receive(
        &self,
        outside: Arc<dyn Outside>,
        call: Call,
        ctx: &ConnectorContext,
        request: EventRequest,
    ) -> Result<Received, CallError> {
        self.watched(async {
            let Exports::Connector {
                inbound: Some(inbound),
                ..
            } = &self.exports
            else {
                return Err(CallError::not_exported("inbound", "receive"));
            };
            let call = Call {
                function: "receive",
                ..call
            };
            let context: connecting::Context = ctx.clone().convert();
            let request: receiving::EventRequest = request.convert();
            let called = async move |mut session: Session| {
                let result = async {
                    let guest = inbound.load(&mut session.store, &session.instance)?;
                    guest
                        .call_receive(&mut session.store, &context, &request)
                        .await
                }
                .await;
                (session, result)
            };
            let answer: Result<Received, Fault> = self
                .run("receive", Some(Door { outside, call }), ctx.now, called)
                .await?
                .convert();
            let received = answer?;
            contract::received(&received, self.rows_max(ctx.rows_max))?;
            Ok(received)
        })
        .await
    }

    /// Starts an instance and lets it go: what every call costs at least.
    pub async fn instantiate(&self) -> Result<(), CallError> {
        let idle = async |session: Session| (session, Ok(()));
        self.run("instantiate", None, 0, idle).await
    }

    pub async fn describe(&self, ctx: &MappingContext) -> Result<Vec<Rule>, CallError> {
        self.watched(async {
            let answer: Result<Vec<Rule>, Fault> =
                mapping_call!(self, "describe", ctx, |guest, store, context| guest
                    .call_describe(store, &context));
            let rules = answer?;
            contract::rules(&rules)?;
            Ok(rules)
        })
        .await
    }

    pub async fn map_batch(
        &self,
        ctx: &MappingContext,
        direction: Direction,
        batch: Batch,
    ) -> Result<Mapped, CallError> {
        self.watched(async {
            let rows = batch.rows;
            let batch: crate::bindings::records::Batch = batch.convert();
            let answer: Result<Mapped, Fault> =
                mapping_call!(self, "map-batch", ctx, |guest, store, context| guest
                    .call_map_batch(store, &context, direction.convert(), &batch));
            let mapped = answer?;
            contract::mapped(rows, &mapped)?;
            Ok(mapped)
        })
        .await
    }

    /// How its calls have ended since it was loaded.
    pub fn conduct(&self) -> Conduct {
        self.watch.seen()
    }

    async fn watched<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let ended = call.await;
        self.watch.note(&ended);
        ended
    }

    /// The smaller of what the caller can take and what the operator allows.
    fn rows_max(&self, asked: u32) -> contract::RowsMax {
        contract::RowsMax {
            asked: u64::from(asked),
            limit: self.limits.output_rows_max,
        }
    }
}
