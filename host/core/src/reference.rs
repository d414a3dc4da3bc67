//! Fields that name other records: each side's id of a parent for the other side's.
//!
//! A mapping can't know ids, so these fields are carried by the host. A child is not made before its parent is there
//! on the target. Where records wait for each other in a circle, one of them is made without the field, and gets it
//! afterwards.

use std::collections::{HashMap, HashSet};

use crate::batch::{Cell, DataType};
use crate::ledger::{Base, Ledger, LedgerError, SyncId};
use crate::merge::{Decision, Fields, Write};
use crate::model::Model;
use crate::plugin::Field;
use crate::record::{Entry, FieldId, IdRef, LinkId, Pending, Sides};
use crate::sync::{ReferenceSpec, Side, SyncSpec};
use crate::value::Value;

/// A record by the id that a side knows it under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParentKey {
    pub sync: SyncId,
    pub side: Side,
    pub id: Box<str>,
}

/// A reference of a model, with the sync whose records it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub fields: Sides<FieldId>,
    pub sync: SyncId,
}

/// Why a reference can't be carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("reference {left} - {right}: no sync is called {parent}")]
    NoSync {
        left: String,
        right: String,
        parent: String,
    },
    #[error(
        "reference {left} - {right}: sync {parent} keeps other endpoints in step, and so knows none of these ids"
    )]
    OtherEndpoints {
        left: String,
        right: String,
        parent: String,
    },
    #[error(
        "reference {left} - {right}: no sync keeps the objects in step that these fields refer to; name it as `sync`"
    )]
    NotFound { left: String, right: String },
    #[error(
        "reference {left} - {right}: several syncs keep the objects in step that these fields refer to: {syncs}; name one as `sync`"
    )]
    Ambiguous {
        left: String,
        right: String,
        syncs: String,
    },
}

/// The sync whose records a reference names: the one it says, or the one whose objects both fields refer to.
pub fn parent_of<'a>(
    reference: &ReferenceSpec,
    spec: &SyncSpec,
    all: &'a [&SyncSpec],
    schemas: &Sides<Vec<Field>>,
) -> Result<&'a SyncSpec, ReferenceError> {
    let (left, right) = (reference.left.to_string(), reference.right.to_string());
    let same_ends = |other: &SyncSpec| {
        let mut sides = Side::BOTH.into_iter();
        sides.all(|side| other.side(side).endpoint == spec.side(side).endpoint)
    };
    if let Some(named) = &reference.parent {
        let parent = named.to_string();
        return match all.iter().find(|other| other.name == *named) {
            None => Err(ReferenceError::NoSync {
                left,
                right,
                parent,
            }),
            Some(found) if !same_ends(found) => Err(ReferenceError::OtherEndpoints {
                left,
                right,
                parent,
            }),
            Some(found) => Ok(found),
        };
    }
    let refers = |side: Side, name: &str, other: &SyncSpec| {
        let field = schemas[side].iter().find(|field| field.name == name);
        field.is_some_and(|field| {
            let object = &other.side(side).object;
            field.references.iter().any(|named| **named == **object)
        })
    };
    let found: Vec<&SyncSpec> = all
        .iter()
        .copied()
        .filter(|other| {
            same_ends(other)
                && refers(Side::Left, &left, other)
                && refers(Side::Right, &right, other)
        })
        .collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(ReferenceError::NotFound { left, right }),
        several => Err(ReferenceError::Ambiguous {
            left,
            right,
            syncs: several
                .iter()
                .map(|other| &*other.name)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// What a row's references are for the other side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carried {
    pub values: Fields,
    /// Fields that can't be carried yet, the source's and the target's, and the first parent that is missing.
    pub left_out: Vec<(FieldId, FieldId)>,
    pub waits_for: Option<ParentKey>,
}

/// Translates the references that wait from `source`.
pub fn carry(
    base: &dyn Base,
    model: &Model,
    parents: &[Parent],
    source: Side,
    entry: &Entry,
) -> Result<Carried, LedgerError> {
    let mut carried = Carried::default();
    let Some(Pending::Row { values, .. }) = &entry.pending[source] else {
        return Ok(carried);
    };
    let target = source.other();
    for parent in parents {
        let field = parent.fields[source];
        let Some((_, value)) = values.iter().find(|(known, _)| *known == field) else {
            continue;
        };
        let output = parent.fields[target];
        let Some(id) = id_of(value) else {
            carried.values.push((output, Value::Null));
            continue;
        };
        let ledger = Ledger::new(base, parent.sync);
        let remote = match ledger.id(source, &id)? {
            Some(IdRef::Link(link)) => match ledger.link(link)? {
                // A parent that became part of another one has left its children to that one.
                Some(link) => crate::action::survivor(&ledger, target, &link)?,
                None => None,
            },
            _ => None,
        };
        match remote {
            Some(remote) => carried
                .values
                .push((output, as_value(model, target, output, &remote))),
            None => {
                carried.left_out.push((field, output));
                carried.waits_for.get_or_insert(ParentKey {
                    sync: parent.sync,
                    side: source,
                    id,
                });
            }
        }
    }
    Ok(carried)
}

/// The id that a field's value names; `None` for none.
pub(crate) fn id_of(value: &Value) -> Option<Box<str>> {
    match value.cell() {
        Cell::Text(text) | Cell::Decimal(text) if !text.is_empty() => Some(text.into()),
        Cell::Integer(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// Ids are text, and a numbered key's is a number; the field says which of them it holds.
fn as_value(model: &Model, side: Side, field: FieldId, id: &str) -> Value {
    let data_type = model.field(side, field).map(|field| field.data_type);
    match (data_type, id.parse()) {
        (Some(DataType::Integer), Ok(number)) => Value::Integer(number),
        (Some(DataType::Decimal), _) => Value::Decimal(id.into()),
        _ => Value::Text(id.into()),
    }
}

/// What becomes of a decision when references can't be carried yet: it goes without them, or waits for the parent.
/// `freed` when waiting would be for ever.
pub fn hold(
    model: &Model,
    decision: Decision,
    carried: &Sides<Carried>,
    freed: bool,
) -> Result<Decision, ParentKey> {
    match decision {
        Decision::Write(mut write) => {
            let carried = &carried[write.target.other()];
            match &carried.waits_for {
                Some(parent) if write.id.is_none() && !freed => return Err(parent.clone()),
                Some(_) => leave_out(model, &mut write, carried),
                None => {}
            }
            Ok(Decision::Write(write))
        }
        Decision::Agree(prints) => {
            let mut sides = Side::BOTH.into_iter();
            match sides.find_map(|side| carried[side].waits_for.clone()) {
                Some(parent) => Err(parent),
                None => Ok(Decision::Agree(prints)),
            }
        }
        other => Ok(other),
    }
}

/// The source's fields stay changed, so that the record comes back for them. A new record has them empty, and that
/// must not look like somebody's change.
fn leave_out(model: &Model, write: &mut Write, carried: &Carried) {
    for (field, output) in &carried.left_out {
        write
            .sent
            .consumed
            .retain(|(consumed, _)| consumed != field);
        if write.id.is_none() {
            let print = model.fingerprint(write.target, *output, &Value::Null);
            write.sent.written.push((*output, print));
            write.values.push((*output, Value::Null));
        }
    }
}

/// A record that waits.
pub type Child = (SyncId, LinkId);

/// Who waits for whom.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    by_parent: HashMap<ParentKey, HashSet<Child>>,
    of_child: HashMap<Child, (ParentKey, Option<LinkId>)>,
}

impl Waits {
    /// A child waits from now on. False when it would wait for ever, since its parent waits for it.
    pub fn place(&mut self, child: Child, parent: ParentKey, link: Option<LinkId>) -> bool {
        self.end(child);
        let mut next = link.map(|link| (parent.sync, link));
        // A chain is as long as there are records that wait.
        for _ in 0..=self.of_child.len() {
            match next {
                Some(ancestor) if ancestor == child => return false,
                Some(ancestor) => {
                    let above = self.of_child.get(&ancestor);
                    next = above.and_then(|(key, link)| Some((key.sync, (*link)?)));
                }
                None => break,
            }
        }
        self.by_parent
            .entry(parent.clone())
            .or_default()
            .insert(child);
        self.of_child.insert(child, (parent, link));
        true
    }

    /// The child is worked on anew.
    pub fn end(&mut self, child: Child) {
        let Some((parent, _)) = self.of_child.remove(&child) else {
            return;
        };
        if let Some(children) = self.by_parent.get_mut(&parent) {
            children.remove(&child);
            if children.is_empty() {
                self.by_parent.remove(&parent);
            }
        }
    }

    /// A record is on both sides now: those that waited for it, in order.
    pub fn born(&mut self, parent: &ParentKey) -> Vec<Child> {
        let children = self.by_parent.remove(parent).unwrap_or_default();
        let mut children: Vec<Child> = children.into_iter().collect();
        children.sort_unstable_by_key(|(sync, link)| (sync.0, link.0));
        for child in &children {
            self.of_child.remove(child);
        }
        children
    }

    pub fn is_empty(&self) -> bool {
        self.of_child.is_empty()
    }

    /// Records of a sync that wait.
    pub fn of(&self, sync: SyncId) -> usize {
        self.of_child.keys().filter(|(of, _)| *of == sync).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEOPLE: SyncId = SyncId(1);

    fn key(id: &str) -> ParentKey {
        ParentKey {
            sync: PEOPLE,
            side: Side::Left,
            id: id.into(),
        }
    }

    fn child(link: u64) -> Child {
        (PEOPLE, LinkId(link))
    }

    #[test]
    fn children_are_found_when_their_parent_is_born() {
        let mut waits = Waits::default();
        assert!(waits.place(child(3), key("a"), Some(LinkId(1))));
        assert!(waits.place(child(2), key("a"), Some(LinkId(1))));
        assert!(waits.place(child(4), key("b"), None));
        waits.end(child(4));
        assert_eq!(waits.born(&key("b")), []);
        assert_eq!(waits.of(PEOPLE), 2);
        assert_eq!(waits.born(&key("a")), [child(2), child(3)]);
        assert!(waits.is_empty());
    }

    #[test]
    fn whoever_would_close_a_circle_does_not_wait() {
        let mut waits = Waits::default();
        assert!(!waits.place(child(1), key("1"), Some(LinkId(1))), "itself");
        assert!(waits.place(child(1), key("2"), Some(LinkId(2))));
        assert!(waits.place(child(2), key("3"), Some(LinkId(3))));
        assert!(!waits.place(child(3), key("1"), Some(LinkId(1))));
        assert!(waits.place(child(3), key("4"), Some(LinkId(4))));
        assert_eq!(waits.of(PEOPLE), 3);
    }
}
