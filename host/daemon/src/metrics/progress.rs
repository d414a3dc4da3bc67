//! How far first reads and the work on what waits are, and what became of writes.

use super::{Exposition, Kind, seconds};
use crate::status::{FirstReadStatus, SyncStatus};

pub(super) fn of_syncs(all: &mut Exposition, syncs: &[SyncStatus]) {
    first_reads(all, syncs);
    let each = |figure: fn(&SyncStatus) -> Option<f64>| {
        let of = move |sync: &SyncStatus| Some((vec![("sync", sync.name.clone())], figure(sync)?));
        syncs.iter().filter_map(of)
    };
    all.family(
        "settled_total",
        Kind::Counter,
        "Records that came to rest: written, found the same, or left to a person.",
        each(|sync| Some(sync.settling.done as f64)),
    );
    all.family(
        "settled_per_second",
        Kind::Gauge,
        "The same a second, over the last minute.",
        each(|sync| sync.settling.per_s),
    );
    all.family(
        "settling_left_seconds",
        Kind::Gauge,
        "Until nothing waits, at that rate.",
        each(|sync| sync.settling.left_ms.map(seconds)),
    );
    all.family(
        "writes_sent_total",
        Kind::Counter,
        "Rows given to connectors to write; when none is on its way, the sum of those that ended.",
        each(|sync| Some(sync.writes.sent as f64)),
    );
    let ended = syncs.iter().flat_map(|sync| {
        let outcomes = [
            ("done", sync.writes.done),
            ("failed", sync.writes.failed),
            ("unknown", sync.writes.unknown),
        ];
        outcomes.map(|(outcome, count)| {
            let labels = vec![("sync", sync.name.clone()), ("outcome", outcome.to_owned())];
            (labels, count as f64)
        })
    });
    all.family(
        "writes_ended_total",
        Kind::Counter,
        "Those rows, by what became of them.",
        ended,
    );
}

fn first_reads(all: &mut Exposition, syncs: &[SyncStatus]) {
    type Figure = fn(&FirstReadStatus) -> Option<f64>;
    let figures: [(&str, &str, Figure); 4] = [
        ("first_read_rows", "Rows read so far.", |read| {
            Some(read.rows as f64)
        }),
        (
            "first_read_rows_expected",
            "Rows when the first read began.",
            |read| read.of.map(|of| of as f64),
        ),
        (
            "first_read_rows_per_second",
            "Rows a second, over the last minute.",
            |read| read.per_s,
        ),
        (
            "first_read_left_seconds",
            "Until the side is read whole, at that rate.",
            |read| read.left_ms.map(seconds),
        ),
    ];
    for (name, help, figure) in figures {
        let each = syncs.iter().flat_map(|sync| {
            sync.first_reads.iter().filter_map(move |read| {
                let labels = vec![("sync", sync.name.clone()), ("side", read.side.to_string())];
                Some((labels, figure(read)?))
            })
        });
        all.family(name, Kind::Gauge, help, each);
    }
}
