//! Bulk jobs at a size and beside other calls; what one job says is in `tests/cases/bulk.json`.

mod kit;

use std::collections::BTreeSet;

use kit::{Client, Org, Reply, START_MS};
use serde_json::{Value, json};
use tidegate_simulator::salesforce::{ClockMode, Fault, Options, Simulator, When};

const JOBS: &str = "/services/data/v60.0/jobs/ingest";
const CONTACTS: &str = "/services/data/v60.0/sobjects/Contact";

fn closed(client: &Client, asked: &Value, file: &str) -> String {
    let created = client.json("POST", JOBS, asked).json();
    let id = created["id"].as_str().expect("an id").to_owned();
    let uploaded = client.send(
        "PUT",
        &format!("{JOBS}/{id}/batches"),
        &[("content-type", "text/csv")],
        file.as_bytes(),
    );
    assert_eq!(uploaded.expect("an answer").status, 201);
    let done = json!({"state": "UploadComplete"});
    assert_eq!(
        client.json("PATCH", &format!("{JOBS}/{id}"), &done).status,
        200
    );
    id
}

fn got(client: &Client, path: &str) -> Reply {
    client.json("GET", &format!("{JOBS}/{path}"), &Value::Null)
}

fn inserts() -> Value {
    json!({"object": "Contact", "operation": "insert"})
}

#[test]
fn ten_thousand_rows_and_more_come_in_chunks_and_cost_two_batches() {
    const ROWS: usize = 10_201;
    let org = Org::start(Options::default());
    let client = org.client();
    let mut file = "LastName,Tidegate_Id__c\n".to_owned();
    for row in 0..ROWS {
        file += &format!("name {row},{row}\n");
    }
    let id = closed(&client, &inserts(), &file);
    org.simulator.advance_ms(1_000);
    for chunks in [0, 1, 2, 3] {
        let info = got(&client, &id).json();
        assert_eq!(info["state"], "InProgress");
        assert_eq!(info["numberRecordsProcessed"], chunks * 200);
        assert_eq!(org.simulator.journal(0).len(), chunks * 200);
        org.simulator.advance_ms(50);
    }
    org.simulator.advance_ms(60_000);
    let info = got(&client, &id).json();
    assert_eq!(info["state"], "JobComplete");
    assert_eq!(info["numberRecordsProcessed"], ROWS);
    assert_eq!(org.simulator.stats()["windows"]["bulk_batches"]["used"], 2);
    let results = got(&client, &format!("{id}/successfulResults")).text();
    let keys: Vec<usize> = results
        .lines()
        .skip(1)
        .map(|line| {
            line.split('"')
                .nth(5)
                .expect("a key")
                .parse()
                .expect("a number")
        })
        .collect();
    assert_eq!(keys.len(), ROWS);
    assert!(!keys.is_sorted() && !keys.iter().rev().is_sorted());
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), ROWS);
    let journal = org.simulator.journal(0);
    assert!(
        journal
            .iter()
            .all(|entry| entry.request == journal[0].request)
    );
    assert_eq!(journal[0].at_ms, START_MS + 1_000);
    assert_eq!(journal[200].at_ms, START_MS + 1_050);
}

/// The hazard: rows are stamped when their chunk begins and visible when it ends.
#[test]
fn nothing_is_covered_that_a_chunk_may_still_bring() {
    let org = Org::start(Options {
        bulk_chunk_ms: 90_000,
        ..Options::default()
    });
    let client = org.client();
    closed(&client, &inserts(), "LastName\na\n");
    org.simulator.advance_ms(61_000);
    let covered = || {
        let window = "start=2026-03-01T09:00:00Z&end=2026-03-01T10:30:00Z";
        client
            .json("GET", &format!("{CONTACTS}/updated?{window}"), &Value::Null)
            .json()
    };
    assert_eq!(covered()["ids"], json!([]));
    assert_eq!(
        covered()["latestDateCovered"],
        "2026-03-01T10:00:01.000+0000"
    );
    org.simulator.advance_ms(60_000);
    assert_eq!(covered()["ids"].as_array().expect("ids").len(), 1);
    assert_eq!(
        covered()["latestDateCovered"],
        "2026-03-01T10:02:01.000+0000"
    );
    let found = client.query("SELECT SystemModstamp FROM Contact");
    assert_eq!(
        found["records"][0]["SystemModstamp"],
        "2026-03-01T10:00:01.000+0000"
    );
}

#[test]
fn a_chunk_locks_the_parents_of_its_rows() {
    let org = Org::start(Options {
        faults: vec![(Fault::LockSiblings, When::Rate(1.0))],
        ..Options::default()
    });
    let client = org.client();
    let account = client.json(
        "POST",
        "/services/data/v60.0/sobjects/Account",
        &json!({"Name": "p"}),
    );
    let parent = account.json()["id"].as_str().expect("an id").to_owned();
    let file = format!("LastName,AccountId\na,{parent}\n");
    let first = closed(&client, &inserts(), &file);
    let second = closed(&client, &inserts(), &file);
    org.simulator.advance_ms(1_000);
    let child = json!({"LastName": "child", "AccountId": parent});
    let refused = client.json("POST", CONTACTS, &child).json();
    assert_eq!(refused[0]["errorCode"], "UNABLE_TO_LOCK_ROW");
    org.simulator.advance_ms(50);
    assert_eq!(got(&client, &first).json()["numberRecordsFailed"], 0);
    assert_eq!(got(&client, &second).json()["numberRecordsFailed"], 1);
    let failed = got(&client, &format!("{second}/failedResults")).text();
    assert!(failed.contains(&format!("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: {parent}:--")), "{failed}");
    assert_eq!(client.json("POST", CONTACTS, &child).status, 201);
}

#[test]
fn where_the_clock_runs_a_job_comes_along_unasked() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = Options {
        clock: ClockMode::Fast { speed: 1_000 },
        ..Options::default()
    };
    let simulator = runtime
        .block_on(Simulator::start(options))
        .expect("a simulator");
    let client = Client::to(simulator.base_url());
    closed(
        &client,
        &inserts(),
        &format!("LastName\n{}", "a\n".repeat(1_000)),
    );
    kit::until("all rows of the job", || {
        simulator.journal(0).len() == 1_000
    });
}
