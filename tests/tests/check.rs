//! `tidegate check` with the plugins that come with tidegate.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use tidegate_simulator::salesforce::{Options, Simulator};
use tidegate_tests::built;

/// The mapping alone knows its rules; the operator is told of the line they stand on.
#[test]
fn a_mappings_mistakes_are_reported_at_their_rules() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = r#"
[plugins]
sqlite.file = "PLUGINS/sqlite.wasm"
field-map.file = "PLUGINS/field-map.wasm"

[endpoints.a]
plugin = "sqlite"
origins = { main = "sqlite:a.db" }

[endpoints.b]
plugin = "sqlite"
origins = { main = "sqlite:b.db" }

[syncs.people]
left = { endpoint = "a", object = "people", key = "other" }
right = { endpoint = "b", object = "persons", key = "other" }

[syncs.people.mapping]
plugin = "field-map"

[syncs.people.mapping.config]
rules = [
    { left = "name", right = "name" },
    { left = "nmae", right = "nick" },
    { left = ["name", "nick"], right = "nick" },
]
"#;
    let plugins = built::plugins(&["sqlite", "field-map"]);
    let config = config.replace("PLUGINS", &plugins.display().to_string());
    std::fs::write(folder.path().join("tidegate.toml"), &config)?;
    for (file, table) in [("a.db", "people"), ("b.db", "persons")] {
        rusqlite::Connection::open(folder.path().join(file))?.execute_batch(&format!(
            "CREATE TABLE {table} (id INTEGER PRIMARY KEY, other TEXT UNIQUE, name TEXT, nick TEXT)"
        ))?;
    }
    let check = Command::new(built::program())
        .current_dir(folder.path())
        .args(["check", "--json"])
        .output()?;
    assert_eq!(check.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&check.stdout)?;
    let problems = report["problems"].as_array().context("problems")?;
    let found: Vec<String> = problems
        .iter()
        .map(|problem| {
            let text = |name: &str| problem[name].as_str().unwrap_or_default();
            let line = problem["line"].as_u64().unwrap_or_default() as usize;
            let quoted = config.lines().nth(line.wrapping_sub(1)).unwrap_or_default();
            format!("{} {} | {}", text("code"), text("key"), quoted.trim())
        })
        .collect();
    let at = "mapping-refused syncs.people.mapping.config.rules";
    let expected = [
        format!("{at}[1].left | {{ left = \"nmae\", right = \"nick\" }},"),
        format!("{at}[2].separator | {{ left = [\"name\", \"nick\"], right = \"nick\" }},"),
    ];
    for line in expected {
        assert!(found.contains(&line), "{line}\nis not in {found:#?}");
    }
    Ok(())
}

/// Each credential of an endpoint is tried, not only the one that a request would go by.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_refused_is_found() -> Result<()> {
    let options = Options::default();
    let credentials = options.credentials.clone();
    let org = Simulator::start(options).await?;
    let folder = tempfile::tempdir()?;
    let config = r#"
[plugins]
salesforce.file = "PLUGINS/salesforce.wasm"

[endpoints.crm]
plugin = "salesforce"
origins = { main = "ORG" }

[endpoints.crm.auth]
scheme = "oauth2-client-credentials"
client-id = { file = "id" }
client-secret = { file = "secret" }

[endpoints.crm.accounts.second]
scheme = "oauth2-client-credentials"
client-id = { file = "id" }
client-secret = { file = "secret" }

[endpoints.crm.accounts.third]
scheme = "oauth2-client-credentials"
client-id = { file = "id" }
client-secret = { file = "wrong" }

[syncs]
"#;
    let plugins = built::plugins(&["salesforce"]);
    let config = config.replace("PLUGINS", &plugins.display().to_string());
    let config = config.replace("ORG", org.base_url());
    for (file, text) in [
        ("tidegate.toml", config.as_str()),
        ("id", &credentials.client_id),
        ("secret", &credentials.client_secret),
        ("wrong", "another secret altogether"),
    ] {
        std::fs::write(folder.path().join(file), text)?;
    }
    let folder = folder.path().to_owned();
    let check = tokio::task::spawn_blocking(move || {
        let mut check = Command::new(built::program());
        check.current_dir(folder).args(["check", "--json"]).output()
    })
    .await??;
    let report: Value = serde_json::from_slice(&check.stdout)?;
    let problems = report["problems"].as_array().context("problems")?;
    let keys: Vec<&str> = problems
        .iter()
        .filter(|problem| problem["code"] == "endpoint-unusable")
        .filter_map(|problem| problem["key"].as_str())
        .collect();
    assert_eq!(keys, ["endpoints.crm.accounts.third"], "{report:#}");
    Ok(())
}
