//! Where alerts go, as written and as meant.

use url::{Host, Url};

use super::meant::AlertHook;
use super::problem::{Code, Findings};
use super::secret::SecretRef;

/// A shorter secret could be guessed from one signed message.
pub(super) const SECRET_BYTES_LEAST: usize = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenAlerts {
    pub(super) url: Option<String>,
    pub(super) secret: Option<SecretRef>,
}

pub(super) fn mean(written: &WrittenAlerts, findings: &Findings) -> Option<AlertHook> {
    for (name, missing) in [
        ("url", written.url.is_none()),
        ("secret", written.secret.is_none()),
    ] {
        if missing && !findings.has_key(&format!("alerts.{name}")) {
            let message = format!("`{name}` is missing");
            findings.error(Code::MissingKey, "alerts", message);
        }
    }
    let url = url(written.url.as_deref()?, findings);
    Some(AlertHook {
        url: url?,
        secret: written.secret.clone()?,
    })
}

/// What was written is not repeated: the path of a webhook may be a secret.
fn url(written: &str, findings: &Findings) -> Option<Url> {
    let refused = |message: &str| {
        findings.error(Code::BadOrigin, "alerts.url", message);
        None
    };
    let Ok(url) = Url::parse(written) else {
        return refused("not a URL; write https://host/path");
    };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return refused("not a URL; write https://host/path"),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return refused("http:// is for loopback addresses only; write https://"),
        _ => return refused("an `https:` URL belongs here"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return refused("a user, a password or a fragment does not belong here");
    }
    Some(url)
}
