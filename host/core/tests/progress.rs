//! How far a read is and how long it will take, by a clock that the test drives.

use tidegate_core::progress::{FirstRead, Rate};

/// Milliseconds and the count then; the moment of the question; what is left; the rate; and the time left.
type Case<'a> = (
    &'a str,
    &'a [(u64, u64)],
    u64,
    u64,
    Option<f64>,
    Option<u64>,
);

const CASES: &[Case<'_>] = &[
    ("nothing is known", &[], 5_000, 10, None, None),
    ("nothing is left", &[], 5_000, 0, None, Some(0)),
    ("one look tells no rate", &[(0, 100)], 500, 10, None, None),
    (
        "it has just begun",
        &[(0, 0), (900, 90)],
        900,
        10,
        None,
        None,
    ),
    (
        "a steady pace",
        &[(0, 0), (1_000, 100), (2_000, 200)],
        2_000,
        1_000,
        Some(100.0),
        Some(10_000),
    ),
    (
        "between two looks",
        &[(0, 0), (1_000, 100)],
        2_000,
        100,
        Some(50.0),
        Some(2_000),
    ),
    // What was done before a restart is no pace.
    (
        "it goes on",
        &[(10_000, 5_000), (12_000, 5_020)],
        12_000,
        30,
        Some(10.0),
        Some(3_000),
    ),
    (
        "a part of a second is whole",
        &[(0, 0), (3_000, 1)],
        3_000,
        1,
        Some(1.0 / 3.0),
        Some(3_000),
    ),
    (
        "only the last minute counts",
        &[
            (0, 0),
            (10_000, 100_000),
            (70_000, 100_060),
            (80_000, 100_120),
        ],
        80_000,
        20,
        Some(2.0),
        Some(10_000),
    ),
    (
        "a standstill has no end",
        &[(0, 0), (1_000, 100)],
        62_000,
        100,
        Some(0.0),
        None,
    ),
    (
        "it begins anew",
        &[(0, 900), (1_000, 950), (2_000, 0), (4_000, 20)],
        4_000,
        20,
        Some(10.0),
        Some(2_000),
    ),
];

#[test]
fn rates_and_times_left() {
    for (name, marks, now_ms, left, per_s, left_ms) in CASES {
        let mut rate = Rate::default();
        for (at_ms, count) in *marks {
            rate.note(*at_ms, *count);
        }
        assert_eq!(rate.per_s(*now_ms), *per_s, "{name}");
        assert_eq!(rate.left_ms(*now_ms, *left), *left_ms, "{name}");
    }
}

/// However often it is asked, it remembers a minute and no more, and a pace is what it was.
#[test]
fn pages_in_quick_succession() {
    let mut rate = Rate::default();
    for at_ms in (0..600_000).step_by(7) {
        rate.note(at_ms, at_ms / 4);
        if let Some(per_s) = rate.per_s(at_ms) {
            // Marks are a second apart, so the window may begin up to that too early.
            assert!((249.0..=255.0).contains(&per_s), "{per_s} at {at_ms}");
        }
    }
    let remembered = format!("{rate:?}").matches('(').count();
    assert!(remembered < 70, "{remembered} marks");
}

#[test]
fn a_read_to_its_end() {
    let mut read = FirstRead::new(0, Some(1_000), 0);
    assert_eq!((read.per_s(0), read.left_ms(0)), (None, None));
    read.read(2_000, 400);
    assert_eq!(read.per_s(2_000), Some(200.0));
    assert_eq!(read.left_ms(2_000), Some(3_000));
    // More than the source had said.
    read.read(5_000, 700);
    assert_eq!((read.rows, read.left_ms(5_000)), (1_100, None));
    read.done = true;
    assert_eq!((read.per_s(5_000), read.left_ms(5_000)), (None, Some(0)));

    let mut untold = FirstRead::new(50, None, 0);
    untold.read(1_000, 50);
    assert_eq!(
        (untold.per_s(1_000), untold.left_ms(1_000)),
        (Some(50.0), None)
    );
}
