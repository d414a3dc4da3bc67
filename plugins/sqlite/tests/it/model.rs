//! Random work by an application while a host pulls, crashes and pulls again: what the host makes of the stream
//! must equal the tables.
//!
//! Not checked here: rows that `REPLACE` removes because another row takes their unique value (SQLite fires no
//! trigger for them unless the application sets `recursive_triggers`; see the README).

use std::collections::BTreeMap;

use rusqlite::Connection;
use tidegate_plugin_sqlite::changes::Page;
use tidegate_plugin_sqlite::settings::Settings;
use tidegate_plugin_sqlite::{lookup, snapshot};
use tidegate_sdk::{ChangeKind, Selection};

use crate::library::{Library, select};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const SCHEMA: &str = r#"
    CREATE TABLE "num" (id INTEGER PRIMARY KEY, v TEXT, w);
    CREATE TABLE "text" (id TEXT PRIMARY KEY COLLATE NOCASE, v TEXT, w);
    CREATE TABLE "pair ""of'keys 😀" (id TEXT, "select" INTEGER DEFAULT 1, v TEXT, w, PRIMARY KEY ("select", id)) WITHOUT ROWID;
    CREATE TABLE "any" (id PRIMARY KEY, v TEXT, w);
    CREATE TABLE "none" (id TEXT, v TEXT, w);
"#;

const TABLES: [&str; 5] = ["num", "text", "pair \"of'keys 😀", "any", "none"];
const NUMBERS: [&str; 6] = ["1", "2", "3", "-4", "9223372036854775806", "0"];
const TEXTS: [&str; 9] = [
    "'Bob'",
    "'bob'",
    "''",
    "'''q'''",
    "'X''00'''",
    "'a,b'",
    "'日本 😀'",
    "'a' || char(0) || 'b'",
    "x'C3A9'",
];
const ANY: [&str; 7] = ["1", "'1'", "1.5", "x'0031'", "x'FF'", "'it''s'", "-2"];
const VALUES: [&str; 6] = [
    "'x'",
    "'X'",
    "NULL",
    "''",
    "'a' || char(0)",
    "'long ' || hex(zeroblob(300))",
];

fn statement(dice: &mut Dice) -> String {
    let table = dice.pick(&TABLES);
    let keys: &[&str] = match table {
        "num" => &NUMBERS,
        "any" => &ANY,
        _ => &TEXTS,
    };
    let (key, other) = (dice.pick(keys), dice.pick(keys));
    let (value, waste) = (dice.pick(&VALUES), dice.below(3));
    let name = format!("\"{}\"", table.replace('"', "\"\""));
    // Where keys ignore case, replacing `Bob` by `bob` is such an unseen removal.
    let replace = if table == "text" {
        "INSERT OR IGNORE"
    } else {
        "INSERT OR REPLACE"
    };
    match dice.below(12) {
        0..3 => format!("INSERT OR IGNORE INTO {name} (id, v, w) VALUES ({key}, {value}, {waste})"),
        3 => format!("{replace} INTO {name} (id, v, w) VALUES ({key}, {value}, {waste})"),
        4 => format!("{replace} INTO {name} (id, v) VALUES ({key}, {value}), ({other}, {value})"),
        5..8 => format!("UPDATE OR IGNORE {name} SET v = {value}, w = {waste} WHERE id = {key}"),
        8 => format!("UPDATE {name} SET v = {value}"),
        9 => format!("UPDATE OR IGNORE {name} SET id = {other} WHERE id = {key}"),
        10 => format!("DELETE FROM {name} WHERE id = {key}"),
        _ => format!("DELETE FROM {name} WHERE id = {key} OR v IS {value}"),
    }
}

/// A few statements in one transaction that may not come to its end.
fn work(dice: &mut Dice, application: &Connection) {
    let statements: Vec<String> = (0..=dice.below(4)).map(|_| statement(dice)).collect();
    let end = dice.pick(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]);
    let sql = format!("BEGIN; {}; {end}", statements.join("; "));
    application
        .execute_batch(&sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

type Replica = BTreeMap<(String, String), String>;

fn apply(replica: &mut Replica, page: &Page) {
    for set in &page.changes {
        for record in &set.records {
            let at = (set.object.clone(), record.id.clone());
            match record.kind {
                ChangeKind::Upsert => replica.insert(at, format!("{:?}", record.cells)),
                ChangeKind::Delete => replica.remove(&at),
                ChangeKind::Hint => panic!("nothing here is a hint"),
            };
        }
    }
}

fn truth(library: &Library, wanted: &[Selection]) -> Replica {
    let page =
        snapshot::pull(library, &Settings::default(), wanted, None, 100_000).expect("a page");
    let mut replica = Replica::new();
    apply(&mut replica, &page);
    replica
}

fn run(seed: u64, rounds: usize) {
    let library = Library::new(SCHEMA);
    let wanted: Vec<Selection> = TABLES
        .iter()
        .map(|table| select(table, &["id", "v"]))
        .collect();
    library.capture(&wanted);
    let mut application = library.application();
    let mut dice = Dice(seed);
    let mut replica = Replica::new();
    let mut cursor = library.pull(&wanted, None, 10).cursor;
    for _ in 0..rounds {
        for _ in 0..dice.below(5) {
            work(&mut dice, &application);
        }
        if dice.below(10) == 0 {
            application = library.application();
        }
        let rows_max = 1 + dice.below(9) as u32;
        let page = library.pull(&wanted, Some(&cursor), rows_max);
        assert_eq!(page.gap, None, "seed {seed}");
        // The host may die before it has stored the page, or after it has but before it moved the cursor.
        let fate = dice.below(8);
        if fate != 0 {
            apply(&mut replica, &page);
        }
        if fate > 1 {
            cursor = page.cursor;
        }
    }
    loop {
        let page = library.pull(&wanted, Some(&cursor), 50);
        apply(&mut replica, &page);
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    let truth = truth(&library, &wanted);
    let only = |left: &Replica, right: &Replica| -> Vec<String> {
        let missing = left
            .iter()
            .filter(|(at, cells)| right.get(at) != Some(cells));
        missing.map(|entry| format!("{entry:?}")).collect()
    };
    let (wrong, lost) = (only(&replica, &truth), only(&truth, &replica));
    assert!(
        wrong.is_empty() && lost.is_empty(),
        "seed {seed}: the host has {wrong:#?}, the tables {lost:#?}"
    );
    for (object, id) in truth.keys() {
        let fields = ["v".to_owned()];
        let found = lookup::read(
            &library,
            &Settings::default(),
            object,
            &fields,
            None,
            &[id.clone().into_bytes()],
        );
        let found = found.expect("a record").records;
        assert_eq!(found.len(), 1, "seed {seed}: {object} {id}");
        assert_eq!(found[0].id, *id);
    }
    // The newest row, and those that the last page brought.
    library.pull(&wanted, Some(&cursor), 50);
    assert_eq!(
        library.query("SELECT count(*) FROM tidegate_outbox"),
        "1",
        "seed {seed}"
    );
}

/// `SQLITE_MODEL_SEED` replays one run, `SQLITE_MODEL_RUNS` makes more of them.
#[test]
#[allow(clippy::disallowed_methods, reason = "a knob of this test")]
fn what_the_host_makes_of_the_stream_equals_the_tables() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("SQLITE_MODEL_SEED") {
        return run(seed, 150);
    }
    for seed in 0..number("SQLITE_MODEL_RUNS").unwrap_or(12) {
        run(seed, 150);
    }
}

/// Four processes write at once; each of their rows arrives, and in the end as it is.
#[test]
fn concurrent_writers_are_all_captured() {
    let library = Library::new("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
    let wanted = [select("t", &["v"])];
    library.capture(&wanted);
    let mut cursor = library.pull(&wanted, None, 100).cursor;
    let mut replica = Replica::new();
    let path = library.path();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let path = path.clone();
            std::thread::spawn(move || {
                let connection = Connection::open(path).expect("a database");
                connection
                    .busy_timeout(std::time::Duration::from_secs(60))
                    .expect("waiting");
                connection
                    .execute_batch("PRAGMA synchronous = OFF")
                    .expect("settings");
                for n in 0..100 {
                    let sql =
                        "INSERT INTO t VALUES (?1, ?2) ON CONFLICT DO UPDATE SET v = excluded.v";
                    let id = if n % 3 == 0 { n } else { n + writer * 1_000 };
                    connection
                        .execute(sql, (id, format!("{writer}/{n}")))
                        .expect("written");
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        let page = library.pull(&wanted, Some(&cursor), 7);
        apply(&mut replica, &page);
        cursor = page.cursor;
    }
    for writer in writers {
        writer.join().expect("a writer");
    }
    loop {
        let page = library.pull(&wanted, Some(&cursor), 100);
        apply(&mut replica, &page);
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(replica, truth(&library, &wanted));
}
