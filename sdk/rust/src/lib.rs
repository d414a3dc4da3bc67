//! What a plugin written in Rust imports.
//!
//! A batch of records enters as columns. [`value`], [`column`] and [`batch`] show it as values and rows,
//! and build new ones, so that an author never sees an offset; [`packed`] does the same for ids and keys.
//! A connector implements [`connector::Connector`] and reaches its vendor through a [`gateway::Gateway`]
//! with what [`request`] makes, and reads what [`response`] holds; one whose vendor sends events implements
//! [`inbound::Inbound`] too; a mapping implements [`mapping::Mapping`].
//! What fails as a whole leaves as a [`fault`]; [`log`] speaks to the operator. [`bindings`] is generated.
//!
//! Absent: clocks, files, sockets, environment, memory between calls. Outside wasm the same code compiles
//! without exports, so that a plugin's logic is tested natively with a fake gateway.

pub mod bindings;

pub mod batch;
pub mod column;
pub mod packed;
pub mod value;

pub mod fault;
pub mod log;

pub mod gateway;
pub mod request;
pub mod response;

pub mod connector;
pub mod inbound;
pub mod mapping;

pub use batch::{Batch, BatchBuilder, Row, RowBuilder, WrongField};
pub use column::{Column, Values, WrongType};
pub use connector::{
    Advice, Alias, COMMITTED_UNKNOWN, Catalog, ChangeKind, ChangeSet, ChangeSetBuilder,
    ChangeStream, Connector, Context, Demand, Field, Group, Job, ObjectSchema, OperationKind,
    Operations, Outcome, Page, PrepareMode, Progress, Reference, Refusal, RowOutcome, Selection,
    Step, StreamKind, Written,
};
pub use fault::{Executed, Fault, FaultKind};
#[cfg(target_arch = "wasm32")]
pub use gateway::Host;
pub use gateway::{Gateway, fetch, write};
pub use inbound::{Acknowledgement, EventRequest, Inbound, Received};
pub use log::Level;
pub use mapping::{Direction, FieldType, Mapped, Mapping, MappingContext, RowError, Rule};
pub use packed::Packed;
pub use request::{Feed, Header, Http, HttpMethod, Request, Sql, segment};
pub use response::{Answer, HttpResponse, Response, SqlResponse};
pub use value::{DataType, Value};
