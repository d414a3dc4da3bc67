//! What a decision of the pacer costs with many pools and much that waits: prints nanoseconds per permit, from
//! asking to the settled answer.
//!
//! `cargo run --release -p tidegate-core --example decisions [pools] [waiting]`

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{Ended, Identity, Lane, Pacer, Settings, Shape};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

const MANIFEST: &str = r#"
[plugin]
name = "bench"
version = "1.0.0"
kind = "connector"
wit = "0.1.0"

[[origins]]
name = "main"
protocol = "https"

[capture]
cursor = "object"
interval = "5s"

[[pools]]
name = "burst"
limit = 190
window = { rolling = "10s" }
scope = "app"

[[pools]]
name = "daily"
limit = 1000000
window = { calendar-day = "UTC" }
scope = "app"
"#;

const SHAPE: Shape<'static> = Shape {
    method: Some(HttpMethod::Post),
    path: "/records/batch",
    rows: 100,
};

fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_us: 1_710_000_000_000_000 + ms as i64 * 1_000,
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures; the pacer itself never asks for the time"
)]
fn stopwatch() -> Instant {
    Instant::now()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let pools = numbers.next().transpose()?.unwrap_or(1_000);
    let waiting = numbers.next().transpose()?.unwrap_or(100_000);
    let problems = |problems| format!("{problems:?}");
    let manifest = Manifest::parse(MANIFEST).map_err(problems)?;
    let mut pacer = Pacer::empty(Settings::default());
    let mut seats = Vec::new();
    for app in 0..pools / 2 {
        let identity = Identity {
            app: format!("app-{app}").into(),
            ..Identity::default()
        };
        seats.push(pacer.join(&manifest, &BTreeMap::new(), &identity)?);
    }
    let syncs: Vec<_> = (0..20).map(|sync| format!("sync-{sync}").into()).collect();
    let lanes = [Lane::Critical, Lane::Normal, Lane::Backfill];
    let ask =
        |pacer: &mut Pacer, now: Now, number: usize| -> Result<(), Box<dyn std::error::Error>> {
            let draws = pacer.draws(seats[number % seats.len()], &SHAPE, &[])?;
            pacer.ask(now, lanes[number % 3], &syncs[number % 20], draws)?;
            Ok(())
        };
    for number in 0..waiting {
        ask(&mut pacer, at(0), number)?;
    }
    let (mut now_ms, mut decisions, mut deciding_ns) = (0, 0_u64, 0_u64);
    let mut answers: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    let began = stopwatch();
    let mut number = waiting;
    while decisions < 300_000 {
        let now = at(now_ms);
        for ticket in answers.remove(&now_ms).unwrap_or_default() {
            pacer.settle(now, ticket, &Ended::Answered(Vec::new()));
        }
        let before = stopwatch();
        let granted = pacer.grant(now);
        let took_ns = before.elapsed().as_nanos() as u64;
        deciding_ns += took_ns;
        decisions += granted.len() as u64;
        for ticket in granted {
            answers.entry(now_ms + 50).or_default().push(ticket);
            number += 1;
            ask(&mut pacer, now, number)?;
        }
        now_ms += 1;
    }
    let took_ns = began.elapsed().as_nanos() as u64;
    println!(
        "{pools} pools, {} waiting: {} ns per decision over {decisions} permits and {now_ms} looks; {} ns with asking \
         and answers",
        pacer.waiting(),
        deciding_ns / decisions,
        took_ns / decisions
    );
    Ok(())
}
