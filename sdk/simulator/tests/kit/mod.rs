//! A client of sockets and nothing else, so that a test sees what really came over the wire.

#![allow(dead_code, reason = "each test takes what it needs of the kit")]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_simulator::meters;
use tidegate_simulator::salesforce::{ClockMode, Handle, Options, Simulator};
use tokio::runtime::Runtime;

/// An answer that never comes fails its test, with the call's name, instead of holding up all the others for good.
const PATIENCE: Duration = Duration::from_secs(120);

const LOOK: Duration = Duration::from_millis(1);

/// Looks again until it is so; a test that would wait for ever fails instead.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() {
        if is_so() {
            return;
        }
        std::thread::sleep(LOOK);
    }
    panic!("it never came about: {what}");
}

/// 2026-03-01T10:00:00Z.
pub(crate) const START_MS: u64 = 1_772_359_200_000;

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether as much came as the content-length promised.
    pub(crate) complete: bool,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, or as a text where it is none; null where there is none.
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|_| json!(self.text()))
    }
}

/// A simulator whose clock stands still, in a runtime of its own.
pub(crate) struct Org {
    pub(crate) simulator: Handle,
    runtime: Runtime,
}

impl Org {
    pub(crate) fn start(options: Options) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let options = Options {
            clock: ClockMode::Manual { start_ms: START_MS },
            ..options
        };
        let simulator = runtime
            .block_on(Simulator::start(options))
            .expect("a simulator");
        Self { simulator, runtime }
    }

    /// A client that has logged in.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.simulator.base_url())
    }

    /// A client that has not.
    pub(crate) fn stranger(&self) -> Client {
        Client::unknown_to(self.simulator.base_url())
    }
}

/// A vendor's meters whose clock stands still, in a runtime of their own.
pub(crate) struct Site {
    pub(crate) meters: meters::Handle,
    _runtime: Runtime,
}

impl Site {
    pub(crate) fn start(options: meters::Options) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let meters = runtime
            .block_on(meters::Simulator::start(options))
            .expect("meters");
        Self {
            meters,
            _runtime: runtime,
        }
    }

    pub(crate) fn client(&self, token: &str) -> Client {
        let address = self.meters.base_url().trim_start_matches("http://");
        Client {
            address: address.to_owned(),
            token: Some(token.to_owned()),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    pub(crate) token: Option<String>,
}

impl Client {
    /// A client that has logged in.
    pub(crate) fn to(base_url: &str) -> Self {
        let mut client = Self::unknown_to(base_url);
        let form = "grant_type=client_credentials&client_id=simulated-client\
                    &client_secret=simulated-secret";
        let reply = client
            .send("POST", "/services/oauth2/token", &[], form.as_bytes())
            .expect("an answer");
        let token = reply.json()["access_token"].as_str().map(str::to_owned);
        client.token = Some(token.unwrap_or_else(|| panic!("no token: {}", reply.text())));
        client
    }

    fn unknown_to(base_url: &str) -> Self {
        Self {
            address: base_url.trim_start_matches("http://").to_owned(),
            token: None,
        }
    }

    /// One request on a connection of its own; an error if no whole head came back.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut stream = self.sent(method, target, headers, body)?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        parsed(&received)
    }

    /// A request whose sender does not wait for the answer, but holds the connection.
    pub(crate) fn send_only(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> io::Result<TcpStream> {
        self.sent(method, target, &[("user-agent", "kit")], body)
    }

    fn sent(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let named = |name: &str| {
            headers
                .iter()
                .any(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !named("host") {
            head += &format!("host: {}\r\n", self.address);
        }
        if let (Some(token), false) = (&self.token, named("authorization")) {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(body)?;
        Ok(stream)
    }

    pub(crate) fn json(&self, method: &str, target: &str, body: &Value) -> Reply {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.send(method, target, &[], &bytes)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub(crate) fn query(&self, soql: &str) -> Value {
        let encoded: String = soql
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect();
        let target = format!("/services/data/v60.0/query?q={encoded}");
        self.json("GET", &target, &Value::Null).json()
    }
}

fn parsed(received: &[u8]) -> io::Result<Reply> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(cut)?;
    let head = String::from_utf8_lossy(&received[..end]);
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(cut)?;
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = received[end + 4..].to_vec();
    let promised = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(body.len());
    Ok(Reply {
        status,
        complete: body.len() == promised,
        headers,
        body,
    })
}
