//! One link of two halves.

use super::index::places;
use super::{Met, lonely};
use crate::ledger::{Ledger, LedgerError};
use crate::model::Model;
use crate::record::{Entry, IdRef, LinkId, Pending};
use crate::sync::Side;

pub(super) fn pair(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    other: LinkId,
    side: Side,
) -> Result<Met, LedgerError> {
    let (left, right) = match side {
        Side::Left => (id, other),
        Side::Right => (other, id),
    };
    Ok(match join(ledger, model, left, right)? {
        true => Met::Paired {
            kept: left,
            gone: right,
        },
        false => Met::Free,
    })
}

/// Makes one link of two halves, under the number of the left one. What both sides hold waits in its entry, so that it is
/// merged like any two changes. False when one of them is no half any more.
pub fn join(
    ledger: &mut Ledger<'_>,
    model: &Model,
    left: LinkId,
    right: LinkId,
) -> Result<bool, LedgerError> {
    let (Some(mut link), Some(other)) = (ledger.link(left)?, ledger.link(right)?) else {
        return Ok(false);
    };
    if lonely(&link) != Some(Side::Left) || lonely(&other) != Some(Side::Right) {
        return Ok(false);
    }
    let mut entry = waiting(ledger, left)?;
    let gone = waiting(ledger, right)?;
    for (id, side, of) in [(left, Side::Left, &entry), (right, Side::Right, &gone)] {
        if let Some(Pending::Row { values, .. }) = &of.pending[side] {
            for place in places(model, side, values) {
                ledger.remove_half(place, id);
            }
        }
    }
    if let Some(id) = &other.ids.right {
        ledger.put_id(Side::Right, id, IdRef::Link(left));
    }
    link.ids.right = other.ids.right;
    link.shadow.right = other.shadow.right;
    ledger.put_link(left, &link);
    entry.pending.right = gone.pending.right;
    entry.unread.right = gone.unread.right;
    entry.lane = entry.lane.min(gone.lane);
    entry.generation = entry.generation.max(gone.generation).wrapping_add(1);
    entry.attempts = 0;
    ledger.put_entry(left, &entry);
    ledger.remove_link(right);
    ledger.remove_entry(right);
    Ok(true)
}

/// What waits of a half; a dead letter comes back for it. Of one that nothing is known of, its side is read.
fn waiting(ledger: &mut Ledger<'_>, id: LinkId) -> Result<Entry, LedgerError> {
    if let Some(entry) = ledger.entry(id)? {
        return Ok(entry);
    }
    if let Some(letter) = ledger.dead(id)? {
        ledger.remove_dead(id);
        return Ok(letter.entry);
    }
    let mut entry = Entry::new(crate::pace::Lane::Normal);
    if let Some(side) = ledger.link(id)?.as_ref().and_then(lonely) {
        entry.unread[side] = true;
    }
    Ok(entry)
}
