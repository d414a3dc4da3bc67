//! First contact of two filled systems: which of their records are one.
//!
//! While a side is still being read whole, records that lack their other half wait, and stand in an index by what each
//! pair rule compares. Then one rule after the other is gone through ([`step`]): one record here and one there become a
//! link with both halves; more than that are left to a person, never guessed; none leaves it to the next rule, and
//! in the end the record is made on the other side. Whoever comes in meanwhile, or comes back from the dead letters, is
//! held against the index by itself ([`meet`]).

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::batch::Cell;
use crate::ledger::{
    HalfPlace, Ledger, LedgerError, Room, halves_prefix, key_half, key_link, prefix,
};
use crate::model::Model;
use crate::record::{Bond, DeadLetter, Entry, FieldId, IdRef, Link, LinkId, Pending, Reason};
use crate::sync::{PairRule, Side};
use crate::value::{Value, canonical};

/// Candidates that a person is told of.
const TOLD: usize = 5;

/// How far the first contact of a sync is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// A side is still being read whole: everything may still turn up.
    #[default]
    Reading,
    /// Both are read. The records of `side` are gone through by this rule, from behind the key `after`.
    Pairing {
        rule: u8,
        side: Side,
        after: Option<Vec<u8>>,
    },
    /// All is decided. What the index holds beside records that are left to a person is dropped, from behind this key.
    Clearing {
        after: Option<Vec<u8>>,
    },
    Over,
}

impl Phase {
    pub const PAIRING: Self = Self::Pairing {
        rule: 0,
        side: Side::Left,
        after: None,
    };

    /// Whether records without their other half are kept from being made there.
    pub fn holds(&self) -> bool {
        match self {
            Self::Reading | Self::Pairing { .. } => true,
            Self::Clearing { .. } | Self::Over => false,
        }
    }
}

/// A first contact as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub phase: Phase,
    /// That the index was made by.
    pub rules: Vec<PairRule>,
}

/// What becomes of a record that has something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nothing is to be decided here: it goes on as any other.
    Free,
    /// Until both sides are read and paired.
    Waits,
    /// The two links are one now, under the first number.
    Paired { kept: LinkId, gone: LinkId },
    /// It lies in the dead letters.
    Ambiguous,
}

/// A part of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub next: Phase,
    /// What became of records, where anything did.
    pub met: Vec<(LinkId, Met)>,
}

/// The side on which a record is that lacks its other half and whose next step would be to make it. Such a record waits at
/// first contact.
pub fn half(link: &Link, entry: &Entry) -> Option<Side> {
    let side = lonely(link)?;
    let at_rest = entry.sent.is_none() && !entry.unread.left && !entry.unread.right;
    let has_row = matches!(entry.pending[side], Some(Pending::Row { .. }));
    (at_rest && has_row).then_some(side)
}

/// The only side that has the record.
pub fn lonely(link: &Link) -> Option<Side> {
    match (&link.ids.left, &link.ids.right) {
        _ if !matches!(link.bond, Bond::Live | Bond::Awake { .. }) => None,
        (Some(_), None) => Some(Side::Left),
        (None, Some(_)) => Some(Side::Right),
        _ => None,
    }
}

/// What a rule compares of a row; `None` when a part of it is empty, which pairs nothing.
pub fn hash(model: &Model, rule: usize, side: Side, row: &[(FieldId, Value)]) -> Option<u128> {
    let exact = model.spec.pairs.get(rule)?.exact;
    let fields = model.pairs.get(rule)?;
    let mut hasher = Xxh3Default::new();
    for (index, field) in fields[side].iter().enumerate() {
        let (_, value) = row.iter().find(|(known, _)| known == field)?;
        let lowered;
        let cell = match value.cell() {
            Cell::Null | Cell::Unset => return None,
            Cell::Text(text) if exact => Cell::Text(text),
            Cell::Text(text) => {
                lowered = text.trim().to_lowercase();
                Cell::Text(&lowered)
            }
            other => other,
        };
        if matches!(cell, Cell::Text(text) if text.trim().is_empty()) {
            return None;
        }
        // Times are equal as far as the coarser side can tell.
        let resolution_us = Side::BOTH
            .into_iter()
            .filter_map(|side| model.field(side, *fields[side].get(index)?)?.resolution_us)
            .max();
        canonical(cell, resolution_us.unwrap_or(1), |tag, bytes| {
            hasher.update(&[tag]);
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        })?;
    }
    Some(hasher.digest128())
}

fn place(model: &Model, rule: usize, side: Side, row: &[(FieldId, Value)]) -> Option<HalfPlace> {
    Some(HalfPlace {
        rule: u8::try_from(rule).ok()?,
        side,
        hash: hash(model, rule, side, row)?,
    })
}

/// All places of a row.
fn places<'a>(
    model: &'a Model,
    side: Side,
    row: &'a [(FieldId, Value)],
) -> impl Iterator<Item = HalfPlace> + 'a {
    let rules = 0..model.pairs.len();
    rules.filter_map(move |rule| place(model, rule, side, row))
}

/// Who may be a record's other half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    All,
    /// Only those that were left to a person: all others have found theirs, or are being made on the other side.
    Ambiguous,
}

impl Among {
    fn in_phase(phase: &Phase) -> Self {
        match phase.holds() {
            true => Self::All,
            false => Self::Ambiguous,
        }
    }
}

/// A record of the index as it stands now.
struct Standing {
    entry: Entry,
    ambiguous: bool,
}

impl Standing {
    fn row(&self, side: Side) -> Option<&[(FieldId, Value)]> {
        match &self.entry.pending[side] {
            Some(Pending::Row { values, .. }) => Some(values),
            _ => None,
        }
    }
}

/// The record, if it still lacks its other half and its row is known.
fn standing(ledger: &Ledger<'_>, id: LinkId, side: Side) -> Result<Option<Standing>, LedgerError> {
    let alone = ledger.link(id)?.as_ref().and_then(lonely) == Some(side);
    if !alone || ledger.is_apart(id)? {
        return Ok(None);
    }
    let (entry, ambiguous) = match ledger.entry(id)? {
        Some(entry) => (entry, false),
        None => match ledger.dead(id)? {
            Some(letter) => (letter.entry, letter.reason.code == Reason::PAIR_AMBIGUOUS),
            None => return Ok(None),
        },
    };
    // Its other half may have been made, and nobody knows yet.
    if entry.sent.is_some() || ledger.intent(id)?.is_some() {
        return Ok(None);
    }
    let standing = Standing { entry, ambiguous };
    Ok(standing.row(side).is_some().then_some(standing))
}

/// The record, if it still stands in this place of the index.
fn standing_at(
    ledger: &Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    id: LinkId,
) -> Result<Option<Standing>, LedgerError> {
    let here = |standing: &Standing| {
        let row = standing.row(place.side).unwrap_or_default();
        hash(model, usize::from(place.rule), place.side, row) == Some(place.hash)
    };
    Ok(standing(ledger, id, place.side)?.filter(here))
}

/// Takes a record into the index, in all its places; `None` where it does not belong there.
fn enter(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    side: Side,
) -> Result<Option<Vec<HalfPlace>>, LedgerError> {
    let Some(standing) = standing(ledger, id, side)? else {
        return Ok(None);
    };
    let row = standing.row(side).unwrap_or_default();
    let places: Vec<HalfPlace> = places(model, side, row).collect();
    for place in &places {
        ledger.put_half(*place, id);
    }
    Ok(Some(places))
}

/// Up to `most` records of a place that are candidates, beside `but`. What is there no more is dropped.
fn candidates(
    ledger: &mut Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    among: Among,
    (most, but): (usize, LinkId),
) -> Result<Vec<(LinkId, bool)>, LedgerError> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = ledger.halves(place, after, most)?;
        after = page.last().copied();
        for id in page.iter().filter(|id| **id != but) {
            match standing_at(ledger, model, place, *id)? {
                None => ledger.remove_half(place, *id),
                Some(standing) if among == Among::All || standing.ambiguous => {
                    found.push((*id, standing.ambiguous));
                }
                Some(_) => {}
            }
            if found.len() == most {
                return Ok(found);
            }
        }
        if page.len() < most {
            return Ok(found);
        }
    }
}

/// What a rule says of a record.
enum Verdict {
    /// The other side has none: the next rule decides.
    Nobody,
    One(LinkId),
    /// Candidates on the other side and on its own.
    Several(Vec<LinkId>, Vec<LinkId>),
}

fn judge(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    own: HalfPlace,
    among: Among,
) -> Result<Verdict, LedgerError> {
    let there = HalfPlace {
        side: own.side.other(),
        ..own
    };
    let others = candidates(ledger, model, there, among, (TOLD + 1, id))?;
    if others.is_empty() {
        return Ok(Verdict::Nobody);
    }
    let siblings = candidates(ledger, model, own, among, (TOLD + 1, id))?;
    if let ([(other, ambiguous)], []) = (&*others, &*siblings) {
        // A person may find that it belongs to another.
        if !*ambiguous || !is_claimed(ledger, model, *other, there, among)? {
            return Ok(Verdict::One(*other));
        }
    }
    let ids = |found: Vec<(LinkId, bool)>| found.into_iter().map(|(id, _)| id).collect();
    Ok(Verdict::Several(ids(others), ids(siblings)))
}

/// Whether an earlier rule finds candidates for a record.
fn is_claimed(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    by: HalfPlace,
    among: Among,
) -> Result<bool, LedgerError> {
    let Some(standing) = standing(ledger, id, by.side)? else {
        return Ok(false);
    };
    let row = standing.row(by.side).unwrap_or_default();
    for earlier in places(model, by.side, row).take_while(|earlier| earlier.rule < by.rule) {
        let there = HalfPlace {
            side: by.side.other(),
            ..earlier
        };
        if !candidates(ledger, model, there, among, (1, id))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A record was captured, read, or brought back from the dead letters. Nothing of it may be under way.
pub fn meet(
    ledger: &mut Ledger<'_>,
    model: &Model,
    phase: &Phase,
    id: LinkId,
    now_us: i64,
) -> Result<Met, LedgerError> {
    let (Some(link), Some(entry)) = (ledger.link(id)?, ledger.entry(id)?) else {
        return Ok(Met::Free);
    };
    let Some(side) = half(&link, &entry) else {
        return Ok(Met::Free);
    };
    let undecided = match phase.holds() {
        true => Met::Waits,
        false => Met::Free,
    };
    let Some(places) = enter(ledger, model, id, side)? else {
        return Ok(undecided);
    };
    for place in &places {
        let decided = match phase {
            Phase::Reading => false,
            Phase::Pairing { rule, .. } => place.rule <= *rule,
            Phase::Clearing { .. } | Phase::Over => true,
        };
        if !decided {
            break;
        }
        match judge(ledger, model, id, *place, Among::in_phase(phase))? {
            Verdict::Nobody => {}
            Verdict::One(other) => return pair(ledger, model, id, other, side),
            Verdict::Several(others, siblings) => {
                let reason = ambiguous(ledger, model, *place, &others, &siblings)?;
                bury(ledger, id, entry, reason, now_us);
                return Ok(Met::Ambiguous);
            }
        }
    }
    if !phase.holds() {
        // It is made on the other side now, and is nobody's candidate.
        for place in &places {
            ledger.remove_half(*place, id);
        }
    }
    Ok(undecided)
}

/// Takes a record into the index, as it waits or lies in the dead letters.
pub fn index(ledger: &mut Ledger<'_>, model: &Model, id: LinkId) -> Result<(), LedgerError> {
    if let Some(side) = ledger.link(id)?.as_ref().and_then(lonely) {
        enter(ledger, model, id, side)?;
    }
    Ok(())
}

/// Goes a part of the way, of `keys_max` keys and about `bytes_max` bytes at most.
pub fn step(
    ledger: &mut Ledger<'_>,
    model: &Model,
    phase: &Phase,
    (keys_max, bytes_max): (usize, usize),
    now_us: i64,
) -> Result<Step, LedgerError> {
    let mut met = Vec::new();
    let next = match phase {
        Phase::Reading | Phase::Over => phase.clone(),
        Phase::Pairing { rule, side, after } => {
            let prefix = halves_prefix(ledger.sync(), *rule, *side);
            let keys = ledger.keys(&prefix, after.as_deref(), keys_max)?;
            let mut last = None;
            for key in &keys {
                if ledger.bytes() >= bytes_max {
                    break;
                }
                last = Some(key.clone());
                if let Some((place, id)) = key_half(key) {
                    met.extend(decide(ledger, model, place, id, now_us)?);
                }
            }
            let ended = last.as_ref() == keys.last() && keys.len() < keys_max;
            match ended {
                false => Phase::Pairing {
                    rule: *rule,
                    side: *side,
                    after: last.or_else(|| after.clone()),
                },
                true => after_pass(model, *rule, *side),
            }
        }
        Phase::Clearing { after } => clear(ledger, model, after.as_deref(), keys_max)?,
    };
    Ok(Step { next, met })
}

fn after_pass(model: &Model, rule: u8, side: Side) -> Phase {
    let (rule, side) = match side {
        Side::Left => (rule, Side::Right),
        Side::Right => (rule + 1, Side::Left),
    };
    match usize::from(rule) < model.pairs.len() {
        true => Phase::Pairing {
            rule,
            side,
            after: None,
        },
        false => Phase::Clearing { after: None },
    }
}

/// A record of the pass.
fn decide(
    ledger: &mut Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    id: LinkId,
    now_us: i64,
) -> Result<Option<(LinkId, Met)>, LedgerError> {
    let there = HalfPlace {
        side: place.side.other(),
        ..place
    };
    if ledger.halves(there, None, 1)?.is_empty() {
        return Ok(None);
    }
    let Some(standing) = standing_at(ledger, model, place, id)? else {
        ledger.remove_half(place, id);
        return Ok(None);
    };
    if standing.ambiguous {
        return Ok(None);
    }
    let met = match judge(ledger, model, id, place, Among::All)? {
        Verdict::Nobody => return Ok(None),
        Verdict::One(other) => pair(ledger, model, id, other, place.side)?,
        Verdict::Several(others, siblings) => {
            let reason = ambiguous(ledger, model, place, &others, &siblings)?;
            bury(ledger, id, standing.entry, reason, now_us);
            Met::Ambiguous
        }
    };
    Ok(Some((id, met)))
}

/// What the index need not hold any more goes, and so do marks of records that have found or lost their other half.
fn clear(
    ledger: &mut Ledger<'_>,
    model: &Model,
    after: Option<&[u8]>,
    keys_max: usize,
) -> Result<Phase, LedgerError> {
    let keys = ledger.keys(&prefix(Room::Half, ledger.sync()), after, keys_max)?;
    for key in &keys {
        let Some((place, id)) = key_half(key) else {
            continue;
        };
        let standing = standing_at(ledger, model, place, id)?;
        if standing.is_none_or(|standing| !standing.ambiguous) {
            ledger.remove_half(place, id);
        }
    }
    if keys.len() == keys_max {
        return Ok(Phase::Clearing {
            after: keys.last().cloned(),
        });
    }
    let marks = ledger.keys(&prefix(Room::Apart, ledger.sync()), None, keys_max)?;
    for id in marks.iter().filter_map(|key| key_link(key)) {
        let stays = ledger.link(id)?.is_some_and(|link| lonely(&link).is_some());
        if !stays {
            ledger.remove_apart(id);
        }
    }
    Ok(Phase::Over)
}

fn pair(
    ledger: &mut Ledger<'_>,
    model: &Model,
    id: LinkId,
    other: LinkId,
    side: Side,
) -> Result<Met, LedgerError> {
    let (left, right) = match side {
        Side::Left => (id, other),
        Side::Right => (other, id),
    };
    Ok(match join(ledger, model, left, right)? {
        true => Met::Paired {
            kept: left,
            gone: right,
        },
        false => Met::Free,
    })
}

/// Makes one link of two halves, under the number of the left one. What both sides hold waits in its entry, so that it is
/// merged like any two changes. False when one of them is no half any more.
pub fn join(
    ledger: &mut Ledger<'_>,
    model: &Model,
    left: LinkId,
    right: LinkId,
) -> Result<bool, LedgerError> {
    let (Some(mut link), Some(other)) = (ledger.link(left)?, ledger.link(right)?) else {
        return Ok(false);
    };
    if lonely(&link) != Some(Side::Left) || lonely(&other) != Some(Side::Right) {
        return Ok(false);
    }
    let mut entry = waiting(ledger, left)?;
    let gone = waiting(ledger, right)?;
    for (id, side, of) in [(left, Side::Left, &entry), (right, Side::Right, &gone)] {
        if let Some(Pending::Row { values, .. }) = &of.pending[side] {
            for place in places(model, side, values) {
                ledger.remove_half(place, id);
            }
        }
    }
    if let Some(id) = &other.ids.right {
        ledger.put_id(Side::Right, id, IdRef::Link(left));
    }
    link.ids.right = other.ids.right;
    link.shadow.right = other.shadow.right;
    ledger.put_link(left, &link);
    entry.pending.right = gone.pending.right;
    entry.unread.right = gone.unread.right;
    entry.lane = entry.lane.min(gone.lane);
    entry.generation = entry.generation.max(gone.generation).wrapping_add(1);
    entry.attempts = 0;
    ledger.put_entry(left, &entry);
    ledger.remove_link(right);
    ledger.remove_entry(right);
    Ok(true)
}

/// What waits of a half; a dead letter comes back for it. Of one that nothing is known of, its side is read.
fn waiting(ledger: &mut Ledger<'_>, id: LinkId) -> Result<Entry, LedgerError> {
    if let Some(entry) = ledger.entry(id)? {
        return Ok(entry);
    }
    if let Some(letter) = ledger.dead(id)? {
        ledger.remove_dead(id);
        return Ok(letter.entry);
    }
    let mut entry = Entry::new(crate::pace::Lane::Normal);
    if let Some(side) = ledger.link(id)?.as_ref().and_then(lonely) {
        entry.unread[side] = true;
    }
    Ok(entry)
}

fn bury(ledger: &mut Ledger<'_>, id: LinkId, entry: Entry, reason: Reason, now_us: i64) {
    ledger.remove_entry(id);
    let letter = DeadLetter {
        reason: reason.bounded(),
        at_ms: now_us / 1_000,
        entry,
    };
    ledger.put_dead(id, &letter);
}

fn ambiguous(
    ledger: &Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    others: &[LinkId],
    siblings: &[LinkId],
) -> Result<Reason, LedgerError> {
    let rule = usize::from(place.rule);
    let names = |side: Side| -> Vec<String> {
        let fields = model.pairs.get(rule).map_or(&[][..], |rule| &rule[side]);
        let names = fields
            .iter()
            .map(|field| model.name(side, *field).to_owned());
        names.collect()
    };
    let (side, other) = (place.side, place.side.other());
    let mut told = Vec::new();
    let mut room = TOLD;
    for (of, ids) in [(other, others), (side, siblings)] {
        let mut shown = Vec::new();
        for id in ids.iter().take(room) {
            let remote = ledger.link(*id)?.and_then(|link| link.ids[of].clone());
            shown.extend(remote.map(String::from));
        }
        room -= shown.len();
        if !shown.is_empty() {
            let more = match ids.len() > shown.len() {
                true => " and more",
                false => "",
            };
            told.push(format!("on the {of} {}{more}", shown.join(", ")));
        }
    }
    Ok(Reason {
        code: Reason::PAIR_AMBIGUOUS.into(),
        message: format!(
            "pair rule {} ({} = {}) finds more than one that it may be, or one that may be another's: {}; say which two are one with `tidegate pair SYNC LEFT-ID RIGHT-ID`, or with `tidegate pair SYNC --apart ID` that this one has no other half; or change or merge the records there, and retry",
            rule + 1,
            names(Side::Left).join(", "),
            names(Side::Right).join(", "),
            told.join(", and "),
        ),
        fields: names(side),
        target: Some(other),
    })
}
