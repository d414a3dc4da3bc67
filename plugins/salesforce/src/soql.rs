//! The text of queries. Names and values come from outside, so each goes through a check or an escape here.

use tidegate_sdk::Fault;

use crate::stamp;

/// What a request's address may hold: Salesforce takes 16,384 bytes of address and headers together, and
/// long session tokens are part of that.
pub(crate) const QUERY_BYTES_MAX: usize = 12_000;

/// A place in an object's rows, ordered by stamp and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) stamp_us: i64,
    pub(crate) id: String,
}

/// Where a pass over the changes starts or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Stamp(i64),
    After(Position),
}

/// Letters, digits and underscores, as every name of an object or field; anything else could change a
/// query's meaning.
pub(crate) fn check_name(name: &str) -> Result<&str, Fault> {
    let valid = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if valid {
        Ok(name)
    } else {
        Err(Fault::config(
            "not-a-name",
            format!(
                "{name:?} is not the API name of an object or field; use the name that Setup's object manager shows"
            ),
        ))
    }
}

/// Changed rows in order of their stamps, rows that share one in order of their ids.
pub(crate) fn changes(object: &str, columns: &str, stamp: &str, from: &From, limit: u32) -> String {
    let condition = match from {
        From::Stamp(us) => format!("{stamp} >= {}", stamp::soql_text(*us)),
        From::After(position) => {
            let (at, id) = (stamp::soql_text(position.stamp_us), quoted(&position.id));
            format!("({stamp} > {at} OR ({stamp} = {at} AND Id > {id}))")
        }
    };
    format!("SELECT {columns} FROM {object} WHERE {condition} ORDER BY {stamp}, Id LIMIT {limit}")
}

/// The rows that changed last, newest first.
pub(crate) fn newest(
    object: &str,
    columns: &str,
    stamp: &str,
    since_us: i64,
    limit: u32,
) -> String {
    let since = stamp::soql_text(since_us);
    format!(
        "SELECT {columns} FROM {object} WHERE {stamp} >= {since} ORDER BY {stamp} DESC, Id DESC LIMIT {limit}"
    )
}

/// All rows in order of their ids.
pub(crate) fn snapshot(object: &str, columns: &str, after: Option<&str>, limit: u32) -> String {
    let condition = after
        .map(|id| format!(" WHERE Id > {}", quoted(id)))
        .unwrap_or_default();
    format!("SELECT {columns} FROM {object}{condition} ORDER BY Id LIMIT {limit}")
}

/// All rows in no order, for a job, which takes a text of any length.
pub(crate) fn everything(object: &str, columns: &str) -> String {
    format!("SELECT {columns} FROM {object}")
}

/// How many rows there are; answered without them.
pub(crate) fn count(object: &str) -> String {
    format!("SELECT COUNT() FROM {object}")
}

/// Rows whose `field` is one of `literals`, in as many queries as their addresses need.
pub(crate) fn by_key(object: &str, columns: &str, field: &str, literals: &[String]) -> Vec<String> {
    let head = format!("SELECT {columns} FROM {object} WHERE {field} IN (");
    let mut queries = Vec::new();
    let mut query = String::new();
    let mut bytes = 0;
    for literal in literals {
        let literal_bytes = encoded_bytes(literal) + encoded_bytes(",");
        if !query.is_empty() && bytes + literal_bytes > QUERY_BYTES_MAX {
            queries.push(std::mem::take(&mut query) + ")");
        }
        if query.is_empty() {
            query.push_str(&head);
            bytes = encoded_bytes(&head) + encoded_bytes(")");
        } else {
            query.push(',');
        }
        query.push_str(literal);
        bytes += literal_bytes;
    }
    if !query.is_empty() {
        queries.push(query + ")");
    }
    queries
}

/// A string literal.
pub(crate) fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\'' => literal.push_str("\\'"),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            '\u{8}' => literal.push_str("\\b"),
            '\u{c}' => literal.push_str("\\f"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

/// Refuses a query that no address can hold, before Salesforce does so with a bare 414.
pub(crate) fn check_length(soql: &str, object: &str) -> Result<(), Fault> {
    let bytes = encoded_bytes(soql);
    if bytes <= QUERY_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::config(
        "too-many-fields",
        format!(
            "the query of {object} takes {bytes} bytes and an address holds {QUERY_BYTES_MAX}; map fewer fields, or \
             split them over two syncs"
        ),
    ))
}

/// Bytes after percent-encoding.
fn encoded_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) || byte == b' ' {
                1
            } else {
                3
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_can_not_leave_their_literal() {
        let cases = [
            ("O'Brien", r"'O\'Brien'"),
            (r"a\' OR Name != '", r"'a\\\' OR Name != \''"),
            ("line\nbreak\ttab\r", r"'line\nbreak\ttab\r'"),
            ("Zoë 🌊", "'Zoë 🌊'"),
            ("", "''"),
        ];
        for (value, literal) in cases {
            assert_eq!(quoted(value), literal);
        }
        for name in [
            "",
            "Contact WHERE",
            "1Contact",
            "Name,Email",
            "Name--",
            "Straße",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["Contact", "Tidegate_Id__c", "ns__Field2__c"] {
            assert_eq!(check_name(name), Ok(name));
        }
    }

    #[test]
    fn rows_that_share_a_stamp_are_paged_by_id() {
        let position = Position {
            stamp_us: 1_772_359_200_000_000,
            id: "003000000000001AAA".to_owned(),
        };
        assert_eq!(
            changes(
                "Contact",
                "Id, Name",
                "SystemModstamp",
                &From::After(position),
                200
            ),
            "SELECT Id, Name FROM Contact WHERE (SystemModstamp > 2026-03-01T10:00:00.000Z OR (SystemModstamp = \
             2026-03-01T10:00:00.000Z AND Id > '003000000000001AAA')) ORDER BY SystemModstamp, Id LIMIT 200"
        );
    }

    #[test]
    fn keys_are_spread_over_queries_that_fit_an_address() {
        let literals: Vec<String> = (0..5_000)
            .map(|n| quoted(&format!("key 'n° {n}")))
            .collect();
        let queries = by_key("Contact", "Id", "Tidegate_Id__c", &literals);
        assert!(queries.len() > 1);
        let mut found = Vec::new();
        for query in &queries {
            assert!(encoded_bytes(query) <= QUERY_BYTES_MAX);
            let list = query
                .split_once("IN (")
                .and_then(|(_, list)| list.strip_suffix(')'));
            found.extend(list.unwrap_or_default().split(',').map(str::to_owned));
        }
        assert_eq!(found, literals);
        assert!(by_key("Contact", "Id", "Tidegate_Id__c", &[]).is_empty());
    }
}
