//! A vendor on the loopback that does what its script says and writes down what it got; a journal that
//! remembers; and the gateway between them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::manifest::Manifest;
use tidegate_core::plugin::{
    Answer, Fault, HttpMethod, HttpRequest, HttpResponse, Operation, Request, Response,
};
use tidegate_gateway::{
    Allowances, Answers, AuthSpec, Call, Clock, Dependencies, Egress, EndpointSpec, Gateway,
    Intent, Journal, JournalError, Lane, Limits, ManualClock, Now, Origin, Outside,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the vendor does with a request it has read.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// These bytes, then the connection stays open.
    Send(Vec<u8>),
    /// These bytes, then the connection ends.
    SendAndClose(Vec<u8>),
    /// Nothing, and the connection ends.
    Drop,
    /// `{}` after so many milliseconds of a clock.
    After(ManualClock, u64),
    /// These bytes after so many milliseconds of a clock.
    Late(ManualClock, u64, Vec<u8>),
    /// Nothing ever.
    Hang,
}

pub(crate) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

pub(crate) fn ok(body: &str) -> Play {
    Play::Send(response(
        "200 OK",
        "content-type: application/json\r\n",
        body,
    ))
}

pub(crate) fn answer(status: &str, body: &str) -> Play {
    Play::Send(response(status, "", body))
}

/// The vendor: plays its script, then answers `{}`, or whatever it is told to.
#[derive(Clone)]
pub(crate) struct Vendor {
    pub(crate) port: u16,
    script: Arc<Mutex<VecDeque<Play>>>,
    otherwise: Arc<dyn Fn(&str) -> Play + Send + Sync>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    pub(crate) async fn start(script: impl IntoIterator<Item = Play>) -> Self {
        Self::open(script.into_iter().collect(), Arc::new(|_| ok("{}"))).await
    }

    /// One that makes up each answer when it is asked, from the request's head and body.
    pub(crate) async fn answering(answer: impl Fn(&str) -> Play + Send + Sync + 'static) -> Self {
        Self::open(VecDeque::new(), Arc::new(answer)).await
    }

    async fn open(
        script: VecDeque<Play>,
        otherwise: Arc<dyn Fn(&str) -> Play + Send + Sync>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let vendor = Self {
            port: listener.local_addr().expect("an address").port(),
            script: Arc::new(Mutex::new(script)),
            otherwise,
            seen: Arc::default(),
        };
        let serving = vendor.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().converse(stream));
            }
        });
        vendor
    }

    async fn converse(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            self.seen.lock().expect("lock").push(request.clone());
            let play = self.script.lock().expect("lock").pop_front();
            match play.unwrap_or_else(|| (self.otherwise)(&request)) {
                Play::Send(bytes) => stream.write_all(&bytes).await.expect("written"),
                Play::SendAndClose(bytes) => {
                    stream.write_all(&bytes).await.expect("written");
                    return;
                }
                Play::After(clock, lasts_ms) => {
                    clock.sleep_until(clock.now().mono_ms + lasts_ms).await;
                    let bytes = response("200 OK", "", "{}");
                    stream.write_all(&bytes).await.expect("written");
                }
                Play::Late(clock, lasts_ms, bytes) => {
                    clock.sleep_until(clock.now().mono_ms + lasts_ms).await;
                    stream.write_all(&bytes).await.expect("written");
                }
                Play::Drop => return,
                Play::Hang => std::future::pending().await,
            }
        }
    }

    /// Requests so far, head and body, in order of arrival.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("lock").clone()
    }

    /// First lines of the requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let first = |request: &String| request.lines().next().unwrap_or_default().to_owned();
        self.seen().iter().map(first).collect()
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.parse::<usize>().ok())
                .unwrap_or(0);
            let whole = head + 4 + length;
            if buffer.len() >= whole {
                let request = String::from_utf8_lossy(&buffer[..whole]).into_owned();
                buffer.drain(..whole);
                return Some(request);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => buffer.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}

/// Remembers intents, with the number of requests the vendor had seen by then.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) intents: Mutex<Vec<(Intent, usize)>>,
    pub(crate) vendor: Mutex<Option<Vendor>>,
    pub(crate) fails: Mutex<bool>,
}

impl Journal for Memory {
    fn intend(&self, intent: Intent) -> BoxFuture<'_, Result<(), JournalError>> {
        if *self.fails.lock().expect("lock") {
            return async { Err(JournalError("disk full".to_owned())) }.boxed();
        }
        let vendor = self.vendor.lock().expect("lock").clone();
        let seen = vendor.map_or(0, |vendor| vendor.seen().len());
        self.intents.lock().expect("lock").push((intent, seen));
        async { Ok(()) }.boxed()
    }
}

pub(crate) struct Bench {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clock: ManualClock,
    pub(crate) journal: Arc<Memory>,
}

pub(crate) fn manifest(more: &str) -> Arc<Manifest> {
    let text = format!(
        r#"
        [plugin]
        name = "vendor"
        version = "1.0.0"
        kind = "connector"
        wit = "0.1.0"
        [errors]
        code = ["/0/errorCode", "/error"]
        message = ["/0/message"]
        {more}
        "#
    );
    Arc::new(toml::from_str(&text).expect("a manifest"))
}

/// An endpoint as the tests start from it.
pub(crate) fn spec(
    origins: &[(&str, &str)],
    manifest: Arc<Manifest>,
    auth: AuthSpec,
) -> EndpointSpec {
    EndpointSpec {
        name: "crm".into(),
        origins: origins
            .iter()
            .map(|(name, url)| ((*name).to_owned(), Origin::parse(url).expect("an origin")))
            .collect(),
        auth,
        accounts: Vec::new(),
        manifest,
        pools: BTreeMap::new(),
        egress: Egress::default(),
        limits: Limits {
            response_bytes_max: 100_000,
            ..Limits::default()
        },
    }
}

impl Bench {
    pub(crate) fn of(spec: EndpointSpec) -> Self {
        let clock = ManualClock::at(Now {
            mono_ms: 1_000,
            wall_us: 1_700_000_000_000_000,
        });
        Self::beside(spec, clock, Allowances::default())
    }

    /// In one host with others.
    pub(crate) fn beside(spec: EndpointSpec, clock: ManualClock, allowances: Allowances) -> Self {
        Self::sharing(spec, clock, allowances, Answers::default())
    }

    /// In one host with others, kept answers included.
    pub(crate) fn sharing(
        spec: EndpointSpec,
        clock: ManualClock,
        allowances: Allowances,
        answers: Answers,
    ) -> Self {
        let journal = Arc::new(Memory::default());
        let host = Dependencies {
            clock: Arc::new(clock.clone()),
            journal: journal.clone(),
            allowances,
            answers,
            seed: 1,
        };
        let gateway = Gateway::new(spec, host).expect("a gateway");
        Self {
            gateway,
            clock,
            journal,
        }
    }

    /// In front of a vendor, without credentials.
    pub(crate) fn plain(vendor: &Vendor, more: &str) -> Self {
        let origin = format!("http://127.0.0.1:{}", vendor.port);
        let bench = Self::of(spec(&[("main", &origin)], manifest(more), AuthSpec::None));
        *bench.journal.vendor.lock().expect("lock") = Some(vendor.clone());
        bench
    }

    /// Runs a call while time passes quickly for whoever sleeps less than ten seconds. What is on the loopback
    /// arrives first: the network is quicker than any pause.
    pub(crate) async fn passing<T>(&self, call: impl Future<Output = T>) -> T {
        let time = async {
            loop {
                self.clock.sleeper_within(10_000).await;
                for _ in 0..1_000 {
                    tokio::task::yield_now().await;
                }
                let next = self.clock.sleeper_within(10_000).await;
                let now_ms = tidegate_gateway::Clock::now(&self.clock).mono_ms;
                self.clock.advance(next - now_ms);
            }
        };
        tokio::select! {
            biased;
            result = call => result,
            () = time => unreachable!("time goes on"),
        }
    }

    pub(crate) async fn fetch(&self, requests: Vec<Request>) -> Vec<Result<Response, Fault>> {
        let call = reading();
        self.passing(self.gateway.fetch_batch(&call, requests))
            .await
    }

    pub(crate) async fn write(&self, requests: Vec<Request>) -> Vec<Result<Response, Fault>> {
        let call = pushing();
        self.passing(self.gateway.write_batch(&call, requests))
            .await
    }
}

pub(crate) fn reading() -> Call {
    Call {
        sync: "people".into(),
        function: "pull",
        lane: Lane::Normal,
        may_write: false,
        tokens: Arc::default(),
    }
}

/// A push that was given the rows 1 to 9.
pub(crate) fn pushing() -> Call {
    Call {
        function: "push",
        may_write: true,
        tokens: Arc::new((1..10).collect::<HashSet<u64>>()),
        ..reading()
    }
}

pub(crate) fn http(method: HttpMethod, path: &str) -> HttpRequest {
    HttpRequest {
        method,
        path: path.to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
        origin: None,
    }
}

pub(crate) fn request(operation: Operation, rows: &[u64]) -> Request {
    Request {
        operation,
        costs: Vec::new(),
        rows: rows.to_vec(),
        idempotent: false,
        freshness: None,
    }
}

pub(crate) fn get(path: &str) -> Request {
    request(Operation::Http(http(HttpMethod::Get, path)), &[])
}

pub(crate) fn post(path: &str, rows: &[u64]) -> Request {
    let mut post = http(HttpMethod::Post, path);
    post.body = b"{}".to_vec();
    request(Operation::Http(post), rows)
}

pub(crate) fn http_answer(result: &Result<Response, Fault>) -> &HttpResponse {
    match &result.as_ref().expect("an answer").answer {
        Answer::Http(response) => response,
        other => panic!("not HTTP: {other:?}"),
    }
}

pub(crate) fn code(result: &Result<Response, Fault>) -> &str {
    &result.as_ref().expect_err("a fault").code
}
