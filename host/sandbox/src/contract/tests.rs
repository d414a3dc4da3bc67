//! Answers that keep the contract but for one thing, and the code of that thing.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_core::batch::{Batch, Column, DataType, Packed, Values};
use tidegate_core::plugin::{
    Advice, Alias, ChangeSet, ChangeStream, Direction, Fault, FaultKind, Group, Job, Mapped,
    OperationKind, Operations, Outcome, Page, Progress, Refusal, RowOutcome, Rule, Selection,
    StreamKind, Written,
};

use super::{
    Asked, RowsMax, Sent, Trail, counts, found, mapped, pages, progress, rules, stream_key,
};
use crate::call::CallError;

const ROWS_MAX: RowsMax = RowsMax { asked: 4, limit: 6 };

fn code(result: Result<(), CallError>) -> String {
    result.map_or_else(|error| error.code().to_owned(), |()| "ok".to_owned())
}

fn names(rows: usize) -> Column {
    Column {
        name: "name".to_owned(),
        states: Vec::new(),
        values: Values::Text((0..rows).map(|row| format!("n{row}")).collect()),
    }
}

/// Upserts of `people` 0, 1, 2, ... with a name each.
fn people(rows: usize) -> ChangeSet {
    ChangeSet {
        object: "people".to_owned(),
        ids: (0..rows).map(|row| row.to_string()).collect(),
        kinds: vec![0; rows],
        versions: (0..rows).map(|_| "").collect(),
        committed: vec![i64::MIN; rows],
        batch: Batch {
            rows,
            columns: vec![names(rows)],
        },
    }
}

fn page(rows: usize) -> Page {
    Page {
        changes: vec![people(rows)],
        aliases: Vec::new(),
        cursor: b"next".to_vec(),
        more: false,
        wait_ms: None,
        gap: None,
    }
}

fn stream(cursor: &[u8]) -> ChangeStream {
    let selection = Selection {
        object: "people".to_owned(),
        fields: vec!["name".to_owned()],
    };
    ChangeStream {
        kind: StreamKind::Changes,
        selections: vec![selection],
        cursor: Some(cursor.to_vec()),
        rows_max: 3,
    }
}

#[test]
fn pages_are_held_to_what_was_asked() {
    type Spoil = fn(&mut Page);
    let cases: &[(&str, Spoil)] = &[
        ("ok", |_| {}),
        ("ok", |page| page.changes[0].kinds[1] = 2),
        ("too-many-rows", |page| page.changes = vec![people(4)]),
        ("too-many-rows", |page| page.changes.push(people(2))),
        ("output-rows-limit", |page| page.changes.push(people(6))),
        ("object-not-asked", |page| {
            page.changes[0].object = "secrets".into()
        }),
        ("field-not-asked", |page| {
            page.changes[0].batch.columns[0].name = "salary".into()
        }),
        ("row-count", |page| page.changes[0].kinds.truncate(1)),
        ("row-count", |page| page.changes[0].committed.truncate(1)),
        ("row-count", |page| page.changes[0].ids.push(b"9")),
        ("row-count", |page| {
            page.changes[0].versions = Packed::default()
        }),
        ("batch-invalid", |page| page.changes[0].ids.ends[0] = 200),
        ("batch-invalid", |page| {
            page.changes[0].batch.columns.push(names(2))
        }),
        ("batch-invalid", |page| {
            page.changes[0].batch.columns[0].states = vec![3, 0]
        }),
        ("kind-unknown", |page| page.changes[0].kinds[0] = 3),
        ("id-invalid", |page| {
            page.changes[0].ids = ["", "1"].iter().collect()
        }),
        ("id-invalid", |page| {
            page.changes[0].ids = [b"\xff", b"1"].iter().collect()
        }),
        ("id-invalid", |page| {
            let long = "7".repeat(1_025);
            page.changes[0].ids = [long.as_str(), "1"].iter().collect();
        }),
        ("cursor-too-large", |page| page.cursor = vec![0; 65_537]),
        ("version-invalid", |page| {
            page.changes[0].versions = [b"\xff", b"1"].iter().collect()
        }),
        ("cursor-stands-still", |page| page.cursor = b"here".to_vec()),
        ("cursor-stands-still", |page| {
            *page = Page {
                changes: Vec::new(),
                cursor: b"here".to_vec(),
                more: true,
                ..page.clone()
            };
        }),
        ("ok", |page| {
            *page = Page {
                changes: Vec::new(),
                cursor: b"here".to_vec(),
                ..page.clone()
            }
        }),
        ("id-invalid", |page| {
            let object = "people".to_owned();
            page.aliases = vec![Alias {
                object,
                old: "1".into(),
                new: String::new(),
            }];
        }),
    ];
    for (index, (expected, spoil)) in cases.iter().enumerate() {
        let mut page = page(2);
        spoil(&mut page);
        assert_eq!(
            code(pages(&[stream(b"here")], &[Ok(page)], ROWS_MAX)),
            *expected,
            "case {index}"
        );
    }
    let fault = Fault::new(FaultKind::Transient, "down", "");
    assert_eq!(code(pages(&[stream(b"")], &[Err(fault)], ROWS_MAX)), "ok");
    assert_eq!(code(pages(&[stream(b"")], &[], ROWS_MAX)), "page-count");
}

#[test]
fn reads_answer_only_what_was_asked() {
    type Spoil = fn(&mut Asked, &mut ChangeSet);
    let cases: &[(&str, Spoil)] = &[
        ("ok", |_, _| {}),
        ("ok", |_, set| set.kinds[0] = 1),
        ("object-not-asked", |_, set| set.object = "pets".into()),
        ("hint-in-read", |_, set| set.kinds[0] = 2),
        ("id-not-asked", |asked, _| {
            asked.keys = ["0", "5"].iter().collect()
        }),
        ("id-twice", |_, set| set.ids = ["1", "1"].iter().collect()),
        ("too-many-rows", |_, set| *set = people(5)),
        ("field-not-asked", |asked, _| asked.selection.fields.clear()),
        ("ok", |asked, _| {
            asked.selection.fields.clear();
            asked.by = Some("name".into());
        }),
        ("key-missing", |asked, _| asked.by = Some("email".into())),
    ];
    for (index, (expected, spoil)) in cases.iter().enumerate() {
        let selection = Selection {
            object: "people".to_owned(),
            fields: vec!["name".to_owned()],
        };
        let keys = ["0", "1", "2"].iter().collect();
        let (mut asked, mut set) = (
            Asked {
                selection,
                by: None,
                keys,
            },
            people(2),
        );
        spoil(&mut asked, &mut set);
        assert_eq!(
            code(found(&asked, &set, ROWS_MAX)),
            *expected,
            "case {index}"
        );
    }
}

fn outcome(token: u64, id: &str) -> RowOutcome {
    let written = Written {
        id: id.to_owned(),
        created: false,
        version: String::new(),
    };
    RowOutcome {
        token,
        outcome: Outcome::Written(written),
    }
}

/// An update of 1 under token 11, a delete of 2 under token 12, and a merge of 30 under token 14.
fn operations() -> Operations {
    let group = |operation, token: u64, id: &str| Group {
        object: "people".to_owned(),
        operation,
        key: None,
        tokens: vec![token],
        ids: Packed::from_iter([id]),
        into: Packed::from_iter([""]),
        versions: Packed::from_iter([""]),
        batch: Batch {
            rows: 1,
            columns: Vec::new(),
        },
    };
    Operations {
        method: "many".to_owned(),
        groups: vec![
            group(OperationKind::Update, 11, "1"),
            group(OperationKind::Delete, 12, "2"),
            group(OperationKind::Merge, 14, "30"),
        ],
        references: Vec::new(),
    }
}

#[test]
fn outcomes_name_rows_that_were_sent_once() {
    let after = |id: &str| ChangeSet {
        ids: Packed::from_iter([id]),
        ..people(1)
    };
    let refused = Outcome::Refused(Refusal {
        code: "NO".to_owned(),
        message: String::new(),
        fields: Vec::new(),
        advice: Advice::Park,
    });
    let refused = RowOutcome {
        token: 11,
        outcome: refused,
    };
    let pets = ChangeSet {
        object: "pets".to_owned(),
        ..after("1")
    };
    let cases: Vec<(&str, Vec<RowOutcome>, Vec<ChangeSet>)> = vec![
        ("ok", Vec::new(), Vec::new()),
        (
            "ok",
            vec![outcome(11, "1"), outcome(12, "")],
            vec![after("1")],
        ),
        ("ok", vec![outcome(11, "001")], vec![after("001")]),
        ("ok", vec![outcome(14, "30")], Vec::new()),
        ("id-not-asked", vec![outcome(14, "2")], Vec::new()),
        ("ok", vec![refused.clone()], Vec::new()),
        ("token-not-given", vec![outcome(13, "1")], Vec::new()),
        ("token-twice", vec![outcome(11, "1"), refused], Vec::new()),
        ("id-invalid", vec![outcome(11, "")], Vec::new()),
        ("id-not-asked", vec![outcome(11, "1")], vec![after("3")]),
        ("object-not-asked", vec![outcome(11, "1")], vec![pets]),
    ];
    for (index, (expected, outcomes, after)) in cases.into_iter().enumerate() {
        let answer = Progress {
            outcomes,
            job: None,
            after,
        };
        let pushed = progress(&Sent::from(&operations()), &answer, ROWS_MAX);
        assert_eq!(code(pushed), expected, "case {index}");
    }
    let pending = Sent::pending(&HashSet::from([11]));
    let settled = Progress {
        outcomes: vec![outcome(11, "1"), outcome(12, "2")],
        job: None,
        after: Vec::new(),
    };
    assert_eq!(
        code(progress(&pending, &settled, ROWS_MAX)),
        "token-not-given"
    );
    // A poll may repeat what it said before the host could keep it; that is left out first.
    let mut outcomes = settled.outcomes;
    pending.keep_pending(&mut outcomes);
    assert_eq!(outcomes, [outcome(11, "1")]);
    for (bytes, expected) in [(524_288, "ok"), (524_289, "job-too-large")] {
        let job = Job {
            state: vec![0; bytes],
            wait_ms: 0,
        };
        let answer = Progress {
            outcomes: Vec::new(),
            job: Some(job),
            after: Vec::new(),
        };
        assert_eq!(code(progress(&pending, &answer, ROWS_MAX)), expected);
    }
}

#[test]
fn mapped_rows_are_as_many_as_came() {
    let batch = |rows| Batch {
        rows,
        columns: vec![names(rows)],
    };
    let answer = |rows| Mapped {
        batch: batch(rows),
        errors: Vec::new(),
    };
    assert_eq!(code(mapped(2, &answer(2))), "ok");
    assert_eq!(code(mapped(2, &answer(3))), "row-count");
    let mut torn = answer(2);
    torn.batch
        .columns
        .push(Column::new("empty", DataType::Integer));
    assert_eq!(code(mapped(2, &torn)), "batch-invalid");
    let rule = |outputs: &[&str]| Rule {
        direction: Direction::LeftToRight,
        inputs: Vec::new(),
        outputs: outputs.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(code(rules(&[rule(&["a"]), rule(&["b", "c"])])), "ok");
    assert_eq!(
        code(rules(&[rule(&["a"]), rule(&["b", "a"])])),
        "output-twice"
    );
    assert_eq!(code(rules(&[rule(&[])])), "rule-empty");
}

/// Steps are `given>next`, or `given=next` where nothing was read.
#[test]
fn a_cursor_that_goes_back_is_noticed() {
    let cases = [
        ("a>b b>c c>d", "ok"),
        ("a>b b>c c>a", "cursor-went-back"),
        ("a>b b>c c>b", "cursor-went-back"),
        // Nothing was read, so nothing is read again.
        ("a>b b=a a>b", "ok"),
        // The host lost the page after b and asks again.
        ("a>b b>c b>c c>d", "ok"),
        ("a>b b>b", "ok"),
    ];
    for (steps, expected) in cases {
        let mut trail = Trail::default();
        let taken = steps.split(' ').try_for_each(|step| {
            let (given, next) = step.split_at(1);
            let mut page = page(usize::from(next.starts_with('>')));
            page.cursor = next.as_bytes()[1..].to_vec();
            trail.advance(&stream(given.as_bytes()), &page)
        });
        assert_eq!(code(taken), expected, "{steps}");
    }
    let endpoint: Arc<str> = "crm".into();
    let snapshot = ChangeStream {
        kind: StreamKind::Snapshot,
        ..stream(b"")
    };
    assert_ne!(
        stream_key(&endpoint, &stream(b"")),
        stream_key(&endpoint, &snapshot)
    );
}

#[test]
fn every_object_gets_its_count() {
    assert_eq!(code(counts(2, &[Some(7), None])), "ok");
    assert_eq!(code(counts(2, &[Some(7)])), "count-length");
    assert_eq!(code(counts(0, &[None])), "count-length");
}
