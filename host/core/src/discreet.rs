//! A vendor's words without the customers' values that they repeat (invariant 10).
//!
//! `Name: data value too large: Jane Doe (max length=80)` is what vendors say. Which field it was they name beside
//! it, so nothing that helps is lost.

use crate::record::FieldId;
use crate::value::Value;

/// What stands in a value's place.
const MARK: &str = "[value]";
/// Shorter values are in too many words by chance, and tell too little.
const CHARS_MIN: usize = 3;
/// A vendor may cut a long value off: so many of its first characters are taken for it.
const HEAD_CHARS: usize = 12;

pub fn discreet(message: &str, values: &[(FieldId, Value)]) -> String {
    let mut words = message.to_owned();
    for (_, value) in values {
        let number;
        let text: &str = match value {
            Value::Text(text) | Value::Decimal(text) | Value::Json(text) => text.trim(),
            Value::Integer(value) => {
                number = value.to_string();
                &number
            }
            _ => continue,
        };
        if text.chars().count() >= CHARS_MIN {
            words = without(&words, text);
        }
    }
    words
}

fn without(message: &str, value: &str) -> String {
    let head_end = value
        .char_indices()
        .nth(HEAD_CHARS)
        .map_or(value.len(), |(at, _)| at);
    let head = &value[..head_end];
    let mut words = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(head) {
        let (before, found) = rest.split_at(at);
        let length = shared(found, value);
        let after = &found[length..];
        words.push_str(before);
        let inside = |side: Option<char>| side.is_some_and(char::is_alphanumeric);
        if inside(before.chars().next_back()) || inside(after.chars().next()) {
            // Part of another word.
            words.push_str(&found[..length]);
        } else {
            words.push_str(MARK);
        }
        rest = after;
    }
    words.push_str(rest);
    words
}

/// Bytes that two texts have in common from their beginnings.
fn shared(one: &str, other: &str) -> usize {
    let same = one
        .chars()
        .zip(other.chars())
        .take_while(|(one, other)| one == other);
    same.map(|(one, _)| one.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_and_values_go() {
        let text = |text: &str| Value::Text(text.into());
        let long = "0123456789".repeat(40);
        let cut = format!(
            "Name: data value too large: {} (max length=80)",
            &long[..255]
        );
        let cases = [
            (
                cut.as_str(),
                text(&long),
                "Name: data value too large: [value] (max length=80)",
            ),
            (
                "Email: invalid email address: jane@doe",
                text(" jane@doe "),
                "Email: invalid email address: [value]",
            ),
            (
                "bad value: new; renew it",
                text("new"),
                "bad value: [value]; renew it",
            ),
            (
                "bad value: \u{e9}t\u{e9}, \u{e9}t\u{e9}",
                text("\u{e9}t\u{e9}"),
                "bad value: [value], [value]",
            ),
            ("unable to lock row", text("at"), "unable to lock row"),
            ("17 and 4711", Value::Integer(4711), "17 and [value]"),
            ("nothing of it", Value::Null, "nothing of it"),
        ];
        for (message, value, expected) in cases {
            assert_eq!(discreet(message, &[(FieldId(0), value)]), expected);
        }
    }
}
