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
    built("json-map");
    leave(&["end-to-end", "sandbox", "mapping", "store"]);
}

/// Time is simulated there, so what the vendors refused is not a matter of the machine: nothing of ours when we are
/// alone, and something of whoever is naive.
#[test]
fn pacing_is_held_by_vendors_that_refuse() {
    let figures = leave(&["pacing"]).remove(0);
    println!("seed {}", figures["seed"]);
    let list = |name: &str| figures[name].as_array().expect("a list").clone();
    for worked in [list("alone"), list("killed")].concat() {
        assert_eq!(worked["refused"], 0, "{worked:#}");
        let used = worked["used_share"].as_f64().expect("a share");
        // In a short window a kill costs what was on the books.
        let long = worked["window_ms"] == 86_400_000;
        let alone = list("alone").contains(&worked);
        assert!(used >= 0.95 || !(long || alone), "{worked:#}");
    }
    for beside in list("urgent") {
        let sender = beside["sender"].as_str().expect("a name");
        let ours = sender.starts_with("tidegate");
        assert_eq!(beside["refused"] == 0, ours, "{beside:#}");
    }
    for carried in list("credentials") {
        assert_eq!(carried["lost"], 0, "{carried:#}");
    }
}

/// Runs benches at their smallest, and returns what each has measured.
fn leave(benches: &[&str]) -> Vec<Value> {
    let out = tempfile::tempdir().expect("a folder");
    let run = Command::new(env!("CARGO_BIN_EXE_tidegate-bench"))
        .args(["--quick", "--out"])
        .arg(out.path())
        .args(benches)
        .output()
        .expect("the program");
    let table = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{}: {}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    let told = benches.iter().map(|name| {
        assert!(table.contains(&format!("{name}: ")), "{table}");
        let text = fs::read_to_string(out.path().join(format!("{name}.json"))).expect("figures");
        let told: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&told["bench"], &told["quick"]),
            (&(*name).into(), &true.into())
        );
        let mut measured = Vec::new();
        collect(&told["figures"], &mut measured);
        assert!(!measured.is_empty(), "{text}");
        assert!(measured.iter().all(|figure| *figure > 0.0), "{text}");
        told["figures"].clone()
    });
    told.collect()
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
