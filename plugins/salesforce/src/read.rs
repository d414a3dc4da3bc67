//! Records as they are now, by id or by a key field.

use serde_json::json;
use serde_json::value::RawValue;
use tidegate_sdk::{ChangeSet, Fault, Http, Level, Packed, Request, Selection};

use crate::org::Org;
use crate::rows::{Answered, Record, Rows};
use crate::shape::{Misfits, Shape, shaped};
use crate::{id, soql};

/// Ids that one request may ask for.
const IDS_MAX: usize = 2_000;

/// What was found. One request for every 2,000 ids, or for as many keys as an address holds.
pub(crate) fn read(
    org: &Org<'_>,
    selection: Selection,
    by: Option<&str>,
    keys: &Packed,
) -> Result<ChangeSet, Fault> {
    soql::check_name(&selection.object)?;
    let mut selection = selection;
    if let Some(field) = by
        && !selection.fields.iter().any(|name| name == field)
    {
        selection.fields.push(field.to_owned());
    }
    let found = shaped(org, &selection, None, &|shape, misfits| match by {
        None => by_id(org, &selection, shape, misfits, keys),
        Some(field) => by_key(org, &selection, shape, misfits, field, keys),
    })?;
    Ok(found.result)
}

fn by_id(
    org: &Org<'_>,
    selection: &Selection,
    shape: &Shape,
    misfits: Misfits,
    keys: &Packed,
) -> Result<ChangeSet, Fault> {
    let object = selection.object.as_str();
    // What can't be an id names no record, and would spoil the request for the others.
    let ids: Vec<&str> = keys.texts().filter(|key| id::has_form(key)).collect();
    let fields = shape.selected();
    let path = org.config.path(&format!("/composite/sobjects/{object}"));
    let requests = ids
        .chunks(IDS_MAX)
        .map(|ids| {
            let body = json!({ "ids": ids, "fields": fields });
            Http::post(&path).json(&body).map(Request::from)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let what = format!("the read of {object} by id");
    let answers = org
        .ask_all::<Vec<Option<Box<RawValue>>>>(&requests, &what)?
        .answers;
    let mut rows = Rows::new(org, object, shape, misfits);
    for (asked, answer) in ids.chunks(IDS_MAX).zip(answers) {
        let records = answer?.body;
        if records.len() != asked.len() {
            return Err(Fault::broken(
                "wrong-row-count",
                format!(
                    "{what}: {} records were asked for and {} answered",
                    asked.len(),
                    records.len()
                ),
            ));
        }
        for (asked, raw) in asked.iter().zip(records) {
            let Some(raw) = raw else {
                continue;
            };
            let record = Record::read(&raw, shape)?;
            if record.id == id::canonical(asked) {
                rows.upsert(&record)?;
            } else {
                let line = format!(
                    "{object} {asked}: Salesforce answered with {} instead; it counts as not found",
                    record.id
                );
                org.gateway.log(Level::Warn, &line);
            }
        }
    }
    Ok(rows.set.finish())
}

fn by_key(
    org: &Org<'_>,
    selection: &Selection,
    shape: &Shape,
    misfits: Misfits,
    field: &str,
    keys: &Packed,
) -> Result<ChangeSet, Fault> {
    let object = selection.object.as_str();
    let Some((_, kind)) = shape.columns.iter().find(|(name, _)| name == field) else {
        return Err(Fault::config(
            "key-not-visible",
            format!("{object}.{field} does not exist or may not be seen by the run-as user"),
        ));
    };
    let literals: Vec<String> = keys.texts().filter_map(|key| kind.literal(key)).collect();
    let columns = shape.selected().join(", ");
    let mut requests: Vec<Request> = soql::by_key(object, &columns, field, &literals)
        .iter()
        .map(|query| {
            soql::check_length(query, object)?;
            Ok(org.query(query).into())
        })
        .collect::<Result<_, Fault>>()?;
    let what = format!("the query of {object} by {field}");
    let mut rows = Rows::new(org, object, shape, misfits);
    // A page that another one follows names it; those that follow are asked for together as well.
    while !requests.is_empty() {
        let mut following = Vec::new();
        for answer in org.ask_all::<Answered>(&requests, &what)?.answers {
            let answered = answer?.body;
            for raw in &answered.records {
                rows.upsert(&Record::read(raw, shape)?)?;
            }
            if !answered.done {
                following.push(next_page(answered, &what)?);
            }
        }
        requests = following;
    }
    Ok(rows.set.finish())
}

fn next_page(answered: Answered, what: &str) -> Result<Request, Fault> {
    match answered.next_records_url {
        Some(path) => Ok(Http::get(path).into()),
        None => Err(Fault::broken(
            "page-without-next",
            format!("{what}: Salesforce says that there is more, but not where"),
        )),
    }
}
