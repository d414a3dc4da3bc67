//! One request to `/services/data/vXX.0/…`, taken apart.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;

use super::answer::{Answer, ApiError};
use super::soap::{self, Envelope};

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// As in `v60.0`.
    pub(crate) version: String,
    /// What follows the version, percent-decoded, empty segments left out.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// The body of a part of another call, which is parsed already.
    pub(crate) parsed: Option<Arc<Value>>,
    /// What is asked in SOAP; then there is no path that matters.
    pub(crate) soap: Option<Arc<Envelope>>,
}

impl Call {
    /// `target` is a path under `/services/data/` with its query; a `_HttpMethod` in it overrides.
    pub(crate) fn new(
        method: &str,
        target: &str,
        headers: Vec<(String, String)>,
        body: impl Into<Bytes>,
    ) -> Result<Self, ApiError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let rest = path
            .strip_prefix("/services/data/")
            .ok_or_else(ApiError::missing)?;
        let mut segments = rest
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decoded)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(ApiError::missing)?
            .into_iter();
        let version = segments.next().ok_or_else(ApiError::missing)?;
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let over = query
            .iter()
            .find(|(name, _)| name == "_HttpMethod" && method == "POST");
        Ok(Self {
            method: over.map_or(method, |(_, over)| over).to_ascii_uppercase(),
            version,
            segments: segments.collect(),
            query,
            headers,
            body: body.into(),
            parsed: None,
            soap: None,
        })
    }

    /// A SOAP call, as in `60.0`; what its headers say comes before what those around it say.
    pub(crate) fn soap(version: &str, headers: Vec<(String, String)>, envelope: Envelope) -> Self {
        let mut all = envelope.headers();
        all.extend(
            headers
                .into_iter()
                .filter(|(name, _)| name != "authorization"),
        );
        Self {
            method: "POST".to_owned(),
            version: format!("v{version}"),
            segments: Vec::new(),
            query: Vec::new(),
            headers: all,
            body: Bytes::new(),
            parsed: None,
            soap: Some(Arc::new(envelope)),
        }
    }

    /// An error in the words of the call's own API.
    pub(crate) fn refusal(&self, error: ApiError) -> Answer {
        match self.soap {
            Some(_) => soap::refusal(&error),
            None => error.into(),
        }
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Result<Value, ApiError> {
        if let Some(parsed) = &self.parsed {
            return Ok(Value::clone(parsed));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::bad("JSON_PARSER_ERROR", error.to_string()))
    }

    /// Who calls: `client=` of `Sforce-Call-Options`, or else the user agent.
    pub(crate) fn client(&self) -> String {
        let options = self.header("sforce-call-options").unwrap_or_default();
        options
            .split([',', ';'])
            .find_map(|option| option.trim().strip_prefix("client="))
            .or_else(|| self.header("user-agent"))
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn allows_duplicates(&self) -> bool {
        self.header("sforce-duplicate-rule-header")
            .is_some_and(|header| {
                header
                    .to_ascii_lowercase()
                    .replace(' ', "")
                    .contains("allowsave=true")
            })
    }

    pub(crate) fn row_url(&self, object: &str, id: &str) -> String {
        format!("/services/data/{}/sobjects/{object}/{id}", self.version)
    }
}

fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}
