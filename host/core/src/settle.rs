//! From what became of a record to what is remembered: shadow, links, queue and intent in one step
//! (invariants 3 and 4).

use crate::capture::Numbers;
use crate::job::JobRow;
use crate::ledger::{Ledger, LedgerError};
use crate::merge::{Write, answers};
use crate::model::Model;
use crate::pace::Lane;
use crate::record::{
    Bond, Bounce, DeadLetter, Deed, Entry, FieldId, IdRef, Link, LinkId, Pending, Reason, Sent,
    Sides, Stamps, fits,
};
use crate::sync::Side;
use crate::value::Value;

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

/// A write that is known to have happened.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub sent: &'a Sent,
    /// What was written, where it is still known.
    pub values: Option<&'a [(FieldId, Value)]>,
    /// The write was to make the record.
    pub create: bool,
    /// Of the entry, when the write was decided on.
    pub generation: u32,
    pub outcome: &'a crate::plugin::Written,
    /// The record as the target holds it, where its answer says so.
    pub after: Option<&'a [(FieldId, Value)]>,
}

/// A write that was answered at once.
pub fn written(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    write: &Write,
    outcome: &crate::plugin::Written,
    after: Option<&[(FieldId, Value)]>,
    now_us: i64,
) -> Result<Left, LedgerError> {
    let delivery = Delivery {
        sent: &write.sent,
        values: Some(&write.values),
        create: write.id.is_none(),
        generation: write.generation,
        outcome,
        after,
    };
    delivered(ledger, model, id, &delivery, now_us)
}

/// What a job has written, of which only the intent is known any more.
pub fn job_written(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    row: JobRow,
    outcome: &crate::plugin::Written,
    after: Option<&[(FieldId, Value)]>,
    now_us: i64,
) -> Result<Left, LedgerError> {
    let Some(sent) = ledger.intent(id)? else {
        return Ok(Left::Nothing);
    };
    let delivery = Delivery {
        sent: &sent,
        values: None,
        create: row.create,
        generation: row.generation,
        outcome,
        after,
    };
    delivered(ledger, model, id, &delivery, now_us)
}

pub fn delivered(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    delivery: &Delivery<'_>,
    now_us: i64,
) -> Result<Left, LedgerError> {
    ledger.remove_intent(id);
    let Some(mut link) = ledger.link(id)? else {
        return Ok(Left::Nothing);
    };
    let Delivery {
        sent,
        outcome,
        after,
        ..
    } = *delivery;
    let target = sent.target;
    let source = target.other();
    match &sent.deed {
        Deed::Delete => {
            return match ledger.entry(id)? {
                Some(entry) if lives_again(&entry, source, delivery.generation) => {
                    let at_ms = now_us / 1_000;
                    Ok(outlived(ledger, id, link, entry, target, at_ms))
                }
                // Seen alive meanwhile, which may have been before or after.
                Some(entry) if entry.unread[target] => {
                    let at_ms = now_us / 1_000;
                    Ok(outlived(ledger, id, link, entry, source, at_ms))
                }
                _ => deleted(ledger, id, &link, now_us),
            };
        }
        Deed::SoftDelete | Deed::Merge { .. } => {
            put_to_sleep(&mut link, sent);
            ledger.put_link(id, &link);
            return rested(ledger, id, target, delivery.generation);
        }
        Deed::Restore => return restored(ledger, id, link, sent),
        Deed::Fields | Deed::Convert => {}
    }
    // Its mark was cleared from the other side; another one may be set, and is seen by reading.
    let unmarked = link.sleeps(source) && !delivery.create;
    if !unmarked {
        link.wake();
    }
    count_bounce(model, &mut link, delivery, now_us);
    let gone = matches!(ledger.id(target, &outcome.id)?, Some(IdRef::Gone { .. }));
    adopt(ledger, &mut link, id, target, &outcome.id, now_us)?;
    link.agree_on(sent);
    take_version(&mut link.shadow[target].version, outcome);
    let mut entry = match ledger.entry(id)? {
        Some(entry) => entry,
        None if gone => Entry::new(Lane::Normal),
        None => {
            ledger.put_link(id, &link);
            return Ok(Left::Nothing);
        }
    };
    // Somebody has deleted it before its answer came.
    entry.unread[target] |= gone || unmarked;
    entry.attempts = 0;
    if matches!(entry.pending[target], Some(Pending::Gone { .. })) && delivery.create {
        // Born again: the delete that the change won over is done with. One that came since may be of the new record.
        entry.pending[target] = None;
        entry.unread[target] |= entry.generation != delivery.generation;
    }
    overwrite(&mut entry, delivery);
    if entry.generation == delivery.generation && covers(&link, model, &entry, source) {
        agree_wholly(&mut link, &mut entry, source);
    }
    ledger.put_link(id, &link);
    if after.is_some_and(|after| !fits(after)) {
        entry.unread[target] = true;
    } else if entry.pending[target].is_none() {
        entry.pending[target] =
            after.and_then(|after| normalised(model, &link, sent, outcome, after, now_us));
    }
    keep(ledger, id, &entry)
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

/// What waited when that was decided has come to nothing; what has come in since is looked at again.
fn rested(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    side: Side,
    generation: u32,
) -> Result<Left, LedgerError> {
    let Some(mut entry) = ledger.entry(id)? else {
        return Ok(Left::Nothing);
    };
    entry.attempts = 0;
    if entry.generation == generation {
        ledger.remove_entry(id);
        return Ok(Left::Nothing);
    }
    // A state that was seen meanwhile may be the one from before.
    entry.unread[side] |= matches!(entry.pending[side], Some(Pending::Row { .. }));
    entry.pending[side] = None;
    keep(ledger, id, &entry)
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

/// The target's record is back, as it was or not: it is read, and what waits goes there as ever.
fn restored(
    ledger: &mut Ledger<'_>,
    id: LinkId,
    mut link: Link,
    sent: &Sent,
) -> Result<Left, LedgerError> {
    link.agree_on(sent);
    link.wake();
    ledger.put_link(id, &link);
    let mut entry = ledger
        .entry(id)?
        .unwrap_or_else(|| Entry::new(Lane::Normal));
    entry.attempts = 0;
    entry.pending[sent.target] = None;
    entry.unread[sent.target] = true;
    keep(ledger, id, &entry)
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

/// Where a write tells none, the one before stays: a connector that compares them then asks for a read.
fn take_version(known: &mut Box<str>, outcome: &crate::plugin::Written) {
    if !outcome.version.is_empty() {
        *known = outcome.version.as_str().into();
    }
}

/// What waits from a side is agreed on, and its version is what is known of the side.
fn agree_wholly(link: &mut Link, entry: &mut Entry, side: Side) {
    if let Some(Pending::Row { version, .. }) = entry.pending[side].take() {
        link.shadow[side].version = version;
    }
}

/// A change of the target's own that waits was seen before this write: the fields written are ours now.
/// A suspect one may have been seen after it, and is read again anyway.
fn overwrite(entry: &mut Entry, delivery: &Delivery<'_>) {
    if let Some(Pending::Row {
        values,
        version,
        suspect,
        ..
    }) = &mut entry.pending[delivery.sent.target]
        && !*suspect
    {
        take_version(version, delivery.outcome);
        let Some(wrote) = delivery.values else {
            *suspect = true;
            return;
        };
        for (field, value) in values {
            if let Some((_, written)) = wrote.iter().find(|(written, _)| written == field) {
                value.clone_from(written);
            }
        }
    }
}

/// What the target made of the written fields, where that differs: a change like any other, which goes back
/// to the source so that both sides hold the same.
fn normalised(
    model: &Model,
    link: &Link,
    sent: &Sent,
    outcome: &crate::plugin::Written,
    after: &[(FieldId, Value)],
    now_us: i64,
) -> Option<Pending> {
    let wrote = |field: FieldId| sent.written.iter().any(|(written, _)| *written == field);
    let values: Vec<(FieldId, Value)> = after
        .iter()
        .filter(|(field, _)| wrote(*field))
        .cloned()
        .collect();
    if crate::merge::is_echo(model, sent.target, link, &values) {
        return None;
    }
    Some(Pending::Row {
        values,
        version: outcome.version.as_str().into(),
        stamps: Stamps {
            committed_us: None,
            seen_us: now_us,
        },
        suspect: false,
    })
}

/// The record's state on `side` is now wholly agreed on.
fn covers(link: &Link, model: &Model, entry: &Entry, side: Side) -> bool {
    match &entry.pending[side] {
        // That it lives at all is news of a record that sleeps.
        Some(Pending::Row { values, .. }) => {
            !link.sleeps(side) && crate::merge::is_echo(model, side, link, values)
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

/// The link's record on `side` is `remote` from now on.
fn adopt(
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
    other.shadow[side] = crate::record::Shadow::default();
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

fn count_bounce(model: &Model, link: &mut Link, delivery: &Delivery<'_>, now_us: i64) {
    let sent = delivery.sent;
    if sent.deed != Deed::Fields {
        return;
    }
    let fields: Vec<FieldId> = match delivery.values {
        Some(values) => values.iter().map(|(field, _)| *field).collect(),
        None => sent.written.iter().map(|(field, _)| *field).collect(),
    };
    let count = match &link.bounce {
        Some(bounce) if answers(model, link, sent.target, &fields, now_us) => {
            bounce.count.saturating_add(1)
        }
        _ => 0,
    };
    link.bounce = Some(Box::new(Bounce {
        target: sent.target,
        fields,
        count,
        at_s: now_us.div_euclid(1_000_000),
    }));
}

/// While the other side's record was deleted, `side` has come to hold one after all.
fn lives_again(entry: &Entry, side: Side, generation: u32) -> bool {
    entry.generation != generation && matches!(entry.pending[side], Some(Pending::Row { .. }))
}

/// The record on `side` was deleted, and the other side's, which came meanwhile, goes there as a new one.
fn outlived(
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
pub fn deleted(
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

fn bury(ledger: &mut Ledger<'_>, id: LinkId, entry: Entry, reason: Reason, now_us: i64) -> Left {
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

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Row {
        id: Box<str>,
        version: Box<str>,
        /// Microseconds since 1970 by the source's clock, where it tells.
        committed_us: Option<i64>,
        values: Vec<(FieldId, Value)>,
    },
    Gone,
}

/// A side was read. What an unknown write meant to do is settled by what is there now.
pub fn observed(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    side: Side,
    found: Found,
    now_us: i64,
) -> Result<Left, LedgerError> {
    let (Some(mut link), Some(mut entry)) = (ledger.link(id)?, ledger.entry(id)?) else {
        return Ok(Left::Nothing);
    };
    if let Found::Row { values, .. } = &found
        && !fits(values)
    {
        entry.pending[side] = None;
        entry.unread[side] = true;
        return Ok(bury(ledger, id, entry, Reason::row_too_large(side), now_us));
    }
    entry.unread[side] = false;
    entry.generation = entry.generation.wrapping_add(1);
    let stamps = Stamps {
        committed_us: None,
        seen_us: now_us,
    };
    match found {
        Found::Row {
            id: remote,
            version,
            committed_us,
            values,
        } => {
            let stamps = Stamps {
                committed_us,
                seen_us: now_us,
            };
            let born = link.ids[side].is_none();
            adopt(ledger, &mut link, id, side, &remote, now_us)?;
            settle_sent(model, &mut link, &mut entry, side, &values);
            // A create that was never answered was of what had come back on the other side.
            if born || matches!(link.bond, Bond::Lost { .. }) {
                link.wake();
            }
            let agreed = link.ids[side.other()].is_some()
                && !Side::BOTH.iter().any(|side| link.sleeps(*side))
                && crate::merge::is_echo(model, side, &link, &values);
            entry.pending[side] = if agreed {
                link.shadow[side].version = version;
                None
            } else {
                Some(Pending::Row {
                    values,
                    version,
                    stamps,
                    suspect: false,
                })
            };
        }
        // Its other half has gone to another link meanwhile.
        Found::Gone
            if link.ids[side.other()].is_none()
                && (link.sleeps(side)
                    || entry.sent.as_ref().is_some_and(|sent| ends(sent, side))) =>
        {
            return deleted(ledger, id, &link, now_us);
        }
        Found::Gone if let Some(sent) = entry.sent.take_if(|sent| ends(sent, side)) => {
            put_to_sleep(&mut link, &sent);
            entry.pending[side] = None;
        }
        Found::Gone if link.bond == (Bond::Lost { side }) => {
            entry.sent = None;
            entry.unread[side.other()] |= entry.pending[side.other()].is_none();
            let at_ms = now_us / 1_000;
            return Ok(outlived(ledger, id, link, entry, side, at_ms));
        }
        // As was known.
        Found::Gone if link.sleeps(side) => {
            entry.pending[side] = None;
            entry.sent = entry.sent.filter(|sent| sent.target != side);
        }
        Found::Gone if link.ids[side].is_some() && link.shadow[side].is_empty() => {
            // Only a key said that there was such a record, and it was wrong.
            if let Some(remote) = link.ids[side].take() {
                ledger.put_id(
                    side,
                    &remote,
                    IdRef::Gone {
                        at_ms: now_us / 1_000,
                    },
                );
            }
            entry.pending[side] = None;
            entry.sent = entry.sent.filter(|sent| sent.target != side);
        }
        Found::Gone if link.ids[side].is_some() => {
            // A delete that waits already keeps its time.
            if !matches!(entry.pending[side], Some(Pending::Gone { .. })) {
                entry.pending[side] = Some(Pending::Gone { stamps });
            }
            entry.sent = entry.sent.filter(|sent| sent.target != side);
        }
        // Asked for by its key, and not there: the create did not happen.
        Found::Gone => {
            entry.pending[side] = None;
            entry.sent = entry.sent.filter(|sent| sent.target != side);
        }
    }
    let other = side.other();
    if link.ids[side].is_some()
        && entry.pending[other].is_some()
        && covers(&link, model, &entry, other)
    {
        agree_wholly(&mut link, &mut entry, other);
    }
    ledger.put_link(id, &link);
    if link.ids.left.is_none() && link.ids.right.is_none() {
        return deleted(ledger, id, &link, now_us);
    }
    keep(ledger, id, &entry)
}

/// A write of unknown outcome that was to end the record and leave the other side's.
fn ends(sent: &Sent, side: Side) -> bool {
    sent.target == side && matches!(sent.deed, Deed::SoftDelete | Deed::Merge { .. })
}

/// Our own write of unknown outcome: what is found as it was sent counts as settled, field by field,
/// since somebody may have changed another field after it.
fn settle_sent(
    model: &Model,
    link: &mut Link,
    entry: &mut Entry,
    side: Side,
    values: &[(FieldId, Value)],
) {
    let Some(sent) = entry.sent.take_if(|sent| sent.target == side) else {
        return;
    };
    match sent.deed {
        // It was written since nothing puts it to sleep any more.
        Deed::Fields if link.sleeps(side) => link.wake(),
        Deed::Fields => {}
        Deed::Restore => {
            link.agree_on(&sent);
            link.wake();
            return;
        }
        // It did not happen, or may happen once more without harm.
        Deed::Delete | Deed::SoftDelete | Deed::Merge { .. } | Deed::Convert => return,
    }
    let source = side.other();
    let found = |field: &FieldId, print: &u64| {
        values.iter().any(|(known, value)| {
            known == field && model.fingerprint(side, *field, value) == *print
        })
    };
    let (written, missing): (Vec<_>, Vec<_>) = sent
        .written
        .into_iter()
        .partition(|(field, print)| found(field, print));
    let consumed = sent.consumed.into_iter().filter(|(field, _)| {
        model
            .fed_by(source, *field)
            .all(|output| missing.iter().all(|(field, _)| *field != output))
    });
    let done = Sent {
        target: side,
        deed: Deed::Fields,
        consumed: consumed.collect(),
        written,
    };
    if !done.written.is_empty() {
        link.agree_on(&done);
    }
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
