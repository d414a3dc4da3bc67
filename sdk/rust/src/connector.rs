//! What a connector implements, and what it is asked and answers.
//!
//! The meaning of every call, its order, duplicates and partial failure, stands in `wit/v0.1/connector.wit`.

use serde::de::DeserializeOwned;

use crate::batch::{Batch, BatchBuilder, RowBuilder};
use crate::bindings::connector::exports::tidegate::plugin::connector;
use crate::fault::Fault;
use crate::gateway::Gateway;
use crate::packed::Packed;
use crate::value::DataType;

pub use connector::{
    Advice, Alias, Catalog, ChangeKind, ChangeSet, ChangeStream, Context, Demand, Field, Group,
    Job, ObjectSchema, OperationKind, Operations, Outcome, Page, PrepareMode, Progress, Reference,
    Refusal, RowOutcome, Selection, Step, StreamKind, Written,
};

/// When the source did not say at which moment a change was committed.
pub const COMMITTED_UNKNOWN: i64 = i64::MIN;

/// Knows one vendor or database. Every call gets a fresh instance, so there is no `self`: what must
/// survive goes into cursors, jobs and outcomes. Export it with [`export_connector!`](crate::export_connector).
pub trait Connector {
    /// Describes objects; all their names, without fields, when `objects` is empty.
    fn discover(
        gateway: &dyn Gateway,
        context: &Context,
        objects: Vec<String>,
    ) -> Result<Catalog, Fault>;

    /// How many records each object has, where that is cheap to know; unless implemented, of none.
    fn count(
        _gateway: &dyn Gateway,
        _context: &Context,
        objects: Vec<String>,
    ) -> Result<Vec<Option<u64>>, Fault> {
        Ok(vec![None; objects.len()])
    }

    /// Lists, does or undoes what must exist at the vendor.
    fn prepare(
        gateway: &dyn Gateway,
        context: &Context,
        demands: Vec<Demand>,
        mode: PrepareMode,
    ) -> Result<Vec<Step>, Fault>;

    /// Reads on from each stream; one answer per stream, in order.
    fn pull(
        gateway: &dyn Gateway,
        context: &Context,
        streams: Vec<ChangeStream>,
    ) -> Result<Vec<Result<Page, Fault>>, Fault>;

    /// Reads records as they are now, by id or by the field `by`.
    fn read(
        gateway: &dyn Gateway,
        context: &Context,
        selection: Selection,
        by: Option<String>,
        keys: Packed,
    ) -> Result<ChangeSet, Fault>;

    /// Carries operations out; never waits for a job.
    fn push(
        gateway: &dyn Gateway,
        context: &Context,
        operations: Operations,
    ) -> Result<Progress, Fault>;

    /// Asks for a job that an earlier push or poll answered with.
    fn poll(gateway: &dyn Gateway, context: &Context, job: Vec<u8>) -> Result<Progress, Fault>;
}

impl Context {
    /// The endpoint's config as the author's own type. The host has checked it against the manifest's
    /// schema, so a failure means that schema and type disagree.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.config)
            .map_err(|error| Fault::config("config-unreadable", format!("config: {error}")))
    }
}

impl Field {
    /// A nullable field that may be created and updated and has no bounds; set what differs.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        let name = name.into();
        Self {
            label: name.clone(),
            name,
            data_type,
            nullable: true,
            creatable: true,
            updatable: true,
            required: false,
            upsert_key: false,
            length_max: None,
            precision: None,
            scale: None,
            resolution_us: None,
            choices: Vec::new(),
            references: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Makes a [`ChangeSet`] row by row.
///
/// ```
/// use tidegate_sdk::{ChangeSetBuilder, COMMITTED_UNKNOWN, DataType};
///
/// let mut changes = ChangeSetBuilder::new("people", [("name", DataType::Text)]);
/// changes.upsert("7", "v1", COMMITTED_UNKNOWN).set("name", "Ada")?;
/// changes.delete("8", "", COMMITTED_UNKNOWN);
/// assert_eq!(changes.finish().ids.text(1), "8");
/// # Ok::<(), tidegate_sdk::WrongField>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChangeSetBuilder {
    set: ChangeSet,
    batch: BatchBuilder,
}

impl ChangeSetBuilder {
    /// Changes to one object, with these fields.
    pub fn new<N: Into<String>>(
        object: impl Into<String>,
        columns: impl IntoIterator<Item = (N, DataType)>,
    ) -> Self {
        Self {
            set: ChangeSet::empty(object),
            batch: BatchBuilder::new(columns),
        }
    }

    /// The record as it is now. `version` may be empty; `committed_us` is microseconds since 1970.
    pub fn upsert(&mut self, id: &str, version: &str, committed_us: i64) -> RowBuilder<'_> {
        self.push(ChangeKind::Upsert, id, version, committed_us)
    }

    /// The record is gone.
    pub fn delete(&mut self, id: &str, version: &str, committed_us: i64) {
        self.push(ChangeKind::Delete, id, version, committed_us);
    }

    /// The record may have changed; the host reads it by id.
    pub fn hint(&mut self, id: &str, version: &str, committed_us: i64) {
        self.push(ChangeKind::Hint, id, version, committed_us);
    }

    fn push(
        &mut self,
        kind: ChangeKind,
        id: &str,
        version: &str,
        committed_us: i64,
    ) -> RowBuilder<'_> {
        self.set.ids.push(id);
        self.set.kinds.push(kind as u8);
        self.set.versions.push(version);
        self.set.committed.push(committed_us);
        self.batch.row()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// No changes at all.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The finished set.
    pub fn finish(self) -> ChangeSet {
        ChangeSet {
            batch: self.batch.finish(),
            ..self.set
        }
    }
}

impl ChangeSet {
    /// No changes.
    pub fn empty(object: impl Into<String>) -> Self {
        Self {
            object: object.into(),
            ids: Packed::new(),
            kinds: Vec::new(),
            versions: Packed::new(),
            committed: Vec::new(),
            batch: Batch::empty(),
        }
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// No changes at all.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

impl Group {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// No rows at all.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl Progress {
    /// All is done.
    pub fn done(outcomes: Vec<RowOutcome>) -> Self {
        Self {
            outcomes,
            job: None,
            after: Vec::new(),
        }
    }
}

impl RowOutcome {
    /// The row is written.
    pub fn written(
        token: u64,
        id: impl Into<String>,
        created: bool,
        version: impl Into<String>,
    ) -> Self {
        Self {
            token,
            outcome: Outcome::Written(Written {
                id: id.into(),
                created,
                version: version.into(),
            }),
        }
    }

    /// The vendor rejected the row and executed nothing of it.
    pub fn refused(
        token: u64,
        code: impl Into<String>,
        message: impl Into<String>,
        fields: Vec<String>,
        advice: Advice,
    ) -> Self {
        Self {
            token,
            outcome: Outcome::Refused(Refusal {
                code: code.into(),
                message: message.into(),
                fields,
                advice,
            }),
        }
    }

    /// The row's fate can't be told; say why.
    pub fn unknown(token: u64, why: impl Into<String>) -> Self {
        Self {
            token,
            outcome: Outcome::Unknown(why.into()),
        }
    }
}

/// Makes a component of a type that implements [`Connector`]. Does nothing outside wasm, so that the
/// crate's own tests can be run natively. A vendor that sends events wants
/// [`export_inbound_connector!`](crate::export_inbound_connector) instead.
#[macro_export]
macro_rules! export_connector {
    ($connector:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(
            unsafe_code,
            reason = "the canonical ABI's entry points are raw functions; the SDK writes them"
        )]
        const _: () = {
            struct Component;

            $crate::connector_guest!(Component, $connector);

            $crate::bindings::export_connector_world!(
                Component with_types_in $crate::bindings::connector
            );
        };
    };
}

/// The connector interface of a component, for the macros that export one.
#[doc(hidden)]
#[macro_export]
macro_rules! connector_guest {
    ($component:ident, $connector:ty) => {
        impl $crate::bindings::connector::exports::tidegate::plugin::connector::Guest
            for $component
        {
            fn discover(
                context: $crate::Context,
                objects: Vec<String>,
            ) -> Result<$crate::Catalog, $crate::Fault> {
                <$connector as $crate::Connector>::discover(&$crate::Host, &context, objects)
            }

            fn count(
                context: $crate::Context,
                objects: Vec<String>,
            ) -> Result<Vec<Option<u64>>, $crate::Fault> {
                <$connector as $crate::Connector>::count(&$crate::Host, &context, objects)
            }

            fn prepare(
                context: $crate::Context,
                demands: Vec<$crate::Demand>,
                mode: $crate::PrepareMode,
            ) -> Result<Vec<$crate::Step>, $crate::Fault> {
                <$connector as $crate::Connector>::prepare(&$crate::Host, &context, demands, mode)
            }

            fn pull(
                context: $crate::Context,
                streams: Vec<$crate::ChangeStream>,
            ) -> Result<Vec<Result<$crate::Page, $crate::Fault>>, $crate::Fault> {
                <$connector as $crate::Connector>::pull(&$crate::Host, &context, streams)
            }

            fn read(
                context: $crate::Context,
                selection: $crate::Selection,
                by: Option<String>,
                keys: $crate::Packed,
            ) -> Result<$crate::ChangeSet, $crate::Fault> {
                <$connector as $crate::Connector>::read(
                    &$crate::Host,
                    &context,
                    selection,
                    by,
                    keys,
                )
            }

            fn push(
                context: $crate::Context,
                operations: $crate::Operations,
            ) -> Result<$crate::Progress, $crate::Fault> {
                <$connector as $crate::Connector>::push(&$crate::Host, &context, operations)
            }

            fn poll(
                context: $crate::Context,
                job: Vec<u8>,
            ) -> Result<$crate::Progress, $crate::Fault> {
                <$connector as $crate::Connector>::poll(&$crate::Host, &context, job)
            }
        }
    };
}
