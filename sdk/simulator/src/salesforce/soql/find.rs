//! Matching rows in order, by the narrowest index that the filter allows.

use std::ops::Bound;

use super::super::cell::Cell;
use super::super::id::Id;
use super::super::schema::{Field, Source};
use super::super::table::{Row, Table};
use super::judge;
use super::{Comparison, Filter, Order, Query};

/// Ids of the rows that match, in the query's order, `LIMIT` and `OFFSET` applied.
pub(crate) fn find(query: &Query, table: &Table, deleted_too: bool) -> Vec<Id> {
    let wanted = |id: Id, row: &Row| {
        (deleted_too || row.live())
            && query
                .filter
                .as_ref()
                .is_none_or(|filter| judge::matches(filter, id, row))
    };
    let enough = query
        .limit
        .map_or(usize::MAX, |limit| limit.saturating_add(query.offset));
    if let Some(candidates) = query
        .filter
        .as_ref()
        .and_then(|filter| named(filter, table, deleted_too))
    {
        let rows = candidates
            .iter()
            .filter_map(|id| Some((*id, table.rows.get(id)?)));
        return cut(
            query,
            sorted(query, rows.filter(|(id, row)| wanted(*id, row))),
        );
    }
    let least = |source| {
        let filter = query.filter.as_ref()?;
        least(filter, source)
    };
    let stamp = least(Source::Stamp);
    if leads(&query.order, Source::Stamp) || (query.order.is_empty() && stamp.is_some()) {
        let from = match stamp {
            Some(Cell::Moment(ms)) => Bound::Included((ms, Id::LEAST)),
            _ => Bound::Unbounded,
        };
        let found = table
            .by_stamp
            .range((from, Bound::Unbounded))
            .filter_map(|(_, id)| Some((*id, table.rows.get(id)?)))
            .filter(|(id, row)| wanted(*id, row))
            .map(|(id, _)| id)
            .take(enough);
        return cut(query, found.collect());
    }
    let from = match least(Source::Id) {
        Some(Cell::Link(id)) => Bound::Included(id),
        _ => Bound::Unbounded,
    };
    let rows = table
        .rows
        .range((from, Bound::Unbounded))
        .map(|(id, row)| (*id, row))
        .filter(|(id, row)| wanted(*id, row));
    if query.order.is_empty() || leads(&query.order, Source::Id) {
        return cut(query, rows.map(|(id, _)| id).take(enough).collect());
    }
    cut(query, sorted(query, rows))
}

fn cut(query: &Query, mut ids: Vec<Id>) -> Vec<Id> {
    ids.drain(..query.offset.min(ids.len()));
    ids.truncate(query.limit.unwrap_or(usize::MAX));
    ids
}

fn sorted<'a>(query: &Query, rows: impl Iterator<Item = (Id, &'a Row)>) -> Vec<Id> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| judge::order(&query.order, *a, *b));
    rows.into_iter().map(|(id, _)| id).collect()
}

/// Whether walking this index yields the order that was asked for: the stamp index breaks ties by id.
fn leads(order: &[Order], source: Source) -> bool {
    let up = |order: &Order, source| order.field.source == source && !order.descending;
    match order {
        [only] => up(only, source),
        [first, second] if source == Source::Stamp => {
            up(first, Source::Stamp) && up(second, Source::Id)
        }
        _ => false,
    }
}

/// The few ids that the filter names outright, by id or by a key field.
fn named(filter: &Filter, table: &Table, deleted_too: bool) -> Option<Vec<Id>> {
    match filter {
        Filter::And(all) => all
            .iter()
            .find_map(|filter| named(filter, table, deleted_too)),
        Filter::Compare(field, Comparison::Equal, value) => {
            by_value(field, std::slice::from_ref(value), table, deleted_too)
        }
        Filter::In(field, values, false) => by_value(field, values, table, deleted_too),
        _ => None,
    }
}

fn by_value(field: &Field, values: &[Cell], table: &Table, deleted_too: bool) -> Option<Vec<Id>> {
    let mut ids: Vec<Id> = match field.source {
        Source::Id => values
            .iter()
            .filter_map(|value| match value {
                Cell::Link(id) => Some(*id),
                _ => None,
            })
            .collect(),
        // The key index knows live rows and real values only.
        Source::Cell(cell)
            if table.is_indexed(cell) && !deleted_too && !values.contains(&Cell::Null) =>
        {
            values
                .iter()
                .flat_map(|value| table.holders(cell, value).iter().copied())
                .collect()
        }
        _ => return None,
    };
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

/// Below what nothing can match: the highest bound of an AND, the lowest of an OR.
fn least(filter: &Filter, source: Source) -> Option<Cell> {
    match filter {
        Filter::And(all) => all
            .iter()
            .filter_map(|filter| least(filter, source))
            .max_by(Cell::order),
        Filter::Or(any) => {
            let bounds: Option<Vec<Cell>> =
                any.iter().map(|filter| least(filter, source)).collect();
            bounds?.into_iter().min_by(Cell::order)
        }
        Filter::Compare(
            field,
            Comparison::Equal | Comparison::Greater | Comparison::GreaterOrEqual,
            value,
        ) if field.source == source && *value != Cell::Null => Some(value.clone()),
        _ => None,
    }
}
