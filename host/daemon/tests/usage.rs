//! What was used is known to the next host, and is put together with what is left.

mod vendor;

use tidegate::quota;
use tidegate::usage::{self, Keeper};
use tidegate_core::pace::{Spender, Spent, Usage};
use tidegate_gateway::{Clock, Lane, ManualClock, PoolCounts};
use tidegate_store::{Options, Store};

use vendor::{endpoints, manifest};

const POOLS: &str = r#"
[[pools]]
name = "daily"
limit = 1000
window = { rolling = "24h" }
scope = "account"
[[pools]]
name = "today"
limit = 800
window = { calendar-day = "UTC" }
scope = "account"
[[pools]]
name = "at-once"
limit = 5
window = { concurrency = {} }
scope = "account"
"#;

const HOUR_MS: u64 = 3_600_000;

fn spender(sync: &str, operation: &str, lane: Lane) -> Spender {
    Spender {
        pool: "daily".into(),
        sync: sync.into(),
        operation: operation.into(),
        lane,
    }
}

fn spent(units: u64, bytes: u64) -> Spent {
    Spent {
        calls: 1,
        units,
        rows: 10,
        bytes,
        throttled: 0,
    }
}

#[tokio::test]
async fn use_survives_a_restart_and_falls_out_after_two_weeks() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::default();
    let open = || Store::open(folder.path().join("store"), Options::default()).expect("a store");
    let mut noted = Usage::default();
    let mut keeper = Keeper::default();
    let store = open();
    let before = endpoints(&["crm", "erp"], POOLS, &clock);
    let account = before["crm"].gateway.account();
    for hour in 0..400 {
        for sync in 0..200 {
            let spender = spender(&format!("sync-{sync}"), "push", Lane::Normal);
            noted.note(hour * HOUR_MS as i64, &spender, &spent(hour as u64 + 1, 7));
        }
        account.restore_usage(noted.clone());
        if hour % 7 == 0 || hour == 399 {
            keeper.keep(&store, &before).await.expect("kept");
        }
    }
    let batches = store.stats().expect("figures").batches;
    keeper.keep(&store, &before).await.expect("kept");
    Keeper::default().keep(&store, &before).await.expect("kept");
    let again = store.stats().expect("figures").batches;
    assert_eq!(again, batches, "nothing new is not written");
    store.close().await.expect("closed");

    let store = open();
    let after = endpoints(&["crm", "erp"], POOLS, &clock);
    usage::restore(&store, &after).expect("found");
    let restored = after["erp"].gateway.account().usage();
    assert!(restored == noted, "the same account");
    assert_eq!(restored.hours().count(), 336);
}

#[test]
fn use_is_put_together_by_hour_and_line() {
    let clock = ManualClock::default();
    let gateways = endpoints(&["crm", "erp"], POOLS, &clock);
    let mut noted = Usage::default();
    let normal = spender("people", "push", Lane::Normal);
    let critical = spender("people", "push", Lane::Critical);
    let pulled = spender("deals", "pull", Lane::Backfill);
    let at = |hour: i64| hour * HOUR_MS as i64 + 5;
    noted.note(at(1), &normal, &spent(100, 10));
    noted.note(at(2), &normal, &spent(5, 10));
    noted.note(at(2), &critical, &spent(20, 30));
    noted.note(at(4), &pulled, &spent(7, 9_000));
    gateways["crm"].gateway.account().restore_usage(noted);
    let hour_us = HOUR_MS as i64 * 1_000;
    let since_us = usage::since_us(4 * hour_us + 1, 3);
    assert_eq!(since_us, 2 * hour_us);
    let report = usage::report(&gateways, since_us);
    let [pool] = report.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!(pool.endpoints, ["crm", "erp"], "one account, told once");
    assert_eq!(
        (pool.total.units, pool.total.calls, pool.total.rows),
        (32, 3, 30)
    );
    assert_eq!(pool.critical.units, 20);
    let hours = |hours: &[usage::HourUsage]| -> Vec<(i64, u64)> {
        let hours = hours.iter();
        hours
            .map(|hour| (hour.at_us / hour_us, hour.sums.units))
            .collect()
    };
    assert_eq!(hours(&pool.hours), [(2, 25), (4, 7)]);
    assert_eq!(hours(&pool.peaks), [(2, 25), (4, 7)]);
    let lines: Vec<u64> = pool.lines.iter().map(|line| line.sums.units).collect();
    assert_eq!(lines, [20, 7, 5]);
    assert_eq!(pool.lines[0].lane, Lane::Critical);
    assert_eq!(pool.transfers[0].sync, "deals");
}

#[test]
fn a_quota_says_what_is_left_and_until_when() {
    let clock = ManualClock::default();
    // Noon of the second day.
    clock.advance(36 * HOUR_MS);
    let gateways = endpoints(&["crm", "erp"], POOLS, &clock);
    let account = gateways["crm"].gateway.account();
    let now_ms = clock.now().wall_us / 1_000;
    let counts = |pool: &str, units| PoolCounts {
        pool: pool.to_owned(),
        counts: vec![(now_ms, units)],
        ..PoolCounts::default()
    };
    account.restore(&[counts("daily", 300), counts("today", 300)]);
    let mut noted = Usage::default();
    for pool in ["daily", "today"] {
        let spender = Spender {
            pool: pool.into(),
            ..spender("people", "push", Lane::Normal)
        };
        // Two hours and a bit, at 150 an hour.
        for hour in [34, 35] {
            noted.note(hour * HOUR_MS as i64, &spender, &spent(150, 0));
        }
    }
    account.restore_usage(noted);
    let manifest = manifest(POOLS);
    let report = quota::report(&gateways, |_| Some(&manifest), &clock);
    let told: Vec<_> = report
        .iter()
        .map(|pool| {
            let ends_h = pool.ends_in_ms.map(|ms| ms / HOUR_MS);
            (
                &*pool.pool,
                &*pool.window,
                pool.ours,
                pool.left,
                pool.per_hour,
                ends_h,
            )
        })
        .collect();
    // 150 an hour are more than 1,000 a day holds; the day has twelve hours left, 500 units last three.
    let expected = [
        ("at-once", "at once", 0, 5, None, None),
        ("daily", "24h", 300, 700, Some(150), Some(4)),
        ("today", "day in UTC", 300, 500, Some(150), Some(3)),
    ];
    assert_eq!(told, expected);
    assert!(report.iter().all(|pool| pool.endpoints == ["crm", "erp"]));
    assert!(report.iter().all(|pool| pool.level == "plenty"));
}
