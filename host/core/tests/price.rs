//! What is said beforehand, held against what is done afterwards: the planner's own pushes, and the pacer's own limits.

mod ground;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_core::batch::DataType;
use tidegate_core::manifest::{Manifest, Method, MethodKind};
use tidegate_core::model::Model;
use tidegate_core::pace::{Lane, Level, PoolOverride};
use tidegate_core::plan::{self, Barred, plan};
use tidegate_core::plugin::{Direction, OperationKind, StreamKind};
use tidegate_core::price::{
    Calls, Price, Stand, Verdict, break_evens, choices, idle, opening, pace, reading, writes,
};
use tidegate_core::record::{LinkId, Sides};
use tidegate_core::sync::{ConflictPolicy, Side};
use tidegate_core::time::Now;

const DAY_MS: u64 = 86_400_000;
const NOW: Now = Now {
    mono_ms: 5_000,
    wall_us: 1_700_000_000_000_000,
};
const BACKFILL: (Lane, Level) = (Lane::Backfill, Level::Plenty);

/// The connector's own, for 15,000 calls a day.
fn salesforce() -> Manifest {
    Manifest::parse(include_str!("../../../plugins/salesforce/plugin.toml")).expect("a manifest")
}

fn model() -> Model {
    let schemas = Sides::new(|_| vec![ground::field("note", DataType::Text, false)]);
    let rule = ground::carried("note", Direction::LeftToRight);
    let spec = ground::spec(None, ConflictPolicy::Newest);
    Model::new(spec, Sides::default(), &schemas, &[rule]).expect("a sound sync")
}

prop_compose! {
    fn method()(
        job in any::<bool>(),
        rows_min in 0_u32..50,
        more in 1_u32..3_000,
        bytes_max in prop_oneof![Just(1_u64), 60_u64..20_000, Just(1 << 30)],
        calls in 1_u32..9,
        updates in proptest::bool::weighted(0.8),
    ) -> Method {
        Method {
            name: String::new(),
            kind: if job { MethodKind::Job } else { MethodKind::Interactive },
            operations: vec![if updates { OperationKind::Update } else { OperationKind::Delete }],
            rows_min,
            rows_max: rows_min + more,
            bytes_max,
            calls,
            objects_max: 1,
            operations_max: 1,
            references: false,
            draws: Vec::new(),
        }
    }
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![
        Just(Lane::Critical),
        Just(Lane::Normal),
        Just(Lane::Backfill)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever the table, each round becomes exactly the pushes that it was priced as.
    #[test]
    fn a_plan_is_what_the_rounds_do(
        table in proptest::collection::vec(method(), 0..6),
        lane in lane(),
        stretched in any::<bool>(),
        ready in 1_usize..25_000,
    ) {
        let level = if stretched { Level::Stretch } else { Level::Plenty };
        let methods: Vec<Method> = table
            .into_iter()
            .enumerate()
            .map(|(index, method)| Method { name: format!("m{index}"), ..method })
            .collect();
        let usable = plan::usable(&methods, lane, || level);
        let model = model();
        let mut left = ready;
        let mut calls = 0;
        let mut refused = 0;
        let mut by: BTreeMap<String, u64> = BTreeMap::new();
        // As the host takes them while nothing more comes.
        while left > 0 {
            let round = plan::round_rows(&usable, left).clamp(1, left);
            left -= round;
            let write = |row| ground::write(OperationKind::Update, row, Lane::Backfill);
            let rows = (0..round as u64).map(|row| (LinkId(row), write(row)));
            let done = plan(&model, Side::Right, &usable, rows.collect());
            refused += done.refused.len() as u64;
            for push in done.pushes {
                *by.entry(push.method.clone()).or_default() += push.rows.len() as u64;
                let method = methods.iter().find(|method| method.name == push.method);
                calls += u64::from(method.expect("a method of the table").calls);
            }
        }
        let priced = writes(
            &methods,
            (lane, level),
            OperationKind::Update,
            ready as u64,
            plan::row_bytes(0),
        );
        prop_assert_eq!(priced.refused, refused);
        prop_assert_eq!(priced.by.iter().map(|by| by.calls).sum::<u64>(), calls);
        let rows = priced.by.iter().map(|by| (by.method.clone(), by.rows)).collect();
        prop_assert_eq!(by, rows);
        let made = priced.calls(&methods, lane);
        prop_assert_eq!(made.iter().map(|calls| calls.count).sum::<u64>(), calls);
    }
}

#[test]
fn half_a_million_rows_are_priced_by_the_table() {
    let manifest = salesforce();
    let cases = [
        (1, 1, 0),
        (200, 1, 0),
        (4_000, 4, 0),
        (5_000, 5, 0),
        (5_001, 5, 1),
        (12_000, 5 + 2, 1),
        (500_000, 250, 50),
    ];
    for (rows, calls, batches) in cases {
        let priced = writes(
            &manifest.methods,
            BACKFILL,
            OperationKind::Upsert,
            rows,
            400,
        );
        let price = Price::of(&manifest, &priced.calls(&manifest.methods, Lane::Backfill));
        assert_eq!(price.calls, calls, "{rows} rows: {priced:?}");
        assert_eq!(price.units["daily"], calls, "{rows} rows");
        let drawn = price.units.get("bulk-batches").copied().unwrap_or_default();
        assert_eq!(drawn, batches, "{rows} rows");
        assert_eq!(priced.by.iter().map(|by| by.rows).sum::<u64>(), rows);
    }
    // One by one, for comparison: what the host is measured against.
    let single: Vec<Method> = manifest.methods.into_iter().take(1).collect();
    let priced = writes(&single, BACKFILL, OperationKind::Upsert, 500_000, 400);
    assert_eq!(priced.by[0].calls, 500_000);
}

/// Wide rows fill a method's bytes before its rows.
#[test]
fn wide_rows_cost_more_calls() {
    let manifest = salesforce();
    let cost = |row_bytes| {
        let priced = writes(
            &manifest.methods,
            BACKFILL,
            OperationKind::Upsert,
            10_000,
            row_bytes,
        );
        priced.by.iter().map(|by| by.calls).sum::<u64>()
    };
    assert_eq!(cost(2_000), 5);
    assert_eq!(cost(4_000), 10);
    assert!(cost(40_000) > 20);
}

#[test]
fn break_evens_follow_the_table() {
    let mut manifest = salesforce();
    let told = |manifest: &Manifest, chosen, operation| -> Vec<String> {
        break_evens(&manifest.methods, chosen, operation)
            .into_iter()
            .map(|(rows, method)| format!("{rows} {}", method.name))
            .collect()
    };
    let quick = ["1 single", "2 collections", "201 composite"];
    let patient = ["1 single", "2 collections", "201 composite", "5001 bulk"];
    let upsert = OperationKind::Upsert;
    assert_eq!(told(&manifest, BACKFILL, upsert), patient);
    assert_eq!(told(&manifest, BACKFILL, OperationKind::Create), quick);
    assert_eq!(
        told(&manifest, (Lane::Critical, Level::Critical), upsert),
        quick
    );
    assert_eq!(
        told(&manifest, (Lane::Normal, Level::Plenty), upsert),
        quick
    );
    assert_eq!(
        told(&manifest, (Lane::Normal, Level::Stretch), upsert),
        patient
    );
    // A dearer job pays later, and one that costs a call as soon as it may be used.
    let bulk = manifest
        .methods
        .iter_mut()
        .find(|method| method.name == "bulk");
    bulk.expect("a job").calls = 9;
    assert_eq!(told(&manifest, BACKFILL, upsert)[3], "9001 bulk");
    let bulk = manifest
        .methods
        .iter_mut()
        .find(|method| method.name == "bulk");
    bulk.expect("a job").calls = 1;
    assert_eq!(told(&manifest, BACKFILL, upsert)[3], "2000 bulk");
}

#[test]
fn every_method_has_its_reason() {
    let manifest = salesforce();
    let verdicts = |chosen, operation, rows| -> BTreeMap<&str, (Option<u64>, Verdict)> {
        choices(&manifest.methods, chosen, operation, rows)
            .into_iter()
            .map(|choice| (choice.method.name.as_str(), (choice.calls, choice.verdict)))
            .collect()
    };
    let found = verdicts((Lane::Critical, Level::Plenty), OperationKind::Create, 300);
    assert_eq!(found["single"], (Some(300), Verdict::Dearer { by: 299 }));
    assert_eq!(found["collections"], (Some(2), Verdict::Dearer { by: 1 }));
    assert_eq!(found["composite"], (Some(1), Verdict::Chosen));
    assert_eq!(found["graph"], (Some(1), Verdict::AsDear));
    assert_eq!(found["bulk"], (None, Verdict::OtherOperations));
    let found = verdicts((Lane::Normal, Level::Notify), OperationKind::Upsert, 30_000);
    let why = Barred::Plenty;
    assert_eq!(found["bulk"], (Some(5), Verdict::Barred { why }));
    let found = verdicts(
        (Lane::Critical, Level::Critical),
        OperationKind::Upsert,
        300,
    );
    assert_eq!(found["bulk"].1, Verdict::Barred { why: Barred::Late });
    let found = verdicts(BACKFILL, OperationKind::Upsert, 300);
    let rows_min = 2_000;
    assert_eq!(found["bulk"], (None, Verdict::TooFew { rows_min }));
}

#[test]
fn a_first_full_read_goes_the_way_that_the_connector_takes() {
    let manifest = salesforce();
    let cases = [
        (0, "query", 3),
        (4_000, "query", 4),
        (14_000, "query", 9),
        (14_001, "job", 9),
        (500_000, "job", 57),
    ];
    for (rows, name, calls) in cases {
        let found = reading(&manifest, StreamKind::Snapshot, rows, 10_000);
        let read = found.read.expect("a way");
        assert_eq!(
            (read.name.as_str(), found.total()),
            (name, calls),
            "{rows} rows"
        );
        let price = Price::of(&manifest, &found.calls(Lane::Backfill));
        assert_eq!(price.calls, calls);
        let jobs = price.units.get("bulk-queries").copied().unwrap_or_default();
        assert_eq!(jobs, u64::from(name == "job"), "{rows} rows");
    }
    // The operator has forbidden jobs.
    let manifest = manifest.at(&serde_json::json!({ "snapshot": "query" }));
    let found = reading(&manifest, StreamKind::Snapshot, 500_000, 10_000);
    assert_eq!(found.total(), 252);
}

#[test]
fn five_objects_looked_at_every_minute_cost_a_call_a_minute() {
    let manifest = salesforce();
    let cases = [
        // Answers tell the day's use; the bulk limits are asked for twice.
        (5, 60_000, 1, 1_440 + 2),
        (6, 60_000, 2, 2_880 + 2),
        (1, 5_000, 1, 17_280 + 2),
        // Twice between two looks the day's use is asked for.
        (5, 1_800_000, 1, 48 + 96 + 2),
        (0, 60_000, 0, 144 + 2),
    ];
    for (streams, every_ms, calls_each, calls) in cases {
        let idle = idle(&manifest, streams, every_ms);
        assert_eq!(idle.calls_each, calls_each, "{idle:?}");
        assert_eq!(idle.calls, calls, "{idle:?}");
    }
    assert!(idle(&manifest, 5, 60_000).calls <= 1_500);
}

#[test]
fn an_opening_asks_as_often_as_syncs_are_prepared() {
    assert_eq!(opening(4, 3, 3, true), 8 + 6);
    assert_eq!(opening(2, 1, 1, true), 4 + 1);
    assert_eq!(opening(4, 3, 3, false), 4 + 3);
}

/// By the pools' pace: what does not fit in a lane's part of the day waits for the next.
#[test]
fn time_follows_the_reserves_and_shares() {
    let manifest = salesforce();
    let lasts = |pools: &BTreeMap<String, PoolOverride>, lane, count| {
        let stand = Stand {
            manifest: &manifest,
            pools,
            counts: &[],
            now: NOW,
        };
        pace(&stand, &[Calls::plain(lane, count)]).expect("a time")
    };
    let plain = BTreeMap::new();
    assert_eq!(lasts(&plain, Lane::Backfill, 0), 0);
    // A few at once, for as long as calls take.
    let quick = lasts(&plain, Lane::Backfill, 12_000);
    assert!(quick < DAY_MS / 20, "{quick}");
    assert!(lasts(&plain, Lane::Backfill, 12_100) >= DAY_MS);
    assert!(lasts(&plain, Lane::Normal, 12_100) < DAY_MS / 20);
    assert!(lasts(&plain, Lane::Normal, 14_400) >= DAY_MS);
    assert!(lasts(&plain, Lane::Critical, 14_400) < DAY_MS / 20);
    let days = lasts(&plain, Lane::Backfill, 12_000 * 3);
    assert!((2 * DAY_MS..3 * DAY_MS).contains(&days), "{days}");
    let share = PoolOverride {
        share: 0.5,
        ..PoolOverride::default()
    };
    let half = BTreeMap::from([("daily".to_owned(), share)]);
    assert!(lasts(&half, Lane::Backfill, 6_100) >= DAY_MS);
    let limit = PoolOverride {
        limit: Some(100_000),
        ..PoolOverride::default()
    };
    let bought = BTreeMap::from([("daily".to_owned(), limit)]);
    assert!(lasts(&bought, Lane::Backfill, 13_000) < DAY_MS / 20);
}
