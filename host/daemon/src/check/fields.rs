//! One sync against what its two endpoints say of their objects and what its mapping says that it does.
//! Pure: the answers are given.

use std::collections::BTreeSet;

use tidegate_core::batch::DataType;
use tidegate_core::plugin::{Direction, Field, ObjectSchema, Rule};
use tidegate_core::sync::{Side, SideSpec};

use crate::config::meant::Sync;
use crate::config::places::join;
use crate::config::problem::{Code, Findings, listed, suggest};

/// What is known of one side: `None` when the endpoint could not be asked or has no such object, which is a
/// finding of its own.
#[derive(Clone, Copy)]
pub struct Schemas<'a> {
    pub left: Option<&'a ObjectSchema>,
    pub right: Option<&'a ObjectSchema>,
}

/// The field of an object, or a finding at `key` that there is none.
pub(super) fn known<'a>(
    schema: &'a ObjectSchema,
    name: &str,
    key: &str,
    findings: &Findings,
) -> Option<&'a Field> {
    let found = schema.fields.iter().find(|field| field.name == name);
    if found.is_none() {
        let names = schema.fields.iter().map(|field| field.name.as_str());
        let message = format!(
            "`{}` has no field `{name}`, or the credentials may not see it",
            schema.name
        );
        findings.error_with_help(Code::UnknownField, key, message, suggest(name, names));
    }
    found
}

impl<'a> Schemas<'a> {
    pub(super) fn of(self, side: Side) -> Option<&'a ObjectSchema> {
        match side {
            Side::Left => self.left,
            Side::Right => self.right,
        }
    }
}

/// The fields of both sides, the keys, the rules, and what a create needs.
pub fn check(sync: &Sync, schemas: Schemas<'_>, rules: &[Rule], findings: &Findings) {
    let key = join("syncs", &sync.spec.name);
    for side in Side::BOTH {
        let Some(schema) = schemas.of(side) else {
            continue;
        };
        let checked = Checked {
            side,
            spec: sync.spec.side(side),
            key: join(&key, &side.to_string()),
            mapping_key: join(&join(&key, "mapping"), "config"),
            schema,
            references: super::references::fields(sync, side).collect(),
            findings,
        };
        checked.access();
        checked.upsert_key();
        checked.inputs(rules);
        checked.outputs(rules);
        checked.creates(rules);
    }
    field_conflicts(sync, &key, rules, findings);
}

struct Checked<'a> {
    side: Side,
    spec: &'a SideSpec,
    key: String,
    /// Where rules are written; the mapping alone knows the very line.
    mapping_key: String,
    schema: &'a ObjectSchema,
    /// Fields that the sync's references fill.
    references: Vec<String>,
    findings: &'a Findings,
}

impl Checked<'_> {
    fn field(&self, name: &str) -> Option<&Field> {
        self.schema.fields.iter().find(|field| field.name == name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.fields.iter().map(|field| field.name.as_str())
    }

    fn unknown(&self, key: &str, name: &str) {
        self.findings.error_with_help(
            Code::UnknownField,
            key,
            format!(
                "`{}` of `{}` has no field `{name}`, or the credentials may not see it",
                self.spec.object, self.spec.endpoint
            ),
            suggest(name, self.names()),
        );
    }

    fn access(&self) {
        let missing: Vec<&str> = [
            (self.schema.readable, "readable"),
            (self.schema.writable, "writable"),
        ]
        .into_iter()
        .filter_map(|(has, name)| (!has).then_some(name))
        .collect();
        if !missing.is_empty() {
            self.findings.error(
                Code::ObjectAccess,
                &join(&self.key, "object"),
                format!("`{}` is not {}", self.spec.object, missing.join(" or ")),
            );
        }
    }

    /// The key holds the other side's record id as text, and creates go by it.
    fn upsert_key(&self) {
        let Some(name) = self.spec.key.as_deref() else {
            return;
        };
        let key = join(&self.key, "key");
        let Some(field) = self.field(name) else {
            return self.unknown(&key, name);
        };
        if !field.upsert_key {
            let usable: Vec<&str> = self
                .schema
                .fields
                .iter()
                .filter(|field| field.upsert_key && field.data_type == DataType::Text)
                .map(|field| field.name.as_str())
                .collect();
            let help = if usable.is_empty() {
                "make the field unique (in Salesforce: External ID and Unique)".to_owned()
            } else {
                format!("these could be used: {}", listed(&usable))
            };
            self.findings.error_with_help(
                Code::KeyField,
                &key,
                format!("`{name}` can't be upserted by"),
                help,
            );
        }
        if field.data_type != DataType::Text {
            self.findings.error(
                Code::KeyField,
                &key,
                format!(
                    "`{name}` holds {}, and record ids are text",
                    field.data_type
                ),
            );
        }
        if !(field.creatable && field.updatable) {
            let message = format!("`{name}` can't be written with these credentials");
            self.findings.error(Code::FieldAccess, &key, message);
        }
    }

    fn inputs(&self, rules: &[Rule]) {
        for name in names_of(rules, self.side, End::Inputs) {
            if self.field(name).is_none() {
                self.unknown(&self.mapping_key, name);
            }
        }
    }

    fn outputs(&self, rules: &[Rule]) {
        for name in names_of(rules, self.side, End::Outputs) {
            let Some(field) = self.field(name) else {
                self.unknown(&self.mapping_key, name);
                continue;
            };
            let object = &self.spec.object;
            if self.spec.key.as_deref() == Some(name) {
                self.findings.error_with_help(
                    Code::KeyField,
                    &self.mapping_key,
                    format!("a rule writes `{name}` of `{object}`, which holds the other side's record id"),
                    "leave it to the sync's `key`",
                );
            } else if !field.creatable && !field.updatable {
                self.findings.error(
                    Code::FieldAccess,
                    &self.mapping_key,
                    format!("`{name}` of `{object}` can't be written; map it one way only"),
                );
            }
        }
    }

    /// A create that lacks a required field would be refused, record by record.
    fn creates(&self, rules: &[Rule]) {
        let outputs = names_of(rules, self.side, End::Outputs);
        if outputs.is_empty() {
            return;
        }
        for field in self.schema.fields.iter().filter(|field| field.required) {
            let filled = outputs.contains(field.name.as_str())
                || self.spec.key.as_deref() == Some(field.name.as_str())
                || self.references.contains(&field.name)
                || self.schema.id_fields.contains(&field.name);
            if !filled {
                self.findings.error_with_help(
                    Code::RequiredField,
                    &self.mapping_key,
                    format!(
                        "no rule fills `{}` of `{}`, so every create would be refused",
                        field.name, self.spec.object
                    ),
                    "map a field to it, or give it a constant",
                );
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Inputs,
    Outputs,
}

/// The fields of `side` that rules read, or write.
fn names_of(rules: &[Rule], side: Side, end: End) -> BTreeSet<&str> {
    let source = match end {
        End::Inputs => side,
        End::Outputs => side.other(),
    };
    rules
        .iter()
        .filter(|rule| rule.direction == source.outward())
        .flat_map(|rule| match end {
            End::Inputs => &rule.inputs,
            End::Outputs => &rule.outputs,
        })
        .map(String::as_str)
        .collect()
}

fn field_conflicts(sync: &Sync, key: &str, rules: &[Rule], findings: &Findings) {
    if rules.is_empty() {
        return;
    }
    let mapped: BTreeSet<&str> = [Direction::LeftToRight, Direction::RightToLeft]
        .into_iter()
        .flat_map(|direction| rules.iter().filter(move |rule| rule.direction == direction))
        .flat_map(|rule| rule.inputs.iter().chain(&rule.outputs))
        .map(String::as_str)
        .collect();
    for name in sync.spec.field_conflicts.keys() {
        if !mapped.contains(name.as_str()) {
            findings.error_with_help(
                Code::UnknownField,
                &join(&join(key, "field-conflicts"), name),
                format!("no rule reads or writes a field `{name}`"),
                suggest(name, mapped.iter().copied()),
            );
        }
    }
}

/// The fields of `side` that take part in a sync, its key included.
pub(super) fn synced(rules: &[Rule], side: Side, key: Option<&str>) -> Vec<String> {
    let mut names = names_of(rules, side, End::Inputs);
    names.extend(names_of(rules, side, End::Outputs));
    names.extend(key);
    names.into_iter().map(str::to_owned).collect()
}
