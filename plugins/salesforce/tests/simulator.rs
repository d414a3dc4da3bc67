//! The connector against the Salesforce simulator, over real HTTP.
//!
//! Checks that nothing is missed and nothing is doubled, not that the simulator is Salesforce: a client not
//! written here checks that.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use serde_json::{Value as Json, json};
use tidegate_plugin_salesforce::Salesforce;
use tidegate_sdk::{
    Advice, Batch, BatchBuilder, ChangeKind, ChangeSet, ChangeStream, Connector, Context, DataType,
    Group, OperationKind, Operations, Outcome, Packed, Page, Selection, StreamKind, Value,
};
use tidegate_simulator::salesforce::{ClockMode, Fault, Handle, Options, Simulator, When};
use tokio::runtime::Runtime;
use wire::Wire;

const FIELDS: [&str; 5] = [
    "LastName",
    "Score__c",
    "Status__c",
    "Birthdate",
    "Tidegate_Id__c",
];
const START_MS: u64 = 1_772_359_200_000;
/// How long the other application's transactions take at most; the overlap is half as long again.
const LATE_MS: u64 = 20_000;

/// Numbers that a seed decides. How threads take turns is not among them: each seed holds for every order.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % most
    }
}

struct World {
    runtime: Runtime,
    simulator: Handle,
    wire: Wire,
}

impl World {
    fn new(options: Options) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let simulator = runtime
            .block_on(Simulator::start(options))
            .expect("a simulator");
        let wire = Wire::new(simulator.base_url());
        Self {
            runtime,
            simulator,
            wire,
        }
    }

    fn context(&self) -> Context {
        Context {
            config: r#"{"overlap-seconds":30,"purged-seconds":120}"#.to_owned(),
            now: self.simulator.now_ms() as i64 * 1_000,
            rows_max: 2_000,
        }
    }

    fn pull(&self, kind: StreamKind, cursor: Option<Vec<u8>>, rows_max: u32) -> Page {
        let stream = ChangeStream {
            kind,
            selections: vec![selection()],
            cursor,
            rows_max,
        };
        let mut pages =
            Salesforce::pull(&self.wire, &self.context(), vec![stream]).expect("a pull");
        let page = pages.pop().expect("a page").expect("a page");
        let rows: usize = page.changes.iter().map(ChangeSet::len).sum();
        assert!(
            rows <= rows_max as usize,
            "{rows} rows in a page of {rows_max}"
        );
        page
    }

    fn read(&self, by: Option<&str>, keys: &[String]) -> ChangeSet {
        let keys = Packed::from_iter(keys);
        let by = by.map(str::to_owned);
        Salesforce::read(&self.wire, &self.context(), selection(), by, keys).expect("a read")
    }

    /// Live contacts as the simulator holds them, with the fields that are synced.
    fn contacts(&self) -> BTreeMap<String, Vec<String>> {
        let records = self.simulator.records("Contact");
        let live = records
            .iter()
            .filter(|record| record["IsDeleted"] == json!(false));
        live.map(|record| {
            let id = record["Id"].as_str().expect("an id").to_owned();
            let version = std::iter::once(&record["SystemModstamp"]);
            let fields = FIELDS.iter().map(|name| &record[*name]);
            (id, version.chain(fields).map(plain).collect())
        })
        .collect()
    }
}

fn selection() -> Selection {
    Selection {
        object: "Contact".to_owned(),
        fields: FIELDS.map(str::to_owned).to_vec(),
    }
}

fn plain(json: &Json) -> String {
    json.as_str()
        .map_or_else(|| json.to_string(), str::to_owned)
}

/// What a host that believes every page would hold.
#[derive(Default)]
struct Mirror {
    contacts: BTreeMap<String, Vec<String>>,
    reported: usize,
}

impl Mirror {
    fn take(&mut self, world: &World, page: &Page) {
        for set in &page.changes {
            self.rows(world, set);
        }
        for alias in &page.aliases {
            self.contacts.remove(&alias.old);
        }
        assert_eq!(page.gap, None);
    }

    fn rows(&mut self, world: &World, set: &ChangeSet) {
        self.reported += set.len();
        for row in 0..set.len() {
            let id = set.ids.text(row).to_owned();
            if set.kinds[row] == ChangeKind::Upsert as u8 {
                let mut fields = vec![set.versions.text(row).to_owned()];
                fields.extend(FIELDS.iter().map(|name| shown(set.batch.value(row, name))));
                self.contacts.insert(id, fields);
                continue;
            }
            self.contacts.remove(&id);
            if set.kinds[row] == ChangeKind::Hint as u8 {
                self.rows(world, &world.read(None, &[id]));
            }
        }
    }
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) | Value::Decimal(text) => text.to_owned(),
        Value::Date(days) => date(days),
        other => panic!("{other:?}"),
    }
}

/// The few dates that these tests write.
fn date(days: i32) -> String {
    match days {
        -1 => "1969-12-31".to_owned(),
        11_016 => "2000-02-29".to_owned(),
        other => panic!("day {other} was never written"),
    }
}

/// Another application in the same org, whose transactions last.
struct Other<'a> {
    world: &'a World,
    dice: Dice,
    writes: Vec<Started>,
    next: u64,
}

/// A write on its way, and when it was stamped.
struct Started {
    began_ms: u64,
    thread: JoinHandle<()>,
}

impl Other<'_> {
    /// A write that is on its way when this returns; it may be seen much later than it is stamped.
    fn write(&mut self, method: &'static str, path: String, body: Json) {
        let admitted = || self.world.simulator.stats()["calls_total"].as_u64();
        let before = admitted();
        let began_ms = self.world.simulator.now_ms();
        let wire = self.world.wire.clone();
        let (done, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            wire.json(method, &path, &body);
            drop(done);
        });
        while admitted() == before && ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            thread::yield_now();
        }
        self.writes.push(Started { began_ms, thread });
    }

    /// Waits until no write is older than `age_ms`, so that a slow machine makes none later than the simulator
    /// means it to be. The clock stands meanwhile: a write ends by when it began, however late it fell asleep.
    fn settle(&mut self, age_ms: u64) {
        let due_ms = self.world.simulator.now_ms().saturating_sub(age_ms);
        let waiting = |write: &Started| write.began_ms < due_ms && !write.thread.is_finished();
        while self.writes.iter().any(waiting) {
            thread::yield_now();
        }
        let (ended, under_way): (Vec<_>, Vec<_>) = std::mem::take(&mut self.writes)
            .into_iter()
            .partition(|write| write.thread.is_finished());
        self.writes = under_way;
        for write in ended {
            write.thread.join().expect("a write");
        }
    }

    fn step(&mut self) {
        let live: Vec<String> = self.world.contacts().into_keys().collect();
        let path = "/services/data/v60.0/composite/sobjects".to_owned();
        let some = |dice: &mut Dice| -> Vec<String> {
            let wanted = 1 + dice.below(20);
            let ids: BTreeSet<&String> = (0..wanted)
                .filter(|_| !live.is_empty())
                .map(|_| &live[dice.below(live.len() as u64) as usize])
                .collect();
            ids.into_iter().cloned().collect()
        };
        match self.dice.below(10) {
            0..4 => {
                let rows = 1 + self.dice.below(120);
                let records: Vec<Json> = (0..rows).map(|_| self.person()).collect();
                self.write(
                    "POST",
                    path,
                    json!({"allOrNone": false, "records": records}),
                );
            }
            4..7 => {
                let records: Vec<Json> = some(&mut self.dice)
                    .into_iter()
                    .map(|id| {
                        let mut person = self.person();
                        person["id"] = json!(id);
                        person
                    })
                    .collect();
                self.write(
                    "PATCH",
                    path,
                    json!({"allOrNone": false, "records": records}),
                );
            }
            7..9 => {
                let ids = some(&mut self.dice).join(",");
                self.write(
                    "DELETE",
                    format!("{path}?ids={ids}&allOrNone=false"),
                    Json::Null,
                );
            }
            _ => {
                if let [master, losers @ ..] = some(&mut self.dice).as_slice()
                    && !losers.is_empty()
                {
                    let losers = &losers[..losers.len().min(2)];
                    let body = json!({"master": master, "losers": losers});
                    self.world.wire.json("POST", "/_sim/merge/Contact", &body);
                }
            }
        }
    }

    fn person(&mut self) -> Json {
        self.next += 1;
        let scores = [json!(1.5), json!(-0.05), json!(1234567890.12), Json::Null];
        let dates = [json!("1969-12-31"), json!("2000-02-29"), Json::Null];
        json!({
            "attributes": {"type": "Contact"},
            "LastName": format!("Ørsted \"{}\" 🌊", self.next),
            "Score__c": scores[self.dice.below(4) as usize],
            "Birthdate": dates[self.dice.below(3) as usize],
            "Status__c": "active",
        })
    }
}

#[test]
fn a_stream_misses_nothing() {
    // Small pages make most passes start near the end; large ones move the floor with every pull.
    for (seed, rows_max) in [(1, 40), (2, 2_000)] {
        println!("seed {seed}, pages of {rows_max}");
        misses_nothing(seed, rows_max);
    }
}

/// Changes at random by another application, transactions up to 20 s late, many rows to a stamp.
fn misses_nothing(seed: u64, rows_max: u32) {
    let world = World::new(Options {
        seed,
        clock: ClockMode::Manual { start_ms: START_MS },
        late_visible_ms_max: LATE_MS,
        faults: vec![(Fault::ShortPages, When::Rate(0.2))],
        ..Options::default()
    });
    let mut other = Other {
        world: &world,
        dice: Dice(seed),
        writes: Vec::new(),
        next: 0,
    };
    let mut mirror = Mirror::default();
    let mut cursor = world.pull(StreamKind::Changes, None, rows_max).cursor;
    for _ in 0..120 {
        other.step();
        world.simulator.advance_ms(500 * other.dice.below(10));
        other.settle(LATE_MS);
        let page = world.pull(StreamKind::Changes, Some(cursor), rows_max);
        mirror.take(&world, &page);
        cursor = page.cursor;
        assert!(cursor.len() <= 64 * 1024);
    }
    world.simulator.advance_ms(LATE_MS + 1);
    other.settle(0);
    // A sweep is due by then at the latest, and the delete log is read up to where a pull before stood; the last round
    // shows that there is an end.
    for _ in 0..4 {
        world.simulator.advance_ms(60_000);
        loop {
            let page = world.pull(StreamKind::Changes, Some(cursor), rows_max);
            mirror.take(&world, &page);
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
    }
    assert_eq!(mirror.contacts, world.contacts(), "seed {seed}");
    let snapshot = snapshot(&world);
    assert_eq!(snapshot.contacts, world.contacts(), "seed {seed}");
    assert_eq!(
        snapshot.reported,
        snapshot.contacts.len(),
        "each record once"
    );
    // What is in step costs one query and brings nothing.
    let (reported, asked) = (mirror.reported, queries(&world));
    for _ in 0..5 {
        world.simulator.advance_ms(5_000);
        let page = world.pull(StreamKind::Changes, Some(cursor), rows_max);
        mirror.take(&world, &page);
        cursor = page.cursor;
    }
    assert_eq!(mirror.reported, reported, "seed {seed}");
    assert_eq!(queries(&world) - asked, 5, "seed {seed}");
}

fn snapshot(world: &World) -> Mirror {
    let mut mirror = Mirror::default();
    let mut cursor = None;
    loop {
        let page = world.pull(StreamKind::Snapshot, cursor, 70);
        mirror.take(world, &page);
        cursor = Some(page.cursor);
        if !page.more {
            return mirror;
        }
    }
}

/// Queries that the org has answered.
fn queries(world: &World) -> u64 {
    let stats = world.simulator.stats();
    stats["calls"]["query"]
        .as_u64()
        .unwrap_or_else(|| panic!("{stats}"))
}

/// Rows that are written until each has its outcome, as a host would, while everything goes wrong.
#[test]
fn a_push_doubles_nothing() {
    for seed in 1..=2 {
        println!("seed {seed}");
        doubles_nothing(seed);
    }
}

fn doubles_nothing(seed: u64) {
    let world = World::new(Options {
        seed,
        clock: ClockMode::Manual { start_ms: START_MS },
        faults: [
            Fault::Refuse,
            Fault::Reset,
            Fault::Html,
            Fault::Drop,
            Fault::Twice,
            Fault::Truncate,
            Fault::WrongRows,
            Fault::LockRows,
        ]
        .map(|fault| (fault, When::Rate(0.05)))
        .to_vec(),
        ..Options::default()
    });
    let mut dice = Dice(seed);
    let mut waiting: Vec<u64> = (1..=300).collect();
    let mut rounds = 0;
    while !waiting.is_empty() {
        rounds += 1;
        assert!(
            rounds < 200,
            "seed {seed}: {} rows find no end",
            waiting.len()
        );
        let rows = (1 + dice.below(60) as usize).min(waiting.len());
        let some: Vec<u64> = waiting.drain(..rows).collect();
        waiting.extend(write(&world, &some));
    }
    let contacts = world.contacts();
    let keys: BTreeSet<&String> = contacts.values().map(|fields| &fields[5]).collect();
    assert_eq!((contacts.len(), keys.len()), (300, 300), "seed {seed}");
    for fields in contacts.values() {
        let key: u64 = fields[5].parse().expect("a key");
        assert_eq!(fields[1], name(key));
        assert_eq!(fields[2], score(key).trim_start_matches('0'));
    }
}

fn name(key: u64) -> String {
    format!("O'Brien-{key} 🌊 \u{5d0}")
}

/// Two digits after the point, the last not a zero, which the org would drop.
fn score(key: u64) -> String {
    format!("{}.{}1", 1_000_000_000 + key, key % 10)
}

/// The keys that are not settled. Unknown fates are read before they are written again.
fn write(world: &World, keys: &[u64]) -> Vec<u64> {
    let operations = Operations {
        method: if keys.len() == 1 {
            "single"
        } else {
            "collections"
        }
        .to_owned(),
        groups: vec![Group {
            object: "Contact".to_owned(),
            operation: OperationKind::Upsert,
            key: Some("Tidegate_Id__c".to_owned()),
            tokens: keys.to_vec(),
            ids: keys.iter().map(|_| "").collect(),
            into: Packed::new(),
            versions: keys.iter().map(|_| "").collect(),
            batch: people(keys),
        }],
        references: Vec::new(),
    };
    let context = world.context();
    let Ok(progress) = Salesforce::push(&world.wire, &context, operations) else {
        return keys.to_vec();
    };
    let mut open: BTreeSet<u64> = keys.iter().copied().collect();
    for row in progress.outcomes {
        match row.outcome {
            Outcome::Written(written) => {
                assert_eq!(written.id.len(), 18);
                open.remove(&row.token);
            }
            Outcome::Refused(refusal) => assert_eq!(refusal.advice, Advice::Retry, "{refusal:?}"),
            Outcome::Unknown(_) => {}
        }
    }
    open.into_iter().collect()
}

fn people(keys: &[u64]) -> Batch {
    let mut people = BatchBuilder::new([
        ("Tidegate_Id__c", DataType::Text),
        ("LastName", DataType::Text),
        ("Score__c", DataType::Decimal),
    ]);
    for key in keys {
        let mut row = people.row();
        let (text, name, score) = (key.to_string(), name(*key), score(*key));
        let fields = [
            ("Tidegate_Id__c", Value::Text(&text)),
            ("LastName", Value::Text(&name)),
            ("Score__c", Value::Decimal(&score)),
        ];
        for (name, value) in fields {
            row.set(name, value).expect("a column of that type");
        }
    }
    people.finish()
}

/// What the simulator describes is what the plugin understands, and reads by id and by key find the same.
#[test]
fn an_org_is_described_and_read() {
    let world = World::new(Options {
        clock: ClockMode::Manual { start_ms: START_MS },
        ..Options::default()
    });
    let catalog = Salesforce::discover(&world.wire, &world.context(), vec!["Contact".to_owned()])
        .expect("a catalog");
    assert!(catalog.identity.starts_with("00D") && catalog.identity.len() == 18);
    let contact = &catalog.objects[0];
    assert!(contact.readable && contact.writable && contact.reports_deletes);
    let field = |name: &str| contact.fields.iter().find(|field| field.name == name);
    assert!(field("Tidegate_Id__c").is_some_and(|field| field.upsert_key));
    assert!(field("LastName").is_some_and(|field| field.required));
    let keys: Vec<u64> = (1..=700).collect();
    for some in keys.chunks(200) {
        assert_eq!(write(&world, some), Vec::<u64>::new());
    }
    let texts: Vec<String> = keys.iter().map(u64::to_string).collect();
    let by_key = world.read(Some("Tidegate_Id__c"), &texts);
    let mut ids: Vec<String> = by_key.ids.texts().map(str::to_owned).collect();
    assert_eq!(ids.len(), 700);
    ids.push("003000000000000AAA".to_owned());
    let mut mirror = Mirror::default();
    mirror.rows(&world, &world.read(None, &ids));
    assert_eq!(mirror.contacts, world.contacts());
    drop(world.simulator);
    world.runtime.shutdown_background();
}
