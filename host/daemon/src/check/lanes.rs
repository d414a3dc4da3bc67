//! A sync's lane rules against the fields that its two sides have.

use tidegate_core::lanes::{Is, Test};
use tidegate_core::plugin::{Field, ObjectSchema};
use tidegate_core::sync::Side;
use tidegate_core::value::Value;

use super::fields::Schemas;
use crate::config::meant::Sync;
use crate::config::places::join;
use crate::config::problem::{Code, Findings, listed, suggest};

pub fn check(sync: &Sync, schemas: Schemas<'_>, findings: &Findings) {
    let (Some(left), Some(right)) = (schemas.left, schemas.right) else {
        // What could not be asked may have the field.
        return;
    };
    let lanes = join(&join("syncs", &sync.spec.name), "lanes");
    for (index, rule) in sync.spec.lanes.iter().enumerate() {
        if let Some(test) = &rule.test {
            one(test, [left, right], &format!("{lanes}[{index}]"), findings);
        }
    }
}

fn one(test: &Test, schemas: [&ObjectSchema; 2], key: &str, findings: &Findings) {
    let key = join(key, "field");
    let all = || schemas.iter().flat_map(|schema| &schema.fields);
    let named: Vec<&Field> = all().filter(|field| field.name == test.field).collect();
    if named.is_empty() {
        findings.error_with_help(
            Code::UnknownField,
            &key,
            format!(
                "neither `{}` nor `{}` has a field `{}`, or the credentials may not see it",
                schemas[0].name, schemas[1].name, test.field
            ),
            suggest(&test.field, all().map(|field| field.name.as_str())),
        );
    }
    for field in named {
        if !test.is.suits(field.data_type) {
            let fitting = all().filter(|field| test.is.suits(field.data_type));
            let fitting: Vec<&str> = fitting.map(|field| field.name.as_str()).take(6).collect();
            let help = match fitting.as_slice() {
                [] => String::new(),
                fitting => format!("these could be tested so: {}", listed(fitting)),
            };
            findings.error_with_help(
                Code::FieldType,
                &key,
                format!(
                    "`{}` holds {}, and the rule compares {}",
                    field.name,
                    field.data_type,
                    test.is.compares()
                ),
                help,
            );
        } else if let Is::OneOf(values) = &test.is {
            choices(field, values, &key, findings);
        }
    }
}

/// A value that a picklist does not have can't come; it may be there later.
fn choices(field: &Field, values: &[Value], key: &str, findings: &Findings) {
    let known = || field.choices.iter().map(String::as_str);
    if field.choices.is_empty() {
        return;
    }
    for value in values {
        if let Value::Text(text) = value
            && !known().any(|known| *known == **text)
        {
            findings.warning(
                Code::UnknownValue,
                key,
                format!("`{}` has no choice `{text}`", field.name),
                suggest(text, known()),
            );
        }
    }
}

/// What the rules read of a side.
pub(super) fn read(sync: &Sync, side: Side, schema: &ObjectSchema) -> Vec<String> {
    let tests = sync.spec.lanes.iter().filter_map(|rule| rule.test.as_ref());
    let fields = tests.map(|test| &test.field).filter(|name| {
        let named = |field: &Field| field.name == **name;
        schema.fields.iter().any(named) && *schema.name == *sync.spec.side(side).object
    });
    fields.cloned().collect()
}
