//! Endpoints on one account share what the vendor counts together (invariant 7).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tidegate_core::manifest::Manifest;
use tidegate_core::plugin::FaultKind;
use tidegate_gateway::{
    AccountSpec, Allowances, AuthSpec, Clock, ManualClock, Outside, PoolCounts, Purpose, Secret,
};

use crate::kit::{Bench, Vendor, answer, code, get, manifest, ok, post, reading, spec};

fn pools(account_limit: u32, window: &str) -> Arc<Manifest> {
    manifest(&format!(
        r#"
        [auth]
        schemes = ["bearer"]
        [[pools]]
        name = "account"
        limit = {account_limit}
        window = {{ rolling = "{window}" }}
        scope = "account"
        [[pools]]
        name = "app"
        limit = 20
        window = {{ rolling = "24h" }}
        scope = "app"
        "#
    ))
}

fn endpoint(
    vendor: &Vendor,
    token: &str,
    manifest: &Arc<Manifest>,
    (clock, allowances): (&ManualClock, &Allowances),
) -> Bench {
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let token = Secret::new(token);
    let spec = spec(
        &[("main", &origin)],
        manifest.clone(),
        AuthSpec::Bearer { token },
    );
    Bench::beside(spec, clock.clone(), allowances.clone())
}

/// Units used by pool, as an endpoint sees them.
fn used(bench: &Bench) -> BTreeMap<String, u64> {
    let pools = bench.gateway.pools().into_iter();
    pools
        .map(|pool| (pool.pool.to_string(), pool.used))
        .collect()
}

fn expected(account: u64, app: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("account".to_owned(), account), ("app".to_owned(), app)])
}

#[tokio::test]
async fn two_endpoints_on_one_account_never_use_its_allowance_twice() {
    let (vendor, elsewhere) = (Vendor::start([]).await, Vendor::start([]).await);
    let host = (&ManualClock::default(), &Allowances::default());
    let manifest = pools(3, "24h");
    let one = endpoint(&vendor, "token-one", &manifest, host);
    let same = endpoint(&vendor, "token-one", &manifest, host);
    let other = endpoint(&vendor, "token-other", &manifest, host);
    let stranger = endpoint(&elsewhere, "token-one", &manifest, host);

    for bench in [&one, &same, &other] {
        assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
    }
    for bench in [&one, &same, &other] {
        assert_eq!(code(&bench.fetch(vec![get("/a")]).await[0]), "pool-spent");
    }
    assert_eq!(vendor.seen().len(), 3);
    assert_eq!((used(&one), used(&same)), (expected(3, 2), expected(3, 2)));
    assert_eq!(used(&other), expected(3, 1), "an app of its own");
    assert!(stranger.fetch(vec![get("/a")]).await[0].is_ok());
    assert_eq!(used(&stranger), expected(1, 1), "an account of its own");

    // The counts of the account are whole for the next host, whoever drew, and tell no token.
    let kept = one.gateway.account().snapshot();
    assert_eq!(kept, other.gateway.account().snapshot());
    assert!(!format!("{kept:?}").contains("token-"), "invariant 10");
    let next = (host.0, &Allowances::default());
    let again = endpoint(&vendor, "token-other", &manifest, next);
    let first = endpoint(&vendor, "token-one", &manifest, next);
    again.gateway.account().restore(&kept);
    assert_eq!(
        (used(&again), used(&first)),
        (expected(3, 1), expected(3, 2))
    );
}

/// Whoever waits at one endpoint is served when something comes back at the other, at the common pace.
#[tokio::test]
async fn two_endpoints_that_wait_share_the_pace() {
    let vendor = Vendor::start([]).await;
    let host = (&ManualClock::default(), &Allowances::default());
    let manifest = pools(8, "1s");
    let one = endpoint(&vendor, "token-one", &manifest, host);
    let other = endpoint(&vendor, "token-other", &manifest, host);
    let list = || (0..12).map(|_| get("/a")).collect();
    let call = reading();
    let both = async {
        tokio::join!(
            one.gateway.fetch_batch(&call, list()),
            other.gateway.fetch_batch(&call, list())
        )
    };
    let (mine, theirs) = one.passing(both).await;
    for result in mine.iter().chain(&theirs) {
        assert!(result.is_ok(), "{result:?}");
    }
    let took_ms = tidegate_gateway::Clock::now(host.0).mono_ms;
    assert!(
        (2_000..4_500).contains(&took_ms),
        "24 requests at 8 a second took {took_ms} ms"
    );
}

/// Whenever a host is killed, the next one uses no unit twice, and loses few.
#[tokio::test]
async fn a_kill_forgets_nothing_that_left() {
    for sent in 0..=10 {
        let vendor = Vendor::start([]).await;
        let clock = ManualClock::default();
        let manifest = pools(10, "24h");
        let durable = Mutex::new(Vec::new());
        let first = endpoint(
            &vendor,
            "token",
            &manifest,
            (&clock, &Allowances::default()),
        );
        first.gateway.account().keep_books();
        tokio::select! {
            biased;
            results = first.fetch((0..sent).map(|_| get("/a")).collect()) => {
                assert!(results.iter().all(Result::is_ok), "{results:?}");
            }
            () = keep(&first, &durable) => unreachable!("it is killed"),
        }
        drop(first);

        let next = endpoint(
            &vendor,
            "token",
            &manifest,
            (&clock, &Allowances::default()),
        );
        next.gateway
            .account()
            .restore(&durable.lock().expect("lock"));
        next.gateway.account().keep_books();
        let alone = next.fetch(vec![get("/a")]).await;
        assert!(alone[0].is_err(), "nothing leaves before it is booked");
        assert_eq!(vendor.seen().len(), sent);
        tokio::select! {
            biased;
            _ = next.fetch((0..20).map(|_| get("/a")).collect()) => {}
            () = keep(&next, &durable) => unreachable!("it is killed"),
        }
        let seen = vendor.seen().len();
        assert!(
            (9..=10).contains(&seen),
            "{seen} of 10 after a kill at {sent}"
        );
    }
}

/// Makes snapshots durable, as a host does.
async fn keep(bench: &Bench, durable: &Mutex<Vec<PoolCounts>>) {
    let account = bench.gateway.account();
    loop {
        let counts = account.snapshot();
        durable.lock().expect("lock").clone_from(&counts);
        account.kept(&counts);
        account.runs_low().await;
    }
}

fn bearer(token: &str) -> AuthSpec {
    let token = Secret::new(token);
    AuthSpec::Bearer { token }
}

/// One endpoint with several credentials, named by their tokens; those of readers are kept for reading.
fn crew(vendor: &Vendor, tokens: &[&str]) -> Bench {
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let more = r#"
        [auth]
        schemes = ["bearer"]
        [[pools]]
        name = "account"
        limit = 100000
        window = { rolling = "24h" }
        scope = "account"
        [[pools]]
        name = "app"
        limit = 10
        window = { rolling = "1s" }
        scope = "app"
    "#;
    let mut spec = spec(&[("main", &origin)], manifest(more), bearer(tokens[0]));
    spec.limits.fetches_at_once = 64;
    spec.accounts = tokens[1..]
        .iter()
        .map(|token| AccountSpec {
            name: (*token).into(),
            auth: bearer(token),
            only: token.starts_with("reader").then_some(Purpose::Reading),
        })
        .collect();
    Bench::of(spec)
}

fn by_token(vendor: &Vendor) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in vendor.seen() {
        *counts.entry(token_of(&request)).or_default() += 1;
    }
    counts
}

fn token_of(request: &str) -> String {
    let rest = request.split("Bearer ").nth(1).unwrap_or_default();
    rest.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn three_credentials_carry_three_times_one() {
    let mut took_ms = Vec::new();
    for tokens in [&["one"][..], &["one", "two", "three"]] {
        let vendor = Vendor::start([]).await;
        let bench = crew(&vendor, tokens);
        let began_ms = bench.clock.now().mono_ms;
        for _ in 0..6 {
            let results = bench.fetch((0..60).map(|_| get("/a")).collect()).await;
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
        took_ms.push(bench.clock.now().mono_ms - began_ms);
        assert_eq!(vendor.seen().len(), 360);
        // What the account has is shared, and drawn on by all.
        let pools = bench.gateway.pools();
        let account: Vec<_> = pools
            .iter()
            .filter(|pool| *pool.pool == *"account")
            .collect();
        assert_eq!((account.len(), account[0].used), (1, 360));
        assert_eq!(pools.len(), 1 + tokens.len(), "an app pool each");
    }
    assert!(
        took_ms[0] * 10 >= took_ms[1] * 29,
        "one takes {} ms, three take {} ms",
        took_ms[0],
        took_ms[1]
    );
}

/// Also who waits in line for a credential that is revoked goes by the others.
#[tokio::test]
async fn a_revoked_credential_loses_nothing() {
    let vendor = Vendor::answering({
        let count = Mutex::new(0);
        move |request| {
            let mut count = count.lock().expect("lock");
            *count += 1;
            match token_of(request).as_str() {
                "two" if *count > 20 => answer("401 Unauthorized", ""),
                _ => ok("{}"),
            }
        }
    })
    .await;
    let bench = crew(&vendor, &["one", "two", "three"]);
    let results = bench.fetch((0..120).map(|_| get("/a")).collect()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let accounts = bench.gateway.accounts();
    let shown: Vec<_> = accounts
        .iter()
        .map(|account| (&*account.name, account.revoked.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("main", None),
            ("two", Some("session-refused")),
            ("three", None)
        ]
    );
    let before = by_token(&vendor);
    assert!(before["two"] < 30, "{before:?}");

    // A new one of the same name is used again.
    assert!(bench.gateway.reload_account("two", bearer("new")).await);
    let results = bench.fetch((0..30).map(|_| get("/a")).collect()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(by_token(&vendor)["new"] > 5, "{:?}", by_token(&vendor));
    assert!(!bench.gateway.reload_account("nobody", bearer("x")).await);
}

#[tokio::test]
async fn one_is_kept_for_reading_and_without_any_it_stops_clearly() {
    let refused = Arc::new(Mutex::new(vec!["main"]));
    let told = refused.clone();
    let vendor = Vendor::answering(move |request| {
        match told.lock().expect("lock").contains(&&*token_of(request)) {
            true => answer("401 Unauthorized", ""),
            false => ok("{}"),
        }
    })
    .await;
    let bench = crew(&vendor, &["main", "reader"]);
    let write = bench.write(vec![post("/a", &[1])]).await;
    assert_eq!(code(&write[0]), "session-refused");
    assert!(
        bench.fetch(vec![get("/a")]).await[0].is_ok(),
        "the reader reads"
    );
    let seen = vendor.seen().len();
    for _ in 0..3 {
        let write = bench.write(vec![post("/a", &[1])]).await;
        let fault = write[0].as_ref().expect_err("nobody may write");
        assert_eq!(
            (fault.kind, &*fault.code),
            (FaultKind::Auth, "accounts-refused")
        );
        assert!(fault.message.contains("that may write"), "{fault}");
        assert!(fault.retry_after_ms.is_some_and(|ms| ms <= 900_000));
    }
    assert_eq!(
        vendor.seen().len(),
        seen,
        "a dead credential is not asked again"
    );
    // After a while it is, and serves again if the vendor takes it.
    refused.lock().expect("lock").clear();
    bench.clock.advance(900_000);
    assert!(bench.write(vec![post("/a", &[1])]).await[0].is_ok());
    assert_eq!(by_token(&vendor).len(), 2);
}
