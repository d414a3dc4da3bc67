//! Whose a record is: links that take one over, outlive one of theirs, or end.

use super::Left;
use crate::ledger::{Ledger, LedgerError};
use crate::pace::Lane;
use crate::record::{Bond, Entry, IdRef, Link, LinkId, Shadow, Sides};
use crate::sync::Side;

/// The link's record on `side` is `remote` from now on.
pub(super) fn adopt(
    ledger: &mut Ledger<'_>,
    link: &mut Link,
    id: LinkId,
    side: Side,
    remote: &str,
    now_us: i64,
) -> Result<(), LedgerError> {
    if link.ids[side].as_deref() == Some(remote) || remote.is_empty() {
        return Ok(());
    }
    if let Some(IdRef::Link(holder)) = ledger.id(side, remote)?
        && holder != id
    {
        take_over(ledger, holder, link, side)?;
    }
    if let Some(old) = link.ids[side].replace(remote.into()) {
        // A page from before must not bring the old one back.
        ledger.put_id(
            side,
            &old,
            IdRef::Gone {
                at_ms: now_us / 1_000,
            },
        );
    }
    ledger.put_id(side, remote, IdRef::Link(id));
    Ok(())
}

/// Another link holds the record that turns out to be this one's: it gives it up, and ends when it has
/// no other half of its own.
fn take_over(
    ledger: &mut Ledger<'_>,
    holder: LinkId,
    link: &Link,
    side: Side,
) -> Result<(), LedgerError> {
    let Some(mut other) = ledger.link(holder)? else {
        return Ok(());
    };
    let half = side.other();
    other.ids[side] = None;
    if other.ids[half].is_none() || other.ids[half] == link.ids[half] {
        ledger.remove_link(holder);
        ledger.remove_entry(holder);
        ledger.remove_dead(holder);
        ledger.remove_intent(holder);
        return Ok(());
    }
    other.shadow[side] = Shadow::default();
    ledger.put_link(holder, &other);
    let mut entry = ledger
        .entry(holder)?
        .unwrap_or_else(|| Entry::new(Lane::Normal));
    entry.pending[side] = None;
    entry.unread[half] = true;
    entry.generation = entry.generation.wrapping_add(1);
    ledger.put_entry(holder, &entry);
    ledger.wake(holder);
    Ok(())
}

/// The record on `side` was deleted, and the other side's, which came meanwhile, goes there as a new one.
pub(super) fn outlived(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    mut link: Link,
    mut entry: Entry,
    side: Side,
    at_ms: i64,
) -> Left {
    if let Some(remote) = link.ids[side].take() {
        ledger.put_id(side, &remote, IdRef::Gone { at_ms });
    }
    link.shadow = Sides::default();
    link.bond = Bond::Live;
    ledger.put_link(id, &link);
    entry.pending[side] = None;
    entry.unread[side] = false;
    ledger.put_entry(id, &entry);
    Left::Again
}

/// Both records are gone, or what is left of them is nobody's.
pub(super) fn deleted(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    link: &Link,
    now_us: i64,
) -> Result<Left, LedgerError> {
    for side in Side::BOTH {
        if let Some(remote) = &link.ids[side] {
            ledger.put_id(
                side,
                remote,
                IdRef::Gone {
                    at_ms: now_us / 1_000,
                },
            );
        }
    }
    ledger.remove_link(id);
    ledger.remove_entry(id);
    ledger.remove_dead(id);
    ledger.remove_intent(id);
    Ok(Left::Nothing)
}
