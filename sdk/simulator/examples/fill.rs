//! What a large org costs: `cargo run -p tidegate-simulator --example fill -- bulk 1000000` (or `collections`).
//!
//! Fills an org through its face, then lets it live for a while: upserts by external id, and queries for what has
//! changed. Prints one JSON object: records per second, resident bytes per record, milliseconds per call.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kit::{Client, Org};
use serde_json::{Value, json};
use tidegate_simulator::salesforce::Options;

const BASE: &str = "/services/data/v60.0";
const JOB_ROWS: usize = 100_000;
const CALL_ROWS: usize = 200;
const LIVE_CALLS: usize = 200;

#[allow(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let way = arguments.next().context("say bulk or collections")?;
    let records: usize = arguments.next().context("say how many records")?.parse()?;
    let org = Org::start(Options {
        daily_limit: u64::MAX / 200,
        ..Options::default()
    });
    let client = org.client();
    let before = resident_bytes()?;
    let (filled, fill_ms) = timed(|| match way.as_str() {
        "bulk" => by_jobs(&org, &client, records),
        _ => by_collections(&client, records),
    });
    filled?;
    let resident = resident_bytes()? - before;
    let mut upsert_ms = 0.0;
    let mut query_ms = 0.0;
    for call in 0..LIVE_CALLS {
        org.simulator.advance_ms(60_000);
        let start = call * 7_919 % (records - CALL_ROWS);
        let (done, ms) = timed(|| collection(&client, start, "changed"));
        done?;
        upsert_ms += ms;
        let since = "SELECT Id, LastName, SystemModstamp FROM Contact WHERE SystemModstamp >= ";
        let stamp = changed_stamp(&org);
        let soql = format!("{since}{stamp} ORDER BY SystemModstamp, Id LIMIT 2000");
        let (found, ms) = timed(|| client.query(&soql));
        ensure!(found["totalSize"] == CALL_ROWS, "{found}");
        query_ms += ms;
    }
    let figures = json!({
        "way": way, "records": records,
        "records_per_second": (records as f64 / fill_ms * 1_000.0) as u64,
        "resident_bytes_per_record": resident / records,
        "upsert_of_200_ms": upsert_ms / LIVE_CALLS as f64,
        "query_of_changes_ms": query_ms / LIVE_CALLS as f64,
    });
    println!("{figures}");
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the machine's time is measured")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed().as_secs_f64() * 1_000.0)
}

fn changed_stamp(org: &Org) -> String {
    let now_ms = org.simulator.now_ms();
    let minutes = now_ms / 60_000 % 60;
    let hours = now_ms / 3_600_000 % 24;
    let day = 1 + (now_ms - kit::START_MS) / 86_400_000;
    format!("2026-03-{day:02}T{hours:02}:{minutes:02}:00Z")
}

fn record(row: usize, last: &str) -> [(&'static str, String); 8] {
    [
        ("Tidegate_Id__c", format!("person-{row}")),
        ("LastName", format!("{last} {row}")),
        ("FirstName", format!("First {}", row % 977)),
        ("Email", format!("person.{row}@example.com")),
        ("Phone", format!("+44 20 7946 {:04}", row % 10_000)),
        ("MailingCity", format!("City {}", row % 211)),
        ("MailingCountry", "United Kingdom".to_owned()),
        ("Score__c", format!("{}.25", row % 1_000)),
    ]
}

fn by_jobs(org: &Org, client: &Client, records: usize) -> Result<()> {
    let jobs = format!("{BASE}/jobs/ingest");
    let asked = json!({"object": "Contact", "operation": "upsert", "externalIdFieldName": "Tidegate_Id__c"});
    for start in (0..records).step_by(JOB_ROWS) {
        let rows = start..records.min(start + JOB_ROWS);
        let count = rows.len();
        let mut file = record(0, "").map(|(name, _)| name).join(",");
        for row in rows {
            file.push('\n');
            for (place, (_, value)) in record(row, "Last").iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                write!(file, "{comma}{value}")?;
            }
        }
        let job = client.json("POST", &jobs, &asked).json();
        let job = format!("{jobs}/{}", job["id"].as_str().context("an id")?);
        let csv = [("content-type", "text/csv")];
        client.send("PUT", &format!("{job}/batches"), &csv, file.as_bytes())?;
        drop(file);
        client.json("PATCH", &job, &json!({"state": "UploadComplete"}));
        org.simulator.advance_ms(60 * 60 * 1_000);
        let info = client.json("GET", &job, &Value::Null).json();
        let done = info["numberRecordsProcessed"] == count && info["numberRecordsFailed"] == 0;
        ensure!(done && info["state"] == "JobComplete", "{info}");
        let results = client.json("GET", &format!("{job}/successfulResults"), &Value::Null);
        ensure!(
            results.text().lines().count() == count + 1,
            "results are missing"
        );
        client.json("DELETE", &job, &Value::Null);
    }
    Ok(())
}

fn by_collections(client: &Client, records: usize) -> Result<()> {
    (0..records)
        .step_by(CALL_ROWS)
        .try_for_each(|start| collection(client, start, "Last"))
}

fn collection(client: &Client, start: usize, last: &str) -> Result<()> {
    let rows: Vec<Value> = (start..start + CALL_ROWS)
        .map(|row| {
            let mut fields = json!({"attributes": {"type": "Contact"}});
            for (name, value) in record(row, last) {
                fields[name] = json!(value);
            }
            fields
        })
        .collect();
    let path = format!("{BASE}/composite/sobjects/Contact/Tidegate_Id__c");
    let done = client
        .json("PATCH", &path, &json!({"records": rows}))
        .json();
    let outcomes = done.as_array().context("outcomes")?;
    ensure!(outcomes.iter().all(|row| row["success"] == true), "{done}");
    Ok(())
}

fn resident_bytes() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kilobytes.context("VmRSS")?.parse::<usize>()? * 1024)
}
