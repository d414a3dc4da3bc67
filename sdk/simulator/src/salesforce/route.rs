//! Which resource a call means, and which room answers it.

use super::answer::{Answer, ApiError};
use super::bulk::{self, QueryResource, Resource};
use super::call::Call;
use super::faults::Fault;
use super::org::Org;
use super::transaction::Began;
use super::{collections, composite, describe, feeds, graph, query, rows, soap, tree};

/// The oldest version still served, and the newest.
const VERSIONS: std::ops::RangeInclusive<u32> = 31..=66;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Resources,
    Limits,
    RecordCount,
    Objects,
    Object(String),
    Describe(String),
    Updated(String),
    Deleted(String),
    Create(String),
    Row(String, String),
    External(String, String, String),
    Query {
        deleted_too: bool,
    },
    Page(String),
    Collections,
    CollectionsOf(String),
    CollectionsUpsert(String, String),
    Composite,
    Batch,
    Graph,
    Tree(String),
    Ingest(Resource),
    QueryJobs(QueryResource),
    /// The name under which the meter counts it.
    Soap(&'static str),
}

impl Target {
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        check_version(&call.version)?;
        if let Some(envelope) = &call.soap {
            return Ok(Self::Soap(soap::kind(&envelope.operation.name)));
        }
        let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
        let owned = str::to_owned;
        Ok(match segments.as_slice() {
            [] => Self::Resources,
            ["limits"] => Self::Limits,
            ["limits", "recordCount"] => Self::RecordCount,
            ["sobjects"] => Self::Objects,
            ["sobjects", object] if call.method == "POST" => Self::Create(owned(object)),
            ["sobjects", object] => Self::Object(owned(object)),
            ["sobjects", object, "describe"] => Self::Describe(owned(object)),
            ["sobjects", object, "updated"] => Self::Updated(owned(object)),
            ["sobjects", object, "deleted"] => Self::Deleted(owned(object)),
            ["sobjects", object, id] => Self::Row(owned(object), owned(id)),
            ["sobjects", object, field, value] => {
                Self::External(owned(object), owned(field), owned(value))
            }
            ["query"] => Self::Query { deleted_too: false },
            ["queryAll"] => Self::Query { deleted_too: true },
            ["query" | "queryAll", locator] => Self::Page(owned(locator)),
            ["composite"] => Self::Composite,
            ["composite", "batch"] => Self::Batch,
            ["composite", "graph"] => Self::Graph,
            ["composite", "tree", object] => Self::Tree(owned(object)),
            ["composite", "sobjects"] => Self::Collections,
            ["composite", "sobjects", object] => Self::CollectionsOf(owned(object)),
            ["composite", "sobjects", object, field] => {
                Self::CollectionsUpsert(owned(object), owned(field))
            }
            ["jobs", "ingest", rest @ ..] => {
                Self::Ingest(Resource::of(rest).ok_or_else(ApiError::missing)?)
            }
            ["jobs", "query", rest @ ..] => {
                Self::QueryJobs(QueryResource::of(rest).ok_or_else(ApiError::missing)?)
            }
            _ => return Err(ApiError::missing()),
        })
    }

    /// The fault that loses the answer of this very kind of call.
    pub(crate) fn own_fault(&self, method: &str) -> Option<Fault> {
        match self {
            Self::Ingest(resource) => resource.step(method).1,
            Self::QueryJobs(resource) => resource.step(method).1,
            _ => None,
        }
    }

    /// The name under which the meter counts it.
    pub(crate) fn kind(&self, method: &str) -> &'static str {
        match (self, method) {
            (Self::Resources, _) => "resources",
            (Self::Limits, _) => "limits",
            (Self::RecordCount, _) => "record-count",
            (Self::Objects, _) => "sobjects",
            (Self::Object(_), _) => "sobject",
            (Self::Describe(_), _) => "describe",
            (Self::Updated(_), _) => "updated",
            (Self::Deleted(_), _) => "deleted",
            (Self::Create(_), _) => "create",
            (Self::Row(..), "PATCH") => "update",
            (Self::Row(..), "DELETE") | (Self::External(..), "DELETE") => "delete",
            (Self::Row(..) | Self::External(..), "GET" | "HEAD") => "get",
            (Self::Row(..), _) => "row",
            (Self::External(..), _) => "upsert",
            (Self::Query { .. }, _) => "query",
            (Self::Page(_), _) => "query-page",
            (Self::Collections, "POST") => "collections-create",
            (Self::Collections, "PATCH") => "collections-update",
            (Self::Collections, "DELETE") => "collections-delete",
            (Self::Collections | Self::CollectionsOf(_), _) => "collections-retrieve",
            (Self::CollectionsUpsert(..), _) => "collections-upsert",
            (Self::Composite, _) => "composite",
            (Self::Batch, _) => "batch",
            (Self::Graph, _) => "graph",
            (Self::Tree(_), _) => "tree",
            (Self::Ingest(resource), method) => resource.step(method).0,
            (Self::QueryJobs(resource), method) => resource.step(method).0,
            (Self::Soap(kind), _) => kind,
        }
    }

    pub(crate) fn is_query(&self) -> bool {
        matches!(self, Self::Query { .. } | Self::Page(_))
    }

    pub(crate) fn is_collections(&self) -> bool {
        matches!(
            self,
            Self::Collections | Self::CollectionsOf(_) | Self::CollectionsUpsert(..)
        )
    }
}

/// Whether there is this version of the API, as in `60.0`.
pub(crate) fn serves(version: &str) -> bool {
    check_version(&format!("v{version}")).is_ok()
}

fn check_version(version: &str) -> Result<(), ApiError> {
    let number = version
        .strip_prefix('v')
        .and_then(|number| number.strip_suffix(".0"))
        .and_then(|number| number.parse::<u32>().ok())
        .ok_or_else(ApiError::missing)?;
    if number < *VERSIONS.start() {
        let message = format!("The requested API version {number}.0 has been retired");
        return Err(ApiError::new(410, "GONE", message));
    }
    if number > *VERSIONS.end() {
        return Err(ApiError::missing());
    }
    Ok(())
}

/// The list at `/services/data`, which needs no session and counts as no call.
pub(crate) fn versions() -> Answer {
    let versions: Vec<_> = VERSIONS
        .map(|number| {
            serde_json::json!({
                "label": format!("Release {number}"),
                "url": format!("/services/data/v{number}.0"),
                "version": format!("{number}.0"),
            })
        })
        .collect();
    Answer::json(200, versions.into())
}

/// Whether the call may change records: only such calls are stamped, delayed and repeated.
pub(crate) fn writes(target: &Target, call: &Call) -> bool {
    let method = call.method.as_str();
    match target {
        Target::Composite | Target::Batch => composite::writes(call),
        Target::Graph | Target::Tree(_) | Target::Soap(_) | Target::Create(_) => true,
        Target::Row(..) | Target::External(..) => method != "GET" && method != "HEAD",
        Target::Collections => method != "GET",
        Target::CollectionsUpsert(..) => true,
        Target::Ingest(_) | Target::QueryJobs(_) => method != "GET",
        _ => false,
    }
}

/// Executes the call, now.
pub(crate) fn answer(
    org: &mut Org,
    call: &Call,
    target: &Target,
    began: &Began,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    let read_only = |found: Result<Answer, ApiError>| {
        if call.method == "GET" || call.method == "HEAD" {
            found
        } else {
            Err(ApiError::method_not_allowed())
        }
    };
    match target {
        Target::Resources => read_only(Ok(describe::resources(call))),
        Target::Limits => read_only(Ok(describe::limits(org, now_ms))),
        Target::RecordCount => read_only(describe::record_count(org, call)),
        Target::Objects => read_only(Ok(describe::objects(org, call))),
        Target::Object(object) => read_only(describe::object(org, call, object)),
        Target::Describe(object) => read_only(describe::describe(org, call, object)),
        Target::Updated(object) => read_only(feeds::updated(org, call, object, now_ms)),
        Target::Deleted(object) => read_only(feeds::deleted(org, call, object, now_ms)),
        Target::Create(object) => rows::create(org, call, began, object),
        Target::Row(object, id) => rows::row(org, call, began, object, id),
        Target::External(object, field, value) => {
            rows::external(org, call, began, (object, field, value))
        }
        Target::Query { deleted_too } => read_only(query::query(org, call, *deleted_too, now_ms)),
        Target::Page(locator) => read_only(query::page(org, call, locator, now_ms)),
        Target::Collections => collections::collections(org, call, began),
        Target::CollectionsOf(object) => collections::retrieve(org, call, object),
        Target::CollectionsUpsert(object, field) => {
            collections::upsert(org, call, began, object, field)
        }
        Target::Composite => composite::composite(org, call, began, now_ms),
        Target::Batch => composite::batch(org, call, began, now_ms),
        Target::Graph => graph::graph(org, call, began, now_ms),
        Target::Tree(object) => tree::tree(org, call, began, object),
        Target::Ingest(resource) => bulk::ingest(org, call, resource, began, now_ms),
        Target::QueryJobs(resource) => bulk::query(org, call, resource, now_ms),
        Target::Soap(_) => match &call.soap {
            Some(envelope) => soap::answer(org, envelope, began, now_ms),
            None => Err(ApiError::missing()),
        },
    }
}
