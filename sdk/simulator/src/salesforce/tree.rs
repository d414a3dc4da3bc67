//! `composite/tree`: parents with their children inside them, created together or not at all.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, RowError};
use super::batch::{Fields, ROWS_MAX};
use super::call::Call;
use super::id::Id;
use super::org::Org;
use super::rows::writable;
use super::schema::{Kind, Source};
use super::transaction::{Began, Transaction};

const TYPES_MAX: usize = 5;
const LEVELS_MAX: usize = 5;

/// A record of one level, taken apart.
struct Node {
    reference: String,
    table: usize,
    fields: Fields,
    /// The parent's place in the level above, and the field that points at it.
    parent: Option<(usize, String)>,
}

pub(crate) fn tree(
    org: &mut Org,
    call: &Call,
    began: &Began,
    object: &str,
) -> Result<Answer, ApiError> {
    if call.method != "POST" {
        return Err(ApiError::method_not_allowed());
    }
    writable(org, object)?;
    let mut body = call.json()?;
    let levels = match levels(org, object, body["records"].take()) {
        Ok(levels) => levels,
        Err((reference, error)) => return Ok(refused(vec![(reference, error)])),
    };
    let mut transaction = Transaction::new(org, began);
    let start = transaction.mark();
    let mut done: Vec<(String, Id)> = Vec::new();
    let mut above: Vec<Id> = Vec::new();
    for level in levels {
        let mut ids = Vec::with_capacity(level.len());
        let mut failed = Vec::new();
        for Node {
            reference,
            table,
            mut fields,
            parent,
        } in level
        {
            if let Some((place, link)) = parent {
                fields.insert(link, json!(above[place].to_string()));
            }
            match transaction.create(table, &fields) {
                Ok(id) => {
                    ids.push(id);
                    done.push((reference, id));
                }
                Err(refusal) => failed.push((reference, refusal.of_row())),
            }
        }
        if !failed.is_empty() {
            transaction.rollback(start);
            transaction.commit()?;
            return Ok(refused(failed));
        }
        above = ids;
    }
    transaction.commit()?;
    let results: Vec<Value> = done
        .into_iter()
        .map(|(reference, id)| json!({"referenceId": reference, "id": id.to_string()}))
        .collect();
    Ok(Answer::json(
        201,
        json!({"hasErrors": false, "results": results}),
    ))
}

/// Only those that failed are told.
fn refused(failed: Vec<(String, RowError)>) -> Answer {
    let results: Vec<Value> = failed
        .into_iter()
        .map(|(reference, error)| json!({"referenceId": reference, "errors": [error]}))
        .collect();
    Answer::json(400, json!({"hasErrors": true, "results": results}))
}

type Wrong = (String, RowError);

/// Records level by level, or which of them makes no sense.
fn levels(org: &Org, object: &str, roots: Value) -> Result<Vec<Vec<Node>>, Wrong> {
    let mut references = HashSet::new();
    let mut tables = HashSet::new();
    let mut levels: Vec<Vec<Node>> = Vec::new();
    let mut next = vec![(Value::Null, None, roots)];
    loop {
        let mut level = Vec::new();
        let mut below = Vec::new();
        for (link, parent, records) in next {
            let Value::Array(records) = records else {
                return Err(wrong("", "Include a list of records in the request."));
            };
            for record in records {
                let (node, children) = node(org, object, &link, parent, record)?;
                if !references.insert(node.reference.clone()) {
                    let message = "Duplicate ReferenceId provided in the request.";
                    return Err(wrong(&node.reference, message));
                }
                tables.insert(node.table);
                let place = level.len();
                level.push(node);
                below.extend(
                    children
                        .into_iter()
                        .map(|(link, records)| (link, Some(place), records)),
                );
            }
        }
        if level.is_empty() {
            return Ok(levels);
        }
        levels.push(level);
        if references.len() > ROWS_MAX || tables.len() > TYPES_MAX || levels.len() > LEVELS_MAX {
            let message = format!(
                "The request has more than {ROWS_MAX} records, {TYPES_MAX} types or {LEVELS_MAX} levels"
            );
            return Err(wrong("", &message));
        }
        next = below;
    }
}

/// A record without its children, and these with the field that makes them so.
#[allow(clippy::type_complexity, reason = "it is taken apart at once")]
fn node(
    org: &Org,
    root: &str,
    link: &Value,
    parent: Option<usize>,
    record: Value,
) -> Result<(Node, Vec<(Value, Value)>), Wrong> {
    let Value::Object(record) = record else {
        return Err(wrong("", "A record has to be an object."));
    };
    let attributes = record.get("attributes").cloned().unwrap_or_default();
    let reference = attributes["referenceId"].as_str().unwrap_or_default();
    if reference.is_empty() {
        return Err(wrong(
            "",
            "Include a reference ID for each record in the request.",
        ));
    }
    let object = attributes["type"].as_str().unwrap_or_default();
    let table = writable(org, object)
        .map_err(|_| wrong(reference, &format!("Unknown sobject type: '{object}'")))?;
    if parent.is_none() && !object.eq_ignore_ascii_case(root) {
        return Err(wrong(
            reference,
            "The type of the record is not that of the URL.",
        ));
    }
    let mut fields = Map::new();
    let mut children = Vec::new();
    for (name, value) in record {
        match (child_link(org, table, &name), value) {
            (Some(link), Value::Object(mut nested)) if nested.contains_key("records") => {
                let records = nested.remove("records").unwrap_or_default();
                children.push((json!(link), records));
            }
            (_, value) => {
                fields.insert(name, value);
            }
        }
    }
    let parent = parent.zip(link.as_str().map(str::to_owned));
    let node = Node {
        reference: reference.to_owned(),
        table,
        fields,
        parent,
    };
    Ok((node, children))
}

/// The field of the children that `Contacts` or the like names.
fn child_link(org: &Org, table: usize, name: &str) -> Option<String> {
    let parent = &org.tables[table].object.name;
    let mut tables = org.tables.iter();
    let child = tables.find(|child| child.object.plural.eq_ignore_ascii_case(name))?;
    let links = |kind: &Kind| matches!(kind, Kind::Reference { to } if to == parent);
    let mut fields = child.object.visible();
    let link =
        fields.find(|field| matches!(field.source, Source::Cell(_)) && links(&field.kind))?;
    Some(link.name.clone())
}

fn wrong(reference: &str, message: &str) -> Wrong {
    (
        reference.to_owned(),
        RowError::new("INVALID_INPUT", message),
    )
}
