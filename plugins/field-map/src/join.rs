//! Several fields in one text, and back.

use std::borrow::Cow;

use crate::item::Trouble;

/// Parts with the separator between them; `None` when no part has text. One that runs both ways keeps the place of
/// inner parts that have none, and refuses a part that contains the separator, so that splitting gives
/// the parts again.
pub(crate) fn join(
    parts: &[Option<Cow<'_, str>>],
    separator: &str,
    both_ways: bool,
) -> Result<Option<String>, Trouble> {
    let present = |part: &Option<Cow<'_, str>>| part.as_ref().is_some_and(|text| !text.is_empty());
    let Some(last) = parts.iter().rposition(present) else {
        return Ok(None);
    };
    let mut joined = String::new();
    let mut first = true;
    for part in &parts[..=last] {
        let text = part.as_deref().unwrap_or_default();
        if both_ways && text.contains(separator) {
            return Err(Trouble::new(
                "separator-in-part",
                "this text contains the separator, so that it could not be split again",
            ));
        }
        if text.is_empty() && !both_ways {
            continue;
        }
        if !first {
            joined.push_str(separator);
        }
        first = false;
        joined.push_str(text);
    }
    Ok(Some(joined))
}

/// As many parts as there are fields; those that are empty or not there are `None`.
pub(crate) fn split<'a>(
    text: &'a str,
    separator: &str,
    fields: usize,
) -> Result<Vec<Option<&'a str>>, Trouble> {
    let mut parts: Vec<Option<&str>> = text
        .split(separator)
        .map(|part| (!part.is_empty()).then_some(part))
        .collect();
    if parts.len() > fields {
        return Err(Trouble::new(
            "too-many-parts",
            format!(
                "this text has {} parts, and there are {fields} fields for them",
                parts.len()
            ),
        ));
    }
    parts.resize(fields, None);
    Ok(parts)
}
