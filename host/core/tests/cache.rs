//! What is kept of answers and when it serves, with a clock that the tests drive.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::cache::{
    Bounds, Change, Found, Holder, Judgement, Keeping, Kept, Key, Label, Tiers, is_cacheable,
    judge, keeping,
};
use tidegate_core::pace::Level;
use tidegate_core::plugin::{Header, HttpMethod, HttpRequest, HttpResponse};
use tidegate_core::time::Now;

const MINUTE_MS: u64 = 60_000;

/// Headers by name and value.
type Pairs = &'static [(&'static str, &'static str)];

fn at(ms: u64) -> Now {
    Now {
        mono_ms: 1_000 + ms,
        wall_us: 1_700_000_000_000_000 + ms as i64 * 1_000,
    }
}

fn headers(pairs: &[(&str, &str)]) -> Vec<Header> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| Header {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        })
        .collect()
}

fn response(status: u16, pairs: &[(&str, &str)], body: &[u8]) -> HttpResponse {
    HttpResponse {
        status,
        headers: headers(pairs),
        body: body.to_vec(),
    }
}

fn label(path: &str, tags: &[&str]) -> Arc<Label> {
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Arc::new(Label::new("vendor https://x", path, &tags))
}

fn kept(status: u16, pairs: &[(&str, &str)]) -> Kept {
    Kept::new(label("/a", &[]), response(status, pairs, b"{}"), at(0))
}

fn key(number: u64) -> Key {
    let http = HttpRequest {
        method: HttpMethod::Get,
        path: format!("/{number}"),
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
        origin: None,
    };
    Key::new(&Holder::new(["ada"]), "https://x", &http)
}

/// Age of the answer, age asked for, level: what becomes of it.
#[test]
fn answers_serve_by_their_age_and_older_ones_only_while_degraded() {
    const ETAG: &[(&str, &str)] = &[("etag", "\"1\"")];
    let fresh = |age_ms| Judgement::Serve {
        age_ms,
        stale: false,
    };
    let stale = |age_ms| Judgement::Serve {
        age_ms,
        stale: true,
    };
    let ask = || Judgement::Ask {
        conditions: Vec::new(),
    };
    let check = || Judgement::Ask {
        conditions: headers(&[("if-none-match", "\"1\"")]),
    };
    let found: &[(u16, &[(&str, &str)])] = &[(200, &[]), (200, ETAG), (404, &[])];
    let [plain, tagged, missing] = [0, 1, 2];
    let cases = [
        (plain, 0, MINUTE_MS, Level::Plenty, fresh(0)),
        (plain, MINUTE_MS, MINUTE_MS, Level::Plenty, fresh(MINUTE_MS)),
        (plain, MINUTE_MS + 1, MINUTE_MS, Level::Plenty, ask()),
        (plain, MINUTE_MS + 1, MINUTE_MS, Level::Notify, ask()),
        (
            plain,
            MINUTE_MS + 1,
            MINUTE_MS,
            Level::Stretch,
            stale(MINUTE_MS + 1),
        ),
        (
            plain,
            4 * MINUTE_MS,
            MINUTE_MS,
            Level::Stretch,
            stale(4 * MINUTE_MS),
        ),
        (plain, 4 * MINUTE_MS + 1, MINUTE_MS, Level::Stretch, ask()),
        (
            plain,
            10 * MINUTE_MS,
            MINUTE_MS,
            Level::Critical,
            stale(10 * MINUTE_MS),
        ),
        (plain, 10 * MINUTE_MS + 1, MINUTE_MS, Level::Critical, ask()),
        (plain, 0, 0, Level::Critical, ask()),
        (
            tagged,
            MINUTE_MS,
            MINUTE_MS,
            Level::Plenty,
            fresh(MINUTE_MS),
        ),
        (tagged, MINUTE_MS + 1, MINUTE_MS, Level::Plenty, check()),
        (tagged, 0, 0, Level::Plenty, ask()),
        (missing, 30_000, MINUTE_MS, Level::Plenty, fresh(30_000)),
        (missing, 30_001, MINUTE_MS, Level::Plenty, ask()),
        (missing, 30_001, MINUTE_MS, Level::Critical, ask()),
        (missing, 10_001, 10_000, Level::Plenty, ask()),
    ];
    for (number, (which, age_ms, age_ms_max, level, expected)) in cases.into_iter().enumerate() {
        let (status, pairs) = found[which];
        let percent = level.asks().cache_age_percent;
        let judged = judge(&kept(status, pairs), age_ms_max, percent, at(age_ms));
        assert_eq!(judged, expected, "case {number}");
    }
}

#[test]
fn validators_are_sent_where_the_vendor_can_not_be_wrong_about_them() {
    const DATE: &str = "Sat, 28 Nov 2026 10:00:01 GMT";
    const BEFORE: &str = "Sat, 28 Nov 2026 10:00:00 GMT";
    let cases: &[(Pairs, Pairs)] = &[
        (&[], &[]),
        (&[("etag", "W/\"7\"")], &[("if-none-match", "W/\"7\"")]),
        (
            &[("etag", "\"7\""), ("last-modified", BEFORE), ("date", DATE)],
            &[("if-none-match", "\"7\"")],
        ),
        (
            &[("last-modified", BEFORE), ("date", DATE)],
            &[("if-modified-since", BEFORE)],
        ),
        (&[("last-modified", DATE), ("date", DATE)], &[]),
        (&[("last-modified", BEFORE)], &[]),
        (&[("last-modified", "yesterday"), ("date", DATE)], &[]),
    ];
    for (told, expected) in cases {
        assert_eq!(kept(200, told).validators(), headers(expected), "{told:?}");
    }
}

#[test]
fn an_answer_that_still_holds_is_as_good_as_new() {
    let told = &[("etag", "\"1\""), ("date", "then"), ("x-a", "b")];
    let old = kept(200, told);
    let said = headers(&[
        ("date", "now"),
        ("content-type", "text/html"),
        ("set-cookie", "a=b"),
    ]);
    let renewed = old.renewed(&said);
    let renewed = Kept::new(label("/a", &[]), renewed, at(5 * MINUTE_MS));
    assert_eq!(renewed.age_ms(at(5 * MINUTE_MS)), 0);
    assert_eq!(renewed.response.body, old.response.body);
    assert_eq!(renewed.header("date"), Some("now"));
    assert_eq!(renewed.header("x-a"), Some("b"));
    assert_eq!(renewed.header("content-type"), None);
    assert_eq!(renewed.header("set-cookie"), None);
}

#[test]
fn what_is_kept_depends_on_the_status() {
    let cases = [
        (200, Keeping::Long),
        (204, Keeping::Long),
        (206, Keeping::Nothing),
        (304, Keeping::Nothing),
        (400, Keeping::Forget),
        (401, Keeping::Forget),
        (403, Keeping::Forget),
        (404, Keeping::Brief),
        (410, Keeping::Brief),
        (429, Keeping::Nothing),
        (500, Keeping::Nothing),
        (503, Keeping::Nothing),
    ];
    for (status, expected) in cases {
        assert_eq!(keeping(&response(status, &[], b"")), expected, "{status}");
    }
    let everything = response(200, &[("vary", "accept, *")], b"");
    assert_eq!(keeping(&everything), Keeping::Forget);
}

#[test]
fn a_connector_that_sets_its_own_conditions_gets_its_own_answers() {
    let request = |method, pairs| HttpRequest {
        method,
        path: "/a".to_owned(),
        query: Vec::new(),
        headers: headers(pairs),
        body: Vec::new(),
        origin: None,
    };
    let cases: &[(HttpMethod, Pairs, bool)] = &[
        (HttpMethod::Get, &[("accept", "x")], true),
        (HttpMethod::Post, &[], true),
        (HttpMethod::Patch, &[], false),
        (HttpMethod::Get, &[("If-Modified-Since", "x")], false),
        (HttpMethod::Get, &[("range", "bytes=0-1")], false),
    ];
    for (method, pairs, expected) in cases {
        let found = is_cacheable(&request(*method, pairs));
        assert_eq!(found, *expected, "{method:?} {pairs:?}");
    }
}

/// Time that passed while no process ran counts, and a clock that was set back tells nothing.
#[test]
fn ages_go_on_over_a_restart() {
    let record = kept(200, &[("etag", "\"1\"")]).record();
    let read = |now: Now| Kept::read(&record, now).expect("a record");
    let later = Now {
        mono_ms: 3,
        ..at(MINUTE_MS)
    };
    assert_eq!(read(later).age_ms(later), MINUTE_MS);
    let more = Now {
        mono_ms: 8,
        wall_us: later.wall_us,
    };
    assert_eq!(read(later).age_ms(more), MINUTE_MS + 5);
    let before = Now {
        mono_ms: 3,
        wall_us: at(0).wall_us - 1,
    };
    let judged = judge(&read(before), u64::MAX - 1, 1_000, before);
    let conditions = headers(&[("if-none-match", "\"1\"")]);
    assert_eq!(judged, Judgement::Ask { conditions });
}

#[test]
fn a_record_that_is_not_understood_is_none() {
    let record = kept(200, &[]).record();
    assert!(Kept::read(&record, at(0)).is_some());
    for length in 0..record.len() {
        assert!(Kept::read(&record[..length], at(0)).is_none(), "{length}");
    }
    let mut other = record;
    other[0] += 1;
    assert!(Kept::read(&other, at(0)).is_none());
}

#[test]
fn nothing_that_belongs_to_one_conversation_is_kept() {
    let told = &[("set-cookie", "sid=7"), ("etag", "\"1\"")];
    let record = kept(200, told).record();
    let text = String::from_utf8_lossy(&record);
    assert!(!text.contains("sid=7") && text.contains("etag"));
}

#[test]
fn a_change_reaches_memory_and_store() {
    let mut tiers = Tiers::new(Bounds::default());
    let speaks_of = |path: &str, tags: &[&str]| {
        Arc::new(Kept::new(
            label(path, tags),
            response(200, &[], b"{}"),
            at(0),
        ))
    };
    let (one, two) = (speaks_of("/1", &["Contact"]), speaks_of("/2", &["Account"]));
    let serial = tiers.keep(key(1), &one, Some(100)).expect("room");
    tiers.keep(key(2), &two, Some(100)).expect("room");
    assert!(tiers.is_stored(&key(1), serial));
    tiers.change(
        "vendor https://x",
        &Change::Tags(["Contact"].into_iter().collect()),
    );
    assert!(matches!(tiers.find(&key(1)), Found::Nowhere));
    assert!(matches!(tiers.find(&key(2)), Found::Here(_)));
    assert_eq!(tiers.take_doomed(), [key(1)]);
    assert!(!tiers.is_stored(&key(1), serial));
    let fetched = tiers.fetched(key(1), serial, &one);
    assert!(!fetched, "forgotten while it was fetched");
}

/// Whatever comes in which order, neither tier holds more than it may, and the store is told of all that must go.
#[test]
fn bounds_hold_under_any_load() {
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bounds = Bounds {
            memory_bytes_max: rng.random_range(1..200_000),
            store_bytes_max: rng.random_range(0..400_000),
        };
        let mut tiers = Tiers::new(bounds);
        let mut store = std::collections::BTreeMap::new();
        for step in 0..300 {
            let key = key(rng.random_range(0..60));
            match rng.random_range(0..10) {
                0..6 => {
                    let body = vec![0; rng.random_range(0..60_000)];
                    let answer = response(200, &[], &body);
                    let tag = ["a", "b", "c"][rng.random_range(0..3)];
                    let kept = Arc::new(Kept::new(label("/a", &[tag]), answer, at(0)));
                    let bytes = kept.bytes();
                    if let Some(serial) = tiers.keep(key, &kept, Some(bytes)) {
                        store.insert(key, (serial, bytes));
                    }
                }
                6..9 => {
                    if let Found::Stored(serial) = tiers.find(&key) {
                        assert_eq!(store[&key].0, serial, "seed {seed}, step {step}");
                    }
                }
                _ => {
                    let tag = ["a", "b", "c"][rng.random_range(0..3)];
                    let change = Change::Tags([tag].into_iter().collect());
                    tiers.change("vendor https://x", &change);
                }
            }
            for gone in tiers.take_doomed() {
                let still = store
                    .get(&gone)
                    .is_some_and(|(serial, _)| tiers.is_stored(&gone, *serial));
                if !still {
                    store.remove(&gone);
                }
            }
            let figures = tiers.figures();
            assert!(figures.memory_bytes <= bounds.memory_bytes_max);
            assert!(figures.store_bytes <= bounds.store_bytes_max);
            let there: u64 = store.values().map(|(_, bytes)| bytes).sum();
            assert_eq!(figures.store_bytes, there, "seed {seed}, step {step}");
            assert_eq!(figures.store_answers, store.len() as u64);
        }
    }
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let mut tiers = Tiers::new(Bounds {
        memory_bytes_max: 5_000,
        store_bytes_max: 0,
    });
    let answer = Arc::new(Kept::new(
        label("/a", &[]),
        response(200, &[], &[0; 400]),
        at(0),
    ));
    for number in 0..5 {
        assert_eq!(tiers.keep(key(number), &answer, Some(1)), None);
    }
    assert!(matches!(tiers.find(&key(0)), Found::Here(_)));
    tiers.keep(key(5), &answer, None);
    assert!(matches!(tiers.find(&key(0)), Found::Here(_)));
    assert!(matches!(tiers.find(&key(1)), Found::Nowhere));
    let large = response(200, &[], &[0; 2_000]);
    let large = Arc::new(Kept::new(label("/a", &[]), large, at(0)));
    tiers.keep(key(6), &large, None);
    assert!(
        matches!(tiers.find(&key(6)), Found::Nowhere),
        "it would clear the tier"
    );
    assert!(matches!(tiers.find(&key(0)), Found::Here(_)));
}
