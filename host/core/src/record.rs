//! What is kept of each record: its link, what waits for it, and why it stands still.

use serde::{Deserialize, Serialize};

use crate::pace::Lane;
use crate::sync::Side;
use crate::value::{NEVER, Value};

/// Values of one row larger than this together are not kept, so that an entry with both sides' rows, and what
/// is committed with it, stays within one transaction of the store.
pub const ROW_BYTES_MAX: usize = 320 * 1024;
const REASON_CHARS_MAX: usize = 1_000;
const REASON_FIELDS_MAX: usize = 50;

/// One pair of records, for good. Also names the rows of plugin calls, see [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// Names a row in one plugin call: the link and the side that is written. Unique at any moment,
/// because at most one operation is in flight per record (invariant 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    pub fn new(link: LinkId, target: Side) -> Self {
        Self(link.0 << 1 | u64::from(target == Side::Right))
    }

    pub fn link(self) -> LinkId {
        LinkId(self.0 >> 1)
    }

    pub fn target(self) -> Side {
        if self.0 & 1 == 1 {
            Side::Right
        } else {
            Side::Left
        }
    }
}

/// A field of one side, by its place in the sync's field table, which only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldId(pub u16);

/// A pair of values, one per side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<T> {
    pub left: T,
    pub right: T,
}

impl<T> Sides<T> {
    pub fn new(mut value: impl FnMut(Side) -> T) -> Self {
        Self {
            left: value(Side::Left),
            right: value(Side::Right),
        }
    }
}

impl<T> std::ops::Index<Side> for Sides<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}

impl<T> std::ops::IndexMut<Side> for Sides<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }
}

/// What one side was last known to hold: a fingerprint per field, and the version they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    fingerprints: Vec<u64>,
    pub version: Box<str>,
}

impl Shadow {
    pub fn get(&self, field: FieldId) -> u64 {
        self.fingerprints
            .get(usize::from(field.0))
            .copied()
            .unwrap_or(NEVER)
    }

    /// Nothing has ever been agreed on.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.iter().all(|print| *print == NEVER)
    }

    pub fn set(&mut self, field: FieldId, fingerprint: u64) {
        let index = usize::from(field.0);
        if self.fingerprints.len() <= index {
            self.fingerprints.resize(index + 1, NEVER);
        }
        self.fingerprints[index] = fingerprint;
    }
}

/// Writes that answer each other: a field that one side keeps changing back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounce {
    /// Where the last write went, and to which fields.
    pub target: Side,
    pub fields: Vec<FieldId>,
    /// How many writes in a row answered the one before.
    pub count: u8,
    pub at_s: i64,
}

/// How the two records of a link stand to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bond {
    /// What changes on one side goes to the other.
    #[default]
    Live,
    /// One side was deleted and the policy keeps the other: its changes go nowhere.
    Detached,
    /// The record of `side` is deleted, or part of another one by its id there, because a field of the other side's
    /// record says so. Both ids are kept, and what changes on the other side waits for the field to be cleared.
    Asleep { side: Side, into: Option<Box<str>> },
    /// The same, and its system could not bring it back when it was asked to.
    Lost { side: Side },
    /// It was asleep once. A delete that is reported of it may be the old one, and is believed when it has been read.
    Awake { side: Side },
}

/// Two records that are one, as far as both are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub ids: Sides<Option<Box<str>>>,
    pub shadow: Sides<Shadow>,
    pub bounce: Option<Box<Bounce>>,
    pub bond: Bond,
}

impl Link {
    /// Its record on `side` is deleted there, and known to be.
    pub fn sleeps(&self, side: Side) -> bool {
        matches!(&self.bond, Bond::Asleep { side: there, .. } | Bond::Lost { side: there } if *there == side)
    }

    /// The id of the record that lives on `side`.
    pub fn living(&self, side: Side) -> Option<&str> {
        self.ids[side].as_deref().filter(|_| !self.sleeps(side))
    }

    /// Both sides have a record again that had not.
    pub fn wake(&mut self) {
        if let Bond::Asleep { side, .. } | Bond::Lost { side } = self.bond {
            self.bond = Bond::Awake { side };
        }
    }

    /// What a write makes true on both sides.
    pub fn agree_on(&mut self, sent: &Sent) {
        for (field, print) in &sent.written {
            self.shadow[sent.target].set(*field, *print);
        }
        for (field, print) in &sent.consumed {
            self.shadow[sent.target.other()].set(*field, *print);
        }
    }
}

/// What the index knows of a remote id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdRef {
    Link(LinkId),
    /// Deleted through us or before our eyes, in milliseconds since 1970. A late page must not
    /// bring it back.
    Gone {
        at_ms: i64,
    },
}

/// The state of one side that has not reached the other yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pending {
    Row {
        values: Vec<(FieldId, Value)>,
        version: Box<str>,
        stamps: Stamps,
        /// Seen by a pull that overlapped a write of ours to this record, so it may be the state
        /// before that write.
        suspect: bool,
    },
    Gone {
        stamps: Stamps,
    },
}

impl Pending {
    pub fn stamps(&self) -> Stamps {
        match self {
            Self::Row { stamps, .. } | Self::Gone { stamps } => *stamps,
        }
    }
}

/// Microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    /// By the source's clock; absent when it can't tell.
    pub committed_us: Option<i64>,
    /// By ours, when the change was captured.
    pub seen_us: i64,
}

/// What a write does to the record, beside its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Nothing, or makes it.
    #[default]
    Fields,
    /// It goes as the other side's has gone.
    Delete,
    /// It goes, and the other side's stays with a field that says so.
    SoftDelete,
    /// It becomes part of another one, by its id on the same side.
    Merge { into: Box<str> },
    /// It comes back.
    Restore,
    /// It is converted, whatever that is to its system.
    Convert,
}

impl Deed {
    /// Whether the target has a record less.
    pub fn removes(&self) -> bool {
        matches!(self, Self::Delete | Self::SoftDelete | Self::Merge { .. })
    }
}

/// What a write was about to make true, kept until its outcome is known (invariants 2 and 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub target: Side,
    pub deed: Deed,
    /// Fingerprints of the fields written on the target.
    pub written: Vec<(FieldId, u64)>,
    /// Fingerprints of the source's fields that this write carries over.
    pub consumed: Vec<(FieldId, u64)>,
}

/// A record that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Goes up with every change, so that a settling write knows whether it carried the latest.
    pub generation: u32,
    pub lane: Lane,
    pub pending: Sides<Option<Pending>>,
    /// The side must be read before anything is decided.
    pub unread: Sides<bool>,
    /// A write whose outcome is unknown.
    pub sent: Option<Sent>,
    /// Refusals in a row.
    pub attempts: u32,
}

impl Entry {
    pub fn new(lane: Lane) -> Self {
        Self {
            generation: 0,
            lane,
            pending: Sides::default(),
            unread: Sides::default(),
            sent: None,
            attempts: 0,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.pending.left.is_none()
            && self.pending.right.is_none()
            && !self.unread.left
            && !self.unread.right
            && self.sent.is_none()
    }

    /// The side whose change waits longest; decides in which queue the entry stands.
    pub fn source(&self) -> Side {
        let seen = |side: Side| {
            self.pending[side]
                .as_ref()
                .map(|pending| pending.stamps().seen_us)
        };
        match (seen(Side::Left), seen(Side::Right)) {
            (None, Some(_)) => Side::Right,
            (Some(left), Some(right)) if right < left => Side::Right,
            (None, None) if self.unread.left => Side::Right,
            _ => Side::Left,
        }
    }
}

/// Why a record stands still until a person, or a new change, moves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable: the vendor's code, or one of ours in kebab-case.
    pub code: String,
    /// The vendor's words, or ours. Never a customer's value.
    pub message: String,
    /// Fields it is about, as the side that complains spells them.
    pub fields: Vec<String>,
    /// Where the change was going.
    pub target: Option<Side>,
}

impl Reason {
    /// A row of `side` that is too large to be kept.
    pub const ROW_TOO_LARGE: &str = "row-too-large";

    pub fn row_too_large(side: Side) -> Self {
        Self {
            code: Self::ROW_TOO_LARGE.into(),
            message: format!(
                "the mapped fields of the record on the {side} are larger than {} KiB together; shorten them there or map fewer, then retry",
                ROW_BYTES_MAX / 1024
            ),
            fields: Vec::new(),
            target: Some(side.other()),
        }
    }

    /// Which records belong together can't be told; only a person can.
    pub const PAIR_AMBIGUOUS: &str = "pair-ambiguous";

    /// A create that may have happened, on a side without a key to look it up by. Only a person can tell.
    pub const CREATE_UNKNOWN: &str = "create-unknown";

    pub fn create_unknown(side: Side) -> Self {
        Self {
            code: Self::CREATE_UNKNOWN.into(),
            message: format!(
                "a create on the {side} may or may not have happened, and the side has no key to look it up by; look for the record there, and retry if it is missing"
            ),
            fields: Vec::new(),
            target: Some(side),
        }
    }

    /// A vendor's words may be a whole page.
    pub fn bounded(mut self) -> Self {
        if let Some((end, _)) = self.message.char_indices().nth(REASON_CHARS_MAX) {
            self.message.truncate(end);
            self.message.push('…');
        }
        self.fields.truncate(REASON_FIELDS_MAX);
        self
    }
}

/// Whether a row's values are small enough to be kept.
pub fn fits(values: &[(FieldId, Value)]) -> bool {
    values.iter().map(|(_, value)| value.bytes()).sum::<usize>() <= ROW_BYTES_MAX
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub reason: Reason,
    pub at_ms: i64,
    /// The entry as it stood, so that it can be tried again.
    pub entry: Entry,
}
