//! A sync's pair rules against the fields that there are: every mistake at its place.

mod kit;

use std::path::Path;

use tidegate::check::fields::Schemas;
use tidegate::check::pairs;
use tidegate::config::{self, Loaded};
use tidegate_core::batch::DataType;

use kit::object;

const CONFIG: &str = r#"
[plugins]
any = { file = "any.wasm" }
map = { file = "map.wasm" }
[endpoints]
db = { plugin = "any" }
crm = { plugin = "any" }
[syncs.people]
left = { endpoint = "db", object = "people", key = "k" }
right = { endpoint = "crm", object = "Contact", key = "k" }
MAPPING
pair = [{ RULE }]
"#;
const MAPPING: &str = r#"mapping = { plugin = "map" }"#;

/// What is found, as `code key: message (help)`.
fn found(rule: &str, mapping: &str) -> Vec<String> {
    let text = CONFIG.replace("RULE", rule).replace("MAPPING", mapping);
    let Loaded { config, findings } = config::parse("c.toml", &text, Path::new("/nowhere"));
    let left = object(
        "people",
        &[
            ("email", DataType::Text),
            ("number", DataType::Integer),
            ("born", DataType::Date),
        ],
    );
    let right = object(
        "Contact",
        &[
            ("Email", DataType::Text),
            ("Number__c", DataType::Decimal),
            ("Birthdate", DataType::Date),
            ("CreatedDate", DataType::Timestamp),
        ],
    );
    let schemas = Schemas {
        left: Some(&left),
        right: Some(&right),
    };
    pairs::check(&config.syncs["people"], schemas, &findings);
    let problems = findings.into_problems().into_iter();
    problems
        .map(|problem| {
            let (code, key) = (problem.code.name(), problem.place.key);
            format!("{code} {key}: {} ({})", problem.message, problem.help)
        })
        .collect()
}

#[test]
fn every_rule_is_held_against_both_sides() {
    let cases: &[(&str, &[&str])] = &[
        (r#"left = "email", right = "Email""#, &[]),
        (
            r#"left = ["number", "born"], right = ["Number__c", "Birthdate"]"#,
            &[],
        ),
        (
            r#"left = "emial", right = "Mail""#,
            &[
                "unknown-field syncs.people.pair[0].left: `people` has no field `emial`, or the credentials may not see it (did you mean `email`?)",
                "unknown-field syncs.people.pair[0].right: `Contact` has no field `Mail`, or the credentials may not see it (did you mean `Email`?)",
            ],
        ),
        (
            r#"left = ["email", "born"], right = ["Number__c", "CreatedDate"]"#,
            &[
                "field-type syncs.people.pair[0]: `email` holds text and `Number__c` decimal, which are never equal (these of `Contact` could be: `Email`)",
                "field-type syncs.people.pair[0]: `born` holds date and `CreatedDate` timestamp, which are never equal (these of `Contact` could be: `Birthdate`)",
            ],
        ),
    ];
    for (rule, expected) in cases {
        assert_eq!(found(rule, MAPPING), *expected, "{rule}");
        // A sync whose mapping is missing or wrong has all its other mistakes told with that one.
        let wrong = [
            ("", "missing-key syncs.people: `mapping` is missing ()"),
            (
                r#"mapping = { plugin = "mop" }"#,
                "unknown-plugin syncs.people.mapping.plugin: there is no plugin `mop` (did you mean `map`?)",
            ),
        ];
        for (mapping, problem) in wrong {
            let mut all = found(rule, mapping);
            assert_eq!(all.remove(0), problem, "{rule}");
            assert_eq!(all, *expected, "{rule}");
        }
    }
}
