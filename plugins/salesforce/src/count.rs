//! How many records objects have: what Salesforce keeps count of, in one request for all of them.
//!
//! That resource is for users with the View Setup and Configuration permission, and names no object that it has no
//! figure for; the rest is counted by queries, five of them in one request.

use serde::Deserialize;
use tidegate_sdk::{Fault, FaultKind, Level};

use crate::ahead::First;
use crate::org::Org;
use crate::part::Part;
use crate::{export, soql};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    s_objects: Vec<KeptObject>,
}

#[derive(Deserialize)]
struct KeptObject {
    name: String,
    count: u64,
}

/// In the order of the names; `None` for what can't be counted.
pub(crate) fn count(org: &Org<'_>, objects: &[String]) -> Result<Vec<Option<u64>>, Fault> {
    let names: Vec<&str> = objects
        .iter()
        .map(String::as_str)
        .filter(|name| soql::check_name(name).is_ok())
        .collect();
    if names.is_empty() {
        return Ok(vec![None; objects.len()]);
    }
    let kept = kept(org, &names)?;
    let known = |name: &str| kept.iter().find(|object| object.name == name);
    let rest: Vec<&str> = names
        .into_iter()
        .filter(|name| known(name).is_none())
        .collect();
    let firsts = rest
        .iter()
        .map(|name| First::from([org.query(&soql::count(name))]));
    org.ahead.ask(org, firsts.collect())?;
    objects
        .iter()
        .map(|name| match known(name) {
            Some(object) => Ok(Some(object.count)),
            None if rest.contains(&name.as_str()) => queried(org, name),
            None => Ok(None),
        })
        .collect()
}

fn kept(org: &Org<'_>, names: &[&str]) -> Result<Vec<KeptObject>, Fault> {
    let request =
        Part::get(org.config.path("/limits/recordCount")).query("sObjects", names.join(","));
    match org.ask::<Kept>(request, "the org's record counts") {
        Ok(kept) => Ok(kept.body.s_objects),
        Err(fault) if not_here(&fault) => {
            let line = format!("{}; records are counted by queries", fault.message);
            org.gateway.log(Level::Debug, &line);
            Ok(Vec::new())
        }
        Err(fault) => Err(fault),
    }
}

/// An object that can't be queried has no count.
fn queried(org: &Org<'_>, object: &str) -> Result<Option<u64>, Fault> {
    match export::count(org, object) {
        Ok(count) => Ok(Some(count)),
        Err(fault) if not_here(&fault) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Whether it is the resource that the user may not have, and not the whole org.
fn not_here(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Refused | FaultKind::Missing)
        || fault.code.starts_with("INSUFFICIENT_ACCESS")
}
