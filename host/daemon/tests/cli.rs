//! The binary as scripts see it: exit codes, and JSON on standard output.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("tidegate runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

#[test]
fn help_names_the_exit_codes() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = tidegate(folder.path(), &["--help"]);
    assert_eq!(code(&help), Some(0));
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    for wanted in ["check", "status", "5  no host is running"] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    assert_eq!(code(&tidegate(folder.path(), &["chekc"])), Some(2));
}

#[test]
fn a_missing_config_is_a_problem_with_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = tidegate(folder.path(), &["check", "--json"]);
    assert_eq!(code(&check), Some(2));
    let report = json(&check);
    assert_eq!(report["errors"], 1);
    assert_eq!(report["problems"][0]["code"], "file-unreadable");
    assert_eq!(report["problems"][0]["file"], "tidegate.toml");
}

/// File problems, plugin problems and secrets come in one answer.
#[test]
fn check_reports_everything_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = r#"
[plugins]
text = { file = "text.wasm" }
gone = { file = "gone.wasm" }

[endpoints.crm]
plugin = "text"
origins = { main = "https://acme.example" }
auth = { scheme = "bearer", token = { env = "TIDEGATE_TEST_UNSET" } }
zone = "misspelt"
"#;
    std::fs::write(folder.path().join("c.toml"), config).expect("the config");
    std::fs::write(folder.path().join("text.wasm"), "not wasm").expect("the file");
    let check = tidegate(
        folder.path(),
        &["check", "--offline", "--json", "--config", "c.toml"],
    );
    assert_eq!(code(&check), Some(2));
    let report = json(&check);
    let found: Vec<(String, String, u64)> = report["problems"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|problem| {
            let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
            (
                text("code"),
                text("key"),
                problem["line"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    let wanted = [
        ("missing-key", "syncs", 1),
        ("plugin-unusable", "plugins.text.file", 3),
        ("plugin-unusable", "plugins.gone.file", 4),
        ("secret-missing", "endpoints.crm.auth.token", 9),
        ("unknown-key", "endpoints.crm.zone", 10),
    ];
    let wanted = wanted.map(|(code, key, line)| (code.to_owned(), key.to_owned(), line));
    assert_eq!(found, wanted, "{report:#}");
    assert!(
        !folder.path().join("data").exists(),
        "check changes nothing"
    );
}
