//! Fields that ask for more than that their value is carried over: a record that became part of another one, was
//! deleted by a mark and may come back, or is to be converted.
//!
//! What a field asks for is derived from what it holds, like everything that a round does. A record that is marked
//! as gone ends on the other side, and the link sleeps: both ids are kept, so that clearing the mark can bring the other
//! side's record back under its own.
//!
//! - [`contested`]: what is marked as gone here and lives or has changed there
//! - [`merging`]: what a record becomes part of

mod contested;
mod merging;

pub use merging::{hold, survivor};

use std::sync::Arc;

use crate::batch::Cell;
use crate::lanes::Is;
use crate::merge::{Decision, Mapped, Write, bare, changed, usual};
use crate::model::Model;
use crate::plugin::OperationKind;
use crate::record::{Deed, Entry, FieldId, Link, Pending, Reason};
use crate::reference::id_of;
use crate::sync::Side;
use crate::value::Value;

use contested::{came_back, contested};

/// What a field's value has done to the other side's record.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// The field holds, by this side's id, the record of the same sync that this one became part of.
    Merge,
    /// It goes; when the field is cleared, it comes back.
    Delete,
    /// It is converted, whatever that is to its system.
    Convert,
}

impl Does {
    /// What the other side's connector must be able to do.
    pub fn needs(self) -> &'static [OperationKind] {
        match self {
            Self::Merge => &[OperationKind::Merge, OperationKind::Restore],
            Self::Delete => &[OperationKind::Delete, OperationKind::Restore],
            Self::Convert => &[OperationKind::Convert],
        }
    }
}

/// A field of one side, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionSpec {
    pub side: Side,
    pub field: Arc<str>,
    pub does: Does,
    /// What the field must hold; absent for anything but nothing, false and the empty text.
    pub when: Option<Is>,
}

/// The same, by number.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub side: Side,
    pub field: FieldId,
    pub does: Does,
    pub when: Option<Is>,
}

impl Action {
    fn fits(&self, value: &Value) -> bool {
        match &self.when {
            // No test that a config can name looks at the time.
            Some(is) => is.fits(value.cell(), 0),
            None => !matches!(
                value.cell(),
                Cell::Null | Cell::Unset | Cell::Boolean(false) | Cell::Text("")
            ),
        }
    }
}

/// What a row of `side` asks for by a field of this kind.
fn asked<'a>(
    model: &'a Model,
    side: Side,
    does: Does,
    row: &'a [(FieldId, Value)],
) -> Option<(&'a Action, &'a Value)> {
    let mut actions = model.actions.iter();
    let action = actions.find(|action| action.side == side && action.does == does)?;
    let (_, value) = row.iter().find(|(field, _)| *field == action.field)?;
    action.fits(value).then_some((action, value))
}

/// What marks a row's record as gone: a merge goes before a delete.
fn ends<'a>(
    model: &'a Model,
    side: Side,
    row: &'a [(FieldId, Value)],
) -> Option<(&'a Action, &'a Value)> {
    asked(model, side, Does::Merge, row).or_else(|| asked(model, side, Does::Delete, row))
}

/// What both sides' fields ask for; `None` where that is nothing, and the rest decides.
pub(crate) fn decide(
    model: &Model,
    link: &Link,
    entry: &Entry,
    mapped: &Mapped,
) -> Option<Decision> {
    if model.actions.is_empty() {
        return None;
    }
    let asking = |side: &Side| model.actions.iter().any(|action| action.side == *side);
    let mut sides = Side::BOTH.into_iter().filter(asking);
    sides.find_map(|side| decide_from(model, link, entry, mapped, side))
}

/// What the fields of `side` ask for on the other one.
fn decide_from(
    model: &Model,
    link: &Link,
    entry: &Entry,
    mapped: &Mapped,
    side: Side,
) -> Option<Decision> {
    let other = side.other();
    // A record that has lost its other half sleeps for nobody.
    let asleep = link.sleeps(other) && link.ids[side].is_some();
    let back = matches!(entry.pending[other], Some(Pending::Row { .. }));
    let gone = matches!(entry.pending[other], Some(Pending::Gone { .. }));
    let row = match &entry.pending[side] {
        Some(Pending::Row { values, .. }) => values,
        Some(Pending::Gone { .. }) => return (asleep && !back).then_some(Decision::Forget),
        // What it was put to sleep for still stands.
        None if asleep && back => return Some(contested(model, link, entry, mapped, side)),
        // The mark was cleared from the other side, and what became of that is not seen yet.
        None if asleep && is_unmarked(model, link, side) => return Some(Decision::Read(side)),
        None => return asleep.then_some(Decision::Rest(other)),
    };
    if let Some((action, value)) = ends(model, side, row) {
        let rests = match asleep {
            true => !back,
            false => gone || link.ids[other].is_none(),
        };
        return Some(match action.does {
            _ if rests => Decision::Rest(other),
            Does::Merge if asleep => came_back(model, side, action),
            Does::Merge => merge(model, link, entry, side, action, value),
            _ if asleep || !changed(model, other, link, entry).is_empty() => {
                contested(model, link, entry, mapped, side)
            }
            _ => Decision::Write(follow(model, link, entry, side, DELETES)),
        });
    }
    if asleep && !back && link.ids[other].is_some() {
        return Some(Decision::Write(follow(model, link, entry, side, RESTORES)));
    }
    convert(model, link, entry, mapped, side, row)
}

/// Whether both sides last agreed on that nothing marks the record of `side`.
fn is_unmarked(model: &Model, link: &Link, side: Side) -> bool {
    let empty = [Value::Null, Value::Boolean(false), Value::Text("".into())];
    let mut marks = model
        .actions
        .iter()
        .filter(|action| action.side == side && action.does != Does::Convert);
    marks.all(|action| {
        let shadow = link.shadow[side].get(action.field);
        let mut empty = empty.iter().filter(|value| !action.fits(value));
        empty.any(|value| model.fingerprint(side, action.field, value) == shadow)
    })
}

/// The prints of this side's fields that mark a record, as the row that waits holds them.
pub(crate) fn marks_waiting(model: &Model, side: Side, entry: &Entry) -> Vec<(FieldId, u64)> {
    let Some(Pending::Row { values, .. }) = &entry.pending[side] else {
        return Vec::new();
    };
    let marks = |field: &FieldId| {
        let mut actions = model.actions.iter();
        actions.any(|action| {
            action.side == side && action.field == *field && action.does != Does::Convert
        })
    };
    values
        .iter()
        .filter(|(field, _)| marks(field))
        .map(|(field, value)| (*field, model.fingerprint(side, *field, value)))
        .collect()
}

const DELETES: (OperationKind, Deed) = (OperationKind::Delete, Deed::SoftDelete);
const RESTORES: (OperationKind, Deed) = (OperationKind::Restore, Deed::Restore);

/// The other side's record goes or comes back, as what marks this side's says.
fn follow(
    model: &Model,
    link: &Link,
    entry: &Entry,
    side: Side,
    (operation, deed): (OperationKind, Deed),
) -> Write {
    let mut write = bare(link, entry, side.other(), operation, deed);
    write.sent.consumed = marks_waiting(model, side, entry);
    write
}

fn merge(
    model: &Model,
    link: &Link,
    entry: &Entry,
    side: Side,
    action: &Action,
    value: &Value,
) -> Decision {
    let into = id_of(value).unwrap_or_default();
    if into.is_empty() || link.ids[side].as_deref() == Some(&*into) {
        return Decision::Dead(Reason {
            code: "merge-itself".into(),
            message: "the field names no other record that this one could have become part of; correct it on that side"
                .into(),
            fields: vec![model.name(side, action.field).to_owned()],
            target: Some(side.other()),
        });
    }
    let deed = Deed::Merge { into: into.clone() };
    let merges = (OperationKind::Merge, deed);
    let mut write = follow(model, link, entry, side, merges);
    write.into = Some(into);
    Decision::Write(write)
}

/// A record is converted when everything else of it is carried over: afterwards, some systems let nobody change it.
fn convert(
    model: &Model,
    link: &Link,
    entry: &Entry,
    mapped: &Mapped,
    side: Side,
    row: &[(FieldId, Value)],
) -> Option<Decision> {
    let (action, value) = asked(model, side, Does::Convert, row)?;
    let print = model.fingerprint(side, action.field, value);
    if link.shadow[side].get(action.field) == print {
        return None;
    }
    let other = side.other();
    Some(match usual(model, link, entry, mapped) {
        Decision::Write(mut write) if write.target == other => {
            let consumed = &mut write.sent.consumed;
            consumed.retain(|(field, _)| *field != action.field);
            Decision::Write(write)
        }
        Decision::Agree(prints) if link.ids[other].is_some() => {
            let operation = OperationKind::Convert;
            let mut write = bare(link, entry, other, operation, Deed::Convert);
            write.sent.written.clone_from(&prints[other]);
            write.sent.consumed.clone_from(&prints[side]);
            Decision::Write(write)
        }
        first => first,
    })
}

/// The operation that a waiting row comes to for its fields, as it looks before the mapping is asked.
pub fn foreseen(model: &Model, link: &Link, entry: &Entry, side: Side) -> Option<OperationKind> {
    let Some(Pending::Row { values, .. }) = &entry.pending[side] else {
        return None;
    };
    let other = side.other();
    link.ids[other].as_ref()?;
    match ends(model, side, values) {
        Some((action, _)) if !link.sleeps(other) => Some(match action.does {
            Does::Merge => OperationKind::Merge,
            _ => OperationKind::Delete,
        }),
        None if link.sleeps(other) => Some(OperationKind::Restore),
        _ => None,
    }
}

/// Whether a waiting row goes nowhere for what its fields say.
pub fn rests(model: &Model, link: &Link, entry: &Entry, side: Side) -> bool {
    match &entry.pending[side] {
        Some(Pending::Row { values, .. }) => {
            ends(model, side, values).is_some() && link.living(side.other()).is_none()
        }
        _ => false,
    }
}
