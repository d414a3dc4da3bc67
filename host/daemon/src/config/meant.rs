//! The config as meant: checked, with every default filled in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_core::manifest::AuthScheme;
use tidegate_core::pace::{PoolOverride, Purpose};
use tidegate_core::sync::SyncSpec;
use tidegate_gateway::{Bounds, Origin, Secret};
use tidegate_sandbox::Limits;
use tidegate_store::EngineKind;

use url::Url;

use super::secret::SecretRef;

#[derive(Clone, Debug)]
pub struct Config {
    /// Where the file lies; relative paths have been resolved against it.
    pub folder: PathBuf,
    pub host: Host,
    pub alerts: Option<AlertHook>,
    /// Where figures are shown to collectors: a loopback address.
    pub metrics: Option<SocketAddr>,
    /// What is kept of the vendors' answers, at most.
    pub cache: Bounds,
    pub plugins: BTreeMap<Arc<str>, PluginSource>,
    pub endpoints: BTreeMap<Arc<str>, Endpoint>,
    pub syncs: BTreeMap<Arc<str>, Sync>,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub data: PathBuf,
    pub engine: EngineKind,
    pub cache_bytes_max: u64,
    /// A filter such as `info` or `warn,tidegate=debug`.
    pub log: String,
    pub log_format: LogFormat,
}

/// Where alerts go, and what they are signed with.
#[derive(Clone, Debug)]
pub struct AlertHook {
    pub url: Url,
    pub secret: SecretRef,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub struct PluginSource {
    pub file: PathBuf,
    pub limits: Limits,
}

#[derive(Clone, Debug)]
pub struct Endpoint {
    pub plugin: Arc<str>,
    /// By the names that the plugin's manifest gives them.
    pub origins: BTreeMap<String, Origin>,
    /// Addresses inside the operator's own network that the egress rules would refuse.
    pub allow: Vec<SocketAddr>,
    pub auth: Auth,
    /// More credentials, by names of the operator's choosing.
    pub accounts: BTreeMap<Arc<str>, Account>,
    /// Handed to the plugin as JSON text; an object.
    pub config: serde_json::Value,
    /// Pause between looks for changes; the manifest's when absent.
    pub interval_ms: Option<u64>,
    pub pools: BTreeMap<String, PoolOverride>,
}

/// One more credential of an endpoint.
#[derive(Clone, Debug)]
pub struct Account {
    pub auth: Auth,
    /// What it is kept for; `None` for both.
    pub only: Option<Purpose>,
}

/// All credentials of an endpoint, with their secrets fetched.
#[derive(Clone, Debug)]
pub struct Granted {
    pub own: Credentials,
    pub accounts: BTreeMap<Arc<str>, Credentials>,
}

/// How an endpoint authenticates. `S` is where each secret is kept, or the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth<S = SecretRef> {
    None,
    ClientCredentials {
        client_id: S,
        client_secret: S,
        scope: Option<String>,
    },
    RefreshToken {
        client_id: S,
        client_secret: S,
        refresh_token: S,
    },
    Bearer {
        token: S,
    },
    ApiKeyHeader {
        header: String,
        key: S,
    },
}

/// [`Auth`] with its secrets fetched.
pub type Credentials = Auth<Secret>;

impl<S> Auth<S> {
    pub fn scheme(&self) -> AuthScheme {
        match self {
            Self::None => AuthScheme::None,
            Self::ClientCredentials { .. } => AuthScheme::Oauth2ClientCredentials,
            Self::RefreshToken { .. } => AuthScheme::Oauth2RefreshToken,
            Self::Bearer { .. } => AuthScheme::Bearer,
            Self::ApiKeyHeader { .. } => AuthScheme::ApiKeyHeader,
        }
    }

    /// The same with every secret changed by `change`, which is told the secret's key; `None` when it fails for any,
    /// after all of them were tried.
    pub fn try_map<T>(self, mut change: impl FnMut(&str, S) -> Option<T>) -> Option<Auth<T>> {
        Some(match self {
            Self::None => Auth::None,
            Self::ClientCredentials {
                client_id,
                client_secret,
                scope,
            } => {
                let id = change("client-id", client_id);
                let secret = change("client-secret", client_secret);
                Auth::ClientCredentials {
                    client_id: id?,
                    client_secret: secret?,
                    scope,
                }
            }
            Self::RefreshToken {
                client_id,
                client_secret,
                refresh_token,
            } => {
                let id = change("client-id", client_id);
                let secret = change("client-secret", client_secret);
                let token = change("refresh-token", refresh_token);
                Auth::RefreshToken {
                    client_id: id?,
                    client_secret: secret?,
                    refresh_token: token?,
                }
            }
            Self::Bearer { token } => Auth::Bearer {
                token: change("token", token)?,
            },
            Self::ApiKeyHeader { header, key } => Auth::ApiKeyHeader {
                header,
                key: change("key", key)?,
            },
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    pub spec: SyncSpec,
    /// Absent only where the file is wrong there, so that the rest of the sync is judged too.
    pub mapping: Option<Mapping>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    pub plugin: Arc<str>,
    /// Handed to the plugin as JSON text; an object.
    pub config: serde_json::Value,
}
