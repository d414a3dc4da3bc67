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
