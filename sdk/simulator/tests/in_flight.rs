//! What only shows while calls overlap; time is driven, nothing sleeps.

mod kit;

use std::thread;

use kit::{Client, Org, START_MS, until};
use serde_json::{Value, json};
use tidegate_simulator::salesforce::{Fault, Options, When};

const CONTACTS: &str = "/services/data/v60.0/sobjects/Contact";

fn await_in_flight(org: &Org, calls: usize) {
    until("calls in flight", || {
        org.simulator.calls_in_flight() >= calls
    });
}

fn in_background(
    client: &Client,
    method: &'static str,
    target: String,
    body: Value,
) -> thread::JoinHandle<Value> {
    let client = client.clone();
    thread::spawn(move || client.json(method, &target, &body).json())
}

/// The hazard: a row's stamp is set when its transaction starts, and becomes visible behind a cursor that has moved on.
#[test]
fn a_stamp_becomes_visible_late() {
    let org = Org::start(Options {
        seed: 7,
        late_visible_ms_max: 600_000,
        ..Options::default()
    });
    let client = org.client();
    let write = in_background(
        &client,
        "POST",
        CONTACTS.to_owned(),
        json!({"LastName": "late"}),
    );
    await_in_flight(&org, 1);
    org.simulator.advance_ms(1_000);
    let cursor = "SELECT Id FROM Contact WHERE SystemModstamp >= 2026-03-01T10:00:01Z";
    assert_eq!(client.query(cursor)["totalSize"], 0);
    let window = "start=2026-03-01T09:00:00Z&end=2026-03-01T10:30:00Z";
    let updated = client.json("GET", &format!("{CONTACTS}/updated?{window}"), &Value::Null);
    assert_eq!(
        updated.json()["latestDateCovered"],
        "2026-03-01T10:00:00.000+0000",
        "nothing later is covered while a transaction is in flight"
    );
    org.simulator.advance_ms(600_000);
    assert_eq!(write.join().expect("a writer")["success"], true);
    assert_eq!(client.query(cursor)["totalSize"], 0, "behind the cursor");
    let overlap =
        "SELECT Id, SystemModstamp FROM Contact WHERE SystemModstamp >= 2026-03-01T09:50:00Z";
    let found = client.query(overlap);
    assert_eq!(
        found["records"][0]["SystemModstamp"],
        "2026-03-01T10:00:00.000+0000"
    );
}

#[test]
fn siblings_lock_their_parent() {
    let org = Org::start(Options {
        slow_ms: 5_000,
        faults: vec![(Fault::LockSiblings, When::Rate(1.0))],
        ..Options::default()
    });
    let client = org.client();
    let parents: Vec<String> = ["one", "other"]
        .map(|name| {
            let account = json!({"Name": name});
            let reply = client.json("POST", "/services/data/v60.0/sobjects/Account", &account);
            reply.json()["id"].as_str().expect("an id").to_owned()
        })
        .to_vec();
    let create = |parent: &str| json!({"LastName": "child", "AccountId": parent});
    org.simulator.set_fault(Fault::Slow, When::Next(1));
    let first = in_background(&client, "POST", CONTACTS.to_owned(), create(&parents[0]));
    await_in_flight(&org, 1);
    let second = client.json("POST", CONTACTS, &create(&parents[0]));
    assert_eq!(second.status, 400);
    assert_eq!(second.json()[0]["errorCode"], "UNABLE_TO_LOCK_ROW");
    assert!(second.text().contains(&parents[0]), "{}", second.text());
    assert_eq!(
        client.json("POST", CONTACTS, &create(&parents[1])).status,
        201
    );
    org.simulator.advance_ms(5_000);
    assert_eq!(first.join().expect("a writer")["success"], true);
    assert_eq!(
        client.json("POST", CONTACTS, &create(&parents[0])).status,
        201
    );
}

#[test]
fn long_calls_have_a_limit_and_short_ones_have_none() {
    let org = Org::start(Options {
        slow_ms: 60_000,
        long_calls_max: 2,
        faults: vec![(Fault::Slow, When::Next(2))],
        ..Options::default()
    });
    let client = org.client();
    let limits = "/services/data/v60.0/limits";
    let slow: Vec<_> = (0..2)
        .map(|_| in_background(&client, "GET", limits.to_owned(), Value::Null))
        .collect();
    await_in_flight(&org, 2);
    org.simulator.advance_ms(19_999);
    assert_eq!(client.json("GET", limits, &Value::Null).status, 200);
    org.simulator.advance_ms(1);
    let refused = client.json("GET", limits, &Value::Null);
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()[0]["errorCode"], "REQUEST_LIMIT_EXCEEDED");
    assert_eq!(
        refused.json()[0]["message"],
        "ConcurrentPerOrgLongTxn Limit exceeded."
    );
    org.simulator.advance_ms(40_000);
    for call in slow {
        call.join().expect("a slow call");
    }
    assert_eq!(client.json("GET", limits, &Value::Null).status, 200);
    let stats = org.simulator.stats();
    assert_eq!(stats["windows"]["long_calls"]["most"], 2);
    assert_eq!(stats["windows"]["long_calls"]["refused"], 1);
}

/// A client that goes away changes nothing: the write still happens, and the journal tells.
#[test]
fn a_write_outlives_its_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("journal.jsonl");
    let org = Org::start(Options {
        journal: Some(file.clone()),
        slow_ms: 1_000,
        faults: vec![(Fault::Slow, When::Next(1))],
        ..Options::default()
    });
    let client = org.client();
    let body = json!({"LastName": "orphan", "Tidegate_Id__c": "7"});
    let connection = client
        .send_only("POST", CONTACTS, body.to_string().as_bytes())
        .expect("a request");
    await_in_flight(&org, 1);
    drop(connection);
    assert_eq!(org.simulator.journal(0).len(), 0);
    org.simulator.advance_ms(1_000);
    until("an entry", || !org.simulator.journal(0).is_empty());
    let entry = &org.simulator.journal(0)[0];
    assert_eq!(
        (entry.seq, entry.at_ms, entry.op.as_str()),
        (1, START_MS, "create")
    );
    assert_eq!(entry.external_ids["Tidegate_Id__c"], "7");
    assert_eq!(entry.client, "kit");
    let lines = std::fs::read_to_string(&file).expect("the journal");
    let written: Value = serde_json::from_str(lines.trim_end()).expect("one line");
    assert_eq!(written, serde_json::to_value(entry).expect("an entry"));
}
