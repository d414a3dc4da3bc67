//! From what a source reports to what waits in the queue.
//!
//! Finds the link that a record belongs to, drops the echoes of our own writes, and lays the record's state
//! into its one queue entry, where later states replace earlier ones. While a write of the record is under way
//! nothing is dropped but the very state that it makes, since only its outcome tells what the others mean.

use crate::lanes::Chosen;
use crate::ledger::{Ledger, LedgerError};
use crate::merge::is_echo;
use crate::model::Model;
use crate::pace::Lane;
use crate::plugin::ChangeKind;
use crate::record::{
    Bond, DeadLetter, Deed, Entry, FieldId, IdRef, Link, LinkId, Pending, Reason, Stamps, fits,
};
use crate::sync::Side;
use crate::value::Value;

/// One row of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation<'a> {
    pub side: Side,
    pub id: &'a str,
    pub kind: ChangeKind,
    pub version: &'a str,
    pub stamps: Stamps,
    /// Mapped fields that have a value or are null.
    pub values: Vec<(FieldId, Value)>,
    /// What the side's key field holds: the other side's id of the same record.
    pub key: Option<&'a str>,
}

/// What only the caller knows about a record at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// A round works on the record.
    pub in_flight: bool,
    /// A write to the observed side is under way, may be, or ended after the source was asked for this
    /// page: the row may be the state before it.
    pub touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captured {
    /// Waits now, or waits on with a newer state.
    Queued(LinkId),
    /// Our own write, or a state that both sides agree on or that waits already.
    Echo,
    /// A change and its undoing met in the queue.
    Cancelled(LinkId),
    /// Went to the dead letters.
    Dead(LinkId),
    /// Nothing that this sync has to do with.
    Passed,
}

/// Where new links get their numbers.
pub trait Numbers {
    fn next(&mut self) -> LinkId;
}

pub fn capture(
    ledger: &mut Ledger<'_>,
    model: &Model,
    mut observation: Observation<'_>,
    lanes: impl Into<Chosen>,
    numbers: &mut dyn Numbers,
    standing: &dyn Fn(LinkId) -> Standing,
) -> Result<Captured, LedgerError> {
    let lanes = lanes.into();
    let side = observation.side;
    let known_id = ledger.id(side, observation.id)?;
    if observation.kind == ChangeKind::Upsert && !fits(&observation.values) {
        if let Some(IdRef::Link(id)) = known_id
            && is_too_large(ledger, id)?
        {
            return Ok(Captured::Echo);
        }
        // What can't be kept is read once more when its turn comes, and is a dead letter if it still is so large.
        observation.kind = ChangeKind::Hint;
        observation.values.clear();
    }
    match known_id {
        Some(IdRef::Link(id)) => match ledger.link(id)? {
            Some(link) => known(ledger, model, observation, lanes, id, link, standing(id)),
            // An index entry without its link can't be: both change in one transaction.
            None => Ok(Captured::Passed),
        },
        _ if observation.kind == ChangeKind::Delete => {
            // It may be one that a write under way has made, whose answer then must not make it live.
            let at_ms = observation.stamps.seen_us / 1_000;
            ledger.put_id(side, observation.id, IdRef::Gone { at_ms });
            Ok(Captured::Passed)
        }
        Some(IdRef::Gone { .. }) => {
            // A late page, or a record that was brought back: its state now decides.
            let id = link_new(ledger, numbers, side, observation.id);
            let mut entry = Entry::new(lanes.create);
            entry.unread[side] = true;
            ledger.put_entry(id, &entry);
            Ok(Captured::Queued(id))
        }
        None => unknown(ledger, model, observation, lanes, numbers, standing),
    }
}

fn link_new(
    ledger: &mut Ledger<'_>,
    numbers: &mut dyn Numbers,
    side: Side,
    remote: &str,
) -> LinkId {
    let id = numbers.next();
    let mut link = Link::default();
    link.ids[side] = Some(remote.into());
    ledger.make_link(id, &link);
    ledger.put_id(side, remote, IdRef::Link(id));
    id
}

/// A record that was never seen: its key field may say whose other half it is.
fn unknown(
    ledger: &mut Ledger<'_>,
    model: &Model,
    observation: Observation<'_>,
    lanes: Chosen,
    numbers: &mut dyn Numbers,
    standing: &dyn Fn(LinkId) -> Standing,
) -> Result<Captured, LedgerError> {
    let side = observation.side;
    let other = side.other();
    let Some(key) = observation.key.filter(|key| !key.is_empty()) else {
        let id = link_new(ledger, numbers, side, observation.id);
        return store(ledger, observation, lanes.create, id, Standing::default());
    };
    match ledger.id(other, key)? {
        Some(IdRef::Link(id)) => {
            let Some(mut link) = ledger.link(id)? else {
                return Ok(Captured::Passed);
            };
            if let Some(old) = link.ids[side].clone() {
                let gone = link.sleeps(side)
                    || ledger.entry(id)?.is_some_and(|entry| {
                        matches!(entry.pending[side], Some(Pending::Gone { .. }))
                    });
                if !gone {
                    return pair_twice(ledger, model, observation, lanes.other, numbers);
                }
                // Born again by our own write, whose answer is still out.
                ledger.put_id(
                    side,
                    &old,
                    IdRef::Gone {
                        at_ms: observation.stamps.seen_us / 1_000,
                    },
                );
            }
            link.ids[side] = Some(observation.id.into());
            // What the other half was put to sleep for went with the record before this one.
            link.wake();
            ledger.put_id(side, observation.id, IdRef::Link(id));
            ledger.put_link(id, &link);
            known(ledger, model, observation, lanes, id, link, standing(id))
        }
        gone_or_unknown => {
            // The key names a record that we have not met. What it says must be seen before it is believed.
            let id = link_new(ledger, numbers, side, observation.id);
            if gone_or_unknown.is_none() && !observation.values.is_empty() {
                let mut link = Link::default();
                link.ids[side] = Some(observation.id.into());
                link.ids[other] = Some(key.into());
                ledger.put_id(other, key, IdRef::Link(id));
                ledger.put_link(id, &link);
                let captured = store(ledger, observation, lanes.other, id, Standing::default())?;
                if let Some(mut entry) = ledger.entry(id)? {
                    entry.unread[other] = true;
                    ledger.put_entry(id, &entry);
                }
                return Ok(captured);
            }
            store(ledger, observation, lanes.create, id, Standing::default())
        }
    }
}

/// Two records on one side claim the same other half.
fn pair_twice(
    ledger: &mut Ledger<'_>,
    model: &Model,
    observation: Observation<'_>,
    lane: Lane,
    numbers: &mut dyn Numbers,
) -> Result<Captured, LedgerError> {
    let side = observation.side;
    let at_ms = observation.stamps.seen_us / 1_000;
    let key = model
        .key(side)
        .map(|field| model.name(side, field).to_owned());
    let id = link_new(ledger, numbers, side, observation.id);
    store(ledger, observation, lane, id, Standing::default())?;
    let Some(entry) = ledger.entry(id)? else {
        return Ok(Captured::Passed);
    };
    let reason = Reason {
        code: Reason::PAIR_AMBIGUOUS.into(),
        message: format!(
            "another record on the {side} is linked to the record that this one's key names; clear the key, or delete or merge one of them"
        ),
        fields: key.into_iter().collect(),
        target: Some(side.other()),
    };
    ledger.remove_entry(id);
    ledger.put_dead(
        id,
        &DeadLetter {
            reason,
            at_ms,
            entry,
        },
    );
    Ok(Captured::Dead(id))
}

fn known(
    ledger: &mut Ledger<'_>,
    model: &Model,
    mut observation: Observation<'_>,
    lanes: Chosen,
    id: LinkId,
    link: Link,
    standing: Standing,
) -> Result<Captured, LedgerError> {
    if link.bond == Bond::Detached && observation.kind != ChangeKind::Delete {
        return Ok(Captured::Echo);
    }
    let side = observation.side;
    if observation.kind == ChangeKind::Delete {
        if link.sleeps(side) && !standing.in_flight && !waits_from(ledger, id, side)? {
            return Ok(Captured::Echo);
        }
        // A page that was asked for before the record was last written or read may tell of an older delete.
        if standing.touched || link.bond == (Bond::Awake { side }) {
            observation.kind = ChangeKind::Hint;
        }
    }
    // It may be from before our write, or somebody may have brought the record back since: it is read afterwards.
    if observation.kind == ChangeKind::Upsert
        && standing.in_flight
        && is_being_removed(ledger, id, side)?
    {
        observation.kind = ChangeKind::Hint;
    }
    let lane = lanes.lane(link.ids[side.other()].is_none());
    // Of half a link nothing is known already: what is there goes to the other side.
    let echo = observation.kind == ChangeKind::Upsert
        && link.ids[side.other()].is_some()
        && !link.sleeps(side)
        && !(link.sleeps(side.other()) && ledger.entry(id)?.is_some())
        && is_echo(model, side, &link, &observation.values);
    if echo && !standing.in_flight {
        let dead = ledger.dead(id)?;
        return match ledger.entry(id)? {
            None if dead.is_none() => Ok(Captured::Echo),
            // The dead letter stands for what the other side refused; the same state again is no news.
            None => match dead.and_then(|letter| letter.entry.pending[side].clone()) {
                None => Ok(Captured::Echo),
                Some(_) => store(ledger, observation, lane, id, standing),
            },
            Some(entry) if entry.sent.is_some() || entry.unread[side] => {
                store(ledger, observation, lane, id, standing)
            }
            Some(mut entry) => {
                entry.pending[side] = None;
                entry.generation = entry.generation.wrapping_add(1);
                if entry.is_idle() {
                    ledger.remove_entry(id);
                    return Ok(Captured::Cancelled(id));
                }
                ledger.put_entry(id, &entry);
                Ok(Captured::Queued(id))
            }
        };
    }
    let known = match standing.in_flight {
        true => is_being_written(ledger, model, &observation, id, &link)?,
        false => repeats_dead(ledger, id, &observation)?,
    };
    if known || repeats_waiting(ledger, model, id, &observation, lane)? {
        return Ok(Captured::Echo);
    }
    store(ledger, observation, lane, id, standing)
}

fn is_being_removed(ledger: &Ledger<'_>, id: LinkId, side: Side) -> Result<bool, LedgerError> {
    let sent = ledger.intent(id)?;
    Ok(sent.is_some_and(|sent| sent.target == side && sent.deed.removes()))
}

/// Whether something waits that `side` has reported.
fn waits_from(ledger: &Ledger<'_>, id: LinkId, side: Side) -> Result<bool, LedgerError> {
    let entry = ledger.entry(id)?;
    let waits = entry.is_some_and(|entry| entry.pending[side].is_some() || entry.unread[side]);
    let dead = ledger.dead(id)?;
    Ok(waits || dead.is_some_and(|letter| letter.entry.pending[side].is_some()))
}

/// What a write under way makes of the record, seen before its answer. Whatever becomes of that write, there is
/// nothing in this state to carry over.
fn is_being_written(
    ledger: &Ledger<'_>,
    model: &Model,
    observation: &Observation<'_>,
    id: LinkId,
    link: &Link,
) -> Result<bool, LedgerError> {
    let side = observation.side;
    if observation.kind != ChangeKind::Upsert {
        return Ok(false);
    }
    let Some(sent) = ledger.intent(id)?.filter(|sent| sent.target == side) else {
        return Ok(false);
    };
    let newer = |entry: &Entry| entry.pending[side].is_some() || entry.unread[side];
    if sent.deed != Deed::Fields || ledger.entry(id)?.as_ref().is_some_and(newer) {
        return Ok(false);
    }
    let mut link = link.clone();
    link.agree_on(&sent);
    Ok(is_echo(model, side, &link, &observation.values))
}

/// The state that waits, reported once more, which sources do that can't tell exactly what is new. While a write is
/// under way that makes something else of it, somebody may have changed it back after that.
fn repeats_waiting(
    ledger: &Ledger<'_>,
    model: &Model,
    id: LinkId,
    observation: &Observation<'_>,
    lane: Lane,
) -> Result<bool, LedgerError> {
    let Some(entry) = ledger.entry(id)? else {
        return Ok(false);
    };
    let side = observation.side;
    let repeats = match &entry.pending[side] {
        Some(Pending::Row {
            values,
            suspect: false,
            ..
        }) => {
            observation.kind == ChangeKind::Upsert
                && *values == observation.values
                && entry.lane <= lane
        }
        _ => false,
    };
    if !repeats {
        return Ok(false);
    }
    let Some(sent) = ledger.intent(id)?.filter(|sent| sent.target == side) else {
        return Ok(true);
    };
    let differs = |(field, value): &(FieldId, Value)| {
        let print = model.fingerprint(side, *field, value);
        let mut written = sent.written.iter();
        written.any(|(known, sent)| known == field && *sent != print)
    };
    Ok(!sent.deed.removes() && !observation.values.iter().any(differs))
}

/// The record lies in the dead letters because it can't be kept.
fn is_too_large(ledger: &Ledger<'_>, id: LinkId) -> Result<bool, LedgerError> {
    Ok(ledger
        .dead(id)?
        .is_some_and(|letter| letter.reason.code == Reason::ROW_TOO_LARGE))
}

/// The state that lies in the dead letters, reported once more.
fn repeats_dead(
    ledger: &Ledger<'_>,
    id: LinkId,
    observation: &Observation<'_>,
) -> Result<bool, LedgerError> {
    let Some(letter) = ledger.dead(id)? else {
        return Ok(false);
    };
    Ok(
        match (&letter.entry.pending[observation.side], observation.kind) {
            (Some(Pending::Row { values, .. }), ChangeKind::Upsert) => {
                *values == observation.values
            }
            (Some(Pending::Gone { .. }), ChangeKind::Delete) => true,
            _ => false,
        },
    )
}

/// Lays the state into the record's entry; a dead letter comes back to life with it.
fn store(
    ledger: &mut Ledger<'_>,
    observation: Observation<'_>,
    lane: Lane,
    id: LinkId,
    standing: Standing,
) -> Result<Captured, LedgerError> {
    let side = observation.side;
    let mut entry = match ledger.entry(id)? {
        Some(entry) => entry,
        None => match ledger.dead(id)? {
            Some(letter) => {
                ledger.remove_dead(id);
                let mut entry = letter.entry;
                entry.attempts = 0;
                entry
            }
            None => Entry::new(lane),
        },
    };
    entry.lane = entry.lane.min(lane);
    entry.generation = entry.generation.wrapping_add(1);
    match observation.kind {
        ChangeKind::Hint => entry.unread[side] = true,
        ChangeKind::Delete => {
            entry.pending[side] = Some(Pending::Gone {
                stamps: observation.stamps,
            })
        }
        ChangeKind::Upsert => {
            // The first commit of what waits counts for its latency, the last for its age.
            entry.pending[side] = Some(Pending::Row {
                values: observation.values,
                version: observation.version.into(),
                stamps: observation.stamps,
                suspect: standing.touched,
            });
        }
    }
    ledger.put_entry(id, &entry);
    Ok(Captured::Queued(id))
}

/// One record's id became another's: the link follows, and where both are linked already, the old
/// one's other half has lost its record.
pub fn rename(
    ledger: &mut Ledger<'_>,
    side: Side,
    old: &str,
    new: &str,
    lane: Lane,
    stamps: Stamps,
) -> Result<Captured, LedgerError> {
    let Some(IdRef::Link(id)) = ledger.id(side, old)? else {
        return Ok(Captured::Passed);
    };
    let Some(mut link) = ledger.link(id)? else {
        return Ok(Captured::Passed);
    };
    if link.sleeps(side) {
        return Ok(Captured::Echo);
    }
    let sent = match ledger.intent(id)? {
        Some(sent) => Some(sent),
        None => ledger.entry(id)?.and_then(|entry| entry.sent),
    };
    let ours =
        sent.is_some_and(|sent| sent.target == side && matches!(sent.deed, Deed::Merge { .. }));
    if ours || matches!(ledger.id(side, new)?, Some(IdRef::Link(_))) {
        let observation = Observation {
            side,
            id: old,
            kind: ChangeKind::Delete,
            version: "",
            stamps,
            values: Vec::new(),
            key: None,
        };
        return store(ledger, observation, lane, id, Standing::default());
    }
    link.ids[side] = Some(new.into());
    ledger.put_link(id, &link);
    ledger.put_id(
        side,
        old,
        IdRef::Gone {
            at_ms: stamps.seen_us / 1_000,
        },
    );
    ledger.put_id(side, new, IdRef::Link(id));
    let mut entry = ledger.entry(id)?.unwrap_or_else(|| Entry::new(lane));
    entry.unread[side] = true;
    entry.generation = entry.generation.wrapping_add(1);
    ledger.put_entry(id, &entry);
    Ok(Captured::Queued(id))
}
