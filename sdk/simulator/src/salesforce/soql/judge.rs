//! Whether a row is meant, with SOQL's ideas of case and null.

use std::cmp::Ordering;

use super::super::cell::Cell;
use super::super::id::Id;
use super::super::table::{Row, Table};
use super::{Comparison, Filter, LITERAL_PERCENT, LITERAL_UNDERSCORE, Order};

/// A piece of a LIKE pattern.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Glob {
    Any,
    One,
    Letter(char),
}

pub(super) fn glob(pattern: &str) -> Vec<Glob> {
    pattern
        .chars()
        .flat_map(char::to_lowercase)
        .map(|letter| match letter {
            '%' => Glob::Any,
            '_' => Glob::One,
            LITERAL_PERCENT => Glob::Letter('%'),
            LITERAL_UNDERSCORE => Glob::Letter('_'),
            letter => Glob::Letter(letter),
        })
        .collect()
}

pub(super) fn matches(filter: &Filter, id: Id, row: &Row) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|filter| matches(filter, id, row)),
        Filter::Or(any) => any.iter().any(|filter| matches(filter, id, row)),
        Filter::Not(inner) => !matches(inner, id, row),
        Filter::Compare(field, comparison, with) => {
            compares(&Table::value(id, row, field), *comparison, with)
        }
        Filter::In(field, among, negated) => {
            let value = Table::value(id, row, field);
            among.iter().any(|with| equal(&value, with)) != *negated
        }
        Filter::Like(field, pattern) => match Table::value(id, row, field) {
            Cell::Text(text) => {
                let letters: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
                like(pattern, &letters)
            }
            _ => false,
        },
    }
}

fn equal(a: &Cell, b: &Cell) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b) && a.order(b) == Ordering::Equal
}

/// Null is unequal to every value, and neither above nor below any.
fn compares(value: &Cell, comparison: Comparison, with: &Cell) -> bool {
    match comparison {
        Comparison::Equal => equal(value, with),
        Comparison::NotEqual => !equal(value, with),
        _ if *value == Cell::Null || *with == Cell::Null => false,
        Comparison::Less => value.order(with).is_lt(),
        Comparison::LessOrEqual => value.order(with).is_le(),
        Comparison::Greater => value.order(with).is_gt(),
        Comparison::GreaterOrEqual => value.order(with).is_ge(),
    }
}

/// Wildcards by remembering the last `%` and what it has swallowed, so a long text costs no recursion.
fn like(pattern: &[Glob], letters: &[char]) -> bool {
    let (mut at, mut letter) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while letter < letters.len() {
        match pattern.get(at) {
            Some(Glob::Any) => {
                retry = Some((at, letter));
                at += 1;
            }
            Some(Glob::One) => (at, letter) = (at + 1, letter + 1),
            Some(Glob::Letter(wanted)) if *wanted == letters[letter] => {
                (at, letter) = (at + 1, letter + 1);
            }
            _ => match retry {
                Some((any, swallowed)) => {
                    retry = Some((any, swallowed + 1));
                    (at, letter) = (any + 1, swallowed + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|piece| *piece == Glob::Any)
}

pub(super) fn order(orders: &[Order], a: (Id, &Row), b: (Id, &Row)) -> Ordering {
    for order in orders {
        let (x, y) = (
            Table::value(a.0, a.1, &order.field),
            Table::value(b.0, b.1, &order.field),
        );
        let nulls = (x == Cell::Null, y == Cell::Null);
        let found = match nulls {
            (true, true) => Ordering::Equal,
            (true, false) if order.nulls_last => Ordering::Greater,
            (false, true) if order.nulls_last => Ordering::Less,
            // Nulls come first unless said otherwise, descending too.
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ if order.descending => y.order(&x),
            _ => x.order(&y),
        };
        if found != Ordering::Equal {
            return found;
        }
    }
    Ordering::Equal
}
