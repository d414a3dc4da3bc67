//! Whose turn it is among the syncs of a lane.
//!
//! Each request gets a tag: the later of its lane's present turn and the end of its sync's last request. A sync
//! that asks for much so gets later and later turns, one that asks again after a while comes in now, and a
//! dear request moves its sync on further than a cheap one.

use std::collections::HashMap;
use std::sync::Arc;

use super::Lane;

/// Of tags, for one whole pool.
pub(super) const WHOLE: u64 = 1 << 32;
/// Syncs that are remembered before those without a future are forgotten.
const SYNCS_MAX: usize = 1_024;

#[derive(Clone, Debug, Default)]
struct LaneTurns {
    turn: u64,
    /// By sync, where its newest request ends.
    ends: HashMap<Arc<str>, u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    lanes: [LaneTurns; 3],
    weights: HashMap<Arc<str>, u32>,
}

impl Turns {
    /// A sync with weight 2 gets twice what one with 1 gets, while both want more.
    pub(super) fn weigh(&mut self, sync: &Arc<str>, weight: u32) {
        self.weights.insert(sync.clone(), weight.max(1));
    }

    /// The tag of a new request that costs this part of `WHOLE`.
    pub(super) fn tag(&mut self, lane: Lane, sync: &Arc<str>, cost: u64) -> u64 {
        let weight = self.weights.get(sync).copied().unwrap_or(1);
        let cost = (cost / u64::from(weight)).max(1);
        let turns = &mut self.lanes[lane as usize];
        if turns.ends.len() >= SYNCS_MAX && !turns.ends.contains_key(sync) {
            let turn = turns.turn;
            turns.ends.retain(|_, end| *end > turn);
        }
        match turns.ends.get_mut(sync) {
            Some(end) => {
                let tag = turns.turn.max(*end);
                *end = tag.saturating_add(cost);
                tag
            }
            None => {
                let end = turns.turn.saturating_add(cost);
                turns.ends.insert(sync.clone(), end);
                turns.turn
            }
        }
    }

    pub(super) fn served(&mut self, lane: Lane, tag: u64) {
        let turn = &mut self.lanes[lane as usize].turn;
        *turn = tag.max(*turn);
    }
}
