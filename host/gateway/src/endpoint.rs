//! One connected system as the operator means it: where it is, how to log in, and what it may cost.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_core::manifest::{AuthScheme, Manifest};
use tidegate_core::pace::{PoolError, PoolOverride, Purpose, Settings};
use url::{Host, Url};

use crate::secret::Secret;

/// The name of the origin that requests without one go to.
pub const MAIN: &str = "main";

/// Everything a gateway is made from.
#[derive(Clone, Debug)]
pub struct EndpointSpec {
    pub name: Arc<str>,
    /// By the manifest's origin names.
    pub origins: BTreeMap<String, Origin>,
    pub auth: AuthSpec,
    /// More credentials for the same system; requests go by the one with most room.
    pub accounts: Vec<AccountSpec>,
    pub manifest: Arc<Manifest>,
    /// By pool name.
    pub pools: BTreeMap<String, PoolOverride>,
    pub egress: Egress,
    pub limits: Limits,
}

/// Addresses that are refused by rule but that the operator wants reached, such as a CRM inside the
/// company's network. An origin written as a literal address allows that address and port by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    pub allow: Vec<SocketAddr>,
}

/// One more credential of an endpoint. It has pools of its own wherever the vendor counts by app or user.
#[derive(Clone, Debug)]
pub struct AccountSpec {
    /// Unique in its endpoint, and not `main`.
    pub name: Arc<str>,
    pub auth: AuthSpec,
    /// What it is kept for; `None` for both.
    pub only: Option<Purpose>,
}

/// How the endpoint logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthSpec {
    None,
    Bearer {
        token: Secret,
    },
    ApiKeyHeader {
        header: String,
        key: Secret,
    },
    Oauth2ClientCredentials {
        client_id: String,
        client_secret: Secret,
        scope: Option<String>,
    },
    Oauth2RefreshToken {
        client_id: String,
        client_secret: Option<Secret>,
        refresh_token: Secret,
    },
}

impl AuthSpec {
    pub fn scheme(&self) -> AuthScheme {
        match self {
            Self::None => AuthScheme::None,
            Self::Bearer { .. } => AuthScheme::Bearer,
            Self::ApiKeyHeader { .. } => AuthScheme::ApiKeyHeader,
            Self::Oauth2ClientCredentials { .. } => AuthScheme::Oauth2ClientCredentials,
            Self::Oauth2RefreshToken { .. } => AuthScheme::Oauth2RefreshToken,
        }
    }
}

/// Bounds on one endpoint's traffic. Every breach names its knob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A response's body after decompression, and the result of one SQL statement.
    pub response_bytes_max: u64,
    /// Requests of one `fetch-batch` on the wire at once.
    pub fetches_at_once: usize,
    /// From the first byte out to the last byte in. Not below a vendor's own time-out for writes whose
    /// fate should be known.
    pub request_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    /// How long a request may wait for its permit before it comes back as `throttled`.
    pub permit_wait_ms_max: u64,
    /// Times a request is tried in all when it fails in transit: reads, and writes that can't have happened or
    /// may happen twice.
    pub attempts_max: u32,
    /// How the lanes share each pool.
    pub lanes: Settings,
    /// One SQL transaction, or one list of reads.
    pub sql_timeout_ms: u64,
    /// How long a statement waits for another process's lock.
    pub sql_busy_ms: u64,
    /// SQL requests waiting for the database's thread before the sender has to wait.
    pub sql_queue_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            response_bytes_max: 64 << 20,
            fetches_at_once: 8,
            request_timeout_ms: 120_000,
            connect_timeout_ms: 10_000,
            permit_wait_ms_max: 10_000,
            attempts_max: 3,
            lanes: Settings::default(),
            sql_timeout_ms: 30_000,
            sql_busy_ms: 2_000,
            sql_queue_max: 64,
        }
    }
}

/// Why an endpoint can't be built: all of it is for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("endpoint {endpoint}: origin {origin}: {reason}")]
    Origin {
        endpoint: Arc<str>,
        origin: String,
        reason: OriginError,
    },
    #[error("endpoint {endpoint}: no origin called main is configured")]
    NoMain { endpoint: Arc<str> },
    #[error("endpoint {endpoint}: the plugin does not offer the auth scheme {scheme:?}")]
    Scheme {
        endpoint: Arc<str>,
        scheme: AuthScheme,
    },
    #[error(
        "endpoint {endpoint}: the plugin's manifest has no auth.token-path, which {scheme:?} needs"
    )]
    TokenPath {
        endpoint: Arc<str>,
        scheme: AuthScheme,
    },
    #[error("endpoint {endpoint}: {source}")]
    Pool {
        endpoint: Arc<str>,
        source: PoolError,
    },
    #[error("endpoint {endpoint}: the HTTP client can't be set up: {source}")]
    Client {
        endpoint: Arc<str>,
        source: reqwest::Error,
    },
    #[error("endpoint {endpoint}: no thread for the database: {source}")]
    Thread {
        endpoint: Arc<str>,
        source: std::io::Error,
    },
}

/// Why an origin is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("not a URL; write https://host, http://127.0.0.1:port or sqlite:/path/to/file")]
    Syntax,
    #[error("http:// is for loopback addresses only; write https://")]
    PlainText,
    #[error("an origin is a scheme, a host and a port: no path, user, query or fragment")]
    Extra,
    #[error("the path of a database must be absolute")]
    Relative,
    #[error("this version does not speak that protocol")]
    Protocol,
}

/// A place that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Scheme, host and port; `http` for loopback hosts only.
    Http(Url),
    /// An absolute path.
    Sqlite(PathBuf),
}

impl Origin {
    /// Reads `https://host[:port]`, `http://127.0.0.1:port` or `sqlite:/path`.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let origin = match text.strip_prefix("sqlite:") {
            Some(path) => Self::Sqlite(PathBuf::from(path)),
            None => Self::Http(Url::parse(text).map_err(|_| OriginError::Syntax)?),
        };
        origin.check().map(|()| origin)
    }

    /// The rules hold whoever made the value.
    pub(crate) fn check(&self) -> Result<(), OriginError> {
        match self {
            Self::Sqlite(path) if path.is_absolute() => Ok(()),
            Self::Sqlite(_) => Err(OriginError::Relative),
            Self::Http(url) => check_url(url),
        }
    }
}

fn check_url(url: &Url) -> Result<(), OriginError> {
    let host = match url.scheme() {
        "http" | "https" => url.host().ok_or(OriginError::Syntax)?,
        _ => return Err(OriginError::Protocol),
    };
    if url.scheme() == "http" && !is_loopback(&host) {
        return Err(OriginError::PlainText);
    }
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if bare {
        Ok(())
    } else {
        Err(OriginError::Extra)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Addresses that naming this origin allows: its own literal address, or loopback for `localhost`.
pub(crate) fn allowed_by_name(url: &Url) -> Vec<SocketAddr> {
    let Some(port) = url.port_or_known_default() else {
        return Vec::new();
    };
    let addresses: Vec<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![address.into()],
        Some(Host::Domain("localhost")) => vec![
            std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::Ipv6Addr::LOCALHOST.into(),
        ],
        _ => Vec::new(),
    };
    addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect()
}
