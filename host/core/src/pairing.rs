//! First contact of two filled systems: which of their records are one.
//!
//! While a side is still being read whole, records that lack their other half wait, and stand in an index by what each
//! pair rule compares. Then one rule after the other is gone through ([`step`]): one record here and one there become a
//! link with both halves; more than that are left to a person, never guessed; none leaves it to the next rule, and
//! in the end the record is made on the other side. Whoever comes in meanwhile, or comes back from the dead letters, is
//! held against the index by itself ([`meet`]).
//!
//! In reading order:
//! - [`index`]: where they stand meanwhile
//! - [`passes`]: the way through it, once both sides are read
//! - [`joining`]: one link of two halves
//! - [`ambiguous`]: what is left to a person

mod ambiguous;
mod index;
mod joining;
mod passes;

pub use index::{hash, index};
pub use joining::join;
pub use passes::{Step, step};

use serde::{Deserialize, Serialize};

use crate::ledger::{HalfPlace, Ledger, LedgerError};
use crate::model::Model;
use crate::record::{Bond, Entry, Link, LinkId, Pending};
use crate::settle::bury;
use crate::sync::{PairRule, Side};

use ambiguous::{TOLD, ambiguous};
use index::{Among, candidates, enter, places, standing};
use joining::pair;

/// How far the first contact of a sync is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// A side is still being read whole: everything may still turn up.
    #[default]
    Reading,
    /// Both are read. The records of `side` are gone through by this rule, from behind the key `after`.
    Pairing {
        rule: u8,
        side: Side,
        after: Option<Vec<u8>>,
    },
    /// All is decided. What the index holds beside records that are left to a person is dropped, from behind this key.
    Clearing {
        after: Option<Vec<u8>>,
    },
    Over,
}

impl Phase {
    pub const PAIRING: Self = Self::Pairing {
        rule: 0,
        side: Side::Left,
        after: None,
    };

    /// Whether records without their other half are kept from being made there.
    pub fn holds(&self) -> bool {
        match self {
            Self::Reading | Self::Pairing { .. } => true,
            Self::Clearing { .. } | Self::Over => false,
        }
    }
}

/// A first contact as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub phase: Phase,
    /// That the index was made by.
    pub rules: Vec<PairRule>,
}

/// What becomes of a record that has something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nothing is to be decided here: it goes on as any other.
    Free,
    /// Until both sides are read and paired.
    Waits,
    /// The two links are one now, under the first number.
    Paired { kept: LinkId, gone: LinkId },
    /// It lies in the dead letters.
    Ambiguous,
}

/// The side on which a record is that lacks its other half and whose next step would be to make it. Such a record waits at
/// first contact.
pub fn half(link: &Link, entry: &Entry) -> Option<Side> {
    let side = lonely(link)?;
    let at_rest = entry.sent.is_none() && !entry.unread.left && !entry.unread.right;
    let has_row = matches!(entry.pending[side], Some(Pending::Row { .. }));
    (at_rest && has_row).then_some(side)
}

/// The only side that has the record.
pub fn lonely(link: &Link) -> Option<Side> {
    match (&link.ids.left, &link.ids.right) {
        _ if !matches!(link.bond, Bond::Live | Bond::Awake { .. }) => None,
        (Some(_), None) => Some(Side::Left),
        (None, Some(_)) => Some(Side::Right),
        _ => None,
    }
}

/// What a rule says of a record.
enum Verdict {
    /// The other side has none: the next rule decides.
    Nobody,
    One(LinkId),
    /// Candidates on the other side and on its own.
    Several(Vec<LinkId>, Vec<LinkId>),
}

fn judge(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    own: HalfPlace,
    among: Among,
) -> Result<Verdict, LedgerError> {
    let there = HalfPlace {
        side: own.side.other(),
        ..own
    };
    let others = candidates(ledger, model, there, among, (TOLD + 1, id))?;
    if others.is_empty() {
        return Ok(Verdict::Nobody);
    }
    let siblings = candidates(ledger, model, own, among, (TOLD + 1, id))?;
    if let ([(other, ambiguous)], []) = (&*others, &*siblings) {
        // A person may find that it belongs to another.
        if !*ambiguous || !is_claimed(ledger, model, *other, there, among)? {
            return Ok(Verdict::One(*other));
        }
    }
    let ids = |found: Vec<(LinkId, bool)>| found.into_iter().map(|(id, _)| id).collect();
    Ok(Verdict::Several(ids(others), ids(siblings)))
}

/// Whether an earlier rule finds candidates for a record.
fn is_claimed(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    by: HalfPlace,
    among: Among,
) -> Result<bool, LedgerError> {
    let Some(standing) = standing(ledger, id, by.side)? else {
        return Ok(false);
    };
    let row = standing.row(by.side).unwrap_or_default();
    for earlier in places(model, by.side, row).take_while(|earlier| earlier.rule < by.rule) {
        let there = HalfPlace {
            side: by.side.other(),
            ..earlier
        };
        if !candidates(ledger, model, there, among, (1, id))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A record was captured, read, or brought back from the dead letters. Nothing of it may be under way.
pub fn meet(
    ledger: &mut Ledger<'_>,
    model: &Model,
    phase: &Phase,
    id: LinkId,
    now_us: i64,
) -> Result<Met, LedgerError> {
    let (Some(link), Some(entry)) = (ledger.link(id)?, ledger.entry(id)?) else {
        return Ok(Met::Free);
    };
    let Some(side) = half(&link, &entry) else {
        return Ok(Met::Free);
    };
    let undecided = match phase.holds() {
        true => Met::Waits,
        false => Met::Free,
    };
    let Some(places) = enter(ledger, model, id, side)? else {
        return Ok(undecided);
    };
    for place in &places {
        let decided = match phase {
            Phase::Reading => false,
            Phase::Pairing { rule, .. } => place.rule <= *rule,
            Phase::Clearing { .. } | Phase::Over => true,
        };
        if !decided {
            break;
        }
        match judge(ledger, model, id, *place, Among::in_phase(phase))? {
            Verdict::Nobody => {}
            Verdict::One(other) => return pair(ledger, model, id, other, side),
            Verdict::Several(others, siblings) => {
                let reason = ambiguous(ledger, model, *place, &others, &siblings)?;
                bury(ledger, id, entry, reason, now_us);
                return Ok(Met::Ambiguous);
            }
        }
    }
    if !phase.holds() {
        // It is made on the other side now, and is nobody's candidate.
        for place in &places {
            ledger.remove_half(*place, id);
        }
    }
    Ok(undecided)
}
