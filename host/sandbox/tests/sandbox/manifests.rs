//! The parser and the published JSON Schema take and refuse the same manifests, and the parser says where.
//!
//! Each file of `tests/manifests/bad` begins with what is expected of it: `# expect LINE: WORDS` for every problem, and
//! `# the schema can't tell` where the mistake is beyond a schema (a name that must exist elsewhere, a number against
//! another).

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_core::manifest::Manifest;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/manifests")
        .join(name)
}

fn manifests(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no manifests in {}", folder.display());
    found
}

fn schema() -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/v0.1/plugin.schema.json");
    let text = fs::read_to_string(path).unwrap();
    let schema = serde_json::from_str(&text).unwrap();
    jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("{error}"))
}

/// As JSON; `None` when it is not even TOML.
fn json(text: &str) -> Option<serde_json::Value> {
    let table: toml::Table = text.parse().ok()?;
    Some(serde_json::to_value(table).unwrap())
}

#[test]
fn good_manifests_are_taken_by_both() {
    let schema = schema();
    let mut all = manifests(&folder("good"));
    // Those that ship are held to the schema as well.
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    for plugin in fs::read_dir(plugins).unwrap() {
        let path = plugin.unwrap().path().join("plugin.toml");
        if let Ok(text) = fs::read_to_string(&path) {
            all.push((path.display().to_string(), text));
        }
    }
    for (name, text) in all {
        Manifest::parse(&text).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        let json = json(&text).unwrap();
        let errors: Vec<_> = schema
            .iter_errors(&json)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{name}: the schema says {errors:#?}");
    }
}

#[test]
fn bad_manifests_are_refused_by_both_with_every_place() {
    let schema = schema();
    let mut wrong = Vec::new();
    for (name, text) in manifests(&folder("bad")) {
        let expected: Vec<(usize, &str)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# expect "))
            .map(|line| {
                line.split_once(": ")
                    .unwrap_or_else(|| panic!("{name}: {line}"))
            })
            .map(|(line, words)| (line.parse().unwrap(), words))
            .collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        let problems = match Manifest::parse(&text) {
            Ok(_) => panic!("{name} was taken"),
            Err(problems) => problems,
        };
        let fits = problems.len() == expected.len()
            && problems
                .iter()
                .zip(&expected)
                .all(|(problem, (line, words))| {
                    problem.line == *line && problem.reason.contains(words)
                });
        if !fits {
            let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
            wrong.push(format!(
                "{name}: found {found:#?} where {expected:#?} was expected"
            ));
        }
        let by_schema = json(&text).is_some_and(|json| schema.is_valid(&json));
        let beyond = text.contains("# the schema can't tell");
        if by_schema != beyond {
            wrong.push(format!("{name}: taken by the schema: {by_schema}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
