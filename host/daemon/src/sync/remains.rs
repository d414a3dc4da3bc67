//! What a host that is not running has still to do, by its store.

use std::collections::BTreeMap;

use tidegate_core::action;
use tidegate_core::ledger::{Ledger, Room, SyncId, decode};
use tidegate_core::model::{FieldTable, Model};
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{OperationKind, StreamKind};
use tidegate_core::record::{Entry, Link, Pending, Sides};
use tidegate_core::sync::Side;
use tidegate_store::Store;

use super::engine::{EngineError, scan};
use super::records::{self, Committed};
use super::streams;

/// Changes that wait, by the side that they come from, their lane and what they do on the other side at most: some may turn
/// out to be what it holds already.
pub(crate) type Waiting = BTreeMap<(Side, Lane, OperationKind), u64>;

/// How far a side has been read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstRead {
    /// It is not read, or has been.
    Done,
    Ahead,
    /// It goes on where it stopped.
    Begun,
}

/// What the store holds of one sync.
pub(crate) struct Remains {
    pub(crate) waiting: Waiting,
    /// Writes whose outcome is not known yet: they are looked up before anything is written again.
    pub(crate) under_way: u64,
    pub(crate) first_reads: Sides<FirstRead>,
    /// Whose changes are followed already.
    pub(crate) followed: Sides<bool>,
}

/// Numbers that a sync's fields were given; of none before it ran for the first time.
pub(crate) fn tables(store: &Store, sync: &str) -> Result<Sides<FieldTable>, EngineError> {
    let record = records::find_sync(store, sync)?;
    Ok(record.map(|record| record.tables).unwrap_or_default())
}

/// Whether an endpoint has ever been prepared.
pub(crate) fn is_known(store: &Store, endpoint: &str) -> Result<bool, EngineError> {
    Ok(records::load_identity(store, endpoint)?.is_some())
}

/// Of a sync whose endpoints have one position for all objects, or each their own. Without a store everything is ahead.
pub(crate) fn of(
    store: Option<&Store>,
    model: &Model,
    endpoint_wide: &Sides<bool>,
) -> Result<Remains, EngineError> {
    let ahead = |side: Side| match model.spec.initial.reads(side) {
        true => FirstRead::Ahead,
        false => FirstRead::Done,
    };
    let mut remains = Remains {
        waiting: Waiting::new(),
        under_way: 0,
        first_reads: Sides::new(ahead),
        followed: Sides::default(),
    };
    let Some(store) = store else {
        return Ok(remains);
    };
    for side in Side::BOTH {
        let spec = model.spec.side(side);
        let cursor = |kind, object: &str| {
            records::load_cursor(store, &streams::name(&spec.endpoint, kind, object))
        };
        let place: &str = match endpoint_wide[side] {
            true => "*",
            false => &spec.object,
        };
        remains.followed[side] = cursor(StreamKind::Changes, place)?.position.is_some();
        let whole = cursor(StreamKind::Snapshot, &spec.object)?;
        let mut fields = model.selected(side);
        fields.sort_unstable();
        // With other fields it is read anew.
        if remains.first_reads[side] == FirstRead::Ahead && whole.fields == fields {
            remains.first_reads[side] = match (whole.done, whole.position) {
                (true, _) => FirstRead::Done,
                (false, Some(_)) => FirstRead::Begun,
                (false, None) => FirstRead::Ahead,
            };
        }
    }
    if let Some(record) = records::find_sync(store, &model.spec.name)? {
        let id = SyncId(record.id);
        remains.waiting = waiting(store, model, id)?;
        let under_way = scan(store, Room::Intent, id)?;
        remains.under_way = under_way.iter().map(|page| page.len() as u64).sum();
    }
    Ok(remains)
}

fn waiting(store: &Store, model: &Model, id: SyncId) -> Result<Waiting, EngineError> {
    let base = Committed(store.clone());
    let ledger = Ledger::new(&base, id);
    let mut waiting = Waiting::new();
    for (link, bytes) in scan(store, Room::Entry, id)?.into_iter().flatten() {
        let entry: Entry = decode("queue entry", &bytes)?;
        let Some(link) = ledger.link(link)? else {
            continue;
        };
        let source = entry.source();
        if let Some(operation) = operation(model, &link, &entry, source) {
            *waiting.entry((source, entry.lane, operation)).or_default() += 1;
        }
    }
    Ok(waiting)
}

/// As it looks before the mapping is asked; see [`tidegate_core::merge::decide`].
fn operation(model: &Model, link: &Link, entry: &Entry, source: Side) -> Option<OperationKind> {
    let target = source.other();
    if action::rests(model, link, entry, source) {
        return None;
    }
    if let Some(operation) = action::foreseen(model, link, entry, source) {
        return Some(operation);
    }
    match (&entry.pending[source], &link.ids[target]) {
        (Some(Pending::Row { .. }), None) => Some(creates(model, target)),
        (Some(Pending::Row { .. }), Some(_)) => Some(OperationKind::Update),
        (Some(Pending::Gone { .. }), Some(_)) => Some(OperationKind::Delete),
        (Some(Pending::Gone { .. }) | None, _) => None,
    }
}

/// How a record is made on a side.
pub(crate) fn creates(model: &Model, target: Side) -> OperationKind {
    match model.key(target) {
        Some(_) => OperationKind::Upsert,
        None => OperationKind::Create,
    }
}
