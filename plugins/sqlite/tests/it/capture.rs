//! Which changes are captured, what the outbox holds, and what happens when the database is not what it was.

use tidegate_plugin_sqlite::changes::Page;
use tidegate_plugin_sqlite::prepare;
use tidegate_plugin_sqlite::settings::Settings;
use tidegate_plugin_sqlite::{changes, lookup, snapshot};
use tidegate_sdk::{FaultKind, PrepareMode, Selection};

use crate::library::{Library, demands, lines, select};

const PEOPLE: &str = "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT UNIQUE COLLATE NOCASE, \
    name TEXT, notes TEXT);";

/// Each statement and what the next pull says of it.
#[test]
fn a_change_is_captured_when_a_demanded_field_changed() {
    let library = Library::new(PEOPLE);
    let wanted = [select("people", &["email", "name"])];
    library.capture(&wanted);
    let mut page = library.pull(&wanted, None, 100);
    let cases: &[(&str, &[&str])] = &[
        (
            "INSERT INTO people VALUES (1, 'a@x', 'Ann', 'n')",
            &[r#"Upsert people 1 email=Text("a@x") name=Text("Ann")"#],
        ),
        ("UPDATE people SET notes = 'other'", &[]),
        ("UPDATE people SET name = 'Ann', email = 'a@x'", &[]),
        (
            "UPDATE people SET email = 'A@x'",
            &[r#"Upsert people 1 email=Text("A@x") name=Text("Ann")"#],
        ),
        (
            "UPDATE people SET name = NULL",
            &[r#"Upsert people 1 email=Text("A@x") name=Null"#],
        ),
        (
            "INSERT OR IGNORE INTO people VALUES (1, 'z@x', 'Zoe', ''), (2, 'b@x', 'Bo', '')",
            &[r#"Upsert people 2 email=Text("b@x") name=Text("Bo")"#],
        ),
        (
            "UPDATE OR IGNORE people SET name = 'Bob' WHERE id = 2; \
             UPDATE OR IGNORE people SET name = 'Bill' WHERE id = 2",
            &[r#"Upsert people 2 email=Text("b@x") name=Text("Bill")"#],
        ),
        (
            "INSERT OR REPLACE INTO people VALUES (2, 'b@x', 'Ben', '')",
            &[r#"Upsert people 2 email=Text("b@x") name=Text("Ben")"#],
        ),
        (
            "INSERT INTO people VALUES (2, 'b@x', 'Bea', '') \
             ON CONFLICT (email) DO UPDATE SET name = excluded.name",
            &[r#"Upsert people 2 email=Text("b@x") name=Text("Bea")"#],
        ),
        (
            "UPDATE people SET id = 7 WHERE id = 2",
            &[
                r#"Upsert people 7 email=Text("b@x") name=Text("Bea")"#,
                "Delete people 2 email=Unset name=Unset",
            ],
        ),
        (
            "UPDATE people SET rowid = 8 WHERE id = 7",
            &[
                r#"Upsert people 8 email=Text("b@x") name=Text("Bea")"#,
                "Delete people 7 email=Unset name=Unset",
            ],
        ),
        (
            "DELETE FROM people",
            &[
                "Delete people 1 email=Unset name=Unset",
                "Delete people 8 email=Unset name=Unset",
            ],
        ),
        (
            "BEGIN; INSERT INTO people (id) VALUES (9); ROLLBACK; INSERT INTO people (id) VALUES (10); \
             DELETE FROM people WHERE id = 10",
            &["Delete people 10 email=Unset name=Unset"],
        ),
    ];
    for (sql, expected) in cases {
        library.execute(sql);
        page = library.pull(&wanted, Some(&page.cursor), 100);
        let mut found = lines(&page);
        found.sort();
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "after {sql}");
        assert_eq!(page.gap, None, "after {sql}");
    }
}

#[test]
fn the_outbox_holds_one_row_per_changed_record_until_the_host_has_it() {
    let library = Library::new(PEOPLE);
    let wanted = [select("people", &["name"])];
    library.capture(&wanted);
    let start = library.pull(&wanted, None, 100);
    library.execute("INSERT INTO people (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    for round in 0..50 {
        library.execute(&format!("UPDATE people SET name = '{round}' WHERE id < 3"));
    }
    let rows = || library.query("SELECT count(*) FROM tidegate_outbox");
    assert_eq!(rows(), "3");
    let page = library.pull(&wanted, Some(&start.cursor), 100);
    let again = library.pull(&wanted, Some(&start.cursor), 100);
    assert_eq!(
        again, page,
        "nothing is forgotten before it is durable (invariant 1)"
    );

    // Changed again after it was read and before the host said that it has it.
    library.execute("UPDATE people SET name = 'late' WHERE id = 2");
    let next = library.pull(&wanted, Some(&page.cursor), 100);
    assert_eq!(lines(&next), [r#"Upsert people 2 name=Text("late")"#]);
    library.pull(&wanted, Some(&next.cursor), 100);
    assert_eq!(
        rows(),
        "1",
        "the newest row stays, so that numbers are never used twice"
    );
    library.execute("UPDATE people SET name = 'later' WHERE id = 2");
    let last = library.pull(&wanted, Some(&next.cursor), 100);
    assert_eq!(lines(&last), [r#"Upsert people 2 name=Text("later")"#]);
    assert!(last.changes[0].records[0].version > next.changes[0].records[0].version);
}

/// Two tables, each read by a stream of its own: what one has is forgotten, what the other does not have yet is kept,
/// until nobody wants it any more.
#[test]
fn a_stream_leaves_the_rows_of_other_tables_alone() {
    let library = Library::new(&format!(
        "{PEOPLE} CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT);"
    ));
    let (people, pets) = ([select("people", &["name"])], [select("pets", &["name"])]);
    library.capture(&[people.as_slice(), &pets].concat());
    library.execute("INSERT INTO people (id, name) VALUES (1, 'before')");
    let late = library.pull(&pets, None, 2);
    let mut quick = library.pull(&people, None, 2);
    for round in 0..5 {
        library.execute(&format!(
            "INSERT INTO pets (name) VALUES ('pet {round}'); \
             INSERT INTO people (name) VALUES ('person {round}')"
        ));
        quick = library.pull(&people, Some(&quick.cursor), 2);
        assert_eq!(lines(&quick).len(), 1, "{quick:?}");
        assert!(lines(&quick)[0].contains(&format!("person {round}")));
    }
    library.execute("DELETE FROM pets WHERE id = 1");
    let rows = || library.query("SELECT count(*) FROM tidegate_outbox");
    library.pull(&people, Some(&quick.cursor), 2);
    assert_eq!(rows(), "6", "five pets, and the cursor's person");

    let mut page = late;
    let mut found = Vec::new();
    loop {
        page = library.pull(&pets, Some(&page.cursor), 2);
        assert_eq!(page.gap, None);
        found.extend(lines(&page));
        if !page.more {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    assert_eq!(
        found.last().map(String::as_str),
        Some("Delete pets 1 name=Unset")
    );

    // No sync wants pets any more, and later one does again: it is told that it has missed something.
    library.capture(&people);
    assert_eq!(rows(), "1");
    library.execute("UPDATE pets SET name = 'unseen'");
    library.capture(&[people.as_slice(), &pets].concat());
    let back = library.pull(&pets, Some(&page.cursor), 2);
    assert!(back.gap.is_some(), "{back:?}");
    let still = library.pull(&people, Some(&quick.cursor), 2);
    assert_eq!(still.gap, None);
}

#[test]
fn pages_are_whole_and_in_order() {
    let library = Library::new(PEOPLE);
    let wanted = [select("people", &["name"])];
    library.capture(&wanted);
    let mut page = library.pull(&wanted, None, 3);
    library.execute(
        "INSERT INTO people (id, name) VALUES (5, 'e'), (4, 'd'), (3, 'c'), (2, 'b'), (1, 'a')",
    );
    let mut ids = Vec::new();
    let mut pages = 0;
    loop {
        page = library.pull(&wanted, Some(&page.cursor), 3);
        pages += 1;
        ids.extend(
            page.changes
                .iter()
                .flat_map(|set| set.records.iter().map(|one| one.id.clone())),
        );
        if !page.more {
            break;
        }
    }
    assert_eq!(ids, ["5", "4", "3", "2", "1"]);
    assert_eq!(pages, 2);
}

/// Five records of which only two fit into an answer.
#[test]
fn large_records_make_shorter_pages() {
    let library = Library::new(PEOPLE);
    let wanted = [select("people", &["notes"])];
    library.capture(&wanted);
    let start = library.pull(&wanted, None, 100);
    library.execute(
        "INSERT INTO people (id, notes) SELECT value, hex(zeroblob(1000)) FROM json_each('[1,2,3,4,5]')",
    );
    library.bytes_max.set(5_000);
    type Pull = fn(&Library, &[Selection], Option<&[u8]>) -> Page;
    let changes: Pull = |library, wanted, cursor| library.pull(wanted, cursor, 100);
    let snapshot: Pull = |library, wanted, cursor| {
        snapshot::pull(library, &Settings::default(), wanted, cursor, 100).expect("a page")
    };
    for (pull, mut cursor) in [(changes, Some(start.cursor)), (snapshot, None)] {
        let mut ids = Vec::new();
        loop {
            let page = pull(&library, &wanted, cursor.as_deref());
            let records = page.changes.iter().flat_map(|set| &set.records);
            ids.extend(records.map(|record| record.id.clone()));
            cursor = Some(page.cursor);
            if !page.more {
                break;
            }
        }
        assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    }
    library.bytes_max.set(1_000);
    let fault = snapshot::pull(&library, &Settings::default(), &wanted, None, 100);
    assert_eq!(
        fault.expect_err("a record too large").code,
        "response-too-large"
    );
}

#[test]
fn a_restored_backup_is_noticed_and_what_it_holds_is_read_again() {
    let library = Library::new(PEOPLE);
    let wanted = [select("people", &["name"])];
    library.capture(&wanted);
    let start = library.pull(&wanted, None, 100);
    library.execute("INSERT INTO people (id, name) VALUES (1, 'one')");
    let backup = library.backup("backup.db");
    library.execute("INSERT INTO people (id, name) VALUES (2, 'two'), (3, 'three')");
    let page = library.pull(&wanted, Some(&start.cursor), 100);
    assert_eq!(lines(&page).len(), 3);

    library.restore(&backup);
    let restored = library.pull(&wanted, Some(&page.cursor), 100);
    assert!(
        restored
            .gap
            .as_deref()
            .is_some_and(|gap| gap.contains("restored")),
        "{restored:?}"
    );
    assert_eq!(lines(&restored), [r#"Upsert people 1 name=Text("one")"#]);
    assert_eq!(
        library.pull(&wanted, Some(&restored.cursor), 100).gap,
        None,
        "said once"
    );

    // Restored and worked with, so that the numbers look as if nothing had happened.
    library.restore(&backup);
    library
        .execute("INSERT INTO people (id, name) VALUES (11, 'k'), (12, 'l'), (13, 'm'), (14, 'n')");
    let grown = library.pull(&wanted, Some(&page.cursor), 100);
    assert!(grown.gap.is_some(), "{grown:?}");
    assert_eq!(
        lines(&grown).len(),
        5,
        "every row that the outbox still holds"
    );
}

#[test]
fn another_database_under_the_same_name_is_noticed() {
    let library = Library::new(PEOPLE);
    let wanted = [select("people", &["name"])];
    library.capture(&wanted);
    let page = library.pull(&wanted, None, 100);
    let settings = Settings::default();
    let identity = prepare::identity(&library, &settings).expect("an identity");
    library.prepare(&settings, &[], PrepareMode::Remove);
    let fault = changes::pull(&library, &settings, &wanted, Some(&page.cursor), 10, 0)
        .expect_err("no outbox");
    assert_eq!(
        (fault.kind, fault.code.as_str()),
        (FaultKind::Missing, "not-prepared")
    );
    library.capture(&wanted);
    assert_ne!(
        prepare::identity(&library, &settings).expect("an identity"),
        identity
    );
    assert!(library.pull(&wanted, Some(&page.cursor), 100).gap.is_some());
}

/// Migration tools change a table by making a new one, copying, and renaming; the triggers go with the old one.
#[test]
fn triggers_lost_in_a_migration_are_put_back() {
    let library = Library::new(PEOPLE);
    let wanted = [select("people", &["name"])];
    library.capture(&wanted);
    let page = library.pull(&wanted, None, 100);
    library.execute(
        "CREATE TABLE new_people (id INTEGER PRIMARY KEY, email TEXT, name TEXT, notes TEXT, age INTEGER); \
         INSERT INTO new_people SELECT id, email, name, notes, 0 FROM people; \
         DROP TABLE people; ALTER TABLE new_people RENAME TO people; \
         INSERT INTO people (id, name) VALUES (1, 'unseen')",
    );
    let repaired = library.pull(&wanted, Some(&page.cursor), 100);
    assert!(
        repaired
            .gap
            .as_deref()
            .is_some_and(|gap| gap.contains("people")),
        "{repaired:?}"
    );
    library.execute("INSERT INTO people (id, name) VALUES (2, 'seen')");
    let next = library.pull(&wanted, Some(&repaired.cursor), 100);
    assert_eq!(lines(&next), [r#"Upsert people 2 name=Text("seen")"#]);
    assert_eq!(next.gap, None);
}

#[test]
fn prepare_says_first_does_once_and_removes_everything() {
    let library = Library::new(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT); \
         CREATE TABLE \"weird \"\"t'able; 😀\" (\"select\" TEXT PRIMARY KEY, \"a b\" TEXT); \
         CREATE VIEW seen AS SELECT name FROM people;",
    );
    let settings = Settings::default();
    let schema = || {
        library.query(
            "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master ORDER BY name)",
        )
    };
    let before = schema();
    let one = demands(&[select("people", &["name"])]);
    let both = demands(&[
        select("people", &["name"]),
        select("weird \"t'able; 😀", &["a b"]),
    ]);

    let plan = library.prepare(&settings, &both, PrepareMode::Plan);
    assert_eq!(schema(), before, "a plan changes nothing");
    assert!(
        plan.iter()
            .all(|step| !step.done && !step.statements.is_empty())
    );
    let applied = library.prepare(&settings, &both, PrepareMode::Apply);
    let ids =
        |steps: &[prepare::Step]| steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&applied), ids(&plan));
    assert!(applied.iter().all(|step| step.done));
    assert_eq!(
        library.transactions.get(),
        1,
        "all of it in one transaction"
    );
    library.prepare(&settings, &both, PrepareMode::Apply);
    assert_eq!(library.transactions.get(), 1, "nothing is done twice");

    // Another field is wanted: only that table's trigger for updates is made anew.
    let wider = demands(&[
        select("people", &["name", "id"]),
        select("weird \"t'able; 😀", &["a b", "select"]),
    ]);
    let plan = library.prepare(&settings, &wider, PrepareMode::Plan);
    assert!(
        plan.iter().all(|step| step.done),
        "keys are always watched: {plan:?}"
    );
    let narrower = library.prepare(
        &settings,
        &demands(&[select("people", &[])]),
        PrepareMode::Plan,
    );
    let open: Vec<String> = narrower
        .iter()
        .filter(|step| !step.done)
        .map(|step| step.id.clone())
        .collect();
    assert_eq!(
        open,
        [
            "trigger:people:update",
            "drop:tidegate_outbox:2:delete",
            "drop:tidegate_outbox:2:insert",
            "drop:tidegate_outbox:2:rekey",
            "drop:tidegate_outbox:2:update",
        ]
    );
    library.prepare(&settings, &one, PrepareMode::Apply);
    library.execute("INSERT INTO \"weird \"\"t'able; 😀\" VALUES ('k', 'v')");
    assert_eq!(library.query("SELECT count(*) FROM tidegate_outbox"), "0");

    library.prepare(&settings, &[], PrepareMode::Remove);
    assert_eq!(schema(), before, "data and schema are as they were");
    assert!(
        library
            .prepare(&settings, &[], PrepareMode::Remove)
            .is_empty()
    );
    for (object, field, code) in [
        ("nobody", "x", "no-such-table"),
        ("seen", "name", "no-key"),
        ("people", "x", "no-such-column"),
    ] {
        let demands = demands(&[select(object, &[field])]);
        let fault =
            prepare::prepare(&library, &settings, &demands, PrepareMode::Apply).expect_err(code);
        assert_eq!(fault.code, code);
    }
    assert_eq!(schema(), before);
}

/// A snapshot broken off after any row goes on where it was, on every form of key.
#[test]
fn a_snapshot_reports_every_row_once_in_pages_of_any_size() {
    let library = Library::prepared(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO a VALUES (-9223372036854775808, 'x'), (0, ''), (7, NULL); \
         CREATE TABLE b (k TEXT, n INTEGER, v TEXT, PRIMARY KEY (k, n)) WITHOUT ROWID; \
         INSERT INTO b VALUES ('it''s', 1, 'x'), ('it''s', 2, 'y'), ('a,b', -1, 'z'), ('', 0, ''); \
         CREATE TABLE c (v TEXT); INSERT INTO c VALUES ('dup'), ('dup'), (NULL); \
         CREATE TABLE d (k PRIMARY KEY, v TEXT); INSERT INTO d VALUES (1, 'int'), ('1', 'text'), (1.5, 'real'), (x'0031', 'blob'), (NULL, 'no key'); \
         CREATE TABLE empty (k TEXT PRIMARY KEY, v TEXT); \
         CREATE TABLE e (k TEXT PRIMARY KEY COLLATE NOCASE, v TEXT); INSERT INTO e VALUES ('Bob', ''), ('''q', ''), ('X''00''', ''), (x'FF', 'blob');",
    );
    let wanted: Vec<_> = ["a", "b", "c", "d", "empty", "e"]
        .iter()
        .map(|table| select(table, &["v"]))
        .collect();
    let read = |rows_max: u32| {
        let mut all = Vec::new();
        let mut cursor: Option<Vec<u8>> = None;
        loop {
            let page = snapshot::pull(
                &library,
                &Settings::default(),
                &wanted,
                cursor.as_deref(),
                rows_max,
            )
            .expect("a page");
            assert!(lines(&page).len() <= rows_max as usize);
            all.extend(lines(&page));
            if !page.more {
                return all;
            }
            cursor = Some(page.cursor);
        }
    };
    let whole = read(1_000);
    assert_eq!(whole.len(), 3 + 4 + 3 + 4 + 4);
    assert!(
        whole.contains(&"Upsert b 'it''s',2 v=Text(\"y\")".to_owned()),
        "{whole:#?}"
    );
    assert!(
        whole.contains(&"Upsert e X'FF' v=Text(\"blob\")".to_owned()),
        "{whole:#?}"
    );
    let mut once = whole.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), whole.len());
    for rows_max in 1..8 {
        assert_eq!(read(rows_max), whole, "pages of {rows_max}");
    }
}

/// SQLite numbers the next row as the deleted last one. They are two records to everybody else, before and after
/// the host has heard of the delete; a table that never numbers two rows alike needs no such care.
#[test]
fn a_row_number_that_is_used_again_names_another_record() {
    let schemas = [
        (
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)",
            ["1", "1~1", "1~2"],
        ),
        ("CREATE TABLE people (name TEXT)", ["1", "1~1", "1~2"]),
        (
            "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)",
            ["1", "2", "3"],
        ),
    ];
    for (schema, [first, second, third]) in schemas {
        let library = Library::new(schema);
        let wanted = [select("people", &["name"])];
        library.capture(&wanted);
        library.execute("INSERT INTO people (name) VALUES ('Ann')");
        let page = library.pull(&wanted, None, 100);
        library.execute("DELETE FROM people; INSERT INTO people (name) VALUES ('Bo')");
        let page = library.pull(&wanted, Some(&page.cursor), 100);
        let both = [
            format!("Delete people {first} name=Unset"),
            format!("Upsert people {second} name=Text(\"Bo\")"),
        ];
        assert_eq!(lines(&page), both, "{schema}");
        library.execute("UPDATE people SET name = 'Bob'");
        let page = library.pull(&wanted, Some(&page.cursor), 100);
        let changed = format!("Upsert people {second} name=Text(\"Bob\")");
        assert_eq!(lines(&page), [changed], "{schema}");

        let keys = [first, second, third].map(|id| id.as_bytes().to_vec());
        let fields = ["name".to_owned()];
        let settings = Settings::default();
        let found = lookup::read(&library, &settings, "people", &fields, None, &keys);
        let found: Vec<String> = found
            .expect("an answer")
            .records
            .into_iter()
            .map(|record| record.id)
            .collect();
        assert_eq!(found, [second], "{schema}: the earlier life is gone");

        library.execute("DELETE FROM people");
        let page = library.pull(&wanted, Some(&page.cursor), 100);
        library.execute("INSERT INTO people (name) VALUES ('Cy')");
        let page = library.pull(&wanted, Some(&page.cursor), 100);
        let born = format!("Upsert people {third} name=Text(\"Cy\")");
        assert_eq!(lines(&page), [born], "{schema}");
    }
}
