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
    for wanted in [
        "check",
        "run",
        "status",
        "sim",
        "plugin",
        "store",
        "5  no host is running",
    ] {
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

/// Out of one engine and into another, with a code for each way in which a store can't be had.
#[test]
fn the_store_moves_and_is_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| tidegate(folder.path(), arguments);
    let config = |name: &str, engine: &str| {
        let text = format!("host = {{ data = \"{name}\", engine = \"{engine}\" }}\n[syncs]\n");
        std::fs::write(folder.path().join(format!("{name}.toml")), text).expect("the config");
    };
    config("one", "sled");
    config("two", "redb");

    let none = run(&["store", "verify", "--json", "-c", "one.toml"]);
    assert_eq!(
        (code(&none), &json(&none)["code"]),
        (Some(3), &"no-store".into())
    );

    let options = tidegate_store::Options::default();
    let store = tidegate_store::Store::open(folder.path().join("one/store"), options);
    let store = store.expect("a store");
    let locked = run(&["store", "verify", "--json", "-c", "one.toml"]);
    assert_eq!(
        (code(&locked), &json(&locked)["code"]),
        (Some(3), &"store-locked".into())
    );

    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(async {
            let batch = tidegate_store::Batch::new().put("key", "value");
            store.apply(batch).await.expect("applied");
            store.close().await.expect("closed");
        });
    let export = run(&["store", "export", "all.export", "--json", "-c", "one.toml"]);
    assert_eq!(
        (code(&export), &json(&export)["records"]),
        (Some(0), &1.into())
    );
    let import = run(&["store", "import", "all.export", "--json", "-c", "two.toml"]);
    assert_eq!(
        (code(&import), &json(&import)["records"]),
        (Some(0), &1.into())
    );
    let again = run(&["store", "import", "all.export", "--json", "-c", "two.toml"]);
    assert_eq!(
        (code(&again), &json(&again)["code"]),
        (Some(1), &"import-not-empty".into())
    );
    let verify = run(&["store", "verify", "--json", "-c", "two.toml"]);
    assert_eq!(
        (code(&verify), &json(&verify)["records"]),
        (Some(0), &1.into())
    );
}

#[test]
fn a_file_that_is_no_plugin_is_inspected_with_a_code() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("x.wasm"), "not wasm").expect("the file");
    for (file, wanted) in [("x.wasm", "not-wasm"), ("gone.wasm", "read-failed")] {
        let inspect = tidegate(folder.path(), &["plugin", "inspect", file, "--json"]);
        assert_eq!(
            (code(&inspect), &json(&inspect)["code"]),
            (Some(1), &wanted.into())
        );
    }
}

/// What it would lose must not be wanted by anybody.
#[test]
fn nothing_is_removed_from_an_endpoint_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = r#"
[plugins]
any = { file = "any.wasm" }
[endpoints]
db = { plugin = "any" }
crm = { plugin = "any" }
[syncs.people]
left = { endpoint = "db", object = "people", key = "k" }
right = { endpoint = "crm", object = "Contact", key = "k" }
mapping = { plugin = "any" }
"#;
    std::fs::write(folder.path().join("tidegate.toml"), config).expect("the config");
    for (endpoint, wanted, words) in [
        ("db", "endpoint-in-use", "still named by `people`"),
        ("crm", "endpoint-in-use", "still named by `people`"),
        ("dp", "unknown-endpoint", "did you mean `db`?"),
    ] {
        let removed = tidegate(folder.path(), &["remove", endpoint, "--json"]);
        assert_eq!(code(&removed), Some(2));
        let answer = json(&removed);
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(
            answer["code"] == wanted && message.contains(words),
            "{endpoint}: {answer}"
        );
    }
    assert!(!folder.path().join("data").exists(), "it changes nothing");
}
