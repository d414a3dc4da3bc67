//! Where a plugin can't go. The cases are data; each runs through the whole gateway.

use tidegate_core::plugin::{HttpMethod, Operation};
use tidegate_gateway::{AuthSpec, Origin, OriginError};

use crate::kit::{Bench, Vendor, code, get, http, manifest, request, spec};

#[tokio::test]
async fn a_path_can_not_lead_elsewhere() {
    let refused = [
        "",
        "a",
        "*",
        "//evil.example/a",
        "/\\evil.example",
        "\\\\evil.example",
        "@evil.example/",
        ".evil.example/",
        ":80/",
        "https://evil.example/",
        "http:/evil.example",
        "/..",
        "/../a",
        "/a/../b",
        "/a/..",
        "/./a",
        "/%2e%2e/a",
        "/%2E./a",
        "/.%2e/a",
        "/a\r\nHost: evil",
        "/a\nb",
        "/a\tb",
        "/a b",
        "/a\0b",
        "/a%0d%0ab",
        "/a%00",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%+1",
        "/\u{e4}",
        "/a#b",
        "/a?x=1 2",
        "/a?x=\r\n",
        "/a\\b",
        "/a\u{2044}b",
    ];
    let allowed = [
        "/",
        "/a",
        "/a/b.c",
        "/a//b",
        "/a/@b",
        "/a:b",
        "/services/data/v60.0/query/01g-2000",
        "/a%2Fb",
        "/a%5Cb",
        "/...",
        "/a?x=1&y=%20",
        "/a?next=//evil.example/..",
        "/a;b=c",
        "/sobjects/C/Ext__c/%E2%82%AC",
        "/a'b",
        "/a~!$&()*+,=",
    ];
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, "");
    for path in refused {
        let results = bench.fetch(vec![get(path)]).await;
        assert_eq!(code(&results[0]), "path-refused", "{path:?}");
    }
    assert!(vendor.seen().is_empty());
    for path in allowed {
        assert!(bench.fetch(vec![get(path)]).await[0].is_ok(), "{path:?}");
    }
    let lines: Vec<String> = allowed
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1"))
        .collect();
    assert_eq!(vendor.lines(), lines, "what is allowed goes out as it came");
}

#[tokio::test]
async fn a_query_is_encoded_by_the_host() {
    let vendor = Vendor::start([]).await;
    let bench = Bench::plain(&vendor, "");
    let mut query = http(HttpMethod::Get, "/query");
    query.query = vec![(
        "q".to_owned(),
        "SELECT Id FROM A WHERE n = 'x&y#\r\n\u{e9}'".to_owned(),
    )];
    let with_both = {
        let mut both = query.clone();
        both.path = "/query?a=1".to_owned();
        request(Operation::Http(both), &[])
    };
    assert!(
        bench
            .fetch(vec![request(Operation::Http(query), &[])])
            .await[0]
            .is_ok()
    );
    assert_eq!(
        vendor.lines(),
        [
            "GET /query?q=SELECT%20Id%20FROM%20A%20WHERE%20n%20%3D%20%27x%26y%23%0D%0A%C3%A9%27 HTTP/1.1"
        ]
    );
    assert_eq!(code(&bench.fetch(vec![with_both]).await[0]), "path-refused");
}

/// Naming `localhost` allows the loopback; another name that resolves to it allows nothing.
#[tokio::test]
async fn names_are_judged_by_what_they_resolve_to() {
    let vendor = Vendor::start([]).await;
    let local = format!("http://localhost:{}", vendor.port);
    let bench = Bench::of(spec(&[("main", &local)], manifest(""), AuthSpec::None));
    assert!(bench.fetch(vec![get("/a")]).await[0].is_ok());
    let inside = format!("https://ip6-localhost:{}", vendor.port);
    let bench = Bench::of(spec(&[("main", &inside)], manifest(""), AuthSpec::None));
    let fault = bench
        .fetch(vec![get("/a")])
        .await
        .remove(0)
        .expect_err("refused");
    // Where the machine's hosts file does not know the name, there is no address at all.
    assert!(
        ["address-refused", "connection-failed"].contains(&fault.code.as_str()),
        "{fault}"
    );
    assert_eq!(vendor.seen().len(), 1);
}

#[test]
fn origins_are_bare_and_encrypted() {
    let cases = [
        ("https://crm.example", Ok(())),
        ("https://crm.example:8443/", Ok(())),
        ("http://127.0.0.1:8080", Ok(())),
        ("http://[::1]:8080", Ok(())),
        ("http://localhost:8080", Ok(())),
        ("sqlite:/var/lib/people.db", Ok(())),
        ("http://crm.example", Err(OriginError::PlainText)),
        ("http://10.0.0.1", Err(OriginError::PlainText)),
        ("http://localhost.evil.example", Err(OriginError::PlainText)),
        ("https://crm.example/path", Err(OriginError::Extra)),
        ("https://user:pw@crm.example", Err(OriginError::Extra)),
        ("https://crm.example/?q", Err(OriginError::Extra)),
        ("ftp://crm.example", Err(OriginError::Protocol)),
        ("file:///etc/passwd", Err(OriginError::Protocol)),
        ("sqlite:people.db", Err(OriginError::Relative)),
        ("crm.example", Err(OriginError::Syntax)),
    ];
    for (text, expected) in cases {
        assert_eq!(Origin::parse(text).map(|_| ()), expected, "{text}");
    }
}
