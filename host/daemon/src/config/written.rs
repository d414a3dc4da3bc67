//! The file as written: everything may be absent, nothing is checked against anything else.

use std::collections::BTreeMap;

use tidegate_core::manifest::AuthScheme;
use tidegate_core::pace::{Lane, Purpose};
use tidegate_core::sync::{ConflictPolicy, DeletePolicy, Initial};
use tidegate_sandbox::Limits;
use tidegate_store::EngineKind;

use super::actions::WrittenAction;
use super::hook::WrittenAlerts;
use super::lanes::WrittenLaneRule;
use super::meant::LogFormat;
use super::pairs::WrittenPairRule;
use super::references::WrittenReference;
use super::secret::SecretRef;

#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) host: WrittenHost,
    pub(super) alerts: Option<WrittenAlerts>,
    pub(super) metrics: Option<WrittenMetrics>,
    pub(super) cache: WrittenCache,
    pub(super) plugins: BTreeMap<String, WrittenPlugin>,
    pub(super) endpoints: BTreeMap<String, WrittenEndpoint>,
    pub(super) syncs: BTreeMap<String, WrittenSync>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenHost {
    pub(super) data: Option<String>,
    pub(super) engine: Option<EngineKind>,
    pub(super) cache_bytes_max: Option<u64>,
    pub(super) log: Option<String>,
    pub(super) log_format: Option<LogFormat>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenMetrics {
    pub(super) listen: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenCache {
    pub(super) memory_bytes_max: Option<u64>,
    pub(super) store_bytes_max: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenPlugin {
    pub(super) file: Option<String>,
    pub(super) limits: Option<Limits>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenEndpoint {
    pub(super) plugin: Option<String>,
    pub(super) origins: BTreeMap<String, String>,
    pub(super) allow: Vec<(String, String)>,
    pub(super) auth: Option<WrittenAuth>,
    pub(super) accounts: BTreeMap<String, WrittenAccount>,
    pub(super) config: Option<serde_json::Value>,
    pub(super) interval_ms: Option<u64>,
    pub(super) pools: BTreeMap<String, WrittenPool>,
}

/// One more credential of an endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenAccount {
    pub(super) auth: WrittenAuth,
    pub(super) only: Option<Purpose>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenAuth {
    pub(super) scheme: Option<AuthScheme>,
    pub(super) client_id: Option<SecretRef>,
    pub(super) client_secret: Option<SecretRef>,
    pub(super) scope: Option<String>,
    pub(super) refresh_token: Option<SecretRef>,
    pub(super) token: Option<SecretRef>,
    pub(super) header: Option<String>,
    pub(super) key: Option<SecretRef>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenPool {
    pub(super) limit: Option<u64>,
    pub(super) share: Option<f64>,
    pub(super) reserve: Option<WrittenReserve>,
}

/// The part of a pool that each lane leaves for those above it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WrittenReserve {
    pub(super) normal: Option<f64>,
    pub(super) backfill: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenSync {
    pub(super) left: Option<WrittenSide>,
    pub(super) right: Option<WrittenSide>,
    pub(super) lane: Option<Lane>,
    pub(super) lanes: Vec<WrittenLaneRule>,
    pub(super) weight: Option<u64>,
    pub(super) linger_ms: Option<u64>,
    pub(super) conflict: Option<ConflictPolicy>,
    pub(super) field_conflicts: BTreeMap<String, ConflictPolicy>,
    pub(super) references: Vec<WrittenReference>,
    pub(super) pairs: Vec<WrittenPairRule>,
    pub(super) actions: Vec<WrittenAction>,
    pub(super) brake: Option<WrittenBrake>,
    pub(super) initial: Option<Initial>,
    pub(super) queue_max: Option<u64>,
    pub(super) mapping: Option<WrittenMapping>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenSide {
    pub(super) endpoint: Option<String>,
    pub(super) object: Option<String>,
    pub(super) key: Option<String>,
    pub(super) deletes: Option<DeletePolicy>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenBrake {
    pub(super) share: Option<f64>,
    pub(super) window_ms: Option<u64>,
    pub(super) least: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenMapping {
    pub(super) plugin: Option<String>,
    pub(super) config: Option<serde_json::Value>,
}
