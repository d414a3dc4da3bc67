//! What stands in the way of every request: an endpoint that fails, one that somebody paused, and an allowance
//! that runs out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::pace::Level;
use tidegate_core::plugin::{Executed, FaultKind};
use tidegate_gateway::{
    Allowances, AuthSpec, Call, Clock, Lane, ManualClock, Outside, Readiness, Reason, Settings,
};

use crate::kit::{
    Bench, Play, Vendor, answer, code, get, manifest, ok, post, pushing, reading, response, spec,
};

const POOLS: &str = r#"
    [[pools]]
    name = "burst"
    limit = 10
    window = { rolling = "1s" }
    scope = "app"
"#;

fn reason(bench: &Bench) -> Option<Reason> {
    match bench.gateway.readiness(Lane::Critical, 1) {
        Readiness::Now => None,
        Readiness::At { reason, .. } => Some(reason),
    }
}

fn html() -> Play {
    Play::Send(response(
        "200 OK",
        "content-type: text/html\r\n",
        "<html>down for maintenance</html>",
    ))
}

/// Servers that fail, pages for people, resets: after some of them the endpoint is left alone, shown as failing, and one
/// request finds out that it is back.
#[tokio::test]
async fn an_endpoint_that_fails_is_left_alone_and_tried_with_little() {
    let failures = [answer("503 Unavailable", ""), html(), Play::Drop];
    for failure in failures {
        let name = format!("{failure:?}");
        let vendor = Vendor::start(vec![failure; 11]).await;
        let bench = Bench::plain(&vendor, "");
        let call = pushing();
        for _ in 0..11 {
            bench
                .gateway
                .write_batch(&call, vec![post("/a", &[1])])
                .await;
        }
        assert_eq!(vendor.seen().len(), 11, "{name}");
        let failing = Reason::Failing {
            endpoint: "crm".into(),
        };
        assert_eq!(reason(&bench), Some(failing), "{name}");
        let results = {
            // Nobody waits longer than he may.
            let write = bench.gateway.write_batch(&call, vec![post("/a", &[1])]);
            tokio::pin!(write);
            assert!(futures::poll!(&mut write).is_pending(), "{name}: it waits");
            assert_eq!(vendor.seen().len(), 11, "{name}");
            bench.passing(write).await
        };
        assert!(results[0].is_ok(), "{name}: the vendor is back");
        assert_eq!(bench.journal.intents.lock().expect("lock").len(), 12);
        // More and more go at once, until it is trusted again.
        for _ in 0..40 {
            assert!(bench.fetch(vec![get("/a")]).await[0].is_ok(), "{name}");
        }
        assert_eq!(reason(&bench), None, "{name}");
    }
}

#[tokio::test]
async fn only_one_request_tries_a_failing_endpoint() {
    let mut plays = vec![answer("503 Unavailable", ""); 11];
    plays.push(Play::Hang);
    let vendor = Vendor::start(plays).await;
    let bench = Bench::plain(&vendor, "");
    let call = pushing();
    for _ in 0..11 {
        bench
            .gateway
            .write_batch(&call, vec![post("/a", &[1])])
            .await;
    }
    let call = reading();
    let many = bench
        .gateway
        .fetch_batch(&call, (0..8).map(|_| get("/a")).collect());
    let looking = async {
        while vendor.seen().len() < 12 {
            bench.clock.advance(100);
            settle().await;
        }
        // The one is out and silent; the others wait for it.
        for _ in 0..50 {
            bench.clock.advance(100);
            settle().await;
        }
        vendor.seen().len()
    };
    tokio::select! {
        biased;
        seen = looking => assert_eq!(seen, 12),
        results = many => unreachable!("{results:?}"),
    }
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Half of all answers failing for a minute: whoever repeats until it is done costs the vendor at most a tenth more
/// attempts than needed, and full speed is back within two windows of the pause that was last.
#[tokio::test]
async fn half_failing_costs_at_most_a_tenth_more() {
    const NEEDED: usize = 1_000;
    let clock = ManualClock::default();
    let count = AtomicU64::new(0);
    let (told, began_ms) = (clock.clone(), clock.now().mono_ms);
    let vendor = Vendor::answering(move |_| {
        let odd = count.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let trouble = told.now().mono_ms - began_ms < 60_000;
        if trouble && odd {
            answer("503 Unavailable", "")
        } else {
            ok("{}")
        }
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let spec = spec(&[("main", &origin)], manifest(POOLS), AuthSpec::None);
    let bench = Bench::beside(spec, clock.clone(), Allowances::default());
    let mut done_at_ms = Vec::new();
    while done_at_ms.len() < NEEDED {
        let most = (NEEDED - done_at_ms.len()).min(10);
        let results = bench.fetch((0..most).map(|_| get("/a")).collect()).await;
        for result in results {
            let well = result.is_ok_and(|response| match response.answer {
                tidegate_core::plugin::Answer::Http(http) => http.status == 200,
                _ => false,
            });
            if well {
                done_at_ms.push(clock.now().mono_ms - began_ms);
            }
        }
    }
    let attempts = vendor.seen().len();
    assert!(
        attempts * 10 <= NEEDED * 11,
        "{attempts} attempts for {NEEDED}"
    );
    // The last pause may still lie in the minute's end: eight seconds at most, then two windows.
    let back = done_at_ms
        .iter()
        .filter(|at| **at >= 60_000 + 8_050 + 2_000);
    let span_ms = done_at_ms[NEEDED - 1] - (60_000 + 8_050 + 2_000);
    let per_second = back.count() as u64 * 1_000 / span_ms.max(1);
    assert!(per_second >= 9, "{per_second} a second afterwards");
}

#[tokio::test]
async fn what_is_paused_waits_and_comes_back_gently() {
    type Switch = fn(&Bench);
    let cases: [(&str, Switch, Switch); 3] = [
        (
            "crm",
            |bench| bench.gateway.pause(),
            |bench| bench.gateway.resume(),
        ),
        (
            "vendor http://127.0.0.1",
            |bench| bench.gateway.account().pause(),
            |bench| bench.gateway.account().resume(),
        ),
        (
            "burst",
            |bench| bench.gateway.account().pause_pool("burst").expect("known"),
            |bench| bench.gateway.account().resume_pool("burst").expect("known"),
        ),
    ];
    for (name, pause, resume) in cases {
        let vendor = Vendor::start([ok("{}"), Play::Hang]).await;
        let bench = Bench::plain(&vendor, POOLS);
        assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
        pause(&bench);
        let Some(Reason::Paused { what }) = reason(&bench) else {
            panic!("{name} is not paused");
        };
        assert!(what.starts_with(name), "{what}");
        let results = bench.fetch(vec![get("/a")]).await;
        let fault = results[0].as_ref().expect_err("paused");
        assert_eq!((fault.kind, &*fault.code), (FaultKind::Throttled, "paused"));
        assert_eq!(fault.executed, Executed::No);
        assert!(fault.retry_after_ms.is_some(), "when to look again");
        assert_eq!(vendor.seen().len(), 1, "{name}");

        // What has gathered does not leave at once: one goes, and is silent.
        let call = reading();
        let many = bench
            .gateway
            .fetch_batch(&call, (0..8).map(|_| get("/a")).collect());
        let looking = async {
            settle().await;
            assert_eq!(vendor.seen().len(), 1, "{name}");
            resume(&bench);
            for _ in 0..50 {
                bench.clock.advance(20);
                settle().await;
            }
            vendor.seen().len()
        };
        tokio::select! {
            biased;
            seen = looking => assert_eq!(seen, 2, "{name}"),
            results = many => unreachable!("{results:?}"),
        }
    }
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, POOLS);
    assert!(bench.gateway.account().pause_pool("burts").is_err());
}

/// The ladder of a day's allowance: at 85 percent backfill waits, at 95 all but the critical lane, and both are taken back
/// by themselves.
#[tokio::test]
async fn an_allowance_that_runs_out_is_for_the_urgent() {
    let pools = r#"
        [[pools]]
        name = "daily"
        limit = 100000
        window = { rolling = "24h" }
        scope = "account"
        [[readings]]
        pool = "daily"
        header = "usage"
        pattern = "{used}/{limit}"
    "#;
    let steps = [
        (60_000, Level::Plenty, [true, true, true]),
        (71_000, Level::Notify, [true, true, true]),
        (86_000, Level::Stretch, [true, true, false]),
        (96_000, Level::Critical, [true, false, false]),
        (91_000, Level::Stretch, [true, true, false]),
        (50_000, Level::Plenty, [true, true, true]),
    ];
    let used = Arc::new(AtomicU64::new(0));
    let told = used.clone();
    let vendor = Vendor::answering(move |_| {
        let usage = format!("usage: {}/100000\r\n", told.load(Ordering::Relaxed));
        Play::Send(response("200 OK", &usage, "{}"))
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let mut spec = spec(&[("main", &origin)], manifest(pools), AuthSpec::None);
    // Reserves hold the lower lanes back as well, and would be told first.
    spec.limits.lanes = Settings {
        normal_leaves_permille: 0,
        backfill_leaves_permille: 0,
        ..Settings::default()
    };
    let bench = Bench::of(spec);
    let call = |lane| Call { lane, ..reading() };
    let critical = call(Lane::Critical);
    for (others, level, goes) in steps {
        used.store(others, Ordering::Relaxed);
        let told = bench.gateway.fetch_batch(&critical, vec![get("/a")]).await;
        assert!(told[0].is_ok(), "{others}");
        assert_eq!(bench.gateway.pools()[0].level, level, "{others}");
        for (lane, goes) in [Lane::Critical, Lane::Normal, Lane::Backfill]
            .into_iter()
            .zip(goes)
        {
            let results = bench
                .gateway
                .fetch_batch(&call(lane), vec![get("/a")])
                .await;
            match goes {
                true => assert!(results[0].is_ok(), "{others} {lane:?}: {results:?}"),
                false => assert_eq!(code(&results[0]), "pool-degraded", "{others} {lane:?}"),
            }
        }
    }
}

/// As many at once as the endpoint answers well, and the urgent ones first where there is room for one more.
#[tokio::test]
async fn requests_at_once_are_bounded_and_the_urgent_go_first() {
    let clock = ManualClock::default();
    let (told, count) = (clock.clone(), AtomicU64::new(0));
    let vendor = Vendor::answering(move |_| {
        let lasts_ms = 100 + count.fetch_add(1, Ordering::Relaxed);
        Play::After(told.clone(), lasts_ms)
    })
    .await;
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let mut spec = spec(&[("main", &origin)], manifest(""), AuthSpec::None);
    spec.limits.fetches_at_once = 64;
    let bench = Bench::beside(spec, clock, Allowances::default());
    let call = |lane| Call { lane, ..reading() };
    let (backfill, critical) = (call(Lane::Backfill), call(Lane::Critical));
    let list = (0..64).map(|_| get("/bulk")).collect();
    let many = bench.gateway.fetch_batch(&backfill, list);
    let urgent = bench.gateway.fetch_batch(&critical, vec![get("/urgent")]);
    let looking = async {
        while vendor.seen().len() < 32 {
            settle().await;
        }
        settle().await;
        let crowded = Reason::Crowded {
            endpoint: "crm".into(),
        };
        assert_eq!(reason(&bench), Some(crowded));
        bench.clock.advance(100);
        while vendor.seen().len() < 33 {
            settle().await;
        }
        settle().await;
        vendor.lines()[32..].to_vec()
    };
    tokio::select! {
        biased;
        results = many => unreachable!("{results:?}"),
        results = urgent => unreachable!("{results:?}"),
        lines = looking => assert_eq!(lines, ["GET /urgent HTTP/1.1"]),
    }
}

/// More urgent requests than the endpoint takes at once, without end: one that may wait goes all the same.
#[tokio::test]
async fn a_flood_of_the_urgent_starves_nobody() {
    const WORKERS: usize = 280;
    let clock = ManualClock::default();
    let told = clock.clone();
    let vendor = Vendor::answering(move |_| Play::After(told.clone(), 100)).await;
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let spec = spec(&[("main", &origin)], manifest(""), AuthSpec::None);
    let bench = Bench::beside(spec, clock, Allowances::default());
    let call = |lane| Call { lane, ..reading() };
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let (gateway, critical) = (bench.gateway.clone(), call(Lane::Critical));
        flood.spawn(async move {
            loop {
                gateway.fetch_batch(&critical, vec![get("/urgent")]).await;
            }
        });
    }
    settle().await;
    let backfill = call(Lane::Backfill);
    let waiting = bench.gateway.fetch_batch(&backfill, vec![get("/bulk")]);
    let time = async {
        for _ in 0..60 {
            settle().await;
            bench.clock.advance(100);
        }
    };
    tokio::select! {
        biased;
        results = waiting => assert!(results[0].is_ok(), "{results:?}"),
        () = time => panic!("it waits after 6 s"),
    }
    let waited_ms = bench.clock.now().mono_ms;
    assert!(waited_ms >= 3_000, "the urgent go first: {waited_ms}");
}
