//! What may leave, and where to: paths, headers and addresses (invariant 11).
//!
//! A plugin names a path on an origin that the operator configured and can't spell a host; what it gives is
//! checked before a URL is made of it, and the address is checked again when the connection is made,
//! after the name was resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tidegate_core::plugin::{Fault, FaultKind, Header, HttpRequest};
use url::{Host, Url, form_urlencoded};

/// Headers that belong to the host or to the connection.
const HEADERS_REFUSED: [&str; 13] = [
    "host",
    "authorization",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("it must begin with a single `/`")]
    Start,
    #[error("it holds a character that must be percent-encoded")]
    Character,
    #[error("it holds `.` or `..` as a segment")]
    Dots,
    #[error(
        "a percent sign is not followed by two hexadecimal digits, or hides a control character"
    )]
    Encoding,
    #[error("its query and `query` can't both be given")]
    Query,
    #[error("it leads to another origin")]
    Elsewhere,
}

/// The URL of a request on `origin`.
pub(crate) fn url(origin: &Url, request: &HttpRequest) -> Result<Url, PathError> {
    let (path, query) = match request.path.split_once('?') {
        None => (request.path.as_str(), None),
        Some((path, query)) => (path, Some(query)),
    };
    check_path(path)?;
    if let Some(query) = query {
        check_characters(query)?;
        if !request.query.is_empty() {
            return Err(PathError::Query);
        }
    }
    let mut url = origin.clone();
    url.set_path(path);
    if request.query.is_empty() {
        url.set_query(query);
    } else {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(request.query.iter().map(|(name, value)| (name, value)));
        // Every server reads %20 as a blank; not every one reads a plus so. A real plus is encoded already.
        url.set_query(Some(&pairs.finish().replace('+', "%20")));
    }
    // The last word, should a parser disagree with the checks above.
    if url.origin() == origin.origin() && url.path() == path {
        Ok(url)
    } else {
        Err(PathError::Elsewhere)
    }
}

fn check_path(path: &str) -> Result<(), PathError> {
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(PathError::Start);
    }
    check_characters(path)?;
    let dots = |segment: &str| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    };
    if path.split('/').any(dots) {
        return Err(PathError::Dots);
    }
    Ok(())
}

/// Printable ASCII without the characters that parsers read in different ways.
fn check_characters(text: &str) -> Result<(), PathError> {
    if text
        .bytes()
        .any(|byte| !byte.is_ascii_graphic() || b"\\#\"<>^`{|}".contains(&byte))
    {
        return Err(PathError::Character);
    }
    for (at, _) in text.match_indices('%') {
        let digits = text.get(at + 1..at + 3).ok_or(PathError::Encoding)?;
        let byte = u8::from_str_radix(digits, 16).map_err(|_| PathError::Encoding)?;
        if byte < b' ' || byte == 0x7f {
            return Err(PathError::Encoding);
        }
    }
    Ok(())
}

/// The plugin's headers; `own` is a header that the credentials set.
pub(crate) fn headers(given: &[Header], own: Option<&str>) -> Result<HeaderMap, Fault> {
    let refused = |name: &str, why: &str| {
        Fault::new(
            FaultKind::Refused,
            "header-refused",
            format!("the header {name:?} {why}"),
        )
    };
    let mut headers = HeaderMap::with_capacity(given.len());
    for header in given {
        let shown: String = header.name.chars().take(40).collect();
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| refused(&shown, "has no valid name"))?;
        if HEADERS_REFUSED.contains(&name.as_str())
            || own.is_some_and(|own| own.eq_ignore_ascii_case(name.as_str()))
        {
            return Err(refused(&shown, "is set by the host alone"));
        }
        let value = HeaderValue::from_str(&header.value)
            .map_err(|_| refused(&shown, "has a value with control characters"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Why an address is refused, in a word for the log; `None` when it is a public one.
pub(crate) fn address_refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Some("loopback"),
        (10, ..) | (192, 168, _) => Some("private"),
        (172, 16..=31, _) => Some("private"),
        (169, 254, _) => Some("link-local or metadata"),
        (100, 64..=127, _) => Some("carrier-grade NAT"),
        (0, ..) => Some("this network"),
        (192, 0, 0) => Some("protocol assignments"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Some("documentation"),
        (192, 88, 99) => Some("6to4 relay"),
        (198, 18..=19, _) => Some("benchmarking"),
        (224..=239, ..) => Some("multicast"),
        (240..=255, ..) => Some("reserved or broadcast"),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return refusal_v4(mapped).or(Some("v4-mapped"));
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0, 0, 0, 0, 0, 0, _, _] => Some("v4-compatible"),
        [0x64, 0xff9b, ..] => Some("NAT64"),
        [0x100, 0, 0, 0, ..] => Some("discard"),
        [0x2001, 0, ..] => Some("Teredo"),
        [0x2001, 0x0001..=0x01ff, ..] => Some("protocol assignments"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("documentation"),
        [0x2002, ..] => Some("6to4"),
        [0x5f00, ..] => Some("segment routing"),
        [0xfc00..=0xfdff, ..] => Some("unique local"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        // What is not global unicast today may be anything tomorrow.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not global"),
    }
}

/// The address rules of one origin.
#[derive(Clone, Debug)]
pub(crate) struct AddressRules {
    pub(crate) port: u16,
    pub(crate) allowed: Arc<[SocketAddr]>,
}

/// An address that no request may reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {reason}; if it is meant, add it with its port to the endpoint's `allow`")]
pub(crate) struct AddressRefused {
    pub(crate) address: IpAddr,
    pub(crate) reason: &'static str,
}

impl AddressRules {
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        match address_refusal(address) {
            Some(reason) if !self.allowed.contains(&SocketAddr::new(address, self.port)) => {
                Err(AddressRefused { address, reason })
            }
            _ => Ok(()),
        }
    }

    /// Literal addresses skip the resolver, so they are looked at here.
    pub(crate) fn check_literal(&self, url: &Url) -> Result<(), AddressRefused> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into()),
            Some(Host::Ipv6(address)) => self.check(address.into()),
            _ => Ok(()),
        }
    }
}

/// Looks names up and gives only addresses that may be reached.
pub(crate) struct FilteringResolver(pub(crate) AddressRules);

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), rules.port))
                .await?
                .collect();
            filter(&rules, found).map_err(Into::into)
        })
    }
}

fn filter(rules: &AddressRules, found: Vec<SocketAddr>) -> Result<Addrs, AddressRefused> {
    let mut refused = None;
    let allowed: Vec<SocketAddr> = found
        .into_iter()
        .filter(|address| match rules.check(address.ip()) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(address = %error.address, reason = error.reason, "address refused");
                refused.get_or_insert(error);
                false
            }
        })
        .collect();
    match refused {
        Some(error) if allowed.is_empty() => Err(error),
        _ => Ok(Box::new(allowed.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each address with whether it is public.
    const ADDRESSES: &[(&str, bool)] = &[
        ("8.8.8.8", true),
        ("1.1.1.1", true),
        ("100.63.255.255", true),
        ("100.128.0.0", true),
        ("172.15.255.255", true),
        ("172.32.0.0", true),
        ("0.0.0.0", false),
        ("10.1.2.3", false),
        ("100.64.0.1", false),
        ("127.0.0.1", false),
        ("127.9.9.9", false),
        ("169.254.169.254", false),
        ("172.16.0.1", false),
        ("192.0.0.192", false),
        ("192.168.1.1", false),
        ("198.18.0.1", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("2606:4700:4700::1111", true),
        ("2a00:1450:4001::1", true),
        ("::", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("::ffff:169.254.169.254", false),
        ("::ffff:8.8.8.8", false),
        ("::127.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b:1::a00:1", false),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("2002:7f00:1::", false),
        ("fc00::1", false),
        ("fd00:ec2::254", false),
        ("fe80::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
    ];

    #[test]
    fn only_public_addresses_are_reached_unless_named_with_their_port() {
        for (text, public) in ADDRESSES {
            let address: IpAddr = text.parse().expect("an address");
            let strict = AddressRules {
                port: 443,
                allowed: Arc::new([SocketAddr::new(address, 8443)]),
            };
            assert_eq!(strict.check(address).is_ok(), *public, "{text}");
            let named = AddressRules {
                port: 8443,
                ..strict.clone()
            };
            assert!(named.check(address).is_ok(), "{text} is allowed by name");
            // The resolver keeps what may be reached and says why nothing is left.
            let found = filter(&strict, vec![SocketAddr::new(address, 443)]);
            assert_eq!(found.is_ok(), *public, "{text} out of the resolver");
        }
        let mixed = ["10.0.0.1:443", "8.8.8.8:443"].map(|text| text.parse().expect("an address"));
        let rules = AddressRules {
            port: 443,
            allowed: Arc::new([]),
        };
        let kept: Vec<SocketAddr> = filter(&rules, mixed.to_vec())
            .expect("one is left")
            .collect();
        assert_eq!(kept, [mixed[1]]);
    }
}
