//! A sync as meant: two objects that are kept in step, and the policies that decide between them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::action::ActionSpec;
use crate::lanes::LaneRule;
use crate::pace::Lane;
use crate::plugin::Direction;

/// One of a sync's two systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Left,
    Right,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// The direction of changes that come from this side.
    pub fn outward(self) -> Direction {
        match self {
            Self::Left => Direction::LeftToRight,
            Self::Right => Direction::RightToLeft,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}

/// Who wins when both sides changed one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictPolicy {
    Left,
    Right,
    /// The later commit; the left side when the sources can't tell.
    #[default]
    Newest,
    /// Nobody: the record waits in the dead letters for a person.
    Park,
}

/// What a delete on one side does to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeletePolicy {
    #[default]
    Propagate,
    /// The other side keeps its record, unlinked.
    Ignore,
}

/// Stops the deletes of a sync when too many come at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeleteBrake {
    /// Of the linked records, between 0 and 1.
    pub share: f64,
    pub window_ms: u64,
    /// Deletes in the window that are always let through, however small the sync.
    pub least: u64,
}

impl Default for DeleteBrake {
    fn default() -> Self {
        Self {
            share: 0.1,
            window_ms: 600_000,
            least: 100,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideSpec {
    pub endpoint: Arc<str>,
    pub object: Arc<str>,
    /// The upsert key of this side's object that holds the other side's record id, and makes creates
    /// idempotent. Without one, a create of unknown outcome can only be parked for a person.
    pub key: Option<Arc<str>>,
    /// What happens to the *other* side when a record is deleted here.
    pub deletes: DeletePolicy,
}

/// Which sides are read whole when the sync first runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initial {
    Left,
    Right,
    #[default]
    Both,
    /// Only changes from now on.
    None,
}

impl Initial {
    pub fn reads(self, side: Side) -> bool {
        match self {
            Self::Both => true,
            Self::Left => side == Side::Left,
            Self::Right => side == Side::Right,
            Self::None => false,
        }
    }
}

/// A field on each side that names a record of another sync, or of the same one. Each side holds the id of its own
/// record of that pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceSpec {
    pub left: Arc<str>,
    pub right: Arc<str>,
    /// The sync whose records are meant; absent where the two systems' own descriptions tell.
    pub parent: Option<Arc<str>>,
}

/// Fields by which two records that were there before the sync are known to be one: all of them must be equal, the first
/// on the left with the first on the right and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairRule {
    pub left: Vec<String>,
    pub right: Vec<String>,
    /// Texts count as they stand, with their case and outer white space.
    pub exact: bool,
}

impl PairRule {
    /// More make no sense, and the number of a rule has to fit into a byte.
    pub const MOST: usize = 16;

    pub fn side(&self, side: Side) -> &[String] {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct SyncSpec {
    pub name: Arc<str>,
    pub left: SideSpec,
    pub right: SideSpec,
    pub lane: Lane,
    /// What is more or less urgent than the rest; the first that fits decides.
    pub lanes: Vec<LaneRule>,
    /// What it gets beside others of its lane: 2 is twice as much as 1.
    pub weight: u32,
    /// How long a change of the normal lane may wait for company, where calls cost: a full call costs no more.
    pub linger_ms: u64,
    pub conflict: ConflictPolicy,
    /// By left or right field name, where it differs from `conflict`.
    pub field_conflicts: BTreeMap<String, ConflictPolicy>,
    pub references: Vec<ReferenceSpec>,
    /// By which records pair at first contact; the first that finds any decides. Without one, nothing pairs by fields.
    pub pairs: Vec<PairRule>,
    pub actions: Vec<ActionSpec>,
    pub brake: DeleteBrake,
    pub initial: Initial,
    /// Changes that may wait; a full queue stops the capture until there is room.
    pub queue_max: usize,
}

impl SyncSpec {
    /// The most urgent lane that a change may be put in.
    pub fn most_urgent(&self) -> Lane {
        let rules = self.lanes.iter().map(|rule| rule.lane);
        rules.fold(self.lane, Lane::min)
    }

    pub fn side(&self, side: Side) -> &SideSpec {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}
