//! Two systems, people who edit both, lost answers, late pages and crashes at every step: in the end both hold
//! the same, nothing was doubled, and every value is the last that somebody gave the field on one of the sides. They
//! begin empty, or filled with records of which some are the same: those are paired and never doubled, and who can't be
//! told apart is left to a person.
//!
//! What this does not check: the order of two conflicting edits (that is the policy's), and anything below
//! `core` (that is the kill loop's). A failure prints the seed that replays it.

mod ground;

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::batch::DataType;
use tidegate_core::capture::{Captured, Observation, capture};
use tidegate_core::job::{Job, JobId, JobRow};
use tidegate_core::ledger::{Ledger, LedgerError, Room, decode};
use tidegate_core::merge::{Decision, Mapped, Write, decide, to_map};
use tidegate_core::model::Model;
use tidegate_core::pace::Lane;
use tidegate_core::pairing::{self, Met, Phase, half, meet};
use tidegate_core::plugin::{self, ChangeKind, Field, Rule, Written};
use tidegate_core::record::{Entry, FieldId, Link, LinkId, Pending, Sides, Stamps};
use tidegate_core::settle::{self, Counter, Found, Left};
use tidegate_core::sync::{ConflictPolicy, PairRule, Side};
use tidegate_core::value::Value;

use ground::host::{self, Memory, Work};
use ground::{Disk, SYNC, both_ways, field};

const FIELDS: [&str; 3] = ["a", "b", "c"];
/// By which records pair; it is not mapped.
const MAIL: &str = "mail";

#[derive(Clone, Debug, PartialEq)]
struct Row {
    fields: [i64; 3],
    key: Option<String>,
    mail: Option<String>,
    committed_us: i64,
}

/// A vendor: rows, and a log of what changed.
#[derive(Default)]
struct System {
    rows: BTreeMap<String, Row>,
    log: Vec<String>,
    last_id: u64,
    /// Refuses to write a record that has changed since the version that it is given.
    conditional: bool,
    /// What people gave each field, by record, in order.
    given: BTreeMap<String, [Vec<i64>; 3]>,
    deleted_by_people: BTreeSet<String>,
}

impl System {
    fn insert(&mut self, side: Side, row: Row) -> String {
        self.last_id += 1;
        let id = format!("{side}{}", self.last_id);
        self.rows.insert(id.clone(), row);
        self.log.push(id.clone());
        id
    }

    /// Everything up to now; text that sorts.
    fn version(&self) -> String {
        match self.conditional {
            true => format!("{:08}", self.log.len()),
            false => String::new(),
        }
    }

    fn has_changed(&self, id: &str, version: &str) -> bool {
        let seen = version.parse().unwrap_or(usize::MAX);
        let later = self.log.get(seen..).unwrap_or_default();
        self.conditional && later.iter().any(|changed| changed == id)
    }
}

/// A write that the vendor does in its own time. It outlives the host.
struct VendorJob {
    link: LinkId,
    write: Write,
    /// What became of it; the inner one is absent when the vendor refused.
    done: Option<Option<Written>>,
}

struct World {
    seed: u64,
    rng: ChaCha8Rng,
    model: Model,
    disk: Disk,
    cursors: Sides<usize>,
    last_link: u64,
    systems: Sides<System>,
    memory: Memory<Option<Row>>,
    jobs: BTreeMap<JobId, VendorJob>,
    last_job: u64,
    now_us: i64,
    creates: u64,
    /// Absent where the systems begin empty.
    contact: Option<Phase>,
    /// What was there before the host, in each side's log.
    filled: Sides<usize>,
    /// Who had each mail then.
    mails: BTreeMap<String, Sides<Vec<String>>>,
    /// Records that were ever one: each by the record that its first write named as its key.
    origin: BTreeMap<String, String>,
    /// What happened, in order, for whoever must explain a failure.
    trace: Vec<String>,
}

fn model(conflict: ConflictPolicy, pairs: Vec<PairRule>) -> Model {
    let mut spec = ground::spec(Some("key"), conflict);
    spec.pairs = pairs;
    let mut fields: Vec<Field> = FIELDS
        .iter()
        .map(|name| field(name, DataType::Integer, false))
        .collect();
    fields.push(field("key", DataType::Text, true));
    fields.push(field(MAIL, DataType::Text, false));
    let rules: Vec<Rule> = FIELDS.iter().flat_map(|name| both_ways(name)).collect();
    let schemas = Sides {
        left: fields.clone(),
        right: fields,
    };
    Model::new(spec, Sides::default(), &schemas, &rules).expect("a sound sync")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policies = [
            ConflictPolicy::Newest,
            ConflictPolicy::Left,
            ConflictPolicy::Right,
        ];
        let policy = *policies.choose(&mut rng).expect("policies");
        let systems = Sides::new(|_| System {
            conditional: rng.random_bool(0.5),
            ..System::default()
        });
        Self {
            seed,
            rng,
            model: model(policy, Vec::new()),
            disk: Disk::default(),
            cursors: Sides::default(),
            last_link: 0,
            systems,
            memory: Memory::new(),
            jobs: BTreeMap::new(),
            last_job: 0,
            now_us: 1_000_000,
            creates: 0,
            contact: None,
            filled: Sides::default(),
            mails: BTreeMap::new(),
            origin: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    /// Both systems have records already: some on one side, some on both, and some that can't be told apart.
    fn filled(seed: u64) -> Self {
        let mut world = Self::new(seed);
        let rule = PairRule {
            left: vec![MAIL.into()],
            right: vec![MAIL.into()],
            exact: false,
        };
        world.model = model(world.model.spec.conflict, vec![rule]);
        world.contact = Some(Phase::Reading);
        for mail in 0..world.rng.random_range(1..8) {
            for side in Side::BOTH {
                let many = [0, 1, 1, 1, 2].choose(&mut world.rng);
                for _ in 0..*many.expect("a number") {
                    let fields = [0; 3].map(|_| world.rng.random_range(0..4));
                    let row = Row {
                        fields,
                        key: None,
                        mail: Some(format!("{mail}@mail")),
                        committed_us: world.now_us,
                    };
                    let id = world.systems[side].insert(side, row);
                    let had = world.mails.entry(format!("{mail}@mail")).or_default();
                    had[side].push(id.clone());
                    world.tell(|| format!("filled with {id} {mail}@mail {fields:?}"));
                    let given = fields.map(|value| vec![value]);
                    world.systems[side].given.insert(id, given);
                }
            }
        }
        world.filled = Sides::new(|side| world.systems[side].log.len());
        world
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{} {}", self.now_us, what());
        self.trace.push(line);
    }

    fn side(&mut self) -> Side {
        if self.rng.random_bool(0.5) {
            Side::Left
        } else {
            Side::Right
        }
    }

    fn values(&self, side: Side, row: &Row) -> Vec<(FieldId, Value)> {
        let mapped = FIELDS.iter().zip(row.fields).map(|(name, value)| {
            (
                self.model.id(side, name).expect("mapped"),
                Value::Integer(value),
            )
        });
        let mail = self.model.pairs.first().map(|rule| {
            let mail = row.mail.as_deref();
            let mail = mail.map_or(Value::Null, |mail| Value::Text(mail.into()));
            (rule[side][0], mail)
        });
        mapped.chain(mail).collect()
    }

    // ---- people ----------------------------------------------------------------------------

    fn edit(&mut self) {
        let side = self.side();
        let ids: Vec<String> = self.systems[side].rows.keys().cloned().collect();
        let chance = self.rng.random_range(0..10);
        if ids.is_empty() || chance == 0 && self.creates < 12 {
            self.creates += 1;
            let fields = [0; 3].map(|_| self.rng.random_range(0..1_000_000));
            let row = Row {
                fields,
                key: None,
                mail: None,
                committed_us: self.now_us,
            };
            let id = self.systems[side].insert(side, row);
            self.tell(|| format!("person creates {id} {fields:?}"));
            self.systems[side]
                .given
                .insert(id, fields.map(|value| vec![value]));
            return;
        }
        let id = ids.choose(&mut self.rng).expect("a record").clone();
        let system = &mut self.systems[side];
        if chance == 1 {
            system.rows.remove(&id);
            system.log.push(id.clone());
            system.deleted_by_people.insert(id.clone());
            self.tell(|| format!("person deletes {id}"));
            return;
        }
        let which = self.rng.random_range(0..3);
        // A small range, so that undone changes and equal edits on both sides happen too.
        let value = self.rng.random_range(0..4);
        let row = system.rows.get_mut(&id).expect("a record");
        row.fields[which] = value;
        row.committed_us = self.now_us;
        system.log.push(id.clone());
        system.given.entry(id.clone()).or_default()[which].push(value);
        self.tell(|| format!("person gives {id} {} = {value}", FIELDS[which]));
    }

    // ---- the host --------------------------------------------------------------------------

    fn pull(&mut self, side: Side) {
        if self.memory.pages[side].is_some() {
            return;
        }
        let system = &self.systems[side];
        // Overlap: what was reported is reported again.
        let from = self.cursors[side].saturating_sub(3);
        let mut end = system.log.len();
        if self.contact == Some(Phase::Reading) {
            end = end.min(self.cursors[side] + self.rng.random_range(1..4));
        }
        let rows = system.log[from..end]
            .iter()
            .map(|id| (id.clone(), system.rows.get(id).cloned()))
            .collect();
        self.memory.pulled(side, rows, system.version(), end);
    }

    fn deliver(&mut self, side: Side) {
        let Some(page) = self.memory.pages[side].take() else {
            return;
        };
        let mut counter = Counter(self.last_link);
        let mut ledger = Ledger::new(&self.disk, SYNC);
        let memory = &self.memory;
        let standing = |link| memory.standing(side, &page, link);
        let mut captured = Vec::new();
        let mut mets = Vec::new();
        for (id, row) in &page.rows {
            let observation = Observation {
                side,
                id,
                kind: if row.is_some() {
                    ChangeKind::Upsert
                } else {
                    ChangeKind::Delete
                },
                version: &page.version,
                stamps: Stamps {
                    committed_us: row.as_ref().map(|row| row.committed_us),
                    seen_us: self.now_us,
                },
                values: row
                    .as_ref()
                    .map(|row| self.values(side, row))
                    .unwrap_or_default(),
                key: row.as_ref().and_then(|row| row.key.as_deref()),
            };
            let what = capture(
                &mut ledger,
                &self.model,
                observation,
                Lane::Normal,
                &mut counter,
                &standing,
            )
            .expect("readable");
            let mut met = None;
            if let (Some(phase), Captured::Queued(link)) = (&self.contact, what)
                && !memory.queue.is_in_flight(link)
            {
                let found = meet(&mut ledger, &self.model, phase, link, self.now_us);
                met = Some(found.expect("readable"));
            }
            mets.extend(met);
            captured.push(format!("capture {id} {row:?}: {what:?} {met:?}"));
        }
        let changes = ledger.into_changes();
        self.disk.commit(changes);
        for met in mets {
            self.relate(Some(met));
        }
        self.last_link = counter.0;
        for line in captured {
            self.tell(|| line);
        }
        self.cursors[side] = page.end;
        self.memory.requeue(&self.disk);
    }

    fn settle(
        &mut self,
        id: LinkId,
        step: impl FnOnce(&mut Ledger<'_>, &Model, i64) -> Result<Left, LedgerError>,
    ) {
        let (left, met, entry) = self.disk.act(|ledger| {
            let left = step(ledger, &self.model, self.now_us).expect("readable");
            let mut met = None;
            if let (Some(phase), Left::Again) = (&self.contact, left) {
                let found = meet(ledger, &self.model, phase, id, self.now_us);
                met = Some(found.expect("readable"));
            }
            (left, met, ledger.entry(id).expect("readable"))
        });
        assert!(
            left != Left::Dead,
            "seed {}: nothing here deserves to die",
            self.seed
        );
        self.relate(met);
        self.memory.finish(id, left, entry);
    }

    fn round(&mut self) {
        let source = self.side();
        let most = self.rng.random_range(1..4);
        for id in self.memory.queue.take(source, Lane::Normal, most) {
            let Some((link, entry)) = self.memory.open(&self.disk, id) else {
                continue;
            };
            if self.contact.as_ref().is_some_and(Phase::holds) && half(&link, &entry).is_some() {
                self.memory.queue.finish(id, None, 0);
                continue;
            }
            let wanted = to_map(&self.model, &link, &entry);
            let mapped: Mapped = Sides::new(|side| {
                let Some(Pending::Row { values, .. }) = &entry.pending[side] else {
                    return None;
                };
                let mapped = values.iter();
                let mapped = mapped.filter(|(field, _)| self.model.is_mapped(side, *field));
                wanted[side].then(|| Ok(mapped.cloned().collect()))
            });
            let generation = entry.generation;
            match decide(&self.model, &link, &entry, &mapped, self.now_us) {
                Decision::Read(side) => self.memory.works.push(Work::Read(id, side)),
                Decision::Write(write) => self.memory.intend(&mut self.disk, id, write),
                Decision::Agree(prints) => {
                    self.settle(id, |ledger, model, _| {
                        settle::agreed(ledger, model, id, generation, &prints)
                    });
                }
                Decision::Forget => self.settle(id, |ledger, _, now| {
                    settle::forget(ledger, id, generation, now)
                }),
                Decision::Detach => unreachable!("deletes propagate here"),
                Decision::Rest(_) => unreachable!("no field asks for anything here"),
                Decision::Dead(reason) if reason.code == "ping-pong" => {
                    panic!("seed {}: people who edit both sides are no loop", self.seed)
                }
                Decision::Dead(reason) => panic!("seed {}: {reason:?}", self.seed),
            }
        }
    }

    /// Who pairs is one family from then on.
    fn relate(&mut self, met: Option<Met>) {
        let Some(met @ Met::Paired { kept, .. }) = met else {
            return;
        };
        self.tell(|| format!("{met:?}"));
        let link = Ledger::new(&self.disk, SYNC).link(kept).expect("readable");
        if let Some(Sides {
            left: Some(left),
            right: Some(right),
        }) = link.map(|link| link.ids)
        {
            let origin = self.origin(&left);
            self.origin.insert(right.into(), origin);
        }
    }

    /// A part of the first contact.
    fn contact(&mut self) {
        let Some(phase) = &self.contact else {
            return;
        };
        let read = |side: Side| self.cursors[side] >= self.filled[side];
        if *phase == Phase::Reading {
            if read(Side::Left) && read(Side::Right) {
                self.contact = Some(Phase::PAIRING);
            }
            return;
        }
        let keys_max = self.rng.random_range(1..4);
        let bounds = (keys_max, 1_000);
        let step = self
            .disk
            .act(|ledger| pairing::step(ledger, &self.model, phase, bounds, self.now_us));
        let step = step.expect("readable");
        for (_, met) in step.met {
            self.relate(Some(met));
        }
        self.contact = Some(step.next);
        self.memory.requeue(&self.disk);
    }

    fn read(&mut self, id: LinkId, side: Side) {
        // Another link may have taken the record over since, and then the answer is nobody's.
        let link = Ledger::new(&self.disk, SYNC)
            .link(id)
            .expect("readable")
            .unwrap_or_default();
        let system = &self.systems[side];
        let found = match (&link.ids[side], &link.ids[side.other()]) {
            (Some(remote), _) => system.rows.get_key_value(&**remote),
            (None, Some(key)) => system
                .rows
                .iter()
                .find(|(_, row)| row.key.as_deref() == Some(&**key)),
            (None, None) => None,
        };
        let found = found.map_or(Found::Gone, |(remote, row)| Found::Row {
            id: remote.as_str().into(),
            version: system.version().into(),
            committed_us: Some(row.committed_us),
            values: self.values(side, row),
        });
        self.tell(|| format!("read {id:?} on the {side}: {found:?}"));
        self.memory.touch(id, side);
        self.settle(id, |ledger, model, now| {
            settle::observed(ledger, model, id, side, found, now)
        });
    }

    /// The vendor carries a write out. `None` when it refuses because the record is gone, or not as it was.
    fn execute(&mut self, write: &Write) -> Option<Written> {
        let side = write.target;
        let values: Vec<(usize, i64)> = write
            .values
            .iter()
            .map(|(field, value)| {
                let name = self.model.name(side, *field);
                let which = FIELDS
                    .iter()
                    .position(|known| *known == name)
                    .expect("a field");
                let Value::Integer(value) = value else {
                    panic!("integers only")
                };
                (which, *value)
            })
            .collect();
        let now_us = self.now_us;
        let system = &mut self.systems[side];
        let known = write.id.as_ref().filter(|_| !write.version.is_empty());
        if known.is_some_and(|id| system.has_changed(id, &write.version)) {
            self.tell(|| format!("{known:?} has changed since {}", write.version));
            return None;
        }
        if write.sent.deed.removes() {
            let id = write.id.as_deref().expect("an id");
            system.rows.remove(id)?;
            system.log.push(id.into());
            return Some(Written {
                id: id.into(),
                created: false,
                version: String::new(),
            });
        }
        let existing = match (&write.id, &write.key) {
            (Some(id), _) => Some(id.to_string()),
            (None, Some(key)) => system
                .rows
                .iter()
                .find(|(_, row)| row.key.as_deref() == Some(&**key))
                .map(|(id, _)| id.clone()),
            (None, None) => None,
        };
        if let Some(id) = existing {
            let row = system.rows.get_mut(&id)?;
            for (which, value) in values {
                row.fields[which] = value;
            }
            row.committed_us = now_us;
            system.log.push(id.clone());
            return Some(Written {
                id,
                created: false,
                version: known.map(|_| system.version()).unwrap_or_default(),
            });
        }
        let mut row = Row {
            fields: [-1; 3],
            key: write.key.as_deref().map(Into::into),
            mail: None,
            committed_us: now_us,
        };
        for (which, value) in values {
            row.fields[which] = value;
        }
        let id = system.insert(side, row);
        let version = system.version();
        if let Some(key) = &write.key {
            let origin = self.origin(key);
            self.origin.insert(id.clone(), origin);
        }
        Some(Written {
            id,
            created: true,
            version,
        })
    }

    fn work(&mut self, faults: bool) {
        let Some(work) = self.memory.work(&mut self.rng) else {
            return;
        };
        match work {
            Work::Read(id, side) => self.read(id, side),
            Work::Write(id, write) => {
                self.tell(|| format!("write {id:?} {write:?}"));
                let fate = if faults {
                    self.rng.random_range(0..10)
                } else {
                    9
                };
                if (2..5).contains(&fate) {
                    return self.entrust(id, write);
                }
                if fate == 0 {
                    // The request was lost on its way; nobody knows that it was.
                    self.memory.touch(id, write.target);
                    return self.settle(id, |ledger, _, _| settle::unknown(ledger, id, write.sent));
                }
                match self.execute(&write) {
                    None => {
                        self.settle(id, |ledger, _, _| {
                            settle::read_first(ledger, id, write.target)
                        });
                    }
                    // The answer was lost.
                    Some(_) if fate == 1 => {
                        self.memory.touch(id, write.target);
                        self.settle(id, |ledger, _, _| settle::unknown(ledger, id, write.sent));
                    }
                    Some(outcome) => self.memory.works.push(Work::Executed(id, write, outcome)),
                }
            }
            Work::Executed(id, write, outcome) => {
                self.tell(|| format!("answered {id:?} {outcome:?}"));
                self.memory.touch(id, write.target);
                self.settle(id, |ledger, model, now| {
                    settle::written(ledger, model, id, &write, &outcome, None, now)
                });
            }
        }
    }

    /// Leaves a write to a job. Its row is on disk first, then the job, and only a job that is on disk is ever set off.
    fn entrust(&mut self, link: LinkId, write: Write) {
        self.last_job += 1;
        let id = JobId(self.last_job);
        let row = JobRow {
            job: id,
            generation: write.generation,
            create: write.id.is_none(),
        };
        self.disk.act(|ledger| ledger.put_job_row(link, &row));
        if self.rng.random_bool(0.1) {
            return self.crash();
        }
        let told = plugin::Job {
            state: Vec::new(),
            wait_ms: 0,
        };
        let job = Job::new(write.target, "bulk", Lane::Normal, &told, self.now_us);
        self.disk.act(|ledger| ledger.put_job(id, &job));
        self.tell(|| format!("{id:?} takes {link:?}"));
        let done = None;
        self.jobs.insert(id, VendorJob { link, write, done });
    }

    /// The vendor does a job, or the host asks after it.
    fn job(&mut self, faults: bool) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        let Some(id) = ids.choose(&mut self.rng).copied() else {
            return;
        };
        if self.jobs[&id].done.is_none() {
            let write = self.jobs[&id].write.clone();
            let done = self.execute(&write);
            self.tell(|| format!("{id:?} is done: {done:?}"));
            self.jobs.get_mut(&id).expect("a job").done = Some(done);
            return;
        }
        let job = self.jobs.remove(&id).expect("a job");
        let target = job.write.target;
        let lost = faults && self.rng.random_bool(0.2);
        self.memory.touch(job.link, target);
        self.settle(job.link, |ledger, model, now| {
            let row = ledger.job_row(job.link)?.expect("a row of the job");
            ledger.remove_job_row(job.link);
            match job.done.flatten() {
                _ if lost => settle::recover(ledger, job.link),
                None => settle::read_first(ledger, job.link, target),
                Some(outcome) => {
                    settle::job_written(ledger, model, job.link, row, &outcome, None, now)
                }
            }
        });
        self.disk.act(|ledger| ledger.remove_job(id));
    }

    fn crash(&mut self) {
        self.tell(|| "crash".into());
        self.memory = Memory::new();
        for (link, row) in self.disk.room(Room::JobRow) {
            let row: JobRow = decode("job row", &row).expect("readable");
            match self.jobs.get(&row.job) {
                Some(job) => self.memory.resume(link, job.write.target),
                None => self.disk.act(|ledger| ledger.remove_job_row(link)),
            }
        }
        for (id, _) in self.disk.room(Room::Intent) {
            self.disk.act(|ledger| {
                if ledger.job_row(id).expect("readable").is_none() {
                    settle::recover(ledger, id).expect("readable");
                }
            });
        }
        self.memory.requeue(&self.disk);
    }

    fn origin(&self, id: &str) -> String {
        self.origin
            .get(id)
            .cloned()
            .unwrap_or_else(|| id.to_owned())
    }

    /// Who pairs is one on both sides, who can't be told apart is reported, and everybody else is there once.
    fn check_contact(&self) {
        let seed = self.seed;
        let ledger = Ledger::new(&self.disk, SYNC);
        let mut partner: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (id, bytes) in self.disk.room(Room::Link) {
            let link: Link = decode("link", &bytes).expect("readable");
            let letter = ledger.dead(id).expect("readable");
            let ids = [&link.ids.left, &link.ids.right].map(|id| id.as_deref().map(str::to_owned));
            let code = letter.map(|letter| letter.reason.code);
            let left_to_person = code.as_deref() == Some("pair-ambiguous");
            let whole = ids.iter().all(Option::is_some);
            assert!(
                whole != left_to_person && (whole || code.is_some()),
                "seed {seed}: {ids:?} {code:?}"
            );
            let [left, right] = ids;
            for (one, other) in [(&left, &right), (&right, &left)] {
                if let Some(one) = one {
                    let before = partner.insert(one.clone(), other.clone());
                    assert_eq!(before, None, "seed {seed}: {one} is in two links");
                }
            }
        }
        for side in Side::BOTH {
            for id in self.systems[side].rows.keys() {
                assert!(partner.contains_key(id), "seed {seed}: {id} is in no link");
            }
        }
        for (mail, Sides { left, right }) in &self.mails {
            let deleted = |id: &String| {
                let mut systems = [&self.systems.left, &self.systems.right].into_iter();
                systems.any(|system| {
                    let mut gone = system.deleted_by_people.iter();
                    gone.any(|gone| self.origin(gone) == self.origin(id))
                })
            };
            // A delete may come before its record has found its other half, or after, and takes the other along.
            if left.iter().chain(right).any(deleted) {
                continue;
            }
            let found = |id: &String| {
                let found = partner.get(id).cloned();
                found.unwrap_or_else(|| panic!("seed {seed}: {id} of {mail} is lost"))
            };
            match (&**left, &**right) {
                ([one], [other]) => {
                    assert_eq!(found(one).as_ref(), Some(other), "seed {seed}: {mail}");
                }
                ([], alone) | (alone, []) => {
                    for one in alone {
                        assert!(
                            found(one).is_some(),
                            "seed {seed}: {one} is on one side only"
                        );
                    }
                }
                _ => {
                    for one in left.iter().chain(right) {
                        assert_eq!(found(one), None, "seed {seed}: {one} of {mail} is a guess");
                    }
                }
            }
        }
    }
}

impl host::World for World {
    fn step(&mut self, people: bool) {
        self.now_us += 1_000;
        // Edits lie far enough apart that answers to answers are loops and nothing else.
        match self.rng.random_range(0..100) {
            0..20 if people => {
                self.now_us += 700_000_000;
                self.edit();
            }
            20..35 => {
                let side = self.side();
                self.pull(side);
            }
            35..50 => {
                let side = self.side();
                self.deliver(side);
            }
            50..70 => self.round(),
            70..90 => self.work(people),
            90..98 => self.job(people),
            98 if people => self.crash(),
            _ => self.contact(),
        }
    }

    fn is_quiet(&self) -> bool {
        let seen = |side: &Side| self.cursors[*side] == self.systems[*side].log.len();
        let contact = self.contact.as_ref();
        self.memory.is_idle()
            && self.jobs.is_empty()
            && Side::BOTH.iter().all(seen)
            && self.disk.room(Room::Entry).is_empty()
            && contact.is_none_or(|phase| *phase == Phase::Over)
    }

    fn story(&self) -> &[String] {
        &self.trace
    }

    fn unrest(&self) -> String {
        let waiting: Vec<(LinkId, Entry)> = self
            .disk
            .room(Room::Entry)
            .iter()
            .map(|(link, bytes)| (*link, decode("entry", bytes).expect("readable")))
            .collect();
        let ledger = Ledger::new(&self.disk, SYNC);
        let links: Vec<_> = waiting
            .iter()
            .map(|(link, _)| ledger.link(*link).expect("readable"))
            .collect();
        format!(
            "{} works, cursors {:?} of {} and {}, waiting {waiting:#?}, links {links:#?}, queue {:?}",
            self.memory.works.len(),
            self.cursors,
            self.systems.left.log.len(),
            self.systems.right.log.len(),
            self.memory.queue.depth(),
        )
    }

    fn check(&self) {
        let seed = self.seed;
        let mut links: Vec<Link> = self
            .disk
            .room(Room::Link)
            .iter()
            .map(|(_, bytes)| decode("link", bytes).expect("readable"))
            .collect();
        if self.contact.is_some() {
            self.check_contact();
            links.retain(|link| link.ids.left.is_some() && link.ids.right.is_some());
        }
        let count = |side: Side| {
            let rows = self.systems[side].rows.keys();
            let whole = |id: &&String| {
                let same = |link: &Link| link.ids[side].as_deref() == Some(id.as_str());
                self.contact.is_none() || links.iter().any(same)
            };
            rows.filter(whole).count()
        };
        assert_eq!(
            count(Side::Left),
            count(Side::Right),
            "seed {seed}: doubled or lost records"
        );
        assert_eq!(
            links.len(),
            count(Side::Left),
            "seed {seed}: links {links:#?} {:?} {:?}",
            self.systems.left.rows,
            self.systems.right.rows
        );
        assert!(
            self.disk.room(Room::Intent).is_empty(),
            "seed {seed}: intents left behind"
        );
        for room in [Room::Job, Room::JobRow] {
            assert!(
                self.disk.room(room).is_empty(),
                "seed {seed}: jobs left behind"
            );
        }
        for link in links {
            let ids = Sides::new(|side| {
                link.ids[side]
                    .clone()
                    .unwrap_or_else(|| panic!("seed {seed}: half a link"))
            });
            let row = |side: Side| {
                self.systems[side]
                    .rows
                    .get(&*ids[side])
                    .unwrap_or_else(|| panic!("seed {seed}: {} is not there", ids[side]))
            };
            assert_eq!(
                row(Side::Left).fields,
                row(Side::Right).fields,
                "seed {seed}: {ids:?}"
            );
            let family = [&ids.left, &ids.right].map(|id| self.origin(id));
            let related = |id: &String| family.contains(&self.origin(id));
            // What somebody gave a record that somebody deleted may be older than what the other side held.
            let deleted = Side::BOTH
                .iter()
                .any(|side| self.systems[*side].deleted_by_people.iter().any(related));
            for which in 0..FIELDS.len() {
                let given: Vec<i64> = Side::BOTH
                    .iter()
                    .flat_map(|side| &self.systems[*side].given)
                    .filter(|(id, _)| related(id))
                    .flat_map(|(_, given)| {
                        let given = &given[which];
                        &given[if deleted {
                            0
                        } else {
                            given.len().saturating_sub(1)
                        }..]
                    })
                    .copied()
                    .collect();
                let value = row(Side::Left).fields[which];
                assert!(
                    given.contains(&value),
                    "seed {seed}: {} of {ids:?} is {value}, given {given:?}",
                    FIELDS[which]
                );
            }
        }
    }
}

#[test]
fn everything_converges_whatever_goes_wrong() {
    run(World::new);
}

#[test]
fn filled_systems_converge_too() {
    run(World::filled);
}

fn run(begin: impl Fn(u64) -> World) {
    for seed in host::seeds(1_200) {
        host::live(&mut begin(seed), seed, 1_500);
    }
}
