//! From the text of `plugin.toml` to the types, with the place of every mistake.
//!
//! Deserialization stops at its first mistake, so it is repeated without the offending key until nothing is left
//! to complain about: unknown keys and wrong types come out all at once.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::Manifest;

/// A mistake in a manifest, where it stands, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestProblem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub reason: String,
}

impl fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.reason
        )
    }
}

impl ManifestProblem {
    /// A mistake at a JSON pointer (`/pools/2/limit`), or at the nearest thing around it that exists.
    pub fn at_pointer(text: &str, pointer: &str, reason: impl Into<String>) -> Self {
        let document = Document::parse(text).0;
        Self::at(text, document.place(pointer), reason.into())
    }

    fn at(text: &str, offset: usize, reason: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            reason,
        }
    }
}

/// The parsed text, which still knows where everything stands.
pub(super) struct Document<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// As much as could be understood, and what could not.
    pub(super) fn parse(text: &'a str) -> (Self, Vec<ManifestProblem>) {
        let (root, errors) = DeTable::parse_recoverable(text);
        let problems = errors
            .iter()
            .map(|error| {
                let offset = error.span().map_or(0, |span| span.start);
                ManifestProblem::at(text, offset, error.message().to_owned())
            })
            .collect();
        (Self { text, root }, problems)
    }

    /// A mistake at a pointer into this document.
    pub(super) fn problem(&self, pointer: &str, reason: String) -> ManifestProblem {
        ManifestProblem::at(self.text, self.place(pointer), reason)
    }

    /// The manifest, as far as it can be read, and every key that had to be left out for it.
    pub(super) fn read(&self) -> (Option<Manifest>, Vec<ManifestProblem>) {
        let mut root = self.root.clone();
        let mut problems = Vec::new();
        let mut gone: Vec<Path> = Vec::new();
        loop {
            let error = match Manifest::deserialize(Deserializer::from(root.clone())) {
                Ok(manifest) => return (Some(manifest), problems),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| self.root.span());
            let path = self.locate(&span);
            if !follows(&gone, &path, error.message()) {
                let reason = explain(error.message());
                problems.push(ManifestProblem::at(self.text, span.start, reason));
            }
            if let Some(meant) = misspelt(error.message()) {
                // The key that was meant is not missing besides.
                gone.push(sibling(&path, meant));
            }
            gone.push(path);
            if span == self.root.span() || !remove(root.get_mut(), &span) {
                return (None, problems);
            }
        }
    }

    /// The smallest entry that a span is about; the root is the empty path.
    fn locate(&self, span: &Range<usize>) -> Path {
        if *span == self.root.span() {
            return Path::new();
        }
        locate(self.root.get_ref(), span).unwrap_or_default()
    }

    fn place(&self, pointer: &str) -> usize {
        let mut offset = self.root.span().start;
        let mut tables = Some(self.root.get_ref());
        let mut array = None;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let value: Option<&Spanned<DeValue<'_>>> = match (tables, array) {
                (Some(table), _) => table.get_key_value(part.as_str()).map(|(key, value)| {
                    offset = key.span().start;
                    value
                }),
                (None, Some(items)) => {
                    let items: &toml::de::DeArray<'_> = items;
                    let item = part.parse().ok().and_then(|index: usize| items.get(index));
                    item.inspect(|item| offset = item.span().start)
                }
                (None, None) => None,
            };
            let Some(value) = value else { break };
            tables = value.get_ref().as_table();
            array = value.get_ref().as_array();
        }
        offset
    }
}

fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Keys and indexes from the root to an entry.
type Path = Vec<String>;

fn sibling(path: &Path, key: &str) -> Path {
    let mut sibling = path.clone();
    sibling.pop();
    sibling.push(key.to_owned());
    sibling
}

/// Whether a mistake comes of an entry having been taken out: what is now missing, or now empty, was not so before.
fn follows(gone: &[Path], path: &Path, message: &str) -> bool {
    match quoted_after(message, "missing field `") {
        Some(field) => {
            let mut missing = path.clone();
            missing.push(field.to_owned());
            gone.contains(&missing)
        }
        None => gone
            .iter()
            .any(|gone| gone.len() > path.len() && gone.starts_with(path)),
    }
}

/// Headed tables span only their header, so the whole tree is searched, deepest entries first.
fn locate(table: &DeTable<'_>, span: &Range<usize>) -> Option<Path> {
    table.iter().find_map(|(key, value)| {
        let found = within(value, span).or_else(|| {
            let here = encloses(&key.span(), span) || encloses(&value.span(), span);
            here.then(Path::new)
        });
        found.map(|mut path| {
            path.insert(0, key.get_ref().to_string());
            path
        })
    })
}

fn within(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Path> {
    let deeper = match value.get_ref() {
        // A list of tables spans its first header, so its items are asked first.
        DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let found = within(item, span);
            let found = found.or_else(|| encloses(&item.span(), span).then(Path::new));
            found.map(|mut path| {
                path.insert(0, index.to_string());
                path
            })
        }),
        DeValue::Table(table) if value.span() != *span => locate(table, span),
        _ => None,
    };
    deeper.or_else(|| (value.span() == *span).then(Path::new))
}

/// Takes out the smallest entry that a span is about.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let Some(path) = locate(table, span) else {
        return false;
    };
    let Some((key, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        return table.remove(key.as_str()).is_some();
    }
    match table.get_mut(key.as_str()) {
        Some(value) => remove_at(value.get_mut(), rest),
        None => false,
    }
}

fn remove_at(value: &mut DeValue<'_>, path: &[String]) -> bool {
    let Some((key, rest)) = path.split_first() else {
        return false;
    };
    match value {
        DeValue::Table(table) if rest.is_empty() => table.remove(key.as_str()).is_some(),
        DeValue::Table(table) => match table.get_mut(key.as_str()) {
            Some(value) => remove_at(value.get_mut(), rest),
            None => false,
        },
        DeValue::Array(items) => {
            let Ok(index) = key.parse::<usize>() else {
                return false;
            };
            if let (false, Some(item)) = (rest.is_empty(), items.get_mut(index)) {
                return remove_at(item.get_mut(), rest);
            }
            // The list offers no removal of its own.
            let mut others = toml::de::DeArray::new();
            for (position, item) in items.iter().enumerate() {
                if position != index {
                    others.push(item.clone());
                }
            }
            let found = others.len() < items.len();
            *items = others;
            found
        }
        _ => false,
    }
}

fn quoted_after<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    let (name, _) = message.strip_prefix(start)?.split_once('`')?;
    Some(name)
}

/// The unknown name that serde complains of, and the known one that was probably meant.
fn unknown(message: &str) -> Option<(&str, Option<&str>)> {
    let starts = ["unknown field `", "unknown variant `"];
    let rest = starts
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    let (name, expected) = rest.split_once('`')?;
    let known = expected.split('`').skip(1).step_by(2);
    Some((name, nearest(name, known)))
}

fn misspelt(message: &str) -> Option<&str> {
    unknown(message).and_then(|(_, meant)| meant)
}

/// Adds the name that was probably meant to what serde says of an unknown one.
fn explain(message: &str) -> String {
    match unknown(message) {
        Some((name, Some(meant))) => format!("`{name}` is not known here; did you mean `{meant}`?"),
        _ => message.to_owned(),
    }
}

/// The known name that is most like the given one, if one is like it at all.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.7;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
