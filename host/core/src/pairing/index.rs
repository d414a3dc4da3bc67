//! Where records stand that lack their other half: by what each pair rule compares.

use xxhash_rust::xxh3::Xxh3Default;

use super::{Phase, lonely};
use crate::batch::Cell;
use crate::ledger::{HalfPlace, Ledger, LedgerError};
use crate::model::Model;
use crate::record::{Entry, FieldId, LinkId, Pending, Reason};
use crate::sync::Side;
use crate::value::{Value, canonical};

/// What a rule compares of a row; `None` when a part of it is empty, which pairs nothing.
pub fn hash(model: &Model, rule: usize, side: Side, row: &[(FieldId, Value)]) -> Option<u128> {
    let exact = model.spec.pairs.get(rule)?.exact;
    let fields = model.pairs.get(rule)?;
    let mut hasher = Xxh3Default::new();
    for (index, field) in fields[side].iter().enumerate() {
        let (_, value) = row.iter().find(|(known, _)| known == field)?;
        let lowered;
        let cell = match value.cell() {
            Cell::Null | Cell::Unset => return None,
            Cell::Text(text) if exact => Cell::Text(text),
            Cell::Text(text) => {
                lowered = text.trim().to_lowercase();
                Cell::Text(&lowered)
            }
            other => other,
        };
        if matches!(cell, Cell::Text(text) if text.trim().is_empty()) {
            return None;
        }
        // Times are equal as far as the coarser side can tell.
        let resolution_us = Side::BOTH
            .into_iter()
            .filter_map(|side| model.field(side, *fields[side].get(index)?)?.resolution_us)
            .max();
        canonical(cell, resolution_us.unwrap_or(1), |tag, bytes| {
            hasher.update(&[tag]);
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        })?;
    }
    Some(hasher.digest128())
}

fn place(model: &Model, rule: usize, side: Side, row: &[(FieldId, Value)]) -> Option<HalfPlace> {
    Some(HalfPlace {
        rule: u8::try_from(rule).ok()?,
        side,
        hash: hash(model, rule, side, row)?,
    })
}

/// All places of a row.
pub(super) fn places<'a>(
    model: &'a Model,
    side: Side,
    row: &'a [(FieldId, Value)],
) -> impl Iterator<Item = HalfPlace> + 'a {
    let rules = 0..model.pairs.len();
    rules.filter_map(move |rule| place(model, rule, side, row))
}

/// Who may be a record's other half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    All,
    /// Only those that were left to a person: all others have found theirs, or are being made on the other side.
    Ambiguous,
}

impl Among {
    pub(super) fn in_phase(phase: &Phase) -> Self {
        match phase.holds() {
            true => Self::All,
            false => Self::Ambiguous,
        }
    }
}

/// A record of the index as it stands now.
pub(super) struct Standing {
    pub(super) entry: Entry,
    pub(super) ambiguous: bool,
}

impl Standing {
    pub(super) fn row(&self, side: Side) -> Option<&[(FieldId, Value)]> {
        match &self.entry.pending[side] {
            Some(Pending::Row { values, .. }) => Some(values),
            _ => None,
        }
    }
}

/// The record, if it still lacks its other half and its row is known.
pub(super) fn standing(
    ledger: &Ledger<'_>,
    id: LinkId,
    side: Side,
) -> Result<Option<Standing>, LedgerError> {
    let alone = ledger.link(id)?.as_ref().and_then(lonely) == Some(side);
    if !alone || ledger.is_apart(id)? {
        return Ok(None);
    }
    let (entry, ambiguous) = match ledger.entry(id)? {
        Some(entry) => (entry, false),
        None => match ledger.dead(id)? {
            Some(letter) => (letter.entry, letter.reason.code == Reason::PAIR_AMBIGUOUS),
            None => return Ok(None),
        },
    };
    // Its other half may have been made, and nobody knows yet.
    if entry.sent.is_some() || ledger.intent(id)?.is_some() {
        return Ok(None);
    }
    let standing = Standing { entry, ambiguous };
    Ok(standing.row(side).is_some().then_some(standing))
}

/// The record, if it still stands in this place of the index.
pub(super) fn standing_at(
    ledger: &Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    id: LinkId,
) -> Result<Option<Standing>, LedgerError> {
    let here = |standing: &Standing| {
        let row = standing.row(place.side).unwrap_or_default();
        hash(model, usize::from(place.rule), place.side, row) == Some(place.hash)
    };
    Ok(standing(ledger, id, place.side)?.filter(here))
}

/// Takes a record into the index, in all its places; `None` where it does not belong there.
pub(super) fn enter(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    side: Side,
) -> Result<Option<Vec<HalfPlace>>, LedgerError> {
    let Some(standing) = standing(ledger, id, side)? else {
        return Ok(None);
    };
    let row = standing.row(side).unwrap_or_default();
    let places: Vec<HalfPlace> = places(model, side, row).collect();
    for place in &places {
        ledger.put_half(*place, id);
    }
    Ok(Some(places))
}

/// Up to `most` records of a place that are candidates, beside `but`. What is there no more is dropped.
pub(super) fn candidates(
    ledger: &mut Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    among: Among,
    (most, but): (usize, LinkId),
) -> Result<Vec<(LinkId, bool)>, LedgerError> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = ledger.halves(place, after, most)?;
        after = page.last().copied();
        for id in page.iter().filter(|id| **id != but) {
            match standing_at(ledger, model, place, *id)? {
                None => ledger.remove_half(place, *id),
                Some(standing) if among == Among::All || standing.ambiguous => {
                    found.push((*id, standing.ambiguous));
                }
                Some(_) => {}
            }
            if found.len() == most {
                return Ok(found);
            }
        }
        if page.len() < most {
            return Ok(found);
        }
    }
}

/// Takes a record into the index, as it waits or lies in the dead letters.
pub fn index(ledger: &mut Ledger<'_>, model: &Model, id: LinkId) -> Result<(), LedgerError> {
    if let Some(side) = ledger.link(id)?.as_ref().and_then(lonely) {
        enter(ledger, model, id, side)?;
    }
    Ok(())
}
