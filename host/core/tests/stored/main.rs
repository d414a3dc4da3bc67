//! What an earlier build has stored is read by this one, and means the same.
//!
//! `records.ron` holds a value of each kind, with the bytes that a build once made of it. The bytes are never changed:
//! stores out there hold them. A kind or variant that is new gets a case without bytes, and the test names those that
//! belong there. Where a kind's format changes, its old cases stay, with what they mean now.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_core::batch::Cell;
use tidegate_core::hold::{Holds, Scope};
use tidegate_core::job::{Job, JobId, JobRow};
use tidegate_core::ledger::{
    HalfPlace, Room, SyncId, decode, encode, halves_prefix, id_key, job_key, key_half, key_job,
    key_link, link_key, prefix,
};
use tidegate_core::model::FieldTable;
use tidegate_core::pace::{Hour, Lane, Level, PoolCounts};
use tidegate_core::pairing::{Contact, Phase};
use tidegate_core::record::{Bond, DeadLetter, Deed, Entry, IdRef, Link, LinkId, Pending, Sent};
use tidegate_core::sync::Side;
use tidegate_core::value::{Value, fingerprint};

#[derive(serde::Deserialize)]
struct Case {
    kind: String,
    /// In hexadecimal.
    bytes: String,
    value: Box<ron::value::RawValue>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Reads a case, and writes what it means.
fn judge<T>(case: &Case, wrong: &mut Vec<String>) -> String
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value: T = case
        .value
        .into_rust()
        .unwrap_or_else(|error| panic!("{} {}: {error}", case.kind, case.value));
    match decode::<T>("case", &unhex(&case.bytes)) {
        Ok(found) if found == value => {}
        Ok(found) => wrong.push(format!("{} is read as {found:?}", case.kind)),
        Err(error) => wrong.push(format!("{}: {error:?}", case.kind)),
    }
    hex(&encode(&value))
}

/// Every kind of record that core gives a meaning to, by the name that cases use.
macro_rules! kinds {
    ($($name:literal: $kind:ty),* $(,)?) => {
        const KINDS: &[&str] = &[$($name),*];

        fn judge_any(case: &Case, wrong: &mut Vec<String>) -> String {
            match case.kind.as_str() {
                $($name => judge::<$kind>(case, wrong),)*
                other => panic!("no kind is called {other}"),
            }
        }
    };
}

kinds! {
    "id": IdRef,
    "link": Link,
    "queue entry": Entry,
    "dead letter": DeadLetter,
    "intent": Sent,
    "job": Job,
    "job row": JobRow,
    "first contact": Contact,
    "mark": (),
    "field table": FieldTable,
    "holds": Holds,
    "allowances": Vec<PoolCounts>,
    "usage": Hour,
}

/// All variants that records hold. Does not compile when one is new; then it is named here and in a case.
macro_rules! variants {
    ($($of:ident: $($variant:ident)*;)*) => {
        const VARIANTS: &[&str] = &[$($(stringify!($variant)),*),*];

        $(const _: fn(&$of) = |value| match value { $($of::$variant { .. } => (),)* };)*
    };
}

variants! {
    Bond: Live Detached Asleep Lost Awake;
    Deed: Fields Delete SoftDelete Merge Restore Convert;
    IdRef: Link Gone;
    Lane: Critical Normal Backfill;
    Level: Plenty Notify Stretch Critical;
    Pending: Row Gone;
    Phase: Reading Pairing Clearing Over;
    Scope: All Sync Endpoint Account Pool;
    Side: Left Right;
    Value: Null Boolean Integer Float Decimal Text Timestamp Date Bytes Json;
}

fn cases() -> Vec<Case> {
    ron::from_str(include_str!("records.ron")).expect("cases")
}

#[test]
fn what_an_earlier_build_wrote_means_the_same() {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let now = judge_any(case, &mut wrong);
        // As this case has it, or another one of the same value whose format is newer.
        let mut twins = cases
            .iter()
            .filter(|twin| twin.kind == case.kind && twin.value.trim() == case.value.trim());
        if !twins.any(|twin| twin.bytes == now) {
            wrong.push(format!("{} is written as {now}", case.kind));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_kind_and_variant_has_a_case() {
    let cases = cases();
    let held: BTreeSet<&str> = cases.iter().map(|case| case.kind.as_str()).collect();
    assert_eq!(held, KINDS.iter().copied().collect());
    // Some spell their variants in small letters.
    let spelt = |name: &str| name.to_lowercase();
    let words: BTreeSet<String> = cases
        .iter()
        .flat_map(|case| case.value.get_ron().split(|at: char| !at.is_alphanumeric()))
        .map(spelt)
        .collect();
    let mut without = VARIANTS.to_vec();
    without.retain(|name| !words.contains(&spelt(name)));
    assert!(without.is_empty(), "no case holds {without:?}");
}

/// A record that is looked for under another key is as lost as one that can't be read.
#[test]
fn records_stand_where_they_stood() {
    let sync = SyncId(0x0102);
    let link = LinkId(0x0304);
    let job = JobId(0x0506);
    let long = "x".repeat(600);
    let place = HalfPlace {
        rule: 2,
        side: Side::Right,
        hash: 0x0708,
    };
    let half = [
        &halves_prefix(sync, 2, Side::Right)[..],
        &place.hash.to_be_bytes(),
        &link.0.to_be_bytes(),
    ]
    .concat();
    let stands = [
        (link_key(Room::Link, sync, link), "6c01020000000000000304"),
        (link_key(Room::Entry, sync, link), "7101020000000000000304"),
        (link_key(Room::Dead, sync, link), "6401020000000000000304"),
        (link_key(Room::Intent, sync, link), "7401020000000000000304"),
        (link_key(Room::JobRow, sync, link), "7201020000000000000304"),
        (link_key(Room::Apart, sync, link), "6f01020000000000000304"),
        (job_key(sync, job), "6a01020000000000000506"),
        (prefix(Room::Contact, sync), "660102"),
        (id_key(sync, Side::Left, "a7"), "6901023c6137"),
        (id_key(sync, Side::Right, "a7"), "6901023e6137"),
        (
            half,
            "680102023e000000000000000000000000000007080000000000000304",
        ),
    ];
    for (key, stood) in &stands {
        assert_eq!(hex(key), *stood);
    }
    let hashed = hex(&id_key(sync, Side::Left, &long)[516..]);
    assert_eq!(hashed, "c5a9e7847a66a4ee50d6ce9d7b01c4c5");
    assert_eq!(key_link(&stands[0].0), Some(link));
    assert_eq!(key_job(&stands[6].0), Some(job));
    assert_eq!(key_half(&stands[10].0), Some((place, link)));
}

/// Shadows are fingerprints: if one came out differently, every record would seem to have changed on both sides.
#[test]
fn fingerprints_are_what_they_were() {
    let prints = [
        (Cell::Unset, 0),
        (Cell::Null, 14_144_645_293_874_801_883),
        (Cell::Boolean(true), 508_203_992_382_727_667),
        (Cell::Integer(-7), 6_948_199_093_260_495_717),
        (Cell::Float(1.5), 2_954_746_858_305_776_003),
        (Cell::Decimal("1.50"), 2_954_746_858_305_776_003),
        (Cell::Text("Ada"), 12_952_990_613_876_347_134),
        (
            Cell::Timestamp(1_710_003_600_123_456),
            17_191_627_767_637_887_522,
        ),
        (Cell::Date(19_791), 7_386_745_171_661_203_114),
        (Cell::Bytes(b"\x00\xff"), 12_481_154_712_205_096_037),
        (
            Cell::Json(r#"{"b": [1, 2.50], "a": null}"#),
            5_479_014_821_524_262_136,
        ),
    ];
    let found = prints.map(|(cell, _)| (cell, fingerprint(cell, 1_000)));
    assert_eq!(found, prints);
}
