//! The way through the index when both sides are read: rule after rule, side after side, a part at a time.

use super::ambiguous::ambiguous;
use super::index::{Among, standing_at};
use super::joining::pair;
use super::{Met, Phase, Verdict, judge, lonely};
use crate::ledger::{
    HalfPlace, Ledger, LedgerError, Room, halves_prefix, key_half, key_link, prefix,
};
use crate::model::Model;
use crate::record::LinkId;
use crate::settle::bury;
use crate::sync::Side;

/// A part of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub next: Phase,
    /// What became of records, where anything did.
    pub met: Vec<(LinkId, Met)>,
}

/// Goes a part of the way, of `keys_max` keys and about `bytes_max` bytes at most.
pub fn step(
    ledger: &mut Ledger<'_>,
    model: &Model,
    phase: &Phase,
    (keys_max, bytes_max): (usize, usize),
    now_us: i64,
) -> Result<Step, LedgerError> {
    let mut met = Vec::new();
    let next = match phase {
        Phase::Reading | Phase::Over => phase.clone(),
        Phase::Pairing { rule, side, after } => {
            let prefix = halves_prefix(ledger.sync(), *rule, *side);
            let keys = ledger.keys(&prefix, after.as_deref(), keys_max)?;
            let mut last = None;
            for key in &keys {
                if ledger.bytes() >= bytes_max {
                    break;
                }
                last = Some(key.clone());
                if let Some((place, id)) = key_half(key) {
                    met.extend(decide(ledger, model, place, id, now_us)?);
                }
            }
            let ended = last.as_ref() == keys.last() && keys.len() < keys_max;
            match ended {
                false => Phase::Pairing {
                    rule: *rule,
                    side: *side,
                    after: last.or_else(|| after.clone()),
                },
                true => after_pass(model, *rule, *side),
            }
        }
        Phase::Clearing { after } => clear(ledger, model, after.as_deref(), keys_max)?,
    };
    Ok(Step { next, met })
}

fn after_pass(model: &Model, rule: u8, side: Side) -> Phase {
    let (rule, side) = match side {
        Side::Left => (rule, Side::Right),
        Side::Right => (rule + 1, Side::Left),
    };
    match usize::from(rule) < model.pairs.len() {
        true => Phase::Pairing {
            rule,
            side,
            after: None,
        },
        false => Phase::Clearing { after: None },
    }
}

/// A record of the pass.
fn decide(
    ledger: &mut Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    id: LinkId,
    now_us: i64,
) -> Result<Option<(LinkId, Met)>, LedgerError> {
    let there = HalfPlace {
        side: place.side.other(),
        ..place
    };
    if ledger.halves(there, None, 1)?.is_empty() {
        return Ok(None);
    }
    let Some(standing) = standing_at(ledger, model, place, id)? else {
        ledger.remove_half(place, id);
        return Ok(None);
    };
    if standing.ambiguous {
        return Ok(None);
    }
    let met = match judge(ledger, model, id, place, Among::All)? {
        Verdict::Nobody => return Ok(None),
        Verdict::One(other) => pair(ledger, model, id, other, place.side)?,
        Verdict::Several(others, siblings) => {
            let reason = ambiguous(ledger, model, place, &others, &siblings)?;
            bury(ledger, id, standing.entry, reason, now_us);
            Met::Ambiguous
        }
    };
    Ok(Some((id, met)))
}

/// What the index need not hold any more goes, and so do marks of records that have found or lost their other half.
fn clear(
    ledger: &mut Ledger<'_>,
    model: &Model,
    after: Option<&[u8]>,
    keys_max: usize,
) -> Result<Phase, LedgerError> {
    let keys = ledger.keys(&prefix(Room::Half, ledger.sync()), after, keys_max)?;
    for key in &keys {
        let Some((place, id)) = key_half(key) else {
            continue;
        };
        let standing = standing_at(ledger, model, place, id)?;
        if standing.is_none_or(|standing| !standing.ambiguous) {
            ledger.remove_half(place, id);
        }
    }
    if keys.len() == keys_max {
        return Ok(Phase::Clearing {
            after: keys.last().cloned(),
        });
    }
    let marks = ledger.keys(&prefix(Room::Apart, ledger.sync()), None, keys_max)?;
    for id in marks.iter().filter_map(|key| key_link(key)) {
        let stays = ledger.link(id)?.is_some_and(|link| lonely(&link).is_some());
        if !stays {
            ledger.remove_apart(id);
        }
    }
    Ok(Phase::Over)
}
