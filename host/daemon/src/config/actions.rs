//! A sync's actions, as written and as meant: fields that ask for a merge, a delete or a conversion.

use std::sync::Arc;

use tidegate_core::action::{ActionSpec, Does};
use tidegate_core::lanes::Is;
use tidegate_core::sync::Side;

use super::lanes::listed;
use super::places::join;
use super::problem::{Code, Findings};
use super::section::Section;

const SIDES: &[(&str, Side)] = &[("left", Side::Left), ("right", Side::Right)];
const DOES: &[(&str, Does)] = &[
    ("merge", Does::Merge),
    ("delete", Does::Delete),
    ("convert", Does::Convert),
];

#[derive(Clone, Debug, Default)]
pub(super) struct WrittenAction {
    /// Where it stands, such as `syncs.people.actions[0]`.
    key: String,
    side: Option<Side>,
    field: Option<String>,
    does: Option<Does>,
    tests: Vec<Is>,
}

pub(super) fn read(section: &mut Section<'_, '_>) -> WrittenAction {
    let tests = listed(section);
    WrittenAction {
        key: section.key().to_owned(),
        side: section.choice("side", SIDES),
        field: section.text("field"),
        does: section.choice("does", DOES),
        tests,
    }
}

pub(super) fn mean(written: &[WrittenAction], findings: &Findings) -> Vec<ActionSpec> {
    let mut meant: Vec<ActionSpec> = Vec::new();
    for action in written {
        if let Some(one) = mean_one(action, findings) {
            let twice = |known: &&ActionSpec| known.side == one.side && known.does == one.does;
            if meant.iter().any(|known| twice(&known)) {
                let message = format!("another field of the {} does the same already", one.side);
                findings.error(Code::UnknownValue, &join(&action.key, "does"), message);
                continue;
            }
            meant.push(one);
        }
    }
    meant
}

fn mean_one(action: &WrittenAction, findings: &Findings) -> Option<ActionSpec> {
    let key = &action.key;
    let has = |name: &str| findings.has_key(&join(key, name));
    for name in ["side", "field", "does"] {
        if !has(name) {
            findings.error(Code::MissingKey, key, format!("`{name}` is missing"));
        }
    }
    let tested = has("equals") || has("in");
    if tested && action.does == Some(Does::Merge) {
        findings.error_with_help(
            Code::UnknownValue,
            key,
            "the field of a merge names a record, so there is nothing to compare it with",
            "remove `equals` or `in`",
        );
    }
    if has("equals") && has("in") {
        findings.error_with_help(
            Code::UnknownValue,
            key,
            "only one of `equals` and `in` can be tested",
            "put all values into `in`",
        );
    }
    Some(ActionSpec {
        side: action.side?,
        field: Arc::from(action.field.as_deref()?),
        does: action.does?,
        when: match action.tests.as_slice() {
            [is] => Some(is.clone()),
            _ if tested => return None,
            _ => None,
        },
    })
}
