//! Rows written by key, and what is said of each.

use tidegate_plugin_sqlite::cell::Cell;
use tidegate_plugin_sqlite::lookup;
use tidegate_plugin_sqlite::push::{Pushed, push};
use tidegate_plugin_sqlite::settings::Settings;

use tidegate_sdk::{Advice, Executed, FaultKind, Group, OperationKind, Outcome, RowOutcome};

use crate::library::{self, Library, lines, select};

const PEOPLE: &str = "CREATE TABLE people (id INTEGER PRIMARY KEY, sf TEXT UNIQUE, name TEXT NOT NULL, \
    phone TEXT, age INTEGER CHECK (age >= 0), boss INTEGER REFERENCES people (id));";

fn group(
    operation: OperationKind,
    key: Option<&str>,
    fields: &[&str],
    rows: &[(&str, &[Cell])],
) -> Group {
    library::group("people", operation, key, fields, rows)
}

pub(crate) fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

fn done(library: &Library, groups: &[Group]) -> Pushed {
    push(library, &Settings::default(), groups).expect("pushed")
}

fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Park => "Park",
        Advice::Retry => "Retry",
        Advice::Gone => "Gone",
        Advice::Adopt => "Adopt",
        Advice::Changed => "Changed",
    }
}

/// Outcomes in the order of their tokens: `100 written 1`, `101 created 2`, `102 CODE advice fields`.
fn said(pushed: &Pushed) -> Vec<String> {
    let mut outcomes: Vec<_> = pushed.outcomes.iter().collect();
    outcomes.sort_by_key(|row| row.token);
    let line = |RowOutcome { token, outcome }: &RowOutcome| match outcome {
        Outcome::Written(written) if written.created => format!("{token} created {}", written.id),
        Outcome::Written(written) => format!("{token} written {}", written.id),
        Outcome::Refused(refusal) => format!(
            "{token} {} {} {}",
            refusal.code,
            advice(refusal.advice),
            refusal.fields.join(",")
        ),
        Outcome::Unknown(_) => format!("{token} unknown"),
    };
    outcomes.into_iter().map(line).collect()
}

fn table(library: &Library) -> String {
    library.query(
        "SELECT group_concat(id || ':' || coalesce(sf, '-') || ':' || name || ':' || coalesce(phone, '-'), ' ') \
         FROM (SELECT * FROM people ORDER BY id)",
    )
}

#[test]
fn an_upsert_goes_by_its_key_and_leaves_unset_fields_alone() {
    let library = Library::prepared(PEOPLE);
    library.execute("INSERT INTO people (id, sf, name, phone) VALUES (1, 'A', 'Ann', '1'), (2, NULL, 'Nil', '2')");
    let pushed = done(
        &library,
        &[group(
            OperationKind::Upsert,
            Some("sf"),
            &["sf", "name", "phone"],
            &[
                // The name may not be null and is not there: the row exists, so that is no matter.
                ("", &[text("A"), Cell::Unset, Cell::Null]),
                ("", &[text("B"), text("Bob"), Cell::Unset]),
                ("", &[Cell::Null, text("No key"), Cell::Unset]),
                ("", &[text("C"), Cell::Unset, text("3")]),
                (
                    "",
                    &[
                        text("A'; DROP TABLE people; --"),
                        text("'\"\0"),
                        Cell::Unset,
                    ],
                ),
            ],
        )],
    );
    assert_eq!(
        said(&pushed),
        [
            "100 written 1",
            "101 created 3",
            "102 key-missing Park sf",
            "103 SQLITE_CONSTRAINT_NOTNULL Park name",
            "104 created 4",
        ]
    );
    assert_eq!(library.query("SELECT group_concat(id || ifnull(sf, '') || name || ifnull(phone, '-'), ' ') FROM people WHERE id < 4"), "1AAnn- 2Nil2 3BBob-");
    // The same rows again, as after a lost answer: nothing new.
    let again = done(
        &library,
        &[group(
            OperationKind::Upsert,
            Some("sf"),
            &["sf", "name"],
            &[("", &[text("B"), text("Bob")])],
        )],
    );
    assert_eq!(said(&again), ["100 written 3"]);
    let not_unique = done(
        &library,
        &[group(
            OperationKind::Upsert,
            Some("phone"),
            &["phone"],
            &[("", &[text("2")])],
        )],
    );
    assert_eq!(said(&not_unique), ["100 not-a-key Park phone"]);
}

#[test]
fn one_refused_row_takes_no_other_with_it() {
    let library = Library::prepared(PEOPLE);
    library.execute("INSERT INTO people (id, sf, name) VALUES (1, 'A', 'Ann')");
    let mut rows: Vec<(&str, Vec<Cell>)> = (0..200)
        .map(|n| {
            (
                "",
                vec![
                    text(&format!("n{n}")),
                    text("x"),
                    Cell::Integer(1),
                    Cell::Null,
                ],
            )
        })
        .collect();
    rows[7].1[0] = text("A");
    rows[8].1[1] = Cell::Null;
    rows[100].1[2] = Cell::Integer(-1);
    rows[199].1[3] = Cell::Integer(999);
    let rows: Vec<(&str, &[Cell])> = rows
        .iter()
        .map(|(id, cells)| (*id, cells.as_slice()))
        .collect();
    let pushed = done(
        &library,
        &[group(
            OperationKind::Create,
            None,
            &["sf", "name", "age", "boss"],
            &rows,
        )],
    );
    let refused: Vec<String> = said(&pushed)
        .into_iter()
        .filter(|line| !line.contains("created"))
        .collect();
    assert_eq!(
        refused,
        [
            "107 SQLITE_CONSTRAINT_UNIQUE Adopt sf",
            "108 SQLITE_CONSTRAINT_NOTNULL Park name",
            "200 SQLITE_CONSTRAINT_CHECK Park ",
            "299 SQLITE_CONSTRAINT_FOREIGNKEY Park ",
        ]
    );
    assert_eq!(library.query("SELECT count(*) FROM people"), "197");
    assert_eq!(pushed.outcomes.len(), 200, "each row once");
    assert!(
        library.transactions.get() < 60,
        "by halves, not one by one: {}",
        library.transactions.get()
    );
    let all_good = Library::prepared(PEOPLE);
    done(
        &all_good,
        &[group(
            OperationKind::Create,
            None,
            &["sf", "name", "age", "boss"],
            &rows[10..90],
        )],
    );
    assert_eq!(all_good.transactions.get(), 1);
}

#[test]
fn updates_and_deletes_tell_when_their_record_is_gone() {
    let library = Library::prepared(PEOPLE);
    library.execute("INSERT INTO people (id, sf, name) VALUES (1, 'A', 'Ann'), (2, 'B', 'Bo')");
    let groups = [
        group(
            OperationKind::Update,
            None,
            &["name", "phone", "sf"],
            &[
                ("1", &[text("Anna"), Cell::Unset, Cell::Unset]),
                ("9", &[text("Nobody"), Cell::Unset, Cell::Unset]),
                ("none such", &[text("Nobody"), Cell::Unset, Cell::Unset]),
                ("2", &[Cell::Unset, Cell::Unset, Cell::Unset]),
                ("1", &[Cell::Unset, text("+49"), text("B")]),
            ],
        ),
        Group {
            tokens: vec![200, 201],
            ..group(OperationKind::Delete, None, &[], &[("2", &[]), ("2", &[])])
        },
    ];
    assert_eq!(
        said(&done(&library, &groups)),
        [
            "100 written 1",
            "101 no-such-row Gone ",
            "102 no-such-row Gone ",
            "103 written 2",
            "104 SQLITE_CONSTRAINT_UNIQUE Park sf",
            "200 written 2",
            "201 no-such-row Gone ",
        ]
    );
    assert_eq!(table(&library), "1:A:Anna:-");
}

/// A write that was on its way while its row went and another took the row's number.
#[test]
fn a_write_never_reaches_the_row_that_has_the_number_now() {
    let library = Library::prepared(PEOPLE);
    library.capture(&[select("people", &["name"])]);
    library.execute("INSERT INTO people (sf, name) VALUES ('A', 'Ann')");
    library.execute("DELETE FROM people; INSERT INTO people (sf, name) VALUES ('B', 'Bo')");
    let update = |id| {
        group(
            OperationKind::Update,
            None,
            &["name"],
            &[(id, &[text("Bob")])],
        )
    };
    let delete = |id| group(OperationKind::Delete, None, &[], &[(id, &[])]);
    let cases = [
        (update("1"), "100 no-such-row Gone ", "1:B:Bo:-"),
        (delete("1"), "100 no-such-row Gone ", "1:B:Bo:-"),
        (update("1~1"), "100 written 1~1", "1:B:Bob:-"),
        (delete("1~1"), "100 written 1~1", "null"),
    ];
    for (group, outcome, after) in cases {
        assert_eq!(said(&done(&library, &[group])), [outcome]);
        assert_eq!(table(&library), after);
    }
}

#[test]
fn composite_and_text_keys_are_written_by_their_ids() {
    let library = Library::prepared(
        "CREATE TABLE people (k TEXT, n INTEGER, v TEXT, PRIMARY KEY (n, k)) WITHOUT ROWID; \
         INSERT INTO people VALUES ('it''s, me', 1, 'old'), ('b', 2, 'old')",
    );
    let pushed = done(
        &library,
        &[
            group(
                OperationKind::Update,
                None,
                &["v", "k"],
                &[
                    ("1,'it''s, me'", &[text("new"), Cell::Unset]),
                    ("2,'b'", &[Cell::Unset, text("c")]),
                ],
            ),
            Group {
                tokens: vec![200],
                ..group(
                    OperationKind::Create,
                    None,
                    &["k", "n"],
                    &[("", &[text("x"), Cell::Integer(3)])],
                )
            },
            Group {
                tokens: vec![300],
                ..group(OperationKind::Delete, None, &[], &[("1,'it''s, me'", &[])])
            },
        ],
    );
    assert_eq!(
        said(&pushed),
        [
            "100 written 1,'it''s, me'",
            "101 written 2,'c'",
            "200 created 3,'x'",
            "300 written 1,'it''s, me'"
        ]
    );
    assert_eq!(
        library.query("SELECT group_concat(n || k || ifnull(v, '-')) FROM people"),
        "2cold,3x-"
    );
}

/// What comes back is what the database made of the values, and only of the fields that were written: a field that
/// somebody else changed meanwhile is not this write's to report.
#[test]
fn the_answer_holds_the_written_fields_as_they_are_stored() {
    let library = Library::prepared(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, sf STRING UNIQUE, name TEXT, score DECIMAL(8,2))",
    );
    let pushed = done(
        &library,
        &[group(
            OperationKind::Upsert,
            Some("sf"),
            &["sf", "score", "name"],
            &[(
                "",
                &[text("007"), Cell::Decimal("1.5".to_owned()), Cell::Unset],
            )],
        )],
    );
    assert_eq!(pushed.after.len(), 1);
    let fields: Vec<&str> = pushed.after[0]
        .fields
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(fields, ["sf", "score"]);
    assert_eq!(pushed.after[0].records[0].id, "1");
    assert_eq!(
        pushed.after[0].records[0].cells,
        [text("7"), Cell::Decimal("1.50".to_owned())]
    );
}

#[test]
fn a_lock_is_a_fault_of_the_call_and_a_lost_answer_leaves_rows_unknown() {
    let library = Library::prepared(PEOPLE);
    let rows = [group(
        OperationKind::Upsert,
        Some("sf"),
        &["sf", "name"],
        &[
            ("", &[text("A"), text("Ann")]),
            ("", &[text("B"), text("Bo")]),
        ],
    )];
    let other = library.application();
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let fault = push(&library, &Settings::default(), &rows).expect_err("locked");
    assert_eq!(
        (fault.kind, fault.code.as_str(), fault.executed),
        (FaultKind::Transient, "SQLITE_BUSY", Executed::No)
    );
    other.execute_batch("ROLLBACK").expect("unlocked");
    library.lose_answer.set(true);
    assert_eq!(said(&done(&library, &rows)), ["100 unknown", "101 unknown"]);
    // The host reads by the key before it writes again, and finds them (invariant 6).
    let found = lookup::read(
        &library,
        &Settings::default(),
        "people",
        &["name".to_owned()],
        Some("sf"),
        &[b"A".to_vec(), b"B".to_vec(), b"C".to_vec()],
    )
    .expect("read");
    assert_eq!(found.records.len(), 2);
    assert_eq!(found.records[0].cells, [text("Ann"), text("A")]);
}

/// A refusal in the middle and then a lost answer: what was not attempted may come again, what was is unknown.
#[test]
fn rows_behind_a_lost_answer_were_not_attempted() {
    let library = Library::prepared(PEOPLE);
    let bad = group(
        OperationKind::Create,
        None,
        &["name"],
        &[
            ("", &[text("a")]),
            ("", &[text("b")]),
            ("", &[Cell::Null]),
            ("", &[text("d")]),
        ],
    );
    // Losing the first answer would make all unknown, so it is lost in the second round.
    struct Second<'a>(&'a Library, std::cell::Cell<usize>);
    impl tidegate_plugin_sqlite::database::Database for Second<'_> {
        fn fetch(
            &self,
            statements: Vec<tidegate_plugin_sqlite::database::Statement>,
        ) -> tidegate_plugin_sqlite::database::Answers {
            self.0.fetch(statements)
        }
        fn write(
            &self,
            statements: Vec<tidegate_plugin_sqlite::database::Statement>,
        ) -> tidegate_plugin_sqlite::database::Answers {
            self.1.set(self.1.get() + 1);
            self.0.lose_answer.set(self.1.get() == 2);
            self.0.write(statements)
        }
        fn warn(&self, message: &str) {
            self.0.warn(message);
        }
    }
    let database = Second(&library, std::cell::Cell::new(0));
    let pushed = push(&database, &Settings::default(), &[bad]).expect("pushed");
    assert_eq!(
        said(&pushed),
        [
            "100 unknown",
            "101 unknown",
            "102 not-attempted Retry ",
            "103 not-attempted Retry "
        ]
    );
    let retried = pushed.outcomes.iter().filter(|row| matches!(&row.outcome, Outcome::Refused(refusal) if refusal.advice == Advice::Retry)).count();
    assert_eq!(
        (retried, library.query("SELECT count(*) FROM people")),
        (2, "2".to_owned())
    );
}

/// Our own writes come back through the triggers, once, with the fields as they are: the host knows them again.
#[test]
fn own_writes_come_back_once() {
    let library = Library::prepared(PEOPLE);
    let wanted = [select("people", &["name", "sf"])];
    library.capture(&wanted);
    let page = library.pull(&wanted, None, 10);
    let row = [group(
        OperationKind::Upsert,
        Some("sf"),
        &["sf", "name"],
        &[("", &[text("A"), text("Ann")])],
    )];
    done(&library, &row);
    let page = library.pull(&wanted, Some(&page.cursor), 10);
    assert_eq!(
        lines(&page),
        [r#"Upsert people 1 name=Text("Ann") sf=Text("A")"#]
    );
    done(&library, &row);
    assert!(
        lines(&library.pull(&wanted, Some(&page.cursor), 10)).is_empty(),
        "equal values are no change"
    );
}
