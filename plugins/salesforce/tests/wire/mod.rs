//! A gateway over plain HTTP to the simulator: what the host would send, byte by byte, without its pacing.

#![allow(dead_code, unused_imports, reason = "each file of tests uses its part")]

mod world;

pub(crate) use world::World;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value as Json;
use tidegate_sdk::bindings::connector::tidegate::plugin::gateway::{Header, HttpMethod, Operation};
use tidegate_sdk::{
    Answer, Executed, Fault, Gateway, HttpResponse, Level, Request, Response, segment,
};

/// An answer that never comes fails its test, with the call's name, instead of holding up all the others for good.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client of one simulated org.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    address: String,
    token: String,
}

impl Wire {
    /// Logs in by client credentials.
    pub(crate) fn new(base_url: &str) -> Self {
        let mut wire = Self {
            address: base_url.trim_start_matches("http://").to_owned(),
            token: String::new(),
        };
        let form = "grant_type=client_credentials&client_id=simulated-client&client_secret=simulated-secret";
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let response = wire
            .send("POST", "/services/oauth2/token", &headers, form.as_bytes())
            .expect("a login");
        let body: Json = serde_json::from_slice(&response.body).expect("a token");
        wire.token = body["access_token"].as_str().expect("a token").to_owned();
        wire
    }

    /// A request with a JSON body, as another application would make it.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Json) -> HttpResponse {
        let bytes = match body {
            Json::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        self.send(
            method,
            path,
            &[("content-type", "application/json")],
            &bytes,
        )
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpResponse, String> {
        let mut stream = TcpStream::connect(&self.address)
            .and_then(|stream| stream.set_read_timeout(Some(PATIENCE)).map(|()| stream))
            .map_err(|error| error.to_string())?;
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\nauthorization: \
             Bearer {}\r\n",
            self.address,
            body.len(),
            self.token
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut answer = Vec::new();
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .and_then(|()| stream.read_to_end(&mut answer))
            .map_err(|error| error.to_string())?;
        parse(&answer).ok_or_else(|| "the answer was cut off".to_owned())
    }

    /// As the host seals what goes by SOAP; `tidegate-gateway` has the real one.
    fn sealed(&self, body: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(body).expect("XML");
        format!(
            "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns=\"urn:partner.soap.sforce.com\"><soapenv:Header><SessionHeader><sessionId>{}</sessionId>\
             </SessionHeader></soapenv:Header><soapenv:Body>{text}</soapenv:Body></soapenv:Envelope>",
            self.token
        )
        .into_bytes()
    }

    fn request(&self, request: &Request) -> Result<Response, Fault> {
        let Operation::Http(http) = &request.operation else {
            panic!("the plugin asks for HTTP only");
        };
        let method = match http.method {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Delete => "DELETE",
        };
        let query: Vec<String> = http
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", segment(name), segment(value)))
            .collect();
        let target = match query.is_empty() {
            true => http.path.clone(),
            false => format!("{}?{}", http.path, query.join("&")),
        };
        let headers: Vec<(&str, &str)> = http
            .headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_str()))
            .collect();
        let body = match http.path.starts_with("/services/Soap/") {
            true => self.sealed(&http.body),
            false => http.body.clone(),
        };
        let answer = self.send(method, &target, &headers, &body);
        let response = answer
            .map_err(|error| Fault::transient("connection-lost", error).with_unknown_fate())?;
        Ok(Response {
            answer: Answer::Http(response),
            age_ms: 0,
            stale: false,
        })
    }
}

impl Gateway for Wire {
    fn fetch_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        requests
            .iter()
            .map(|request| self.request(request))
            .collect()
    }

    fn write_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        let mut stopped = false;
        requests
            .iter()
            .map(|request| {
                assert!(
                    !request.rows.is_empty() || sets_state(request),
                    "a write names its rows, but for one that closes a job"
                );
                if stopped {
                    return Err(Fault::transient("not-attempted", ""));
                }
                let answer = self.request(request);
                stopped = matches!(&answer, Err(fault) if fault.executed == Executed::Unknown);
                answer
            })
            .collect()
    }

    fn log(&self, _: Level, _: &str) {}
}

fn sets_state(request: &Request) -> bool {
    matches!(&request.operation, Operation::Http(http)
        if http.method == HttpMethod::Patch && http.path.contains("/jobs/ingest/"))
}

/// `None` when the body is shorter than announced.
fn parse(answer: &[u8]) -> Option<HttpResponse> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<Header> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| Header {
            name: name.to_ascii_lowercase(),
            value: value.to_owned(),
        })
        .collect();
    let body = answer[end + 4..].to_vec();
    let length = headers
        .iter()
        .find(|header| header.name == "content-length")
        .map_or(Some(0), |header| header.value.parse().ok())?;
    (body.len() == length).then_some(HttpResponse {
        status,
        headers,
        body,
    })
}
