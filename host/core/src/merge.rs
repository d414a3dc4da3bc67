//! What a waiting record calls for: nothing, a read, a write, or a person.
//!
//! Pure functions of the link (what both sides last agreed on), the entry (what has changed since) and what
//! the mapping made of it. A conflict is a value here, decided by policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::action;
use crate::model::Model;
use crate::pace::Lane;
use crate::plugin::OperationKind;
use crate::record::{Bond, Deed, Entry, FieldId, Link, Pending, Reason, Sent, Sides, Stamps};
use crate::sync::{ConflictPolicy, DeletePolicy, Side};
use crate::value::{NEVER, Value};

/// Writes in a row that may answer each other before a field counts as a ping-pong.
pub const BOUNCES_MAX: u8 = 4;
/// Answers that come later than this are somebody's work, not a loop.
pub const BOUNCE_WINDOW_S: i64 = 600;

pub type Fields = Vec<(FieldId, Value)>;
pub(crate) type Prints = BTreeMap<FieldId, u64>;

/// What the mapping made of each source side's row; absent where it was not asked.
pub type Mapped = Sides<Option<Result<Fields, Reason>>>;

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A side's state must be known first.
    Read(Side),
    /// Both sides hold the same already. These fingerprints become the shadow.
    Agree(Sides<Vec<(FieldId, u64)>>),
    Write(Write),
    /// Both records are gone, or one is gone and there never was another.
    Forget,
    /// The other side keeps its record, and its changes go nowhere from now on.
    Detach,
    /// A field says that this side's record is no more, and it is not: what waits goes nowhere until the field is cleared.
    Rest(Side),
    Dead(Reason),
}

/// One operation on one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub target: Side,
    pub operation: OperationKind,
    /// The target's id; absent for a record that is unborn there.
    pub id: Option<Box<str>>,
    pub version: Box<str>,
    pub values: Fields,
    /// What goes into the target's key field: the source's id.
    pub key: Option<Box<str>>,
    /// What a merge makes the record part of: the source's id of it, until [`action::hold`] has made it the target's.
    pub into: Option<Box<str>>,
    pub sent: Sent,
    /// The entry's generation that this write carries.
    pub generation: u32,
    /// Of the change that caused it, for the latency.
    pub stamps: Stamps,
    pub lane: Lane,
    /// Fields that both sides had changed, decided by policy.
    pub conflicts: u16,
}

/// Which source sides' rows the mapping must see before [`decide`] can.
pub fn to_map(model: &Model, link: &Link, entry: &Entry) -> Sides<bool> {
    if must_read(model, link, entry).is_some() {
        return Sides::default();
    }
    Sides::new(|side| match &entry.pending[side] {
        Some(Pending::Row { .. }) => {
            link.ids[side.other()].is_none()
                || matches!(entry.pending[side.other()], Some(Pending::Gone { .. }))
                || !changed(model, side, link, entry).is_empty()
        }
        _ => false,
    })
}

/// The side that must be read before anything is decided (invariant 6).
pub fn must_read(model: &Model, link: &Link, entry: &Entry) -> Option<Side> {
    Side::BOTH.into_iter().find(|side| {
        entry.unread[*side]
            || matches!(
                entry.pending[*side],
                Some(Pending::Row { suspect: true, .. })
            ) && (link.sleeps(*side) || !changed(model, *side, link, entry).is_empty())
    })
}

/// The fields of a side that differ from what both last agreed on.
pub(crate) fn changed(model: &Model, side: Side, link: &Link, entry: &Entry) -> Prints {
    let Some(Pending::Row { values, .. }) = &entry.pending[side] else {
        return Prints::new();
    };
    values
        .iter()
        .map(|(field, value)| (*field, model.fingerprint(side, *field, value)))
        .filter(|(field, print)| link.shadow[side].get(*field) != *print)
        .collect()
}

pub fn decide(model: &Model, link: &Link, entry: &Entry, mapped: &Mapped, now_us: i64) -> Decision {
    if let Some(side) = must_read(model, link, entry) {
        return Decision::Read(side);
    }
    if link.bond == Bond::Detached {
        return match (&entry.pending.left, &entry.pending.right) {
            (Some(Pending::Gone { .. }), _) | (_, Some(Pending::Gone { .. })) => Decision::Forget,
            _ => Decision::Agree(Sides::default()),
        };
    }
    let asked = action::decide(model, link, entry, mapped);
    let decision = asked.unwrap_or_else(|| usual(model, link, entry, mapped));
    break_loop(model, link, decision, now_us)
}

/// What the fields alone call for.
pub(crate) fn usual(model: &Model, link: &Link, entry: &Entry, mapped: &Mapped) -> Decision {
    let gone = |side: Side| matches!(entry.pending[side], Some(Pending::Gone { .. }));
    match Side::BOTH.into_iter().find(|side| gone(*side)) {
        Some(side) if gone(side.other()) || link.ids[side.other()].is_none() => Decision::Forget,
        Some(side) => after_delete(model, link, entry, mapped, side),
        None => match unborn(link, entry) {
            Some(target) => create(model, link, entry, mapped, target),
            None => update(model, link, entry, mapped),
        },
    }
}

/// The side on which the record does not exist yet.
fn unborn(link: &Link, entry: &Entry) -> Option<Side> {
    Side::BOTH.into_iter().find(|side| {
        link.ids[*side].is_none()
            && matches!(entry.pending[side.other()], Some(Pending::Row { .. }))
    })
}

/// `side` deleted its record, and the other side still has one.
fn after_delete(
    model: &Model,
    link: &Link,
    entry: &Entry,
    mapped: &Mapped,
    side: Side,
) -> Decision {
    let other = side.other();
    if !changed(model, other, link, entry).is_empty() {
        match winner(model.spec.conflict, entry) {
            None => {
                return Decision::Dead(Reason {
                    code: "conflict".into(),
                    message: format!(
                        "deleted on the {side} and changed on the {other}; the sync's policy leaves such conflicts to a person"
                    ),
                    fields: Vec::new(),
                    target: Some(other),
                });
            }
            Some(won) if won == other => return create(model, link, entry, mapped, side),
            Some(_) => {}
        }
    }
    if model.spec.side(side).deletes == DeletePolicy::Ignore {
        return Decision::Detach;
    }
    Decision::Write(bare(
        link,
        entry,
        other,
        OperationKind::Delete,
        Deed::Delete,
    ))
}

/// A write without fields.
pub(crate) fn bare(
    link: &Link,
    entry: &Entry,
    target: Side,
    operation: OperationKind,
    deed: Deed,
) -> Write {
    Write {
        target,
        operation,
        id: link.ids[target].clone(),
        version: version(link, entry, target),
        values: Vec::new(),
        key: None,
        into: None,
        sent: Sent {
            target,
            deed,
            written: Vec::new(),
            consumed: Vec::new(),
        },
        generation: entry.generation,
        stamps: stamps(entry, target.other()),
        lane: entry.lane,
        conflicts: 0,
    }
}

fn create(model: &Model, link: &Link, entry: &Entry, mapped: &Mapped, target: Side) -> Decision {
    let source = target.other();
    let values = match &mapped[source] {
        Some(Ok(values)) => values.clone(),
        Some(Err(reason)) => return Decision::Dead(reason.clone()),
        None => return Decision::Read(source),
    };
    let written = values
        .iter()
        .map(|(field, value)| (*field, model.fingerprint(target, *field, value)))
        .collect();
    // Everything that the source holds is carried over, whether or not it differs from a shadow that
    // belonged to a record which is gone.
    let consumed = match &entry.pending[source] {
        Some(Pending::Row { values, .. }) => values
            .iter()
            .map(|(field, value)| (*field, model.fingerprint(source, *field, value)))
            .collect(),
        _ => Vec::new(),
    };
    let key = model.key(target).and(link.ids[source].clone());
    Decision::Write(Write {
        target,
        operation: if key.is_some() {
            OperationKind::Upsert
        } else {
            OperationKind::Create
        },
        id: None,
        version: "".into(),
        values,
        key,
        into: None,
        sent: Sent {
            target,
            deed: Deed::Fields,
            written,
            consumed,
        },
        generation: entry.generation,
        stamps: stamps(entry, source),
        lane: entry.lane,
        conflicts: 0,
    })
}

/// Fields on their way to one side: the value and its fingerprint.
pub(crate) type Writes = BTreeMap<FieldId, (Value, u64)>;

fn update(model: &Model, link: &Link, entry: &Entry, mapped: &Mapped) -> Decision {
    let changed = Sides::new(|side| changed(model, side, link, entry));
    let mut writes: Sides<Writes> = Sides::default();
    let mut held: Sides<Vec<(FieldId, u64)>> = Sides::default();
    for source in Side::BOTH {
        if changed[source].is_empty() {
            continue;
        }
        match &mapped[source] {
            Some(Ok(fields)) => {
                (writes[source.other()], held[source.other()]) =
                    outgoing(model, link, entry, source, &changed[source], fields);
            }
            Some(Err(reason)) => return Decision::Dead(reason.clone()),
            None => return Decision::Read(source),
        }
    }
    let conflicts = match settle_conflicts(model, entry, &changed, &mut writes) {
        Ok(conflicts) => conflicts,
        Err(reason) => return Decision::Dead(reason),
    };
    // A field that is about to be overwritten has not been carried over.
    let consumed = Sides::new(|side| -> Vec<(FieldId, u64)> {
        changed[side]
            .iter()
            .filter(|(field, _)| !writes[side].contains_key(field))
            .map(|(field, print)| (*field, *print))
            .collect()
    });
    let Some(target) = [Side::Right, Side::Left]
        .into_iter()
        .find(|side| !writes[*side].is_empty())
    else {
        return Decision::Agree(consumed);
    };
    let writes = std::mem::take(&mut writes[target]);
    Decision::Write(Write {
        target,
        operation: OperationKind::Update,
        id: link.ids[target].clone(),
        version: version(link, entry, target),
        key: None,
        into: None,
        sent: Sent {
            target,
            deed: Deed::Fields,
            // What the target changed to the same by itself is agreed on too.
            written: writes
                .iter()
                .map(|(field, (_, print))| (*field, *print))
                .chain(std::mem::take(&mut held[target]))
                .collect(),
            consumed: consumed[target.other()].clone(),
        },
        values: writes
            .into_iter()
            .map(|(field, (value, _))| (field, value))
            .collect(),
        generation: entry.generation,
        stamps: stamps(entry, target.other()),
        lane: entry.lane,
        conflicts,
    })
}

/// The outputs that a change touches: those to be written, and those that the target holds already.
pub(crate) fn outgoing(
    model: &Model,
    link: &Link,
    entry: &Entry,
    source: Side,
    changed: &Prints,
    mapped: &Fields,
) -> (Writes, Vec<(FieldId, u64)>) {
    let target = source.other();
    let touched: BTreeSet<FieldId> = changed
        .keys()
        .flat_map(|field| model.fed_by(source, *field))
        .collect();
    let mut writes = Writes::new();
    let mut same = Vec::new();
    for (field, value) in mapped.iter().filter(|(field, _)| touched.contains(field)) {
        let print = model.fingerprint(target, *field, value);
        if held(model, link, entry, target, *field) == print {
            same.push((*field, print));
        } else {
            writes.insert(*field, (value.clone(), print));
        }
    }
    (writes, same)
}

/// What a side holds in a field as far as we know: what waits from it, or else what was last agreed on.
fn held(model: &Model, link: &Link, entry: &Entry, side: Side, field: FieldId) -> u64 {
    let waiting = match &entry.pending[side] {
        Some(Pending::Row { values, .. }) => values.iter().find(|(known, _)| *known == field),
        _ => None,
    };
    waiting.map_or_else(
        || link.shadow[side].get(field),
        |(field, value)| model.fingerprint(side, *field, value),
    )
}

/// Up to which version a side's changes are known.
fn version(link: &Link, entry: &Entry, side: Side) -> Box<str> {
    match &entry.pending[side] {
        Some(Pending::Row { version, .. }) => version.clone(),
        _ => link.shadow[side].version.clone(),
    }
}

/// Fields changed on both sides: who wins keeps its write, the other's is taken out.
fn settle_conflicts(
    model: &Model,
    entry: &Entry,
    changed: &Sides<Prints>,
    writes: &mut Sides<Writes>,
) -> Result<u16, Reason> {
    let mut conflicts = 0;
    let mut decided: Sides<BTreeSet<FieldId>> = Sides::default();
    for target in [Side::Right, Side::Left] {
        let source = target.other();
        let contested: Vec<FieldId> = writes[target]
            .keys()
            .copied()
            .filter(|field| changed[target].contains_key(field) && !decided[target].contains(field))
            .collect();
        for field in contested {
            let answers: Vec<FieldId> = model.fed_by(target, field).collect();
            conflicts += 1;
            let won = if answers.is_empty() {
                // A rule that runs one way leaves the target's own change no road back.
                Some(source)
            } else {
                winner(model.conflict_policy(target, field), entry)
            };
            if won == Some(target) {
                writes[target].remove(&field);
            }
            match won {
                None => return Err(conflict(model, target, field)),
                Some(won) if won == source => {
                    for answer in &answers {
                        writes[source].remove(answer);
                    }
                }
                Some(_) => decided[source].extend(answers),
            }
        }
    }
    Ok(conflicts)
}

fn conflict(model: &Model, target: Side, field: FieldId) -> Reason {
    Reason {
        code: "conflict".into(),
        message: "changed on both sides; the sync's policy leaves such conflicts to a person"
            .into(),
        fields: vec![model.name(target, field).to_owned()],
        target: Some(target),
    }
}

/// `None` leaves it to a person.
pub(crate) fn winner(policy: ConflictPolicy, entry: &Entry) -> Option<Side> {
    match policy {
        ConflictPolicy::Left => Some(Side::Left),
        ConflictPolicy::Right => Some(Side::Right),
        ConflictPolicy::Park => None,
        ConflictPolicy::Newest => {
            let at = |side: Side| {
                let stamps = stamps(entry, side);
                stamps.committed_us.unwrap_or(stamps.seen_us)
            };
            Some(if at(Side::Right) > at(Side::Left) {
                Side::Right
            } else {
                Side::Left
            })
        }
    }
}

fn stamps(entry: &Entry, side: Side) -> Stamps {
    entry.pending[side].as_ref().map_or(
        Stamps {
            committed_us: None,
            seen_us: i64::MIN,
        },
        Pending::stamps,
    )
}

/// A write that would answer an answer once too often goes to a person instead.
fn break_loop(model: &Model, link: &Link, decision: Decision, now_us: i64) -> Decision {
    let Decision::Write(write) = &decision else {
        return decision;
    };
    let Some(bounce) = &link.bounce else {
        return decision;
    };
    let wrote: Vec<FieldId> = write.values.iter().map(|(field, _)| *field).collect();
    if bounce.count < BOUNCES_MAX || !answers(model, link, write.target, &wrote, now_us) {
        return decision;
    }
    Decision::Dead(Reason {
        code: "ping-pong".into(),
        message: "both sides keep changing this back; make the mapping produce what the target keeps, or map the field one way"
            .into(),
        fields: write.values.iter().map(|(field, _)| model.name(write.target, *field).to_owned()).collect(),
        target: Some(write.target),
    })
}

/// Whether a write answers the last one: the other direction, fed by the fields that it wrote, soon after.
pub fn answers(model: &Model, link: &Link, target: Side, wrote: &[FieldId], now_us: i64) -> bool {
    link.bounce.as_deref().is_some_and(|bounce| {
        bounce.target == target.other()
            && now_us.div_euclid(1_000_000) - bounce.at_s < BOUNCE_WINDOW_S
            && bounce.fields.iter().any(|field| {
                model
                    .fed_by(bounce.target, *field)
                    .any(|fed| wrote.contains(&fed))
            })
    })
}

/// Whether everything in a row is what both sides last agreed on.
pub fn is_echo(model: &Model, side: Side, link: &Link, values: &[(FieldId, Value)]) -> bool {
    values.iter().all(|(field, value)| {
        let shadow = link.shadow[side].get(*field);
        shadow != NEVER && shadow == model.fingerprint(side, *field, value)
    })
}
