//! Kill loops, power cuts and failing disks, run by `examples/crash` against a ledger outside the process.
//!
//! `TIDEGATE_STORE_KILLS` and `TIDEGATE_STORE_CUTS` set how many, `TIDEGATE_STORE_SEED` which ones.

use std::path::PathBuf;
use std::process::Command;

use tidegate_store::EngineKind;

/// Cargo builds examples before it runs all tests of a package, and puts them beside them.
fn example() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test's own path");
    path.pop();
    path.pop();
    path.push("examples/crash");
    assert!(
        path.exists(),
        "{} is missing: cargo build -p tidegate-store --example crash",
        path.display()
    );
    path
}

fn setting(name: &str, default: u32) -> String {
    #[allow(
        clippy::disallowed_methods,
        reason = "a person may ask for longer runs"
    )]
    let value = std::env::var(name);
    value.unwrap_or_else(|_| default.to_string())
}

fn crash(what: &str, engine: EngineKind, rounds: &str) {
    let seed = setting("TIDEGATE_STORE_SEED", 1);
    let output = Command::new(example())
        .args([
            what,
            "--engine",
            engine.name(),
            "--rounds",
            rounds,
            "--seed",
            &seed,
        ])
        .output()
        .expect("the example runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    print!("{said}");
}

#[test]
fn sled_survives_kills() {
    crash(
        "kills",
        EngineKind::Sled,
        &setting("TIDEGATE_STORE_KILLS", 25),
    );
}

#[test]
fn redb_survives_kills() {
    crash(
        "kills",
        EngineKind::Redb,
        &setting("TIDEGATE_STORE_KILLS", 25),
    );
}

#[test]
fn sled_survives_power_cuts() {
    crash(
        "cuts",
        EngineKind::Sled,
        &setting("TIDEGATE_STORE_CUTS", 12),
    );
}

#[test]
fn redb_survives_power_cuts() {
    crash(
        "cuts",
        EngineKind::Redb,
        &setting("TIDEGATE_STORE_CUTS", 12),
    );
}

#[test]
fn sled_acknowledges_nothing_after_a_fault() {
    crash("faults", EngineKind::Sled, "2");
}

#[test]
fn redb_acknowledges_nothing_after_a_fault() {
    crash("faults", EngineKind::Redb, "2");
}
