//! Every record of a large object by a Bulk API query job: larger pages than a query's, in any order.
//!
//! A job's results are read page by page and kept for a week. A job that fails, or that Salesforce has lost, is told
//! by [`Step::Over`], and the snapshot starts again by queries: records come twice then, which is allowed.

use csv::{ByteRecord, ReaderBuilder};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use tidegate_sdk::{ChangeSet, Fault, FaultKind, Http, HttpResponse, Level, Selection};

use crate::answer;
use crate::cursor::Place;
use crate::id;
use crate::kind::Kind;
use crate::org::Org;
use crate::rows::{Record, Rows};
use crate::shape::{Misfits, Shape};
use crate::soql;

/// What one pull found.
pub(crate) enum Step {
    /// The job is at work: nothing to read before so many milliseconds have passed.
    Wait(Place, u32),
    /// A page, and where the next one is.
    Page(Vec<ChangeSet>, Option<Place>),
    /// The job can't be read on.
    Over,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct Told {
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    total_size: u64,
}

/// Whether a job can bring these fields. It knows neither compound fields nor contents of files.
pub(crate) fn fits(shape: &Shape) -> bool {
    let kinds = shape.columns.iter().map(|(_, kind)| *kind);
    kinds
        .into_iter()
        .all(|kind| !matches!(kind, Kind::Json | Kind::Bytes))
}

/// How many records there are.
pub(crate) fn count(org: &Org<'_>, object: &str) -> Result<u64, Fault> {
    let what = format!("the count of {object}");
    let counted = org.ask::<Counted>(org.query(&soql::count(object)), &what)?;
    Ok(counted.body.total_size)
}

/// A new job; `None` when Salesforce does not want one for this object. It changes nothing, so making it twice does no
/// harm.
pub(crate) fn make(
    org: &Org<'_>,
    selection: &Selection,
    shape: &Shape,
) -> Result<Option<Place>, Fault> {
    let object = selection.object.as_str();
    let what = format!("the making of a query job for {object}");
    let body = json!({
        "operation": "query",
        "query": soql::everything(object, &shape.selected().join(", ")),
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    });
    let http = Http::post(org.config.path("/jobs/query")).json(&body)?;
    match org.ask::<Made>(http, &what) {
        Ok(made) if id::has_form(&made.body.id) => Ok(Some(Place::Waiting {
            job: made.body.id,
            looks: 0,
        })),
        Ok(_) => Err(Fault::broken(
            "job-without-id",
            format!("{what}: Salesforce answered with something else than an id"),
        )),
        Err(fault) if matches!(fault.kind, FaultKind::Refused | FaultKind::Missing) => {
            let line = format!("{}; {object} is read by queries", fault.message);
            org.gateway.log(Level::Warn, &line);
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// How long until a job is worth a look.
pub(crate) fn pause_ms(looks: u32) -> u32 {
    const FIRST_MS: u32 = 2_000;
    const MOST_MS: u32 = 60_000;
    FIRST_MS.saturating_mul(1 << looks.min(5)).min(MOST_MS)
}

/// Looks at a job that was at work.
pub(crate) fn look(
    org: &Org<'_>,
    object: &str,
    shape: &Shape,
    misfits: Misfits,
    job: &str,
    looks: u32,
    limit: u32,
) -> Result<Step, Fault> {
    let what = format!("the state of query job {job}");
    let told = org.ask::<Told>(Http::get(path(org, job, "")), &what);
    let told = match told {
        Ok(told) => told.body,
        Err(fault) => return over(org, object, fault),
    };
    match told.state.as_str() {
        "JobComplete" => page(org, object, shape, misfits, job, None, limit),
        "Failed" | "Aborted" => {
            let line = format!(
                "query job {job} ended as {}; {object} is read from the beginning by queries",
                told.state
            );
            org.gateway.log(Level::Warn, &line);
            Ok(Step::Over)
        }
        _ => {
            let looks = looks.saturating_add(1);
            let job = job.to_owned();
            Ok(Step::Wait(Place::Waiting { job, looks }, pause_ms(looks)))
        }
    }
}

/// One page of a job's results.
pub(crate) fn page(
    org: &Org<'_>,
    object: &str,
    shape: &Shape,
    misfits: Misfits,
    job: &str,
    locator: Option<&str>,
    limit: u32,
) -> Result<Step, Fault> {
    let what = format!("the results of query job {job}");
    let mut http = Http::get(path(org, job, "/results"))
        .query("maxRecords", limit.to_string())
        .header("accept", "text/csv");
    if let Some(locator) = locator {
        http = http.query("locator", locator);
    }
    let response = tidegate_sdk::fetch(org.gateway, http)?.into_http()?;
    if !response.is_success() {
        return over(org, object, answer::fault(&response, &what));
    }
    let mut rows = Rows::new(org, object, shape, misfits);
    let found = read(&response, shape, &mut rows, &what)?;
    let told = response.header("sforce-numberofrecords");
    if told.and_then(|told| told.parse().ok()) != Some(found) {
        return Err(Fault::broken(
            "wrong-row-count",
            format!("{what}: a page has {found} records and says that it has another number"),
        ));
    }
    let next = match response.header("sforce-locator") {
        None | Some("null" | "") => None,
        Some(locator) => Some(Place::Reading {
            job: job.to_owned(),
            locator: Some(locator.to_owned()),
        }),
    };
    Ok(Step::Page(rows.changes(), next))
}

/// Adds the records of a page; how many they are.
fn read(
    response: &HttpResponse,
    shape: &Shape,
    rows: &mut Rows<'_>,
    what: &str,
) -> Result<usize, Fault> {
    let foreign = || answer::foreign(response, what);
    let mut reader = ReaderBuilder::new().from_reader(response.body.as_slice());
    let names: Vec<String> = reader
        .headers()
        .map_err(|_| foreign())?
        .iter()
        .map(str::to_owned)
        .collect();
    let kinds: Vec<Kind> = names
        .iter()
        .map(|name| {
            let mut columns = shape.columns.iter();
            let column = columns.find(|(column, _)| column == name);
            match name.as_str() {
                "IsDeleted" => Kind::Boolean,
                _ => column.map_or(Kind::Text, |(_, kind)| *kind),
            }
        })
        .collect();
    let mut record = ByteRecord::new();
    let mut found = 0;
    while reader
        .read_byte_record(&mut record)
        .map_err(|_| foreign())?
    {
        let mut fields = Map::with_capacity(names.len());
        for ((name, kind), cell) in names.iter().zip(&kinds).zip(&record) {
            let cell = std::str::from_utf8(cell).map_err(|_| foreign())?;
            fields.insert(name.clone(), kind.of_cell(cell));
        }
        respell(&mut fields, &shape.stamp);
        rows.upsert(&Record::of(fields, shape)?)?;
        found += 1;
    }
    Ok(found)
}

/// A job writes moments otherwise than a query, and the stamp is the record's version.
fn respell(fields: &mut Map<String, Json>, stamp: &str) {
    let moment = fields.get(stamp).and_then(Json::as_str);
    if let Some(us) = moment.and_then(crate::stamp::parse) {
        fields.insert(stamp.to_owned(), crate::stamp::field_text(us).into());
    }
}

/// What can pass leaves the place as it is.
fn over(org: &Org<'_>, object: &str, fault: Fault) -> Result<Step, Fault> {
    if !matches!(fault.kind, FaultKind::Refused | FaultKind::Missing) {
        return Err(fault);
    }
    let line = format!(
        "{}; {object} is read from the beginning by queries",
        fault.message
    );
    org.gateway.log(Level::Warn, &line);
    Ok(Step::Over)
}

fn path(org: &Org<'_>, job: &str, rest: &str) -> String {
    org.config.path(&format!("/jobs/query/{job}{rest}"))
}
