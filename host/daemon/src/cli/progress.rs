//! How far a sync is, in words.

use super::print::{ago, count};
use crate::status::{FirstReadStatus, SyncStatus};

/// A line for each side that is read whole, for what is left to do, and for writes that came to nothing.
pub(super) fn lines(sync: &SyncStatus) -> Vec<String> {
    let name = &sync.name;
    let reads = sync.first_reads.iter().filter(|read| !read.done);
    let mut lines: Vec<String> = reads
        .map(|read| format!("{name}: the {} is read whole: {}", read.side, so_far(read)))
        .collect();
    let settling = &sync.settling;
    if settling.waiting > 0 && settling.done > 0 {
        lines.push(format!(
            "{name}: {} records done, {} to do{}",
            count(settling.done),
            count(settling.waiting),
            pace(settling.per_s, settling.left_ms)
        ));
    }
    let writes = &sync.writes;
    let on_the_way = writes.sent - (writes.done + writes.failed + writes.unknown).min(writes.sent);
    if writes.failed + writes.unknown > 0 {
        lines.push(format!(
            "{name}: {} writes sent: {} done, {} failed, {} unknown, {on_the_way} on the way",
            count(writes.sent),
            count(writes.done),
            count(writes.failed),
            count(writes.unknown),
        ));
    }
    lines
}

fn so_far(read: &FirstReadStatus) -> String {
    let of = match read.of {
        Some(of) => format!(" of {}", count(of)),
        None => String::new(),
    };
    let pace = pace(read.per_s, read.left_ms);
    format!("{}{of} rows{pace}", count(read.rows))
}

fn pace(per_s: Option<f64>, left_ms: Option<u64>) -> String {
    let mut words = String::new();
    if let Some(per_s) = per_s {
        words.push_str(&match per_s {
            per_s if per_s >= 10.0 => format!(", {} a second", count(per_s.round() as u64)),
            per_s => format!(", {per_s:.1} a second"),
        });
    }
    if let Some(left_ms) = left_ms.filter(|left_ms| *left_ms > 0) {
        words.push_str(&format!(", {} left", ago(left_ms)));
    }
    words
}
