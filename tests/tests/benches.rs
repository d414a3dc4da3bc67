//! The benches run and say what they measured. How long anything took is nobody's business here.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_bench_leaves_its_figures() {
    let out = tempfile::tempdir().expect("a folder");
    let benches = ["sandbox"];
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
        let mut medians = Vec::new();
        spreads(&told["figures"], &mut medians);
        assert!(!medians.is_empty(), "{text}");
        assert!(medians.iter().all(|median| *median > 0.0), "{text}");
    }
}

/// The medians of all that was raced, wherever the bench puts them.
fn spreads(figures: &Value, medians: &mut Vec<f64>) {
    let Some(fields) = figures.as_object() else {
        return;
    };
    for (name, value) in fields {
        if name == "median_us" {
            medians.extend(value.as_f64());
        }
        spreads(value, medians);
    }
}
