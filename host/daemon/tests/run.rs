//! A host as a process: it starts, answers, keeps others out, and ends cleanly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A host without a single sync is still a host.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[host]\nlog-format = \"json\"\n[syncs]\n";
    std::fs::write(folder.path().join("tidegate.toml"), config).expect("the config");
    folder
}

fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("tidegate runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

/// A host that does not outlive its test.
struct Running(Child);

impl Running {
    fn code(&mut self) -> Option<i32> {
        self.0.wait().expect("the host").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts a host and returns when its log says that it answers.
fn start(folder: &Path) -> (Running, impl Iterator<Item = Value>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .arg("run")
        .stderr(Stdio::piped())
        .spawn()
        .expect("tidegate starts");
    let stderr = BufReader::new(child.stderr.take().expect("its log"));
    let running = Running(child);
    let mut log = stderr.lines().map(|line| {
        let line = line.expect("a line of the log");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a JSON line: {line}"))
    });
    let started =
        log.find(|line: &Value| line["message"] == "answering" || line["level"] == "ERROR");
    // An end of the log means that the host has ended.
    let message = started.map(|line| line["message"].clone());
    assert_eq!(message, Some("answering".into()));
    (running, log)
}

fn signal(host: &Running, signal: i32) {
    let pid = host.0.id();
    let sent = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn a_host_starts_answers_and_ends() {
    let folder = folder();
    let (mut host, log) = start(folder.path());
    let data = folder.path().join("data");
    let mode = std::fs::metadata(&data)
        .expect("the data folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);

    let status = tidegate(folder.path(), &["status", "--json"]);
    assert_eq!(status.status.code(), Some(0));
    let status = json(&status);
    assert_eq!(status["store"]["engine"], "sled");
    assert_eq!(status["stopping"], false);
    assert!(status["rss-bytes"].as_u64().is_some_and(|bytes| bytes > 0));

    let second = tidegate(folder.path(), &["run", "--json"]);
    assert_eq!(second.status.code(), Some(3), "the store has one owner");
    assert_eq!(json(&second)["code"], "store-locked");
    let unknown = tidegate(folder.path(), &["pause", "sync", "nobody", "--json"]);
    assert_eq!(unknown.status.code(), Some(1));

    signal(&host, 15);
    assert_eq!(host.code(), Some(0));
    let last = log.last().expect("a last word");
    assert_eq!(
        last["message"],
        "stopped; all that was acknowledged is on disk"
    );
    assert!(!data.join("tidegate.sock").exists());
    assert_eq!(tidegate(folder.path(), &["status"]).status.code(), Some(5));
}

/// A killed host leaves a socket and a store; the next one takes both over, and ends by command.
#[test]
fn a_killed_host_is_followed_by_another() {
    let folder = folder();
    let (mut host, _) = start(folder.path());
    host.0.kill().expect("killed");
    assert_eq!(host.code(), None, "killed by a signal");
    assert!(folder.path().join("data/tidegate.sock").exists());
    assert_eq!(tidegate(folder.path(), &["status"]).status.code(), Some(5));

    let (mut host, _log) = start(folder.path());
    let stop = tidegate(folder.path(), &["stop", "--json"]);
    assert_eq!(json(&stop)["stopping"], true);
    assert_eq!(host.code(), Some(0));
}

#[test]
fn a_wrong_config_is_told_whole() {
    let folder = folder();
    let config =
        "[plugins]\nx = { file = \"x.wasm\", fiel = 1 }\n[endpoints]\ne = { plugin = \"y\" }\n";
    std::fs::write(folder.path().join("tidegate.toml"), config).expect("the config");
    let run = tidegate(folder.path(), &["run"]);
    assert_eq!(run.status.code(), Some(2));
    let text = String::from_utf8(run.stderr).expect("UTF-8");
    for wanted in ["unknown-key", "unknown-plugin"] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    assert!(!folder.path().join("data").exists(), "nothing was begun");
}

#[test]
fn figures_are_shown_to_a_collector() {
    let folder = folder();
    let config = "[host]\nlog-format = \"json\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n[syncs]\n";
    std::fs::write(folder.path().join("tidegate.toml"), config).expect("the config");
    let (_host, mut log) = start(folder.path());
    let shown = log.find(|line| line["message"] == "showing figures");
    let shown = shown.expect("it listens");
    let address = shown["listen"].as_str().expect("where");
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\ntidegate_uptime_seconds "), "{answer}");
    let printed = tidegate(folder.path(), &["status", "--metrics"]);
    assert_eq!(printed.status.code(), Some(0));
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("\ntidegate_memory_bytes "), "{printed}");
}
