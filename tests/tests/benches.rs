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

/// Whatever the scale: what is played ends clean, a start with nothing to do writes nothing, and few calls are enough.
#[test]
fn calls_are_few_and_a_rerun_writes_nothing() {
    let figures = leave(&["calls"]).remove(0);
    let played = &figures["played"];
    for trouble in ["lost", "duplicates", "mismatches", "throttled"] {
        assert_eq!(played["report"][trouble], 0, "{played:#}");
    }
    // So few records that logging in and asking what there is weighs more than writing them.
    assert!(
        number(&played["first_sync"]["fewer_percent"]) >= 80.0,
        "{played:#}"
    );
    for (size, engine) in [
        ("many", "sled"),
        ("many", "redb"),
        ("few", "sled"),
        ("few", "redb"),
    ] {
        let loaded = &figures[size][engine];
        let rerun = &loaded["rerun"];
        for count in ["org_writes", "written", "captured"] {
            assert_eq!(rerun[count], 0, "{size}, {engine}: {rerun:#}");
        }
        assert!(number(&loaded["peak_rss_mb"]) > 0.0, "{loaded:#}");
    }
    let contenders = figures["contenders"].as_array().expect("a list");
    assert_eq!(contenders.len(), 4);
    let plain = &contenders[1];
    assert!(
        number(&plain["api_calls"]) >= number(&plain["records"]),
        "{plain:#}"
    );
    for bulk in [&contenders[0], &contenders[2], &contenders[3]] {
        assert!(
            number(&bulk["api_calls"]) < number(&plain["api_calls"]),
            "{bulk:#}"
        );
    }
}

const DAY_MS: u64 = 86_400_000;

fn number(figure: &Value) -> f64 {
    figure.as_f64().expect("a number")
}

/// Time is simulated there, so what the vendors refused, what was used and how long anything took is not a matter of the
/// machine: each figure is held to what is promised, and whoever is naive gets what it earns.
#[test]
fn pacing_keeps_what_it_promises() {
    let figures = leave(&["pacing"]).remove(0);
    println!("seed {}", figures["seed"]);
    let list = |name: &str| figures[name].as_array().expect("a list").clone();
    for worked in [
        list("alone"),
        list("lower_lanes"),
        list("at_once"),
        list("killed"),
    ]
    .concat()
    {
        assert_eq!(worked["refused"], 0, "{worked:#}");
        // What is at work when an allowance of time is used up goes over it by design.
        let time = worked["name"] == "dataverse time";
        assert!(
            time || number(&worked["most"]) <= number(&worked["limit"]),
            "{worked:#}"
        );
    }
    for worked in [list("alone"), list("lower_lanes"), list("at_once")].concat() {
        assert!(
            number(&worked["used_share"]) >= number(&worked["aim"]),
            "{worked:#}"
        );
    }
    // In a short window a kill costs what was on the books.
    for worked in list("killed")
        .iter()
        .filter(|worked| worked["window_ms"] == DAY_MS)
    {
        assert!(
            number(&worked["used_share"]) >= number(&worked["aim"]),
            "{worked:#}"
        );
    }
    for worked in list("beside_others") {
        assert!(number(&worked["refused_share"]) < 0.001, "{worked:#}");
        assert!(number(&worked["used_share"]) >= 0.95, "{worked:#}");
        assert!(
            number(&worked["most"]) <= number(&worked["limit"]),
            "{worked:#}"
        );
    }
    let urgent = list("urgent");
    let p99 = |beside: &Value| number(&beside["urgent_p99_ms"]);
    for beside in &urgent {
        let sender = beside["sender"].as_str().expect("a name");
        let ours = sender.starts_with("tidegate");
        assert_eq!(beside["refused"] == 0, ours, "{beside:#}");
    }
    assert!(p99(&urgent[0]) < 1_000.0, "{:#}", urgent[0]);
    for naive in &urgent[1..] {
        assert!(p99(naive) > 10.0 * p99(&urgent[0]), "{naive:#}");
    }
    let failing = &figures["failing"];
    assert!(
        number(&failing["attempts_per_needed"]) <= 1.1,
        "{failing:#}"
    );
    assert!(number(&failing["recovered_share"]) >= 0.98, "{failing:#}");
    let credentials = list("credentials");
    let batches = |place: usize| number(&credentials[place]["batches"]);
    assert!(batches(1) >= 2.9 * batches(0), "{credentials:#?}");
    assert!(batches(2) >= 2.4 * batches(0), "{credentials:#?}");
    for carried in &credentials {
        assert_eq!(carried["lost"], 0, "{carried:#}");
        assert_eq!(carried["doubled"], 0, "{carried:#}");
        assert!(number(&carried["records"]) > 0.0, "{carried:#}");
    }
    assert!(
        number(&credentials[2]["strangers"]) > 0.0,
        "none was refused"
    );
    // What waits does not make a decision dearer.
    let decision = &figures["decision"];
    let (many, few) = (
        number(&decision["looks_per_permit"]),
        number(&decision["looks_per_permit_of_few"]),
    );
    assert!(many <= 4.0 && many <= 2.0 * few, "{decision:#}");
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
