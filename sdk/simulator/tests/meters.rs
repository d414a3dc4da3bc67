//! The vendors' meters, asked as a client asks: they refuse exactly at the limit, in the vendor's own words.

mod kit;

use std::io::Read;

use kit::{Client, Reply, START_MS, Site, until};
use serde_json::{Value, json};
use tidegate_simulator::ClockMode;
use tidegate_simulator::meters::{Failing, Failure, Neighbour, Options, Span, Vendor};

/// 2024-03-10T05:00:00Z: midnight in New York, on the day on which its clocks go forward.
const SHORT_DAY_MS: u64 = 1_710_046_800_000;
const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

/// Meters that stand still at a moment, and whose calls take no time.
fn standing(vendor: Vendor, start_ms: u64) -> Options {
    Options {
        clock: ClockMode::Manual { start_ms },
        takes: Some(Span::default()),
        ..Options::new(vendor)
    }
}

fn limited(vendor: Vendor, start_ms: u64, meter: &str, units: u64) -> Site {
    Site::start(Options {
        limits: vec![(meter.to_owned(), units)],
        ..standing(vendor, start_ms)
    })
}

fn rows(name: &str, count: usize) -> Value {
    json!({name: vec![json!({}); count]})
}

struct Case {
    vendor: Vendor,
    meter: &'static str,
    /// When it begins, and how long a unit counts.
    start_ms: u64,
    counts_ms: u64,
    call: (&'static str, &'static str, Value),
    weighs: u64,
    status: u16,
    /// Found in the refusal's body.
    says: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |vendor, meter, counts_ms, call, weighs| Case {
        vendor,
        meter,
        start_ms: START_MS,
        counts_ms,
        call,
        weighs,
        status: 429,
        says: "",
    };
    let get = |path| ("GET", path, Value::Null);
    let search = "/crm/v3/objects/contacts/search";
    let upsert = "/crm/v3/objects/contacts/batch/upsert";
    vec![
        Case {
            status: 403,
            says: "TotalRequests Limit exceeded.",
            ..case(
                Vendor::Salesforce,
                "daily",
                DAY_MS + 1,
                get("/services/data/v60.0/query"),
                1,
            )
        },
        Case {
            status: 403,
            says: "REQUEST_LIMIT_EXCEEDED",
            ..case(
                Vendor::Salesforce,
                "daily",
                DAY_MS + 1,
                (
                    "POST",
                    "/services/data/v60.0/composite/batch",
                    rows("batchRequests", 5),
                ),
                5,
            )
        },
        Case {
            says: "TEN_SECONDLY_ROLLING",
            ..case(
                Vendor::HubSpot,
                "burst",
                10_001,
                ("POST", upsert, rows("inputs", 100)),
                1,
            )
        },
        Case {
            says: "\"policyName\":\"SECONDLY\"",
            ..case(
                Vendor::HubSpot,
                "search",
                1_001,
                ("POST", search, json!({})),
                1,
            )
        },
        Case {
            start_ms: SHORT_DAY_MS,
            says: "\"policyName\":\"DAILY\"",
            ..case(
                Vendor::HubSpot,
                "daily",
                23 * HOUR_MS,
                get("/crm/v3/objects/contacts"),
                1,
            )
        },
        Case {
            says: "0x80072322",
            ..case(
                Vendor::Dataverse,
                "requests",
                300_001,
                ("PATCH", "/api/data/v9.2/contacts(1)", json!({})),
                1,
            )
        },
        Case {
            ..case(
                Vendor::Pipedrive,
                "burst",
                2_001,
                get("/api/v2/persons/17"),
                1,
            )
        },
        Case {
            ..case(
                Vendor::Pipedrive,
                "search",
                2_001,
                get("/api/v2/persons/search"),
                1,
            )
        },
        Case {
            start_ms: START_MS / DAY_MS * DAY_MS,
            ..case(
                Vendor::Pipedrive,
                "daily",
                DAY_MS,
                get("/api/v2/persons"),
                10,
            )
        },
        Case {
            start_ms: START_MS / DAY_MS * DAY_MS,
            ..case(
                Vendor::Pipedrive,
                "daily",
                DAY_MS,
                ("PATCH", "/api/v2/persons/17", json!({})),
                5,
            )
        },
        Case {
            says: "TOO_MANY_REQUESTS",
            ..case(
                Vendor::Zoho,
                "credits",
                DAY_MS + 1,
                ("POST", "/crm/v8/Contacts/upsert", rows("data", 95)),
                10,
            )
        },
        Case {
            says: "TOO_MANY_REQUESTS",
            ..case(
                Vendor::Zoho,
                "credits",
                DAY_MS + 1,
                get("/crm/v8/Contacts"),
                1,
            )
        },
    ]
}

#[test]
fn every_meter_refuses_exactly_at_its_limit() {
    for case in cases() {
        let name = format!("{} {}", case.vendor, case.meter);
        let limit = case.weighs * 3 + case.weighs.min(2) - 1;
        let site = limited(case.vendor, case.start_ms, case.meter, limit);
        let client = site.client("a");
        let (method, path, body) = &case.call;
        let send = || client.json(method, path, body);
        for call in 0..3 {
            let reply = send();
            assert!(reply.status < 300, "{name}, call {call}: {}", reply.text());
        }
        let reply = send();
        assert_eq!(reply.status, case.status, "{name}");
        assert!(reply.text().contains(case.says), "{name}: {}", reply.text());
        site.meters.advance_ms(case.counts_ms - 1);
        assert_eq!(send().status, case.status, "{name}: it counts as long");
        site.meters.advance_ms(1);
        assert!(send().status < 300, "{name}: there is room again");

        let stats = site.meters.stats();
        let windows: Vec<_> = stats.of(case.meter).collect();
        let [window] = windows[..] else {
            panic!("{name}: {windows:?}")
        };
        assert_eq!(
            (window.most, window.refused, window.admitted),
            (case.weighs * 3, 2, case.weighs * 4),
            "{name}"
        );
        let refusals = site.meters.refusals();
        assert_eq!(refusals.len(), 2, "{name}");
        assert_eq!(
            (&*refusals[0].meter, refusals[0].units, refusals[0].used),
            (case.meter, case.weighs, case.weighs * 3),
            "{name}"
        );
    }
}

#[test]
fn calls_at_once_are_refused_while_they_last() {
    let cases = [
        (Vendor::Dataverse, "at-once", "0x80072326", 0),
        (Vendor::Zoho, "at-once", "TOO_MANY_REQUESTS", 0),
        (Vendor::Zoho, "heavy", "TOO_MANY_REQUESTS", 0),
        // Only calls that have lasted twenty seconds count here.
        (
            Vendor::Salesforce,
            "long-running",
            "ConcurrentPerOrgLongTxn",
            20_000,
        ),
    ];
    for (vendor, meter, says, after_ms) in cases {
        let site = Site::start(Options {
            limits: vec![(meter.to_owned(), 2)],
            takes: Some(Span::new(30_000, 0)),
            ..standing(vendor, START_MS)
        });
        let client = site.client("a");
        let body = rows("data", 11).to_string();
        let path = "/contacts/upsert";
        let held: Vec<_> = (0..2)
            .map(|_| client.send_only("POST", path, body.as_bytes()))
            .collect();
        until("two calls", || site.meters.arrived() == 2);
        if after_ms > 0 {
            site.meters.advance_ms(after_ms - 1);
            let more = client.send_only("POST", path, body.as_bytes());
            until("a third", || site.meters.arrived() == 3);
            assert_eq!(site.meters.stats().refused, 0, "{vendor}: none lasts yet");
            drop(more);
            site.meters.advance_ms(1);
        }
        let reply = client.json("POST", path, &rows("data", 11));
        assert!(reply.text().contains(says), "{vendor}: {}", reply.text());
        drop(held);
        assert_eq!(site.meters.stats().refused, 1, "{vendor} {meter}");
    }
}

#[test]
fn dataverse_tells_how_long_and_longer_to_whom_does_not_listen() {
    let site = limited(Vendor::Dataverse, START_MS, "requests", 1);
    let client = site.client("a");
    let send = || client.json("GET", "/api/data/v9.2/contacts", &Value::Null);
    let waits = |reply: &Reply| {
        reply.headers["retry-after"]
            .parse::<u64>()
            .expect("seconds")
    };
    assert_eq!(
        send().headers["x-ms-ratelimit-burst-remaining-xrm-requests"],
        "0"
    );
    let (first, second) = (send(), send());
    assert_eq!((waits(&first), waits(&second)), (301, 302));
    site.meters.advance_ms(301_000);
    assert_eq!(send().status, 200);
}

#[test]
fn time_at_work_is_metered() {
    let site = Site::start(Options {
        limits: vec![("time".to_owned(), 1_000)],
        takes: Some(Span::new(600, 0)),
        ..standing(Vendor::Dataverse, START_MS)
    });
    let client = site.client("a");
    for call in 1..=2 {
        let sent = client.send_only("POST", "/api/data/v9.2/$batch", b"{}");
        let mut held = sent.expect("a connection");
        until("it is at work", || site.meters.arrived() == call);
        site.meters.advance_ms(600);
        // It is answered when its time is noted.
        held.read_to_end(&mut Vec::new()).expect("an answer");
    }
    let reply = client.json("GET", "/api/data/v9.2/contacts", &Value::Null);
    assert!(reply.text().contains("0x80072321"), "{}", reply.text());
    assert!(reply.text().contains("1,000 milliseconds"));
    assert_eq!(
        reply.headers["x-ms-ratelimit-time-remaining-xrm-requests"],
        "0.00"
    );
}

#[test]
fn headers_tell_what_the_vendor_tells() {
    let list = "/crm/v3/objects/contacts";
    let first = |site: &Site, path: &str| site.client("a").json("GET", path, &Value::Null);
    let site = Site::start(standing(Vendor::HubSpot, START_MS));
    let reply = first(&site, list);
    assert_eq!(reply.headers["x-hubspot-ratelimit-remaining"], "189");
    assert_eq!(
        reply.headers["x-hubspot-ratelimit-daily-remaining"],
        "624999"
    );
    let searched = site
        .client("a")
        .json("POST", &format!("{list}/search"), &json!({}));
    let told = searched.headers.keys();
    assert_eq!(told.filter(|name| name.contains("ratelimit")).count(), 0);

    let site = Site::start(standing(Vendor::Salesforce, START_MS));
    let reply = first(&site, "/services/data/v60.0/query");
    assert_eq!(reply.headers["sforce-limit-info"], "api-usage=1/15000");

    let site = limited(Vendor::Zoho, START_MS, "credits", 4);
    let credits = |reply: &Reply| reply.headers.get("x-api-credits-remaining").cloned();
    assert_eq!(credits(&first(&site, "/crm/v8/Contacts")), None);
    assert_eq!(
        credits(&first(&site, "/crm/v8/Contacts")),
        Some("2".to_owned())
    );
}

#[test]
fn whoever_ignores_pipedrive_gets_a_page() {
    let site = limited(Vendor::Pipedrive, START_MS, "burst", 1);
    let client = site.client("a");
    let statuses: Vec<u16> = (0..25)
        .map(|_| client.json("GET", "/api/v2/persons/1", &Value::Null).status)
        .collect();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..21].iter().all(|status| *status == 429));
    assert!(statuses[21..].iter().all(|status| *status == 403));
    let reply = client.json("GET", "/api/v2/persons/1", &Value::Null);
    assert!(reply.text().starts_with("<!DOCTYPE html>"));
}

/// A token bucket of the nominal size lets nearly twice the limit through: the meter must fail it.
#[test]
fn naive_clients_are_refused() {
    let site = Site::start(standing(Vendor::HubSpot, START_MS));
    let client = site.client("a");
    let send = || {
        let reply = client.json("GET", "/crm/v3/objects/contacts", &Value::Null);
        reply.status
    };
    let full = (0..190).filter(|_| send() == 200).count();
    assert_eq!(full, 190, "a whole bucket at once is within the window");
    let mut refused = 0;
    for _ in 0..180 {
        // 10 s / 190, in whole milliseconds and slower than the bucket fills.
        site.meters.advance_ms(53);
        refused += usize::from(send() == 429);
    }
    assert_eq!(refused, 180, "the window is full until the bucket has gone");
    let stats = site.meters.stats();
    let burst = stats.of("burst").next().expect("a window");
    assert_eq!((burst.most, burst.refused), (190, 180));
}

#[test]
fn each_credential_has_its_own_burst_and_all_share_the_day() {
    let site = Site::start(Options {
        limits: vec![("burst".to_owned(), 2), ("daily".to_owned(), 5)],
        credentials: ["Bearer a", "Bearer b", "Bearer c"]
            .map(str::to_owned)
            .into(),
        ..standing(Vendor::HubSpot, START_MS)
    });
    let send = |token: &str| {
        let client = site.client(token);
        let reply = client.json("GET", "/crm/v3/objects/contacts", &Value::Null);
        (reply.status, reply.text())
    };
    for (token, status) in [("a", 200), ("a", 200), ("a", 429), ("b", 200), ("d", 401)] {
        assert_eq!(send(token).0, status, "{token}");
    }
    site.meters.set_revoked("Bearer b", true);
    assert_eq!(send("b").0, 401);
    site.meters.set_revoked("Bearer b", false);
    assert_eq!((send("b").0, send("c").0), (200, 200));
    let (status, text) = send("c");
    assert_eq!(status, 429);
    assert!(text.contains("DAILY"), "{text}");
}

/// What a neighbour took in some windows beside a client that takes what is left.
fn beside(permille: std::ops::RangeInclusive<u64>, seed: u64) -> (u64, u64, u64) {
    let site = Site::start(Options {
        seed,
        limits: vec![("burst".to_owned(), 50)],
        neighbour: Some(Neighbour {
            permille,
            stretch_ms: None,
        }),
        ..standing(Vendor::HubSpot, START_MS)
    });
    let client = site.client("a");
    let mut refused = 0;
    for _ in 0..200 {
        site.meters.advance_ms(1_000);
        let reply = client.json("GET", "/crm/v3/objects/contacts", &Value::Null);
        refused += u64::from(reply.status == 429);
    }
    let stats = site.meters.stats();
    let burst = stats.of("burst").next().expect("a window");
    assert!(burst.most <= 50, "seed {seed}: {burst:?}");
    (burst.others, burst.admitted - burst.others, refused)
}

#[test]
fn a_noisy_neighbour_takes_its_share_by_chance_and_by_seed() {
    // 200 s are 20 windows of 50.
    let (others, ours, refused) = beside(300..=300, 7);
    assert!((230..=370).contains(&others), "{others}");
    assert_eq!((ours, refused), (200, 0));
    let (others, ours, refused) = beside(1_000..=1_000, 7);
    assert!(refused > 0, "a full window has no room: {others}, {ours}");
    assert_eq!(ours + refused, 200);
    assert_eq!(beside(0..=800, 3), beside(0..=800, 3));
    assert_ne!(beside(0..=800, 3), beside(0..=800, 4));
}

#[test]
fn limits_shrink_when_they_are_told_to() {
    let site = Site::start(Options {
        limits: vec![("burst".to_owned(), 4)],
        later: vec![(5_000, "burst".to_owned(), 2)],
        ..standing(Vendor::HubSpot, START_MS)
    });
    let client = site.client("a");
    let send = || {
        let reply = client.json("GET", "/crm/v3/objects/contacts", &Value::Null);
        reply.status
    };
    assert_eq!([send(), send(), send()], [200; 3]);
    site.meters.advance_ms(5_000);
    assert_eq!(send(), 429);
    site.meters.advance_ms(5_001);
    assert_eq!([send(), send(), send()], [200, 200, 429]);
    site.meters.set_limit("burst", 3).expect("a meter");
    assert_eq!([send(), send()], [200, 429]);
    let error = site.meters.set_limit("bursts", 3).expect_err("no meter");
    assert!(
        error.to_string().contains("burst, search, daily"),
        "{error}"
    );
}

#[test]
fn the_vendors_clock_may_be_ahead() {
    let site = Site::start(Options {
        limits: vec![("daily".to_owned(), 1)],
        skew_ms: 5_000,
        ..standing(Vendor::HubSpot, SHORT_DAY_MS + 12 * HOUR_MS)
    });
    let client = site.client("a");
    let send = || client.json("GET", "/crm/v3/objects/contacts", &Value::Null);
    assert_eq!(send().headers["date"], "Sun, 10 Mar 2024 17:00:05 GMT");
    site.meters.advance_ms(11 * HOUR_MS - 5_001);
    assert_eq!(send().status, 429);
    site.meters.advance_ms(1);
    assert_eq!(send().status, 200, "its midnight comes earlier");
}

#[test]
fn answers_fail_at_a_rate_for_a_time() {
    let site = Site::start(Options {
        limits: vec![("burst".to_owned(), 10_000)],
        ..standing(Vendor::HubSpot, START_MS)
    });
    let client = site.client("a");
    let send = |client: &Client| client.send("GET", "/crm/v3/objects/contacts", &[], b"");
    for (how, expected) in [
        (Failure::Error, Some((503, "Service Unavailable"))),
        (Failure::Html, Some((503, "<!DOCTYPE html>"))),
        (Failure::Reset, None),
    ] {
        site.meters.fail(Failing {
            permille: 500,
            for_ms: 60_000,
            how,
        });
        let replies: Vec<_> = (0..200).map(|_| send(&client)).collect();
        let failed: Vec<_> = replies
            .iter()
            .filter(|reply| reply.as_ref().is_ok_and(|reply| reply.status != 200) || reply.is_err())
            .collect();
        assert!(
            (70..=130).contains(&failed.len()),
            "{how:?}: {}",
            failed.len()
        );
        for reply in failed {
            let seen = reply
                .as_ref()
                .ok()
                .map(|reply| (reply.status, reply.text()));
            assert_eq!(seen.is_some(), expected.is_some(), "{how:?}");
            if let (Some((status, text)), Some((expected, begins))) = (seen, expected) {
                assert_eq!(status, expected, "{how:?}");
                assert!(text.starts_with(begins), "{how:?}: {text}");
            }
        }
        site.meters.advance_ms(60_000);
        let after = (0..50).filter_map(|_| send(&client).ok());
        assert_eq!(after.filter(|reply| reply.status == 200).count(), 50);
    }
}

#[test]
fn silence_lasts_longer_than_any_client() {
    let site = Site::start(Options {
        failing: Some(Failing {
            permille: 1_000,
            for_ms: 1,
            how: Failure::Silence,
        }),
        ..standing(Vendor::HubSpot, START_MS)
    });
    let client = site.client("a");
    let sent = client.send_only("GET", "/crm/v3/objects/contacts", b"");
    let mut held = sent.expect("a connection");
    until("silence", || site.meters.due_ms().is_some());
    assert_eq!(site.meters.due_ms(), Some(START_MS + HOUR_MS));
    site.meters.advance_ms(HOUR_MS);
    let mut received = Vec::new();
    // Whether the end of it is clean is the system's business; no answer comes.
    drop(held.read_to_end(&mut received));
    assert!(received.is_empty());
    assert_eq!(site.meters.stats().failed, 1);
}

/// A day of windows passes in seconds, for clients that have no hand on the clock.
#[test]
fn a_fast_clock_tries_a_day_for_real() {
    let site = Site::start(Options {
        clock: ClockMode::Fast { speed: 50_000 },
        limits: vec![("daily".to_owned(), 1)],
        takes: Some(Span::default()),
        ..Options::new(Vendor::Salesforce)
    });
    let client = site.client("a");
    let send = || {
        let reply = client.json("GET", "/services/data/v60.0/query", &Value::Null);
        reply.status
    };
    // On a machine that is held up the day may be over before the second call, and then another one begins.
    let (before_ms, counted_ms) = loop {
        let before_ms = site.meters.now_ms();
        assert_eq!(send(), 200);
        let counted_ms = site.meters.now_ms();
        if send() == 403 {
            break (before_ms, counted_ms);
        }
        site.meters.advance_ms(DAY_MS + 1);
    };
    while send() == 403 {}
    let now_ms = site.meters.now_ms();
    assert!(now_ms - before_ms > DAY_MS, "{now_ms}");
    // It is let in as soon as the first one is out, but for the time that a request takes, some minutes of that clock.
    let last = site.meters.refusals().pop().expect("a refusal").at_ms;
    assert!(last <= counted_ms + DAY_MS, "{last}");
}

#[test]
fn the_back_door_moves_what_a_test_moves() {
    let site = Site::start(standing(Vendor::Zoho, START_MS));
    let client = site.client("a");
    let cases = [
        ("POST", "clock", json!({"advance_ms": 5}), 200),
        ("PUT", "limit", json!({"credits": 1}), 200),
        ("PUT", "limit", json!({"tokens": 1}), 400),
        (
            "PUT",
            "failing",
            json!({"permille": 1_000, "for_ms": 10}),
            200,
        ),
        (
            "PUT",
            "failing",
            json!({"permille": 1_001, "for_ms": 10}),
            400,
        ),
        ("PUT", "neighbour", json!({"permille": [0, 800]}), 200),
        ("PUT", "neighbour", Value::Null, 400),
        ("PUT", "neighbour", json!({"permille": [0, 8_000]}), 400),
        (
            "POST",
            "credentials/revoke",
            json!({"credential": "Bearer b"}),
            200,
        ),
        ("GET", "weather", Value::Null, 404),
    ];
    for (method, path, body, status) in cases {
        let reply = client.json(method, &format!("/_sim/{path}"), &body);
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
    }
    let reply = client.json("GET", "/crm/v8/Contacts", &Value::Null);
    assert_eq!(reply.status, 500, "{}", reply.text());
    let stats = client.json("GET", "/_sim/stats", &Value::Null).json();
    assert_eq!(
        (&stats["failed"], &stats["now_ms"]),
        (&json!(1), &json!(START_MS + 5))
    );
    let reply = client.json("GET", "/crm/v8/Contacts", &Value::Null);
    assert_eq!(reply.status, 429, "its credit is used");
    let refusals = client.json("GET", "/_sim/refusals", &Value::Null).json();
    assert_eq!(refusals[0]["meter"], "credits");
}
