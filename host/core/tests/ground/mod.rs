//! What decisions about records stand on: a store in memory, a sync of things, its fields and writes, and in [`host`]
//! what a simulated host has in its head.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod host;

use std::collections::BTreeMap;

use tidegate_core::batch::DataType;
use tidegate_core::ledger::{Base, Changes, Ledger, LedgerError, Room, SyncId, key_link, prefix};
use tidegate_core::merge::Write;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{Direction, Field, OperationKind, Rule};
use tidegate_core::record::{Deed, LinkId, Sent, Stamps};
use tidegate_core::sync::{
    ConflictPolicy, DeleteBrake, DeletePolicy, Initial, Side, SideSpec, SyncSpec,
};

pub(crate) const SYNC: SyncId = SyncId(1);

#[derive(Default)]
pub(crate) struct Disk(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl Base for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.0.get(key).cloned())
    }

    fn keys(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let keys = self.0.range(after.unwrap_or(prefix).to_vec()..);
        let keys = keys
            .map(|(key, _)| key)
            .filter(|key| after != Some(key.as_slice()))
            .take_while(|key| key.starts_with(prefix));
        Ok(keys.take(most).cloned().collect())
    }
}

impl Disk {
    /// One transaction.
    pub(crate) fn act<T>(&mut self, act: impl FnOnce(&mut Ledger<'_>) -> T) -> T {
        let mut ledger = Ledger::new(self, SYNC);
        let result = act(&mut ledger);
        let changes = ledger.into_changes();
        self.commit(changes);
        result
    }

    /// The records of a room whose keys name links.
    pub(crate) fn room(&self, room: Room) -> Vec<(LinkId, Vec<u8>)> {
        let prefix = prefix(room, SYNC);
        self.0
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key_link(key).expect("a link"), value.clone()))
            .collect()
    }

    pub(crate) fn commit(&mut self, changes: Changes) {
        let bytes: usize = changes.values().flatten().map(Vec::len).sum();
        assert!(bytes < 1 << 20, "{bytes} bytes in one transaction");
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

/// A sync of things, with the same key on both sides or none.
pub(crate) fn spec(key: Option<&str>, conflict: ConflictPolicy) -> SyncSpec {
    let side = |name: &str| SideSpec {
        endpoint: name.into(),
        object: "thing".into(),
        key: key.map(Into::into),
        deletes: DeletePolicy::Propagate,
    };
    SyncSpec {
        references: Vec::new(),
        actions: Vec::new(),
        linger_ms: 0,
        name: "things".into(),
        left: side("l"),
        right: side("r"),
        lane: Lane::Normal,
        conflict,
        field_conflicts: BTreeMap::new(),
        brake: DeleteBrake::default(),
        initial: Initial::Both,
        lanes: Vec::new(),
        pairs: Vec::new(),
        weight: 1,
        queue_max: 1_000,
    }
}

pub(crate) fn field(name: &str, data_type: DataType, upsert_key: bool) -> Field {
    Field {
        name: name.into(),
        label: name.into(),
        data_type,
        nullable: true,
        creatable: true,
        updatable: true,
        required: false,
        upsert_key,
        length_max: None,
        precision: None,
        scale: None,
        resolution_us: None,
        choices: Vec::new(),
        references: Vec::new(),
        notes: Vec::new(),
    }
}

/// The field is carried over as it is.
pub(crate) fn carried(name: &str, direction: Direction) -> Rule {
    Rule {
        direction,
        inputs: vec![name.into()],
        outputs: vec![name.into()],
    }
}

pub(crate) fn both_ways(name: &str) -> [Rule; 2] {
    [Direction::LeftToRight, Direction::RightToLeft].map(|direction| carried(name, direction))
}

/// A write to the right, by the record's key where it may make it and else by its id.
pub(crate) fn write(operation: OperationKind, link: u64, lane: Lane) -> Write {
    let upserts = operation == OperationKind::Upsert;
    Write {
        target: Side::Right,
        operation,
        id: (!upserts).then(|| format!("id {link}").into()),
        version: "".into(),
        values: Vec::new(),
        key: upserts.then(|| format!("key {link}").into()),
        into: None,
        sent: Sent {
            target: Side::Right,
            deed: match operation {
                OperationKind::Delete => Deed::Delete,
                _ => Deed::Fields,
            },
            written: Vec::new(),
            consumed: Vec::new(),
        },
        generation: 0,
        stamps: Stamps {
            committed_us: None,
            seen_us: 0,
        },
        lane,
        conflicts: 0,
    }
}
