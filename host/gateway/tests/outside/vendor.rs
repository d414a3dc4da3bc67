//! What the vendor does to us, and what is left on the record afterwards.

use tidegate_core::plugin::{Executed, FaultKind, Operation};
use tidegate_gateway::{Lane, Readiness, Reason};

use crate::kit::{
    Bench, Play, Vendor, answer, code, get, http_answer, ok, post, request, response,
};

fn gzip_bomb() -> Vec<u8> {
    // 200,000 zero bytes, as gzip makes 227 of them.
    let packed = include_bytes!("zeros.gz");
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    bytes.extend_from_slice(packed);
    bytes
}

/// What a single write comes to: kind, code, fate, and how often the vendor got it.
struct Case {
    name: &'static str,
    plays: Vec<Play>,
    idempotent: bool,
    expected: Result<u16, (FaultKind, &'static str, Executed)>,
    attempts: usize,
}

fn short(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len() + 100
    )
    .into_bytes()
}

#[tokio::test]
async fn a_write_is_never_repeated_unless_that_is_harmless() {
    use Executed::{No, Unknown};
    let redirect = |status: &str| Play::Send(response(status, "location: /elsewhere\r\n", ""));
    let case = |name, plays, expected, attempts| Case {
        name,
        plays,
        idempotent: false,
        expected,
        attempts,
    };
    let cases = vec![
        case("plain", vec![ok("{}")], Ok(200), 1),
        case(
            "refused by the vendor",
            vec![answer("400 Bad Request", "[]")],
            Ok(400),
            1,
        ),
        case(
            "server error",
            vec![answer("503 Unavailable", "")],
            Ok(503),
            1,
        ),
        case(
            "HTML for JSON is the plugin's matter",
            vec![answer("200 OK", "<html>")],
            Ok(200),
            1,
        ),
        case(
            "dropped after the write",
            vec![Play::Drop],
            Err((FaultKind::Transient, "connection-lost", Unknown)),
            1,
        ),
        case(
            "truncated",
            vec![Play::SendAndClose(short("{\"a\":"))],
            Err((FaultKind::Broken, "body-truncated", Unknown)),
            1,
        ),
        case(
            "too large",
            vec![Play::Send(response("200 OK", "", &"x".repeat(100_001)))],
            Err((FaultKind::Broken, "response-too-large", Unknown)),
            1,
        ),
        case(
            "gzip bomb",
            vec![Play::Send(gzip_bomb())],
            Err((FaultKind::Broken, "response-too-large", Unknown)),
            1,
        ),
        case(
            "redirect to itself",
            vec![redirect("302 Found")],
            Err((FaultKind::Config, "redirect-refused", No)),
            1,
        ),
        case(
            "see other",
            vec![redirect("303 See Other")],
            Err((FaultKind::Config, "redirect-refused", Unknown)),
            1,
        ),
        case(
            "several choices is an answer",
            vec![answer("300 Multiple Choices", "[]")],
            Ok(300),
            1,
        ),
        Case {
            idempotent: true,
            ..case(
                "idempotent, dropped once",
                vec![Play::Drop, ok("{}")],
                Ok(200),
                2,
            )
        },
        Case {
            idempotent: true,
            ..case(
                "idempotent, always dropped",
                vec![Play::Drop, Play::Drop, Play::Drop],
                Err((FaultKind::Transient, "connection-lost", Unknown)),
                3,
            )
        },
    ];
    for case in cases {
        let vendor = Vendor::start(case.plays).await;
        let bench = Bench::plain(&vendor, "");
        let mut write = post("/records", &[1, 2]);
        write.idempotent = case.idempotent;
        let result = bench.write(vec![write]).await.remove(0);
        let found = match &result {
            Ok(_) => Ok(http_answer(&result).status),
            Err(fault) => Err((fault.kind, fault.code.as_str(), fault.executed)),
        };
        assert_eq!(found, case.expected, "{}", case.name);
        assert_eq!(vendor.seen().len(), case.attempts, "{}", case.name);
        let intents = bench.journal.intents.lock().expect("lock").clone();
        for (attempt, (intent, seen)) in intents.iter().enumerate() {
            assert_eq!(intent.tokens, [1, 2], "{}", case.name);
            assert_eq!(
                *seen, attempt,
                "{}: the intent comes first (invariant 2)",
                case.name
            );
        }
        assert_eq!(intents.len(), case.attempts, "{}", case.name);
    }
}

#[tokio::test]
async fn a_refused_connection_has_executed_nothing() {
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, "");
    // Bound and not listened on: nobody is behind it, and nobody else gets it.
    let reserved = tokio::net::TcpSocket::new_v4().expect("a socket");
    let anywhere = "127.0.0.1:0".parse().expect("an address");
    reserved.bind(anywhere).expect("a port");
    let port = reserved.local_addr().expect("an address").port();
    let gone = Bench::of(crate::kit::spec(
        &[("main", &format!("http://127.0.0.1:{port}"))],
        crate::kit::manifest(""),
        tidegate_gateway::AuthSpec::None,
    ));
    let result = gone.write(vec![post("/records", &[1])]).await.remove(0);
    let fault = result.expect_err("nobody is there");
    assert_eq!(
        (fault.code.as_str(), fault.executed),
        ("connection-failed", Executed::No)
    );
    assert_eq!(
        gone.gateway.counters().repeats,
        2,
        "repeating is harmless then"
    );
    assert!(bench.fetch(vec![get("/records")]).await[0].is_ok());
}

#[tokio::test]
async fn a_list_of_writes_stops_at_the_first_unknown() {
    let vendor = Vendor::start([ok("1"), answer("400 Bad Request", "[]"), Play::Drop]).await;
    let bench = Bench::plain(&vendor, "");
    let writes = (1..=5)
        .map(|row| post(&format!("/{row}"), &[row]))
        .collect();
    let results = bench.write(writes).await;
    assert_eq!(http_answer(&results[0]).status, 200);
    assert_eq!(http_answer(&results[1]).status, 400);
    assert_eq!(code(&results[2]), "connection-lost");
    for result in &results[3..] {
        let fault = result.as_ref().expect_err("not attempted");
        assert_eq!(
            (fault.code.as_str(), fault.executed),
            ("not-attempted", Executed::No)
        );
    }
    assert_eq!(
        vendor.lines(),
        ["POST /1 HTTP/1.1", "POST /2 HTTP/1.1", "POST /3 HTTP/1.1"]
    );
}

#[tokio::test]
async fn no_write_leaves_without_its_intent() {
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, "");
    *bench.journal.fails.lock().expect("lock") = true;
    let result = bench.write(vec![post("/records", &[1])]).await.remove(0);
    let fault = result.expect_err("the journal is broken");
    assert_eq!(
        (fault.code.as_str(), fault.executed),
        ("journal-failed", Executed::No)
    );
    assert!(vendor.seen().is_empty(), "invariant 2");
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_by_the_clock() {
    let vendor = Vendor::start([Play::Hang]).await;
    let bench = Bench::plain(&vendor, "");
    let call = crate::kit::pushing();
    let write =
        tidegate_gateway::Outside::write_batch(&*bench.gateway, &call, vec![post("/late", &[1])]);
    let (results, ()) = tokio::join!(write, async {
        while vendor.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        bench.clock.advance(119_999);
        assert_eq!(
            bench.clock.sleepers(),
            [1_000 + 120_000],
            "not before its time"
        );
        bench.clock.advance(1);
    });
    let fault = results[0].as_ref().expect_err("a time-out");
    assert_eq!(
        (fault.code.as_str(), fault.executed),
        ("timeout", Executed::Unknown)
    );
}

#[tokio::test]
async fn a_second_answer_is_nobodys() {
    let mut twice = response("200 OK", "", "first");
    twice.extend(response("200 OK", "", "second"));
    let vendor = Vendor::start([Play::Send(twice), ok("third")]).await;
    let bench = Bench::plain(&vendor, "");
    assert_eq!(
        http_answer(&bench.fetch(vec![get("/a")]).await[0]).body,
        b"first"
    );
    assert_eq!(
        http_answer(&bench.fetch(vec![get("/b")]).await[0]).body,
        b"third"
    );
}

#[tokio::test]
async fn reads_are_repeated_within_bounds_and_apart() {
    let vendor = Vendor::start([Play::Drop, Play::SendAndClose(short("{")), ok("[1]")]).await;
    let bench = Bench::plain(&vendor, "");
    assert_eq!(
        http_answer(&bench.fetch(vec![get("/a")]).await[0]).body,
        b"[1]"
    );
    assert_eq!(vendor.seen().len(), 3);
    let vendor = Vendor::start(vec![Play::Drop; 100]).await;
    let bench = Bench::plain(&vendor, "");
    for _ in 0..20 {
        let fault = bench
            .fetch(vec![get("/a")])
            .await
            .remove(0)
            .expect_err("dropped");
        assert_eq!(fault.executed, Executed::No, "a read executes nothing");
    }
    assert!(
        vendor.seen().len() <= 33,
        "{} requests for 20 reads",
        vendor.seen().len()
    );
}

const DAILY: &str = r#"
    [[pools]]
    name = "daily"
    limit = 3
    window = { rolling = "24h" }
    scope = "account"
    [[readings]]
    pool = "daily"
    header = "Sforce-Limit-Info"
    pattern = "api-usage={used}/{limit}"
    [[throttles]]
    when = { status = 403, code = "REQUEST_LIMIT_EXCEEDED", message-prefix = "TotalRequests" }
    pool = "daily"
    park = "5m"
"#;

#[tokio::test]
async fn nothing_is_sent_that_the_vendor_would_refuse() {
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, DAILY);
    for _ in 0..3 {
        assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
    }
    let fault = bench
        .write(vec![post("/a", &[1])])
        .await
        .remove(0)
        .expect_err("spent");
    assert_eq!(
        (fault.kind, fault.code.as_str(), fault.executed),
        (FaultKind::Throttled, "pool-spent", Executed::No)
    );
    assert!(fault.retry_after_ms.is_some_and(|ms| ms > 86_000_000));
    assert_eq!(vendor.seen().len(), 3, "invariant 7");
    assert!(bench.journal.intents.lock().expect("lock").is_empty());
    assert_eq!(bench.gateway.counters().held_back, 1);
    let reason = Reason::PoolSpent {
        pool: "daily".into(),
    };
    assert!(
        matches!(bench.gateway.readiness(Lane::Normal, 1), Readiness::At { reason: found, .. } if found == reason)
    );
    // The next process starts from these counts.
    let next = Bench::plain(&vendor, DAILY);
    let kept = bench.gateway.account().snapshot();
    next.gateway.account().restore(&kept);
    assert_eq!(code(&next.fetch(vec![get("/a")]).await[0]), "pool-spent");
}

#[tokio::test]
async fn others_use_is_read_from_the_answers() {
    let usage = Play::Send(response(
        "200 OK",
        "Sforce-Limit-Info: api-usage=3/3\r\n",
        "{}",
    ));
    let vendor = Vendor::start([usage]).await;
    let bench = Bench::plain(&vendor, DAILY);
    assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
    assert_eq!(code(&bench.fetch(vec![get("/a")]).await[0]), "pool-spent");
    let pools = bench.gateway.pools();
    assert_eq!((pools[0].used, pools[0].used_by_others), (1, 2));
}

/// Where headers do not come for a while, the vendor is asked for its figures, and only then.
#[tokio::test]
async fn figures_are_asked_for_where_answers_do_not_tell_them() {
    let gauge = format!(
        r#"{DAILY}
    [[gauges]]
    path = "/limits"
    every = "10m"
    pools = [{{ pool = "daily", limit = "/Daily/Max", remaining = "/Daily/Left" }}]
    "#
    );
    let figures = ok(r#"{"Daily":{"Max":4,"Left":1},"Other":{}}"#);
    let vendor = Vendor::start([figures, answer("500 Oops", "")]).await;
    let bench = Bench::plain(&vendor, &gauge);
    bench.gateway.read_gauges().await;
    bench.clock.advance(599_999);
    bench.gateway.read_gauges().await;
    assert!(vendor.seen().is_empty(), "not before its time");
    bench.clock.advance(1);
    bench.gateway.read_gauges().await;
    bench.gateway.read_gauges().await;
    assert_eq!(vendor.lines(), ["GET /limits HTTP/1.1"]);
    // Three are used, one of them by us; four is what the vendor allows.
    let pool = bench.gateway.pools().remove(0);
    assert_eq!((pool.used, pool.used_by_others, pool.limit), (1, 2, 4));
    // One that fails is asked for again in its time, and a paused endpoint is not asked.
    bench.clock.advance(600_000);
    bench.gateway.pause();
    bench.gateway.read_gauges().await;
    assert_eq!(vendor.seen().len(), 1);
    bench.gateway.resume();
    bench.gateway.read_gauges().await;
    bench.gateway.read_gauges().await;
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn a_throttle_parks_the_pool_as_the_manifest_says() {
    let total =
        r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]"#;
    let other = r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"Something else."}]"#;
    let vendor = Vendor::start([
        answer("403 Forbidden", other),
        answer("403 Forbidden", total),
    ])
    .await;
    let bench = Bench::plain(&vendor, DAILY);
    assert_eq!(
        http_answer(&bench.fetch(vec![get("/a")]).await[0]).status,
        403
    );
    let fault = bench
        .write(vec![post("/a", &[1])])
        .await
        .remove(0)
        .expect_err("throttled");
    assert_eq!(
        (fault.kind, fault.code.as_str(), fault.executed),
        (FaultKind::Throttled, "REQUEST_LIMIT_EXCEEDED", Executed::No)
    );
    assert_eq!(fault.retry_after_ms, Some(300_000));
    assert_eq!(code(&bench.fetch(vec![get("/a")]).await[0]), "pool-parked");
    bench.clock.advance(300_000);
    assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
    assert_eq!(
        (vendor.seen().len(), bench.gateway.counters().throttled),
        (3, 1)
    );
}

#[tokio::test]
async fn requests_wait_for_a_short_pool() {
    let pools = r#"
        [[pools]]
        name = "burst"
        limit = 8
        window = { rolling = "1s" }
        scope = "app"
    "#;
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, pools);
    let started = tidegate_gateway::Clock::now(&bench.clock).mono_ms;
    let results = bench.fetch((0..24).map(|_| get("/a")).collect()).await;
    assert!(results.iter().all(Result::is_ok), "all of them, in time");
    let took = tidegate_gateway::Clock::now(&bench.clock).mono_ms - started;
    assert!(
        (2_000..4_500).contains(&took),
        "24 requests at 8 a second took {took} ms"
    );
}

#[tokio::test]
async fn what_a_call_may_not_do_is_refused_before_anything_is_sent() {
    use tidegate_core::plugin::{FeedRequest, Header, HttpMethod};
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, DAILY);
    let with_header = |name: &str, value: &str| {
        let mut http = crate::kit::http(HttpMethod::Post, "/a");
        http.headers = vec![Header {
            name: name.to_owned(),
            value: value.to_owned(),
        }];
        request(Operation::Http(http), &[1])
    };
    let mut unknown_pool = post("/a", &[1]);
    unknown_pool.costs = vec![("nonsense".to_owned(), 1)];
    let mut impossible = post("/a", &[1]);
    impossible.costs = vec![("daily".to_owned(), 4)];
    let mut elsewhere = crate::kit::http(HttpMethod::Post, "/a");
    elsewhere.origin = Some("bulk".to_owned());
    let feed = Operation::Feed(FeedRequest {
        feed: "slot".to_owned(),
        position: Vec::new(),
        changes_max: 1,
        wait_ms: 0,
    });
    let cases = [
        (post("/a", &[77]), "token-unknown"),
        (post("/a", &[]), "rows-missing"),
        (get("/a"), "rows-missing"),
        (
            request(
                Operation::Http(crate::kit::http(HttpMethod::Get, "/a")),
                &[1],
            ),
            "method-refused",
        ),
        (with_header("Host", "evil"), "header-refused"),
        (with_header("AUTHORIZATION", "Bearer x"), "header-refused"),
        (with_header("accept-encoding", "br"), "header-refused"),
        (with_header("x-a", "b\r\nhost: evil"), "header-refused"),
        (with_header("x a", "b"), "header-refused"),
        (unknown_pool, "pool-unknown"),
        (impossible, "cost-impossible"),
        (request(Operation::Http(elsewhere), &[1]), "origin-unknown"),
        (request(feed, &[1]), "feed-not-offered"),
    ];
    for (request, expected) in cases {
        let results = bench.write(vec![request]).await;
        assert_eq!(code(&results[0]), expected);
    }
    let call = crate::kit::reading();
    let results =
        tidegate_gateway::Outside::write_batch(&*bench.gateway, &call, vec![post("/a", &[])]).await;
    assert_eq!(code(&results[0]), "write-not-allowed");
    assert!(vendor.seen().is_empty());
    assert!(bench.journal.intents.lock().expect("lock").is_empty());
}
