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
use tidegate::status::{
    Command, CommandError, Done, EndpointStatus, HoldStatus, Latency, PoolStatus, Resumed, Status,
    SyncState, SyncStatus, Told,
};
use tidegate_core::hold::Scope;

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
                linked: 1_234_567,
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
            Request::Quota => Answer::Quota(Vec::new()),
            Request::Usage { .. } => Answer::Usage(Vec::new()),
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
async fn a_stopped_sync_asks_for_a_person() {
    for state in [SyncState::Stopped, SyncState::Braked] {
        let folder = folder();
        let served = serve(&folder.path().join("data"), Pretended::new(state));
        let status = tidegate(folder.path(), &["status"]).await;
        assert_eq!(status.status.code(), Some(4), "{state:?}");
        served.abort();
    }
}
