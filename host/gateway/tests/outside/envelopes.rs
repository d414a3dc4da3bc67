//! Requests whose credential stands in their body: the host's envelope, sessions that expire by a fault, and bodies that
//! want out.

use tidegate_core::plugin::{Executed, FaultKind, Operation, Request};
use tidegate_gateway::{AuthSpec, Secret};

use crate::kit::{Bench, Play, Vendor, http, http_answer, manifest, ok, request, response, spec};

const SOAP: &str = r#"
    [auth]
    schemes = ["oauth2-client-credentials", "bearer", "none"]
    token-path = "/services/oauth2/token"
    [[auth.expired]]
    status = 500
    code = "INVALID_SESSION_ID"
    [[envelopes]]
    path-prefix = "/services/Soap/u/"
    namespace = "urn:partner.soap.sforce.com"
    token = ["SessionHeader", "sessionId"]
    [[throttles]]
    when = { code = "REQUEST_LIMIT_EXCEEDED", message-prefix = "TotalRequests" }
    pool = "daily"
    park = "5m"
    [[pools]]
    name = "daily"
    limit = 1000
    window = { rolling = "24h" }
    scope = "account"
"#;

fn credentials() -> AuthSpec {
    AuthSpec::Oauth2ClientCredentials {
        client_id: "id".to_owned(),
        client_secret: Secret::new("s3cret"),
        scope: None,
    }
}

fn bench(vendor: &Vendor, auth: AuthSpec) -> Bench {
    let origin = format!("http://127.0.0.1:{}", vendor.port);
    Bench::of(spec(&[("main", &origin)], manifest(SOAP), auth))
}

fn token(text: &str) -> Play {
    ok(&format!(
        r#"{{"access_token":"{text}","token_type":"Bearer"}}"#
    ))
}

fn soap(status: &str, body: &str) -> Play {
    Play::Send(response(
        status,
        "content-type: text/xml; charset=UTF-8\r\n",
        body,
    ))
}

fn fault(code: &str, text: &str) -> Play {
    soap(
        "500 Internal Server Error",
        &format!(
            "<?xml version=\"1.0\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:sf=\"urn:fault.partner.soap.sforce.com\"><soapenv:Body><soapenv:Fault><faultcode>sf:{code}</faultcode>\
             <faultstring>{code}: {text}</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
        ),
    )
}

fn call(path: &str, body: &str) -> Request {
    let mut asked = http(tidegate_core::plugin::HttpMethod::Post, path);
    asked.body = body.as_bytes().to_vec();
    request(Operation::Http(asked), &[1])
}

fn undelete() -> Request {
    call(
        "/services/Soap/u/60.0",
        "<undelete><ids>003</ids></undelete>",
    )
}

#[tokio::test]
async fn the_session_stands_in_the_hosts_header_and_nowhere_else() {
    let vendor = Vendor::start([token("00D!one"), soap("200 OK", "<done/>"), ok("{}")]).await;
    let bench = bench(&vendor, credentials());
    let results = bench
        .write(vec![undelete(), call("/services/data/v60.0/x", "{}")])
        .await;
    assert_eq!(http_answer(&results[0]).body, b"<done/>");
    let seen = vendor.seen();
    let (head, body) = seen[1].split_once("\r\n\r\n").expect("a request");
    assert!(
        !head.to_ascii_lowercase().contains("authorization"),
        "{head}"
    );
    assert_eq!(
        body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns=\"urn:partner.soap.sforce.com\">\
         <soapenv:Header><SessionHeader><sessionId>00D!one</sessionId></SessionHeader></soapenv:Header>\
         <soapenv:Body><undelete><ids>003</ids></undelete></soapenv:Body></soapenv:Envelope>"
    );
    let (head, body) = seen[2].split_once("\r\n\r\n").expect("a request");
    assert!(head.contains("Bearer 00D!one"), "{head}");
    assert_eq!(body, "{}", "other paths go as they were given");
}

#[tokio::test]
async fn a_fault_renews_the_session_once_and_a_spent_day_parks_the_pool() {
    let expired = || fault("INVALID_SESSION_ID", "Illegal Session");
    let vendor = Vendor::start([
        token("one"),
        expired(),
        token("two"),
        soap("200 OK", "<done/>"),
        expired(),
        token("three"),
        expired(),
        fault("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    ])
    .await;
    let bench = bench(&vendor, credentials());
    let results = bench.write(vec![undelete()]).await;
    assert_eq!(http_answer(&results[0]).body, b"<done/>");
    assert!(vendor.seen()[3].contains("<sessionId>two</sessionId>"));
    let refused = bench.write(vec![undelete()]).await.remove(0);
    let refused = refused.expect_err("refused twice");
    assert_eq!(
        (refused.kind, refused.code.as_str(), refused.executed),
        (FaultKind::Auth, "INVALID_SESSION_ID", Executed::No)
    );
    bench.gateway.reload_credentials(fresh()).await;
    let spent = bench.write(vec![undelete()]).await.remove(0);
    let spent = spent.expect_err("spent");
    assert_eq!(spent.kind, FaultKind::Throttled);
    assert_eq!(spent.code, "REQUEST_LIMIT_EXCEEDED");
}

fn fresh() -> AuthSpec {
    AuthSpec::Bearer {
        token: Secret::new("fresh"),
    }
}

#[tokio::test]
async fn a_body_that_wants_out_of_its_envelope_is_never_sent() {
    let vendor = Vendor::start([token("00D!one")]).await;
    let bench = bench(&vendor, credentials());
    for body in [
        "<a/></soapenv:Body></soapenv:Envelope>",
        "<a></soapenv:Body><soapenv:Header/></a>",
        "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>",
        "<?xml version=\"1.0\"?><a/>",
        "<a/><b/>",
        "{}",
        "",
    ] {
        let asked = call("/services/Soap/u/60.0", body);
        let fault = bench.write(vec![asked]).await.remove(0).expect_err(body);
        assert_eq!(
            (fault.kind, fault.code.as_str(), fault.executed),
            (FaultKind::Refused, "envelope-refused", Executed::No),
            "{body}"
        );
        assert!(!format!("{fault:?}").contains("00D!one"));
    }
    assert!(vendor.seen().len() <= 1, "at most the token was fetched");
}

#[tokio::test]
async fn a_scheme_without_a_token_has_nothing_to_put_into_an_envelope() {
    let vendor = Vendor::start([]).await;
    let bench = bench(&vendor, AuthSpec::None);
    let fault = bench.write(vec![undelete()]).await.remove(0);
    let fault = fault.expect_err("no token");
    assert_eq!(
        (fault.kind, fault.code.as_str()),
        (FaultKind::Config, "credential-unusable")
    );
}
