//! House style, where a machine can judge it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace root")
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What ships: development dependencies may point anywhere.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = manifest(folder);
    manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

/// Imports run one way: core knows nobody, the daemon wires, plugins never see the host.
#[test]
fn imports_run_one_way() {
    let allowed: &[(&str, &[&str])] = &[
        ("host/core", &[]),
        ("host/store", &["tidegate-core"]),
        ("host/gateway", &["tidegate-core"]),
        ("host/sandbox", &["tidegate-core", "tidegate-gateway"]),
        (
            "host/daemon",
            &[
                "tidegate-core",
                "tidegate-gateway",
                "tidegate-sandbox",
                "tidegate-simulator",
                "tidegate-store",
            ],
        ),
        ("sdk/rust", &["tidegate-sdk-plain"]),
        ("sdk/rust/plain", &[]),
        ("sdk/simulator", &[]),
        ("plugins/salesforce", &["tidegate-sdk"]),
        ("plugins/sqlite", &["tidegate-sdk"]),
        ("plugins/field-map", &["tidegate-sdk"]),
    ];
    for (folder, allowed) in allowed {
        for dependency in dependencies(folder) {
            let ours = dependency == "tidegate" || dependency.starts_with("tidegate-");
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{folder} must not depend on {dependency}: imports run one way (ARCHITECTURE.md)"
            );
        }
    }
}

/// Core never asks for the time and never does I/O (invariant 9).
#[test]
fn core_is_pure() {
    let forbidden_crates = [
        "tokio", "wasmtime", "sled", "redb", "reqwest", "rusqlite", "rand", "futures",
    ];
    let dependencies = dependencies("host/core");
    for name in forbidden_crates {
        assert!(
            !dependencies.contains(name),
            "host/core must not depend on {name}"
        );
    }
    let forbidden = [
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "std::process",
        "Instant::now",
        "SystemTime",
        "Timestamp::now",
        "Zoned::now",
        "println!",
    ];
    for (path, text) in sources(&root().join("host/core/src"), "rs") {
        for word in forbidden {
            assert!(
                !text.contains(word),
                "{} uses {word}: core decides, others perform",
                path.display()
            );
        }
    }
}

/// Only `host/store` names a storage engine.
#[test]
fn one_room_knows_the_engines() {
    for folder in [
        "host/core",
        "host/gateway",
        "host/sandbox",
        "host/daemon",
        "tests",
    ] {
        for name in ["sled", "redb"] {
            assert!(
                !dependencies(folder).contains(name),
                "{folder} must not depend on {name}: go through tidegate-store"
            );
        }
    }
}

/// A file is a room; these names are cupboards.
#[test]
fn no_cupboards() {
    let forbidden = [
        "utils.rs",
        "util.rs",
        "helpers.rs",
        "helper.rs",
        "common.rs",
        "manager.rs",
        "misc.rs",
        "types.rs",
    ];
    for folder in ["host", "sdk", "plugins", "tests"] {
        for (path, _) in sources(&root().join(folder), "rs") {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            assert!(
                !forbidden.contains(&name),
                "{}: name the room after what it holds",
                path.display()
            );
        }
    }
}

/// The exact version that `host/store` is hardened for.
#[test]
fn sled_is_pinned() {
    let manifest = manifest(".");
    let sled = &manifest["workspace"]["dependencies"]["sled"];
    assert_eq!(
        sled.as_str(),
        Some("=0.34.7"),
        "another sled loses data when killed during open"
    );
}

fn sources(folder: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                found.extend(sources(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            found.push((path, text));
        }
    }
    found
}
