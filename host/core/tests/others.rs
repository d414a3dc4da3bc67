//! What is made of others' use between the readings that tell of it.

use std::collections::BTreeMap;

use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{Ended, Lane, Pacer, Reason, Report, Seat, Settings, Shape, Ticket};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

const MANIFEST: &str = r#"
    [plugin]
    name = "test"
    version = "1.0.0"
    kind = "connector"
    wit = "0.1.0"
    [[pools]]
    name = "budget"
    limit = LIMIT
    window = { rolling = "WINDOW" }
    scope = "account"
    [[readings]]
    pool = "budget"
    header = "usage"
    pattern = "{used}"
"#;

fn pacer(limit: u64, window: &str) -> Pacer {
    let text = MANIFEST
        .replace("LIMIT", &limit.to_string())
        .replace("WINDOW", window);
    let manifest: Manifest = toml::from_str(&text).expect("a manifest");
    Pacer::new(&manifest, &BTreeMap::new(), Settings::default()).expect("pools")
}

fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_us: 1_710_003_600_000_000 + ms as i64 * 1_000,
    }
}

/// The ticket if it may go now, else the reason and the moment.
fn try_one(pacer: &mut Pacer, ms: u64) -> Result<Ticket, (Reason, u64)> {
    let shape = Shape {
        method: Some(HttpMethod::Get),
        path: "/records",
        rows: 1,
    };
    let draws = pacer.draws(Seat::default(), &shape, &[]);
    let draws = draws.expect("known pools");
    let asked = pacer.ask(at(ms), Lane::Critical, &"people".into(), draws);
    let ticket = asked.expect("possible");
    if pacer.grant(at(ms)).contains(&ticket) {
        return Ok(ticket);
    }
    let wait = pacer.wait(ticket).expect("a reason");
    pacer.leave(ticket);
    Err((wait.reason, wait.at_ms))
}

fn told(used: u64) -> Ended {
    Ended::Answered(vec![Report {
        pool: "budget".to_owned(),
        used: Some(used),
        ..Report::default()
    }])
}

/// One goes, and the vendor tells how much is used in all.
fn hear(pacer: &mut Pacer, ms: u64, used: u64) {
    let ticket = try_one(pacer, ms).expect("room");
    pacer.settle(at(ms + 50), ticket, &told(used));
}

/// A burst of others, after which they rest: what is foreseen of them is more than all that is left, and nothing but a request
/// would tell that it has not come.
#[test]
fn what_is_foreseen_of_others_does_not_shut_a_pool() {
    for (window, within_ms) in [("24h", 1_800_000), ("5m", 300_000), ("10s", 10_000)] {
        let mut pacer = pacer(600, window);
        hear(&mut pacer, 1_000, 1);
        hear(&mut pacer, 2_000, 400);
        let mut asked_ms = 2_100;
        let found = loop {
            match try_one(&mut pacer, asked_ms) {
                Ok(ticket) => break ticket,
                Err((reason, at_ms)) => {
                    assert!(matches!(reason, Reason::PoolSpent { .. }), "{reason:?}");
                    assert!(
                        at_ms > asked_ms && at_ms <= 2_000 + within_ms,
                        "{window} {at_ms}"
                    );
                    asked_ms = at_ms;
                }
            }
        };
        pacer.settle(at(asked_ms + 50), found, &told(402));
        // They rest: it is open as before.
        for step in 1..20 {
            hear(&mut pacer, asked_ms + step * 100, 402 + step);
        }
    }
}

/// Who was refused is not tried as often again. Others have used it all day, so that some of it falls out all the time.
#[test]
fn a_look_that_is_refused_is_not_repeated_soon() {
    let mut pacer = pacer(600, "24h");
    hear(&mut pacer, 1_000, 300);
    hear(&mut pacer, 2_000, 580);
    let mut pauses = Vec::new();
    let (mut asked_ms, mut last_ms) = (2_100, 2_000);
    while pauses.len() < 4 {
        match try_one(&mut pacer, asked_ms) {
            Ok(ticket) => {
                pauses.push((asked_ms - last_ms + 60_000) / 1_800_000);
                last_ms = asked_ms;
                let stop = tidegate_core::pace::Throttled {
                    pool: "budget".to_owned(),
                    park_ms: Some(60_000),
                    random: 0.5,
                };
                pacer.settle(at(asked_ms + 50), ticket, &Ended::Throttled(stop));
            }
            Err((_, at_ms)) => asked_ms = at_ms,
        }
        assert!(asked_ms < 86_400_000, "{pauses:?}");
    }
    assert!(
        pauses.is_sorted() && pauses[0] == 1 && pauses[3] >= 8,
        "{pauses:?}"
    );
}

/// After silence one request finds out; the others wait for its answer, and not for ever where answers tell nothing.
#[test]
fn one_finds_out_before_more_follow() {
    let mut pacer = pacer(10_000, "24h");
    for step in 0..20 {
        hear(&mut pacer, step * 60_000, 1 + step * 40);
    }
    let later_ms = 20 * 60_000 + 1_800_000;
    let first = try_one(&mut pacer, later_ms).expect("the first");
    let (reason, _) = try_one(&mut pacer, later_ms + 10).expect_err("its answer is awaited");
    assert!(matches!(reason, Reason::Probing { .. }), "{reason:?}");
    pacer.settle(at(later_ms + 50), first, &told(1_000));
    for _ in 0..100 {
        try_one(&mut pacer, later_ms + 60).expect("it has told");
    }
    // One that takes long to tell is not waited for.
    let slow_ms = later_ms + 1_800_000;
    let slow = try_one(&mut pacer, slow_ms).expect("the first");
    try_one(&mut pacer, slow_ms + 1_999).expect_err("its answer is awaited");
    let second = try_one(&mut pacer, slow_ms + 2_000).expect("it takes long");
    pacer.settle(at(slow_ms + 2_050), second, &told(1_200));
    pacer.settle(at(slow_ms + 30_000), slow, &told(1_201));
    // An answer that brings no figure is no reason to wait for the next.
    let quiet_ms = later_ms + 3_600_000;
    let first = try_one(&mut pacer, quiet_ms).expect("the first");
    pacer.settle(at(quiet_ms + 50), first, &Ended::Answered(Vec::new()));
    for _ in 0..10 {
        try_one(&mut pacer, quiet_ms + 60).expect("nothing would tell");
    }
}

/// Beside others a long window is not used to its last unit; alone it is.
#[test]
fn others_are_left_a_margin() {
    for (others, most) in [(0, 1_000), (500, 495)] {
        let mut pacer = pacer(1_000, "24h");
        hear(&mut pacer, 1_000, 1 + others);
        let mut went = 1;
        while let Ok(ticket) = try_one(&mut pacer, 2_000) {
            went += 1;
            pacer.settle(at(2_000), ticket, &told(went + others));
        }
        assert_eq!(went, most, "beside {others}");
    }
}

/// A new host knows nothing of an account that others may have used up: its first request tells, or that none will.
#[test]
fn the_first_request_finds_out() {
    for answer in [told(996), Ended::Answered(Vec::new())] {
        let mut pacer = pacer(1_000, "24h");
        let first = try_one(&mut pacer, 0).expect("the first");
        let (reason, _) = try_one(&mut pacer, 1).expect_err("its answer is awaited");
        assert!(matches!(reason, Reason::Probing { .. }), "{reason:?}");
        pacer.settle(at(50), first, &answer);
        let full = matches!(&answer, Ended::Answered(reports) if !reports.is_empty());
        assert_eq!(try_one(&mut pacer, 60).is_err(), full);
        assert_eq!(try_one(&mut pacer, 60).is_err(), full);
    }
}
