//! Writes that are made only while the row is as the host knows it.

use tidegate_plugin_sqlite::changes::Page;
use tidegate_plugin_sqlite::lookup;
use tidegate_plugin_sqlite::push::{Pushed, push};
use tidegate_plugin_sqlite::settings::Settings;
use tidegate_sdk::{Advice, Group, OperationKind, Outcome};

use crate::library::{self, Library, select};
use crate::writes::text;

const PEOPLE: &str =
    "CREATE TABLE people (id INTEGER PRIMARY KEY, sf TEXT UNIQUE, name TEXT, other TEXT);";

/// Each row's id, and the version that the host knows.
fn write(library: &Library, operation: OperationKind, rows: &[(&str, &str)]) -> Pushed {
    let cells = [text("ours")];
    let named: Vec<(&str, &[_])> = rows.iter().map(|(id, _)| (*id, &cells[..])).collect();
    let group = Group {
        into: Default::default(),
        versions: rows.iter().map(|(_, version)| version).collect(),
        ..library::group("people", operation, None, &["name"], &named)
    };
    push(library, &Settings::default(), &[group]).expect("pushed")
}

/// What became of each row: its version when it was written.
fn said(pushed: &Pushed) -> Vec<Result<String, (String, Advice)>> {
    let mut outcomes: Vec<_> = pushed.outcomes.iter().collect();
    outcomes.sort_by_key(|row| row.token);
    let said = outcomes.into_iter().map(|row| match &row.outcome {
        Outcome::Written(written) => Ok(written.version.clone()),
        Outcome::Refused(refusal) => Err((refusal.code.clone(), refusal.advice)),
        Outcome::Unknown(why) => panic!("{why}"),
    });
    said.collect()
}

fn changed() -> Result<String, (String, Advice)> {
    Err(("row-changed".to_owned(), Advice::Changed))
}

fn versions(page: &Page) -> Vec<String> {
    let records = page.changes.iter().flat_map(|set| &set.records);
    records.map(|record| record.version.clone()).collect()
}

fn read(library: &Library, id: &str) -> Option<String> {
    let (settings, fields) = (Settings::default(), ["name".to_owned()]);
    let ids = [id.as_bytes().to_vec()];
    let found = lookup::read(library, &settings, "people", &fields, None, &ids).expect("read");
    found.records.first().map(|record| record.version.clone())
}

/// Three people, captured, and the version at which they were read.
fn three() -> (Library, Vec<u8>, String) {
    let library = Library::prepared(PEOPLE);
    let wanted = [select("people", &["name"])];
    library.capture(&wanted);
    let page = library.pull(&wanted, None, 10);
    library.execute("INSERT INTO people (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    let page = library.pull(&wanted, Some(&page.cursor), 10);
    let read = versions(&page);
    assert!(read.iter().all(|version| *version == read[0]), "{read:?}");
    (library, page.cursor, read[0].clone())
}

#[test]
fn what_the_host_has_not_seen_is_not_overwritten() {
    let (library, _, known) = three();
    library.execute(
        "UPDATE people SET name = 'theirs' WHERE id = 1; DELETE FROM people WHERE id = 2;
         UPDATE people SET other = 'not captured' WHERE id = 3",
    );
    let rows = [("1", &*known), ("2", &*known), ("3", &*known)];
    let pushed = said(&write(&library, OperationKind::Update, &rows));
    assert_eq!(pushed[..2], [changed(), changed()]);
    let ours = pushed[2].clone().expect("nobody else wrote to it");
    assert!(ours > known);
    let names = "SELECT group_concat(id || name, ' ') FROM (SELECT * FROM people ORDER BY id)";
    assert_eq!(library.query(names), "1theirs 3ours");
    assert_eq!(
        said(&write(&library, OperationKind::Delete, &rows[..1])),
        [changed()]
    );

    // With what a look tells, and with what our own write told, it goes.
    assert_eq!(read(&library, "2"), None);
    let seen = read(&library, "1").expect("it is there");
    let rows = [("1", &*seen), ("3", &*ours)];
    assert!(
        said(&write(&library, OperationKind::Update, &rows))
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(library.query(names), "1ours 3ours");
}

/// The host has the change on disk and says so, while a write that was decided on before is on its way.
#[test]
fn a_change_that_the_host_has_holds_up_an_older_write() {
    let (library, cursor, known) = three();
    let wanted = [select("people", &["name"])];
    library.execute("UPDATE people SET name = 'theirs' WHERE id = 1");
    library.execute("UPDATE people SET name = 'theirs' WHERE id = 3");
    let now_ms: i64 = library
        .query("SELECT max(at) FROM tidegate_outbox")
        .parse()
        .expect("a time");
    let page = library.pull_at(now_ms, &wanted, Some(&cursor), 10);
    for (later_ms, refused) in [(0, true), (120_000, true), (600_000, false)] {
        library.pull_at(now_ms + later_ms, &wanted, Some(&page.cursor), 10);
        let pushed = said(&write(&library, OperationKind::Update, &[("1", &known)]));
        assert_eq!(
            pushed == [changed()],
            refused,
            "{later_ms} ms later: {pushed:?}"
        );
    }
}

/// Rows without a version, and tables that nobody captures, are written as they always were.
#[test]
fn without_a_version_nothing_is_asked() {
    let (library, _, known) = three();
    library.execute("UPDATE people SET name = 'theirs'");
    for foreign in ["", "2026-11-27T20:00:00.000+0000"] {
        let pushed = said(&write(&library, OperationKind::Update, &[("1", foreign)]));
        assert_eq!(
            pushed,
            [Ok(String::new())],
            "what lay in between was not seen"
        );
    }
    let bare = Library::prepared(PEOPLE);
    bare.execute("INSERT INTO people (id, name) VALUES (1, 'a')");
    assert_eq!(read(&bare, "1").as_deref(), Some(""));
    let pushed = said(&write(&bare, OperationKind::Update, &[("1", &known)]));
    assert_eq!(pushed, [Ok(String::new())]);
}
