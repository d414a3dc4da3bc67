//! Pacing, through the real gateway over HTTP against the vendors' meters, in simulated time: what is refused, what is
//! used, and how long urgent changes take.
//!
//! In reading order: `stage` (a vendor and its time), `doors` (ways to it: the gateway, and what is written instead),
//! `vendors` (what is tried), `crew` (work without end); then what is measured: `backlog`, `urgent`, `trouble` and
//! `decisions`. A miss of an aim is a figure like others.

mod backlog;
mod crew;
mod decisions;
mod doors;
mod stage;
mod trouble;
mod urgent;
mod vendors;

use anyhow::Result;
use serde::Serialize;

use crate::report::{Figures, Group, Outcome, Scale};
use backlog::{Course, Worked, work};
use decisions::{Decided, decide};
use trouble::{Carried, Failed, credentials, failing};
use urgent::{Beside, Sender, beside};
use vendors::Case;

const DAY_MS: u64 = 86_400_000;
/// Decides all draws of a run.
const SEED: u64 = 1;

#[derive(Serialize)]
struct Measured {
    seed: u64,
    alone: Vec<Worked>,
    lower_lanes: Vec<Worked>,
    at_once: Vec<Worked>,
    killed: Vec<Worked>,
    kills: usize,
    beside_others: Vec<Worked>,
    urgent: Vec<Beside>,
    failing: Failed,
    credentials: Vec<Carried>,
    decision: Decided,
}

impl Figures for Measured {
    fn groups(&self) -> Vec<Group> {
        let killed = format!(", {} kills", self.kills);
        let mut groups = Vec::new();
        for worked in self.alone.iter().chain(&self.lower_lanes) {
            let used = format!("x >= {:.3}", worked.aim);
            groups.push(backlog(worked, "", (&used, "0")));
        }
        for worked in &self.at_once {
            groups.push(at_once(worked));
        }
        for worked in &self.killed {
            // In a short window a kill costs what was on the books.
            let used = if is_long(worked) { "x >= 0.99" } else { "" };
            groups.push(backlog(worked, &killed, (used, "0")));
        }
        let others = ", beside others who take 0-80 %";
        let aims = ("x >= 0.95", "< 0.1 % of the calls");
        let beside = self.beside_others.iter();
        groups.extend(beside.map(|worked| backlog(worked, others, aims)));
        groups.extend(self.senders());
        groups.extend(self.troubles());
        let decision = &self.decision;
        let title = format!(
            "a decision with {} pools and {} waiting",
            decision.pools, decision.waiting
        );
        groups.push(
            Group::new(title)
                .line("looked at for a permit", decision.looks_per_permit, "heads")
                .line(
                    "with a hundredth waiting",
                    decision.looks_per_permit_of_few,
                    "heads",
                )
                .line("granting", decision.decision_us, "us")
                .aim("< 2")
                .line("from asking to the answer", decision.whole_us, "us"),
        );
        groups
    }
}

/// Windows that outlive a host.
fn is_long(worked: &Worked) -> bool {
    worked.window_ms >= DAY_MS
}

/// An endless backlog against one limit.
fn backlog(worked: &Worked, how: &str, (used, refused): (&str, &str)) -> Group {
    let Worked { name, limit, .. } = worked;
    let window = span(worked.window_ms);
    let title = format!("endless backlog, {name}{how}: {limit} in {window}");
    let allowed = format!("allowed in {} windows", worked.windows);
    let mut group = Group::new(title).line(allowed, worked.allowed as f64, "units");
    if let Some(most) = worked.without_a_risk {
        let most = most * worked.allowed as f64;
        group = group.line("can be used without a risk", most, "units");
    }
    group
        .line("used", worked.used as f64, "units")
        .aim(used)
        .line("the most in any window", worked.most as f64, "at once")
        .aim(format!("<= {limit}"))
        .line("refused", worked.refused as f64, "calls")
        .aim(format!("{refused}, of {}", worked.calls))
}

/// The same where calls at one moment are counted.
fn at_once(worked: &Worked) -> Group {
    let Worked { name, limit, .. } = worked;
    let always = format!("with {limit} at once all the time");
    Group::new(format!("endless backlog, {name}: {limit} at once"))
        .line(always, worked.allowed as f64, "calls")
        .line("carried out", worked.used as f64, "calls")
        .aim(format!("x >= {:.3}", worked.aim))
        .line("the most at once", worked.most as f64, "calls")
        .aim(format!("<= {limit}"))
        .line("refused", worked.refused as f64, "calls")
        .aim(format!("0, of {}", worked.calls))
}

fn span(ms: u64) -> String {
    match ms {
        DAY_MS => "a day".to_owned(),
        _ => format!("{} s", ms / 1_000),
    }
}

impl Measured {
    fn senders(&self) -> [Group; 5] {
        let group = |title: &str, unit: &'static str, aims: &[&str], of: fn(&Beside) -> f64| {
            let mut group = Group::new(title);
            for (place, beside) in self.urgent.iter().enumerate() {
                group = group.line(beside.sender, of(beside), unit);
                if let Some(aim) = aims.get(place) {
                    group = group.aim(*aim);
                }
            }
            group
        };
        let records = self.urgent.first().map_or(0, |beside| beside.records);
        let title =
            format!("a backfill of {records} records, an urgent change every 200 ms: its p99");
        [
            group(&title, "ms", &["<= 300, must < 1,000"], |beside| {
                beside.urgent_p99_ms as f64
            }),
            group(
                "the same: half of the urgent changes",
                "ms",
                &[],
                |beside| beside.urgent_p50_ms as f64,
            ),
            group("the same: refused", "calls", &["0"], |beside| {
                beside.refused as f64
            }),
            group("the same: calls carried out", "calls/s", &[], |beside| {
                beside.calls_per_second
            }),
            group(
                "the same: of the backfill alone",
                "records/s",
                &[],
                |beside| beside.records_per_second,
            ),
        ]
    }

    fn troubles(&self) -> [Group; 3] {
        let failing = &self.failing;
        let attempts = Group::new("half of all answers fail for a minute")
            .line("needed", failing.needed as f64, "calls")
            .line("attempts", failing.attempts as f64, "calls")
            .aim("x <= 1.1");
        let mut speed =
            Group::new("the same: done in a window").line("before", failing.before as f64, "calls");
        for (place, done) in failing.after.iter().enumerate() {
            let what = format!("window {} after", place + 1);
            speed = speed.line(what, *done as f64, "calls");
            if place == 2 {
                speed = speed.aim("x 1.00");
            }
        }
        let mut credentials = Group::new("several credentials");
        for carried in &self.credentials {
            let lost = if carried.one_lost {
                ", one lost half-way"
            } else {
                ""
            };
            credentials = credentials
                .line(
                    format!("{}{lost}", carried.credentials),
                    carried.batches as f64,
                    "batches",
                )
                .aim(match (carried.credentials, carried.one_lost) {
                    (1, _) => "",
                    (_, false) => "x >= 2.9",
                    (_, true) => "no record lost",
                });
            if carried.one_lost {
                credentials = credentials
                    .line("the vendor has not", carried.lost as f64, "records")
                    .aim(format!("0, of {}", carried.records))
                    .line("it has twice", carried.doubled as f64, "records")
                    .aim("0");
            }
        }
        [attempts, speed, credentials]
    }
}

/// Each of them, one after the other.
fn worked(cases: &[Case], course: &Course) -> Result<Vec<Worked>> {
    cases.iter().map(|case| work(case, course)).collect()
}

pub(crate) fn run(scale: Scale) -> Result<Outcome> {
    let alone = Course {
        seed: SEED,
        ..Course::default()
    };
    let kills = scale.pick(50, 5);
    let killed = Course {
        kills,
        ..alone.clone()
    };
    let others = Course {
        others: Some((0, 800)),
        ..alone.clone()
    };
    // With few calls one of them would be more than is promised, so only the windows are fewer at a small scale.
    let neighboured = [
        vendors::hubspot(Scale::Full).lasting(scale.pick(30, 20)),
        vendors::dataverse(Scale::Full).lasting(scale.pick(8, 2)),
        vendors::salesforce(Scale::Full).lasting(scale.pick(3, 2)),
    ];
    let senders = Sender::ALL.into_iter();
    Outcome::new(&Measured {
        seed: SEED,
        alone: worked(&vendors::all(scale), &alone)?,
        lower_lanes: worked(&vendors::lower_lanes(scale), &alone)?,
        at_once: worked(&vendors::at_once(scale), &alone)?,
        killed: worked(&vendors::killed(scale), &killed)?,
        kills,
        beside_others: worked(&neighboured, &others)?,
        urgent: senders
            .map(|sender| beside(sender, scale, SEED))
            .collect::<Result<_>>()?,
        failing: failing(scale, SEED)?,
        credentials: [(1, false), (3, false), (3, true)]
            .into_iter()
            .map(|(count, one_lost)| credentials(count, one_lost, scale, SEED))
            .collect::<Result<_>>()?,
        decision: decide(scale)?,
    })
}
