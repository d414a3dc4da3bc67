//! What objects an org has, and what it takes to sync some of them.

use serde::Deserialize;
use tidegate_sdk::{Catalog, Demand, Fault, FaultKind, ObjectSchema, Request, Step};

use crate::describe::Described;
use crate::org::{Age, Org, Told};
use crate::{id, soql};

/// The answer to a describe of all objects; each is described without its fields.
#[derive(Deserialize)]
struct Global {
    sobjects: Vec<Described>,
}

#[derive(Deserialize)]
struct Organizations {
    records: Vec<Organization>,
}

#[derive(Deserialize)]
struct Organization {
    #[serde(rename = "Id")]
    id: String,
}

/// One request for the org's id, and one for each object, or one for the names of all.
pub(crate) fn discover(org: &Org<'_>, objects: &[String]) -> Result<Catalog, Fault> {
    let identity = identity(org)?;
    let objects = match objects {
        [] => names(org)?,
        names => describe(org, names, Age::Recent)?
            .objects
            .into_iter()
            .flatten()
            .map(|described| described.schema())
            .collect(),
    };
    Ok(Catalog { identity, objects })
}

/// The id of the org: a sandbox has another one than the org that it was copied from.
fn identity(org: &Org<'_>) -> Result<String, Fault> {
    let what = "the query of the org's id";
    let told: Told<Organizations> = org.ask(org.query("SELECT Id FROM Organization"), what)?;
    match told.body.records.as_slice() {
        [one] => Ok(id::canonical(&one.id)),
        other => Err(Fault::broken(
            "org-without-id",
            format!("{what} found {} records instead of one", other.len()),
        )),
    }
}

fn names(org: &Org<'_>) -> Result<Vec<ObjectSchema>, Fault> {
    let request = tidegate_sdk::Http::get(org.config.path("/sobjects"));
    let global: Told<Global> = org.ask(request, "the list of all objects")?;
    Ok(global
        .body
        .sobjects
        .iter()
        .filter(|object| object.queryable)
        .map(|object| ObjectSchema {
            // The list does not tell fields, and hence not all that counts for deletes.
            reports_deletes: object.replicateable,
            ..object.schema()
        })
        .collect())
}

/// One entry per name; `None` for an object that does not exist or may not be seen.
struct Seen {
    objects: Vec<Option<Described>>,
    /// Some of it may have changed since.
    recalled: bool,
}

fn describe(org: &Org<'_>, names: &[String], age: Age) -> Result<Seen, Fault> {
    let names = names.iter().map(String::as_str);
    let requests: Vec<Request> = names
        .filter(|name| soql::check_name(name).is_ok())
        .map(|name| org.describe_as_of(name, age).into())
        .collect();
    let together = org.ask_all::<Described>(&requests, "the describe of an object")?;
    let objects = together.answers.into_iter().map(|answer| match answer {
        Ok(told) => Ok(Some(told.body)),
        Err(fault) if fault.kind == FaultKind::Missing => Ok(None),
        Err(fault) => Err(fault),
    });
    Ok(Seen {
        objects: objects.collect::<Result<_, Fault>>()?,
        recalled: together.recalled,
    })
}

/// Polling needs nothing made at Salesforce, so every step is done; what is missing is a fault that lists all
/// of it. One request per object, and none for what discover has just asked for. What is missing in an earlier answer is
/// asked for anew, since a person may have added it.
pub(crate) fn prepare(org: &Org<'_>, demands: &[Demand]) -> Result<Vec<Step>, Fault> {
    let mut names: Vec<String> = demands.iter().map(|demand| demand.object.clone()).collect();
    names.sort_unstable();
    names.dedup();
    for name in &names {
        soql::check_name(name)?;
    }
    let seen = describe(org, &names, Age::Recent)?;
    let checked = match checked(org, &names, demands, &seen.objects) {
        Err(_) if seen.recalled => {
            let seen = describe(org, &names, Age::Now)?;
            checked(org, &names, demands, &seen.objects)
        }
        checked => checked,
    };
    checked.map_err(|missing| Fault::config("not-ready", missing.join("\n")))
}

/// A step for every demand, or all that is missing.
fn checked(
    org: &Org<'_>,
    names: &[String],
    demands: &[Demand],
    described: &[Option<Described>],
) -> Result<Vec<Step>, Vec<String>> {
    let mut missing = Vec::new();
    let mut steps = Vec::new();
    for demand in demands {
        let found = names
            .iter()
            .position(|name| *name == demand.object)
            .and_then(|index| described[index].as_ref());
        match found {
            Some(object) => steps.push(check(org, demand, object, &mut missing)),
            None => missing.push(format!(
                "object {}: does not exist, or the run-as user may not see it",
                demand.object
            )),
        }
    }
    match missing.is_empty() {
        true => Ok(steps),
        false => Err(missing),
    }
}

fn check(org: &Org<'_>, demand: &Demand, object: &Described, missing: &mut Vec<String>) -> Step {
    let name = &demand.object;
    for field in &demand.fields {
        if object.field(field).is_none() {
            missing.push(format!(
                "field {name}.{field}: does not exist, or the run-as user's field-level security hides it"
            ));
        }
    }
    if demand.captured && !object.queryable {
        missing.push(format!(
            "object {name}: the run-as user lacks the Read permission"
        ));
    }
    if demand.captured && object.stamp().is_none() {
        missing.push(format!(
            "object {name}: has neither SystemModstamp nor LastModifiedDate, so its changes can't be seen"
        ));
    }
    if demand.written && !object.createable && !object.updateable {
        missing.push(format!(
            "object {name}: the run-as user lacks the Create and Edit permissions"
        ));
    }
    let deletes = match (object.field("IsDeleted").is_some(), object.replicateable) {
        (true, true) => "deletes are seen",
        (true, false) => "deletes are seen, except those that bypass the recycle bin",
        (false, true) => "deletes are seen through the delete log",
        (false, false) => "deletes can't be seen",
    };
    Step {
        id: format!("object:{name}"),
        description: format!(
            "GET {}: {} of {} fields are there, {deletes}; nothing has to be made at Salesforce",
            org.config.path(&format!("/sobjects/{name}/describe")),
            demand
                .fields
                .iter()
                .filter(|field| object.field(field).is_some())
                .count(),
            demand.fields.len()
        ),
        done: true,
    }
}
