//! What an answer means to the host, by the manifest's rules: an expired session, a spent pool, a pool's use.

use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;
use tidegate_core::manifest::{ErrorShape, Manifest, Reading, Sign, Throttle};
use tidegate_core::pace::Report;
use tidegate_core::plugin::HttpResponse;
use tidegate_core::time::parse_duration;

use crate::envelope;

/// Longer waits than this are taken as a mistake of the vendor's.
const PARK_MAX_MS: u64 = 86_400_000;

/// The fault code of SOAP 1.1 for what is not the request's doing.
const SERVER: &str = "Server";

/// The code and message of an error body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Option<String>,
    message: Option<String>,
    /// It is the answer of an endpoint that understood the request: SOAP has no other status for it than 500.
    fault: bool,
}

/// Only an error's body is looked into.
pub(crate) fn said(manifest: &Manifest, response: &HttpResponse) -> Said {
    if response.status >= 400
        && !manifest.envelopes.is_empty()
        && header(response, "content-type").is_some_and(|kind| kind.starts_with("text/xml"))
        && let Some((code, message)) = envelope::fault(&response.body)
    {
        return Said {
            fault: code != SERVER,
            code: Some(code),
            message: Some(message),
        };
    }
    let Some(shape) = manifest.errors.as_ref().filter(|_| response.status >= 400) else {
        return Said::default();
    };
    serde_json::from_slice(&response.body)
        .map(|body| read(shape, &body))
        .unwrap_or_default()
}

fn read(shape: &ErrorShape, body: &Value) -> Said {
    let first = |pointers: &[String]| {
        pointers
            .iter()
            .find_map(|pointer| match body.pointer(pointer)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
    };
    Said {
        code: first(&shape.code),
        message: first(&shape.message),
        fault: false,
    }
}

/// All that is given must match; a sign that gives nothing matches nothing.
fn matches(sign: &Sign, status: u16, said: &Said) -> bool {
    let given = sign.status.is_some() || sign.code.is_some() || sign.message_prefix.is_some();
    let message = said.message.as_deref().unwrap_or_default();
    given
        && sign.status.is_none_or(|wanted| wanted == status)
        && sign
            .code
            .as_ref()
            .is_none_or(|code| said.code.as_ref() == Some(code))
        && sign
            .message_prefix
            .as_ref()
            .is_none_or(|prefix| message.starts_with(prefix.as_str()))
        && !sign
            .message_prefix_not
            .iter()
            .any(|prefix| message.starts_with(prefix.as_str()))
}

/// Whether another token would help. Without signs in the manifest, every 401 says so.
pub(crate) fn is_expired(manifest: &Manifest, response: &HttpResponse, said: &Said) -> bool {
    match &manifest.auth {
        Some(auth) if !auth.expired.is_empty() => auth
            .expired
            .iter()
            .any(|sign| matches(sign, response.status, said)),
        _ => response.status == 401,
    }
}

/// Whether the answer shows an endpoint that does not do its work: an error of its own, or a page for people from
/// something in front of it.
pub(crate) fn is_failing(response: &HttpResponse, said: &Said) -> bool {
    if said.fault {
        return false;
    }
    let page = header(response, "content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let start = response.body.trim_ascii_start();
    let markup = |start: &[u8]| {
        let start = start.to_ascii_lowercase();
        start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
    };
    response.status >= 500 || page || markup(&start[..start.len().min(20)])
}

/// The first throttle rule that the answer fits.
pub(crate) fn throttle<'m>(
    manifest: &'m Manifest,
    response: &HttpResponse,
    said: &Said,
) -> Option<&'m Throttle> {
    manifest
        .throttles
        .iter()
        .find(|throttle| matches(&throttle.when, response.status, said))
}

/// How long the pool is parked: as the answer says, else as the manifest does.
pub(crate) fn park_ms(throttle: &Throttle, response: &HttpResponse, wall_us: i64) -> Option<u64> {
    let named = throttle.retry_after_header.as_deref();
    let header = header(response, named.unwrap_or("retry-after"));
    header
        .and_then(|text| retry_after_ms(text, wall_us))
        .or_else(|| {
            let written = parse_duration(throttle.park.as_deref()?).ok()?;
            Some(written.as_millis() as u64)
        })
        .map(|park_ms| park_ms.min(PARK_MAX_MS))
}

/// Seconds, perhaps with a fraction, or a date.
fn retry_after_ms(text: &str, wall_us: i64) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1_000.0).ceil() as u64);
    }
    let moment = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some((moment.as_millisecond() - wall_us / 1_000).max(0) as u64)
}

/// What the answer's headers say of pools, one report for each: a limit and what is left of it may stand in two headers.
pub(crate) fn reports(manifest: &Manifest, response: &HttpResponse) -> Vec<Report> {
    let read = |reading: &Reading| Report::read(reading, header(response, &reading.header)?);
    let mut reports: Vec<Report> = Vec::new();
    for report in manifest.readings.iter().filter_map(read) {
        match reports.iter_mut().find(|known| known.pool == report.pool) {
            Some(known) => {
                known.used = known.used.or(report.used);
                known.limit = known.limit.or(report.limit);
                known.remaining = known.remaining.or(report.remaining);
            }
            None => reports.push(report),
        }
    }
    reports
}

/// What the body of a gauge says of pools.
pub(crate) fn gauged(manifest: &Manifest, path: &str, response: &HttpResponse) -> Vec<Report> {
    let gauge = manifest.gauges.iter().find(|gauge| gauge.path == path);
    let Some(gauge) = gauge.filter(|_| response.status == 200) else {
        return Vec::new();
    };
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
        return Vec::new();
    };
    let number = |pointer: &Option<String>| body.pointer(pointer.as_deref()?)?.as_u64();
    let pools = gauge.pools.iter();
    pools
        .map(|gauged| Report {
            pool: gauged.pool.clone(),
            used: number(&gauged.used),
            limit: number(&gauged.limit),
            remaining: number(&gauged.remaining),
        })
        .collect()
}

fn header<'r>(response: &'r HttpResponse, name: &str) -> Option<&'r str> {
    let found = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name));
    found.map(|header| header.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_headers_tell_of_one_pool() {
        let readings = r#"
            [plugin]
            name = "vendor"
            version = "1.0.0"
            kind = "connector"
            wit = "0.1.0"
            [[readings]]
            pool = "burst"
            header = "x-limit"
            pattern = "{limit}"
            [[readings]]
            pool = "burst"
            header = "x-left"
            pattern = "{remaining}"
        "#;
        let manifest: Manifest = toml::from_str(readings).expect("a manifest");
        let header = |name: &str, value: &str| tidegate_core::plugin::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let response = HttpResponse {
            status: 200,
            headers: vec![header("X-Left", "99"), header("X-Limit", "100")],
            body: Vec::new(),
        };
        let told = Report {
            pool: "burst".to_owned(),
            used: None,
            limit: Some(100),
            remaining: Some(99),
        };
        assert_eq!(reports(&manifest, &response), [told]);
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        // 2024-02-29 13:00:00 UTC
        let wall_us = 1_709_211_600_000_000;
        let cases = [
            ("5", Some(5_000)),
            ("0.25", Some(250)),
            (" 120 ", Some(120_000)),
            ("Thu, 29 Feb 2024 13:00:30 GMT", Some(30_000)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(retry_after_ms(text, wall_us), expected, "{text}");
        }
    }
}
