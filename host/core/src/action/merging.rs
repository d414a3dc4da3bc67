//! What a record becomes part of: whoever lives at the end of a chain of merges.

use super::Does;
use crate::ledger::{Base, Ledger, LedgerError, SyncId};
use crate::merge::Decision;
use crate::model::Model;
use crate::record::{Bond, Deed, IdRef, Link, Reason};
use crate::reference::ParentKey;
use crate::sync::Side;

/// Merges chained longer than this are a circle.
const CHAIN_MAX: usize = 64;

/// The record that lives on `side` of what `id` has become part of, step by step.
pub fn survivor(
    ledger: &Ledger<'_>,
    side: Side,
    link: &Link,
) -> Result<Option<Box<str>>, LedgerError> {
    let mut link = link.clone();
    for _ in 0..CHAIN_MAX {
        if let Some(id) = link.living(side) {
            return Ok(Some(id.into()));
        }
        let Bond::Asleep {
            into: Some(into), ..
        } = &link.bond
        else {
            return Ok(None);
        };
        let next = match ledger.id(side, into)? {
            Some(IdRef::Link(next)) => ledger.link(next)?,
            // Known only by the merge itself.
            None => return Ok(Some(into.clone())),
            Some(IdRef::Gone { .. }) => None,
        };
        match next {
            Some(next) => link = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// A merge waits until the record that it goes into has its other half, and then goes into that. `freed` when it
/// would wait for ever.
pub fn hold(
    base: &dyn Base,
    model: &Model,
    sync: SyncId,
    decision: Decision,
    freed: bool,
) -> Result<Result<Decision, ParentKey>, LedgerError> {
    let Decision::Write(mut write) = decision else {
        return Ok(Ok(decision));
    };
    let Some(named) = write.into.take() else {
        return Ok(Ok(Decision::Write(write)));
    };
    let side = write.target.other();
    let dead = |message: &str| {
        let fields = model.actions.iter();
        let fields = fields.filter(|action| action.side == side && action.does == Does::Merge);
        Decision::Dead(Reason {
            code: "merge-target-gone".into(),
            message: message.into(),
            fields: fields
                .map(|action| model.name(side, action.field).to_owned())
                .collect(),
            target: Some(write.target),
        })
    };
    let waits = || ParentKey {
        sync,
        side,
        id: named.clone(),
    };
    let ledger = Ledger::new(base, sync);
    let found = match ledger.id(side, &named)? {
        Some(IdRef::Link(id)) => ledger.link(id)?,
        Some(IdRef::Gone { .. }) => {
            return Ok(Ok(dead(
                "the record that this one became part of is deleted; correct the field",
            )));
        }
        None => None,
    };
    let awaited = found
        .as_ref()
        .is_none_or(|link| link.ids[write.target].is_none());
    if awaited && !freed {
        return Ok(Err(waits()));
    }
    let into = match &found {
        Some(link) => survivor(&ledger, write.target, link)?,
        None => None,
    };
    let Some(into) = into.filter(|into| write.id.as_ref() != Some(into)) else {
        return Ok(Ok(dead(
            "the record that this one became part of is deleted on the other side, or part of this one; correct the field",
        )));
    };
    write.sent.deed = Deed::Merge { into: into.clone() };
    write.into = Some(into);
    Ok(Ok(Decision::Write(write)))
}
