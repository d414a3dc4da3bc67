//! Where every key of the file stands, so that a problem found much later can still name its line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

/// A key in a file. Line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
    /// Dotted path, such as `syncs.people.left.key`; empty for the file as a whole.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub struct Places {
    file: Arc<str>,
    text: Arc<str>,
    starts: BTreeMap<String, usize>,
}

impl Places {
    pub(super) fn of_table(file: &str, text: &str, table: &DeTable<'_>) -> Self {
        let mut starts = BTreeMap::new();
        walk_table("", table, &mut starts);
        Self {
            file: file.into(),
            text: text.into(),
            starts,
        }
    }

    /// Places of a file that could not be read: everything is its beginning.
    pub(super) fn of_nothing(file: &str) -> Self {
        Self {
            file: file.into(),
            text: "".into(),
            starts: BTreeMap::new(),
        }
    }

    /// Where `key` stands, or the innermost table around it that the file has.
    pub fn of(&self, key: &str) -> Place {
        let mut around = key;
        let byte = loop {
            if let Some(byte) = self.starts.get(around) {
                break *byte;
            }
            match around.rfind(['.', '[']) {
                Some(end) => around = &around[..end],
                None => break 0,
            }
        };
        Place {
            key: key.to_owned(),
            ..self.at(byte)
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.starts.contains_key(key)
    }

    pub(super) fn at(&self, byte: usize) -> Place {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: String::new(),
        }
    }
}

fn walk_table(key: &str, table: &DeTable<'_>, starts: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key = join(key, name.get_ref());
        starts.insert(key.clone(), name.span().start);
        walk_value(&key, value.get_ref(), starts);
    }
}

fn walk_value(key: &str, value: &DeValue<'_>, starts: &mut BTreeMap<String, usize>) {
    match value {
        DeValue::Table(table) => walk_table(key, table, starts),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let key = format!("{key}[{index}]");
                starts.insert(key.clone(), item.span().start);
                walk_value(&key, item.get_ref(), starts);
            }
        }
        _ => {}
    }
}

/// One step down a dotted path; a name that TOML would quote is quoted here too.
pub fn join(key: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let name = if bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if key.is_empty() {
        name
    } else {
        format!("{key}.{name}")
    }
}
