//! Values on their way from a column to a record and back.

use tidegate_plugin_sqlite::cell::Cell;
use tidegate_plugin_sqlite::lookup;
use tidegate_plugin_sqlite::push::push;
use tidegate_plugin_sqlite::settings::Settings;

use tidegate_sdk::{OperationKind, Outcome};

use crate::library::{Library, group};

fn settings(timestamps: &str) -> Settings {
    Settings::read(&format!(r#"{{"timestamps": "{timestamps}"}}"#)).expect("settings")
}

/// Declared type, stored literal, and what is read.
#[test]
fn what_is_stored_is_read_exactly_or_not_at_all() {
    let text = "text";
    let cases: &[(&str, &str, &str, &str)] = &[
        (text, "TEXT", "'00123'", r#"Text("00123")"#),
        (text, "TEXT", "'a' || char(0) || '😀'", r#"Text("a\0😀")"#),
        (text, "TEXT", "NULL", "Null"),
        (text, "TEXT", "x'FF'", "Unset"),
        (
            text,
            "VARCHAR(5)",
            "'longer than five'",
            r#"Text("longer than five")"#,
        ),
        (text, "", "12", r#"Text("12")"#),
        (text, "UUID", "'0b1c'", r#"Text("0b1c")"#),
        (
            text,
            "INTEGER",
            "-9223372036854775808",
            "Integer(-9223372036854775808)",
        ),
        (text, "INTEGER", "'12'", "Integer(12)"),
        (text, "INTEGER", "'12a'", "Unset"),
        (text, "INTEGER", "1.5", "Unset"),
        (text, "INTEGER", "1e20", "Unset"),
        (text, "BIGINT", "NULL", "Null"),
        (text, "REAL", "0.1", "Float(0.1)"),
        (text, "REAL", "3", "Float(3.0)"),
        (text, "REAL", "9e999", "Unset"),
        (text, "REAL", "'abc'", "Unset"),
        (text, "REAL", "NULL", "Null"),
        (text, "DECIMAL(12,2)", "1.5", r#"Decimal("1.50")"#),
        (text, "DECIMAL(12,2)", "'1.50'", r#"Decimal("1.50")"#),
        (text, "DECIMAL(12,2)", "7", r#"Decimal("7.00")"#),
        (text, "DECIMAL(12,2)", "-0.004", r#"Decimal("-0.004")"#),
        (text, "DECIMAL(12,2)", "-0.0", r#"Decimal("0.00")"#),
        (text, "DECIMAL(12,2)", "0.1 + 0.2", r#"Decimal("0.30")"#),
        (
            text,
            "DECIMAL(12,2)",
            "1234567890123.45",
            r#"Decimal("1234567890123.45")"#,
        ),
        (
            text,
            "NUMERIC",
            "9007199254740993",
            r#"Decimal("9007199254740993")"#,
        ),
        (
            text,
            "NUMERIC",
            "1e20",
            r#"Decimal("100000000000000000000")"#,
        ),
        (text, "NUMERIC", "1e-7", r#"Decimal("0.0000001")"#),
        (text, "NUMERIC", "'n/a'", "Unset"),
        (text, "BOOLEAN", "1", "Boolean(true)"),
        (text, "BOOLEAN", "'false'", "Boolean(false)"),
        (text, "BOOLEAN", "2", "Unset"),
        (text, "DATE", "'1969-12-31'", "Date(-1)"),
        (text, "DATE", "'2024-02-29 23:59:59'", "Date(19782)"),
        (text, "DATE", "'2023-02-29'", "Unset"),
        (text, "DATE", "'29.02.2024'", "Unset"),
        (text, "DATE", "20240229", "Unset"),
        (
            text,
            "TIMESTAMP",
            "'1970-01-01 00:00:01'",
            "Timestamp(1000000)",
        ),
        (
            text,
            "TIMESTAMP",
            "'1969-12-31T23:59:59.5Z'",
            "Timestamp(-500000)",
        ),
        (
            text,
            "DATETIME",
            "'1970-01-01 02:00:00+02:00'",
            "Timestamp(0)",
        ),
        (
            text,
            "DATETIME",
            "'1970-01-01 00:01'",
            "Timestamp(60000000)",
        ),
        (text, "DATETIME", "'1970-01-02'", "Timestamp(86400000000)"),
        (text, "DATETIME", "'yesterday'", "Unset"),
        (text, "DATETIME", "12", "Unset"),
        ("seconds", "DATETIME", "-2", "Timestamp(-2000000)"),
        ("milliseconds", "DATETIME", "1500", "Timestamp(1500000)"),
        (
            "milliseconds",
            "DATETIME",
            "'1970-01-01 00:00:01'",
            "Timestamp(1000000)",
        ),
        (text, "BLOB", "x'00FF'", "Bytes([0, 255])"),
        (text, "BLOB", "'text'", "Bytes([116, 101, 120, 116])"),
        (text, "JSON", "'{\"a\": 1}'", r#"Json("{\"a\": 1}")"#),
        (text, "JSON", "'{'", "Unset"),
    ];
    for (timestamps, declared, stored, expected) in cases {
        let library = Library::prepared(&format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared}); INSERT INTO t VALUES (1, {stored})"
        ));
        let read = lookup::read(
            &library,
            &settings(timestamps),
            "t",
            &["v".to_owned()],
            None,
            &[b"1".to_vec()],
        )
        .expect("read");
        let found = format!("{:?}", read.records[0].cells[0]);
        assert_eq!(found, *expected, "{declared} {stored}");
        let warned = !library.warnings.borrow().is_empty();
        assert_eq!(
            warned,
            found == "Unset",
            "an operator hears of {declared} {stored}"
        );
    }
}

/// Declared type, written cell, what the database then holds, and what the write reports of it. `!code` is a refusal.
#[test]
fn what_is_written_is_stored_exactly_or_refused() {
    use Cell::{Boolean, Date, Decimal, Float, Integer, Json, Text, Timestamp};
    let decimal = |digits: &str| Decimal(digits.to_owned());
    let text = |value: &str| Text(value.to_owned());
    let cases: &[(&str, &str, Cell, &str, &str)] = &[
        ("text", "TEXT", text("00123"), "'00123'", r#"Text("00123")"#),
        (
            "text",
            "TEXT",
            text("a\0😀'\""),
            "unhex('6100f09f9880') || '''\"'",
            r#"Text("a\0😀'\"")"#,
        ),
        ("text", "STRING", text("00123"), "123", r#"Text("123")"#),
        (
            "text",
            "INTEGER",
            Integer(i64::MIN),
            "-9223372036854775808",
            "Integer(-9223372036854775808)",
        ),
        ("text", "INTEGER", Boolean(true), "1", "Integer(1)"),
        ("text", "INTEGER", text("12"), "!wrong-kind", ""),
        (
            "text",
            "TEXT",
            Date(-1),
            "'1969-12-31'",
            r#"Text("1969-12-31")"#,
        ),
        ("text", "REAL", Float(0.1), "0.1", "Float(0.1)"),
        (
            "text",
            "REAL",
            Integer(1 << 53),
            "9007199254740992.0",
            "Float(9007199254740992.0)",
        ),
        (
            "text",
            "REAL",
            Integer((1 << 53) + 1),
            "!decimal-too-precise",
            "",
        ),
        (
            "text",
            "DECIMAL(12,2)",
            decimal("1.50"),
            "1.5",
            r#"Decimal("1.50")"#,
        ),
        (
            "text",
            "DECIMAL(12,2)",
            decimal("-12345678901234.5"),
            "-12345678901234.5",
            r#"Decimal("-12345678901234.50")"#,
        ),
        (
            "text",
            "DECIMAL(20,2)",
            decimal("123456789012345.67"),
            "!decimal-too-precise",
            "",
        ),
        (
            "text",
            "DECIMAL(20,2)",
            decimal("1234567890123456789.00"),
            "1234567890123456789",
            r#"Decimal("1234567890123456789.00")"#,
        ),
        ("text", "BOOLEAN", Boolean(false), "0", "Boolean(false)"),
        ("text", "DATE", Date(19782), "'2024-02-29'", "Date(19782)"),
        ("text", "DATE", Date(i32::MAX), "!out-of-range", ""),
        (
            "text",
            "TIMESTAMP",
            Timestamp(-500_000),
            "'1969-12-31 23:59:59.500'",
            "Timestamp(-500000)",
        ),
        (
            "text",
            "TIMESTAMP",
            Timestamp(1_000_001),
            "'1970-01-01 00:00:01.000001'",
            "Timestamp(1000001)",
        ),
        (
            "iso",
            "TIMESTAMP",
            Timestamp(0),
            "'1970-01-01T00:00:00Z'",
            "Timestamp(0)",
        ),
        (
            "seconds",
            "TIMESTAMP",
            Timestamp(-500_000),
            "-1",
            "Timestamp(-1000000)",
        ),
        (
            "milliseconds",
            "TIMESTAMP",
            Timestamp(1_500_000),
            "1500",
            "Timestamp(1500000)",
        ),
        (
            "text",
            "BLOB",
            Cell::Bytes(vec![0, 255]),
            "x'00FF'",
            "Bytes([0, 255])",
        ),
        (
            "text",
            "JSON",
            Json("[1]".to_owned()),
            "'[1]'",
            r#"Json("[1]")"#,
        ),
        ("text", "TEXT", Cell::Null, "NULL", "Null"),
    ];
    for (timestamps, declared, cell, stored, read) in cases {
        let library = Library::prepared(&format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})"
        ));
        let group = group(
            "t",
            OperationKind::Create,
            None,
            &["v"],
            &[("", std::slice::from_ref(cell))],
        );
        let pushed = push(&library, &settings(timestamps), &[group]).expect("pushed");
        match (&pushed.outcomes[0].outcome, stored.strip_prefix('!')) {
            (Outcome::Refused(refusal), Some(code)) => {
                assert_eq!(refusal.code, code, "{declared} {cell:?}")
            }
            (Outcome::Written(_), None) => {
                let same = library.query(&format!(
                    "SELECT v IS {stored} AND typeof(v) = typeof({stored}) FROM t"
                ));
                assert_eq!(
                    same,
                    "1",
                    "{declared} {cell:?}: {}",
                    library.query("SELECT v FROM t")
                );
                assert_eq!(
                    format!("{:?}", pushed.after[0].records[0].cells[0]),
                    *read,
                    "{declared}"
                );
            }
            (outcome, _) => panic!("{declared} {cell:?}: {outcome:?}"),
        }
    }
}
