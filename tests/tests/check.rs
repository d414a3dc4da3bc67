//! `tidegate check` with the plugins that come with tidegate.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
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
