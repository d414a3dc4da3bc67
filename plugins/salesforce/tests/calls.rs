//! What things cost against the Salesforce simulator, which counts calls as Salesforce does.

mod wire;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use tidegate_plugin_salesforce::Salesforce;
use tidegate_sdk::{
    Advice, BatchBuilder, ChangeSet, ChangeStream, Connector, DataType, Group, OperationKind,
    Operations, Outcome, Reference, Selection, StreamKind,
};
use tidegate_simulator::salesforce::Options;
use wire::World;

const KEY: &str = "Tidegate_Id__c";
const OBJECTS: [(&str, &str); 5] = [
    ("Account", "Name"),
    ("Case", "Subject"),
    ("Contact", "LastName"),
    ("Lead", "LastName"),
    ("Opportunity", "Name"),
];

/// Every minute for a day, and nothing happens: the issue allows 1,500 calls, also for what is asked now and then.
#[test]
fn five_objects_polled_every_minute_cost_one_call_a_minute() {
    let world = World::new(Options::default());
    let mut cursors: Vec<Option<Vec<u8>>> = vec![None; OBJECTS.len()];
    look(&world, &mut cursors);
    let before = world.calls();
    for _ in 0..24 * 60 {
        world.simulator.advance_ms(60_000);
        assert_eq!(look(&world, &mut cursors), Vec::<usize>::new());
    }
    let calls = world.calls() - before;
    println!("{} objects for a day: {calls} calls", OBJECTS.len());
    assert_eq!(calls, 24 * 60);
    // What happens is seen by the next look.
    for (object, field) in OBJECTS {
        let body = record(object, field);
        let path = format!("/services/data/v60.0/sobjects/{object}");
        assert_eq!(
            world.wire.json("POST", &path, &body).status,
            201,
            "{object}"
        );
    }
    world.simulator.advance_ms(60_000);
    assert_eq!(look(&world, &mut cursors), vec![1; OBJECTS.len()]);
    assert_eq!(look(&world, &mut cursors), Vec::<usize>::new());
}

/// The rows that each stream brings, where there are any.
fn look(world: &World, cursors: &mut [Option<Vec<u8>>]) -> Vec<usize> {
    let streams = OBJECTS.iter().zip(&*cursors);
    let streams = streams.map(|((object, field), cursor)| ChangeStream {
        kind: StreamKind::Changes,
        selections: vec![Selection {
            object: (*object).to_owned(),
            fields: vec![(*field).to_owned(), KEY.to_owned()],
        }],
        cursor: cursor.clone(),
        rows_max: 2_000,
    });
    let pages = Salesforce::pull(&world.wire, &world.context(), streams.collect()).expect("pages");
    let mut found = Vec::new();
    for (page, cursor) in pages.into_iter().zip(cursors) {
        let page = page.expect("a page");
        assert_eq!(page.gap, None);
        let rows: usize = page.changes.iter().map(ChangeSet::len).sum();
        found.extend(Some(rows).filter(|rows| *rows > 0));
        *cursor = Some(page.cursor);
    }
    found
}

fn record(object: &str, field: &str) -> Json {
    let mut body = json!({ field: "A" });
    match object {
        "Lead" => body["Company"] = json!("B"),
        "Opportunity" => {
            body["StageName"] = json!("Prospecting");
            body["CloseDate"] = json!("2026-04-01");
        }
        _ => {}
    }
    body
}

/// One call tells of all that Salesforce keeps count of, and one more of what it has no figure for.
#[test]
fn many_objects_are_counted_in_two_calls() {
    let world = World::new(Options::default());
    let keys: Vec<u64> = (1..=300).collect();
    let group = upserts("Account", &keys, 0, |key| format!("name {key}"));
    push(&world, "composite", vec![group], Vec::new());
    let count = |objects: &[&str]| {
        let before = world.calls();
        let objects = objects.iter().map(|name| (*name).to_owned()).collect();
        let counts = Salesforce::count(&world.wire, &world.context(), objects).expect("counts");
        (counts, world.calls() - before)
    };
    assert_eq!(count(&["Account"]), (vec![Some(300)], 1));
    let all = [
        "Lead",
        "Account",
        "Nothing__c",
        "no name",
        "Contact",
        "Opportunity",
    ];
    let known = vec![Some(0), Some(300), None, None, Some(0), Some(0)];
    // The unknown one is asked for by itself when it has spoilt its part.
    assert_eq!(count(&all), (known, 3));
    assert_eq!(count(&[]), (vec![], 0));
}

#[test]
fn a_thousand_rows_are_one_call() {
    let world = World::new(Options::default());
    let keys: Vec<u64> = (1..=1_000).collect();
    let group = upserts("Account", &keys, 0, |key| format!("name {key} @{{not}}"));
    let before = world.calls();
    let plain = upserts("Account", &keys, 0, |key| format!("name {key}"));
    let written = push(&world, "composite", vec![plain], Vec::new());
    assert_eq!((written.len(), world.calls() - before), (1_000, 1));
    // A composite would read these as references: each collection goes by itself.
    let again = push(&world, "composite", vec![group], Vec::new());
    assert_eq!((again.len(), world.calls() - before), (1_000, 6));
    assert_eq!(again, written);
    let records = world.simulator.records("Account");
    assert!(records.iter().all(|record| {
        let key = record[KEY].as_str().expect("a key");
        record["Name"] == format!("name {key} @{{not}}")
    }));
}

/// Outcomes by token: the id, where the row was written.
fn push(
    world: &World,
    method: &str,
    groups: Vec<Group>,
    references: Vec<Reference>,
) -> BTreeMap<u64, String> {
    let tokens: BTreeSet<u64> = groups
        .iter()
        .flat_map(|group| group.tokens.clone())
        .collect();
    let operations = Operations {
        method: method.to_owned(),
        groups,
        references,
    };
    let progress = Salesforce::push(&world.wire, &world.context(), operations).expect("outcomes");
    let named: BTreeSet<u64> = progress.outcomes.iter().map(|row| row.token).collect();
    assert_eq!((named.len(), &named), (progress.outcomes.len(), &tokens));
    let written = progress
        .outcomes
        .into_iter()
        .filter_map(|row| match row.outcome {
            Outcome::Written(written) => Some((row.token, written.id)),
            Outcome::Refused(refusal) => {
                let passes = refusal.advice == Advice::Retry;
                assert!(passes || refusal.code == "STRING_TOO_LONG", "{refusal:?}");
                None
            }
            Outcome::Unknown(why) => panic!("row {}: {why}", row.token),
        });
    written.collect()
}

/// Tokens are the keys, plus `first`.
fn upserts(object: &str, keys: &[u64], first: u64, name: impl Fn(u64) -> String) -> Group {
    let field = if object == "Contact" {
        "LastName"
    } else {
        "Name"
    };
    let mut batch = BatchBuilder::new([(KEY, DataType::Text), (field, DataType::Text)]);
    for key in keys {
        let mut row = batch.row();
        row.set(KEY, key.to_string().as_str())
            .and_then(|row| row.set(field, name(*key).as_str()))
            .expect("columns");
    }
    Group {
        object: object.to_owned(),
        operation: OperationKind::Upsert,
        key: Some(KEY.to_owned()),
        tokens: keys.iter().map(|key| first + key).collect(),
        ids: keys.iter().map(|_| "").collect(),
        into: Default::default(),
        versions: keys.iter().map(|_| "").collect(),
        batch: batch.finish(),
    }
}

/// A tenth of the accounts is refused, each with all that hangs from it; what is left arrives whole.
#[test]
fn graphs_arrive_whole_or_not_at_all() {
    const ACCOUNTS: u64 = 60;
    let world = World::new(Options::default());
    let accounts: Vec<u64> = (1..=ACCOUNTS).collect();
    let contacts: Vec<u64> = (1..=5 * ACCOUNTS).collect();
    let is_refused = |account: u64| account.is_multiple_of(10);
    let name = |account: u64| match is_refused(account) {
        true => "x".repeat(300),
        false => format!("account {account}"),
    };
    let parent = |contact: u64| (contact - 1) % ACCOUNTS + 1;
    let references = contacts.iter().map(|contact| Reference {
        token: 1_000 + contact,
        field: "AccountId".to_owned(),
        target: parent(*contact),
    });
    let groups = vec![
        upserts("Account", &accounts, 0, name),
        upserts("Contact", &contacts, 1_000, |key| format!("contact {key}")),
    ];
    let before = world.calls();
    let written = push(&world, "graph", groups, references.collect());
    println!("{} rows in {} calls", 6 * ACCOUNTS, world.calls() - before);
    assert_eq!(world.calls() - before, 1);
    let good = accounts.iter().filter(|account| !is_refused(**account));
    assert_eq!(written.len(), 6 * good.count());
    let ids = |object: &str| -> BTreeMap<String, String> {
        let records = world.simulator.records(object);
        let text = |json: &Json| json.as_str().expect("text").to_owned();
        let ids = records.iter();
        ids.map(|record| (text(&record[KEY]), text(&record["Id"])))
            .collect()
    };
    for (key, id) in ids("Account") {
        assert_eq!(written.get(&key.parse().expect("a number")), Some(&id));
    }
    let known = ids("Account");
    let found = world.simulator.records("Contact");
    assert_eq!(found.len(), written.len() - known.len());
    for contact in found {
        let key: u64 = contact[KEY]
            .as_str()
            .expect("a key")
            .parse()
            .expect("a number");
        assert_eq!(
            contact["AccountId"].as_str(),
            Some(&*known[&parent(key).to_string()])
        );
    }
}

/// By a job, all of a large object takes a fraction of the calls that queries take, and brings the same.
#[test]
fn a_large_object_is_read_by_a_job() {
    const CONTACTS: u64 = 30_000;
    let world = World::new(Options::default());
    let keys: Vec<u64> = (1..=CONTACTS).collect();
    for some in keys.chunks(1_000) {
        let rows = upserts("Contact", some, 0, |key| format!("name, {key}"));
        assert_eq!(
            push(&world, "composite", vec![rows], Vec::new()).len(),
            1_000
        );
    }
    let mut found = Vec::new();
    for (rows_max, most) in [(2_000, 17), (10_000, 8)] {
        let before = world.calls();
        found.push(snapshot(&world, rows_max));
        let calls = world.calls() - before;
        println!("{CONTACTS} records in pages of {rows_max}: {calls} calls");
        assert!(calls <= most, "{calls} calls");
    }
    assert_eq!(found[0].len() as u64, CONTACTS);
    assert!(found[0] == found[1], "both bring the same");
}

/// Version and fields by id.
fn snapshot(world: &World, rows_max: u32) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    let mut cursor = None;
    loop {
        let stream = ChangeStream {
            kind: StreamKind::Snapshot,
            selections: vec![Selection {
                object: "Contact".to_owned(),
                fields: ["LastName", "Score__c", "Joined__c", KEY]
                    .map(str::to_owned)
                    .to_vec(),
            }],
            cursor,
            rows_max,
        };
        let pages = Salesforce::pull(&world.wire, &world.context(), vec![stream]).expect("pages");
        let page = pages.into_iter().next().expect("one").expect("a page");
        for set in &page.changes {
            for row in 0..set.len() {
                let fields: Vec<String> = set
                    .batch
                    .row(row)
                    .fields()
                    .map(|(name, value)| format!("{name}={value:?}"))
                    .collect();
                let text = format!("{} {}", set.versions.text(row), fields.join(" "));
                assert_eq!(rows.insert(set.ids.text(row).to_owned(), text), None);
            }
        }
        match (page.more, page.wait_ms) {
            (false, None) => return rows,
            (_, wait_ms) => world.simulator.advance_ms(u64::from(wait_ms.unwrap_or(0))),
        }
        cursor = Some(page.cursor);
    }
}
