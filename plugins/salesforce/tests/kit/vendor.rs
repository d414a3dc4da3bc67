//! Salesforce's part of a conversation: checks each request and gives the answer that stands for it.

use std::cell::{Cell, RefCell};

use serde_json::Value as Json;
use tidegate_sdk::bindings::connector::tidegate::plugin::gateway::{
    Header, HttpMethod, HttpRequest, Operation,
};
use tidegate_sdk::{
    Answer, Executed, Fault, FaultKind, Gateway, HttpResponse, Level, Request, Response,
};

use super::script::{Exchange, clock};

pub(crate) struct Vendor<'a> {
    exchanges: &'a [Exchange],
    next: Cell<usize>,
    complaints: RefCell<Vec<String>>,
}

impl<'a> Vendor<'a> {
    pub(crate) fn new(exchanges: &'a [Exchange]) -> Self {
        Self {
            exchanges,
            next: Cell::new(0),
            complaints: RefCell::default(),
        }
    }

    /// Every request was the one expected, and all were made.
    pub(crate) fn finish(&self) -> Result<(), String> {
        if let Some(complaint) = self.complaints.borrow().first() {
            return Err(complaint.clone());
        }
        match self.exchanges.get(self.next.get()) {
            Some(exchange) => Err(format!("never asked: {}", exchange.request.join("\n  "))),
            None => Ok(()),
        }
    }

    fn answer(&self, request: &Request, write: bool) -> Result<Response, Fault> {
        let found = written(request, write);
        let index = self.next.replace(self.next.get() + 1);
        let Some(exchange) = self.exchanges.get(index) else {
            self.complain(format!("not expected: {}", found.join("\n  ")));
            return Err(Fault::broken("not-in-the-script", ""));
        };
        if exchange.request != found {
            self.complain(format!(
                "asks\n  {}\ninstead of\n  {}",
                found.join("\n  "),
                exchange.request.join("\n  ")
            ));
        }
        if let Some(fault) = exchange.answer.strip_prefix("fault ") {
            return Err(gateway_fault(fault));
        }
        Ok(Response {
            answer: Answer::Http(response(exchange)),
            age_ms: 0,
            stale: false,
        })
    }

    fn complain(&self, complaint: String) {
        self.complaints.borrow_mut().push(complaint);
    }
}

impl Gateway for Vendor<'_> {
    fn fetch_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        requests
            .iter()
            .map(|request| self.answer(request, false))
            .collect()
    }

    /// Stops where the host would.
    fn write_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        let mut stopped = false;
        requests
            .iter()
            .map(|request| {
                if stopped {
                    return Err(Fault::transient("not-attempted", ""));
                }
                let answer = self.answer(request, true);
                stopped = matches!(&answer, Err(fault) if fault.executed == Executed::Unknown);
                answer
            })
            .collect()
    }

    fn log(&self, _: Level, _: &str) {}
}

/// `METHOD path?query`, then the body, then for a write its rows.
fn written(request: &Request, write: bool) -> Vec<String> {
    let Operation::Http(http) = &request.operation else {
        return vec!["not HTTP".to_owned()];
    };
    let mut lines = vec![first_line(http)];
    match reads(http) {
        Some(parts) => lines.extend(parts),
        None => lines.extend(
            String::from_utf8_lossy(&http.body)
                .lines()
                .map(str::to_owned),
        ),
    }
    for header in &http.headers {
        if !matches!(
            header.name.as_str(),
            "content-type" | "accept" | "sforce-call-options"
        ) {
            lines.push(format!("{}: {}", header.name, header.value));
        }
    }
    if write {
        let tokens: Vec<String> = request.rows.iter().map(u64::to_string).collect();
        let once = if request.idempotent {
            "idempotent"
        } else {
            "once"
        };
        let rows: Vec<&str> = ["rows"]
            .into_iter()
            .chain(tokens.iter().map(String::as_str))
            .chain([once])
            .collect();
        lines.push(rows.join(" "));
    }
    lines
}

fn first_line(http: &HttpRequest) -> String {
    let method = match http.method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Delete => "DELETE",
    };
    let path = http
        .path
        .strip_prefix("/services/data/v60.0")
        .unwrap_or(&http.path);
    let query: Vec<String> = http
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    match query.is_empty() {
        true => format!("{method} {path}"),
        false => format!("{method} {path}?{}", query.join("&")),
    }
}

/// `REFERENCE GET path?query`, decoded, for each part of a composite that only reads.
fn reads(http: &HttpRequest) -> Option<Vec<String>> {
    let body: Json = serde_json::from_slice(&http.body).ok()?;
    let parts = body["compositeRequest"].as_array()?;
    let all = parts.iter().all(|part| part["method"] == "GET");
    all.then(|| {
        parts
            .iter()
            .map(|part| {
                let url = decoded(part["url"].as_str().expect("a url"));
                let path = url.strip_prefix("/services/data/v60.0").unwrap_or(&url);
                format!(
                    "{} GET {path}",
                    part["referenceId"].as_str().expect("a name")
                )
            })
            .collect()
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn response(exchange: &Exchange) -> HttpResponse {
    let text = &exchange.answer;
    let (status, rest) = text.split_once([' ', '\n']).unwrap_or((text, ""));
    let (date, body) = match clock(rest) {
        Some((seconds, body)) => {
            let (hour, minute) = (seconds / 3_600, seconds / 60 % 60);
            let date = format!(
                "Sun, 01 Mar 2026 {hour:02}:{minute:02}:{:02} GMT",
                seconds % 60
            );
            (Some(date), body)
        }
        None => (None, rest),
    };
    HttpResponse {
        status: status.parse().expect("a status"),
        headers: date
            .into_iter()
            .map(|value| Header {
                name: "date".to_owned(),
                value,
            })
            .chain(exchange.headers.iter().map(|(name, value)| Header {
                name: name.clone(),
                value: value.clone(),
            }))
            .collect(),
        body: body.as_bytes().to_vec(),
    }
}

fn gateway_fault(text: &str) -> Fault {
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, code, executed] = words.as_slice() else {
        panic!("a fault has a kind, a code and a fate");
    };
    Fault {
        kind: match *kind {
            "throttled" => FaultKind::Throttled,
            "transient" => FaultKind::Transient,
            "broken" => FaultKind::Broken,
            "auth" => FaultKind::Auth,
            other => panic!("no such kind of fault as {other}"),
        },
        code: (*code).to_owned(),
        message: String::new(),
        retry_after_ms: None,
        executed: match *executed {
            "no" => Executed::No,
            _ => Executed::Unknown,
        },
    }
}
