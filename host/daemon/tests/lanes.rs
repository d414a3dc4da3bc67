//! A sync's lane rules against the fields that there are: every mistake at its place.

mod kit;

use std::path::Path;

use tidegate::check::fields::Schemas;
use tidegate::check::lanes;
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
[syncs.deals]
left = { endpoint = "db", object = "deals", key = "k" }
right = { endpoint = "crm", object = "Opportunity", key = "k" }
mapping = { plugin = "map" }
lanes = [{ lane = "critical", RULE }]
"#;

/// What is found, as `severity code: message (help)`.
fn found(rule: &str) -> Vec<String> {
    let text = CONFIG.replace("RULE", rule);
    let Loaded { config, findings } = config::parse("c.toml", &text, Path::new("/nowhere"));
    assert!(!findings.has_errors(), "{:?}", findings.into_problems());
    let left = object("deals", &[("amount", DataType::Decimal)]);
    let mut right = object(
        "Opportunity",
        &[
            ("Amount", DataType::Decimal),
            ("CloseDate", DataType::Date),
            ("StageName", DataType::Text),
            ("IsWon", DataType::Boolean),
        ],
    );
    let stage = right
        .fields
        .iter_mut()
        .find(|field| field.name == "StageName");
    stage.expect("a stage").choices = vec!["Won".to_owned(), "Lost".to_owned()];
    let schemas = Schemas {
        left: Some(&left),
        right: Some(&right),
    };
    lanes::check(&config.syncs["deals"], schemas, &findings);
    let problems = findings.into_problems().into_iter();
    problems
        .map(|problem| {
            let key = &problem.place.key;
            assert_eq!(key, "syncs.deals.lanes[0].field");
            let severity = format!("{:?}", problem.severity).to_lowercase();
            let (code, message) = (problem.code.name(), &problem.message);
            format!("{severity} {code}: {message} ({})", problem.help)
        })
        .collect()
}

#[test]
fn rules_are_held_against_the_fields() {
    let good = [
        "field = \"Amount\", above = 50000",
        "field = \"amount\", below = 0.5",
        "field = \"CloseDate\", within = \"7d\"",
        "field = \"StageName\", in = [\"Won\", \"Lost\"]",
        "field = \"IsWon\", equals = true",
        "operations = [\"delete\"]",
    ];
    for rule in good {
        assert_eq!(found(rule), Vec::<String>::new(), "{rule}");
    }
    let bad = [
        (
            "field = \"Ammount\", above = 5",
            "error unknown-field: neither `deals` nor `Opportunity` has a field `Ammount`, or the credentials may not see it (did you mean `Amount`?)",
        ),
        (
            "field = \"StageName\", above = 5",
            "error field-type: `StageName` holds text, and the rule compares numbers (these could be tested so: `amount`, `Amount`)",
        ),
        (
            "field = \"Amount\", within = \"7d\"",
            "error field-type: `Amount` holds decimal, and the rule compares dates and times (these could be tested so: `CloseDate`)",
        ),
        (
            "field = \"Amount\", equals = \"5\"",
            "error field-type: `Amount` holds decimal, and the rule compares texts (these could be tested so: `StageName`)",
        ),
        (
            "field = \"StageName\", in = [\"Won\", \"Los\"]",
            "warning unknown-value: `StageName` has no choice `Los` (did you mean `Lost`?)",
        ),
    ];
    for (rule, problem) in bad {
        assert_eq!(found(rule), [problem], "{rule}");
    }
}
