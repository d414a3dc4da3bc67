//! SQLite's errors as faults. No message carries a value: only names of tables, columns and constraints.

use rusqlite::Error;
use rusqlite::ffi;
use tidegate_core::plugin::{Executed, Fault, FaultKind};

/// The name of an extended result code where plugins tell them apart, else of the primary one.
fn code_name(extended: i32) -> &'static str {
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE => "SQLITE_CONSTRAINT_UNIQUE",
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY => "SQLITE_CONSTRAINT_PRIMARYKEY",
        ffi::SQLITE_CONSTRAINT_ROWID => "SQLITE_CONSTRAINT_ROWID",
        ffi::SQLITE_CONSTRAINT_NOTNULL => "SQLITE_CONSTRAINT_NOTNULL",
        ffi::SQLITE_CONSTRAINT_CHECK => "SQLITE_CONSTRAINT_CHECK",
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => "SQLITE_CONSTRAINT_FOREIGNKEY",
        ffi::SQLITE_CONSTRAINT_TRIGGER => "SQLITE_CONSTRAINT_TRIGGER",
        ffi::SQLITE_CONSTRAINT_DATATYPE => "SQLITE_CONSTRAINT_DATATYPE",
        _ => primary_name(extended & 0xff),
    }
}

fn primary_name(primary: i32) -> &'static str {
    match primary {
        ffi::SQLITE_BUSY => "SQLITE_BUSY",
        ffi::SQLITE_LOCKED => "SQLITE_LOCKED",
        ffi::SQLITE_CONSTRAINT => "SQLITE_CONSTRAINT",
        ffi::SQLITE_FULL => "SQLITE_FULL",
        ffi::SQLITE_CORRUPT => "SQLITE_CORRUPT",
        ffi::SQLITE_NOTADB => "SQLITE_NOTADB",
        ffi::SQLITE_READONLY => "SQLITE_READONLY",
        ffi::SQLITE_CANTOPEN => "SQLITE_CANTOPEN",
        ffi::SQLITE_PERM => "SQLITE_PERM",
        ffi::SQLITE_IOERR => "SQLITE_IOERR",
        ffi::SQLITE_INTERRUPT => "SQLITE_INTERRUPT",
        ffi::SQLITE_SCHEMA => "SQLITE_SCHEMA",
        ffi::SQLITE_NOMEM => "SQLITE_NOMEM",
        ffi::SQLITE_MISMATCH => "SQLITE_MISMATCH",
        ffi::SQLITE_TOOBIG => "SQLITE_TOOBIG",
        ffi::SQLITE_RANGE => "SQLITE_RANGE",
        ffi::SQLITE_AUTH => "SQLITE_AUTH",
        _ => "SQLITE_ERROR",
    }
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    /// Everything before the commit: a failure has changed nothing.
    Statement,
    /// The commit: a failing disk leaves it open whether it counts.
    Commit,
}

pub(super) fn fault(error: &Error, during: During) -> Fault {
    let (extended, said) = match error {
        Error::SqliteFailure(error, said) => (error.extended_code, said.as_deref()),
        Error::SqlInputError { error, msg, .. } => (error.extended_code, Some(msg.as_str())),
        Error::MultipleStatement => {
            return refused("several-statements", "one request carries one statement");
        }
        Error::NulError(_) => {
            return refused("nul-in-statement", "the statement's text contains U+0000");
        }
        _ => (ffi::SQLITE_ERROR, None),
    };
    let said = said.unwrap_or_default();
    let kind = kind(extended, said);
    let executed = match (during, extended & 0xff) {
        (During::Statement, _)
        | (_, ffi::SQLITE_BUSY | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_INTERRUPT) => Executed::No,
        (During::Commit, _) => Executed::Unknown,
    };
    Fault::new(kind, code_name(extended), message(extended, said, error)).executed(executed)
}

fn refused(code: &str, message: &str) -> Fault {
    Fault::new(FaultKind::Refused, code, message)
}

fn kind(extended: i32, said: &str) -> FaultKind {
    match extended & 0xff {
        ffi::SQLITE_BUSY
        | ffi::SQLITE_LOCKED
        | ffi::SQLITE_FULL
        | ffi::SQLITE_IOERR
        | ffi::SQLITE_INTERRUPT
        | ffi::SQLITE_SCHEMA
        | ffi::SQLITE_NOMEM => FaultKind::Transient,
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => FaultKind::Broken,
        ffi::SQLITE_READONLY | ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM => FaultKind::Config,
        ffi::SQLITE_ERROR if said.starts_with("no such ") => FaultKind::Missing,
        _ => FaultKind::Refused,
    }
}

/// SQLite's own words where they are known to hold names only, else what the code means.
fn message(extended: i32, said: &str, error: &Error) -> String {
    const NAMES_ONLY: [&str; 6] = [
        "no such table: ",
        "no such column: ",
        "no such index: ",
        "UNIQUE constraint failed: ",
        "NOT NULL constraint failed: ",
        "FOREIGN KEY constraint failed",
    ];
    if NAMES_ONLY.iter().any(|start| said.starts_with(start)) {
        return said.to_owned();
    }
    match (extended & 0xff, error) {
        (ffi::SQLITE_BUSY, _) => {
            "another process holds the database's lock; it is tried again".to_owned()
        }
        (ffi::SQLITE_FULL, _) => "the database's disk is full; make room".to_owned(),
        (ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB, _) => {
            "the database file is damaged or no database; restore it before going on".to_owned()
        }
        (ffi::SQLITE_READONLY, _) => {
            "the database can't be written; check the file's owner and mode".to_owned()
        }
        (ffi::SQLITE_CANTOPEN, _) => {
            "the database can't be opened; check that the file exists and may be read".to_owned()
        }
        (_, Error::SqlInputError { offset, .. }) if *offset >= 0 => {
            format!("the statement does not compile, at byte {offset}")
        }
        _ => ffi::code_to_str(extended).to_owned(),
    }
}
