//! A host between two simulated systems, as far as a crash wipes it out, and the life that a test gives it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tidegate_core::capture::Standing;
use tidegate_core::ledger::{Ledger, Room, decode, encode, link_key};
use tidegate_core::merge::Write;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::Written;
use tidegate_core::queue::Queue;
use tidegate_core::record::{Entry, Link, LinkId, Sides};
use tidegate_core::settle::Left;
use tidegate_core::sync::Side;

use super::{Disk, SYNC};

/// What a pull has brought and nobody has captured yet.
pub(crate) struct Page<R> {
    mark: u64,
    pub(crate) rows: Vec<(String, R)>,
    pub(crate) version: String,
    /// Where the next pull goes on.
    pub(crate) end: usize,
}

pub(crate) enum Work {
    Read(LinkId, Side),
    Write(LinkId, Write),
    /// Its answer is on the way.
    Executed(LinkId, Write, Written),
}

/// What a crash wipes out.
pub(crate) struct Memory<R> {
    pub(crate) queue: Queue,
    pub(crate) pages: Sides<Option<Page<R>>>,
    pub(crate) works: Vec<Work>,
    touched: BTreeMap<(LinkId, Side), u64>,
    writing: BTreeMap<LinkId, Side>,
    clock: u64,
}

impl<R> Memory<R> {
    pub(crate) fn new() -> Self {
        Self {
            queue: Queue::new(1_000),
            pages: Sides::new(|_| None),
            works: Vec::new(),
            touched: BTreeMap::new(),
            writing: BTreeMap::new(),
            clock: 0,
        }
    }

    pub(crate) fn pulled(
        &mut self,
        side: Side,
        rows: Vec<(String, R)>,
        version: String,
        end: usize,
    ) {
        self.clock += 1;
        self.pages[side] = Some(Page {
            mark: self.clock,
            rows,
            version,
            end,
        });
    }

    /// How a link stands to what a page says of a side.
    pub(crate) fn standing(&self, side: Side, page: &Page<R>, link: LinkId) -> Standing {
        let in_flight = self.queue.is_in_flight(link);
        let target = self.writing.get(&link);
        let writing = in_flight && target.is_none_or(|target| *target == side);
        let touched = self.touched.get(&(link, side));
        Standing {
            in_flight,
            touched: writing || touched.is_some_and(|at| *at > page.mark),
        }
    }

    pub(crate) fn touch(&mut self, link: LinkId, side: Side) {
        self.clock += 1;
        self.touched.insert((link, side), self.clock);
    }

    /// Offers all that waits; the queue knows what it has already.
    pub(crate) fn requeue(&mut self, disk: &Disk) {
        for (link, bytes) in disk.room(Room::Entry) {
            let entry: Entry = decode("entry", &bytes).expect("readable");
            self.queue.offer(link, entry.source(), Lane::Normal, 0);
        }
    }

    /// What a record that was given out has to say; given back where there is nothing.
    pub(crate) fn open(&mut self, disk: &Disk, id: LinkId) -> Option<(Link, Entry)> {
        let ledger = Ledger::new(disk, SYNC);
        let link = ledger.link(id).expect("readable");
        let found = link.zip(ledger.entry(id).expect("readable"));
        if found.is_none() {
            self.queue.finish(id, None, 0);
        }
        found
    }

    /// A write is on disk, and will leave.
    pub(crate) fn intend(&mut self, disk: &mut Disk, id: LinkId, write: Write) {
        self.writing.insert(id, write.target);
        let intent = link_key(Room::Intent, SYNC, id);
        disk.0.insert(intent, encode(&write.sent));
        self.works.push(Work::Write(id, write));
    }

    /// A vendor works on a write that an earlier host has sent.
    pub(crate) fn resume(&mut self, id: LinkId, target: Side) {
        self.queue.resume(id);
        self.writing.insert(id, target);
    }

    /// A record that was given out is done with, or waits again as the entry says.
    pub(crate) fn finish(&mut self, id: LinkId, left: Left, entry: Option<Entry>) {
        self.writing.remove(&id);
        let again = entry.filter(|_| left == Left::Again);
        let place = again.map(|entry| (entry.source(), Lane::Normal));
        self.queue.finish(id, place, 0);
    }

    /// One of the works, whichever.
    pub(crate) fn work(&mut self, rng: &mut ChaCha8Rng) -> Option<Work> {
        if self.works.is_empty() {
            return None;
        }
        let index = rng.random_range(0..self.works.len());
        Some(self.works.swap_remove(index))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.works.is_empty() && self.pages.left.is_none() && self.pages.right.is_none()
    }
}

/// Two systems, people and a host.
pub(crate) trait World {
    /// Something happens, to people and with faults or without.
    fn step(&mut self, people: bool);

    /// Nothing is left to be done.
    fn is_quiet(&self) -> bool;

    /// So many steps have passed without people and faults.
    fn calms(&mut self, _steps: u32) {}

    /// Why it does not come to rest.
    fn unrest(&self) -> String {
        String::new()
    }

    /// Panics where something is wrong.
    fn check(&self);

    /// What happened, in order, for whoever must explain a failure.
    fn story(&self) -> &[String];
}

const CALM_STEPS_MAX: u32 = 20_000;

/// Lets a world live for so many steps, come to rest, and be checked. Tells the end of its story where it fails.
pub(crate) fn live(world: &mut impl World, seed: u64, steps: u32) {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step(true);
        }
        let mut calm = 0;
        while !world.is_quiet() {
            world.step(false);
            calm += 1;
            world.calms(calm);
            assert!(
                calm < CALM_STEPS_MAX,
                "seed {seed} does not come to rest: {}",
                world.unrest()
            );
        }
        world.check();
    }));
    if let Err(panic) = lived {
        let story = world.story();
        println!("{}", story[story.len().saturating_sub(2_000)..].join("\n"));
        resume_unwind(panic);
    }
}

/// The seeds of a run, as many as the test wants unless it is told otherwise.
pub(crate) fn seeds(many: u64) -> std::ops::Range<u64> {
    let first = asked("TIDEGATE_SEED").unwrap_or(1);
    first..first + asked("TIDEGATE_RUNS").unwrap_or(many)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a longer run, or one seed, is asked for by the environment"
)]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
