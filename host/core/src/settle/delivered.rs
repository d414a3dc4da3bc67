//! Writes that are known to have happened.

use super::identity::{adopt, deleted, outlived};
use super::{Left, agree_wholly, covers, keep, put_to_sleep};
use crate::job::JobRow;
use crate::ledger::{Ledger, LedgerError};
use crate::merge::{Write, answers, is_echo};
use crate::model::Model;
use crate::pace::Lane;
use crate::plugin::Written;
use crate::record::{
    Bounce, Deed, Entry, FieldId, IdRef, Link, LinkId, Pending, Sent, Stamps, fits,
};
use crate::sync::Side;
use crate::value::Value;

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
    pub outcome: &'a Written,
    /// The record as the target holds it, where its answer says so.
    pub after: Option<&'a [(FieldId, Value)]>,
}

/// A write that was answered at once.
pub fn written(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    write: &Write,
    outcome: &Written,
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
    outcome: &Written,
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

/// Where a write tells none, the one before stays: a connector that compares them then asks for a read.
fn take_version(known: &mut Box<str>, outcome: &Written) {
    if !outcome.version.is_empty() {
        *known = outcome.version.as_str().into();
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
    outcome: &Written,
    after: &[(FieldId, Value)],
    now_us: i64,
) -> Option<Pending> {
    let wrote = |field: FieldId| sent.written.iter().any(|(written, _)| *written == field);
    let values: Vec<(FieldId, Value)> = after
        .iter()
        .filter(|(field, _)| wrote(*field))
        .cloned()
        .collect();
    if is_echo(model, sent.target, link, &values) {
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
