//! Where an endpoint is: the only text in tidegate that names a host.

use std::net::SocketAddr;
use std::path::Path;

use tidegate_gateway::{Origin, OriginError};

use super::problem::{Code, Findings};

/// Reads an origin; a database file is relative to `folder`. What was written is not part of an error: it may hold
/// a password.
pub(super) fn parse_origin(written: &str, folder: &Path) -> Result<Origin, OriginError> {
    match written.strip_prefix("sqlite:") {
        Some("") => Err(OriginError::Syntax),
        Some(path) => Origin::parse(&format!("sqlite:{}", folder.join(path).display())),
        None => Origin::parse(written),
    }
}

/// Addresses that the operator wants reached all the same, each with its key.
pub(super) fn allow(written: &[(String, String)], findings: &Findings) -> Vec<SocketAddr> {
    let mut allow = Vec::new();
    for (key, address) in written {
        match address.parse() {
            Ok(address) => allow.push(address),
            Err(_) => findings.error(
                Code::BadOrigin,
                key,
                "an address and its port belong here, such as `10.0.0.5:443` or `[fd00::5]:443`",
            ),
        }
    }
    allow
}

/// Where figures are shown: to this machine only, as nothing protects them.
pub(super) fn listen(written: Option<&str>, findings: &Findings) -> Option<SocketAddr> {
    let Some(written) = written else {
        if !findings.has_key("metrics.listen") {
            findings.error(Code::MissingKey, "metrics", "`listen` is missing");
        }
        return None;
    };
    let address: Option<SocketAddr> = written.parse().ok();
    let loopback = address.filter(|address| address.ip().is_loopback());
    if loopback.is_none() {
        findings.error(
            Code::BadOrigin,
            "metrics.listen",
            "a loopback address and its port belong here, such as `127.0.0.1:9464`",
        );
    }
    loopback
}
