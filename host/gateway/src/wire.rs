//! HTTP as it goes over the wire: one client per origin, no redirects, no proxies, no cut bodies.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, LOCATION};
use reqwest::{Client, Method, redirect, retry};
use tidegate_core::plugin::{Executed, Fault, FaultKind, Header, HttpMethod, HttpResponse};
use url::Url;

use crate::clock::Clock;
use crate::egress::{AddressRefused, AddressRules, FilteringResolver};
use crate::endpoint::{Egress, Limits, allowed_by_name};

/// Longer idle connections are closed by us, before the vendor closes them under a request.
const IDLE: Duration = Duration::from_secs(20);

/// One origin's connections.
pub(crate) struct Wire {
    client: Client,
    origin: Url,
    rules: AddressRules,
    clock: Arc<dyn Clock>,
    timeout_ms: u64,
    body_max: u64,
}

/// A request that is ready to go.
pub(crate) struct Outgoing {
    pub(crate) method: HttpMethod,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct WireError {
    pub(crate) fault: Fault,
    /// The same request may pass another time.
    pub(crate) passing: bool,
    /// Nothing reached the vendor, so nothing was counted there.
    pub(crate) unsent: bool,
}

impl WireError {
    /// Refused on our side, for good.
    pub(crate) fn certain(fault: Fault) -> Self {
        Self {
            fault,
            passing: false,
            unsent: true,
        }
    }
}

impl Wire {
    pub(crate) fn new(
        origin: Url,
        egress: &Egress,
        limits: &Limits,
        clock: Arc<dyn Clock>,
    ) -> reqwest::Result<Self> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another endpoint may have been quicker; one provider is as good as the other.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let mut allowed = allowed_by_name(&origin);
        allowed.extend(&egress.allow);
        let rules = AddressRules {
            port: origin.port_or_known_default().unwrap_or_default(),
            allowed: allowed.into(),
        };
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .https_only(origin.scheme() == "https")
            .connect_timeout(Duration::from_millis(limits.connect_timeout_ms))
            .pool_idle_timeout(IDLE)
            .dns_resolver(FilteringResolver(rules.clone()))
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            origin,
            rules,
            clock,
            timeout_ms: limits.request_timeout_ms,
            body_max: limits.response_bytes_max,
        })
    }

    pub(crate) fn origin(&self) -> &Url {
        &self.origin
    }

    /// Sends once. Whatever happens, the answer says whether the request may have been carried out.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<HttpResponse, WireError> {
        self.rules
            .check_literal(&outgoing.url)
            .map_err(|refused| address_refused(&refused))?;
        let method = method(outgoing.method);
        let request = self
            .client
            .request(method, outgoing.url)
            .headers(outgoing.headers)
            .body(outgoing.body);
        let deadline = self
            .clock
            .sleep_until(self.clock.now().mono_ms.saturating_add(self.timeout_ms));
        tokio::select! {
            biased;
            answer = self.exchange(request) => answer,
            () = deadline => Err(WireError {
                fault: Fault::new(
                    FaultKind::Transient,
                    "timeout",
                    format!("no answer within request-timeout-ms = {}", self.timeout_ms),
                )
                .executed(Executed::Unknown),
                passing: true,
                unsent: false,
            }),
        }
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<HttpResponse, WireError> {
        let mut response = request.send().await.map_err(|error| no_answer(&error))?;
        let status = response.status().as_u16();
        if let Some(fault) = redirect_refused(status, response.headers()) {
            return Err(WireError {
                fault,
                passing: false,
                unsent: false,
            });
        }
        let headers = received(response.headers());
        if response
            .content_length()
            .is_some_and(|length| length > self.body_max)
        {
            return Err(self.too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| cut_off(&error))? {
            // Counted after decompression: a small body may unfold without end.
            if (body.len() + chunk.len()) as u64 > self.body_max {
                return Err(self.too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse {
            status,
            headers,
            body,
        })
    }

    fn too_large(&self) -> WireError {
        WireError {
            fault: Fault::new(
                FaultKind::Broken,
                "response-too-large",
                format!("the answer exceeds response-bytes-max = {}", self.body_max),
            )
            .executed(Executed::Unknown),
            passing: false,
            unsent: false,
        }
    }
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    }
}

fn received(headers: &HeaderMap) -> Vec<Header> {
    headers
        .iter()
        // The length is that of the compressed body, which nobody sees.
        .filter(|(name, _)| **name != CONTENT_LENGTH)
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        })
        .collect()
}

/// 303 tells that the request was carried out and the answer lies elsewhere; the others that it was not.
fn redirect_refused(status: u16, headers: &HeaderMap) -> Option<Fault> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) || !headers.contains_key(LOCATION) {
        return None;
    }
    let executed = match status {
        303 => Executed::Unknown,
        _ => Executed::No,
    };
    Some(
        Fault::new(
            FaultKind::Config,
            "redirect-refused",
            format!("the vendor answered {status} and points elsewhere; redirects are not followed: configure the origin that it names"),
        )
        .executed(executed),
    )
}

fn address_refused(refused: &AddressRefused) -> WireError {
    WireError {
        fault: Fault::new(FaultKind::Config, "address-refused", refused.to_string()),
        passing: false,
        unsent: true,
    }
}

/// Errors before an answer began. Only a connection that never came to be is certain to have carried nothing.
fn no_answer(error: &reqwest::Error) -> WireError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
            return address_refused(refused);
        }
        cause = inner.source();
    }
    if error.is_builder() {
        return WireError {
            fault: Fault::new(
                FaultKind::Refused,
                "request-invalid",
                "the request can't be put on the wire",
            ),
            passing: false,
            unsent: true,
        };
    }
    if error.is_connect() {
        return WireError {
            fault: Fault::new(
                FaultKind::Transient,
                "connection-failed",
                "no connection could be made: name, network or certificate",
            ),
            passing: true,
            unsent: true,
        };
    }
    WireError {
        fault: Fault::new(
            FaultKind::Transient,
            "connection-lost",
            "the connection broke before the answer came",
        )
        .executed(Executed::Unknown),
        passing: true,
        unsent: false,
    }
}

/// Errors while the body came: it ended early, or does not decompress.
fn cut_off(error: &reqwest::Error) -> WireError {
    let (code, message) = if error.is_decode() && !is_short(error) {
        ("body-undecodable", "the answer's body does not decompress")
    } else {
        (
            "body-truncated",
            "the answer's body ended before its announced length",
        )
    };
    WireError {
        fault: Fault::new(FaultKind::Broken, code, message).executed(Executed::Unknown),
        passing: true,
        unsent: false,
    }
}

fn is_short(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let ended = inner
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof);
        if ended {
            return true;
        }
        cause = inner.source();
    }
    false
}
