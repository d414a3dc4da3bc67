//! A record that is marked as gone on one side, and lives or has changed on the other.

use super::{Action, DELETES, Does, follow};
use crate::batch::DataType;
use crate::merge::{Decision, Mapped, bare, changed, outgoing, usual, winner};
use crate::model::Model;
use crate::plugin::OperationKind;
use crate::record::{Bond, Deed, Entry, FieldId, Link, Reason};
use crate::sync::Side;
use crate::value::Value;

/// What a merge had made part of another record lives again by itself. Nobody's policy can tell what is meant.
pub(super) fn came_back(model: &Model, side: Side, action: &Action) -> Decision {
    Decision::Dead(Reason {
        code: "conflict".into(),
        message: format!(
            "merged away by a field on the {side}, and brought back on the {}; clear the field, or merge the records there again",
            side.other()
        ),
        fields: vec![model.name(side, action.field).to_owned()],
        target: Some(side.other()),
    })
}

/// Marked as deleted on `side`, and changed or brought back on the other: the policy decides whether it is deleted or the
/// mark is cleared.
pub(super) fn contested(
    model: &Model,
    link: &Link,
    entry: &Entry,
    mapped: &Mapped,
    side: Side,
) -> Decision {
    let other = side.other();
    let mut actions = model.actions.iter();
    let mark = actions.find(|action| action.side == side && action.does == Does::Delete);
    let merged = matches!(&link.bond, Bond::Asleep { into: Some(_), .. });
    let (Some(mark), false) = (mark, merged) else {
        let merges = |action: &&Action| action.side == side && action.does == Does::Merge;
        return match model.actions.iter().find(merges) {
            Some(action) => came_back(model, side, action),
            None => usual(model, link, entry, mapped),
        };
    };
    let unclear = |message: String| {
        Decision::Dead(Reason {
            code: "conflict".into(),
            message,
            fields: vec![model.name(side, mark.field).to_owned()],
            target: Some(other),
        })
    };
    match winner(model.spec.conflict, entry) {
        None => unclear(format!(
            "deleted by its mark on the {side} and changed on the {other}; the sync's policy leaves such conflicts to a person"
        )),
        Some(won) if won == side => Decision::Write(follow(model, link, entry, side, DELETES)),
        Some(_) => match cleared(model, side, mark) {
            Some(clear) => unmark(model, link, entry, mapped, side, (mark.field, clear)),
            None => unclear(format!(
                "changed on the {other} after its mark was set on the {side}, and the mark can't be cleared from there; clear it, or delete the record on the {other}"
            )),
        },
    }
}

/// A mark's value that is none, where the host may write it.
fn cleared(model: &Model, side: Side, mark: &Action) -> Option<Value> {
    let field = model
        .field(side, mark.field)
        .filter(|field| field.updatable)?;
    match field.data_type {
        DataType::Boolean => Some(Value::Boolean(false)),
        _ => field.nullable.then_some(Value::Null),
    }
    .filter(|value| !mark.fits(value))
}

/// The other side's changes, and the mark cleared with them.
fn unmark(
    model: &Model,
    link: &Link,
    entry: &Entry,
    mapped: &Mapped,
    side: Side,
    (mark, clear): (FieldId, Value),
) -> Decision {
    let other = side.other();
    let changed = changed(model, other, link, entry);
    let (writes, held) = match &mapped[other] {
        _ if changed.is_empty() => Default::default(),
        Some(Ok(fields)) => outgoing(model, link, entry, other, &changed, fields),
        Some(Err(reason)) => return Decision::Dead(reason.clone()),
        None => return Decision::Read(other),
    };
    let mut write = bare(link, entry, side, OperationKind::Update, Deed::Fields);
    let print = model.fingerprint(side, mark, &clear);
    write.sent.written.push((mark, print));
    write.values.push((mark, clear));
    for (field, (value, print)) in writes {
        write.sent.written.push((field, print));
        write.values.push((field, value));
    }
    write.sent.written.extend(held);
    write.sent.consumed.extend(changed);
    write.conflicts = 1;
    Decision::Write(write)
}
