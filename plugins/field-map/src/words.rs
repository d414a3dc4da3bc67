//! Steps on text.

use std::borrow::Cow;

use crate::item::{Item, Trouble};
use crate::written::Step;

/// Applies the steps in order. Null passes; what is not text is trouble.
pub(crate) fn apply<'a>(steps: &[Step], item: Item<'a>) -> Result<Item<'a>, Trouble> {
    if steps.is_empty() {
        return Ok(item);
    }
    let mut text = match item {
        Item::Null => return Ok(Item::Null),
        Item::Text(text) => text,
        other => {
            let kind = other.value().kind();
            return Err(Trouble::new(
                "not-text",
                format!("steps work on text, not on {kind}"),
            ));
        }
    };
    for step in steps {
        text = match step {
            Step::Trim => trim(text),
            Step::CollapseSpaces => collapse_spaces(text),
            Step::Upper => changed(text, |text| text.to_uppercase()),
            Step::Lower => changed(text, |text| text.to_lowercase()),
            Step::Title => changed(text, title),
            Step::EmptyToNull if text.is_empty() => return Ok(Item::Null),
            Step::EmptyToNull => text,
        };
    }
    Ok(Item::Text(text))
}

fn changed<'a>(text: Cow<'a, str>, change: impl Fn(&str) -> String) -> Cow<'a, str> {
    change(&text).into()
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    }
}

/// Every run of white space becomes one space.
fn collapse_spaces(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut collapsed = String::with_capacity(text.len());
    let mut in_space = false;
    for character in text.chars() {
        let space = character.is_whitespace();
        if !space {
            collapsed.push(character);
        } else if !in_space {
            collapsed.push(' ');
        }
        in_space = space;
    }
    if collapsed == text {
        text
    } else {
        collapsed.into()
    }
}

/// The first letter of each word upper, the others lower. A word begins after anything that is neither a letter,
/// a digit nor an apostrophe.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if inside {
            titled.extend(character.to_lowercase());
        } else {
            titled.extend(character.to_uppercase());
        }
        inside = character.is_alphanumeric() || matches!(character, '\'' | '’');
    }
    titled
}
