//! One table of the file while it is read: what is asked for is what is known, so the keys that nobody
//! asked for are the unknown ones.
//!
//! serde would stop at the first mistake; a person wants all of them at once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tidegate_core::time::parse_duration;
use toml::de::{DeTable, DeValue};

use super::places::join;
use super::problem::{Code, Findings, listed, suggest};

pub(super) struct Section<'a, 'i> {
    table: &'a DeTable<'i>,
    key: String,
    asked: Vec<Cow<'static, str>>,
    findings: &'a Findings,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn new(table: &'a DeTable<'i>, key: String, findings: &'a Findings) -> Self {
        Self {
            table,
            key,
            asked: Vec::new(),
            findings,
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    fn ask(&mut self, name: impl Into<Cow<'static, str>>) -> Option<(String, &'a DeValue<'i>)> {
        let name = name.into();
        let found = self
            .table
            .get(name.as_ref())
            .map(|value| (join(&self.key, &name), value.get_ref()));
        self.asked.push(name);
        found
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let (key, value) = self.ask(name)?;
        text(&key, value, self.findings)
    }

    pub(super) fn count(&mut self, name: impl Into<Cow<'static, str>>) -> Option<u64> {
        let (key, value) = self.ask(name)?;
        let DeValue::Integer(number) = value else {
            wrong_type(&key, "a whole number", value, self.findings);
            return None;
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        if parsed.is_none() {
            let message = format!("{number} is not a whole number of zero or more");
            self.findings.error(Code::OutOfRange, &key, message);
        }
        parsed
    }

    /// A number, whole or not.
    pub(super) fn number(&mut self, name: &'static str) -> Option<f64> {
        let (key, value) = self.ask(name)?;
        let parsed = match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(|number| number as f64),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        if parsed.is_none() {
            wrong_type(&key, "a number", value, self.findings);
        }
        parsed
    }

    /// A length of time in milliseconds.
    pub(super) fn duration_ms(&mut self, name: &'static str) -> Option<u64> {
        let (key, value) = self.ask(name)?;
        let written = text(&key, value, self.findings)?;
        match parse_duration(&written) {
            Ok(duration) => u64::try_from(duration.as_millis()).ok(),
            Err(error) => {
                self.findings
                    .error(Code::BadDuration, &key, error.to_string());
                None
            }
        }
    }

    /// One of a closed list.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let (key, value) = self.ask(name)?;
        choice(&key, value, choices, self.findings)
    }

    /// Any of a closed list.
    pub(super) fn choices<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Vec<T> {
        let Some((key, value)) = self.ask(name) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value else {
            wrong_type(&key, "a list of texts", value, self.findings);
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items
            .filter_map(|(index, item)| {
                let key = format!("{key}[{index}]");
                choice(&key, item.get_ref(), choices, self.findings)
            })
            .collect()
    }

    /// A closed list's value under names of the operator's choosing.
    pub(super) fn choices_by_name<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> BTreeMap<String, T> {
        self.each(name, |key, value, findings| {
            choice(key, value, choices, findings)
        })
    }

    /// Texts under names of the operator's choosing.
    pub(super) fn texts_by_name(&mut self, name: &'static str) -> BTreeMap<String, String> {
        self.each(name, text)
    }

    /// A list of texts, each with its own key.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<(String, String)> {
        let Some((key, value)) = self.ask(name) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value else {
            wrong_type(&key, "a list of texts", value, self.findings);
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items
            .filter_map(|(index, item)| {
                let key = format!("{key}[{index}]");
                let text = text(&key, item.get_ref(), self.findings)?;
                Some((key, text))
            })
            .collect()
    }

    /// Any tables under names of the operator's choosing.
    pub(super) fn sections<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'a, 'i>) -> T,
    ) -> BTreeMap<String, T> {
        self.each(name, |key, value, findings| {
            section(key, value, findings, &mut read)
        })
    }

    /// A list of tables of known keys, each with its number in its key.
    pub(super) fn sections_in_order<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'a, 'i>) -> T,
    ) -> Vec<T> {
        let Some((key, value)) = self.ask(name) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value else {
            wrong_type(&key, "a list of tables", value, self.findings);
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items
            .filter_map(|(index, item)| {
                let key = format!("{key}[{index}]");
                section(&key, item.get_ref(), self.findings, &mut read)
            })
            .collect()
    }

    /// One table of known keys; `None` when the file does not have it.
    pub(super) fn section<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'a, 'i>) -> T,
    ) -> Option<T> {
        let (key, value) = self.ask(name)?;
        section(&key, value, self.findings, &mut read)
    }

    /// A table that is handed on as it stands.
    pub(super) fn json(&mut self, name: &'static str) -> Option<serde_json::Value> {
        let (key, value) = self.ask(name)?;
        if !matches!(value, DeValue::Table(_)) {
            wrong_type(&key, "a table", value, self.findings);
            return None;
        }
        json(&key, value, self.findings)
    }

    /// The value as it stands, for keys whose shape is read elsewhere.
    pub(super) fn raw(&mut self, name: &'static str) -> Option<(String, &'a DeValue<'i>)> {
        self.ask(name)
    }

    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    fn each<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&str, &'a DeValue<'i>, &'a Findings) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some((key, value)) = self.ask(name) else {
            return BTreeMap::new();
        };
        let DeValue::Table(table) = value else {
            wrong_type(&key, "a table", value, self.findings);
            return BTreeMap::new();
        };
        table
            .iter()
            .filter_map(|(name, value)| {
                let key = join(&key, name.get_ref());
                let read = read(&key, value.get_ref(), self.findings)?;
                Some((name.get_ref().to_string(), read))
            })
            .collect()
    }

    /// Reports the keys that nobody asked for.
    fn finish(self) {
        for name in self.table.keys() {
            let name = name.get_ref().as_ref();
            if !self.asked.iter().any(|asked| asked == name) {
                let around = if self.key.is_empty() {
                    "the file".to_owned()
                } else {
                    format!("`{}`", self.key)
                };
                self.findings.error_with_help(
                    Code::UnknownKey,
                    &join(&self.key, name),
                    format!("`{name}` is not a key of {around}"),
                    suggest(name, self.asked.iter().map(AsRef::as_ref)),
                );
            }
        }
    }
}

/// Reads a whole table and reports what is left over.
pub(super) fn read_table<'a, 'i, T>(
    key: &str,
    table: &'a DeTable<'i>,
    findings: &'a Findings,
    read: impl FnOnce(&mut Section<'a, 'i>) -> T,
) -> T {
    let mut section = Section::new(table, key.to_owned(), findings);
    let value = read(&mut section);
    section.finish();
    value
}

fn section<'a, 'i, T>(
    key: &str,
    value: &'a DeValue<'i>,
    findings: &'a Findings,
    read: &mut impl FnMut(&mut Section<'a, 'i>) -> T,
) -> Option<T> {
    let DeValue::Table(table) = value else {
        wrong_type(key, "a table", value, findings);
        return None;
    };
    Some(read_table(key, table, findings, read))
}

fn text(key: &str, value: &DeValue<'_>, findings: &Findings) -> Option<String> {
    let found = value.as_str().map(str::to_owned);
    if found.is_none() {
        wrong_type(key, "text in quotes", value, findings);
    }
    found
}

fn choice<T: Copy>(
    key: &str,
    value: &DeValue<'_>,
    choices: &[(&str, T)],
    findings: &Findings,
) -> Option<T> {
    let written = text(key, value, findings)?;
    let found = choices.iter().find(|(name, _)| *name == written);
    if found.is_none() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        findings.error_with_help(
            Code::UnknownValue,
            key,
            format!("`{written}` is not one of {}", listed(&names)),
            super::problem::nearest(&written, names.iter().copied())
                .map(|name| format!("did you mean `{name}`?"))
                .unwrap_or_default(),
        );
    }
    found.map(|(_, value)| *value)
}

pub(super) fn wrong_type(key: &str, wanted: &str, value: &DeValue<'_>, findings: &Findings) {
    let found = match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    findings.error(
        Code::WrongType,
        key,
        format!("{wanted} belongs here, and {found} stands here"),
    );
}

/// TOML as JSON, for plugins. Dates and times, which JSON lacks, must be written as text.
fn json(key: &str, value: &DeValue<'_>, findings: &Findings) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()?
            .into(),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok()?.into(),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => {
            wrong_type(key, "text in quotes", value, findings);
            return None;
        }
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| json(&format!("{key}[{index}]"), item.get_ref(), findings))
            .collect(),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .filter_map(|(name, value)| {
                    let value = json(&join(key, name.get_ref()), value.get_ref(), findings)?;
                    Some((name.get_ref().to_string(), value))
                })
                .collect(),
        ),
    })
}
