//! The socket of a running host, and the commands that speak to it, against a host that is only pretended.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command as Process, Output};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::control::{self, Answer, Answerer, AskError, Listener, Request, socket_path};
use tidegate::quota::PoolQuota;
use tidegate::status::{
    Command, CommandError, Done, EndpointStatus, HoldStatus, Latency, PoolStatus, Resumed, Status,
    SyncState, SyncStatus, Told,
};
use tidegate::usage::{HourUsage, LineUsage, PoolUsage, Sums};
use tidegate_core::hold::Scope;
use tidegate_core::pace::Lane;

/// Answers as it was told, and keeps what it was asked.
struct Pretended {
    state: SyncState,
    asked: Mutex<Vec<Request>>,
}

impl Pretended {
    fn new(state: SyncState) -> Arc<Self> {
        Arc::new(Self {
            state,
            asked: Mutex::default(),
        })
    }

    fn hold(&self) -> HoldStatus {
        HoldStatus {
            what: "endpoint crm".into(),
            by: "ana".into(),
            since_us: 1_700_000_000_000_000,
            why: "the vendor moves".into(),
        }
    }

    fn status(&self) -> Status {
        Status {
            holds: vec![self.hold()],
            version: "0.1.0".into(),
            uptime_ms: 65_000,
            syncs: vec![SyncStatus {
                name: "people".into(),
                state: self.state,
                records: 1_234_567,
                left_to_right: Latency {
                    p50_ms: Some(120),
                    p99_ms: Some(2_500),
                    max_ms: Some(3_000),
                },
                last_error: Some(Told {
                    code: "503".into(),
                    message: "the vendor is down".into(),
                }),
                ..SyncStatus::default()
            }],
            endpoints: vec![EndpointStatus {
                name: "crm".into(),
                plugin: "salesforce".into(),
                requests: 12,
                pools: vec![PoolStatus {
                    name: "daily".into(),
                    used: 70,
                    used_by_others: 12,
                    limit: 100,
                    level: "notify".into(),
                    parked_ms: Some(30_000),
                    reason: "spent".into(),
                }],
                ..EndpointStatus::default()
            }],
            ..Status::default()
        }
    }
}

impl Answerer for Pretended {
    fn answer(&self, request: Request) -> BoxFuture<'_, Answer> {
        let answer = match &request {
            Request::Status => Answer::Status(Box::new(self.status())),
            Request::Quota => Answer::Quota(quota()),
            Request::Usage { .. } => Answer::Usage(usage()),
            Request::Metrics => Answer::Metrics("tidegate_uptime_seconds 1\n".to_owned()),
            Request::Stop => Answer::Stopping,
            Request::Command {
                command:
                    Command::Pause {
                        what: Scope::Sync(sync),
                        ..
                    },
            } if sync != "people" => Answer::Error(CommandError {
                code: "unknown-sync".into(),
                message: format!("there is no sync `{sync}`"),
            }),
            Request::Command {
                command: Command::Resume { .. },
            } => Answer::Done(Done::Resumed(Resumed {
                lifted: 1,
                still: vec![self.hold()],
                ..Resumed::default()
            })),
            Request::Command { .. } => Answer::Done(Done::Changed(1)),
        };
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(request);
        }
        async { answer }.boxed()
    }
}

fn quota() -> Vec<PoolQuota> {
    let daily = PoolQuota {
        account: "salesforce https://acme.example".into(),
        endpoints: vec!["crm".into(), "leads".into()],
        pool: "daily".into(),
        window: "24h".into(),
        limit: 100_000,
        ours: 50_000,
        others: 25_000,
        left: 25_000,
        level: "notify".into(),
        per_hour: Some(6_250),
        ends_in_ms: Some(4 * 3_600_000),
        margin_ms: 12,
        ..PoolQuota::default()
    };
    let long = PoolQuota {
        pool: "long-calls".into(),
        window: "at once, past 20s".into(),
        limit: 25,
        left: 25,
        level: "plenty".into(),
        parked_ms: Some(30_000),
        reason: "the vendor said stop".into(),
        ..daily.clone()
    };
    vec![
        daily,
        PoolQuota {
            per_hour: None,
            ends_in_ms: None,
            ours: 0,
            others: 0,
            ..long
        },
    ]
}

fn usage() -> Vec<PoolUsage> {
    let sums = |units| Sums {
        calls: units / 2,
        units,
        rows: units * 200,
        bytes: units << 10,
        throttled: 0,
    };
    let hour = |at_us, units| HourUsage {
        at_us,
        sums: sums(units),
    };
    let peak = hour(1_700_000_000_000_000, 4_000);
    let line = LineUsage {
        sync: "people".into(),
        operation: "push".into(),
        lane: Lane::Critical,
        sums: sums(1_000),
    };
    vec![PoolUsage {
        account: "salesforce https://acme.example".into(),
        endpoints: vec!["crm".into()],
        pool: "daily".into(),
        total: sums(5_000),
        critical: sums(1_000),
        hours: vec![peak.clone(), hour(1_700_003_600_000_000, 1_000)],
        peaks: vec![peak],
        lines: vec![line.clone()],
        transfers: vec![line],
    }]
}

/// A data folder with a config beside it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("the data folder");
    std::fs::write(folder.path().join("tidegate.toml"), "[syncs]\n").expect("the config");
    folder
}

fn serve(data: &Path, answerer: Arc<Pretended>) -> tokio::task::JoinHandle<std::io::Result<()>> {
    let listener = Listener::bind(data).expect("the socket");
    tokio::spawn(listener.serve(answerer))
}

async fn tidegate(folder: &Path, arguments: &'static [&'static str]) -> Output {
    let folder = folder.to_owned();
    let run = move || {
        Process::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(folder)
            .args(arguments)
            .output()
            .expect("tidegate runs")
    };
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_in_one_line_out() {
    let folder = folder();
    let data = folder.path().join("data");
    let served = serve(&data, Pretended::new(SyncState::Running));

    let mode = std::fs::metadata(socket_path(&data))
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner may command a host");

    let path = socket_path(&data);
    let conversation = move || {
        let stream = UnixStream::connect(path).expect("a connection");
        let mut write = stream.try_clone().expect("a second handle");
        let mut read = BufReader::new(stream);
        ["what?", r#"{"ask":"status"}"#, r#"{"ask":"fly"}"#].map(|line| {
            writeln!(write, "{line}").expect("the request");
            let mut answer = String::new();
            read.read_line(&mut answer).expect("the answer");
            serde_json::from_str::<Value>(&answer).expect("JSON")
        })
    };
    let [garbage, status, unknown] = tokio::task::spawn_blocking(conversation)
        .await
        .expect("no panic");
    assert_eq!(garbage["error"]["code"], "request-not-understood");
    assert_eq!(status["status"]["syncs"][0]["name"], "people");
    assert_eq!(unknown["error"]["code"], "request-not-understood");

    served.abort();
    served.await.expect_err("it was aborted");
    assert!(!socket_path(&data).exists(), "the socket is removed");
}

/// A host that was killed leaves its socket: it counts as not running, and the next host takes the place.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_left_behind() {
    let folder = folder();
    let data = folder.path().join("data");
    let ask = async || control::ask(&data, &Request::Status).await;
    assert!(matches!(ask().await, Err(AskError::NotRunning(_))));

    drop(std::os::unix::net::UnixListener::bind(socket_path(&data)).expect("a socket"));
    assert!(socket_path(&data).exists());
    assert!(matches!(ask().await, Err(AskError::NotRunning(_))));

    let served = serve(&data, Pretended::new(SyncState::Running));
    assert!(matches!(ask().await, Ok(Answer::Status(_))));
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_with_codes_for_scripts() {
    let folder = folder();
    let data = folder.path().join("data");

    let alone = tidegate(folder.path(), &["status", "--json"]).await;
    assert_eq!(alone.status.code(), Some(5));
    assert_eq!(json_of(&alone)["code"], "not-running");

    let host = Pretended::new(SyncState::Running);
    let served = serve(&data, host.clone());
    let cases: &[(&[&str], i32, Value)] = &[
        (
            &["pause", "sync", "people", "--json"],
            0,
            json!({ "changed": 1 }),
        ),
        (
            &["release-deletes", "people", "--json"],
            0,
            json!({ "changed": 1 }),
        ),
        (
            &["pause", "sync", "peple", "--json"],
            1,
            json!({ "code": "unknown-sync", "message": "there is no sync `peple`" }),
        ),
        (
            &[
                "pause",
                "endpoint",
                "crm",
                "--by",
                "ana",
                "--because",
                "an audit",
                "--json",
            ],
            0,
            json!({ "changed": 1 }),
        ),
        (
            &["pause", "pool", "crm.daily", "--json"],
            0,
            json!({ "changed": 1 }),
        ),
        (
            &["resume", "all", "--json"],
            0,
            json!({ "lifted": 1, "cleared": 0, "released": 0, "still": [host.hold()] }),
        ),
        (&["stop", "--json"], 0, json!({ "stopping": true })),
    ];
    for (arguments, code, answer) in cases {
        let output = tidegate(folder.path(), arguments).await;
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}");
        assert_eq!(json_of(&output), *answer, "{arguments:?}");
    }
    let asked = host.asked.lock().expect("no panic").clone();
    assert_eq!(
        asked[1],
        Request::Command {
            command: Command::ReleaseDeletes {
                sync: "people".into()
            }
        }
    );
    assert_eq!(
        asked[3],
        Request::Command {
            command: Command::Pause {
                what: Scope::Endpoint("crm".into()),
                by: "ana".into(),
                why: "an audit".into(),
            }
        }
    );
    let daily = Scope::Pool {
        endpoint: "crm".into(),
        pool: "daily".into(),
    };
    assert!(matches!(
        &asked[4],
        Request::Command { command: Command::Pause { what, .. } } if *what == daily
    ));
    let Request::Command {
        command: Command::Pause { by, .. },
    } = &asked[0]
    else {
        panic!("{:?}", asked[0]);
    };
    assert!(!by.is_empty(), "the user's own name");

    let status = tidegate(folder.path(), &["status", "--json"]).await;
    assert_eq!(status.status.code(), Some(0));
    assert_eq!(
        json_of(&status),
        serde_json::to_value(host.status()).expect("JSON")
    );
    let text = tidegate(folder.path(), &["status"]).await;
    let text = String::from_utf8(text.stdout).expect("UTF-8");
    for wanted in [
        "1,234,567",
        "120 ms / 2.5 s",
        "the vendor is down [503]",
        "parked for 30 s: spent",
        "endpoint crm paused by ana at 2023-11-14T22:13:20Z: the vendor moves",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn allowances_are_shown_as_tables_and_as_json() {
    let folder = folder();
    let served = serve(
        &folder.path().join("data"),
        Pretended::new(SyncState::Running),
    );
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["quota"],
            &[
                "salesforce https://acme.example (crm, leads)",
                "██████████▒▒▒▒▒·····  50,000  25,000  25,000  100,000  notify  6,250     4 h      12 ms   open",
                "parked for 30 s: the vendor said stop",
            ],
        ),
        (
            &["usage", "--hours", "2"],
            &[
                "pool daily of salesforce https://acme.example: 5,000 units in 2,500 calls, 0 throttled; critical ████················ 1,000 of 5,000 units",
                "11-14 22:13Z  ████████████████████  4,000  2,000  800,000  3.9 MiB   peak",
                "11-14 23:13Z  █████···············  1,000",
                "people                       push       critical  1,000",
                "largest transfers",
            ],
        ),
    ];
    for (arguments, wanted) in cases {
        let output = tidegate(folder.path(), arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        for wanted in *wanted {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
    }
    let as_json = tidegate(folder.path(), &["quota", "--json"]).await;
    assert_eq!(
        json_of(&as_json),
        serde_json::to_value(quota()).expect("JSON")
    );
    let as_json = tidegate(folder.path(), &["usage", "--json"]).await;
    assert_eq!(
        json_of(&as_json),
        serde_json::to_value(usage()).expect("JSON")
    );
    let wrong = tidegate(folder.path(), &["usage", "--hours", "0"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sync_asks_for_a_person() {
    for state in [SyncState::Stopped, SyncState::Braked] {
        let folder = folder();
        let served = serve(&folder.path().join("data"), Pretended::new(state));
        let status = tidegate(folder.path(), &["status"]).await;
        assert_eq!(status.status.code(), Some(4), "{state:?}");
        served.abort();
    }
}
