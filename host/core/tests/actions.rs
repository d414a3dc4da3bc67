//! A database that marks its records as deleted or merged away, and a CRM with a recycle bin: lost answers, late pages
//! and crashes at every step, people who purge and bring back. In the end a record lives in the CRM exactly if
//! its row is not marked, none is there twice, and none became part of another than its row had named.
//!
//! What this does not check: what dead letters hold (each is of a kind that a person must look at), and conversions,
//! which the short tests at the end do.

mod ground;

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::action::{self, ActionSpec, Does};
use tidegate_core::batch::DataType;
use tidegate_core::capture::{Observation, Standing, capture, rename};
use tidegate_core::job::{JobId, JobRow};
use tidegate_core::ledger::{Ledger, LedgerError, Room, decode};
use tidegate_core::merge::{Decision, Mapped, Write, decide, to_map};
use tidegate_core::model::Model;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{ChangeKind, OperationKind, Written};
use tidegate_core::record::{Entry, FieldId, IdRef, Link, LinkId, Pending, Sides, Stamps};
use tidegate_core::reference::ParentKey;
use tidegate_core::settle::{self, Counter, Found, Left};
use tidegate_core::sync::{ConflictPolicy, Side};
use tidegate_core::value::Value;

use ground::host::{self, Memory, Work};
use ground::{Disk, SYNC, both_ways, field};

/// What the CRM has of a record.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Lives,
    Binned,
    Merged(String),
    Purged,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    name: i64,
    /// When it was marked as deleted.
    mark: Option<i64>,
    /// What it was merged into.
    into: Option<String>,
    key: Option<String>,
    state: State,
    committed_us: i64,
}

#[derive(Default)]
struct System {
    rows: BTreeMap<String, Row>,
    log: Vec<String>,
    last_id: u64,
}

impl System {
    fn insert(&mut self, side: Side, row: Row) -> String {
        self.last_id += 1;
        let id = format!("{side}{}", self.last_id);
        self.rows.insert(id.clone(), row);
        self.log.push(id.clone());
        id
    }

    fn living(&self) -> impl Iterator<Item = (&String, &Row)> {
        self.rows
            .iter()
            .filter(|(_, row)| row.state == State::Lives)
    }

    /// Changes a record, at a time; nothing where it is not there.
    fn change(&mut self, id: &str, now_us: i64, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows.get_mut(id) {
            change(row);
            row.committed_us = now_us;
            self.log.push(id.to_owned());
        }
    }
}

struct World {
    seed: u64,
    rng: ChaCha8Rng,
    model: Model,
    disk: Disk,
    cursors: Sides<usize>,
    last_link: u64,
    systems: Sides<System>,
    memory: Memory<Row>,
    now_us: i64,
    /// Left records that were made again of what the CRM had kept of them: each by the first of them.
    origin: BTreeMap<String, String>,
    /// Left records that a right one was given to by an alias, besides the one of its key.
    heirs: BTreeMap<String, BTreeSet<String>>,
    /// What each left record was ever said to have become part of; both by their first.
    named: BTreeMap<String, BTreeSet<String>>,
    /// How often the CRM did what, and how often each answer was lost.
    done: BTreeMap<OperationKind, u64>,
    /// Whoever still waits for another record waits for ever.
    freed: bool,
    trace: Vec<String>,
}

fn model(conflict: ConflictPolicy) -> Model {
    let mut spec = ground::spec(Some("key"), conflict);
    let action = |field: &str, does| ActionSpec {
        side: Side::Left,
        field: field.into(),
        does,
        when: None,
    };
    spec.actions = vec![
        action("mark", Does::Delete),
        action("into", Does::Merge),
        action("converted", Does::Convert),
    ];
    let fields = |names: &[(&str, DataType)]| {
        let fields = names.iter();
        fields
            .map(|(name, data_type)| field(name, *data_type, *name == "key"))
            .collect()
    };
    let schemas = Sides {
        left: fields(&[
            ("name", DataType::Integer),
            ("mark", DataType::Timestamp),
            ("into", DataType::Text),
            ("converted", DataType::Boolean),
            ("key", DataType::Text),
        ]),
        right: fields(&[("name", DataType::Integer), ("key", DataType::Text)]),
    };
    let rules = both_ways("name");
    Model::new(spec, Sides::default(), &schemas, &rules).expect("a sound sync")
}

fn values(model: &Model, side: Side, row: &Row) -> Vec<(FieldId, Value)> {
    let id = |name: &str| model.id(side, name).expect("known");
    let mut values = vec![(id("name"), Value::Integer(row.name))];
    if side == Side::Left {
        let mark = row.mark.map_or(Value::Null, Value::Timestamp);
        let into = row.into.as_deref();
        values.push((id("mark"), mark));
        values.push((
            id("into"),
            into.map_or(Value::Null, |into| Value::Text(into.into())),
        ));
        values.push((id("converted"), Value::Boolean(false)));
    }
    values
}

/// What the mapping makes of a row: its name.
fn mapped(model: &Model, link: &Link, entry: &Entry) -> Mapped {
    let wanted = to_map(model, link, entry);
    Sides::new(|side| {
        let Some(Pending::Row { values, .. }) = &entry.pending[side] else {
            return None;
        };
        let name = model.id(side, "name").expect("known");
        let output = model.id(side.other(), "name").expect("known");
        let named = values.iter().filter(|(field, _)| *field == name);
        let outputs = named.map(|(_, value)| (output, value.clone())).collect();
        wanted[side].then_some(Ok(outputs))
    })
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
        Self {
            seed,
            rng,
            model: model(policy),
            disk: Disk::default(),
            cursors: Sides::default(),
            last_link: 0,
            systems: Sides::default(),
            memory: Memory::new(),
            now_us: 1_000_000,
            origin: BTreeMap::new(),
            heirs: BTreeMap::new(),
            named: BTreeMap::new(),
            done: BTreeMap::new(),
            freed: false,
            trace: Vec::new(),
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{} {}", self.now_us, what());
        self.trace.push(line);
    }

    fn first(&self, left: &str) -> String {
        let first = self.origin.get(left).map(String::as_str);
        first.unwrap_or(left).to_owned()
    }

    fn side(&mut self) -> Side {
        *Side::BOTH.choose(&mut self.rng).expect("two")
    }

    // ---- people ----------------------------------------------------------------------------

    fn edit(&mut self) {
        match self.rng.random_range(0..10) {
            0..7 => self.edit_left(),
            _ => self.edit_right(),
        }
    }

    fn edit_left(&mut self) {
        let now_us = self.now_us;
        let ids: Vec<String> = self.systems.left.rows.keys().cloned().collect();
        let chance = self.rng.random_range(0..12);
        if ids.len() < 2 || chance == 0 && self.systems.left.last_id < 9 {
            let name = self.rng.random_range(0..1_000_000);
            let row = Row {
                name,
                mark: None,
                into: None,
                key: None,
                state: State::Lives,
                committed_us: now_us,
            };
            let id = self.systems.left.insert(Side::Left, row);
            return self.tell(|| format!("person creates {id}"));
        }
        let id = ids.choose(&mut self.rng).expect("a record").clone();
        let name = self.rng.random_range(0..4);
        let other = ids.choose(&mut self.rng).expect("a record").clone();
        let (first, first_of_other) = (self.first(&id), self.first(&other));
        let system = &mut self.systems.left;
        match chance {
            1 => {
                system.rows.remove(&id);
                system.log.push(id.clone());
            }
            2 | 3 => system.change(&id, now_us, |row| row.mark = Some(now_us)),
            4..7 => system.change(&id, now_us, |row| row.mark = None),
            7 if other != id => {
                self.named.entry(first).or_default().insert(first_of_other);
                system.change(&id, now_us, |row| row.into = Some(other));
            }
            8 => system.change(&id, now_us, |row| row.into = None),
            9 => system.change(&id, now_us, |row| {
                row.name = name;
                row.mark = Some(now_us);
            }),
            _ => system.change(&id, now_us, |row| row.name = name),
        }
        let row = system.rows.get(&id).cloned();
        self.tell(|| format!("person leaves {id} as {row:?}"));
    }

    fn edit_right(&mut self) {
        let now_us = self.now_us;
        let name = self.rng.random_range(0..4);
        let chance = self.rng.random_range(0..12);
        let ids: Vec<String> = self.systems.right.rows.keys().cloned().collect();
        let Some(id) = ids.choose(&mut self.rng).cloned() else {
            return;
        };
        self.systems
            .right
            .change(&id, now_us, |row| match &row.state {
                State::Lives if chance == 0 => row.state = State::Binned,
                State::Lives => row.name = name,
                State::Binned if chance < 4 => row.state = State::Purged,
                State::Binned if chance < 6 => row.state = State::Lives,
                State::Merged(_) if chance < 3 => row.state = State::Purged,
                _ => {}
            });
        let row = self.systems.right.rows[&id].clone();
        self.tell(|| format!("person leaves {id} as {row:?}"));
    }

    // ---- the host --------------------------------------------------------------------------

    fn pull(&mut self, side: Side) {
        if self.memory.pages[side].is_some() {
            return;
        }
        let system = &self.systems[side];
        let from = self.cursors[side].saturating_sub(3);
        let gone = Row {
            name: 0,
            mark: None,
            into: None,
            key: None,
            state: State::Purged,
            committed_us: self.now_us,
        };
        let rows = system.log[from..]
            .iter()
            .map(|id| {
                (
                    id.clone(),
                    system.rows.get(id).cloned().unwrap_or_else(|| gone.clone()),
                )
            })
            .collect();
        let end = system.log.len();
        self.memory.pulled(side, rows, String::new(), end);
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
        let mut heirs = BTreeMap::new();
        for (id, row) in &page.rows {
            let stamps = Stamps {
                committed_us: Some(row.committed_us),
                seen_us: self.now_us,
            };
            if let State::Merged(into) = &row.state {
                let what = rename(&mut ledger, side, id, into, Lane::Normal, stamps);
                captured.push(format!(
                    "capture {id} is {into}: {:?}",
                    what.expect("readable")
                ));
                // A record that is known no more has become another's, as the vendor says.
                if let Some(IdRef::Link(id)) = ledger.id(side, into).expect("readable")
                    && let Some(link) = ledger.link(id).expect("readable")
                    && link.ids[side].as_deref() == Some(&**into)
                {
                    heirs.insert(into.clone(), link.ids[side.other()].clone());
                }
                continue;
            }
            let lives = row.state == State::Lives;
            let observation = Observation {
                side,
                id,
                kind: if lives {
                    ChangeKind::Upsert
                } else {
                    ChangeKind::Delete
                },
                version: "",
                stamps,
                values: match lives {
                    true => values(&self.model, side, row),
                    false => Vec::new(),
                },
                key: row.key.as_deref().filter(|_| lives),
            };
            let model = &self.model;
            let what = capture(
                &mut ledger,
                model,
                observation,
                Lane::Normal,
                &mut counter,
                &standing,
            );
            captured.push(format!(
                "capture {id} {row:?}: {:?}",
                what.expect("readable")
            ));
        }
        let changes = ledger.into_changes();
        self.disk.commit(changes);
        self.last_link = counter.0;
        for (right, left) in heirs {
            let left = left.map(|left| self.first(&left));
            self.heirs.entry(right).or_default().extend(left);
        }
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
        let (left, entry) = self.disk.act(|ledger| {
            let left = step(ledger, &self.model, self.now_us).expect("readable");
            (left, ledger.entry(id).expect("readable"))
        });
        self.memory.finish(id, left, entry);
        self.memory.requeue(&self.disk);
    }

    fn round(&mut self) {
        let source = self.side();
        let most = self.rng.random_range(1..4);
        for id in self.memory.queue.take(source, Lane::Normal, most) {
            let Some((link, entry)) = self.memory.open(&self.disk, id) else {
                continue;
            };
            let mapped = mapped(&self.model, &link, &entry);
            let generation = entry.generation;
            let decision = decide(&self.model, &link, &entry, &mapped, self.now_us);
            let held = action::hold(&self.disk, &self.model, SYNC, decision, self.freed);
            let Ok(decision) = held.expect("readable") else {
                let place = Some((entry.source(), Lane::Normal));
                self.memory.queue.finish(id, place, 0);
                continue;
            };
            self.tell(|| format!("decide {id:?} {decision:?}"));
            match decision {
                Decision::Read(side) => self.memory.works.push(Work::Read(id, side)),
                Decision::Write(write) => self.memory.intend(&mut self.disk, id, write),
                Decision::Agree(prints) => self.settle(id, |ledger, model, _| {
                    settle::agreed(ledger, model, id, generation, &prints)
                }),
                Decision::Rest(side) => self.settle(id, |ledger, model, _| {
                    settle::rest(ledger, model, id, side, generation)
                }),
                Decision::Forget => self.settle(id, |ledger, _, now| {
                    settle::forget(ledger, id, generation, now)
                }),
                Decision::Dead(reason) => {
                    let known = ["merge-target-gone", "merge-itself", "conflict"];
                    assert!(
                        known.contains(&&*reason.code),
                        "seed {}: {reason:?}",
                        self.seed
                    );
                    self.settle(id, |ledger, _, now| {
                        settle::buried(ledger, id, generation, reason, now)
                    });
                }
                Decision::Detach => unreachable!("deletes propagate here"),
            }
        }
    }

    fn read(&mut self, id: LinkId, side: Side) {
        let ledger = Ledger::new(&self.disk, SYNC);
        // Its record may have turned out to be another link's meanwhile.
        let Some(link) = ledger.link(id).expect("readable") else {
            return self.memory.queue.finish(id, None, 0);
        };
        let mut living = self.systems[side].living();
        let found = match (&link.ids[side], &link.ids[side.other()]) {
            (Some(remote), _) => living.find(|(id, _)| ***id == **remote),
            (None, Some(key)) => living.find(|(_, row)| row.key.as_deref() == Some(&**key)),
            (None, None) => None,
        };
        let found = found.map_or(Found::Gone, |(remote, row)| Found::Row {
            id: remote.as_str().into(),
            version: "".into(),
            committed_us: Some(row.committed_us),
            values: values(&self.model, side, row),
        });
        drop(living);
        self.tell(|| format!("read {id:?} on the {side}: {found:?}"));
        self.memory.touch(id, side);
        self.settle(id, |ledger, model, now| {
            settle::observed(ledger, model, id, side, found, now)
        });
    }

    /// The system carries a write out; nothing where it refuses because a record is gone.
    fn execute(&mut self, write: &Write) -> Option<Written> {
        let (side, now_us) = (write.target, self.now_us);
        let (named, model) = (self.named.clone(), &self.model);
        let (origin, heirs) = (self.origin.clone(), self.heirs.clone());
        let first = |left: &str| origin.get(left).map_or(left, String::as_str).to_owned();
        let ancestor = match (side, &write.key) {
            (Side::Left, Some(right)) => self.systems.right.rows[&**right].key.clone(),
            _ => None,
        };
        let system = &mut self.systems[side];
        let lives = |system: &System, id: &str| {
            let row = system.rows.get(id);
            row.is_some_and(|row| row.state == State::Lives)
        };
        let written = |id: &str, created| Written {
            id: id.to_owned(),
            created,
            version: String::new(),
        };
        let existing = match (&write.id, &write.key) {
            (Some(id), _) => Some(id.to_string()),
            (None, key) => {
                let mut living = system.living();
                let found = living.find(|(_, row)| row.key.as_deref() == key.as_deref());
                found.map(|(id, _)| id.clone()).filter(|_| key.is_some())
            }
        };
        if write.operation == OperationKind::Restore {
            let id = existing.expect("an id");
            let row = system.rows.get(&id)?;
            if !matches!(row.state, State::Binned | State::Merged(_)) {
                return None;
            }
            system.change(&id, now_us, |row| row.state = State::Lives);
            *self.done.entry(write.operation).or_default() += 1;
            return Some(written(&id, false));
        }
        if let Some(id) = &existing
            && !lives(system, id)
        {
            return None;
        }
        match (write.operation, existing) {
            (OperationKind::Delete, Some(id)) => {
                if side == Side::Left {
                    system.rows.remove(&id);
                    system.log.push(id.clone());
                } else {
                    system.change(&id, now_us, |row| row.state = State::Binned);
                }
                *self.done.entry(write.operation).or_default() += 1;
                Some(written(&id, false))
            }
            (OperationKind::Merge, Some(id)) => {
                let into = write.into.as_deref().expect("a record to merge into");
                if !lives(system, into) {
                    return None;
                }
                let owners = |id: &str| -> Vec<String> {
                    let key = first(system.rows[id].key.as_deref().expect("made by us"));
                    let heirs = heirs.get(id).into_iter().flatten().cloned();
                    heirs.chain([key]).collect()
                };
                let (losers, masters) = (owners(&id), owners(into));
                let meant = losers.iter().any(|loser| {
                    let mut masters = masters.iter();
                    masters.any(|master| reaches(&named, loser, master))
                });
                assert!(
                    meant,
                    "seed {}: {id} of {losers:?} into {into} of {masters:?}",
                    self.seed
                );
                system.change(&id, now_us, |row| {
                    row.state = State::Merged(into.to_owned())
                });
                *self.done.entry(write.operation).or_default() += 1;
                Some(written(&id, false))
            }
            (_, existing) => {
                let created = existing.is_none();
                let id = existing.unwrap_or_else(|| {
                    let row = Row {
                        name: -1,
                        mark: None,
                        into: None,
                        key: write.key.as_deref().map(Into::into),
                        state: State::Lives,
                        committed_us: now_us,
                    };
                    let id = system.insert(side, row);
                    if let Some(ancestor) = ancestor {
                        self.origin.insert(id.clone(), first(&ancestor));
                    }
                    id
                });
                system.change(&id, now_us, |row| {
                    for (field, value) in &write.values {
                        match (model.name(side, *field), value) {
                            ("name", Value::Integer(name)) => row.name = *name,
                            ("mark", Value::Null) => row.mark = None,
                            other => panic!("no field of ours: {other:?}"),
                        }
                    }
                });
                Some(written(&id, created))
            }
        }
    }

    fn work(&mut self, faults: bool) {
        let Some(work) = self.memory.work(&mut self.rng) else {
            return;
        };
        match work {
            Work::Read(id, side) => self.read(id, side),
            Work::Write(id, write) => {
                let fate = match faults {
                    true => self.rng.random_range(0..8),
                    false => 7,
                };
                let target = write.target;
                if fate == 0 {
                    self.memory.touch(id, target);
                    return self.settle(id, |ledger, _, _| settle::unknown(ledger, id, write.sent));
                }
                let restores = write.operation == OperationKind::Restore;
                match self.execute(&write) {
                    None if restores => {
                        self.settle(id, |ledger, _, _| settle::unrestorable(ledger, id, target))
                    }
                    None => self.settle(id, |ledger, _, _| settle::read_first(ledger, id, target)),
                    Some(_) if fate == 1 => {
                        self.tell(|| format!("the answer to {write:?} is lost"));
                        self.memory.touch(id, target);
                        self.settle(id, |ledger, _, _| settle::unknown(ledger, id, write.sent));
                    }
                    Some(outcome) => self.memory.works.push(Work::Executed(id, write, outcome)),
                }
            }
            Work::Executed(id, write, outcome) => {
                self.tell(|| format!("answered {id:?} {outcome:?}"));
                self.memory.touch(id, write.target);
                let by_job = self.rng.random_bool(0.2);
                self.settle(id, |ledger, model, now| {
                    let row = JobRow {
                        job: JobId(1),
                        generation: write.generation,
                        create: write.id.is_none(),
                    };
                    match by_job {
                        true => settle::job_written(ledger, model, id, row, &outcome, None, now),
                        false => settle::written(ledger, model, id, &write, &outcome, None, now),
                    }
                });
            }
        }
    }

    fn crash(&mut self) {
        self.tell(|| "crash".into());
        self.memory = Memory::new();
        for (id, _) in self.disk.room(Room::Intent) {
            let recover = |ledger: &mut Ledger<'_>| settle::recover(ledger, id);
            self.disk.act(recover).expect("readable");
        }
        self.memory.requeue(&self.disk);
    }
}

impl host::World for World {
    fn step(&mut self, people: bool) {
        self.now_us += 1_000;
        let side = self.side();
        match self.rng.random_range(0..100) {
            0..20 if people => {
                self.now_us += 700_000_000;
                self.edit();
            }
            20..35 => self.pull(side),
            35..50 => self.deliver(side),
            50..70 => self.round(),
            70..98 => self.work(people),
            98 if people => self.crash(),
            _ => {}
        }
    }

    fn is_quiet(&self) -> bool {
        let seen = |side: &Side| self.cursors[*side] == self.systems[*side].log.len();
        self.memory.is_idle()
            && Side::BOTH.iter().all(seen)
            && self.disk.room(Room::Entry).is_empty()
    }

    fn calms(&mut self, steps: u32) {
        self.freed = steps > 3_000;
    }

    fn story(&self) -> &[String] {
        &self.trace
    }

    fn check(&self) {
        let seed = self.seed;
        assert!(
            self.disk.room(Room::Intent).is_empty(),
            "seed {seed}: intents left behind"
        );
        let ledger = Ledger::new(&self.disk, SYNC);
        let mut partners: BTreeMap<String, usize> = BTreeMap::new();
        let mut linked = BTreeSet::new();
        for (id, bytes) in self.disk.room(Room::Link) {
            let link: Link = decode("link", &bytes).expect("readable");
            let remote = link.ids.right.as_deref();
            if let Some(right) = remote {
                *partners.entry(right.to_owned()).or_default() += 1;
            }
            let Some(left) = link.ids.left.as_deref() else {
                assert!(
                    ledger.dead(id).expect("readable").is_some(),
                    "seed {seed}: {link:?}"
                );
                continue;
            };
            linked.insert(left.to_owned());
            if ledger.dead(id).expect("readable").is_some() {
                continue;
            }
            let rows = &self.systems.left.rows;
            let row = rows
                .get(left)
                .unwrap_or_else(|| panic!("seed {seed}: {id:?} {link:?}"));
            let right = remote.and_then(|id| self.systems.right.rows.get(id));
            let lives = right.is_some_and(|right| right.state == State::Lives);
            let ends = row.mark.is_some() || row.into.is_some();
            assert_eq!(
                lives, !ends,
                "seed {seed}: {left} {row:?}, {remote:?} {right:?}, {link:?}"
            );
            if lives {
                assert_eq!(
                    right.map(|right| right.name),
                    Some(row.name),
                    "seed {seed}: {left}"
                );
            }
        }
        for left in self.systems.left.rows.keys() {
            assert!(linked.contains(left), "seed {seed}: {left} is nobody's");
        }
        for (right, row) in self.systems.right.living() {
            assert_eq!(
                partners.get(right),
                Some(&1),
                "seed {seed}: {right} {row:?}"
            );
        }
    }
}

/// Whether somebody ever named a way from one record to the other.
fn reaches(named: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(id) = next.pop() {
        for other in named.get(id).into_iter().flatten() {
            if other == to {
                return true;
            }
            if seen.insert(other) {
                next.push(other);
            }
        }
    }
    false
}

#[test]
fn records_live_exactly_where_no_mark_says_otherwise() {
    let seeds = host::seeds(1_000);
    let runs = seeds.end - seeds.start;
    let mut done: BTreeMap<OperationKind, u64> = BTreeMap::new();
    for seed in seeds {
        let mut world = World::new(seed);
        host::live(&mut world, seed, 1_200);
        for (operation, times) in &world.done {
            *done.entry(*operation).or_default() += times;
        }
    }
    // One seed that is replayed need not hold all of it.
    let expected: &[OperationKind] = match runs {
        0..100 => &[],
        _ => &[
            OperationKind::Delete,
            OperationKind::Merge,
            OperationKind::Restore,
        ],
    };
    for operation in expected {
        assert!(
            done.get(operation).is_some_and(|times| *times >= runs),
            "{done:?}"
        );
    }
}

// ---- step by step ------------------------------------------------------------------------------

/// One sync's records, changed a step at a time.
struct Steps {
    model: Model,
    disk: Disk,
    counter: Counter,
    now_us: i64,
}

impl Steps {
    fn new() -> Self {
        Self {
            model: model(ConflictPolicy::Newest),
            disk: Disk::default(),
            counter: Counter::default(),
            now_us: 1_000_000,
        }
    }

    /// The left side reports a record, with these fields beside a name and empty marks.
    fn left(&mut self, id: &str, name: i64, more: &[(&str, Value)]) -> LinkId {
        let mut values = vec![("name", Value::Integer(name))];
        for (field, empty) in [
            ("mark", Value::Null),
            ("into", Value::Null),
            ("converted", Value::Boolean(false)),
        ] {
            let given = more.iter().find(|(known, _)| *known == field);
            values.push((field, given.map_or(empty, |(_, value)| value.clone())));
        }
        let side = Side::Left;
        let number = |name: &str| self.model.id(side, name).expect("known");
        let values = values.into_iter();
        let values = values.map(|(name, value)| (number(name), value)).collect();
        self.observe(side, id, ChangeKind::Upsert, values);
        let ledger = Ledger::new(&self.disk, SYNC);
        match ledger.id(side, id).expect("readable") {
            Some(IdRef::Link(link)) => link,
            other => panic!("{id} is {other:?}"),
        }
    }

    fn observe(&mut self, side: Side, id: &str, kind: ChangeKind, values: Vec<(FieldId, Value)>) {
        self.now_us += 1_000_000;
        let observation = Observation {
            side,
            id,
            kind,
            version: "",
            stamps: Stamps {
                committed_us: Some(self.now_us),
                seen_us: self.now_us,
            },
            values,
            key: None,
        };
        let (model, counter) = (&self.model, &mut self.counter);
        let idle = |_| Standing::default();
        let captured = self
            .disk
            .act(|ledger| capture(ledger, model, observation, Lane::Normal, counter, &idle));
        captured.expect("readable");
    }

    /// What waits comes to; nothing where nothing waits.
    fn decision(&self, link: LinkId) -> Option<Result<Decision, ParentKey>> {
        let ledger = Ledger::new(&self.disk, SYNC);
        let entry = ledger.entry(link).expect("readable")?;
        let link = ledger.link(link).expect("readable")?;
        let mapped = mapped(&self.model, &link, &entry);
        let decision = decide(&self.model, &link, &entry, &mapped, self.now_us);
        let held = action::hold(&self.disk, &self.model, SYNC, decision, false);
        Some(held.expect("readable"))
    }

    fn write(&self, link: LinkId) -> Write {
        match self.decision(link) {
            Some(Ok(Decision::Write(write))) => write,
            other => panic!("no write: {other:?}"),
        }
    }

    /// Carried out, as the record of that id.
    fn done(&mut self, link: LinkId, write: &Write, id: &str) {
        let outcome = Written {
            id: id.to_owned(),
            created: write.id.is_none(),
            version: String::new(),
        };
        self.settle(|ledger, model, now| {
            settle::written(ledger, model, link, write, &outcome, None, now)
        });
    }

    fn settle(
        &mut self,
        step: impl FnOnce(&mut Ledger<'_>, &Model, i64) -> Result<Left, LedgerError>,
    ) {
        let settled = self
            .disk
            .act(|ledger| step(ledger, &self.model, self.now_us));
        settled.expect("readable");
    }

    /// Made on the right, under the id `r` and its own.
    fn born(&mut self, id: &str) -> LinkId {
        let link = self.left(id, 1, &[]);
        let write = self.write(link);
        self.done(link, &write, &format!("r{id}"));
        assert!(self.decision(link).is_none());
        link
    }
}

fn text(id: &str) -> Value {
    Value::Text(id.into())
}

/// Made first, then what changed, then the conversion, and that once.
#[test]
fn a_record_is_converted_when_all_else_of_it_is_carried_over() {
    let mut steps = Steps::new();
    let converted = [("converted", Value::Boolean(true))];
    let link = steps.left("1", 1, &converted);
    let write = steps.write(link);
    assert_eq!(write.operation, OperationKind::Upsert);
    steps.done(link, &write, "r1");
    let write = steps.write(link);
    assert_eq!(
        (write.operation, write.id.as_deref()),
        (OperationKind::Convert, Some("r1"))
    );
    assert!(write.values.is_empty());
    // The name changes while that is under way, so it comes first the next time.
    steps.left("1", 2, &converted);
    let update = steps.write(link);
    assert_eq!(update.operation, OperationKind::Update);
    steps.done(link, &update, "r1");
    let write = steps.write(link);
    assert_eq!(write.operation, OperationKind::Convert);
    // The answer is lost: the record is read, and as nobody can tell, asked to be converted again.
    steps.settle(|ledger, _, _| settle::unknown(ledger, link, write.sent));
    assert_eq!(steps.decision(link), Some(Ok(Decision::Read(Side::Right))));
    let name = steps.model.id(Side::Right, "name").expect("known");
    let found = Found::Row {
        id: "r1".into(),
        version: "".into(),
        committed_us: None,
        values: vec![(name, Value::Integer(2))],
    };
    steps.settle(|ledger, model, now| {
        settle::observed(ledger, model, link, Side::Right, found, now)
    });
    let write = steps.write(link);
    assert_eq!(write.operation, OperationKind::Convert);
    steps.done(link, &write, "r1");
    assert!(steps.decision(link).is_none());
    steps.left("1", 3, &converted);
    assert_eq!(
        steps.write(link).operation,
        OperationKind::Update,
        "it is converted"
    );
}

#[test]
fn a_merge_waits_for_the_record_that_it_goes_into_and_follows_it() {
    let mut steps = Steps::new();
    let loser = steps.born("1");
    steps.left("1", 1, &[("into", text("2"))]);
    match steps.decision(loser) {
        Some(Err(parent)) => assert_eq!((parent.side, &*parent.id), (Side::Left, "2")),
        other => panic!("it can't go yet: {other:?}"),
    }
    let master = steps.born("2");
    let write = steps.write(loser);
    assert_eq!(write.operation, OperationKind::Merge);
    assert_eq!(
        (write.id.as_deref(), write.into.as_deref()),
        (Some("r1"), Some("r2"))
    );
    // The master is merged in its turn before the answer is there: who comes later goes where it went.
    steps.done(loser, &write, "r1");
    steps.born("3");
    steps.left("2", 1, &[("into", text("3"))]);
    let write = steps.write(master);
    assert_eq!(write.into.as_deref(), Some("r3"));
    steps.done(master, &write, "r2");
    let late = steps.born("4");
    steps.left("4", 1, &[("into", text("2"))]);
    assert_eq!(steps.write(late).into.as_deref(), Some("r3"));
    // What the vendor says of the losers is known.
    for id in ["r1", "r2"] {
        steps.observe(Side::Right, id, ChangeKind::Delete, Vec::new());
    }
    assert!(steps.decision(loser).is_none() && steps.decision(master).is_none());
}

#[test]
fn what_names_no_other_living_record_is_left_to_a_person() {
    let mut steps = Steps::new();
    let [one, two] = ["1", "2"].map(|id| steps.born(id));
    let code = |steps: &Steps, link| match steps.decision(link) {
        Some(Ok(Decision::Dead(reason))) => (reason.code, reason.fields),
        other => panic!("a person must look: {other:?}"),
    };
    let into = || vec!["into".to_owned()];
    steps.left("1", 1, &[("into", text("1"))]);
    assert_eq!(code(&steps, one), ("merge-itself".to_owned(), into()));
    steps.left("2", 1, &[("mark", Value::Timestamp(5))]);
    let write = steps.write(two);
    steps.done(two, &write, "r2");
    steps.left("1", 1, &[("into", text("2"))]);
    assert_eq!(code(&steps, one), ("merge-target-gone".to_owned(), into()));
}
