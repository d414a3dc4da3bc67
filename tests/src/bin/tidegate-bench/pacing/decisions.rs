//! What a decision of the pacer costs with many pools and much that waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use serde::Serialize;
use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{Ended, Identity, Lane, Pacer, Seat, Settings, Shape, Ticket};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

use super::vendors::HUBSPOT;
use crate::race::timed;
use crate::report::Scale;

const SHAPE: Shape<'static> = Shape {
    method: Some(HttpMethod::Post),
    path: "/crm/v3/objects/contacts/batch/upsert",
    rows: 100,
};
const ANSWER_MS: u64 = 50;
const SYNCS: usize = 20;
const LANES: [Lane; 3] = [Lane::Critical, Lane::Normal, Lane::Backfill];

/// What it cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Decided {
    pub(crate) pools: usize,
    pub(crate) waiting: usize,
    pub(crate) permits: u64,
    /// Heads of queues looked at for each permit, which no machine makes more or fewer; and the same with a tenth of the
    /// pools and a hundredth of those that wait.
    pub(crate) looks_per_permit: f64,
    pub(crate) looks_per_permit_of_few: f64,
    /// Granting alone.
    pub(crate) decision_us: f64,
    /// From asking to the settled answer.
    pub(crate) whole_us: f64,
}

fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_us: 1_710_000_000_000_000 + ms as i64 * 1_000,
    }
}

/// Credentials of many accounts, and what waits for them.
struct Crowd {
    pacer: Pacer,
    seats: Vec<Seat>,
    syncs: Vec<Arc<str>>,
    next: usize,
}

impl Crowd {
    fn gather(pools: usize) -> Result<Self> {
        let manifest = Manifest::parse(HUBSPOT);
        let manifest = manifest.map_err(|problems| anyhow!("a manifest: {problems:?}"))?;
        let mut pacer = Pacer::empty(Settings::default());
        let seats = (0..pools / manifest.pools.len()).map(|number| {
            let identity = Identity {
                account: format!("account-{number}").into(),
                app: format!("app-{number}").into(),
                ..Identity::default()
            };
            Ok(pacer.join(&manifest, &BTreeMap::new(), &identity)?)
        });
        Ok(Self {
            seats: seats.collect::<Result<_>>()?,
            pacer,
            syncs: (0..SYNCS)
                .map(|sync| format!("sync-{sync}").into())
                .collect(),
            next: 0,
        })
    }

    fn ask(&mut self, now: Now) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let seat = self.seats[number % self.seats.len()];
        let draws = self.pacer.draws(seat, &SHAPE, &[])?;
        let sync = &self.syncs[number % SYNCS];
        self.pacer
            .ask(now, LANES[number % LANES.len()], sync, draws)?;
        Ok(())
    }
}

pub(crate) fn decide(scale: Scale) -> Result<Decided> {
    let (pools, waiting) = scale.pick((1_000, 100_000), (300, 20_000));
    let permits = scale.pick(300_000, 20_000);
    let few = measure(pools / 10, waiting / 100, permits / 10)?;
    Ok(Decided {
        looks_per_permit_of_few: few.looks_per_permit,
        ..measure(pools, waiting, permits)?
    })
}

fn measure(pools: usize, waiting: usize, permits: u64) -> Result<Decided> {
    let mut crowd = Crowd::gather(pools)?;
    for _ in 0..waiting {
        crowd.ask(at(0))?;
    }
    let mut answers: BTreeMap<u64, Vec<Ticket>> = BTreeMap::new();
    let (mut now_ms, mut granted, mut deciding_s) = (0, 0_u64, 0.0);
    let (whole_s, run) = timed(|| {
        while granted < permits {
            let now = at(now_ms);
            for ticket in answers.remove(&now_ms).unwrap_or_default() {
                let answered = Ended::Answered(Vec::new());
                crowd.pacer.settle(now, ticket, &answered);
            }
            let (seconds, tickets) = timed(|| crowd.pacer.grant(now));
            deciding_s += seconds;
            granted += tickets.len() as u64;
            for ticket in tickets {
                answers.entry(now_ms + ANSWER_MS).or_default().push(ticket);
                crowd.ask(now)?;
            }
            now_ms += 1;
        }
        anyhow::Ok(())
    });
    run?;
    Ok(Decided {
        pools,
        waiting,
        permits: granted,
        looks_per_permit: crowd.pacer.looks() as f64 / granted as f64,
        looks_per_permit_of_few: 0.0,
        decision_us: deciding_s * 1e6 / granted as f64,
        whole_us: whole_s * 1e6 / granted as f64,
    })
}
