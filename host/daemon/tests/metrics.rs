//! Figures as a collector reads them: each series once, each family described, and nothing that would break a line.

use std::collections::BTreeSet;

use tidegate::alerts::AlertsStatus;
use tidegate::metrics::text;
use tidegate::quota::PoolQuota;
use tidegate::status::{
    AccountStatus, EndpointStatus, FirstReadStatus, HeldUp, Latency, ReadsStatus, SettlingStatus,
    Status, SyncState, SyncStatus, Told, WritesStatus,
};
use tidegate_core::alert::{Alert, Event, Subject};
use tidegate_core::pace::Lane;
use tidegate_core::sync::Side;

fn status() -> Status {
    let held = HeldUp {
        to: Side::Right,
        lane: Lane::Backfill,
        changes: 40,
        reason: Told {
            code: "pool-degraded".to_owned(),
            message: "daily: it runs out".to_owned(),
        },
        in_ms: 1_500,
    };
    let subject = Subject::pool("vendor \"a\"\\b", "daily");
    Status {
        uptime_ms: 90_500,
        syncs: vec![SyncStatus {
            name: "people".to_owned(),
            state: SyncState::Waiting,
            waiting: 41,
            first_reads: vec![FirstReadStatus {
                side: Side::Left,
                done: false,
                rows: 1_200,
                of: Some(5_000),
                per_s: Some(200.0),
                left_ms: Some(19_000),
            }],
            settling: SettlingStatus {
                done: 60,
                waiting: 41,
                per_s: Some(0.5),
                left_ms: None,
            },
            writes: WritesStatus {
                sent: 10,
                done: 6,
                failed: 1,
                unknown: 2,
            },
            held_up: vec![held],
            left_to_right: Latency {
                p50_ms: Some(20),
                p99_ms: Some(300),
                max_ms: Some(400),
            },
            ..SyncStatus::default()
        }],
        endpoints: vec![EndpointStatus {
            name: "crm".to_owned(),
            requests: 7,
            reads: ReadsStatus {
                recalled: 5,
                recalled_stale: 1,
                asked: 3,
                renewed: 2,
                joined: 4,
            },
            accounts: vec![AccountStatus {
                name: "second".to_owned(),
                revoked: "invalid_grant".to_owned(),
                ..AccountStatus::default()
            }],
            ..EndpointStatus::default()
        }],
        alerts: AlertsStatus {
            standing: vec![Alert::new(Event::AllowanceLevel, subject, "stretch", "x")],
            ..AlertsStatus::default()
        },
        ..Status::default()
    }
}

fn pools() -> Vec<PoolQuota> {
    let pool = |credential: &str, ours| PoolQuota {
        account: "vendor \"a\"\\b".to_owned(),
        pool: "daily".to_owned(),
        credential: credential.to_owned(),
        limit: 1_000,
        ours,
        level: "stretch".to_owned(),
        trusted_permille: 750,
        ..PoolQuota::default()
    };
    vec![pool("crm.main", 860), pool("crm.second", 10)]
}

#[test]
fn a_collector_understands_every_line() {
    let text = text(&status(), &pools());
    let (mut described, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name");
            assert!(described.insert(name.to_owned()), "{name} twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a figure");
        value.parse::<f64>().expect("a number");
        let name = series.split('{').next().expect("a name");
        assert!(described.contains(name), "{line}");
        assert!(seen.insert(series.to_owned()), "{series} twice");
    }
    for line in [
        r#"tidegate_uptime_seconds 90.5"#,
        r#"tidegate_pool_used{account="vendor \"a\"\\b",pool="daily",credential="crm.main"} 860"#,
        r#"tidegate_pool_level{account="vendor \"a\"\\b",pool="daily",credential="crm.second"} 2"#,
        r#"tidegate_pool_trusted{account="vendor \"a\"\\b",pool="daily",credential="crm.main"} 0.75"#,
        r#"tidegate_requests_total{endpoint="crm"} 7"#,
        r#"tidegate_cacheable_reads_total{endpoint="crm",from="cache-stale"} 1"#,
        r#"tidegate_cacheable_reads_total{endpoint="crm",from="joined"} 4"#,
        r#"tidegate_cache_bytes{tier="store"} 0"#,
        r#"tidegate_credential_refused{endpoint="crm",credential="second"} 1"#,
        r#"tidegate_sync_state{sync="people",state="waiting"} 1"#,
        r#"tidegate_sync_state{sync="people",state="running"} 0"#,
        r#"tidegate_changes_waiting{sync="people"} 41"#,
        r#"tidegate_first_read_rows{sync="people",side="left"} 1200"#,
        r#"tidegate_first_read_rows_expected{sync="people",side="left"} 5000"#,
        r#"tidegate_first_read_rows_per_second{sync="people",side="left"} 200"#,
        r#"tidegate_first_read_left_seconds{sync="people",side="left"} 19"#,
        r#"tidegate_settled_total{sync="people"} 60"#,
        r#"tidegate_settled_per_second{sync="people"} 0.5"#,
        r#"tidegate_writes_sent_total{sync="people"} 10"#,
        r#"tidegate_writes_ended_total{sync="people",outcome="unknown"} 2"#,
        r#"tidegate_changes_held{sync="people",to="right",lane="backfill",reason="pool-degraded"} 40"#,
        r#"tidegate_changes_held_seconds{sync="people",to="right",lane="backfill",reason="pool-degraded"} 1.5"#,
        r#"tidegate_latency_seconds{sync="people",direction="left-to-right",quantile="0.99"} 0.3"#,
        r#"tidegate_alert_standing{event="allowance-level",code="stretch",sync="",endpoint="",account="vendor \"a\"\\b",pool="daily"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
