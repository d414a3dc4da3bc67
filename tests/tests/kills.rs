//! A host that is killed a hundred times loses nothing and doubles nothing. The ledger stands outside it: the
//! database, the simulated org, and the org's own journal.

use std::path::Path;

use tidegate::demo::{Scene, Until, soak};
use tidegate_store::EngineKind;
use tidegate_tests::built;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_lose_and_double_nothing() {
    let scene = Scene {
        program: built::program(),
        plugins: built::plugins(&["salesforce", "sqlite", "field-map"]),
        keep: None,
        engine: EngineKind::Sled,
        records: 300,
        seed: 7,
    };
    assert!(Path::new(&scene.program).exists());
    let soaked = soak(&scene, Until::Kills(100), &|line| println!("{line}"))
        .await
        .unwrap_or_else(|error| panic!("seed {}: {error:#}", scene.seed));
    let report = &soaked.report;
    println!("{report}");
    assert_eq!(soaked.kills, 100);
    assert!(
        soaked.kills_at_work >= 50,
        "only {} kills fell on a host at work",
        soaked.kills_at_work
    );
    assert!(
        report.api_calls > 100,
        "only {} calls were made",
        report.api_calls
    );
    assert_eq!(
        (
            report.lost,
            report.duplicates,
            report.mismatches,
            report.throttled
        ),
        (0, 0, 0, 0),
        "seed {}: {:#?}",
        scene.seed,
        report.findings
    );
}
