//! From what became of a record to what is remembered: shadow, links, queue and intent in one step
//! (invariants 3 and 4).
//!
//! - [`delivered`]: writes that are known to have happened
//! - [`observed`]: what a side holds, once it was read
//! - [`identity`]: whose a record is
//!
//! Everything else that may become of a record stands here.

mod delivered;
mod identity;
mod observed;

pub use delivered::{Delivery, delivered, job_written, written};
pub use observed::{Found, observed};

use crate::capture::Numbers;
use crate::ledger::{Ledger, LedgerError};
use crate::merge::is_echo;
use crate::model::Model;
use crate::record::{
    Bond, DeadLetter, Deed, Entry, FieldId, IdRef, Link, LinkId, Pending, Reason, Sent, Sides,
};
use crate::sync::Side;

use identity::deleted;

/// What is left to do for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing; the queue forgets it.
    Nothing,
    /// Something waits, at once.
    Again,
    /// A person.
    Dead,
}

/// The target's record is no more, since the source's says so.
fn put_to_sleep(link: &mut Link, sent: &Sent) {
    let into = match &sent.deed {
        Deed::Merge { into } => Some(into.clone()),
        _ => None,
    };
    link.agree_on(sent);
    link.bond = Bond::Asleep {
        side: sent.target,
        into,
    };
}

/// A field says that the record on `side` is no more, and it is not.
pub fn rest(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    side: Side,
    generation: u32,
) -> Result<Left, LedgerError> {
    let (Some(mut link), Some(entry)) = (ledger.link(id)?, ledger.entry(id)?) else {
        return Ok(Left::Nothing);
    };
    if entry.generation != generation {
        return keep(ledger, id, &entry);
    }
    let other = side.other();
    for (field, print) in crate::action::marks_waiting(model, other, &entry) {
        link.shadow[other].set(field, print);
    }
    if !link.sleeps(side) {
        link.bond = Bond::Asleep { side, into: None };
    }
    ledger.put_link(id, &link);
    ledger.remove_entry(id);
    Ok(Left::Nothing)
}

/// Its system can't bring the record back. Either it lives, or there is none any more; both are seen by reading.
pub fn unrestorable(ledger: &mut Ledger<'_>, id: LinkId, side: Side) -> Result<Left, LedgerError> {
    if let Some(mut link) = ledger.link(id)?
        && link.sleeps(side)
    {
        link.bond = Bond::Lost { side };
        ledger.put_link(id, &link);
    }
    read_first(ledger, id, side)
}

/// What waits from a side is agreed on, and its version is what is known of the side.
fn agree_wholly(link: &mut Link, entry: &mut Entry, side: Side) {
    if let Some(Pending::Row { version, .. }) = entry.pending[side].take() {
        link.shadow[side].version = version;
    }
}

/// The record's state on `side` is now wholly agreed on.
fn covers(link: &Link, model: &Model, entry: &Entry, side: Side) -> bool {
    match &entry.pending[side] {
        // That it lives at all is news of a record that sleeps.
        Some(Pending::Row { values, .. }) => {
            !link.sleeps(side) && is_echo(model, side, link, values)
        }
        Some(Pending::Gone { .. }) => false,
        None => true,
    }
}

fn keep(ledger: &mut Ledger<'_>, id: LinkId, entry: &Entry) -> Result<Left, LedgerError> {
    if entry.is_idle() {
        ledger.remove_entry(id);
        return Ok(Left::Nothing);
    }
    ledger.put_entry(id, entry);
    Ok(Left::Again)
}

pub fn forget(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    generation: u32,
    now_us: i64,
) -> Result<Left, LedgerError> {
    match (ledger.link(id)?, ledger.entry(id)?) {
        (Some(_), Some(entry)) if entry.generation != generation => keep(ledger, id, &entry),
        (Some(link), _) => deleted(ledger, id, &link, now_us),
        (None, _) => Ok(Left::Nothing),
    }
}

/// One side is gone and the other stays as it is, for good.
pub fn detach(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    side: Side,
    now_us: i64,
) -> Result<Left, LedgerError> {
    let Some(mut link) = ledger.link(id)? else {
        return Ok(Left::Nothing);
    };
    if let Some(remote) = link.ids[side].take() {
        ledger.put_id(
            side,
            &remote,
            IdRef::Gone {
                at_ms: now_us / 1_000,
            },
        );
    }
    link.bond = Bond::Detached;
    ledger.put_link(id, &link);
    ledger.remove_entry(id);
    Ok(Left::Nothing)
}

/// Nothing had to be written: both sides agree.
pub fn agreed(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    generation: u32,
    prints: &Sides<Vec<(FieldId, u64)>>,
) -> Result<Left, LedgerError> {
    let Some(mut link) = ledger.link(id)? else {
        return Ok(Left::Nothing);
    };
    let Some(mut entry) = ledger.entry(id)? else {
        return Ok(Left::Nothing);
    };
    link.wake();
    for side in Side::BOTH {
        for (field, print) in &prints[side] {
            link.shadow[side].set(*field, *print);
        }
        if entry.generation == generation && covers(&link, model, &entry, side) {
            agree_wholly(&mut link, &mut entry, side);
        }
    }
    ledger.put_link(id, &link);
    if link.bond == Bond::Detached {
        entry.pending = Sides::default();
    }
    keep(ledger, id, &entry)
}

/// A write may or may not have happened: the target is read before anything else (invariant 6).
pub fn unknown(ledger: &mut Ledger<'_>, id: LinkId, sent: Sent) -> Result<Left, LedgerError> {
    ledger.remove_intent(id);
    let Some(mut entry) = ledger.entry(id)? else {
        return Ok(Left::Nothing);
    };
    entry.unread[sent.target] = true;
    entry.sent = Some(sent);
    entry.attempts += 1;
    keep(ledger, id, &entry)
}

/// A write whose outcome stays unknown however often it is tried: to the dead letters, unless something newer came
/// in meanwhile. Whoever tries it again still reads first (invariant 6).
pub fn given_up(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    generation: u32,
    sent: Sent,
    reason: Reason,
    now_us: i64,
) -> Result<Left, LedgerError> {
    let left = unknown(ledger, id, sent)?;
    match ledger.entry(id)? {
        Some(entry) if entry.generation == generation => {
            Ok(bury(ledger, id, entry, reason, now_us))
        }
        _ => Ok(left),
    }
}

/// The target must be read: what was refused says that its state is not what we think.
pub fn read_first(ledger: &mut Ledger<'_>, id: LinkId, side: Side) -> Result<Left, LedgerError> {
    ledger.remove_intent(id);
    let Some(mut entry) = ledger.entry(id)? else {
        return Ok(Left::Nothing);
    };
    entry.unread[side] = true;
    entry.attempts += 1;
    keep(ledger, id, &entry)
}

/// Refused for now, or never sent: it waits on. `counts` when the record itself is to blame.
pub fn postponed(ledger: &mut Ledger<'_>, id: LinkId, counts: bool) -> Result<Left, LedgerError> {
    ledger.remove_intent(id);
    let Some(mut entry) = ledger.entry(id)? else {
        return Ok(Left::Nothing);
    };
    if counts {
        entry.attempts += 1;
        ledger.put_entry(id, &entry);
    }
    Ok(Left::Again)
}

/// To the dead letters, unless something newer came in meanwhile.
pub fn buried(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    generation: u32,
    reason: Reason,
    now_us: i64,
) -> Result<Left, LedgerError> {
    ledger.remove_intent(id);
    let Some(entry) = ledger.entry(id)? else {
        return Ok(Left::Nothing);
    };
    if entry.generation != generation {
        return Ok(Left::Again);
    }
    Ok(bury(ledger, id, entry, reason, now_us))
}

/// Whatever waits of the record waits for a person from now on.
pub(crate) fn bury(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    entry: Entry,
    reason: Reason,
    now_us: i64,
) -> Left {
    ledger.remove_entry(id);
    ledger.put_dead(
        id,
        &DeadLetter {
            reason: reason.bounded(),
            at_ms: now_us / 1_000,
            entry,
        },
    );
    Left::Dead
}

/// What was under way when the host died: every intent is a write of unknown outcome.
pub fn recover(ledger: &mut Ledger<'_>, id: LinkId) -> Result<Left, LedgerError> {
    match ledger.intent(id)? {
        Some(sent) => unknown(ledger, id, sent),
        None => Ok(Left::Again),
    }
}

/// Puts a dead letter back into the queue, as if it were captured now.
pub fn revived(ledger: &mut Ledger<'_>, id: LinkId) -> Result<Left, LedgerError> {
    let Some(letter) = ledger.dead(id)? else {
        return Ok(Left::Nothing);
    };
    ledger.remove_dead(id);
    let mut entry = letter.entry;
    if letter.reason.code == Reason::CREATE_UNKNOWN
        && let Some(target) = letter.reason.target
    {
        // Nothing can be read there; the person has looked in our stead.
        entry.unread[target] = false;
        entry.sent = None;
    }
    entry.attempts = 0;
    entry.generation = entry.generation.wrapping_add(1);
    keep(ledger, id, &entry)
}

/// Numbers for new links, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub u64);

impl Numbers for Counter {
    fn next(&mut self) -> LinkId {
        self.0 += 1;
        LinkId(self.0)
    }
}
