//! Work without end, sent as the pacer allows, over a way with jitter, to a vendor that counts for itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{
    Ended, Lane, Pacer, PoolCounts, PoolOverride, Report, Seat, Settings, Shape, Throttled, Ticket,
};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

use crate::meter::{Arrival, Meter};

/// Requests that stand in line at any moment.
const BACKLOG: usize = 40;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) method: HttpMethod,
    pub(crate) path: &'static str,
    pub(crate) rows: u32,
    /// At the vendor, without the way: the least, and what comes on top by chance.
    pub(crate) takes_ms: (u64, u64),
}

/// A meter, and what a request weighs there.
pub(crate) type Metered = (Meter, fn(&Work) -> u64);

pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) manifest: &'static str,
    pub(crate) overrides: Vec<(&'static str, PoolOverride)>,
    /// Where the test begins, milliseconds since 1970.
    pub(crate) wall_ms: i64,
    pub(crate) meters: Vec<Metered>,
    /// Meters whose state each answer tells.
    pub(crate) told: &'static [&'static str],
    pub(crate) work: fn(&mut ChaCha8Rng) -> Work,
    pub(crate) lane: Lane,
    pub(crate) lasts_ms: u64,
    /// One way, the least and what comes on top by chance.
    pub(crate) way_ms: (u64, u64),
    /// Others that use what the first meter counts: the share of it in thousandths that they want, drawn anew for
    /// each of these stretches.
    pub(crate) neighbour: Option<(u64, std::ops::RangeInclusive<u64>)>,
    /// They have been there alone for so long before.
    pub(crate) alone_ms: u64,
    /// As long as the vendor, or the manifest, says after a throttle.
    pub(crate) park_ms: Option<u64>,
    /// The host is killed so many times, at random moments.
    pub(crate) kills: u32,
    /// How far the vendor's clock is ahead of ours.
    pub(crate) skew_ms: i64,
    /// When the first meter's limit becomes another one, and which.
    pub(crate) later: Option<(u64, u64)>,
}

pub(crate) struct Seen {
    pub(crate) meters: Vec<Meter>,
    pub(crate) sent: u64,
    pub(crate) throttled: u64,
    /// By others, as the first meter let in.
    pub(crate) others: u64,
    /// Of those, before we came.
    pub(crate) before: u64,
    pub(crate) margins: Vec<(Arc<str>, u64)>,
}

impl Seen {
    pub(crate) fn meter(&self, name: &str) -> &Meter {
        let found = self.meters.iter().find(|meter| meter.name == name);
        found.expect("a meter of that name")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(u64),
    Arrive(u64),
    Answer(u64),
    Neighbour,
    /// A snapshot that a life of the host has made is durable.
    Kept(u32),
    Kill,
    /// The first meter has another limit from now on.
    Limit(u64),
}

struct Flying {
    ticket: Ticket,
    life: u32,
    work: Work,
    reports: Vec<Report>,
    refused_by: Option<&'static str>,
}

struct Drive<'p> {
    profile: &'p Profile,
    random: ChaCha8Rng,
    manifest: Manifest,
    pacer: Pacer,
    /// When this life of the host began, and which it is.
    boot_ms: u64,
    life: u32,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    waiting: BTreeMap<Ticket, Work>,
    flying: BTreeMap<u64, Flying>,
    next: u64,
    wanted: u64,
    stretch: u64,
    /// What has been made durable, and what is being made so.
    kept: Vec<PoolCounts>,
    keeping: Option<Vec<PoolCounts>>,
    seen: Seen,
}

pub(crate) fn pacer(profile: &Profile) -> (Manifest, Pacer) {
    let manifest = Manifest::parse(profile.manifest)
        .unwrap_or_else(|problems| panic!("{}: {problems:?}", profile.name));
    let overrides = profile.overrides.iter();
    let overrides = overrides.map(|(name, set)| ((*name).to_owned(), *set));
    let pacer = Pacer::new(&manifest, &overrides.collect(), Settings::default());
    let mut pacer = pacer.unwrap_or_else(|error| panic!("{}: {error}", profile.name));
    if profile.kills > 0 {
        pacer.keep_books();
    }
    (manifest, pacer)
}

pub(crate) fn drive(seed: u64, profile: &Profile) -> Seen {
    let (manifest, pacer) = pacer(profile);
    let mut drive = Drive {
        profile,
        random: ChaCha8Rng::seed_from_u64(seed),
        manifest,
        pacer,
        boot_ms: profile.alone_ms,
        life: 0,
        events: BinaryHeap::new(),
        waiting: BTreeMap::new(),
        flying: BTreeMap::new(),
        next: 0,
        wanted: 0,
        stretch: u64::MAX,
        kept: Vec::new(),
        keeping: None,
        seen: Seen {
            meters: profile
                .meters
                .iter()
                .map(|(meter, _)| meter.clone())
                .collect(),
            sent: 0,
            throttled: 0,
            others: 0,
            before: 0,
            margins: Vec::new(),
        },
    };
    for _ in 0..profile.kills {
        let at_ms = profile.alone_ms + drive.random.random_range(0..profile.lasts_ms);
        drive.events.push(Reverse((at_ms, Event::Kill)));
    }
    if let Some((at_ms, limit)) = profile.later {
        drive.events.push(Reverse((at_ms, Event::Limit(limit))));
    }
    if profile.neighbour.is_some() {
        drive.events.push(Reverse((0, Event::Neighbour)));
    }
    drive.run();
    let now = drive.now(profile.alone_ms + profile.lasts_ms);
    let figures = drive.pacer.figures(now).into_iter();
    drive.seen.margins = figures.map(|pool| (pool.pool, pool.margin_ms)).collect();
    drive.seen
}

impl Drive<'_> {
    fn now(&self, at_ms: u64) -> Now {
        Now {
            mono_ms: at_ms - self.boot_ms,
            wall_us: (self.profile.wall_ms + at_ms as i64) * 1_000,
        }
    }

    /// By the vendor's clock.
    fn vendor_ms(&self, at_ms: u64) -> i64 {
        self.profile.wall_ms + at_ms as i64 + self.profile.skew_ms
    }

    fn run(&mut self) {
        let mut at_ms = self.precede();
        let end_ms = at_ms + self.profile.lasts_ms;
        while at_ms < end_ms {
            while let Some(Reverse((due_ms, event))) = self.events.peek().copied()
                && due_ms <= at_ms
            {
                self.events.pop();
                self.happen(at_ms, event);
            }
            self.fill(at_ms);
            let now = self.now(at_ms);
            for ticket in self.pacer.grant(now) {
                self.send(at_ms, ticket);
            }
            if self.keeping.is_none() && self.pacer.wants_keeping() {
                self.keeping = Some(self.pacer.snapshot(now));
                let takes_ms = self.random.random_range(1..20);
                self.events
                    .push(Reverse((at_ms + takes_ms, Event::Kept(self.life))));
            }
            let event = self.events.peek().map(|Reverse((due_ms, _))| *due_ms);
            let due = self.pacer.due_ms().map(|due_ms| due_ms + self.boot_ms);
            let next = event.into_iter().chain(due).min().unwrap_or(u64::MAX);
            at_ms = next.max(at_ms + 1);
        }
    }

    /// Others are there before us. Returns when we come.
    fn precede(&mut self) -> u64 {
        let alone_ms = self.profile.alone_ms;
        while let Some(Reverse((due_ms, Event::Neighbour))) = self.events.peek().copied()
            && due_ms < alone_ms
        {
            self.events.pop();
            self.neighbour(due_ms);
        }
        self.seen.before = self.seen.others;
        alone_ms
    }

    fn fill(&mut self, at_ms: u64) {
        let now = self.now(at_ms);
        while self.waiting.len() < BACKLOG {
            let work = (self.profile.work)(&mut self.random);
            let shape = Shape {
                method: Some(work.method),
                path: work.path,
                rows: work.rows,
            };
            let draws = self.pacer.draws(Seat::default(), &shape, &[]);
            let draws = draws.expect("no pools are named");
            let asked = self
                .pacer
                .ask(now, self.profile.lane, &"people".into(), draws);
            self.waiting.insert(asked.expect("possible"), work);
        }
    }

    fn send(&mut self, at_ms: u64, ticket: Ticket) {
        let work = self.waiting.remove(&ticket).expect("asked before");
        self.next += 1;
        self.seen.sent += 1;
        let way_ms = self.way();
        self.events
            .push(Reverse((at_ms + way_ms, Event::Arrive(self.next))));
        let flying = Flying {
            ticket,
            life: self.life,
            work,
            reports: Vec::new(),
            refused_by: None,
        };
        self.flying.insert(self.next, flying);
    }

    fn way(&mut self) -> u64 {
        let (least, chance) = self.profile.way_ms;
        least + self.random.random_range(0..=chance)
    }

    fn happen(&mut self, at_ms: u64, event: Event) {
        match event {
            Event::Arrive(id) => self.arrive(at_ms, id),
            Event::Done(id) => {
                let took_ms = self.flying[&id].work.takes_ms.0;
                let vendor_ms = self.vendor_ms(at_ms);
                for meter in &mut self.seen.meters {
                    meter.end(id, vendor_ms, took_ms);
                }
            }
            Event::Answer(id) => self.answer(at_ms, id),
            Event::Neighbour => self.neighbour(at_ms),
            Event::Kept(life) => {
                if life == self.life {
                    self.kept = self.keeping.take().unwrap_or_default();
                    self.pacer.kept(&self.kept);
                }
            }
            Event::Kill => self.kill(at_ms),
            Event::Limit(limit) => self.seen.meters[0].limit = limit,
        }
    }

    fn arrive(&mut self, at_ms: u64, id: u64) {
        let (least, chance) = self.flying[&id].work.takes_ms;
        let took_ms = least + self.random.random_range(0..=chance);
        let back_ms = self.way();
        let vendor_ms = self.vendor_ms(at_ms);
        let flying = self.flying.get_mut(&id).expect("sent before");
        flying.work.takes_ms.0 = took_ms;
        let rules = self.profile.meters.iter().map(|(_, weigh)| weigh);
        let units: Vec<u64> = rules.map(|weigh| weigh(&flying.work)).collect();
        let counted = |units: &u64| Arrival {
            at_ms: vendor_ms,
            units: *units,
        };
        for (meter, units) in self.seen.meters.iter_mut().zip(&units) {
            if *units > 0 && !meter.admits(counted(units)) {
                meter.refused += 1;
                flying.refused_by = Some(meter.name);
            }
        }
        let done_ms = if flying.refused_by.is_none() {
            for (meter, units) in self.seen.meters.iter_mut().zip(&units) {
                if *units > 0 {
                    meter.begin(id, counted(units));
                }
            }
            self.events
                .push(Reverse((at_ms + took_ms, Event::Done(id))));
            at_ms + took_ms
        } else {
            at_ms + 1
        };
        let flying = self.flying.get_mut(&id).expect("sent before");
        for meter in &mut self.seen.meters {
            if self.profile.told.contains(&meter.name) {
                flying.reports.push(Report {
                    pool: meter.name.to_owned(),
                    used: None,
                    limit: Some(meter.limit),
                    remaining: Some(meter.limit.saturating_sub(meter.used(vendor_ms))),
                });
            }
        }
        self.events
            .push(Reverse((done_ms + back_ms, Event::Answer(id))));
    }

    fn answer(&mut self, at_ms: u64, id: u64) {
        let flying = self.flying.remove(&id).expect("sent before");
        // Nobody is there any more to hear it.
        if flying.life != self.life {
            return;
        }
        let ended = match flying.refused_by {
            Some(pool) => {
                self.seen.throttled += 1;
                Ended::Throttled(Throttled {
                    pool: pool.to_owned(),
                    park_ms: self.profile.park_ms,
                    random: self.random.random(),
                })
            }
            None => Ended::Answered(flying.reports),
        };
        let now = self.now(at_ms);
        self.pacer.settle(now, flying.ticket, &ended);
    }

    /// Others come by chance, at a rate that changes.
    fn neighbour(&mut self, at_ms: u64) {
        let Some((stretch_ms, wanted)) = self.profile.neighbour.clone() else {
            return;
        };
        if at_ms / stretch_ms != self.stretch {
            self.stretch = at_ms / stretch_ms;
            self.wanted = self.random.random_range(wanted);
        }
        let vendor_ms = self.vendor_ms(at_ms);
        let meter = &mut self.seen.meters[0];
        let per_stretch = meter.limit * self.wanted / 1_000;
        let arrival = Arrival {
            at_ms: vendor_ms,
            units: 1,
        };
        if per_stretch > 0 && meter.admits(arrival) {
            meter.begin(u64::MAX, arrival);
            self.seen.others += 1;
        }
        let even_ms = stretch_ms as f64 / per_stretch.max(1) as f64;
        let chance: f64 = self.random.random_range(f64::EPSILON..1.0);
        let pause_ms = (-even_ms * chance.ln()).min(stretch_ms as f64).ceil() as u64;
        // Not beyond the stretch: the next one may want more.
        let end_ms = (self.stretch + 1) * stretch_ms;
        let next_ms = (at_ms + pause_ms.max(1)).min(end_ms.max(at_ms + 1));
        self.events.push(Reverse((next_ms, Event::Neighbour)));
    }

    /// The host ends without a word, and another one starts from what was kept; what was being kept may have been.
    fn kill(&mut self, at_ms: u64) {
        if let Some(keeping) = self.keeping.take()
            && self.random.random()
        {
            self.kept = keeping;
        }
        let (manifest, pacer) = pacer(self.profile);
        self.manifest = manifest;
        self.pacer = pacer;
        self.life += 1;
        self.boot_ms = at_ms;
        self.waiting.clear();
        let now = self.now(at_ms);
        self.pacer.restore(now, &self.kept);
    }
}
