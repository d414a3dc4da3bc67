//! What is said of tables.

use tidegate_plugin_sqlite::prepare;
use tidegate_plugin_sqlite::schema;
use tidegate_plugin_sqlite::settings::Settings;
use tidegate_sdk::PrepareMode;

use crate::library::{Library, demands, select};

const SCHEMA: &str = r#"
    CREATE TABLE company (code TEXT PRIMARY KEY NOT NULL);
    CREATE TABLE people (
        id INTEGER PRIMARY KEY,
        salesforce_id VARCHAR(18) UNIQUE,
        last_name TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'new',
        score DECIMAL(12, 2),
        birthdate TEXT,
        company TEXT REFERENCES company (code),
        a INTEGER, b INTEGER,
        total GENERATED ALWAYS AS (a + b),
        UNIQUE (a, b)
    );
    CREATE UNIQUE INDEX by_expression ON people (lower(last_name));
    CREATE UNIQUE INDEX by_part ON people (status) WHERE status <> '';
    CREATE UNIQUE INDEX by_birthdate ON people (birthdate);
    CREATE TABLE pair (b TEXT, a INTEGER, v BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE VIEW grown AS SELECT id, last_name FROM people;
    CREATE VIRTUAL TABLE words USING fts5 (text);
"#;

fn described(config: &str, objects: &[&str]) -> Vec<String> {
    let library = Library::new(SCHEMA);
    let settings = Settings::read(config).expect("settings");
    let objects: Vec<String> = objects.iter().map(|name| (*name).to_owned()).collect();
    let tables = schema::describe(&library, &settings, &objects).expect("tables");
    let mut lines = Vec::new();
    for table in &tables {
        lines.push(format!(
            "{} key={:?} view={}",
            table.name,
            table.id_fields(),
            table.view
        ));
        for column in &table.columns {
            let mut line = format!("{} {}", column.name, column.kind);
            for (flag, word) in [
                (column.nullable, "null"),
                (column.has_default, "default"),
                (column.generated, "generated"),
                (column.unique, "unique"),
            ] {
                if flag {
                    line.push_str(&format!(" {word}"));
                }
            }
            for (number, word) in [
                (column.length_max, "length"),
                (column.precision, "precision"),
                (column.scale, "scale"),
            ] {
                if let Some(number) = number {
                    line.push_str(&format!(" {word}={number}"));
                }
            }
            if let Some(target) = &column.references {
                line.push_str(&format!(" -> {target}"));
            }
            lines.push(line);
        }
    }
    lines
}

#[test]
fn tables_are_described_as_they_are_declared() {
    let config = r#"{"types": {"people": {"birthdate": "date"}}}"#;
    assert_eq!(
        described(config, &["people", "pair", "nobody", "grown"]),
        [
            r#"people key=["id"] view=false"#,
            "id integer default unique",
            "salesforce_id text null unique length=18",
            "last_name text",
            "status text default",
            "score decimal null precision=12 scale=2",
            "birthdate date null unique",
            "company text null -> company",
            "a integer null",
            "b integer null",
            "total text null generated",
            r#"pair key=["a", "b"] view=false"#,
            "b text",
            "a integer",
            "v bytes null",
            "grown key=[] view=true",
            "id integer null",
            "last_name text null",
        ]
    );
}

#[test]
fn only_the_customers_own_tables_are_named() {
    let library = Library::new(SCHEMA);
    let settings = Settings::default();
    let before = prepare::identity(&library, &settings).expect("an identity");
    assert!(before.starts_with("unprepared-"));
    assert_eq!(
        prepare::identity(&library, &settings).expect("an identity"),
        before
    );
    library.prepare(
        &settings,
        &demands(&[select("people", &[])]),
        PrepareMode::Apply,
    );
    let names = |config: &str| {
        let settings = Settings::read(config).expect("settings");
        schema::names(&library, &settings)
            .expect("names")
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("{}"), ["company", "grown", "pair", "people"]);
    assert_eq!(names(r#"{"tables": ["people", "absent"]}"#), ["people"]);
    let identity = prepare::identity(&library, &settings).expect("an identity");
    assert_eq!(
        (
            identity.len(),
            prepare::identity(&library, &settings).expect("an identity")
        ),
        (32, identity.clone())
    );
    let fault = Settings::read(r#"{"outbx": "x"}"#).expect_err("a misspelt key");
    assert!(fault.message.contains("outbx"), "{}", fault.message);
}

#[test]
fn tables_are_counted_and_views_are_not() {
    let library = Library::new(SCHEMA);
    let statement =
        "INSERT INTO people (last_name, status) VALUES ('a', 'x'), ('b', 'y'), ('c', 'z')";
    library.execute(statement);
    let settings =
        Settings::read(r#"{"tables": ["people", "company", "grown"]}"#).expect("settings");
    let objects = ["people", "pair", "grown", "nothing", "company", "people"];
    let objects: Vec<String> = objects.iter().map(|name| (*name).to_owned()).collect();
    let counts = schema::count(&library, &settings, &objects).expect("counts");
    assert_eq!(counts, [Some(3), None, None, None, Some(0), Some(3)]);
}
