//! Answers on standard output, progress and errors on standard error; as text or as JSON.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    json: bool,
}

impl Terminal {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// The command's answer: as JSON, or as the text that `text` makes of it.
    pub(super) fn answer<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        let written = if self.json {
            serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string())
        } else {
            text(value)
        };
        print(std::io::stdout().lock(), written.trim_end());
    }

    /// Why there is no answer. With `--json` also an object with a stable `code`.
    pub(super) fn failure(self, code: &str, message: impl Display) {
        if self.json {
            let value = serde_json::json!({ "code": code, "message": message.to_string() });
            print(std::io::stdout().lock(), &format!("{value:#}"));
        }
        print(
            std::io::stderr().lock(),
            &format!("tidegate: {message} [{code}]"),
        );
    }
}

/// A closed pipe is the reader's choice, not an error.
fn print(mut out: impl Write, text: &str) {
    drop(writeln!(out, "{text}"));
}
