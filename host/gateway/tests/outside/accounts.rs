//! Endpoints on one account share what the vendor counts together (invariant 7).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tidegate_core::manifest::Manifest;
use tidegate_gateway::{Allowances, AuthSpec, ManualClock, Outside, PoolCounts, Secret};

use crate::kit::{Bench, Vendor, code, get, manifest, reading, spec};

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
