//! What decisions about records stand on: a store in memory, a sync of things, and its fields.

use std::collections::BTreeMap;

use tidegate_core::batch::DataType;
use tidegate_core::ledger::{Base, Changes, LedgerError, SyncId};
use tidegate_core::pace::Lane;
use tidegate_core::plugin::Field;
use tidegate_core::sync::{ConflictPolicy, DeleteBrake, DeletePolicy, Initial, SideSpec, SyncSpec};

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
