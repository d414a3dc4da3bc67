//! Where an endpoint is: the only text in tidegate that names a host.

use std::net::IpAddr;
use std::path::Path;

use super::meant::Origin;

/// Why an origin was refused. The text itself is not repeated: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OriginError {
    #[error("not a URL: write `https://host`, or `sqlite:file.db` for a database file")]
    NotUrl,
    #[error(
        "`{0}:` is not spoken here: `https:` and `sqlite:` are, and `http:` to this machine itself"
    )]
    Scheme(String),
    #[error(
        "plain `http:` is for this machine itself (127.0.0.1, [::1], localhost); credentials would cross the network in clear"
    )]
    PlainHttp,
    #[error("a user or password must not stand in a URL; see [endpoints.NAME.auth]")]
    UserInfo,
    #[error("an origin is scheme, host and port; path, query and fragment are the plugin's")]
    MoreThanOrigin,
    #[error("the database file's path is missing after `sqlite:`")]
    NoPath,
}

pub(super) fn parse_origin(written: &str, folder: &Path) -> Result<Origin, OriginError> {
    if let Some(path) = written.strip_prefix("sqlite:") {
        if path.is_empty() {
            return Err(OriginError::NoPath);
        }
        return Ok(Origin::Sqlite(folder.join(path)));
    }
    let url = url::Url::parse(written).map_err(|_| OriginError::NotUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(OriginError::PlainHttp),
        other => return Err(OriginError::Scheme(other.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OriginError::UserInfo);
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(OriginError::MoreThanOrigin);
    }
    Ok(Origin::Http(url))
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
