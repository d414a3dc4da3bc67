//! Bulk jobs against the Salesforce simulator, by a host that is killed at every step and trusts nothing but
//! what it kept.

mod wire;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use tidegate_plugin_salesforce::Salesforce;
use tidegate_sdk::{
    Advice, BatchBuilder, Connector, DataType, Fault, Gateway, Group, Level, OperationKind,
    Operations, Outcome, Packed, Progress, Request, Response, Selection,
};
use tidegate_simulator::salesforce::{Fault as Trouble, Options, When};
use wire::{Wire, World};

const KEY: &str = "Tidegate_Id__c";

/// How often each key was written.
fn writes(world: &World) -> BTreeMap<String, usize> {
    let mut writes = BTreeMap::new();
    for entry in world.simulator.journal(0) {
        let key = entry.external_ids[KEY].as_str().expect("a key").to_owned();
        *writes.entry(key).or_default() += 1;
    }
    writes
}

/// A way to the org that dies: the request after so many is carried out or not, and is never answered, and then
/// nothing is sent any more.
struct Dying<'a> {
    wire: &'a Wire,
    left: Cell<usize>,
    carried_out: bool,
}

impl Dying<'_> {
    fn is_dead(&self) -> bool {
        self.left.get() == 0
    }

    fn next(&self, send: impl FnOnce() -> Result<Response, Fault>) -> Result<Response, Fault> {
        let dead = || Err(Fault::transient("killed", "").with_unknown_fate());
        match self.left.get() {
            0 => dead(),
            1 => {
                self.left.set(0);
                if self.carried_out {
                    drop(send());
                }
                dead()
            }
            left => {
                self.left.set(left - 1);
                send()
            }
        }
    }
}

impl Gateway for Dying<'_> {
    fn fetch_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        let one = |request: &Request| {
            let request = std::slice::from_ref(request);
            self.next(|| self.wire.fetch_batch(request).remove(0))
        };
        requests.iter().map(one).collect()
    }

    fn write_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        let one = |request: &Request| {
            let request = std::slice::from_ref(request);
            self.next(|| self.wire.write_batch(request).remove(0))
        };
        requests.iter().map(one).collect()
    }

    fn log(&self, _: Level, _: &str) {}
}

/// A host that has rows to write and keeps what a host keeps.
struct Writer<'a> {
    world: &'a World,
    waiting: BTreeSet<u64>,
    /// The rows of the job whose state is on disk.
    job: Option<(Vec<u8>, BTreeSet<u64>)>,
    /// Rows that have to be read before they are written again.
    unknown: BTreeSet<u64>,
    /// Salesforce's id of what is settled.
    written: BTreeMap<u64, String>,
}

impl<'a> Writer<'a> {
    fn new(world: &'a World, keys: u64) -> Self {
        Self {
            world,
            waiting: (1..=keys).collect(),
            job: None,
            unknown: BTreeSet::new(),
            written: BTreeMap::new(),
        }
    }

    /// One call of the plugin, and what a host makes of its answer. A killed host hears nothing.
    fn step(&mut self, gateway: &dyn Gateway, killed: impl Fn() -> bool) {
        if let Some((state, rows)) = self.job.take() {
            let polled = Salesforce::poll(gateway, &self.world.context(), state.clone());
            match polled.ok().filter(|_| !killed()) {
                Some(progress) => self.settle(progress, rows),
                None => self.job = Some((state, rows)),
            }
        } else if !self.unknown.is_empty() {
            self.look();
        } else {
            let rows = std::mem::take(&mut self.waiting);
            let pushed = Salesforce::push(gateway, &self.world.context(), upserts(&rows));
            match pushed {
                _ if killed() => self.unknown.extend(rows),
                Ok(progress) => self.settle(progress, rows),
                Err(fault) => {
                    assert_eq!(fault.executed, tidegate_sdk::Executed::No, "{fault:?}");
                    self.waiting.extend(rows);
                }
            }
        }
    }

    fn settle(&mut self, progress: Progress, mut open: BTreeSet<u64>) {
        for row in progress.outcomes {
            assert!(open.remove(&row.token), "{} has two outcomes", row.token);
            match row.outcome {
                Outcome::Written(written) => {
                    self.written.insert(row.token, written.id);
                }
                Outcome::Refused(refusal) => {
                    assert_eq!(refusal.advice, Advice::Retry, "{refusal:?}");
                    self.waiting.insert(row.token);
                }
                Outcome::Unknown(_) => {
                    self.unknown.insert(row.token);
                }
            }
        }
        match progress.job {
            Some(job) => {
                self.world.simulator.advance_ms(u64::from(job.wait_ms));
                self.job = Some((job.state, open));
            }
            None => self.unknown.extend(open),
        }
    }

    /// What is there was written, what is not is written again.
    fn look(&mut self) {
        // A lost job may still be at work; a host looks again, and its row would be found written by then.
        self.world.simulator.advance_ms(600_000);
        let selection = Selection {
            object: "Contact".to_owned(),
            fields: vec![KEY.to_owned()],
        };
        let keys: Packed = self.unknown.iter().map(u64::to_string).collect();
        let by = Some(KEY.to_owned());
        let context = self.world.context();
        let Ok(found) = Salesforce::read(&self.world.wire, &context, selection, by, keys) else {
            return;
        };
        for row in 0..found.len() {
            let tidegate_sdk::Value::Text(key) = found.batch.value(row, KEY) else {
                panic!("a row without its key");
            };
            let key = key.parse().expect("a number");
            assert!(self.unknown.remove(&key));
            self.written.insert(key, found.ids.text(row).to_owned());
        }
        self.waiting.append(&mut self.unknown);
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.unknown.is_empty() && self.job.is_none()
    }

    fn check(&self, keys: u64, story: &str) {
        assert_eq!(self.written.len() as u64, keys, "{story}");
        let records = self.world.simulator.records("Contact");
        assert_eq!(records.len() as u64, keys, "{story}");
        for record in &records {
            let key: u64 = record[KEY]
                .as_str()
                .expect("a key")
                .parse()
                .expect("a number");
            assert_eq!(record["Id"].as_str(), Some(&*self.written[&key]), "{story}");
            assert_eq!(record["LastName"], name(key), "{story}");
        }
        let twice = writes(self.world).into_iter().find(|(_, count)| *count > 1);
        assert_eq!(twice, None, "{story}");
    }
}

fn name(key: u64) -> String {
    format!("Ørsted, \"{key}\"\n🌊")
}

fn upserts(keys: &BTreeSet<u64>) -> Operations {
    let mut people = BatchBuilder::new([
        (KEY, DataType::Text),
        ("LastName", DataType::Text),
        ("Email", DataType::Text),
    ]);
    for key in keys {
        let mut row = people.row();
        row.set(KEY, key.to_string().as_str())
            .and_then(|row| row.set("LastName", name(*key).as_str()))
            .expect("columns");
    }
    let group = Group {
        object: "Contact".to_owned(),
        operation: OperationKind::Upsert,
        key: Some(KEY.to_owned()),
        tokens: keys.iter().copied().collect(),
        ids: keys.iter().map(|_| "").collect(),
        into: Default::default(),
        versions: keys.iter().map(|_| "").collect(),
        batch: people.finish(),
    };
    Operations {
        method: "bulk".to_owned(),
        groups: vec![group],
        references: Vec::new(),
    }
}

#[test]
fn ten_thousand_rows_cost_a_handful_of_calls() {
    const KEYS: u64 = 10_000;
    let world = World::new(Options::default());
    let mut writer = Writer::new(&world, KEYS);
    let before = world.calls();
    while !writer.is_done() {
        writer.step(&world.wire, || false);
    }
    let calls = world.calls() - before;
    writer.check(KEYS, "no trouble");
    println!("{KEYS} rows in {calls} calls");
    assert!(calls <= 7, "{calls} calls");
}

/// The hazard: a kill between any two requests, with the last one carried out or not.
#[test]
fn a_kill_at_any_step_resends_nothing_and_loses_nothing() {
    const KEYS: u64 = 450;
    for carried_out in [false, true] {
        for at in 1.. {
            let story = format!("killed at request {at}, carried out: {carried_out}");
            let world = World::new(Options::default());
            let mut writer = Writer::new(&world, KEYS);
            let dying = Dying {
                wire: &world.wire,
                left: Cell::new(at),
                carried_out,
            };
            while !writer.is_done() && !dying.is_dead() {
                writer.step(&dying, || dying.is_dead());
            }
            let done_before = writer.is_done();
            while !writer.is_done() {
                writer.step(&world.wire, || false);
            }
            writer.check(KEYS, &story);
            if done_before {
                assert!(at > 5, "a job takes more than {at} requests");
                break;
            }
        }
    }
}

/// The hazards: answers lost at every step, jobs that fail or vanish, result files with rows missing or doubled.
#[test]
fn whatever_goes_wrong_every_row_is_written_once() {
    for seed in 1..=4 {
        let story = format!("seed {seed}");
        println!("{story}");
        let rates = [
            (Trouble::DropJobCreate, 0.2),
            (Trouble::DropJobUpload, 0.2),
            (Trouble::DropJobClose, 0.2),
            (Trouble::DropJobPoll, 0.1),
            (Trouble::DropJobResults, 0.1),
            (Trouble::JobFails, 0.3),
            (Trouble::JobLost, 0.1),
            (Trouble::JobSlow, 0.2),
            (Trouble::JobRowMissing, 0.3),
            (Trouble::JobRowTwice, 0.3),
            (Trouble::LockRows, 0.02),
            (Trouble::Html, 0.02),
        ];
        let world = World::new(Options {
            seed,
            faults: rates
                .map(|(trouble, rate)| (trouble, When::Rate(rate)))
                .to_vec(),
            ..Options::default()
        });
        let mut writer = Writer::new(&world, 900);
        let mut steps = 0;
        while !writer.is_done() {
            steps += 1;
            assert!(steps < 2_000, "{story}: no end");
            writer.step(&world.wire, || false);
            world.simulator.advance_ms(1_000);
        }
        writer.check(900, &story);
    }
}
