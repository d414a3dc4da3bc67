//! What the next host knows of a pool: not only what we drew, but what answers have told.

use std::collections::BTreeMap;

use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{
    Ended, Lane, Level, Pacer, PoolFigures, Reason, Report, Seat, Settings, Shape, Throttled,
    Ticket,
};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

const MANIFEST: &str = r#"
    [plugin]
    name = "test"
    version = "1.0.0"
    kind = "connector"
    wit = "0.1.0"
    [[pools]]
    name = "POOL"
    limit = LIMIT
    window = WINDOW
    scope = "account"
"#;

fn pacer(pool: &str, limit: u64, window: &str) -> Pacer {
    let text = MANIFEST
        .replace("POOL", pool)
        .replace("LIMIT", &limit.to_string())
        .replace("WINDOW", window);
    let manifest: Manifest = toml::from_str(&text).expect("a manifest");
    Pacer::new(&manifest, &BTreeMap::new(), Settings::default()).expect("pools")
}

/// A host's clocks: its own began at `boot_ms` of the test, the wall's goes on. 2024-03-09, noon in New York.
fn at(boot_ms: u64, ms: u64) -> Now {
    Now {
        mono_ms: ms - boot_ms,
        wall_us: 1_710_003_600_000_000 + ms as i64 * 1_000,
    }
}

fn ask(pacer: &mut Pacer, now: Now) -> Ticket {
    let shape = Shape {
        method: Some(HttpMethod::Get),
        path: "/records",
        rows: 1,
    };
    let draws = pacer.draws(Seat::default(), &shape, &[]);
    let draws = draws.expect("known pools");
    let asked = pacer.ask(now, Lane::Critical, &"people".into(), draws);
    asked.expect("possible")
}

/// The ticket if it may go now, else the reason and the moment.
fn try_one(pacer: &mut Pacer, now: Now) -> Result<Ticket, (Reason, u64)> {
    let ticket = ask(pacer, now);
    if pacer.grant(now).contains(&ticket) {
        return Ok(ticket);
    }
    let wait = pacer.wait(ticket).expect("a reason");
    pacer.leave(ticket);
    Err((wait.reason, wait.at_ms))
}

/// Lets one go, and has the vendor tell its figures.
fn hear(pacer: &mut Pacer, boot_ms: u64, ms: u64, used: u64, limit: u64) {
    let ticket = try_one(pacer, at(boot_ms, ms)).expect("room");
    let report = Report {
        pool: "daily".to_owned(),
        used: Some(used),
        limit: Some(limit),
        remaining: None,
    };
    let ended = Ended::Answered(vec![report]);
    pacer.settle(at(boot_ms, ms + 50), ticket, &ended);
}

fn figures(pacer: &mut Pacer, now: Now) -> PoolFigures {
    pacer.figures(now).remove(0)
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn what_others_use_and_the_vendors_limit_survive() {
    for window in [
        r#"{ rolling = "24h" }"#,
        r#"{ calendar-day = "America/New_York" }"#,
    ] {
        let mut first = pacer("daily", 1_000, window);
        hear(&mut first, 0, 0, 401, 500);
        hear(&mut first, 0, 600_000, 422, 500);
        // Of what was used before the first reading one unit falls out every 216 s, and none in this half minute.
        let before = figures(&mut first, at(0, 610_000));
        assert_eq!((before.used, before.used_by_others), (2, 420), "{window}");
        assert_eq!(before.level, Level::Notify, "{window}");
        let kept = first.snapshot(at(0, 610_000));
        let boot_ms = 640_000;
        let mut second = pacer("daily", 1_000, window);
        second.restore(at(boot_ms, boot_ms), &kept);
        let after = figures(&mut second, at(boot_ms, boot_ms));
        assert_eq!((after.used, after.used_by_others), (2, 420), "{window}");
        assert_eq!((after.limit, after.level), (500, Level::Notify), "{window}");
        assert_eq!(after.others_per_hour, before.others_per_hour, "{window}");
        // It is theirs no longer than it was.
        let late = figures(&mut second, at(boot_ms, boot_ms + DAY_MS + 120_000));
        assert_eq!((late.used, late.used_by_others), (0, 0), "{window}");
        // A host that starts the day after knows as much.
        let boot_ms = 700_000 + DAY_MS + 60_000;
        let mut third = pacer("daily", 1_000, window);
        third.restore(at(boot_ms, boot_ms), &kept);
        let late = figures(&mut third, at(boot_ms, boot_ms));
        assert_eq!((late.used, late.used_by_others), (0, 0), "{window}");
    }
}

#[test]
fn a_park_and_what_it_has_taught_survive() {
    let window = r#"{ rolling = "10s" }"#;
    let mut first = pacer("burst", 100, window);
    first.keep_books();
    let counts = first.snapshot(at(0, 0));
    first.kept(&counts);
    let ticket = try_one(&mut first, at(0, 0)).expect("room");
    assert!(!first.wants_keeping());
    let stop = Throttled {
        pool: "burst".to_owned(),
        park_ms: Some(300_000),
        random: 0.5,
    };
    first.settle(at(0, 50), ticket, &Ended::Throttled(stop));
    assert!(first.wants_keeping(), "a kill must not forget it");
    let trusted = figures(&mut first, at(0, 1_000)).trusted_permille;
    assert!(trusted < 800, "{trusted}");
    let kept = first.snapshot(at(0, 1_000));
    assert!(!first.wants_keeping());
    let boot_ms = 2_000;
    let mut second = pacer("burst", 100, window);
    second.restore(at(boot_ms, boot_ms), &kept);
    let trusted = figures(&mut second, at(boot_ms, boot_ms)).trusted_permille;
    assert!(trusted < 850, "{trusted}");
    let (reason, at_ms) = try_one(&mut second, at(boot_ms, boot_ms)).expect_err("parked");
    assert!(matches!(reason, Reason::Parked { .. }), "{reason:?}");
    let until_ms = boot_ms + at_ms;
    assert!((300_050..=301_050).contains(&until_ms), "{until_ms}");
    // One goes ahead to see whether it is open again.
    let later = at(boot_ms, until_ms);
    let probe = try_one(&mut second, later).expect("the probe");
    let (reason, _) = try_one(&mut second, later).expect_err("the probe is out");
    assert!(matches!(reason, Reason::Probing { .. }), "{reason:?}");
    second.settle(later, probe, &Ended::Answered(Vec::new()));
    try_one(&mut second, later).expect("open");
    // A clock that was set back does not shut it for ever.
    let mut third = pacer("burst", 100, window);
    let back = Now {
        mono_ms: 0,
        wall_us: at(0, 0).wall_us - 1_000 * 86_400_000_000,
    };
    third.restore(back, &kept);
    let (_, at_ms) = try_one(&mut third, back).expect_err("parked");
    assert!(at_ms <= DAY_MS, "{at_ms}");
}

/// What is in use at once goes on at the vendor when its host is killed: the next one leaves room for so many, and for
/// no more, until they must have ended.
#[test]
fn what_is_in_use_at_once_survives_a_kill() {
    for (in_use, free) in [(0, 5), (3, 2), (5, 0)] {
        let window = "{ concurrency = {} }";
        let mut first = pacer("at-once", 5, window);
        first.keep_books();
        let mut out = Vec::new();
        let waiting: Vec<Ticket> = (0..in_use).map(|_| ask(&mut first, at(0, 0))).collect();
        assert_eq!(first.grant(at(0, 0)), [], "nothing is on the books");
        let mut kept = first.snapshot(at(0, 0));
        first.kept(&kept);
        out.extend(first.grant(at(0, 5)));
        assert_eq!(out.len(), waiting.len());
        assert!(!first.wants_keeping());
        if in_use == 5 {
            kept = first.snapshot(at(0, 500));
        }
        let mut second = pacer("at-once", 5, window);
        second.restore(at(1_000, 1_000), &kept);
        let go = |pacer: &mut Pacer, ms| {
            let mut went = 0;
            while try_one(pacer, at(1_000, ms)).is_ok() {
                went += 1;
            }
            went
        };
        assert_eq!(go(&mut second, 1_000), free, "{in_use} in use");
        assert_eq!(go(&mut second, 62_000), 5 - free, "{in_use} in use");
    }
}

/// While a snapshot that says less is made durable, nothing leaves that only the one before allowed.
#[test]
fn less_in_use_is_less_at_once() {
    let mut pacer = pacer("at-once", 10, "{ concurrency = {} }");
    pacer.keep_books();
    (0..10).for_each(|_| {
        ask(&mut pacer, at(0, 0));
    });
    let kept = pacer.snapshot(at(0, 0));
    pacer.kept(&kept);
    for ticket in pacer.grant(at(0, 1)) {
        pacer.settle(at(0, 60), ticket, &Ended::Answered(Vec::new()));
    }
    // At rest it books less and less, down to nothing.
    let mut booked = Vec::new();
    for second in 1..40 {
        let kept = pacer.snapshot(at(0, second * 1_000));
        booked.push(kept.iter().map(|pool| pool.booked).sum::<u64>());
    }
    assert_eq!((booked[0], booked[38]), (10, 0), "{booked:?}");
    assert!(booked.is_sorted_by(|more, less| more >= less), "{booked:?}");
    let (reason, _) = try_one(&mut pacer, at(0, 50_000)).expect_err("not booked");
    assert!(matches!(reason, Reason::Unbooked { .. }), "{reason:?}");
    ask(&mut pacer, at(0, 50_000));
    assert!(pacer.wants_keeping());
}
