//! Other ways to get a database into an org, each with an empty org of its own that is set up the same.
//!
//! They do less than the host: they keep neither the ids that the org gives nor anything to go on from, and know nothing
//! of what comes back. What they read and write is the same: [`ROWS`] are the fields that the host's mapping makes.
//!
//! The way to the simulated org takes no time, so the speeds say nothing of a real one, where each call waits for its
//! answer; calls and processor time do.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidegate::demo::{Ground, Phase, Scene as Stage, cpu_seconds};
use tidegate_tests::built;
use tokio::runtime::Runtime;

use crate::race::timed;

/// Contacts, from the database.
const ROWS: &str = "
SELECT CAST(id AS TEXT) AS Tidegate_Id__c, first_name AS FirstName, last_name AS LastName, email AS Email, phone AS Phone,
       birthdate AS Birthdate, notes AS Description, score AS Score__c,
       CASE active WHEN 1 THEN 'true' ELSE 'false' END AS Active__c, replace(joined, ' ', 'T') || 'Z' AS Joined__c,
       postcode AS MailingPostalCode,
       CASE status WHEN 'N' THEN 'new' WHEN 'A' THEN 'active' WHEN 'P' THEN 'paused' WHEN 'C' THEN 'closed' END AS Status__c
FROM people ORDER BY id";

/// How one of them fared.
#[derive(Serialize)]
pub(crate) struct Filled {
    pub(crate) name: &'static str,
    pub(crate) records: u64,
    /// Until the last record was written; the start of the host or of Python is part of it.
    pub(crate) written_s: f64,
    pub(crate) records_per_second: f64,
    /// Of the client alone.
    pub(crate) cpu_us_per_record: f64,
    pub(crate) api_calls: u64,
}

impl Filled {
    fn new(name: &'static str, records: u64, written_s: f64, cpu_s: f64, api_calls: u64) -> Self {
        Self {
            name,
            records,
            written_s,
            records_per_second: records as f64 / written_s,
            cpu_us_per_record: cpu_s * 1e6 / records as f64,
            api_calls,
        }
    }

    pub(crate) fn by_tidegate(first_sync: Phase) -> Self {
        Self::new(
            "tidegate, first sync",
            first_sync.records,
            first_sync.written_s,
            first_sync.cpu_s,
            first_sync.api_calls,
        )
    }
}

type Fill = fn(&Runtime, &Ground) -> Result<Spent>;

/// What a client took, as far as the org does not know it.
struct Spent {
    written_s: f64,
    cpu_s: f64,
}

const CONTENDERS: [(&str, Fill); 3] = [
    ("a plain loop, one call a record", one_by_one),
    ("simple-salesforce, Bulk 2.0, job by job", |_, ground| {
        in_jobs(ground, 1)
    }),
    (
        "simple-salesforce, Bulk 2.0, ten jobs at once",
        |_, ground| in_jobs(ground, 10),
    ),
];

/// All of them, one after the other.
pub(crate) fn fill(stage: &Stage) -> Result<Vec<Filled>> {
    // One thread, as the loop has it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    CONTENDERS
        .into_iter()
        .map(|(name, fill)| {
            let filled = filled(&runtime, stage, name, fill);
            filled.with_context(|| name.to_owned())
        })
        .collect()
}

fn filled(runtime: &Runtime, stage: &Stage, name: &'static str, fill: Fill) -> Result<Filled> {
    let ground = runtime.block_on(Ground::lay(stage))?;
    let before = runtime.block_on(ground.api_calls())?;
    let Spent { written_s, cpu_s } = fill(runtime, &ground)?;
    let api_calls = runtime.block_on(ground.api_calls())? - before;
    let contacts = runtime.block_on(ground.contacts())?;
    let records = u64::from(stage.records);
    ensure!(
        contacts == records,
        "{contacts} of {records} records are in the org"
    );
    Ok(Filled::new(name, records, written_s, cpu_s, api_calls))
}

/// What is written first: a request for each record, one after the other, over one connection.
fn one_by_one(runtime: &Runtime, ground: &Ground) -> Result<Spent> {
    let cpu_s = cpu_seconds(std::process::id());
    let work = post_each(ground);
    let (written_s, done) = timed(|| runtime.block_on(work));
    done?;
    Ok(Spent {
        written_s,
        cpu_s: cpu_seconds(std::process::id()) - cpu_s,
    })
}

async fn post_each(ground: &Ground) -> Result<()> {
    let (id, secret) = ground.credentials();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
    ];
    let http = Client::new();
    let login = format!("{}/services/oauth2/token", ground.org());
    let answer: Value = http.post(login).form(&form).send().await?.json().await?;
    let token = answer["access_token"].as_str().context("no token")?;
    let url = format!("{}/services/data/v60.0/sobjects/Contact", ground.org());
    let database = Connection::open(ground.database())?;
    let mut statement = database.prepare(ROWS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let contact = contact(row)?;
        let request = http.post(&url).bearer_auth(token).json(&contact);
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{status}: {text}");
    }
    Ok(())
}

fn contact(row: &rusqlite::Row<'_>) -> Result<Map<String, Value>> {
    let mut contact = Map::new();
    for (place, name) in row.as_ref().column_names().enumerate() {
        let value = match row.get_ref(place)? {
            ValueRef::Null | ValueRef::Blob(_) => continue,
            ValueRef::Integer(number) => json!(number),
            ValueRef::Real(number) => json!(number),
            ValueRef::Text(text) if name == "Active__c" => json!(text == b"true"),
            ValueRef::Text(text) => json!(std::str::from_utf8(text)?),
        };
        contact.insert(name.to_owned(), value);
    }
    Ok(contact)
}

/// What the script says of itself.
#[derive(Deserialize)]
struct Inserted {
    records: u64,
    failed: u64,
    cpu_s: f64,
}

/// As the library's own description has it: batches of 10,000 records, and so many jobs at once.
fn in_jobs(ground: &Ground, jobs: u32) -> Result<Spent> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/bulk_insert.py");
    let (id, secret) = ground.credentials();
    let mut command = Command::new(built::python());
    command
        .arg("-B")
        .arg(script)
        .args([ground.org(), id, secret])
        .arg(ground.database())
        .args([ROWS, &jobs.to_string()]);
    let (written_s, output) = timed(|| command.output());
    let output = output.context("starting Python")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", output.status);
    let inserted: Inserted = serde_json::from_slice(&output.stdout)?;
    ensure!(
        inserted.failed == 0,
        "{} of {} records were refused",
        inserted.failed,
        inserted.records
    );
    Ok(Spent {
        written_s,
        cpu_s: inserted.cpu_s,
    })
}
