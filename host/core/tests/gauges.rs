//! Where a vendor's own figures are read, at an endpoint as its operator has set it up.

use serde_json::json;
use tidegate_core::manifest::Manifest;

fn manifest(path: &str) -> String {
    format!(
        r#"
        [plugin]
        name = "vendor"
        version = "1.0.0"
        kind = "connector"
        wit = "0.1.0"
        [config]
        type = "object"
        [config.properties.api-version]
        type = "string"
        default = "60.0"
        [[origins]]
        name = "main"
        protocol = "https"
        [capture]
        cursor = "object"
        interval = "5s"
        [[pools]]
        name = "daily"
        limit = 15000
        window = {{ rolling = "24h" }}
        scope = "account"
        source = "a document"
        [[gauges]]
        path = "{path}"
        every = "10m"
        pools = [{{ pool = "daily", remaining = "/left" }}]
        "#
    )
}

#[test]
fn a_path_follows_the_config() {
    let parsed = Manifest::parse(&manifest("/data/v{api-version}/limits"));
    let parsed = parsed.unwrap_or_else(|problems| panic!("{problems:?}"));
    let cases = [
        (json!({}), "/data/v60.0/limits"),
        (json!({ "api-version": "62.0" }), "/data/v62.0/limits"),
    ];
    for (config, path) in cases {
        assert_eq!(parsed.clone().at(&config).gauges[0].path, path);
    }
}

#[test]
fn a_path_names_only_what_the_config_has() {
    let problems = Manifest::parse(&manifest("/data/v{version}/limits"));
    let problems = format!("{:?}", problems.expect_err("unknown"));
    assert!(problems.contains("`version` is no property"), "{problems}");
}
