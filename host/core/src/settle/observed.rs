//! What a side holds, once it was read.

use super::identity::{adopt, deleted, outlived};
use super::{Left, agree_wholly, bury, covers, keep, put_to_sleep};
use crate::ledger::{Ledger, LedgerError};
use crate::merge::is_echo;
use crate::model::Model;
use crate::record::{
    Bond, Deed, Entry, FieldId, IdRef, Link, LinkId, Pending, Reason, Sent, Stamps, fits,
};
use crate::sync::Side;
use crate::value::Value;

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
                && is_echo(model, side, &link, &values);
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
