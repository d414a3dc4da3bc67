//! Between the plugin interface's types and the host's own; nothing else depends on the WIT version.
//!
//! Columns move, they are not copied: both sides keep them in the same layout.

use tidegate_core::batch::{Batch, Column, DataType, Packed, Values};
use tidegate_core::plugin as core;

use crate::bindings::{
    connecting as c, faults as f, gateway as g, mapping_exports as m, receiving as r, records as w,
};

/// Turns a value of the interface into the host's, or back.
pub(crate) trait Convert<T> {
    fn convert(self) -> T;
}

impl<A: Convert<B>, B> Convert<Vec<B>> for Vec<A> {
    fn convert(self) -> Vec<B> {
        self.into_iter().map(Convert::convert).collect()
    }
}

impl<A: Convert<B>, B> Convert<Option<B>> for Option<A> {
    fn convert(self) -> Option<B> {
        self.map(Convert::convert)
    }
}

impl<A: Convert<B>, B, E: Convert<F>, F> Convert<Result<B, F>> for Result<A, E> {
    fn convert(self) -> Result<B, F> {
        match self {
            Ok(value) => Ok(value.convert()),
            Err(error) => Err(error.convert()),
        }
    }
}

/// Records whose fields have the same names on both sides: those before `;` are taken as they are, those after
/// it are converted.
macro_rules! record {
    ($from:ty => $to:path { $($same:ident),* ; $($converted:ident),* }) => {
        impl Convert<$to> for $from {
            fn convert(self) -> $to {
                $to {
                    $($same: self.$same,)*
                    $($converted: self.$converted.convert(),)*
                }
            }
        }
    };
}

/// Enums with the same cases on both sides.
macro_rules! cases {
    ($from:ty => $to:ty { $($case:ident),* }) => {
        impl Convert<$to> for $from {
            fn convert(self) -> $to {
                type From = $from;
                type To = $to;
                match self {
                    $(From::$case => To::$case,)*
                }
            }
        }
    };
}

/// Variants with the same cases on both sides, each with a payload that is converted.
macro_rules! variants {
    ($from:ty => $to:ty { $($case:ident),* }) => {
        impl Convert<$to> for $from {
            fn convert(self) -> $to {
                type From = $from;
                type To = $to;
                match self {
                    $(From::$case(value) => To::$case(value.convert()),)*
                }
            }
        }
    };
}

macro_rules! itself {
    ($($kind:ty),*) => { $(impl Convert<$kind> for $kind {
        fn convert(self) -> $kind { self }
    })* };
}

itself!(Vec<u8>, Vec<i64>, Vec<i32>, Vec<f64>, String, u64);

// ---- records -------------------------------------------------------------------------------

record!(w::Packed => Packed { bytes, ends; });
record!(Packed => w::Packed { bytes, ends; });
cases!(w::DataType => DataType { Boolean, Integer, Float, Decimal, Text, Timestamp, Date, Bytes, Json });
cases!(DataType => w::DataType { Boolean, Integer, Float, Decimal, Text, Timestamp, Date, Bytes, Json });
variants!(w::Values => Values { Boolean, Integer, Float, Decimal, Text, Timestamp, Date, Bytes, Json });
variants!(Values => w::Values { Boolean, Integer, Float, Decimal, Text, Timestamp, Date, Bytes, Json });
record!(w::Column => Column { name, states; values });
record!(Column => w::Column { name, states; values });

impl Convert<Batch> for w::Batch {
    fn convert(self) -> Batch {
        Batch {
            rows: self.rows as usize,
            columns: self.columns.convert(),
        }
    }
}

impl Convert<w::Batch> for Batch {
    fn convert(self) -> w::Batch {
        w::Batch {
            // A batch of more rows could not be laid out: `ends` are 32 bits wide too.
            rows: u32::try_from(self.rows).unwrap_or(u32::MAX),
            columns: self.columns.convert(),
        }
    }
}

// ---- faults --------------------------------------------------------------------------------

cases!(f::FaultKind => core::FaultKind { Config, Auth, Missing, Refused, Throttled, Transient, Broken });
cases!(core::FaultKind => f::FaultKind { Config, Auth, Missing, Refused, Throttled, Transient, Broken });
cases!(f::Executed => core::Executed { No, Unknown });
cases!(core::Executed => f::Executed { No, Unknown });
record!(f::Fault => core::Fault { code, message, retry_after_ms; kind, executed });
record!(core::Fault => f::Fault { code, message, retry_after_ms; kind, executed });

// ---- gateway -------------------------------------------------------------------------------

record!(g::Header => core::Header { name, value; });
record!(core::Header => g::Header { name, value; });
cases!(g::HttpMethod => core::HttpMethod { Get, Post, Put, Patch, Delete });
record!(g::HttpRequest => core::HttpRequest { path, query, body, origin; method, headers });
record!(g::SqlRequest => core::SqlRequest { statement, transaction, rows_max; parameters, result_types });
record!(g::FeedRequest => core::FeedRequest { feed, position, changes_max, wait_ms; });
variants!(g::Operation => core::Operation { Http, Sql, Feed });
record!(g::Freshness => core::Freshness { age_ms_max, tags; });
record!(g::Request => core::Request { costs, rows, idempotent; operation, freshness });
record!(core::HttpResponse => g::HttpResponse { status, body; headers });
record!(core::SqlResponse => g::SqlResponse { affected, truncated; rows });

impl Convert<g::FeedChanges> for core::FeedChanges {
    fn convert(self) -> g::FeedChanges {
        g::FeedChanges {
            table: self.table,
            kinds: self.kinds,
            committed: self.committed,
            rows: self.rows.convert(),
        }
    }
}

record!(core::FeedResponse => g::FeedResponse { position, interrupted; changes });
variants!(core::Answer => g::Answer { Http, Sql, Feed });
record!(core::Response => g::Response { age_ms, stale; answer });

// ---- connector -----------------------------------------------------------------------------

record!(core::ConnectorContext => c::Context { config, now, rows_max; });
record!(c::Field => core::Field {
    name, label, nullable, creatable, updatable, required, upsert_key, length_max, precision, scale,
    resolution_us, choices, references, notes; data_type
});
record!(c::ObjectSchema => core::ObjectSchema {
    name, label, id_fields, readable, writable, reports_deletes; fields
});
record!(c::Catalog => core::Catalog { identity; objects });
record!(core::Demand => c::Demand { object, fields, captured, written; });
cases!(core::PrepareMode => c::PrepareMode { Plan, Apply, Remove });
record!(c::Step => core::Step { id, description, done; });
record!(core::Selection => c::Selection { object, fields; });
cases!(core::StreamKind => c::StreamKind { Changes, Snapshot });
record!(core::ChangeStream => c::ChangeStream { cursor, rows_max; kind, selections });
record!(c::ChangeSet => core::ChangeSet { object, kinds, committed; ids, versions, batch });
record!(c::Alias => core::Alias { object, old, new; });
record!(c::Page => core::Page { cursor, more, wait_ms, gap; changes, aliases });
cases!(core::OperationKind => c::OperationKind { Create, Update, Upsert, Delete, Merge, Restore, Convert });
record!(core::Group => c::Group { object, key, tokens; operation, ids, into, versions, batch });
record!(core::Reference => c::Reference { token, field, target; });
record!(core::Operations => c::Operations { method; groups, references });
record!(c::Written => core::Written { id, created, version; });
cases!(c::Advice => core::Advice { Park, Retry, Gone, Adopt, Changed });
record!(c::Refusal => core::Refusal { code, message, fields; advice });
variants!(c::Outcome => core::Outcome { Written, Refused, Unknown });
record!(c::RowOutcome => core::RowOutcome { token; outcome });
record!(c::Job => core::Job { state, wait_ms; });
record!(c::Progress => core::Progress { ; outcomes, job, after });

// ---- inbound -------------------------------------------------------------------------------

record!(core::EventRequest => r::EventRequest { path, query, body; headers });
record!(r::Acknowledgement => core::Acknowledgement { status, body; headers });
record!(r::Received => core::Received { deliveries, gap; changes, aliases, acknowledgement });

// ---- mapping -------------------------------------------------------------------------------

cases!(core::Direction => m::Direction { LeftToRight, RightToLeft });
cases!(m::Direction => core::Direction { LeftToRight, RightToLeft });
record!(core::FieldType => m::FieldType { name, nullable, length_max, scale; data_type });
record!(core::MappingContext => m::Context { config; left, right });
record!(m::Rule => core::Rule { inputs, outputs; direction });
record!(m::RowError => core::RowError { row, field, rule, code, message; });
record!(m::Mapped => core::Mapped { ; batch, errors });
