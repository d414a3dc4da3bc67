//! What a write or an incoming change makes untrue.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a kept answer speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The vendor's account. What one credential changes there is changed for all of them.
    pub account: Arc<str>,
    /// Without query.
    pub path: String,
    pub tags: Vec<String>,
}

/// Something at an account is no longer as it was.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Whatever has one of these tags. Tags are compared as whole texts.
    Tags(HashSet<&'a str>),
    /// Whatever lies at this path, under it or above it.
    Path(&'a str),
    /// Nobody knows what.
    All,
}

impl Label {
    pub fn new(account: &str, path: &str, tags: &[String]) -> Self {
        Self {
            account: account.into(),
            path: without_query(path).to_owned(),
            tags: tags.to_vec(),
        }
    }

    pub fn is_touched(&self, account: &str, change: &Change<'_>) -> bool {
        *self.account == *account
            && match change {
                Change::Tags(tags) => self.tags.iter().any(|tag| tags.contains(tag.as_str())),
                Change::Path(path) => {
                    let path = without_query(path);
                    is_under(&self.path, path) || is_under(path, &self.path)
                }
                Change::All => true,
            }
    }

    pub(super) fn bytes(&self) -> u64 {
        let tags = self.tags.iter().map(|tag| tag.len() + size_of::<String>());
        (self.path.len() + tags.sum::<usize>()) as u64
    }
}

impl<'a> Change<'a> {
    /// What a write changes: what it says, or whatever is near its path when it says nothing.
    pub fn of_write(path: &'a str, tags: &'a [String]) -> Self {
        match tags {
            [] => Self::Path(path),
            tags => Self::Tags(tags.iter().map(String::as_str).collect()),
        }
    }
}

fn without_query(path: &str) -> &str {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    path.trim_end_matches('/')
}

fn is_under(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_touch_what_they_name_and_no_other_account() {
        let tags = ["Contact".to_owned(), "Contact/003".to_owned()];
        let label = Label::new("vendor https://x", "/sobjects/Contact/003?fields=Id", &tags);
        let named = |tags: &[&'static str]| Change::Tags(tags.iter().copied().collect());
        let cases = [
            (named(&["Contact"]), true),
            (named(&["Account", "Contact/003"]), true),
            (named(&["Contact/00"]), false),
            (named(&["contact"]), false),
            (named(&[]), false),
            (Change::Path("/sobjects/Contact/003"), true),
            (Change::Path("/sobjects/Contact/003/"), true),
            (Change::Path("/sobjects/Contact"), true),
            (Change::Path("/sobjects/Contact?x=1"), true),
            (Change::Path("/sobjects/Contact/003/Cases"), true),
            (Change::Path("/sobjects/Contact/004"), false),
            (Change::Path("/sobjects/Contact/00"), false),
            (Change::Path("/composite/sobjects"), false),
            (Change::All, true),
        ];
        for (change, touched) in cases {
            let found = label.is_touched("vendor https://x", &change);
            assert_eq!(found, touched, "{change:?}");
            assert!(!label.is_touched("vendor https://y", &change), "{change:?}");
        }
    }
}
