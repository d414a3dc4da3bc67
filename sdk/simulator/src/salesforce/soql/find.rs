//! Matching rows in order, by the narrowest index that the filter allows.

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
    let bound = |bound: fn(&Filter, Source) -> Option<Cell>, source| {
        let filter = query.filter.as_ref()?;
        bound(filter, source)
    };
    let (from, to) = (bound(least, Source::Stamp), bound(most, Source::Stamp));
    let by_stamp = leads(&query.order, Source::Stamp);
    let by_id = leads(&query.order, Source::Id);
    if by_stamp || (from.is_some() && !by_id) {
        let from_ms = match from {
            Some(Cell::Moment(ms)) => ms,
            _ => 0,
        };
        let to_ms = match to {
            Some(Cell::Moment(ms)) => ms.saturating_add(1),
            _ => i64::MAX,
        };
        let rows = table.stamped(from_ms..to_ms);
        let rows = rows.filter(|(id, row)| wanted(*id, row));
        if by_stamp || query.order.is_empty() {
            return cut(query, rows.map(|(id, _)| id).take(enough).collect());
        }
        return cut(query, sorted(query, rows));
    }
    let from = match bound(least, Source::Id) {
        Some(Cell::Link(id)) => id,
        _ => Id::LEAST,
    };
    let last = match bound(most, Source::Id) {
        Some(Cell::Link(id)) => Some(id),
        _ => None,
    };
    let rows = table.rows.from(from);
    let rows = rows.take_while(|(id, _)| last.is_none_or(|last| *id <= last));
    let rows = rows.filter(|(id, row)| wanted(*id, row));
    if query.order.is_empty() || by_id {
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
        // The key index knows live rows and real values only; what is in the recycle bin is looked through.
        Source::Cell(cell) if table.is_indexed(cell) && !values.contains(&Cell::Null) => {
            let live = values
                .iter()
                .flat_map(|value| table.holders(cell, value).iter().copied());
            let binned = table.binned().filter(|_| deleted_too);
            live.chain(binned).collect()
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
        Filter::And(all) => {
            let bounds = all.iter().filter_map(|filter| least(filter, source));
            bounds.max_by(Cell::order)
        }
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

/// Above what nothing can match.
fn most(filter: &Filter, source: Source) -> Option<Cell> {
    match filter {
        Filter::And(all) => {
            let bounds = all.iter().filter_map(|filter| most(filter, source));
            bounds.min_by(Cell::order)
        }
        Filter::Or(any) => {
            let bounds: Option<Vec<Cell>> = any.iter().map(|filter| most(filter, source)).collect();
            bounds?.into_iter().max_by(Cell::order)
        }
        Filter::Compare(
            field,
            Comparison::Equal | Comparison::Less | Comparison::LessOrEqual,
            value,
        ) if field.source == source && *value != Cell::Null => Some(value.clone()),
        _ => None,
    }
}
