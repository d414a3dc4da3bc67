//! From what was seen to what it comes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::pace::Lane;
use tidegate_core::plan;
use tidegate_core::plugin::{OperationKind, StreamKind};
use tidegate_core::price::{self, Calls, Price, Stand};
use tidegate_core::sync::Side;

use super::look::{Seen, SeenEndpoint, SeenSync};
use super::{
    Direction, EndpointQuote, FirstRead, Place, PoolQuote, Purposes, Quote, Units, Write, reasons,
};
use crate::sync::remains;

/// What an endpoint is asked for, in the order in which a host asks.
#[derive(Default)]
struct Bill {
    first_looks: Vec<Calls>,
    first_reads: Vec<Calls>,
    writes: Vec<Calls>,
    read_back: Vec<Calls>,
    demands: u64,
    /// Positions without a cursor yet, and those with one.
    new: u64,
    followed: u64,
    incomplete: bool,
}

type Bills = BTreeMap<Arc<str>, Bill>;

/// What all of it would cost. Endpoints without allowances cost nothing that counts.
pub(crate) fn reckon(seen: &Seen) -> Quote {
    let mut bills = Bills::new();
    let mut directions = Vec::new();
    for sync in &seen.syncs {
        for source in Side::BOTH {
            follow(seen, sync, source, &mut bills);
            directions.push(direction(seen, sync, source, &mut bills));
        }
    }
    let endpoints = seen.endpoints.iter();
    let endpoints = endpoints.filter(|(_, endpoint)| !endpoint.manifest.pools.is_empty());
    Quote {
        directions,
        endpoints: endpoints
            .map(|(name, endpoint)| {
                let bill = bills.remove(name).unwrap_or_default();
                quote(seen, name, endpoint, bill)
            })
            .collect(),
        over: Vec::new(),
    }
}

fn bill<'a>(bills: &'a mut Bills, endpoint: &Arc<str>) -> &'a mut Bill {
    bills.entry(endpoint.clone()).or_default()
}

/// A side's position, from which its changes count.
fn follow(seen: &Seen, sync: &SeenSync, side: Side, bills: &mut Bills) {
    let name = &sync.model.spec.side(side).endpoint;
    let wide = seen.endpoints[name].manifest.is_endpoint_wide();
    let bill = bill(bills, name);
    bill.demands += 1;
    let position = match sync.remains.followed[side] {
        true => &mut bill.followed,
        false => &mut bill.new,
    };
    *position = if wide { 1 } else { *position + 1 };
}

fn direction(seen: &Seen, sync: &SeenSync, source: Side, bills: &mut Bills) -> Direction {
    let spec = &sync.model.spec;
    let target = source.other();
    let place = |side: Side| Place {
        endpoint: spec.side(side).endpoint.to_string(),
        object: spec.side(side).object.to_string(),
    };
    let waiting = sync.remains.waiting.iter();
    let waiting = waiting.filter(|((from, ..), _)| *from == source);
    let mut rows: Vec<Rows> = waiting
        .map(|((_, lane, operation), rows)| Rows {
            lane: *lane,
            operation: *operation,
            rows: *rows,
            at_most: true,
        })
        .collect();
    let ahead = sync.remains.first_reads[source];
    let first_read = (ahead != remains::FirstRead::Done).then(|| {
        let records = sync.records[source];
        let begun = ahead == remains::FirstRead::Begun;
        let empty = sync.records[target] == Some(0) && !begun;
        let operation = remains::creates(&sync.model, target);
        rows.push(Rows {
            lane: Lane::Backfill,
            operation,
            rows: records.unwrap_or_default(),
            at_most: !empty,
        });
        let (from, to) = (&spec.side(source).endpoint, &spec.side(target).endpoint);
        if records.is_none() {
            bill(bills, from).incomplete = true;
            bill(bills, to).incomplete = true;
        }
        let manifest = &seen.endpoints[from].manifest;
        let page = page_rows(seen, sync, source);
        let records_known = records.unwrap_or_default();
        let reading = price::reading(manifest, StreamKind::Snapshot, records_known, page);
        let first_reads = &mut bill(bills, from).first_reads;
        first_reads.extend(reading.calls(Lane::Backfill));
        if !begun {
            // Asked once more when it begins, for whoever watches.
            first_reads.push(Calls::plain(Lane::Backfill, seen.endpoints[from].count));
        }
        FirstRead {
            records,
            begun,
            way: reading
                .read
                .map_or_else(String::new, |read| read.name.clone()),
            calls: reading.total(),
        }
    });
    Direction {
        sync: spec.name.to_string(),
        from: place(source),
        to: place(target),
        first_read,
        under_way: match source {
            Side::Left => sync.remains.under_way,
            Side::Right => 0,
        },
        writes: rows
            .into_iter()
            .filter(|rows| rows.rows > 0)
            .map(|rows| written(seen, sync, target, rows, bills))
            .collect(),
    }
}

/// Rows on their way to a side.
struct Rows {
    lane: Lane,
    operation: OperationKind,
    rows: u64,
    at_most: bool,
}

fn page_rows(seen: &Seen, sync: &SeenSync, side: Side) -> u32 {
    let spec = &sync.model.spec;
    let room = u32::try_from(spec.queue_max).unwrap_or(u32::MAX);
    seen.endpoints[&spec.side(side).endpoint]
        .manifest
        .page_rows()
        .min(room)
}

/// What they become there, and what comes back from it as changes that are known already.
fn written(seen: &Seen, sync: &SeenSync, target: Side, rows: Rows, bills: &mut Bills) -> Write {
    let Rows {
        lane,
        operation,
        rows,
        at_most,
    } = rows;
    let name = &sync.model.spec.side(target).endpoint;
    let endpoint = &seen.endpoints[name];
    let manifest = &endpoint.manifest;
    let methods = &manifest.methods;
    let row_bytes = plan::row_bytes(sync.model.selected(target).len());
    let chosen = (lane, endpoint.level);
    let writes = price::writes(methods, chosen, operation, rows, row_bytes);
    let back = price::reading(
        manifest,
        StreamKind::Changes,
        rows,
        page_rows(seen, sync, target),
    );
    let bill = bill(bills, name);
    bill.writes.extend(writes.calls(methods, lane));
    let lane_back = sync.model.spec.most_urgent();
    bill.read_back.push(Calls::plain(lane_back, back.pages));
    Write {
        lane,
        operation,
        rows,
        at_most,
        by: writes.by,
        round: writes.round,
        methods: reasons::told(methods, chosen, operation, writes.round),
        refused: writes.refused,
    }
}

fn quote(seen: &Seen, name: &Arc<str>, endpoint: &SeenEndpoint, mut bill: Bill) -> EndpointQuote {
    let manifest = &endpoint.manifest;
    let look = price::reading(manifest, StreamKind::Changes, 0, u32::MAX)
        .once
        .max(1);
    let positions = bill.new + bill.followed;
    let idle = price::idle(manifest, positions, endpoint.interval_ms);
    let looks = bill.new * look + bill.followed.div_ceil(idle.together);
    bill.first_looks.push(Calls::plain(Lane::Normal, looks));
    let opening = price::opening(
        endpoint.discover,
        endpoint.prepare,
        bill.demands,
        endpoint.first,
    );
    let opening = [Calls::plain(Lane::Critical, opening)];
    let count = |calls: &[Calls]| calls.iter().map(|calls| calls.count).sum::<u64>();
    let mut purposes = Purposes {
        all: 0,
        opening: count(&opening),
        first_looks: count(&bill.first_looks),
        first_reads: count(&bill.first_reads),
        writes: count(&bill.writes),
        read_back: count(&bill.read_back),
    };
    let parts = [
        &opening[..],
        &bill.first_looks,
        &bill.first_reads,
        &bill.writes,
        &bill.read_back,
    ];
    let all = parts.concat();
    let price = Price::of(manifest, &all);
    purposes.all = price.calls;
    let stand = Stand {
        manifest,
        pools: &endpoint.overrides,
        counts: &endpoint.counts,
        now: seen.now,
    };
    let lasts = price::pace(&stand, &all);
    let idle_price = Price::of(manifest, &[Calls::plain(Lane::Normal, idle.calls)]);
    EndpointQuote {
        endpoint: name.to_string(),
        calls: purposes,
        complete: !bill.incomplete,
        pools: pools(endpoint, &price.units, &idle_price.units),
        never: lasts
            .as_ref()
            .err()
            .map_or_else(String::new, ToString::to_string),
        lasts_ms: lasts.ok(),
        idle,
        asked: endpoint.discover + endpoint.prepare + endpoint.count,
    }
}

fn pools(endpoint: &SeenEndpoint, work: &Units, idle: &Units) -> Vec<PoolQuote> {
    let quoted = endpoint.manifest.pools.iter().filter_map(|written| {
        let mut figures = endpoint.figures.iter();
        let figures = figures.find(|figures| *figures.pool == *written.name)?;
        let per_day = price::per_day(&written.window, figures.limit)?;
        let of = |units: &Units| units.get(&written.name).copied().unwrap_or_default();
        let permille = |units: u64| {
            let part = (u128::from(units) * 1_000).div_ceil(u128::from(per_day.max(1)));
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        Some(PoolQuote {
            pool: written.name.clone(),
            units: of(work),
            per_day,
            permille_of_day: permille(of(work)),
            used: figures.used + figures.reserved + figures.used_by_others,
            idle_units: of(idle),
            idle_permille_of_day: permille(of(idle)),
        })
    });
    quoted.collect()
}
