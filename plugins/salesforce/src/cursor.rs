//! What a stream remembers between pulls, as bytes that the host keeps.
//!
//! Bounded to some 64 KiB: what was reported lately is remembered by digest, and the oldest is forgotten
//! first. Forgetting means to report a record again, never to miss one.

use crate::compact::{Reader, Writer};
use crate::kind::Kind;
use crate::shape::Shape;
use crate::soql::Position;

/// First byte of every cursor; another one is another layout.
const CHANGES: u8 = 1;
const SNAPSHOT: u8 = 4;
/// Reported rows that are remembered at most.
pub(crate) const SEEN_MAX: usize = 4_500;
/// Deleted records that are remembered at most.
pub(crate) const GONE_MAX: usize = 500;

/// The place in an object's changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) shape: Shape,
    /// When the shape was learnt, by the host's clock.
    pub(crate) described_us: i64,
    /// The vendor's clock, as an answer last told it.
    pub(crate) clock_us: i64,
    /// Everything before this stamp has become visible and was reported.
    pub(crate) floor_us: i64,
    /// The last row that any pass has read.
    pub(crate) tail: Option<Position>,
    /// The pass under way, when its last page was full.
    pub(crate) pass: Option<Pass>,
    /// When a pass last began at the floor, by the vendor's clock, and how many pages it took.
    pub(crate) swept_us: i64,
    pub(crate) swept_pages: u32,
    pub(crate) purge: Purge,
    /// Rows that were reported, oldest first.
    pub(crate) seen: Vec<Seen>,
    /// Records that were reported as deleted or merged and that the delete log will name once more.
    pub(crate) gone: Vec<Seen>,
}

/// One run over the changes, page by page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Where its next page starts.
    pub(crate) after: Position,
    /// It began at the floor, so the floor moves up when it ends.
    pub(crate) whole: bool,
    /// The vendor's clock before its first page.
    pub(crate) began_us: i64,
    pub(crate) pages: u32,
}

/// Where the reading of the delete log stands, by the vendor's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purge {
    pub(crate) from_us: i64,
    /// Not asked for before.
    pub(crate) due_us: i64,
    /// The window whose records did not all fit a page: its end, and the last id that did.
    pub(crate) open: Option<(i64, String)>,
}

/// A digest of something reported, with its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) at_ms: i64,
    pub(crate) digest: u64,
}

/// The place in a reading of all of an object's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) shape: Shape,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind this id, or at the beginning when it is empty.
    After(String),
    /// At a query job that has not ended when it was last looked at.
    Waiting { job: String, looks: u32 },
    /// At a page of a query job's results, the first one without locator.
    Reading {
        job: String,
        locator: Option<String>,
    },
}

impl Changes {
    pub(crate) fn encode(mut self) -> Vec<u8> {
        keep_newest(&mut self.seen, SEEN_MAX);
        keep_newest(&mut self.gone, GONE_MAX);
        let mut writer = Writer::new(CHANGES);
        writer.shape(&self.shape);
        for us in [
            self.described_us,
            self.clock_us,
            self.floor_us,
            self.swept_us,
        ] {
            writer.signed(us);
        }
        writer.unsigned(u64::from(self.swept_pages));
        writer.option(self.tail.as_ref(), Writer::position);
        writer.option(self.pass.as_ref(), |writer, pass| {
            writer.position(&pass.after);
            writer.byte(u8::from(pass.whole));
            writer.signed(pass.began_us);
            writer.unsigned(u64::from(pass.pages));
        });
        writer.signed(self.purge.from_us);
        writer.signed(self.purge.due_us);
        writer.option(self.purge.open.as_ref(), |writer, (until_us, id)| {
            writer.signed(*until_us);
            writer.text(id);
        });
        writer.seen(&self.seen);
        writer.seen(&self.gone);
        writer.finish()
    }

    /// `None` for bytes of another layout.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, CHANGES)?;
        let shape = reader.shape()?;
        let described_us = reader.signed()?;
        let clock_us = reader.signed()?;
        let floor_us = reader.signed()?;
        let swept_us = reader.signed()?;
        let swept_pages = u32::try_from(reader.unsigned()?).ok()?;
        let tail = reader.option(Reader::position)?;
        let pass = reader.option(|reader| {
            Some(Pass {
                after: reader.position()?,
                whole: reader.byte()? != 0,
                began_us: reader.signed()?,
                pages: u32::try_from(reader.unsigned()?).ok()?,
            })
        })?;
        let purge = Purge {
            from_us: reader.signed()?,
            due_us: reader.signed()?,
            open: reader.option(|reader| Some((reader.signed()?, reader.text()?)))?,
        };
        let (seen, gone) = (reader.seen()?, reader.seen()?);
        reader.is_done().then_some(Self {
            shape,
            described_us,
            clock_us,
            floor_us,
            tail,
            pass,
            swept_us,
            swept_pages,
            purge,
            seen,
            gone,
        })
    }
}

impl Snapshot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(SNAPSHOT);
        writer.shape(&self.shape);
        match &self.place {
            Place::After(id) => {
                writer.byte(0);
                writer.text(id);
            }
            Place::Waiting { job, looks } => {
                writer.byte(1);
                writer.text(job);
                writer.unsigned(u64::from(*looks));
            }
            Place::Reading { job, locator } => {
                writer.byte(2);
                writer.text(job);
                writer.option(locator.as_ref(), |writer, locator| writer.text(locator));
            }
        }
        writer.finish()
    }

    /// `None` for bytes of another layout.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, SNAPSHOT)?;
        let shape = reader.shape()?;
        let place = match reader.byte()? {
            0 => Place::After(reader.text()?),
            1 => Place::Waiting {
                job: reader.text()?,
                looks: u32::try_from(reader.unsigned()?).ok()?,
            },
            2 => Place::Reading {
                job: reader.text()?,
                locator: reader.option(Reader::text)?,
            },
            _ => return None,
        };
        reader.is_done().then_some(Self { shape, place })
    }
}

fn keep_newest(seen: &mut Vec<Seen>, most: usize) {
    seen.sort_unstable();
    let surplus = seen.len().saturating_sub(most);
    seen.drain(..surplus);
}

impl Writer {
    fn position(&mut self, position: &Position) {
        self.signed(position.stamp_us);
        self.text(&position.id);
    }

    fn shape(&mut self, shape: &Shape) {
        self.text(&shape.stamp);
        for flag in [shape.has_deleted, shape.has_master, shape.replicateable] {
            self.byte(u8::from(flag));
        }
        self.unsigned(shape.columns.len() as u64);
        for (name, kind) in &shape.columns {
            self.text(name);
            self.byte(*kind as u8);
        }
        self.unsigned(shape.hidden.len() as u64);
        for name in &shape.hidden {
            self.text(name);
        }
    }

    fn seen(&mut self, seen: &[Seen]) {
        self.unsigned(seen.len() as u64);
        let mut before_ms = 0;
        for one in seen {
            self.signed(one.at_ms - before_ms);
            self.bytes(&one.digest.to_le_bytes());
            before_ms = one.at_ms;
        }
    }
}

impl Reader<'_> {
    fn position(&mut self) -> Option<Position> {
        Some(Position {
            stamp_us: self.signed()?,
            id: self.text()?,
        })
    }

    fn shape(&mut self) -> Option<Shape> {
        let stamp = self.text()?;
        let mut flag = || self.byte().map(|byte| byte != 0);
        let (has_deleted, has_master, replicateable) = (flag()?, flag()?, flag()?);
        let mut columns = Vec::new();
        for _ in 0..self.unsigned()? {
            columns.push((self.text()?, Kind::from_byte(self.byte()?)?));
        }
        let mut hidden = Vec::new();
        for _ in 0..self.unsigned()? {
            hidden.push(self.text()?);
        }
        Some(Shape {
            stamp,
            has_deleted,
            has_master,
            replicateable,
            columns,
            hidden,
        })
    }

    fn seen(&mut self) -> Option<Vec<Seen>> {
        let mut seen = Vec::new();
        let mut at_ms: i64 = 0;
        for _ in 0..self.unsigned()? {
            at_ms = at_ms.checked_add(self.signed()?)?;
            let digest = u64::from_le_bytes(self.take(8)?.try_into().ok()?);
            seen.push(Seen { at_ms, digest });
        }
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            stamp: "SystemModstamp".to_owned(),
            has_deleted: true,
            has_master: false,
            replicateable: true,
            columns: (0..300)
                .map(|n| (format!("A_Custom_Field_{n}__c"), Kind::Text))
                .collect(),
            hidden: vec!["Gone__c".to_owned()],
        }
    }

    fn changes(seen: usize) -> Changes {
        let at = |n: usize| Seen {
            at_ms: 1_772_359_200_000 + n as i64 * 131_071,
            digest: (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        let place = Position {
            stamp_us: -1,
            id: "003000000000001AAA".to_owned(),
        };
        Changes {
            shape: shape(),
            described_us: i64::MAX,
            clock_us: i64::MIN,
            floor_us: 0,
            tail: Some(place.clone()),
            pass: Some(Pass {
                after: place,
                whole: true,
                began_us: 63,
                pages: u32::MAX,
            }),
            swept_us: 64,
            swept_pages: 128,
            purge: Purge {
                from_us: -64,
                due_us: -65,
                open: Some((1, "003".to_owned())),
            },
            seen: (0..seen).map(at).collect(),
            gone: (0..2 * GONE_MAX).map(at).collect(),
        }
    }

    #[test]
    fn a_cursor_is_bounded_and_forgets_the_oldest_first() {
        let full = changes(3 * SEEN_MAX);
        let bytes = full.clone().encode();
        assert!(bytes.len() <= 64 * 1024, "{} bytes", bytes.len());
        let found = Changes::decode(&bytes).expect("a cursor");
        assert_eq!(found.seen, full.seen[2 * SEEN_MAX..]);
        assert_eq!(found.gone, full.gone[GONE_MAX..]);
        let rest = Changes {
            seen: full.seen.clone(),
            gone: full.gone.clone(),
            ..found
        };
        assert_eq!(rest, full);
    }

    #[test]
    fn a_damaged_cursor_is_noticed() {
        let bytes = changes(3).encode();
        for length in 0..bytes.len() {
            assert_eq!(Changes::decode(&bytes[..length]), None, "{length} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Changes::decode(&longer), None);
        assert_eq!(Snapshot::decode(&bytes), None);
        let job = || "750000000000001AAA".to_owned();
        let places = [
            Place::After("003000000000001AAA".to_owned()),
            Place::Waiting {
                job: job(),
                looks: u32::MAX,
            },
            Place::Reading {
                job: job(),
                locator: None,
            },
            Place::Reading {
                job: job(),
                locator: Some("MjAwMA".to_owned()),
            },
        ];
        for place in places {
            let snapshot = Snapshot {
                shape: shape(),
                place,
            };
            let bytes = snapshot.encode();
            assert_eq!(Snapshot::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Snapshot::decode(&bytes), Some(snapshot));
        }
    }
}
