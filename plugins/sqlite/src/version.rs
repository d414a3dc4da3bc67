//! Versions: up to which number of the outbox a record's changes are known.
//!
//! A write that is given a version is made conditional on it: the outbox must hold no later change of the record.
//! Else somebody has changed the row since the host last looked, and the write would undo that unseen. The outbox
//! keeps what the host has taken for as long as a write may be on its way, see [`KEPT_MS`].

use tidegate_sdk::{Group, OperationKind};

use crate::database::{Class, Statement, Value};
use crate::quoting::name;
use crate::schema::Table;
use crate::settings::Settings;

/// How long a change stays in the outbox that the host has on disk: a write may have been decided on before it was
/// seen. More than twice the time that a plugin's call may take unless an operator allows it more.
pub(crate) const KEPT_MS: i64 = 300_000;

/// Sorts as its number does: the count of digits, as a letter, stands first.
pub(crate) fn text(number: i64) -> String {
    let digits = number.max(0).to_string();
    let count = u8::try_from(digits.len()).unwrap_or(u8::MAX);
    format!("{}{digits}", char::from(b'a' + count - 1))
}

/// `None` for what is not one of ours.
pub(crate) fn number(text: &str) -> Option<i64> {
    let digits = text.get(1..)?;
    let number = digits.parse().ok().filter(|number| *number >= 0)?;
    (self::text(number) == text).then_some(number)
}

/// An expression for the version of whatever its statement reads; null for a table that is not captured.
pub(crate) fn now(settings: &Settings, table: &Table) -> String {
    match table.number {
        Some(_) => format!(
            "(SELECT coalesce(max(seq), 0) FROM {})",
            name(&settings.outbox)
        ),
        None => "NULL".to_owned(),
    }
}

/// What [`now`] gave, as text; empty for a table that is not captured.
pub(crate) fn of(value: &Value) -> String {
    value.integer().map(text).unwrap_or_default()
}

/// A condition that no later change than ?`at` + 1 of the record ?`at` is there.
pub(crate) fn unchanged(settings: &Settings, number: i64, at: usize) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM {} WHERE object = {number} AND id = ?{at} AND seq > ?{})",
        name(&settings.outbox),
        at + 1
    )
}

/// The values for [`unchanged`], where a row's write is conditional.
pub(crate) fn condition(table: &Table, group: &Group, row: usize) -> Option<[Value; 2]> {
    table.number?;
    if !matches!(
        group.operation,
        OperationKind::Update | OperationKind::Delete
    ) || row >= group.versions.len()
    {
        return None;
    }
    let known = number(group.versions.text(row))?;
    Some([Value::from(group.ids.text(row)), Value::Integer(known)])
}

/// Asked at the end of a transaction, this is the version of all that it wrote.
pub(crate) fn statement(settings: &Settings) -> Statement {
    Statement {
        idempotent: true,
        ..Statement::once(
            format!(
                "SELECT coalesce(max(seq), 0) FROM {}",
                name(&settings.outbox)
            ),
            Vec::new(),
            &[Class::Integer],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_their_numbers() {
        let numbers = [0, 1, 9, 10, 11, 99, 100, 1_234_567, i64::MAX];
        let texts: Vec<String> = numbers.iter().copied().map(text).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        for (number, text) in numbers.iter().zip(&texts) {
            assert_eq!(super::number(text), Some(*number));
        }
        for foreign in [
            "",
            "a",
            "1",
            "b7",
            "a-1",
            "a+1",
            "a01",
            "0000000000000000007",
            "\u{e9}1",
        ] {
            assert_eq!(super::number(foreign), None, "{foreign}");
        }
    }
}
