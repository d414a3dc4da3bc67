//! Which records of two filled systems are one: by which rule, whatever the order in which they come in, and who is left
//! to a person.

mod ground;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tidegate_core::batch::DataType;
use tidegate_core::capture::{Observation, Standing, capture};
use tidegate_core::ledger::{Ledger, Room, key_link, prefix};
use tidegate_core::model::{Model, ModelError};
use tidegate_core::pace::Lane;
use tidegate_core::pairing::{self, Met, Phase};
use tidegate_core::plugin::{ChangeKind, Direction};
use tidegate_core::record::{FieldId, IdRef, LinkId, Pending, Sides, Stamps};
use tidegate_core::settle::{self, Counter};
use tidegate_core::sync::{ConflictPolicy, PairRule, Side};
use tidegate_core::value::Value;

use ground::{Disk, SYNC, carried, field};

/// By mail, and then by name and place together.
fn rules() -> Vec<PairRule> {
    let rule = |fields: &[&str]| PairRule {
        left: fields.iter().map(ToString::to_string).collect(),
        right: fields.iter().map(ToString::to_string).collect(),
        exact: false,
    };
    vec![rule(&["mail"]), rule(&["name", "place"])]
}

fn model(pairs: Vec<PairRule>) -> Result<Model, Vec<ModelError>> {
    let mut left: Vec<_> = ["mail", "name", "place"]
        .map(|name| field(name, DataType::Text, false))
        .into();
    let mut right = left.clone();
    let mut add = |name: &str, types: [DataType; 2], steps_us: [Option<u32>; 2]| {
        let sides = [&mut left, &mut right].into_iter();
        for ((side, kind), step_us) in sides.zip(types).zip(steps_us) {
            let mut field = field(name, kind, false);
            field.resolution_us = step_us;
            side.push(field);
        }
    };
    add("number", [DataType::Integer, DataType::Decimal], [None; 2]);
    add("day", [DataType::Date; 2], [None; 2]);
    let steps_us = [Some(1_000_000), Some(1)];
    add("at", [DataType::Timestamp; 2], steps_us);
    add("odd", [DataType::Text, DataType::Integer], [None; 2]);
    // Only one field is mapped; rules may name others.
    let mapped = carried("name", Direction::LeftToRight);
    let mut spec = ground::spec(None, ConflictPolicy::Newest);
    spec.pairs = pairs;
    Model::new(spec, Sides::default(), &Sides { left, right }, &[mapped])
}

struct World {
    disk: Disk,
    model: Model,
    phase: Phase,
    last_link: u64,
    step: usize,
}

impl World {
    fn new(step: usize) -> Self {
        Self {
            disk: Disk::default(),
            model: model(rules()).expect("a sound sync"),
            phase: Phase::Reading,
            last_link: 0,
            step,
        }
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Ledger<'_>, &Model, &Phase) -> T) -> T {
        self.disk
            .act(|ledger| act(ledger, &self.model, &self.phase))
    }

    /// A record as `id mail name place`, where `-` is nothing.
    fn record(&self, side: Side, text: &str) -> (String, Vec<(FieldId, Value)>) {
        let mut words = text.split(' ');
        let id = words.next().expect("an id").to_owned();
        let values = ["mail", "name", "place"].into_iter().zip(words);
        let values = values.map(|(field, word)| {
            let field = self.model.id(side, field).expect("a field");
            match word {
                "-" => (field, Value::Null),
                word => (field, Value::Text(word.replace('_', " ").into())),
            }
        });
        (id, values.collect())
    }

    fn come(&mut self, side: Side, text: &str) -> Met {
        let (id, values) = self.record(side, text);
        let mut counter = Counter(self.last_link);
        let met = self.act(|ledger, model, phase| {
            let observation = Observation {
                side,
                id: &id,
                kind: ChangeKind::Upsert,
                version: "",
                stamps: Stamps {
                    committed_us: None,
                    seen_us: 1,
                },
                values,
                key: None,
            };
            let standing = |_| Standing::default();
            let lane = Lane::Backfill;
            capture(ledger, model, observation, lane, &mut counter, &standing).expect("readable");
            let Ok(Some(IdRef::Link(link))) = ledger.id(side, &id) else {
                panic!("{id} has no link");
            };
            pairing::meet(ledger, model, phase, link, 1).expect("readable")
        });
        self.last_link = counter.0;
        met
    }

    /// Both are read: goes all the way.
    fn go(&mut self) {
        if self.phase == Phase::Reading {
            self.phase = Phase::PAIRING;
        }
        for _ in 0..10_000 {
            if self.phase == Phase::Over {
                return;
            }
            self.step();
        }
        panic!("no end: {:?}", self.phase);
    }

    fn step(&mut self) {
        let bounds = (self.step, 300);
        let step = self.act(|ledger, model, phase| {
            pairing::step(ledger, model, phase, bounds, 1).expect("readable")
        });
        self.phase = step.next;
    }

    fn retry(&mut self, side: Side, id: &str) -> Met {
        self.act(|ledger, model, phase| {
            let Ok(Some(IdRef::Link(link))) = ledger.id(side, id) else {
                panic!("{id} has no link");
            };
            settle::revived(ledger, link).expect("readable");
            pairing::meet(ledger, model, phase, link, 1).expect("readable")
        })
    }

    /// Who is one with whom, `a+b`, who is left to a person, `a?`, and who is alone.
    fn found(&self) -> String {
        let ledger = Ledger::new(&self.disk, SYNC);
        let links = ledger.keys(&prefix(Room::Link, SYNC), None, usize::MAX);
        let mut found: Vec<String> = links
            .expect("readable")
            .iter()
            .map(|key| {
                let id = key_link(key).expect("a link");
                let link = ledger.link(id).expect("readable").expect("a link");
                let dead = ledger.dead(id).expect("readable");
                let entry = ledger.entry(id).expect("readable");
                assert_eq!(dead.is_some(), entry.is_none(), "{link:?}");
                let ids = [link.ids.left.as_deref(), link.ids.right.as_deref()];
                let ids: Vec<&str> = ids.into_iter().flatten().collect();
                if let (Some(entry), [_, _]) = (&entry, &*ids) {
                    let rows = [&entry.pending.left, &entry.pending.right];
                    let both = rows
                        .iter()
                        .all(|row| matches!(row, Some(Pending::Row { .. })));
                    assert!(both, "{ids:?} lack a state: {entry:?}");
                    for (side, id) in Side::BOTH.into_iter().zip(&ids) {
                        let known = ledger.id(side, id).expect("readable");
                        let Some(IdRef::Link(known)) = known else {
                            panic!("{id} has no link");
                        };
                        assert_eq!(ledger.link(known).expect("readable").as_ref(), Some(&link));
                    }
                }
                format!("{}{}", ids.join("+"), if dead.is_some() { "?" } else { "" })
            })
            .collect();
        found.sort();
        found.join(" ")
    }

    fn index(&self) -> usize {
        let ledger = Ledger::new(&self.disk, SYNC);
        let keys = ledger.keys(&prefix(Room::Half, SYNC), None, usize::MAX);
        keys.expect("readable").len()
    }
}

/// What is on the left, what on the right, and what comes of it.
const CASES: &[(&str, &[&str], &[&str], &str)] = &[
    ("nobody", &[], &[], ""),
    ("one side is empty", &["a x@y n p"], &[], "a"),
    ("the first rule", &["a x@y n p"], &["b x@y m q"], "a+b"),
    (
        "case and outer spaces",
        &["a _X@y_ n p"],
        &["b x@Y m q"],
        "a+b",
    ),
    ("inner spaces count", &["a - n_m p"], &["b - nm p"], "a b"),
    ("the second rule", &["a x@y N p"], &["b z@y n P"], "a+b"),
    ("all of its fields", &["a x@y n p"], &["b z@y n q"], "a b"),
    ("nothing pairs nothing", &["a - - -"], &["b - - -"], "a b"),
    ("a part is not enough", &["a - n -"], &["b - n -"], "a b"),
    ("white space is nothing", &["a _ n -"], &["b _ n -"], "a b"),
    (
        "two on the right",
        &["a x@y - -"],
        &["b x@y - -", "c x@y - -"],
        "a? b? c?",
    ),
    (
        "two on the left",
        &["a x@y - -", "b x@y - -"],
        &["c x@y - -"],
        "a? b? c?",
    ),
    (
        "two on both",
        &["a x@y - -", "b x@y - -"],
        &["c x@y - -", "d x@y - -"],
        "a? b? c? d?",
    ),
    (
        "two of one side alone",
        &["a x@y - -", "b x@y - -"],
        &["c z@y - -"],
        "a b c",
    ),
    (
        // By name d is b's too, but a has it by mail.
        "an earlier rule has paired it",
        &["a x@y n p", "b - n p"],
        &["d x@y n p"],
        "a+d b",
    ),
    (
        "a later rule pairs who is left over",
        &["a x@y n p", "b - n p"],
        &["d x@y n p", "e z@y n p"],
        "a+d b+e",
    ),
    (
        // What a person finds of b and c by mail decides whether d has a half at all.
        "an earlier rule has left it to a person",
        &["a x@y n p", "d - n p"],
        &["b x@y n p", "c x@y - -"],
        "a? b? c? d?",
    ),
    (
        "many",
        &[
            "a 1 - -", "b 2 - -", "c 2 - -", "d 3 n p", "e - o p", "f 4 - -",
        ],
        &["g 1 - -", "h 2 - -", "i 5 n p", "j 6 o p", "k 7 - -"],
        "a+g b? c? d+i e+j f h? k",
    ),
];

#[test]
fn pairs_are_found_in_any_order_and_in_steps_of_any_size() {
    for (name, left, right, expected) in CASES {
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut world = World::new(1 + seed as usize % 3);
            let left = left.iter().map(|text| (Side::Left, *text));
            let mut all: Vec<_> = left
                .chain(right.iter().map(|text| (Side::Right, *text)))
                .collect();
            all.shuffle(&mut rng);
            for (side, text) in all {
                assert_eq!(world.come(side, text), Met::Waits, "{name}: {text}");
            }
            world.go();
            assert_eq!(world.found(), *expected, "{name}, seed {seed}");
            let left_over = expected.matches('?').count();
            assert_eq!(
                world.index() > 0,
                left_over > 0,
                "{name}: what is left of the index"
            );
            // Once more, as after a restart: nothing is decided twice.
            world.phase = Phase::PAIRING;
            world.go();
            assert_eq!(world.found(), *expected, "{name}, seed {seed}, again");
        }
    }
}

/// Whoever comes while the rules are gone through finds the same as if it had been there before.
#[test]
fn late_comers_are_held_against_what_is_decided() {
    for (name, left, right, expected) in CASES {
        // Who comes late could only change what was decided before it came, which these cases are about.
        if expected.contains('?') || name.contains("earlier") || name.contains("left over") {
            continue;
        }
        for seed in 0..30 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut world = World::new(1);
            let left = left.iter().map(|text| (Side::Left, *text));
            let mut all: Vec<_> = left
                .chain(right.iter().map(|text| (Side::Right, *text)))
                .collect();
            all.shuffle(&mut rng);
            let early = seed as usize % (all.len() + 1);
            for (side, text) in &all[..early] {
                world.come(*side, text);
            }
            world.phase = Phase::PAIRING;
            for (side, text) in &all[early..] {
                let before = world.phase.clone();
                world.step();
                if !world.phase.holds() {
                    // It comes just before the end.
                    world.phase = before;
                }
                world.come(*side, text);
            }
            world.go();
            assert_eq!(world.found(), *expected, "{name}, seed {seed}");
        }
    }
}

fn ambiguous() -> World {
    let mut world = World::new(100);
    for (side, text) in [
        (Side::Left, "a x@y n p"),
        (Side::Left, "b x@y o p"),
        (Side::Right, "c x@y m p"),
        (Side::Right, "d z@y q p"),
    ] {
        world.come(side, text);
    }
    world.go();
    assert_eq!(world.found(), "a? b? c? d");
    world
}

#[test]
fn who_is_left_to_a_person_comes_back_when_it_changes() {
    let mut world = ambiguous();
    // The same state once more is no news.
    world.come(Side::Left, "a x@y n p");
    assert_eq!(world.found(), "a? b? c? d");
    // Another name tells nothing of its mail.
    assert_eq!(world.come(Side::Left, "a x@y nn p"), Met::Ambiguous);
    assert_eq!(world.found(), "a? b? c? d");
    // With another mail it is nobody's; d is being made on the left, and is no candidate any more.
    assert_eq!(world.come(Side::Left, "a z@y n p"), Met::Free);
    assert_eq!(world.found(), "a b? c? d");
    // Now there is one on each side.
    assert!(matches!(world.retry(Side::Right, "c"), Met::Paired { .. }));
    assert_eq!(world.found(), "a b+c d");
    assert_eq!(world.retry(Side::Right, "c"), Met::Free);
    world.phase = Phase::Clearing { after: None };
    world.go();
    assert_eq!(world.index(), 0);
}

/// While records are left to a person, one that comes new is not made beside what it may be.
#[test]
fn who_comes_new_is_held_against_those_left_to_a_person() {
    let mut world = ambiguous();
    assert_eq!(world.come(Side::Right, "e x@y r p"), Met::Ambiguous);
    assert_eq!(world.come(Side::Right, "f w@y r p"), Met::Free);
    assert_eq!(world.found(), "a? b? c? d e? f");
}

#[test]
fn a_person_decides() {
    let link = |world: &World, side: Side, id: &str| {
        let ledger = Ledger::new(&world.disk, SYNC);
        match ledger.id(side, id) {
            Ok(Some(IdRef::Link(link))) => link,
            other => panic!("{id}: {other:?}"),
        }
    };
    let mut world = ambiguous();
    let (a, b) = (link(&world, Side::Left, "a"), link(&world, Side::Left, "b"));
    let (c, d) = (
        link(&world, Side::Right, "c"),
        link(&world, Side::Right, "d"),
    );
    let join = |world: &mut World, left: LinkId, right: LinkId| {
        world.act(|ledger, model, _| pairing::join(ledger, model, left, right).expect("readable"))
    };
    assert!(join(&mut world, a, c));
    assert_eq!(world.found(), "a+c b? d");
    assert!(!join(&mut world, b, c), "c is gone");
    assert!(!join(&mut world, a, d), "a has its half");
    assert_eq!(world.retry(Side::Left, "b"), Met::Free);
    assert_eq!(world.found(), "a+c b d");

    let mut world = ambiguous();
    world.act(|ledger, _, _| ledger.put_apart(a));
    assert_eq!(world.retry(Side::Left, "a"), Met::Free);
    assert!(matches!(world.retry(Side::Left, "b"), Met::Paired { .. }));
    assert_eq!(world.found(), "a b+c d");
}

#[test]
fn the_letter_names_fields_and_ids_and_no_values() {
    let mut world = World::new(100);
    world.come(Side::Left, "a secret@y n p");
    for id in 0..9 {
        world.come(Side::Right, &format!("right{id} secret@y n p"));
    }
    world.go();
    let ledger = Ledger::new(&world.disk, SYNC);
    let letter = ledger.dead(LinkId(1)).expect("readable").expect("a letter");
    let reason = letter.reason;
    assert_eq!(reason.code, "pair-ambiguous");
    assert_eq!(reason.fields, ["mail"]);
    assert_eq!(reason.target, Some(Side::Right));
    let message = &reason.message;
    assert!(!message.contains("secret"), "{message}");
    assert_eq!(
        message.matches("right").count(),
        6,
        "five ids and the side: {message}"
    );
    assert!(message.contains("and more"), "{message}");
    assert!(message.contains("rule 1 (mail = mail)"), "{message}");
}

#[test]
fn values_that_mean_the_same_pair() {
    let rule = |field: &str, exact: bool| PairRule {
        left: vec![field.into()],
        right: vec![field.into()],
        exact,
    };
    let rules = vec![
        rule("mail", false),
        rule("mail", true),
        rule("number", false),
        rule("day", false),
        rule("at", false),
    ];
    let model = model(rules).expect("a sound sync");
    let text = |text: &str| Value::Text(text.into());
    let cases = [
        (0, text("ÄRGER "), text("ärger"), true),
        (1, text("Anna"), text("Anna"), true),
        (1, text("Anna"), text("anna"), false),
        (1, text("Anna "), text("Anna"), false),
        (2, Value::Integer(7), Value::Decimal("7.00".into()), true),
        (2, Value::Integer(7), Value::Decimal("7.01".into()), false),
        (3, Value::Date(5), Value::Date(5), true),
        (
            4,
            Value::Timestamp(5_000_000),
            Value::Timestamp(5_999_999),
            true,
        ),
        (
            4,
            Value::Timestamp(5_000_000),
            Value::Timestamp(6_000_000),
            false,
        ),
    ];
    for (rule, left, right, equal) in cases {
        let hash = |side: Side, value: &Value| {
            let field = model.pairs[rule][side][0];
            pairing::hash(&model, rule, side, &[(field, value.clone())]).expect("a value")
        };
        let same = hash(Side::Left, &left) == hash(Side::Right, &right);
        assert_eq!(same, equal, "{left:?} {right:?}");
    }
    let field = model.pairs[0][Side::Left][0];
    for nothing in [Value::Null, text(""), text("  ")] {
        for rule in 0..2 {
            let row = [(field, nothing.clone())];
            assert_eq!(
                pairing::hash(&model, rule, Side::Left, &row),
                None,
                "{nothing:?}"
            );
        }
    }
}

#[test]
fn what_is_never_equal_is_refused() {
    let rule = PairRule {
        left: vec!["mail".into(), "odd".into()],
        right: vec!["name".into(), "odd".into()],
        exact: false,
    };
    let problems = model(vec![rule]).expect_err("a text is no number");
    let expected = ModelError::NeverEqual {
        left: "odd".into(),
        right: "odd".into(),
    };
    assert_eq!(problems, [expected]);
}
