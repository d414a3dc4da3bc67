//! A sync's pair rules, as written and as meant: fields by which two filled systems' records are one.

use tidegate_core::sync::{Initial, PairRule};
use toml::de::DeValue;

use super::places::join;
use super::problem::{Code, Findings};
use super::section::{Section, wrong_type};
use super::written::WrittenSync;

/// Whether texts count as they stand.
const CASES: &[(&str, bool)] = &[("exact", true), ("ignore", false)];

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenPairRule {
    /// Where it stands, such as `syncs.people.pair[0]`.
    key: String,
    left: Option<Vec<String>>,
    right: Option<Vec<String>>,
    exact: Option<bool>,
}

pub(super) fn read(section: &mut Section<'_, '_>) -> WrittenPairRule {
    WrittenPairRule {
        key: section.key().to_owned(),
        left: fields(section, "left"),
        right: fields(section, "right"),
        exact: section.choice("case", CASES),
    }
}

/// One name, or a list of them.
fn fields(section: &mut Section<'_, '_>, name: &'static str) -> Option<Vec<String>> {
    let findings = section.findings();
    let (key, value) = section.raw(name)?;
    let one = |key: &str, value: &DeValue<'_>| {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            wrong_type(key, "text in quotes", value, findings);
        }
        text
    };
    match value {
        DeValue::Array(items) => {
            let items = items.iter().enumerate();
            let texts = items.map(|(index, item)| one(&format!("{key}[{index}]"), item.get_ref()));
            // All mistakes are told before the rule is given up.
            texts.collect::<Vec<_>>().into_iter().collect()
        }
        DeValue::String(_) => one(&key, value).map(|text| vec![text]),
        _ => {
            wrong_type(&key, "a field, or a list of fields", value, findings);
            None
        }
    }
}

/// Those of the sync at `key`.
pub(super) fn mean(key: &str, sync: &WrittenSync, findings: &Findings) -> Vec<PairRule> {
    let rules_key = join(key, "pair");
    let initial = sync.initial.unwrap_or_default();
    if !sync.pairs.is_empty() && initial != Initial::Both {
        findings.error_with_help(
            Code::UnknownValue,
            &rules_key,
            "records pair when both sides are read whole, and `initial` says otherwise",
            "leave `initial` out, or set it to `both`",
        );
    }
    if sync.pairs.len() > PairRule::MOST {
        let message = format!("{} rules are the most", PairRule::MOST);
        findings.error(Code::OutOfRange, &rules_key, message);
    }
    let rules = sync.pairs.iter();
    rules.filter_map(|rule| mean_one(rule, findings)).collect()
}

fn mean_one(rule: &WrittenPairRule, findings: &Findings) -> Option<PairRule> {
    let key = &rule.key;
    for (name, fields) in [("left", &rule.left), ("right", &rule.right)] {
        let field = join(key, name);
        match fields {
            None if !findings.has_key(&field) => {
                findings.error(Code::MissingKey, key, format!("`{name}` is missing"));
            }
            Some(fields) if fields.is_empty() => {
                findings.error(Code::UnknownValue, &field, "an empty list pairs nothing");
            }
            _ => {}
        }
    }
    let (left, right) = (rule.left.clone()?, rule.right.clone()?);
    if left.len() != right.len() && !left.is_empty() && !right.is_empty() {
        findings.error_with_help(
            Code::UnknownValue,
            key,
            format!(
                "{} on the left can't be compared with {} on the right",
                counted(left.len()),
                counted(right.len())
            ),
            "name as many on each side: the first is compared with the first, and so on",
        );
    }
    Some(PairRule {
        left,
        right,
        exact: rule.exact.unwrap_or_default(),
    })
}

fn counted(fields: usize) -> String {
    match fields {
        1 => "one field".to_owned(),
        fields => format!("{fields} fields"),
    }
}
