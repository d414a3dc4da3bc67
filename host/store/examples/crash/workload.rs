//! What the writers write: each writer's records follow from the number of its last batch alone.
//!
//! Batch `n` of writer `w` adds a few records `w/n/j`, replaces one of its `o/w/i`, removes those that batch
//! `n - WINDOW` added, and moves the head `h/w` from `n - 1` to `n`, which it expects.

use std::collections::BTreeMap;

use tidegate_store::{Batch, Expected};

pub(crate) const WRITERS: u32 = 4;
const WINDOW: u64 = 60;
const REPLACED: u64 = 5;

pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn head_key(writer: u32) -> Vec<u8> {
    format!("h/{writer}").into_bytes()
}

fn replaced(writer: u32, number: u64) -> (Vec<u8>, Vec<u8>) {
    let key = format!("o/{writer}/{}", number % REPLACED).into_bytes();
    (key, value(writer, number, u64::MAX))
}

fn added(writer: u32, number: u64) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..1 + mix(writer, number, 77) % 5).map(move |index| {
        let key = format!("{writer}/{number:010}/{index}").into_bytes();
        (key, value(writer, number, index))
    })
}

pub(crate) fn batch(writer: u32, number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.puts.extend(added(writer, number));
    batch.puts.push(replaced(writer, number));
    if number > WINDOW {
        let old = added(writer, number - WINDOW).map(|(key, _)| key);
        batch.deletes.extend(old);
    }
    let before = match number {
        1 => Expected::Absent,
        _ => Expected::Value((number - 1).to_be_bytes().to_vec()),
    };
    batch
        .put(head_key(writer), number.to_be_bytes())
        .expect(head_key(writer), before)
}

/// All records of a writer whose last batch was `head`; 0 is none.
pub(crate) fn records(writer: u32, head: u64) -> Records {
    let mut records = Records::new();
    for number in (head + 1).saturating_sub(WINDOW).max(1)..=head {
        records.extend(added(writer, number));
    }
    for number in (head + 1).saturating_sub(REPLACED).max(1)..=head {
        records.extend([replaced(writer, number)]);
    }
    if head > 0 {
        records.insert(head_key(writer), head.to_be_bytes().to_vec());
    }
    records
}

/// Mostly small, sometimes large enough to lie in parts.
fn value(writer: u32, number: u64, index: u64) -> Vec<u8> {
    let draw = mix(writer, number, index);
    let bytes = match draw % 16 {
        0 => 16 << 10,
        1 => 3000 + draw % 3000,
        _ => 20 + draw % 300,
    };
    let mut value = Vec::new();
    let mut state = draw;
    while (value.len() as u64) < bytes {
        state = scramble(state);
        value.extend_from_slice(&state.to_le_bytes());
    }
    value
}

fn mix(writer: u32, number: u64, index: u64) -> u64 {
    scramble(scramble(scramble(u64::from(writer)) ^ number) ^ index)
}

/// One step of splitmix64.
fn scramble(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
