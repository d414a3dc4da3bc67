//! Reads that may be answered by an earlier answer, in front of a vendor that checks every condition it is sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::plugin::{Fault, Freshness, Request, Response};
use tidegate_gateway::{
    Allowances, Answers, AuthSpec, Bounds, Call, Clock, Key, Lane, ManualClock, Now, Outside,
    Secret, Shelf,
};

use crate::kit::{
    Bench, Play, Vendor, get, http_answer, manifest, ok, post, pushing, reading, response, spec,
};

const MINUTE_MS: u32 = 60_000;

fn cached(path: &str, age_ms_max: u32, tags: &[&str]) -> Request {
    Request {
        freshness: Some(Freshness {
            age_ms_max,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }),
        ..get(path)
    }
}

fn changing(path: &str, tags: &[&str]) -> Request {
    Request {
        freshness: cached(path, 0, tags).freshness,
        ..post(path, &[1])
    }
}

fn body(result: &Result<Response, Fault>) -> String {
    String::from_utf8_lossy(&http_answer(result).body).into_owned()
}

fn age(result: &Result<Response, Fault>) -> (u64, bool) {
    let response = result.as_ref().expect("an answer");
    (response.age_ms, response.stale)
}

fn clock() -> ManualClock {
    ManualClock::at(Now {
        mono_ms: 1_000,
        wall_us: 1_700_000_000_000_000,
    })
}

/// Ends with the process and keeps nothing longer; the other half of a restart is [`restart`].
#[derive(Default)]
struct Board(Mutex<BTreeMap<Key, Vec<u8>>>);

impl Board {
    fn records(&self) -> BTreeMap<Key, Vec<u8>> {
        self.0.lock().expect("lock").clone()
    }
}

impl Shelf for Board {
    fn record_bytes_max(&self) -> u64 {
        20_000
    }

    fn put(&self, key: Key, record: Vec<u8>) -> BoxFuture<'_, ()> {
        assert!(record.len() <= 20_000, "longer than it may be");
        self.0.lock().expect("lock").insert(key, record);
        async {}.boxed()
    }

    fn get(&self, key: Key) -> BoxFuture<'_, Option<Vec<u8>>> {
        let found = self.records().get(&key).cloned();
        async { found }.boxed()
    }

    fn remove(&self, keys: Vec<Key>) -> BoxFuture<'_, bool> {
        let mut records = self.0.lock().expect("lock");
        for key in keys {
            records.remove(&key);
        }
        async { true }.boxed()
    }
}

/// A new process in front of the same shelf.
fn restart(board: &Arc<Board>, bounds: Bounds, now: Now) -> Answers {
    let answers = Answers::shelved(bounds, board.clone());
    for (key, record) in board.records() {
        answers.restore(key, &record, now);
    }
    answers
}

fn bench(vendor: &Vendor, token: &str, clock: &ManualClock, answers: &Answers) -> Bench {
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let auth = AuthSpec::Bearer {
        token: Secret::new(token),
    };
    let spec = spec(
        &[("main", &origin)],
        manifest("[auth]\nschemes = [\"bearer\"]"),
        auth,
    );
    Bench::sharing(spec, clock.clone(), Allowances::default(), answers.clone())
}

async fn one(bench: &Bench, request: Request) -> Result<Response, Fault> {
    bench.fetch(vec![request]).await.remove(0)
}

/// Answers with how often it was asked.
async fn counting() -> Vendor {
    let asked = Mutex::new(0);
    Vendor::answering(move |_| {
        let mut asked = asked.lock().expect("lock");
        *asked += 1;
        ok(&asked.to_string())
    })
    .await
}

fn header<'r>(request: &'r str, name: &str) -> Option<&'r str> {
    let mut lines = request.lines();
    lines.find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[tokio::test]
async fn a_stampede_of_identical_reads_makes_one_call() {
    let clock = clock();
    let told = clock.clone();
    let late = move |_: &str| Play::Late(told.clone(), 500, response("200 OK", "", "once"));
    let vendor = Vendor::answering(late).await;
    let bench = bench(&vendor, "t", &clock, &Answers::default());
    let (call, urgent) = (
        reading(),
        Call {
            lane: Lane::Critical,
            ..reading()
        },
    );
    // At an age of 0 too, where the one that asks has the vendor answer whole.
    let stampede = (0..40).map(|number| {
        let age_ms_max = [0, 1, MINUTE_MS][number % 3];
        bench
            .gateway
            .fetch_batch(&call, vec![cached("/a", age_ms_max, &[])])
    });
    let answers = bench.passing(join_all(stampede)).await;
    for answer in &answers {
        assert_eq!(body(&answer[0]), "once");
    }
    assert_eq!(vendor.lines().len(), 1);
    assert_eq!(bench.gateway.counters().joined, 39);

    // An urgent one does not wait for one that may wait, and what says nothing is always asked for itself.
    let mixed = [
        (&call, cached("/b", 0, &[])),
        (&urgent, cached("/b", 0, &[])),
        (&call, get("/b")),
        (&call, get("/b")),
    ];
    let mixed = mixed.map(|(call, request)| bench.gateway.fetch_batch(call, vec![request]));
    bench.passing(join_all(mixed)).await;
    assert_eq!(vendor.lines().len(), 5);
}

#[tokio::test]
async fn who_waits_goes_on_when_the_one_that_asked_gives_up() {
    let clock = clock();
    let told = clock.clone();
    let late = move |_: &str| Play::Late(told.clone(), 500, response("200 OK", "", "once"));
    let vendor = Vendor::answering(late).await;
    let bench = bench(&vendor, "t", &clock, &Answers::default());
    let call = reading();
    let ask = || {
        bench
            .gateway
            .fetch_batch(&call, vec![cached("/a", MINUTE_MS, &[])])
    };
    let mut first = ask();
    assert!((&mut first).now_or_never().is_none());
    let mut others = join_all([ask(), ask(), ask()]);
    assert!((&mut others).now_or_never().is_none());
    drop(first);
    let answers = bench.passing(others).await;
    assert!(answers.iter().all(|answer| body(&answer[0]) == "once"));
    assert!(vendor.lines().len() <= 2);
    assert_eq!(bench.gateway.counters().joined, 2);
}

#[tokio::test]
async fn answers_serve_as_long_as_the_request_says_and_a_missing_thing_briefly() {
    let clock = clock();
    let vendor = counting().await;
    let bench = bench(&vendor, "t", &clock, &Answers::default());
    let ask = |age_ms_max| one(&bench, cached("/a", age_ms_max, &[]));
    assert_eq!(body(&ask(MINUTE_MS).await), "1");
    clock.advance(60_000);
    let answer = ask(MINUTE_MS).await;
    assert_eq!(
        (body(&answer).as_str(), age(&answer)),
        ("1", (60_000, false))
    );
    let answer = ask(59_999).await;
    assert_eq!((body(&answer).as_str(), age(&answer)), ("2", (0, false)));
    assert_eq!(body(&ask(1).await), "2", "what was heard is kept for all");
    assert_eq!(body(&ask(0).await), "3");
    assert_eq!(body(&one(&bench, get("/a")).await), "4");
    assert_eq!(
        body(&ask(MINUTE_MS).await),
        "3",
        "4 was not asked to be kept"
    );

    let missing = Vendor::answering(|_| crate::kit::answer("404 Not Found", "none")).await;
    let bench = self::bench(&missing, "t", &clock, &Answers::default());
    let long = || one(&bench, cached("/a", 10 * MINUTE_MS, &[]));
    assert_eq!(http_answer(&long().await).status, 404);
    clock.advance(30_000);
    assert_eq!(http_answer(&long().await).status, 404);
    assert_eq!(missing.lines().len(), 1);
    clock.advance(1);
    long().await.expect("an answer");
    assert_eq!(missing.lines().len(), 2);
}

/// The vendor says 304 only to its own tag, and sends no body with it.
#[tokio::test]
async fn what_still_holds_is_not_sent_again() {
    let clock = clock();
    let version = Arc::new(Mutex::new(1));
    let told = version.clone();
    let vendor = Vendor::answering(move |request| {
        let version = *told.lock().expect("lock");
        let tag = format!("\"v{version}\"");
        let headers = format!("etag: {tag}\r\nx-told: {version}\r\n");
        match header(request, "if-none-match") {
            Some(known) if known == tag => Play::Send(
                format!("HTTP/1.1 304 Not Modified\r\netag: {tag}\r\nx-told: again\r\n\r\n").into(),
            ),
            _ => Play::Send(response("200 OK", &headers, &format!("body {version}"))),
        }
    })
    .await;
    let bench = bench(&vendor, "t", &clock, &Answers::default());
    let ask = |age_ms_max| one(&bench, cached("/a", age_ms_max, &[]));
    assert_eq!(body(&ask(MINUTE_MS).await), "body 1");
    clock.advance(60_001);
    let again = ask(MINUTE_MS).await;
    assert_eq!((body(&again).as_str(), age(&again)), ("body 1", (0, false)));
    assert_eq!(http_answer(&again).status, 200);
    let told = |name: &str| {
        let headers = &http_answer(&again).headers;
        let found = headers.iter().find(|header| header.name == name);
        found.map(|header| header.value.clone())
    };
    assert_eq!(told("x-told").as_deref(), Some("again"));
    clock.advance(60_000);
    assert_eq!(
        age(&ask(MINUTE_MS).await),
        (60_000, false),
        "as good as new"
    );
    assert_eq!(vendor.lines().len(), 2);
    // Who doubts what is kept does not ask whether it holds.
    ask(0).await.expect("an answer");
    let seen = vendor.seen();
    assert_eq!(header(&seen[2], "if-none-match"), None);
    *version.lock().expect("lock") = 2;
    clock.advance(60_001);
    assert_eq!(body(&ask(MINUTE_MS).await), "body 2");
    let counters = bench.gateway.counters();
    assert_eq!(
        (counters.asked, counters.renewed, counters.recalled),
        (3, 1, 1)
    );
}

#[tokio::test]
async fn credentials_never_share() {
    let clock = clock();
    let vendor = Vendor::answering(|request| {
        let who = header(request, "authorization").unwrap_or_default();
        let headers = "etag: \"same\"\r\n";
        Play::Send(response("200 OK", headers, who))
    })
    .await;
    let answers = Answers::default();
    let ada = bench(&vendor, "ada", &clock, &answers);
    let bob = bench(&vendor, "bob", &clock, &answers);
    let twin = bench(&vendor, "ada", &clock, &answers);
    let ask = |bench| one(bench, cached("/me", MINUTE_MS, &[]));
    assert_eq!(body(&ask(&ada).await), "Bearer ada");
    assert_eq!(body(&ask(&bob).await), "Bearer bob");
    assert_eq!(vendor.lines().len(), 2);
    assert_eq!(body(&ask(&twin).await), "Bearer ada");
    assert_eq!(vendor.lines().len(), 2, "the same credential");
    let auth = AuthSpec::Bearer {
        token: Secret::new("carol"),
    };
    ada.gateway.reload_credentials(auth).await;
    clock.advance(60_001);
    assert_eq!(body(&ask(&ada).await), "Bearer carol");
    let seen = vendor.seen();
    assert_eq!(header(&seen[2], "if-none-match"), None, "the tag is ada's");
}

#[tokio::test]
async fn writes_and_changes_forget_what_they_touch() {
    let clock = clock();
    let vendor = counting().await;
    let answers = Answers::default();
    let writer = bench(&vendor, "writer", &clock, &answers);
    let reader = bench(&vendor, "reader", &clock, &answers);
    let contact = || {
        cached(
            "/sobjects/Contact/003",
            MINUTE_MS,
            &["Contact", "Contact/003"],
        )
    };
    let account = || cached("/sobjects/Account/001", MINUTE_MS, &["Account"]);
    /// What is done, and whether it touches the contact and the account.
    type Case<'c> = (&'c str, BoxFuture<'c, ()>, [bool; 2]);
    let write = |request| {
        async {
            writer
                .write(vec![request])
                .await
                .remove(0)
                .expect("written");
        }
        .boxed()
    };
    let cases: Vec<Case<'_>> = vec![
        ("nothing", async {}.boxed(), [false, false]),
        (
            "a write by tag",
            write(changing("/composite", &["Contact"])),
            [true, false],
        ),
        (
            "a write by a tag of another",
            write(changing("/sobjects/Contact/003", &["Contact/004"])),
            [false, false],
        ),
        (
            "a write at the path",
            write(post("/sobjects/Contact/003", &[1])),
            [true, false],
        ),
        (
            "a write above both",
            write(post("/sobjects", &[1])),
            [true, true],
        ),
        (
            "a write beside",
            write(post("/sobjects/Contact/004", &[1])),
            [false, false],
        ),
        (
            "an incoming change",
            writer.gateway.changed("Account", ["001"]).boxed(),
            [false, true],
        ),
        (
            "an incoming change of a record",
            writer.gateway.changed("Contact", ["003", "004"]).boxed(),
            [true, false],
        ),
        (
            "nobody knows what",
            writer.gateway.forget_answers().boxed(),
            [true, true],
        ),
    ];
    for (what, happens, touched) in cases {
        let before = [
            body(&one(&reader, contact()).await),
            body(&one(&reader, account()).await),
        ];
        happens.await;
        let after = [
            body(&one(&reader, contact()).await),
            body(&one(&reader, account()).await),
        ];
        let changed = [before[0] != after[0], before[1] != after[1]];
        assert_eq!(changed, touched, "{what}");
    }
}

/// What was read while a write was on its way may be from before it: it is neither kept nor heard by who asks later.
#[tokio::test]
async fn a_read_from_before_a_write_is_not_kept_after_it() {
    let clock = clock();
    let told = clock.clone();
    let reads = Mutex::new(0);
    let vendor = Vendor::answering(move |request| {
        if request.starts_with("POST") {
            return ok("{}");
        }
        let mut reads = reads.lock().expect("lock");
        *reads += 1;
        Play::Late(
            told.clone(),
            5_000,
            response("200 OK", "", &reads.to_string()),
        )
    })
    .await;
    let bench = bench(&vendor, "t", &clock, &Answers::default());
    let (call, push) = (reading(), pushing());
    let ask = || {
        bench
            .gateway
            .fetch_batch(&call, vec![cached("/a/1", MINUTE_MS, &[])])
    };
    let mut before = ask();
    while vendor.lines().is_empty() {
        assert!((&mut before).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let written = bench.gateway.write_batch(&push, vec![post("/a", &[1])]);
    tokio::select! {
        written = written => written.into_iter().next().expect("one").expect("written"),
        _ = &mut before => unreachable!("it takes five seconds"),
    };
    let (before, after) = bench.passing(futures::future::join(before, ask())).await;
    assert_eq!(
        (body(&before[0]).as_str(), body(&after[0]).as_str()),
        ("1", "2")
    );
    assert_eq!(body(&bench.passing(ask()).await[0]), "2");
}

#[tokio::test]
async fn older_answers_serve_only_while_degraded_and_say_so() {
    let more = r#"
        [[pools]]
        name = "day"
        limit = 100
        window = { rolling = "24h" }
        scope = "account"
    "#;
    let vendor = counting().await;
    let bench = Bench::plain(&vendor, more);
    let ask = || one(&bench, cached("/a", MINUTE_MS, &[]));
    assert_eq!(body(&ask().await), "1");
    bench.clock.advance(60_001);
    assert_eq!(body(&ask().await), "2", "there is plenty");
    for number in 0..84 {
        one(&bench, get(&format!("/{number}"))).await.expect("read");
    }
    bench.clock.advance(60_001);
    let used = vendor.lines().len();
    let late = ask().await;
    assert_eq!(body(&late), "2");
    let (age_ms, stale) = age(&late);
    assert!(stale && age_ms > u64::from(MINUTE_MS), "{age_ms}");
    assert_eq!(vendor.lines().len(), used);
    assert_eq!(bench.gateway.counters().recalled_stale, 1);
    bench.clock.advance(180_000);
    let later = ask().await;
    assert_eq!(age(&later), (0, false), "four times as old is the most");
    bench.clock.advance(24 * 3_600_000);
    assert_eq!(age(&ask().await), (0, false));
    bench.clock.advance(60_001);
    assert_eq!(age(&ask().await), (0, false), "it is plenty again");
}

#[tokio::test]
async fn a_restart_serves_what_was_kept_and_nothing_that_is_not_understood() {
    let clock = clock();
    let vendor = counting().await;
    let board = Arc::new(Board::default());
    let answers = || restart(&board, Bounds::default(), clock.now());
    let ask = |answers| {
        let bench = bench(&vendor, "t", &clock, &answers);
        let request = cached("/a", MINUTE_MS, &["Contact"]);
        async move { one(&bench, request).await }
    };
    assert_eq!(body(&ask(answers()).await), "1");
    clock.advance(1_000);
    let again = ask(answers()).await;
    assert_eq!((body(&again).as_str(), age(&again)), ("1", (1_000, false)));
    // Nor does a secret stand there, or what it was made of.
    for (key, record) in board.records() {
        let text = format!("{key:?} {}", String::from_utf8_lossy(&record));
        assert!(!text.contains("Bearer"), "{text}");
    }
    clock.set_wall_us(1_600_000_000_000_000);
    assert_eq!(body(&ask(answers()).await), "2", "the clock tells no age");
    for record in board.0.lock().expect("lock").values_mut() {
        record.truncate(record.len() / 2);
    }
    let damaged = answers();
    assert_eq!(damaged.figures().store_answers, 0);
    assert_eq!(body(&ask(damaged).await), "3");
    // Damaged after it was found well.
    let known = answers();
    for record in board.0.lock().expect("lock").values_mut() {
        record[0] = 99;
    }
    assert_eq!(body(&ask(known).await), "4");
    let unknown = answers();
    assert_eq!(unknown.figures().store_answers, 1, "4 took its place");
}

/// A host that is killed while a write is on its way must not find the answer from before it.
#[tokio::test]
async fn the_shelf_forgets_before_a_write_leaves() {
    let clock = clock();
    let board = Arc::new(Board::default());
    let told = board.clone();
    let vendor = Vendor::answering(move |request| {
        if request.starts_with("POST") {
            assert!(told.records().is_empty(), "it is still on the shelf");
            return Play::Drop;
        }
        ok("{}")
    })
    .await;
    let answers = Answers::shelved(Bounds::default(), board.clone());
    let bench = bench(&vendor, "t", &clock, &answers);
    one(&bench, cached("/a", MINUTE_MS, &["Contact"]))
        .await
        .expect("read");
    assert_eq!(board.records().len(), 1);
    let written = bench.write(vec![changing("/b", &["Contact"])]).await;
    assert!(written[0].is_err(), "nobody knows what became of it");
}

/// Whatever comes in which order, no more is held than the bounds say, and the shelf holds what is known of it.
#[tokio::test]
async fn bounds_hold_under_random_load() {
    let sizes: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let told = sizes.clone();
    let vendor = Vendor::answering(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let size = told.lock().expect("lock").get(path).copied();
        ok(&"x".repeat(size.unwrap_or(0)))
    })
    .await;
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bounds = Bounds {
            memory_bytes_max: rng.random_range(20_000..100_000),
            store_bytes_max: rng.random_range(0..150_000),
        };
        let clock = clock();
        let board = Arc::new(Board::default());
        let mut answers = restart(&board, bounds, clock.now());
        let mut bench = bench(&vendor, "t", &clock, &answers);
        for _ in 0..150 {
            let path = format!("/{}", rng.random_range(0..40));
            match rng.random_range(0..12) {
                0 => {
                    let written = bench.write(vec![post(&path, &[1])]).await;
                    written[0].as_ref().expect("written");
                }
                1 => {
                    answers = restart(&board, bounds, clock.now());
                    answers.tidy().await;
                    bench = self::bench(&vendor, "t", &clock, &answers);
                }
                _ => {
                    let size = rng.random_range(0..30_000);
                    sizes.lock().expect("lock").insert(path.clone(), size);
                    let age_ms_max = [0, MINUTE_MS][rng.random_range(0..2)];
                    let read = one(&bench, cached(&path, age_ms_max, &[])).await;
                    read.expect("read");
                }
            }
            clock.advance(rng.random_range(0..10_000));
            let figures = answers.figures();
            let shelved: usize = board.records().values().map(Vec::len).sum();
            assert!(
                figures.memory_bytes <= bounds.memory_bytes_max,
                "seed {seed}"
            );
            assert!(figures.store_bytes <= bounds.store_bytes_max, "seed {seed}");
            assert_eq!(figures.store_bytes, shelved as u64, "seed {seed}");
        }
    }
}
