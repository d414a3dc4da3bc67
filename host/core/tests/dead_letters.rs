//! Records that only a person can help: one that is too large to be kept, which is never stored, never stops the host, and
//! is in step again when it shrinks; and one whose create may have happened where no key can tell.

mod ground;

use tidegate_core::batch::DataType;
use tidegate_core::capture::{Captured, Observation, Standing, capture};
use tidegate_core::ledger::Ledger;
use tidegate_core::merge::{Decision, Mapped, Write, decide};
use tidegate_core::model::Model;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{ChangeKind, Direction};
use tidegate_core::record::{FieldId, LinkId, ROW_BYTES_MAX, Reason, Sides, Stamps};
use tidegate_core::settle::{self, Counter, Found, Left};
use tidegate_core::sync::{ConflictPolicy, Side};
use tidegate_core::value::Value;

use ground::{Disk, carried, field};

fn model() -> Model {
    let schemas = Sides::new(|_| vec![field("note", DataType::Text, false)]);
    let rule = carried("note", Direction::LeftToRight);
    let spec = ground::spec(None, ConflictPolicy::Newest);
    Model::new(spec, Sides::default(), &schemas, &[rule]).expect("a sound sync")
}

const LINK: LinkId = LinkId(1);

struct World {
    disk: Disk,
    model: Model,
}

impl World {
    fn new() -> Self {
        Self {
            disk: Disk::default(),
            model: model(),
        }
    }

    /// A new record whose other half is about to be made.
    fn create(&mut self) -> Write {
        self.capture("short");
        match self.next() {
            Decision::Write(write) => write,
            other => panic!("no create: {other:?}"),
        }
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Ledger<'_>, &Model) -> T) -> T {
        self.disk.act(|ledger| act(ledger, &self.model))
    }

    fn capture(&mut self, note: &str) -> Captured {
        self.act(|ledger, model| {
            let observation = Observation {
                side: Side::Left,
                id: "1",
                kind: ChangeKind::Upsert,
                version: "",
                stamps: STAMPS,
                values: note_of(note),
                key: None,
            };
            let known = u64::from(ledger.link(LINK).expect("a link").is_some());
            let standing = |_| Standing::default();
            capture(
                ledger,
                model,
                observation,
                Lane::Normal,
                &mut Counter(known),
                &standing,
            )
            .expect("a capture")
        })
    }

    fn read(&mut self, note: &str) -> Left {
        self.act(|ledger, model| {
            let found = Found::Row {
                id: "1".into(),
                version: "".into(),
                committed_us: None,
                values: note_of(note),
            };
            settle::observed(ledger, model, LINK, Side::Left, found, 1).expect("settled")
        })
    }

    fn bury(&mut self, reason: Reason) {
        let left = self.act(|ledger, _| {
            let entry = ledger.entry(LINK).expect("readable").expect("an entry");
            settle::buried(ledger, LINK, entry.generation, reason, 1).expect("settled")
        });
        assert_eq!(left, Left::Dead);
    }

    fn next(&mut self) -> Decision {
        self.act(|ledger, model| {
            let link = ledger.link(LINK).expect("readable").expect("a link");
            let entry = ledger.entry(LINK).expect("readable").expect("an entry");
            let mapped = Mapped {
                left: Some(Ok(note_of("mapped"))),
                right: None,
            };
            decide(model, &link, &entry, &mapped, 1)
        })
    }
}

const STAMPS: Stamps = Stamps {
    committed_us: None,
    seen_us: 0,
};

fn note_of(note: &str) -> Vec<(FieldId, Value)> {
    vec![(FieldId(0), Value::Text(note.into()))]
}

#[test]
fn a_row_too_large_to_keep_becomes_a_dead_letter_and_comes_back_when_it_shrinks() {
    let huge = "x".repeat(8 * ROW_BYTES_MAX);
    let mut world = World::new();
    assert_eq!(world.capture(&huge), Captured::Queued(LINK));
    assert_eq!(world.next(), Decision::Read(Side::Left));
    assert_eq!(world.read(&huge), Left::Dead);
    let letter = world.act(|ledger, _| ledger.dead(LINK).expect("readable").expect("a letter"));
    assert_eq!(letter.reason.code, "row-too-large");
    assert_eq!(
        world.capture(&huge),
        Captured::Echo,
        "told once, not at every poll"
    );

    // A person tries it again without having changed it, then with.
    for (note, left) in [(huge.as_str(), Left::Dead), ("short", Left::Again)] {
        assert_eq!(
            world.act(|ledger, _| settle::revived(ledger, LINK).expect("revived")),
            Left::Again
        );
        assert_eq!(world.next(), Decision::Read(Side::Left));
        assert_eq!(world.read(note), left);
    }
    assert!(matches!(world.next(), Decision::Write(_)));
}

/// Read before it is written again (invariant 6), unless a person has looked where the host can't.
#[test]
fn a_create_that_no_key_can_find_is_made_again_when_a_person_says_so() {
    let mut world = World::new();
    let write = world.create();
    let unknown = |ledger: &mut Ledger<'_>, _: &Model| settle::unknown(ledger, LINK, write.sent);
    assert_eq!(world.act(unknown).expect("settled"), Left::Again);
    assert_eq!(world.next(), Decision::Read(Side::Right));
    world.bury(Reason::create_unknown(Side::Right));

    // News of the source does not tell whether the other half was made.
    assert_eq!(world.capture("other"), Captured::Queued(LINK));
    assert_eq!(world.next(), Decision::Read(Side::Right));
    world.bury(Reason::create_unknown(Side::Right));

    let revived = |ledger: &mut Ledger<'_>, _: &Model| settle::revived(ledger, LINK);
    assert_eq!(world.act(revived).expect("revived"), Left::Again);
    assert!(matches!(world.next(), Decision::Write(_)));
}

/// Giving up does not make an outcome known (invariant 6).
#[test]
fn what_was_given_up_is_read_before_it_is_written_again() {
    let mut world = World::new();
    let write = world.create();
    let reason = Reason {
        code: "connection-lost".into(),
        message: String::new(),
        fields: Vec::new(),
        target: Some(Side::Right),
    };
    let given_up = |ledger: &mut Ledger<'_>, _: &Model| {
        settle::given_up(ledger, LINK, write.generation, write.sent, reason, 1)
    };
    assert_eq!(world.act(given_up).expect("settled"), Left::Dead);
    let revived = |ledger: &mut Ledger<'_>, _: &Model| settle::revived(ledger, LINK);
    assert_eq!(world.act(revived).expect("revived"), Left::Again);
    assert_eq!(world.next(), Decision::Read(Side::Right));
}

#[test]
fn a_smaller_state_brings_a_record_back_that_was_too_large() {
    let mut world = World::new();
    world.capture(&"x".repeat(ROW_BYTES_MAX + 1));
    world.read(&"x".repeat(ROW_BYTES_MAX + 1));
    assert_eq!(world.capture("short"), Captured::Queued(LINK));
    assert_eq!(
        world.next(),
        Decision::Read(Side::Left),
        "what was read last is not known"
    );
    assert_eq!(world.read("short"), Left::Again);
    assert!(matches!(world.next(), Decision::Write(_)));
}
