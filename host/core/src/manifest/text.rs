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
        let mut removed: Vec<Range<usize>> = Vec::new();
        loop {
            let error = match Manifest::deserialize(Deserializer::from(root.clone())) {
                Ok(manifest) => return (Some(manifest), problems),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            // What is missing because it was just taken out is not a second mistake.
            let follows = removed
                .iter()
                .any(|gone| encloses(&span, gone) && span != *gone);
            if !follows {
                let reason = explain(error.message());
                problems.push(ManifestProblem::at(self.text, span.start, reason));
            }
            match remove(root.get_mut(), &span) {
                Some(gone) => removed.push(gone),
                None => return (None, problems),
            }
        }
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

/// Takes out the smallest entry that holds the span, and tells where it stood.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<Range<usize>> {
    for (_, value) in table.iter_mut() {
        if let Some(gone) = remove_within(value, span) {
            return Some(gone);
        }
    }
    let found = table
        .iter()
        .find(|(key, value)| encloses(&key.span(), span) || encloses(&value.span(), span))
        .map(|(key, value)| {
            (
                key.get_ref().to_string(),
                key.span().start..value.span().end.max(key.span().end),
            )
        });
    let (key, gone) = found?;
    table.remove(key.as_str());
    Some(gone)
}

fn remove_within(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Range<usize>> {
    // An error about a whole table or list must take out the whole of it.
    if value.span() == *span {
        return None;
    }
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                if let Some(gone) = remove_within(item, span) {
                    return Some(gone);
                }
            }
            let index = items.iter().position(|item| encloses(&item.span(), span))?;
            let gone = items[index].span();
            let mut rest = toml::de::DeArray::new();
            for (position, item) in items.iter().enumerate() {
                if position != index {
                    rest.push(item.clone());
                }
            }
            *items = rest;
            Some(gone)
        }
        _ => None,
    }
}

/// Adds the name that was probably meant to what serde says of an unknown one.
fn explain(message: &str) -> String {
    let unknown = ["unknown field `", "unknown variant `"];
    let Some(rest) = unknown.iter().find_map(|start| message.strip_prefix(start)) else {
        return message.to_owned();
    };
    let Some((name, expected)) = rest.split_once('`') else {
        return message.to_owned();
    };
    let known = expected.split('`').skip(1).step_by(2);
    match nearest(name, known) {
        Some(meant) => format!("`{name}` is not known here; did you mean `{meant}`?"),
        None => message.to_owned(),
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
