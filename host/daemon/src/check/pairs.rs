//! A sync's pair rules against the fields that its two sides have.

use tidegate_core::plugin::{Field, ObjectSchema};
use tidegate_core::sync::{PairRule, Side};
use tidegate_core::value::may_equal;

use super::fields::{Schemas, known};
use crate::config::meant::Sync;
use crate::config::places::join;
use crate::config::problem::{Code, Findings, listed};

pub fn check(sync: &Sync, schemas: Schemas<'_>, findings: &Findings) {
    let rules = join(&join("syncs", &sync.spec.name), "pair");
    for (index, rule) in sync.spec.pairs.iter().enumerate() {
        let key = format!("{rules}[{index}]");
        for side in Side::BOTH {
            if let Some(schema) = schemas.of(side) {
                let key = join(&key, &side.to_string());
                for name in rule.side(side) {
                    known(schema, name, &key, findings);
                }
            }
        }
        if let (Some(left), Some(right)) = (schemas.of(Side::Left), schemas.of(Side::Right)) {
            types(rule, left, right, &key, findings);
        }
    }
}

fn types(
    rule: &PairRule,
    left: &ObjectSchema,
    right: &ObjectSchema,
    key: &str,
    findings: &Findings,
) {
    for (one, other) in rule.left.iter().zip(&rule.right) {
        let (Some(one), Some(other)) = (field(left, one), field(right, other)) else {
            continue;
        };
        if may_equal(one.data_type, other.data_type) {
            continue;
        }
        let fitting = right.fields.iter();
        let fitting = fitting.filter(|field| may_equal(one.data_type, field.data_type));
        let fitting: Vec<&str> = fitting.map(|field| field.name.as_str()).take(6).collect();
        let help = match fitting.as_slice() {
            [] => String::new(),
            fitting => format!("these of `{}` could be: {}", right.name, listed(fitting)),
        };
        findings.error_with_help(
            Code::FieldType,
            key,
            format!(
                "`{}` holds {} and `{}` {}, which are never equal",
                one.name, one.data_type, other.name, other.data_type
            ),
            help,
        );
    }
}

fn field<'a>(schema: &'a ObjectSchema, name: &str) -> Option<&'a Field> {
    schema.fields.iter().find(|field| field.name == name)
}

/// What the rules read of a side.
pub(super) fn read(sync: &Sync, side: Side) -> impl Iterator<Item = String> {
    let rules = sync.spec.pairs.iter();
    rules.flat_map(move |rule| rule.side(side).iter().cloned())
}
