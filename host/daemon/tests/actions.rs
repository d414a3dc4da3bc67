//! A sync's actions against what its sides have.

mod kit;

use std::path::Path;

use tidegate::check::actions;
use tidegate::check::fields::Schemas;
use tidegate::config::{self, Loaded};
use tidegate_core::batch::DataType;
use tidegate_core::plugin::{Direction, Rule};

use kit::object;

const CONFIG: &str = r#"
[plugins]
db = { file = "db.wasm" }
crm = { file = "crm.wasm" }
map = { file = "map.wasm" }
[endpoints]
db = { plugin = "db", origins = { main = "sqlite:people.db" } }
crm = { plugin = "crm", origins = { main = "https://acme.example" } }
[syncs.people]
left = { endpoint = "db", object = "people", key = "k" }
right = { endpoint = "crm", object = "Contact", key = "k" }
mapping = { plugin = "map" }
references = [{ left = "company_id", right = "AccountId", sync = "people" }]
"#;

const FIELDS: &[(&str, DataType)] = &[
    ("merged_into", DataType::Integer),
    ("deleted_at", DataType::Timestamp),
    ("company_id", DataType::Integer),
    ("stage", DataType::Text),
];

/// What is found, as `code key: message`; each action is `side field does test`.
fn found(written: &[&str], outputs: &[&str]) -> Vec<String> {
    let mut text = CONFIG.to_owned();
    for action in written {
        let mut words = action.splitn(4, ' ');
        let [side, field, does] = [(); 3].map(|()| words.next().expect("three words"));
        let test = words.next().unwrap_or_default();
        text += &format!(
            "[[syncs.people.actions]]\nside = \"{side}\"\nfield = \"{field}\"\ndoes = \"{does}\"\n{test}\n"
        );
    }
    let Loaded { config, findings } = config::parse("c.toml", &text, Path::new("/nowhere"));
    assert!(!findings.has_errors(), "{:?}", findings.into_problems());
    let (left, right) = (object("people", FIELDS), object("Contact", FIELDS));
    let schemas = Schemas {
        left: Some(&left),
        right: Some(&right),
    };
    let rules = [Rule {
        direction: Direction::RightToLeft,
        inputs: vec!["stage".to_owned()],
        outputs: outputs.iter().map(|&name| name.to_owned()).collect(),
    }];
    actions::check(&config.syncs["people"], schemas, &rules, &findings);
    let problems = findings.into_problems().into_iter();
    problems
        .map(|problem| {
            let key = problem
                .place
                .key
                .trim_start_matches("syncs.people.")
                .to_owned();
            format!("{} {key}: {}", problem.code.name(), problem.message)
        })
        .collect()
}

#[test]
fn actions_that_fit_both_sides() {
    let written = [
        "left merged_into merge",
        "left deleted_at delete",
        "left stage convert equals = \"Won\"",
        "right deleted_at delete",
    ];
    assert_eq!(found(&written, &["name"]), Vec::<String>::new());
}

#[test]
fn actions_that_do_not() {
    let written = [
        "left merged_itno merge",
        "left deleted_at delete",
        "left stage convert equals = 3",
        "right deleted_at merge",
        "right company_id delete",
        "right AccountId convert",
    ];
    let wanted = [
        "unknown-field actions[0].field: `people` has no field `merged_itno`, or the credentials may not see it",
        "field-access actions[1].field: a rule of the mapping writes `deleted_at` too",
        "field-type actions[2].field: `stage` holds text, and the action looks for numbers",
        "field-type actions[3].field: `deleted_at` holds timestamp, and the action looks for the id of a record",
        "unknown-field actions[5].field: `Contact` has no field `AccountId`, or the credentials may not see it",
        "field-access actions[5].field: `AccountId` is a reference of this sync already",
    ];
    assert_eq!(found(&written, &["deleted_at"]), wanted);
}
