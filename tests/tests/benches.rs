//! The benches run and say what they measured. How long anything took is nobody's business here.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_sandbox::{BuildOptions, build_plugin};

/// Only benches use it, so `make test` builds it here.
fn built(plugin: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let options = BuildOptions {
        folder: root.join("tests/plugins").join(plugin),
        out: Some(root.join(format!("target/plugins/{plugin}.wasm"))),
        force: false,
    };
    if let Err(error) = build_plugin(&options, &|line| eprintln!("{line}")) {
        panic!("{plugin}: {error}");
    }
}

#[test]
fn every_bench_leaves_its_figures() {
    let out = tempfile::tempdir().expect("a folder");
    built("json-map");
    let benches = ["end-to-end", "sandbox", "mapping", "store"];
    let run = Command::new(env!("CARGO_BIN_EXE_tidegate-bench"))
        .args(["--quick", "--out"])
        .arg(out.path())
        .args(benches)
        .output()
        .expect("the program");
    let table = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    for name in benches {
        assert!(table.contains(&format!("{name}: ")), "{table}");
        let text = fs::read_to_string(out.path().join(format!("{name}.json"))).expect("figures");
        let told: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&told["bench"], &told["quick"]),
            (&name.into(), &true.into())
        );
        let mut measured = Vec::new();
        collect(&told["figures"], &mut measured);
        assert!(!measured.is_empty(), "{text}");
        assert!(measured.iter().all(|figure| *figure > 0.0), "{text}");
    }
}

/// The medians of all that was raced and the rates of all that was loaded, wherever the bench puts them.
fn collect(figures: &Value, measured: &mut Vec<f64>) {
    match figures {
        Value::Array(items) => items.iter().for_each(|item| collect(item, measured)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "median_us" || name == "written_s" || name.ends_with("_per_second") {
                    measured.extend(value.as_f64());
                }
                collect(value, measured);
            }
        }
        _ => {}
    }
}
