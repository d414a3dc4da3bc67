//! Logging in, being logged out, and grants that are dead.

use std::sync::Arc;
use std::task::Poll;

use tidegate_core::plugin::{Executed, FaultKind};
use tidegate_gateway::{
    AccountSpec, Allowances, AuthSpec, Call, Lane, ManualClock, Outside, Secret,
};

use crate::kit::{
    Bench, Play, Vendor, answer, code, get, http_answer, manifest, ok, post, reading, response,
    spec,
};

const AUTH: &str = r#"
    [auth]
    schemes = ["oauth2-client-credentials", "oauth2-refresh-token", "bearer", "api-key-header"]
    token-path = "/services/oauth2/token"
    [[auth.expired]]
    status = 401
    code = "INVALID_SESSION_ID"
    message-prefix-not = ["This session is not valid for use"]
"#;
const EXPIRED: &str =
    r#"[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]"#;
const HOPELESS: &str = r#"[{"errorCode":"INVALID_SESSION_ID","message":"This session is not valid for use with the REST API"}]"#;
const DEAD: &str =
    r#"{"error":"invalid_grant","error_description":"no client credentials user enabled"}"#;

fn client_credentials(secret: &str) -> AuthSpec {
    AuthSpec::Oauth2ClientCredentials {
        client_id: "id".to_owned(),
        client_secret: Secret::new(secret),
        scope: None,
    }
}

fn bench(vendor: &Vendor, auth: AuthSpec) -> Bench {
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    Bench::of(spec(&[("main", &origin)], manifest(AUTH), auth))
}

fn token(text: &str) -> Play {
    ok(&format!(
        r#"{{"access_token":"{text}","token_type":"Bearer"}}"#
    ))
}

fn carried(vendor: &Vendor, request: usize) -> Option<String> {
    let request = vendor.seen().get(request)?.clone();
    let line = request
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("authorization:"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

#[tokio::test]
async fn a_token_is_fetched_once_for_many_and_renewed_once_when_it_expires() {
    let vendor = Vendor::start([token("one")]).await;
    let bench = bench(&vendor, client_credentials("s3cret"));
    let results = bench.fetch((0..8).map(|_| get("/a")).collect()).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(
        vendor.seen().len(),
        9,
        "one token for eight requests at once"
    );
    assert!(
        vendor.seen()[0]
            .ends_with("grant_type=client_credentials&client_id=id&client_secret=s3cret")
    );
    assert_eq!(carried(&vendor, 5).as_deref(), Some("Bearer one"));

    let vendor = Vendor::start([
        token("one"),
        answer("401 Unauthorized", EXPIRED),
        token("two"),
        ok("7"),
    ])
    .await;
    let bench = self::bench(&vendor, client_credentials("s3cret"));
    let results = bench.write(vec![post("/a", &[1])]).await;
    assert_eq!(http_answer(&results[0]).body, b"7");
    assert_eq!(carried(&vendor, 3).as_deref(), Some("Bearer two"));
    assert_eq!(bench.gateway.counters().refreshes, 2);
}

#[tokio::test]
async fn a_session_that_stays_refused_does_not_loop() {
    let expired = || answer("401 Unauthorized", EXPIRED);
    let vendor = Vendor::start([
        token("one"),
        expired(),
        token("two"),
        expired(),
        token("three"),
        expired(),
    ])
    .await;
    let bench = bench(&vendor, client_credentials("s3cret"));
    let fault = bench
        .write(vec![post("/a", &[1])])
        .await
        .remove(0)
        .expect_err("refused twice");
    assert_eq!(
        (fault.kind, fault.code.as_str(), fault.executed),
        (FaultKind::Auth, "INVALID_SESSION_ID", Executed::No)
    );
    assert_eq!(vendor.seen().len(), 4);
    // The same code with a message that no token would help: the plugin gets it as it is.
    let vendor = Vendor::start([token("one"), answer("401 Unauthorized", HOPELESS)]).await;
    let bench = self::bench(&vendor, client_credentials("s3cret"));
    assert_eq!(
        http_answer(&bench.fetch(vec![get("/a")]).await[0]).status,
        401
    );
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn a_dead_grant_is_not_asked_again_until_it_is_mended() {
    let vendor = Vendor::start([
        answer("400 Bad Request", DEAD),
        answer("400 Bad Request", DEAD),
        token("fresh"),
    ])
    .await;
    let bench = bench(&vendor, client_credentials("s3cret"));
    for _ in 0..5 {
        let fault = bench
            .fetch(vec![get("/a")])
            .await
            .remove(0)
            .expect_err("dead");
        assert_eq!(
            (fault.kind, fault.code.as_str()),
            (FaultKind::Auth, "invalid_grant")
        );
        assert!(fault.message.contains("no client credentials user enabled"));
    }
    assert_eq!(vendor.seen().len(), 1);
    bench.clock.advance(900_000);
    assert_eq!(
        code(&bench.fetch(vec![get("/a")]).await[0]),
        "invalid_grant"
    );
    assert_eq!(vendor.seen().len(), 2, "asked again after a long time");
    bench
        .gateway
        .reload_credentials(client_credentials("other"))
        .await;
    assert!(
        bench.fetch(vec![get("/a")]).await[0].is_ok(),
        "new credentials are tried at once"
    );
    let asked = vendor.seen().len();
    bench
        .gateway
        .reload_credentials(client_credentials("other"))
        .await;
    assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
    assert_eq!(
        vendor.seen().len(),
        asked + 1,
        "the same credentials keep their token"
    );
}

#[tokio::test]
async fn an_ailing_token_endpoint_is_given_time() {
    for play in [answer("503 Unavailable", ""), Play::Drop, ok("<html>")] {
        let vendor = Vendor::start([play, token("late")]).await;
        let bench = bench(&vendor, client_credentials("s3cret"));
        for _ in 0..3 {
            let fault = bench
                .write(vec![post("/a", &[1])])
                .await
                .remove(0)
                .expect_err("no token");
            assert_eq!(fault.executed, Executed::No, "the write itself never left");
            assert_ne!(fault.kind, FaultKind::Auth);
        }
        assert_eq!(vendor.seen().len(), 1);
        bench.clock.advance(1_000);
        assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
    }
}

#[tokio::test]
async fn a_token_for_another_place_goes_only_where_the_operator_allowed() {
    let instance = Vendor::start([]).await;
    let url = format!("http://127.0.0.1:{}", instance.port);
    let granted = || ok(&format!(r#"{{"access_token":"t","instance_url":"{url}"}}"#));
    let login = Vendor::start([granted(), granted()]).await;
    let main = format!("http://127.0.0.1:{}", login.port);

    let narrow = bench(&login, client_credentials("s3cret"));
    let fault = narrow
        .fetch(vec![get("/a")])
        .await
        .remove(0)
        .expect_err("not allowed");
    assert_eq!(
        (fault.kind, fault.code.as_str()),
        (FaultKind::Config, "instance-not-allowed")
    );
    assert!(instance.seen().is_empty());

    let origins = [("main", main.as_str()), ("instance", url.as_str())];
    let wide = Bench::of(spec(&origins, manifest(AUTH), client_credentials("s3cret")));
    assert!(wide.fetch(vec![get("/a")]).await[0].is_ok());
    assert_eq!(instance.lines(), ["GET /a HTTP/1.1"]);
}

#[tokio::test]
async fn standing_credentials_and_rotating_ones() {
    let vendor = Vendor::start([]).await;
    let bearer = AuthSpec::Bearer {
        token: Secret::new("b"),
    };
    assert!(bench(&vendor, bearer).fetch(vec![get("/a")]).await[0].is_ok());
    assert_eq!(carried(&vendor, 0).as_deref(), Some("Bearer b"));
    let key = AuthSpec::ApiKeyHeader {
        header: "X-Key".to_owned(),
        key: Secret::new("k"),
    };
    assert!(bench(&vendor, key).fetch(vec![get("/a")]).await[0].is_ok());
    assert!(vendor.seen()[1].to_ascii_lowercase().contains("x-key: k"));

    let rotating = ok(r#"{"access_token":"one","refresh_token":"r2"}"#);
    let vendor = Vendor::start([rotating, answer("401 Unauthorized", EXPIRED), token("two")]).await;
    let auth = AuthSpec::Oauth2RefreshToken {
        client_id: "id".to_owned(),
        client_secret: None,
        refresh_token: Secret::new("r1"),
    };
    assert!(bench(&vendor, auth).fetch(vec![get("/a")]).await[0].is_ok());
    assert!(vendor.seen()[0].contains("refresh_token=r1"));
    assert!(vendor.seen()[2].contains("refresh_token=r2"));
}

#[tokio::test]
async fn secrets_stay_out_of_faults_and_debug_output() {
    let secret = "tell-nobody-7c1";
    let echo = format!(
        r#"{{"error":"invalid_client {secret}","error_description":"bad secret {secret}"}}"#
    );
    let vendor = Vendor::start([answer("401 Unauthorized", &echo)]).await;
    let auth = client_credentials(secret);
    assert!(!format!("{auth:?}").contains(secret), "invariant 10");
    let bench = bench(&vendor, auth);
    let fault = bench
        .fetch(vec![get("/a")])
        .await
        .remove(0)
        .expect_err("refused");
    assert!(
        !format!("{fault:?} {fault}").contains(secret),
        "invariant 10"
    );
    assert_eq!(fault.kind, FaultKind::Auth);
    assert!(Arc::strong_count(&bench.gateway) == 1);
}

/// An urgent request does not wait for one that has asked for a token first and is held back in its lane.
#[tokio::test]
async fn a_login_that_waits_holds_up_nobody() {
    let pools = format!(
        "{AUTH}\n[[pools]]\nname = \"burst\"\nlimit = 100\nwindow = {{ rolling = \"10s\" }}\nscope = \"account\"\n"
    );
    let expired = answer("401 Unauthorized", EXPIRED);
    let vendor = Vendor::start([token("one"), ok("{}"), expired, token("two")]).await;
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    let auth = client_credentials("s3cret");
    let bench = Bench::of(spec(&[("main", &origin)], manifest(&pools), auth));
    let call = |lane| Call { lane, ..reading() };
    let (backfill, critical) = (call(Lane::Backfill), call(Lane::Critical));
    let first = bench.gateway.fetch_batch(&backfill, vec![get("/bulk")]);
    assert!(bench.passing(first).await[0].is_ok());
    // Backfill is handed out evenly: after its request it has to wait before it may ask for a token.
    let waiting = bench.gateway.fetch_batch(&backfill, vec![get("/bulk")]);
    tokio::pin!(waiting);
    while vendor.seen().len() < 3 {
        bench.clock.advance(1);
        still(&mut waiting).await;
    }
    still(&mut waiting).await;
    assert_eq!(vendor.seen().len(), 3, "no token yet");
    let urgent = bench.gateway.fetch_batch(&critical, vec![get("/urgent")]);
    tokio::pin!(urgent);
    for _ in 0..10_000 {
        assert!(futures::poll!(&mut waiting).is_pending());
        if let Poll::Ready(results) = futures::poll!(&mut urgent) {
            assert!(results[0].is_ok(), "{results:?}");
            let lines = vendor.lines();
            assert_eq!(lines[4], "GET /urgent HTTP/1.1", "{lines:?}");
            // Who waited goes by the token that came meanwhile.
            assert!(bench.passing(waiting).await[0].is_ok());
            assert_eq!(vendor.seen().len(), 6);
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the urgent one waits for the other");
}

/// Lets all happen that can without time passing, in which this one does not end.
async fn still(waiting: &mut (impl Future + Unpin)) {
    for _ in 0..200 {
        assert!(futures::poll!(&mut *waiting).is_pending());
        tokio::task::yield_now().await;
    }
}

fn bearer(token: &str) -> AuthSpec {
    AuthSpec::Bearer {
        token: Secret::new(token),
    }
}

/// A refusal that was on its way when the operator put another credential in place is not held against the new one.
#[tokio::test]
async fn a_late_refusal_does_not_take_the_credential_that_came_after() {
    for further in [0, 1] {
        let clock = ManualClock::default();
        let told = clock.clone();
        let vendor = Vendor::answering(move |request| {
            if request.contains("Bearer old") {
                let refusal = response("401 Unauthorized", "", EXPIRED);
                Play::Late(told.clone(), 1_000, refusal)
            } else {
                ok("{}")
            }
        })
        .await;
        let origin = format!("http://127.0.0.1:{}", vendor.port);
        let mut spec = spec(&[("main", &origin)], manifest(AUTH), bearer("old"));
        spec.accounts = (0..further)
            .map(|_| AccountSpec {
                name: "second".into(),
                auth: bearer("second"),
                only: None,
            })
            .collect();
        let bench = Bench::beside(spec, clock, Allowances::default());
        let call = reading();
        let fetch = bench.gateway.fetch_batch(&call, vec![get("/a")]);
        tokio::pin!(fetch);
        while vendor.seen().is_empty() {
            assert!(futures::poll!(&mut fetch).is_pending());
            tokio::task::yield_now().await;
        }
        bench.gateway.reload_credentials(bearer("new")).await;
        let results = bench.passing(fetch).await;
        assert!(results[0].is_ok(), "{results:?}");
        let revoked = bench.gateway.accounts().into_iter();
        let revoked: Vec<_> = revoked.filter_map(|account| account.revoked).collect();
        assert!(revoked.is_empty(), "{revoked:?}");
    }
}
