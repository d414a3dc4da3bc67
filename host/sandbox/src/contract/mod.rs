//! The rules of `wit/v0.1` that types can't express, held against every answer before it leaves the sandbox.
//!
//! A plugin that breaks one has its answer thrown away (invariant 11). Messages name rows by index and never
//! quote a value, since values are customers'.

mod change;
mod outcome;
#[cfg(test)]
mod tests;
mod trail;

use std::collections::HashSet;

use tidegate_core::plugin::{Catalog, Mapped, Rule, Step};

pub(crate) use change::{Asked, RowsMax, found, pages, received};
pub(crate) use outcome::{Sent, progress};
pub(crate) use trail::{StreamKey, Trail, stream_key};

use crate::call::CallError;

fn broken<T>(code: &'static str, message: String) -> Result<T, CallError> {
    Err(CallError::Contract { code, message })
}

/// The first name that occurs twice.
fn twice<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

pub(crate) fn catalog(asked: &[String], catalog: &Catalog) -> Result<(), CallError> {
    let names = || catalog.objects.iter().map(|object| object.name.as_str());
    if let Some(name) = twice(names()) {
        return broken("object-twice", format!("discover describes {name} twice"));
    }
    let stranger =
        names().find(|name| !asked.is_empty() && !asked.iter().any(|asked| asked == name));
    if let Some(name) = stranger {
        return broken(
            "object-not-asked",
            format!("discover describes {name}, which nobody asked for"),
        );
    }
    for object in &catalog.objects {
        if object.name.is_empty() || object.fields.iter().any(|field| field.name.is_empty()) {
            return broken(
                "name-empty",
                format!("discover left out a name in object {:?}", object.name),
            );
        }
        if let Some(field) = twice(object.fields.iter().map(|field| field.name.as_str())) {
            return broken(
                "field-twice",
                format!("discover describes {}.{field} twice", object.name),
            );
        }
    }
    Ok(())
}

pub(crate) fn counts(asked: usize, counts: &[Option<u64>]) -> Result<(), CallError> {
    if counts.len() != asked {
        let message = format!("count answered {} numbers to {asked} objects", counts.len());
        return broken("count-length", message);
    }
    Ok(())
}

pub(crate) fn steps(steps: &[Step]) -> Result<(), CallError> {
    if let Some(id) = twice(steps.iter().map(|step| step.id.as_str())) {
        return broken("step-twice", format!("prepare lists the step {id} twice"));
    }
    match steps.iter().position(|step| step.id.is_empty()) {
        Some(index) => broken("step-unnamed", format!("prepare's step {index} has no id")),
        None => Ok(()),
    }
}

pub(crate) fn rules(rules: &[Rule]) -> Result<(), CallError> {
    let mut written = HashSet::new();
    for (index, rule) in rules.iter().enumerate() {
        if rule.outputs.is_empty() {
            return broken(
                "rule-empty",
                format!("describe's rule {index} writes no field"),
            );
        }
        for output in &rule.outputs {
            if !written.insert((rule.direction, output)) {
                let message =
                    format!("describe says twice that {output} is written in one direction");
                return broken("output-twice", message);
            }
        }
    }
    Ok(())
}

pub(crate) fn mapped(rows: usize, mapped: &Mapped) -> Result<(), CallError> {
    if mapped.batch.rows != rows {
        let message = format!("map-batch answered {} rows to {rows}", mapped.batch.rows);
        return broken("row-count", message);
    }
    if let Err(error) = mapped.batch.check() {
        return broken(
            "batch-invalid",
            format!("map-batch answered a batch that breaks its layout: {error}"),
        );
    }
    match mapped
        .errors
        .iter()
        .find(|error| error.row as usize >= rows)
    {
        Some(error) => {
            let message = format!("map-batch reports an error in row {} of {rows}", error.row);
            broken("row-not-given", message)
        }
        None => Ok(()),
    }
}
