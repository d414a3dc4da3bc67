//! A sync's lane rules, as written and as meant: each names a lane, and the changes that belong there.

use tidegate_core::lanes::{Is, LaneRule, Operation, Test};
use tidegate_core::pace::Lane;
use tidegate_core::value::Value;
use toml::de::DeValue;

use super::places::join;
use super::problem::{Code, Findings};
use super::section::{Section, wrong_type};

pub(super) const LANES: &[(&str, Lane)] = &[
    ("critical", Lane::Critical),
    ("normal", Lane::Normal),
    ("backfill", Lane::Backfill),
];
const OPERATIONS: &[(&str, Operation)] = &[
    ("create", Operation::Create),
    ("update", Operation::Update),
    ("delete", Operation::Delete),
];
const TESTS: &str = "`above`, `below`, `within`, `equals` or `in`";

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenLaneRule {
    /// Where it stands, such as `syncs.people.lanes[0]`.
    key: String,
    lane: Option<Lane>,
    operations: Vec<Operation>,
    field: Option<String>,
    tests: Vec<Is>,
}

/// The values that a field is compared with, by `equals` and `in`.
pub(super) fn listed(section: &mut Section<'_, '_>) -> Vec<Is> {
    let mut tests = Vec::new();
    let findings = section.findings();
    if let Some((key, found)) = section.raw("equals")
        && let Some(value) = value(&key, found, findings)
    {
        tests.push(Is::OneOf(vec![value]));
    }
    if let Some((key, found)) = section.raw("in") {
        tests.extend(list(&key, found, findings).map(Is::OneOf));
    }
    tests
}

pub(super) fn read(section: &mut Section<'_, '_>) -> WrittenLaneRule {
    let mut tests = Vec::new();
    tests.extend(section.number("above").map(Is::Above));
    tests.extend(section.number("below").map(Is::Below));
    tests.extend(section.duration_ms("within").map(|ms| Is::Within { ms }));
    tests.extend(listed(section));
    WrittenLaneRule {
        key: section.key().to_owned(),
        lane: section.choice("lane", LANES),
        operations: section.choices("operations", OPERATIONS),
        field: section.text("field"),
        tests,
    }
}

/// A text, a number, or true or false.
fn value(key: &str, value: &DeValue<'_>, findings: &Findings) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::Text((&**text).into())),
        DeValue::Boolean(value) => Some(Value::Boolean(*value)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(Value::Integer),
        DeValue::Float(number) => number.as_str().parse().ok().map(Value::Float),
        _ => {
            wrong_type(key, "a text, a number, or true or false", value, findings);
            None
        }
    }
}

fn list(key: &str, found: &DeValue<'_>, findings: &Findings) -> Option<Vec<Value>> {
    let DeValue::Array(items) = found else {
        wrong_type(key, "a list of values", found, findings);
        return None;
    };
    if items.is_empty() {
        findings.error(Code::UnknownValue, key, "an empty list fits nothing");
        return None;
    }
    let items = items.iter().enumerate();
    let values: Vec<Value> = items
        .filter_map(|(index, item)| value(&format!("{key}[{index}]"), item.get_ref(), findings))
        .collect();
    let kind = values.first().map(std::mem::discriminant);
    if values
        .iter()
        .any(|value| Some(std::mem::discriminant(value)) != kind)
    {
        findings.error(
            Code::WrongType,
            key,
            "values of one kind belong here: texts, or whole numbers, or the like",
        );
        return None;
    }
    Some(values)
}

pub(super) fn mean(written: &[WrittenLaneRule], findings: &Findings) -> Vec<LaneRule> {
    let rules = written.iter();
    rules.filter_map(|rule| mean_one(rule, findings)).collect()
}

fn mean_one(rule: &WrittenLaneRule, findings: &Findings) -> Option<LaneRule> {
    let key = &rule.key;
    let has = |name: &str| findings.has_key(&join(key, name));
    if rule.lane.is_none() && !has("lane") {
        findings.error(Code::MissingKey, key, "`lane` is missing");
    }
    let tested = ["above", "below", "within", "equals", "in"].into_iter();
    let tests = tested.filter(|name| has(name)).count();
    match (has("field"), tests) {
        (false, 0) if has("operations") => {}
        (false, 0) => findings.error_with_help(
            Code::MissingKey,
            key,
            "the rule does not say which changes it is for",
            "add `operations`, or `field` and a test; for all changes, set the sync's own `lane`",
        ),
        (true, 0) => {
            let message = format!("what must hold of `field` is missing: {TESTS}");
            findings.error(Code::MissingKey, key, message);
        }
        (false, _) => findings.error(Code::MissingKey, key, "`field` is missing"),
        (true, 1) => {}
        (true, _) => {
            let message = format!("only one of {TESTS} can be tested");
            findings.error_with_help(Code::UnknownValue, key, message, "write two rules");
        }
    }
    let test = match (&rule.field, rule.tests.as_slice()) {
        (Some(field), [is]) => Some(Test {
            field: field.clone(),
            is: is.clone(),
        }),
        _ => None,
    };
    Some(LaneRule {
        lane: rule.lane?,
        operations: rule.operations.clone(),
        test,
    })
}
