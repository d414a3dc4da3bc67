//! Names and literals inside statements. Values of customers' rows never come here: they are parameters.

/// A table's or column's name, whatever is in it.
pub(crate) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `?1, ?2, ...`
pub(crate) fn placeholders(count: usize) -> String {
    (1..=count)
        .map(|position| format!("?{position}"))
        .collect::<Vec<_>>()
        .join(", ")
}
