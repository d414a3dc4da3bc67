//! A request as it stands alone or as part of a composite one, and the parts of a composite answer.
//!
//! A composite counts as one call however many parts it has.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};
use tidegate_sdk::{Fault, Header, Http, HttpMethod, HttpResponse, Request, segment};

use crate::answer;
use crate::org::Org;

/// Parts that one composite takes.
pub(crate) const PARTS_MAX: usize = 25;
/// Of them, so many may be queries or collections.
pub(crate) const HEAVY_PARTS_MAX: usize = 5;

/// What is asked, without the headers that are the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) method: HttpMethod,
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Json>,
}

impl Part {
    pub(crate) fn new(method: HttpMethod, path: String) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(path: String) -> Self {
        Self::new(HttpMethod::Get, path)
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Json) -> Self {
        self.body = Some(body);
        self
    }

    /// As a request of its own.
    pub(crate) fn http(&self) -> Result<Http, Fault> {
        let mut http = Http::new(self.method, self.path.clone());
        for (name, value) in &self.query {
            http = http.query(*name, value);
        }
        match &self.body {
            Some(body) => http.json(body),
            None => Ok(http),
        }
    }

    /// As a part of a larger request, under a name that the answer gives back.
    pub(crate) fn named(&self, reference: &str, headers: &[(&'static str, String)]) -> Json {
        let mut part = Map::new();
        part.insert("method".to_owned(), verb(self.method).into());
        part.insert("url".to_owned(), self.address().into());
        part.insert("referenceId".to_owned(), reference.into());
        if let Some(body) = &self.body {
            part.insert("body".to_owned(), body.clone());
        }
        if !headers.is_empty() {
            let headers: Map<String, Json> = headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                .collect();
            part.insert("httpHeaders".to_owned(), headers.into());
        }
        part.into()
    }

    /// Path and query, percent-encoded.
    pub(crate) fn address(&self) -> String {
        address(&self.path, &self.query)
    }
}

/// Path and query, percent-encoded.
pub(crate) fn address<N: AsRef<str>>(path: &str, query: &[(N, String)]) -> String {
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", name.as_ref(), segment(value)))
        .collect();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", query.join("&")),
    }
}

fn verb(method: HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Delete => "DELETE",
    }
}

/// A read by itself.
impl From<Part> for Request {
    fn from(part: Part) -> Self {
        let http = Http::new(part.method, part.path);
        let add = |http: Http, (name, value): (&str, String)| http.query(name, value);
        part.query.into_iter().fold(http, add).build()
    }
}

/// All parts in one request. Each fails or succeeds by itself.
pub(crate) fn composite(org: &Org<'_>, parts: Vec<Json>) -> Result<Http, Fault> {
    let body = json!({ "allOrNone": false, "compositeRequest": parts });
    Http::post(org.config.path("/composite")).json(&body)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    composite_response: Vec<AnsweredPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnsweredPart {
    body: Box<RawValue>,
    http_status_code: u16,
    reference_id: String,
}

/// The answers to parts, by their names.
pub(crate) struct Answers(HashMap<String, HttpResponse>);

impl Answers {
    /// The parts of a composite answer; `what` names it for a person.
    pub(crate) fn read(response: &HttpResponse, what: &str) -> Result<Self, Fault> {
        if response.status != 200 {
            return Err(answer::fault(response, what));
        }
        let answered: Answered =
            serde_json::from_slice(&response.body).map_err(|_| answer::foreign(response, what))?;
        Ok(Self::of(answered.composite_response, response))
    }

    /// Each part as if it had been answered alone; `outer` tells the vendor's clock.
    pub(crate) fn of(parts: Vec<AnsweredPart>, outer: &HttpResponse) -> Self {
        let mut headers = vec![Header {
            name: "content-type".to_owned(),
            value: "application/json".to_owned(),
        }];
        headers.extend(outer.header("date").map(|date| Header {
            name: "date".to_owned(),
            value: date.to_owned(),
        }));
        let mut answers = HashMap::with_capacity(parts.len());
        for part in parts {
            answers
                .entry(part.reference_id)
                .or_insert_with(|| HttpResponse {
                    status: part.http_status_code,
                    headers: headers.clone(),
                    body: String::from(Box::<str>::from(part.body)).into_bytes(),
                });
        }
        Self(answers)
    }

    /// The answer to a part. One that is missing may have been carried out or not.
    pub(crate) fn take(&mut self, reference: &str, what: &str) -> Result<HttpResponse, Fault> {
        self.0.remove(reference).ok_or_else(|| {
            Fault::broken(
                "part-unanswered",
                format!(
                    "{what}: Salesforce answered a request of several parts without one of them"
                ),
            )
            .with_unknown_fate()
        })
    }
}
