//! A sync's actions against the fields that its two sides have.

use tidegate_core::action::{ActionSpec, Does};
use tidegate_core::batch::DataType;
use tidegate_core::plugin::{Field, ObjectSchema, Rule};
use tidegate_core::sync::Side;

use super::fields::{Schemas, known};
use crate::config::meant::Sync;
use crate::config::places::join;
use crate::config::problem::{Code, Findings};

pub fn check(sync: &Sync, schemas: Schemas<'_>, rules: &[Rule], findings: &Findings) {
    let actions = join(&join("syncs", &sync.spec.name), "actions");
    for (index, action) in sync.spec.actions.iter().enumerate() {
        let key = join(&format!("{actions}[{index}]"), "field");
        // What could not be asked may have the field.
        if let Some(schema) = schemas.of(action.side) {
            one(action, schema, &key, findings);
        }
        let mapped = rules.iter().any(|rule| {
            rule.direction == action.side.other().outward()
                && rule.outputs.iter().any(|output| **output == *action.field)
        });
        if mapped {
            findings.error_with_help(
                Code::FieldAccess,
                &key,
                format!("a rule of the mapping writes `{}` too", action.field),
                format!("let the mapping read it, or leave it out: the {} alone says what is to be done", action.side),
            );
        }
        let carried = |side: Side| super::references::fields(sync, side);
        if carried(action.side).any(|field| *field == *action.field) {
            findings.error(
                Code::FieldAccess,
                &key,
                format!("`{}` is a reference of this sync already", action.field),
            );
        }
    }
}

fn one(action: &ActionSpec, schema: &ObjectSchema, key: &str, findings: &Findings) {
    let Some(field) = known(schema, &action.field, key, findings) else {
        return;
    };
    let (fits, wanted) = match (action.does, &action.when) {
        (Does::Merge, _) => (names_records(field), "the id of a record"),
        (_, Some(is)) => (is.suits(field.data_type), is.compares()),
        (_, None) => (true, ""),
    };
    if !fits {
        findings.error(
            Code::FieldType,
            key,
            format!(
                "`{}` holds {}, and the action looks for {wanted}",
                field.name, field.data_type
            ),
        );
    }
}

fn names_records(field: &Field) -> bool {
    matches!(
        field.data_type,
        DataType::Text | DataType::Integer | DataType::Decimal
    )
}

/// The fields of `side` that actions are in.
pub(super) fn fields(sync: &Sync, side: Side) -> impl Iterator<Item = String> {
    let actions = sync.spec.actions.iter();
    let actions = actions.filter(move |action| action.side == side);
    actions.map(|action| action.field.to_string())
}
