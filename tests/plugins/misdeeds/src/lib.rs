//! What a plugin can do to its host with nothing but its own code. The config says which, and in which call.
//!
//! Absent: what a compiler of safe Rust does not emit (several memories, tables that grow, loads beyond the
//! memory); `host/sandbox/tests` has those as text.

use std::hint::black_box;

use serde::Deserialize;
use tidegate_sdk::{Batch, Value, log};

/// The config of both hostile plugins.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plot {
    /// The call that goes wrong, such as `push`; every other one behaves.
    pub call: String,
    /// What goes wrong in it.
    pub misdeed: String,
    /// Only where a record carries this text.
    pub victim: Option<String>,
}

impl Plot {
    /// The misdeed for this call and these records.
    pub fn strikes<'a>(
        &self,
        call: &str,
        batches: impl IntoIterator<Item = &'a Batch>,
    ) -> Option<&str> {
        let meets = |victim: &String| {
            batches
                .into_iter()
                .flat_map(|batch| &batch.columns)
                .any(|column| column.iter().any(|value| value == Value::Text(victim)))
        };
        let strikes = self.call == call && self.victim.as_ref().is_none_or(meets);
        strikes.then_some(&*self.misdeed)
    }
}

const FLOOD_LINES: u32 = 100_000;
const HUGE_BYTES: usize = 1 << 20;

/// Does what needs no more than code. Comes back from what is only a nuisance, and from names that it does
/// not know: those are for the answer.
pub fn commit(misdeed: &str) {
    match misdeed {
        "loop" => loop {
            black_box(());
        },
        "memory-bomb" => hoard(),
        "recursion" => {
            black_box(descend(0));
        }
        "panic" => panic!("as the plot says"),
        "log-flood" => (0..FLOOD_LINES).for_each(|_| log::info("once more")),
        _ => {}
    }
}

/// A mebibyte of text: longer than an answer may be where `output-bytes-max` is set low.
pub fn huge_text() -> String {
    "x".repeat(HUGE_BYTES)
}

fn hoard() {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn descend(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    // Used after the call, so that no compiler makes a loop of it.
    descend(depth + 1) ^ black_box(depth)
}
