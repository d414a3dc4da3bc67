//! A sync's references against the fields that its two sides have, and the sync that keeps their parents.

use tidegate_core::plugin::Rule;
use tidegate_core::record::Sides;
use tidegate_core::reference::parent_of;
use tidegate_core::sync::{Side, SyncSpec};

use super::fields::{Schemas, known};
use crate::config::meant::{Config, Sync};
use crate::config::places::join;
use crate::config::problem::{Code, Findings};

pub fn check(
    config: &Config,
    sync: &Sync,
    schemas: Schemas<'_>,
    rules: &[Rule],
    findings: &Findings,
) {
    let (Some(left), Some(right)) = (schemas.left, schemas.right) else {
        return;
    };
    let both = Sides { left, right };
    let fields = Sides::new(|side| both[side].fields.clone());
    let specs: Vec<&SyncSpec> = config.syncs.values().map(|other| &other.spec).collect();
    let references = join(&join("syncs", &sync.spec.name), "references");
    for (index, reference) in sync.spec.references.iter().enumerate() {
        let key = format!("{references}[{index}]");
        let mut found = true;
        for side in Side::BOTH {
            let name = match side {
                Side::Left => &reference.left,
                Side::Right => &reference.right,
            };
            let key = join(&key, &side.to_string());
            let Some(field) = known(both[side], name, &key, findings) else {
                found = false;
                continue;
            };
            if !field.creatable && !field.updatable {
                let message = format!("`{name}` of `{}` can't be written", both[side].name);
                findings.error(Code::FieldAccess, &key, message);
            }
            let mapped = rules.iter().any(|rule| {
                rule.direction == side.other().outward()
                    && rule.outputs.iter().any(|output| **output == **name)
            });
            if mapped {
                findings.error_with_help(
                    Code::FieldAccess,
                    &key,
                    format!("a rule of the mapping writes `{name}` too"),
                    "leave it to the reference: a mapping can't know the other side's ids",
                );
            }
        }
        // The parent is found by what the fields refer to.
        if found && let Err(error) = parent_of(reference, &sync.spec, &specs, &fields) {
            findings.error(Code::UnknownSync, &key, error.to_string());
        }
    }
}

/// The fields of `side` that references are in.
pub(super) fn fields(sync: &Sync, side: Side) -> impl Iterator<Item = String> {
    let references = sync.spec.references.iter();
    references.map(move |reference| match side {
        Side::Left => reference.left.to_string(),
        Side::Right => reference.right.to_string(),
    })
}
