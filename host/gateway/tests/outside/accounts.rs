//! Endpoints on one account share what the vendor counts together (invariant 7).

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::manifest::Manifest;
use tidegate_gateway::{Allowances, AuthSpec, ManualClock, Outside, Secret};

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
