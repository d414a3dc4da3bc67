//! What the triggers cost an application. Not a check: prints figures for the README.

use std::time::Instant;

use crate::library::{Library, select};

const ROWS: u32 = 100_000;

/// `cargo test -p tidegate-plugin-sqlite -- --ignored --nocapture trigger_cost`
#[test]
#[ignore = "a measurement, of half a minute"]
#[allow(clippy::disallowed_methods, reason = "it measures time")]
fn trigger_cost() {
    let schema = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, notes TEXT)";
    for captured in [false, true] {
        let library = Library::new(schema);
        if captured {
            library.capture(&[select("people", &["name", "email", "phone"])]);
        }
        let work: [(&str, String); 4] = [
            (
                "insert",
                "INSERT INTO people VALUES (?1, 'name ' || ?1, ?1 || '@example.com', '+49 30 1234', 'notes')"
                    .to_owned(),
            ),
            ("update of a captured field", "UPDATE people SET name = 'other' WHERE id = ?1".to_owned()),
            ("update to the same value", "UPDATE people SET name = 'other' WHERE id = ?1".to_owned()),
            ("update of another field", "UPDATE people SET notes = 'other' WHERE id = ?1".to_owned()),
        ];
        for (what, sql) in &work {
            let mut connection = library.application();
            let started = Instant::now();
            let transaction = connection.transaction().expect("begun");
            {
                let mut statement = transaction.prepare(sql).expect("compiled");
                for id in 1..=ROWS {
                    statement.execute([id]).expect("done");
                }
            }
            transaction.commit().expect("committed");
            let each_us = started.elapsed().as_secs_f64() * 1e6 / f64::from(ROWS);
            println!(
                "triggers {captured:5} | {what:27} | {each_us:6.2} us a row, in one transaction"
            );
        }
        let connection = library.application();
        let started = Instant::now();
        let mut statement = connection
            .prepare("UPDATE people SET name = name || 'x' WHERE id = ?1")
            .expect("compiled");
        for id in 1..=ROWS / 10 {
            statement.execute([id]).expect("done");
        }
        let each_us = started.elapsed().as_secs_f64() * 1e7 / f64::from(ROWS);
        println!(
            "triggers {captured:5} | {:27} | {each_us:6.2} us a row, each committed, not synced",
            "update of a captured field"
        );
    }
}
