//! Urgent work beside a backfill that would take everything.

use std::collections::BTreeMap;

use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{Ended, Lane, Pacer, Seat, Settings, Shape, Ticket};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

const ANSWER_MS: u64 = 50;
/// Upserts of a hundred records each, for 200,000.
const BACKFILL: usize = 2_000;

fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_us: 1_709_960_400_000_000 + ms as i64 * 1_000,
    }
}

/// Milliseconds from asking to the answer of every urgent change, ascending, and the backfill's end.
fn latencies(urgent: Lane) -> (Vec<u64>, u64) {
    let manifest = Manifest::parse(include_str!("manifests/hubspot.toml")).expect("a manifest");
    let pacer = Pacer::new(&manifest, &BTreeMap::new(), Settings::default());
    let mut pacer = pacer.expect("pools");
    let shape = Shape {
        method: Some(HttpMethod::Post),
        path: "/crm/v3/objects/contacts/batch/upsert",
        rows: 100,
    };
    let ask = |pacer: &mut Pacer, now, lane| {
        let draws = pacer.draws(Seat::default(), &shape, &[]).expect("pools");
        pacer
            .ask(now, lane, &"people".into(), draws)
            .expect("possible")
    };
    let mut asked: BTreeMap<Ticket, u64> = BTreeMap::new();
    let mut answers: BTreeMap<u64, Vec<Ticket>> = BTreeMap::new();
    let mut latencies = Vec::new();
    for _ in 0..BACKFILL {
        ask(&mut pacer, at(0), Lane::Backfill);
    }
    let mut done = 0;
    let mut now_ms = 0;
    while pacer.waiting() > 0 || !answers.is_empty() {
        let now = at(now_ms);
        for ticket in answers.remove(&now_ms).unwrap_or_default() {
            pacer.settle(now, ticket, &Ended::Answered(Vec::new()));
            match asked.remove(&ticket) {
                Some(since_ms) => latencies.push(now_ms - since_ms),
                None => done += 1,
            }
        }
        if now_ms % 200 == 0 && done < BACKFILL {
            asked.insert(ask(&mut pacer, now, urgent), now_ms);
        }
        for ticket in pacer.grant(now) {
            answers.entry(now_ms + ANSWER_MS).or_default().push(ticket);
        }
        now_ms += 1;
    }
    latencies.sort_unstable();
    (latencies, now_ms)
}

#[test]
fn a_critical_change_overtakes_a_backfill() {
    let p99 = |latencies: &[u64]| latencies[latencies.len() * 99 / 100];
    let (critical, end_ms) = latencies(Lane::Critical);
    let (queued, _) = latencies(Lane::Backfill);
    println!(
        "p99 of an urgent change: {} ms, first come first served {} ms; the backfill took {end_ms} ms",
        p99(&critical),
        p99(&queued)
    );
    assert!(p99(&critical) <= 1_000, "{}", p99(&critical));
    // Both together get no more than the window gives, and no less but for the reserve.
    let windows = (BACKFILL + critical.len()) as u64 / 190;
    assert!(end_ms <= (windows + 3) * 10_000, "{end_ms}");
}
