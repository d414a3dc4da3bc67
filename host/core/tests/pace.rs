//! The promise of pacing, held against a vendor that counts for itself.
//!
//! The vendor counts each request at a moment of its own between its leaving and its answer, and looks at
//! every window. Not checked: a vendor whose clock runs at another speed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::manifest::{Cost, Manifest, Pool, RequestMatch, Scope, Window};
use tidegate_core::pace::{
    Ended, Lane, Pacer, PoolCounts, PoolError, PoolOverride, Reason, Report, Seat, Settings, Shape,
    Throttled, Ticket,
};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::{DurationError, Now};

const LANES: [Lane; 3] = [Lane::Critical, Lane::Normal, Lane::Backfill];

fn pool(name: &str, limit: u64, window: Window) -> Pool {
    Pool {
        name: name.to_owned(),
        limit,
        window,
        scope: Scope::Account,
        cost: Cost::default(),
        costs: Vec::new(),
        requests: Vec::new(),
        overridable: true,
        source: String::new(),
    }
}

fn rolling(name: &str, limit: u64, window: &str) -> Pool {
    pool(name, limit, Window::Rolling(window.to_owned()))
}

fn manifest(pools: Vec<Pool>) -> Manifest {
    let text = r#"
        [plugin]
        name = "test"
        version = "1.0.0"
        kind = "connector"
        wit = "0.1.0"
    "#;
    let mut manifest: Manifest = toml::from_str(text).expect("a manifest");
    manifest.pools = pools;
    manifest
}

fn pacer(pools: Vec<Pool>) -> Pacer {
    Pacer::new(&manifest(pools), &BTreeMap::new(), Settings::default()).expect("pools")
}

fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_us: 1_700_000_000_000_000 + ms as i64 * 1_000,
    }
}

const GET: Shape<'static> = Shape {
    method: Some(HttpMethod::Get),
    path: "/records",
    rows: 1,
};

fn ask(pacer: &mut Pacer, now: Now, lane: Lane, costs: &[(String, u32)]) -> Ticket {
    let draws = pacer
        .draws(Seat::default(), &GET, costs)
        .expect("known pools");
    pacer
        .ask(now, lane, &"people".into(), draws)
        .expect("possible")
}

/// Asks for one and grants: the ticket if it may go now, else the reason.
fn try_one(pacer: &mut Pacer, now: Now, lane: Lane) -> Result<Ticket, Reason> {
    let ticket = ask(pacer, now, lane, &[]);
    if pacer.grant(now).contains(&ticket) {
        return Ok(ticket);
    }
    let reason = pacer.wait(ticket).expect("a reason").reason.clone();
    pacer.leave(ticket);
    Err(reason)
}

fn answered() -> Ended {
    Ended::Answered(Vec::new())
}

struct Traffic {
    limit: u64,
    window_ms: u64,
    latency_ms: u64,
    /// Mean pause between arrivals.
    pause_ms: u64,
    weight: u32,
    end_ms: u64,
}

/// Random traffic for a while; returns (moment counted by the vendor, units) and every request's wait.
fn run(seed: u64, traffic: &Traffic) -> (Vec<(u64, u64)>, Vec<u64>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let window = format!("{}ms", traffic.window_ms);
    let mut pacer = pacer(vec![rolling("burst", traffic.limit, &window)]);
    let mut arrivals = 0;
    let mut asked: BTreeMap<Ticket, (u64, u64)> = BTreeMap::new();
    let mut answers: BinaryHeap<Reverse<(u64, Ticket)>> = BinaryHeap::new();
    let (mut counted, mut waits) = (Vec::new(), Vec::new());
    let mut now_ms = 0;
    while now_ms < traffic.end_ms || !asked.is_empty() || !answers.is_empty() {
        let now = at(now_ms);
        while let Some(Reverse((due, ticket))) = answers.peek().copied()
            && due <= now_ms
        {
            answers.pop();
            let lost = random.random_ratio(1, 50);
            pacer.settle(now, ticket, &if lost { Ended::Lost } else { answered() });
        }
        while arrivals <= now_ms && now_ms < traffic.end_ms {
            arrivals += random.random_range(0..=traffic.pause_ms * 2);
            let units = random.random_range(1..=traffic.weight);
            let lane = LANES[random.random_range(0..3)];
            let ticket = ask(&mut pacer, now, lane, &[("burst".to_owned(), units)]);
            asked.insert(ticket, (now_ms, u64::from(units)));
        }
        for ticket in pacer.grant(now) {
            let (since, units) = asked.remove(&ticket).expect("asked before");
            waits.push(now_ms - since);
            let lasts = random.random_range(0..=traffic.latency_ms);
            counted.push((now_ms + random.random_range(0..=lasts), units));
            answers.push(Reverse((now_ms + lasts, ticket)));
        }
        now_ms += 1;
        assert!(
            now_ms < traffic.end_ms * 50,
            "seed {seed}: {} starve",
            asked.len()
        );
    }
    counted.sort_unstable();
    (counted, waits)
}

/// The most units in any window.
fn densest(counted: &[(u64, u64)], window_ms: u64) -> u64 {
    let (mut from, mut sum, mut most) = (0, 0, 0);
    for (moment, units) in counted {
        sum += units;
        while counted[from].0 + window_ms <= *moment {
            sum -= counted[from].1;
            from += 1;
        }
        most = most.max(sum);
    }
    most
}

#[test]
fn no_window_ever_holds_more_than_the_limit() {
    let rounds: u64 =
        option_env!("TIDEGATE_PACE_SEEDS").map_or(60, |text| text.parse().expect("a number"));
    for seed in 0..rounds {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x7ace);
        let limit = random.random_range(8..60);
        let window_ms = random.random_range(50..1_500);
        let weight = random.random_range(1..=(limit as u32 / 4));
        // Between half and twice of what the pool can give.
        let even = window_ms * u64::from(weight + 1) / 2 / limit;
        let traffic = Traffic {
            limit,
            window_ms,
            latency_ms: random.random_range(0..400),
            pause_ms: (even * random.random_range(50..200) / 100).max(1),
            weight,
            end_ms: 4_000,
        };
        let (counted, waits) = run(seed, &traffic);
        let most = densest(&counted, traffic.window_ms);
        assert!(
            most <= limit,
            "seed {seed}: {most} of {limit} in one window"
        );
        assert_eq!(counted.len(), waits.len());
    }
}

#[test]
fn the_allowance_is_used_when_there_is_work() {
    let traffic = Traffic {
        limit: 100,
        window_ms: 1_000,
        latency_ms: 20,
        pause_ms: 8,
        weight: 1,
        end_ms: 10_000,
    };
    let (counted, _) = run(1, &traffic);
    let in_time = counted
        .iter()
        .filter(|(moment, _)| *moment < 10_000)
        .count();
    assert!(in_time >= 900, "{in_time} of 1000 possible");
}

#[test]
fn large_and_low_requests_pass_in_bounded_time_under_flood() {
    let mut pacer = pacer(vec![rolling("burst", 20, "1s")]);
    let mut answers: BTreeMap<u64, Vec<Ticket>> = BTreeMap::new();
    let large = ask(
        &mut pacer,
        at(0),
        Lane::Backfill,
        &[("burst".to_owned(), 15)],
    );
    let mut passed_at = None;
    for now_ms in 0..10_000 {
        let now = at(now_ms);
        for ticket in answers.remove(&now_ms).unwrap_or_default() {
            pacer.settle(now, ticket, &answered());
        }
        // Three times what the pool can give, all of it more urgent.
        if now_ms % 16 == 0 {
            ask(&mut pacer, now, Lane::Normal, &[]);
        }
        for ticket in pacer.grant(now) {
            if ticket == large {
                passed_at = Some(now_ms);
            }
            answers.entry(now_ms + 5).or_default().push(ticket);
        }
    }
    let passed_at = passed_at.expect("the large request starves");
    assert!(passed_at <= 6_000, "passed only at {passed_at} ms");
}

#[test]
fn several_pools_are_drawn_on_whole_or_not_at_all() {
    let mut pacer = pacer(vec![rolling("wide", 10, "1s"), rolling("narrow", 1, "1s")]);
    let first = try_one(&mut pacer, at(0), Lane::Critical).expect("room in both");
    let refused = try_one(&mut pacer, at(0), Lane::Critical);
    assert_eq!(
        refused,
        Err(Reason::PoolSpent {
            pool: "narrow".into()
        })
    );
    let reserved: Vec<u64> = pacer
        .figures(at(0))
        .iter()
        .map(|pool| pool.reserved)
        .collect();
    assert_eq!(reserved, [1, 1], "a refusal reserves nothing (invariant 7)");
    pacer.settle(at(10), first, &Ended::Unsent);
    assert!(
        try_one(&mut pacer, at(10), Lane::Critical).is_ok(),
        "unsent units come back"
    );
}

#[test]
fn lanes_leave_their_reserve() {
    let mut pacer = pacer(vec![rolling("daily", 100, "24h")]);
    let mut took = [0; 3];
    for (index, lane) in [Lane::Backfill, Lane::Normal, Lane::Critical]
        .into_iter()
        .enumerate()
    {
        let refused = loop {
            match try_one(&mut pacer, at(0), lane) {
                Ok(_) => took[index] += 1,
                Err(reason) => break reason,
            }
        };
        let pool: Arc<str> = "daily".into();
        let expected = match lane {
            Lane::Critical => Reason::PoolSpent { pool },
            _ => Reason::Reserve { pool },
        };
        assert_eq!(refused, expected);
    }
    assert_eq!(took, [80, 15, 5]);
}

#[test]
fn a_reserve_can_be_set_for_one_pool() {
    let pools = vec![rolling("daily", 100, "24h"), rolling("other", 100, "24h")];
    let set = PoolOverride {
        normal_leaves_permille: Some(400),
        backfill_leaves_permille: Some(900),
        ..PoolOverride::default()
    };
    let overrides = BTreeMap::from([("daily".to_owned(), set)]);
    let mut pacer = Pacer::new(&manifest(pools), &overrides, Settings::default()).expect("pools");
    for (lane, most) in [
        (Lane::Backfill, 10),
        (Lane::Normal, 60),
        (Lane::Critical, 85),
    ] {
        let mut took = 0;
        while try_one(&mut pacer, at(0), lane).is_ok() && took < 25 {
            took += 1;
        }
        let used = pacer.figures(at(0)).remove(0).reserved;
        assert!(used <= most, "{lane:?}: {used}");
        assert!(took > 0, "{lane:?}");
    }
}

#[test]
fn a_long_window_is_kept_by_the_minute_and_over_a_restart() {
    let day_ms = 86_400_000;
    let mut first = pacer(vec![rolling("daily", 10, "24h")]);
    for step in 0..10 {
        let ticket = try_one(&mut first, at(step * 600_000), Lane::Critical).expect("room");
        first.settle(at(step * 600_000 + 50), ticket, &answered());
    }
    let kept = first.snapshot(at(6_000_000));
    // The next process's monotonic clock begins anew; the wall clock goes on.
    let later = |ms: u64| Now {
        mono_ms: ms - 6_000_000,
        wall_us: at(ms).wall_us,
    };
    let mut second = pacer(vec![rolling("daily", 10, "24h")]);
    second.restore(later(6_100_000), &kept);
    let mut granted = Vec::new();
    for minute in 102..(day_ms / 60_000 + 200) {
        if let Ok(ticket) = try_one(&mut second, later(minute * 60_000), Lane::Critical) {
            second.settle(later(minute * 60_000), ticket, &answered());
            granted.push(minute * 60_000);
        }
    }
    for (step, moment) in granted.iter().take(10).enumerate() {
        let since = moment - step as u64 * 600_000;
        assert!(since >= day_ms, "use {step} came back after {since} ms");
        assert!(
            since <= day_ms + 180_000,
            "use {step} came back only after {since} ms"
        );
    }
    assert!(granted.len() >= 10);
}

#[test]
fn a_calendar_pool_resets_at_midnight_of_its_zone() {
    let window = Window::CalendarDay("America/New_York".to_owned());
    let mut pacer = pacer(vec![pool("daily", 2, window)]);
    // 2024-03-10 05:00 UTC is midnight in New York, on the day when clocks go forward there.
    let midnight_us = 1_710_046_800_000_000;
    let now = |ms: i64| Now {
        mono_ms: (10_000_000 + ms) as u64,
        wall_us: midnight_us + ms * 1_000,
    };
    for _ in 0..2 {
        let ticket = try_one(&mut pacer, now(-600_000), Lane::Critical).expect("room");
        pacer.settle(now(-590_000), ticket, &answered());
    }
    let ticket = ask(&mut pacer, now(-500_000), Lane::Critical, &[]);
    assert!(pacer.grant(now(-500_000)).is_empty());
    let back = pacer.wait(ticket).expect("waits").at_ms as i64 - 10_000_000;
    assert!(
        (0..=3_000).contains(&back),
        "comes back {back} ms after midnight"
    );
    assert!(pacer.grant(now(-1)).is_empty());
    assert_eq!(pacer.grant(now(back)), [ticket]);
}

#[test]
fn only_long_requests_count_where_the_vendor_says_so() {
    let window = Window::Concurrency {
        after: Some("20s".to_owned()),
    };
    let mut pacer = pacer(vec![pool("long", 2, window)]);
    let spent = || {
        Err(Reason::PoolSpent {
            pool: "long".into(),
        })
    };
    // Nobody knows yet how long such a request lasts: each may be one of those that count.
    let mut now_ms = 0;
    for _ in 0..8 {
        let one = try_one(&mut pacer, at(now_ms), Lane::Critical).expect("the first");
        let other = try_one(&mut pacer, at(now_ms), Lane::Critical).expect("the second");
        assert_eq!(try_one(&mut pacer, at(now_ms), Lane::Critical), spent());
        now_ms += 100;
        pacer.settle(at(now_ms), one, &answered());
        pacer.settle(at(now_ms), other, &answered());
    }
    // Sixteen that took a tenth of a second show that they are short.
    let tickets: Vec<Ticket> = (0..5)
        .map(|_| try_one(&mut pacer, at(800), Lane::Critical).expect("short ones are free"))
        .collect();
    // Those that turn out to last hold back the others, long before the vendor counts them.
    assert_eq!(try_one(&mut pacer, at(10_000), Lane::Critical), spent());
    for ticket in &tickets[..4] {
        pacer.settle(at(10_001), *ticket, &answered());
    }
    assert!(try_one(&mut pacer, at(10_002), Lane::Critical).is_ok());
}

#[test]
fn execution_time_is_summed() {
    let window = Window::ExecutionTime("300s".to_owned());
    let mut pacer = pacer(vec![pool("time", 60_000, window)]);
    let long = try_one(&mut pacer, at(0), Lane::Critical).expect("room");
    pacer.settle(at(59_950), long, &answered());
    let refused = try_one(&mut pacer, at(60_000), Lane::Critical);
    assert_eq!(
        refused,
        Err(Reason::PoolSpent {
            pool: "time".into()
        })
    );
    assert!(try_one(&mut pacer, at(59_950 + 301_100), Lane::Critical).is_ok());
}

#[test]
fn reports_tell_what_others_used() {
    let mut pacer = pacer(vec![rolling("daily", 100, "24h")]);
    let report = |used, limit| {
        Ended::Answered(vec![Report {
            pool: "daily".to_owned(),
            used: Some(used),
            limit: Some(limit),
            remaining: None,
        }])
    };
    let ticket = try_one(&mut pacer, at(0), Lane::Critical).expect("room");
    pacer.settle(at(10), ticket, &report(41, 50));
    let figures = pacer.figures(at(10)).remove(0);
    assert_eq!(
        (figures.used, figures.used_by_others, figures.limit),
        (1, 40, 50)
    );
    let mut took = 0;
    while let Ok(ticket) = try_one(&mut pacer, at(20), Lane::Critical) {
        took += 1;
        pacer.settle(at(20), ticket, &answered());
    }
    assert_eq!(took, 9, "50 of the vendor's, 40 of others', 1 before");
    // Others' use falls out of the window little by little: the pool does not stay shut for a day.
    assert!(try_one(&mut pacer, at(86_400_000 / 40 + 100), Lane::Critical).is_ok());
}

#[test]
fn a_limit_set_by_hand_is_never_exceeded() {
    let overrides = BTreeMap::from([(
        "daily".to_owned(),
        PoolOverride {
            limit: Some(20),
            share: 0.5,
            ..PoolOverride::default()
        },
    )]);
    let manifest = manifest(vec![rolling("daily", 1_000, "24h")]);
    let mut pacer = Pacer::new(&manifest, &overrides, Settings::default()).expect("pools");
    let mut took = 0;
    while let Ok(ticket) = try_one(&mut pacer, at(0), Lane::Critical) {
        took += 1;
        let report = Report {
            pool: "daily".to_owned(),
            used: Some(took),
            limit: Some(100_000),
            remaining: None,
        };
        pacer.settle(at(0), ticket, &Ended::Answered(vec![report]));
    }
    assert_eq!(took, 10);
}

/// What is left of a smaller edition's limit must not look like use by others, nor what is left of a larger one's like
/// none at all.
#[test]
fn what_is_left_is_left_of_the_limit_that_the_operator_knows() {
    for (limit, left, others) in [(50, 49, 0), (50, 30, 19), (200, 199, 0), (200, 150, 49)] {
        let set = PoolOverride {
            limit: Some(limit),
            ..PoolOverride::default()
        };
        let mut pacer = Pacer::new(
            &manifest(vec![rolling("burst", 100, "24h")]),
            &BTreeMap::from([("burst".to_owned(), set)]),
            Settings::default(),
        )
        .expect("pools");
        let ticket = try_one(&mut pacer, at(0), Lane::Critical).expect("room");
        let report = Report {
            pool: "burst".to_owned(),
            remaining: Some(left),
            ..Report::default()
        };
        pacer.settle(at(100), ticket, &Ended::Answered(vec![report]));
        let figures = pacer.figures(at(100)).remove(0);
        assert_eq!(figures.used_by_others, others, "{left} left of {limit}");
    }
}

#[test]
fn a_throttle_parks_and_one_probe_goes_ahead() {
    let mut pacer = pacer(vec![rolling("daily", 100, "24h")]);
    let throttled = |park_ms, random| {
        Ended::Throttled(Throttled {
            pool: "daily".to_owned(),
            park_ms,
            random,
        })
    };
    let pool = || Arc::<str>::from("daily");
    // A herd that left together counts as one throttle.
    let herd: Vec<Ticket> = (0..8)
        .map(|_| try_one(&mut pacer, at(0), Lane::Normal).expect("room"))
        .collect();
    for ticket in herd {
        pacer.settle(at(10), ticket, &throttled(None, 1.0));
    }
    assert_eq!(
        try_one(&mut pacer, at(1_009), Lane::Critical),
        Err(Reason::Parked { pool: pool() })
    );
    let probe = try_one(&mut pacer, at(1_010), Lane::Normal).expect("the probe");
    assert_eq!(
        try_one(&mut pacer, at(1_010), Lane::Critical),
        Err(Reason::Probing { pool: pool() })
    );
    // The probe fails: the next park is up to twice as long.
    pacer.settle(at(1_020), probe, &throttled(None, 1.0));
    assert_eq!(
        try_one(&mut pacer, at(3_019), Lane::Normal),
        Err(Reason::Parked { pool: pool() })
    );
    let probe = try_one(&mut pacer, at(3_020), Lane::Normal).expect("the second probe");
    // The vendor names a time, which counts as it stands.
    pacer.settle(at(3_030), probe, &throttled(Some(60_000), 0.0));
    let figures = pacer.figures(at(3_030)).remove(0);
    assert_eq!(figures.parked_until_ms, Some(63_030));
    // A lost probe lets another one go; an answered one opens the pool.
    let probe = try_one(&mut pacer, at(63_030), Lane::Normal).expect("the third probe");
    pacer.settle(at(63_040), probe, &Ended::Lost);
    let probe = try_one(&mut pacer, at(63_050), Lane::Normal).expect("the fourth probe");
    pacer.settle(at(63_060), probe, &answered());
    for _ in 0..3 {
        assert!(try_one(&mut pacer, at(63_060), Lane::Normal).is_ok());
    }
}

#[test]
fn costs_follow_the_manifest_and_can_only_be_raised() {
    let mut bulk = rolling("rows", 100, "1s");
    bulk.cost = Cost::Rows { rows: 10, units: 2 };
    bulk.requests = vec![RequestMatch {
        method: Some(HttpMethod::Post),
        path_prefix: Some("/bulk".to_owned()),
        ..RequestMatch::default()
    }];
    let mut pacer = pacer(vec![rolling("all", 50, "1s"), bulk]);
    let shape = |path, rows| Shape {
        method: Some(HttpMethod::Post),
        path,
        rows,
    };
    type Named<'a> = &'a [(&'a str, u32)];
    let cases: &[(Shape<'_>, Named<'_>, u64, u64)] = &[
        (shape("/other", 25), &[], 1, 0),
        (shape("/bulk/x", 25), &[], 1, 6),
        (shape("/bulk/x", 0), &[], 1, 2),
        (shape("/bulk/x", 25), &[("rows", 3), ("all", 7)], 7, 6),
        (shape("/other", 1), &[("rows", 9)], 1, 9),
    ];
    for (shape, named, all, rows) in cases {
        let named: Vec<(String, u32)> = named
            .iter()
            .map(|(pool, units)| ((*pool).to_owned(), *units))
            .collect();
        let draws = pacer
            .draws(Seat::default(), shape, &named)
            .expect("known pools");
        assert_eq!(
            (pacer.units(&draws, "all"), pacer.units(&draws, "rows")),
            (*all, *rows),
            "{shape:?}"
        );
    }
    assert!(
        pacer
            .draws(Seat::default(), &GET, &[("nonsense".to_owned(), 1)])
            .is_err()
    );
    let draws = pacer
        .draws(Seat::default(), &GET, &[("all".to_owned(), 49)])
        .expect("known");
    let sync = "people".into();
    let impossible = pacer
        .ask(at(0), Lane::Normal, &sync, draws.clone())
        .expect_err("48 at most");
    assert_eq!((impossible.units, impossible.most), (49, 48));
    assert!(pacer.ask(at(0), Lane::Critical, &sync, draws).is_ok());
}

#[test]
fn mistakes_in_pools_are_named() {
    let set = |limit, share| PoolOverride {
        limit,
        share,
        ..PoolOverride::default()
    };
    let leaves = |permille| PoolOverride {
        backfill_leaves_permille: Some(permille),
        ..PoolOverride::default()
    };
    let dear = |limit| {
        let mut pool = rolling("a", limit, "1s");
        pool.cost = Cost::Request(4);
        pool
    };
    let fixed = || {
        let mut pool = rolling("a", 5, "1s");
        pool.overridable = false;
        pool
    };
    let cases = [
        (
            vec![rolling("a", 5, "soon")],
            None,
            PoolError::Duration {
                pool: "a".into(),
                source: DurationError::Malformed("soon".into()),
            },
        ),
        (
            vec![pool("a", 5, Window::CalendarDay("Mars/Base".into()))],
            None,
            PoolError::Zone {
                pool: "a".into(),
                text: "Mars/Base".into(),
            },
        ),
        (
            vec![rolling("a", 5, "1s"), rolling("a", 6, "1s")],
            None,
            PoolError::Twice("a".into()),
        ),
        (
            vec![rolling("b", 5, "1s")],
            Some(set(None, 1.0)),
            PoolError::Unknown("a".into()),
        ),
        (
            vec![fixed()],
            Some(set(Some(9), 1.0)),
            PoolError::Fixed("a".into()),
        ),
        (
            vec![rolling("a", 5, "1s")],
            Some(set(None, 0.0)),
            PoolError::Share("a".into()),
        ),
        (
            vec![rolling("a", 5, "1s")],
            Some(set(None, 0.1)),
            PoolError::Empty("a".into()),
        ),
        (
            vec![rolling("a", 5, "1s")],
            Some(leaves(1_001)),
            PoolError::Reserve("a".into()),
        ),
        (
            vec![dear(10)],
            Some(leaves(700)),
            PoolError::Dear {
                pool: "a".into(),
                units: 4,
                limit: 3,
            },
        ),
    ];
    for (pools, set, expected) in cases {
        let overrides = set.map(|set| ("a".to_owned(), set)).into_iter().collect();
        let found =
            Pacer::new(&manifest(pools), &overrides, Settings::default()).expect_err("a mistake");
        assert_eq!(found, expected);
    }
}

#[test]
fn a_restored_count_from_the_future_counts_as_now() {
    let mut pacer = pacer(vec![rolling("burst", 5, "10s")]);
    let ahead = at(100_000).wall_us / 1_000;
    pacer.restore(
        at(1_000),
        &[PoolCounts {
            pool: "burst".to_owned(),
            counts: vec![(ahead, 5)],
            ..PoolCounts::default()
        }],
    );
    assert!(try_one(&mut pacer, at(10_999), Lane::Critical).is_err());
    // What an earlier host sent may arrive up to a second later.
    assert!(try_one(&mut pacer, at(12_100), Lane::Critical).is_ok());
}

#[test]
fn an_answer_tells_of_pools_that_its_request_did_not_draw_on() {
    let mut search = rolling("search", 10, "1s");
    search.requests = vec![RequestMatch {
        path_prefix: Some("/search".to_owned()),
        ..RequestMatch::default()
    }];
    let mut pacer = pacer(vec![search]);
    let ticket = try_one(&mut pacer, at(0), Lane::Normal).expect("draws on nothing");
    let report = Report {
        pool: "search".to_owned(),
        used: Some(4),
        ..Report::default()
    };
    pacer.settle(at(1), ticket, &Ended::Answered(vec![report]));
    assert_eq!(pacer.figures(at(1))[0].used_by_others, 4);
    let ticket = try_one(&mut pacer, at(2), Lane::Normal).expect("draws on nothing");
    let throttled = Throttled {
        pool: "search".to_owned(),
        park_ms: Some(5_000),
        random: 0.0,
    };
    pacer.settle(at(3), ticket, &Ended::Throttled(throttled));
    assert_eq!(pacer.figures(at(3))[0].parked_until_ms, Some(5_003));
}
