//! First contact of two filled systems: what waits for it, and how it goes on by itself.
//!
//! [`tidegate_core::pairing`] decides. Its phase stands in the store and moves in the transaction of what was decided, so
//! that a kill at any moment only repeats a part of the way.

use std::sync::atomic::Ordering;

use tidegate_core::ledger::{Base, Ledger, LedgerError, Room, SyncId, prefix};
use tidegate_core::pairing::{self, Contact, Met, Phase};
use tidegate_core::plugin::StreamKind;
use tidegate_core::progress::FirstRead;
use tidegate_core::record::{Entry, LinkId, Reason, Sides};
use tidegate_core::sync::Side;
use tidegate_store::{KeyRange, Store};

use super::engine::{CAPTURE_ROWS, Engine, EngineError, Rows, pages};
use super::records::{self, Committed};
use super::running::{Running, Sync};
use super::streams;
use crate::status::Told;

/// The first contact of a sync that has pair rules.
#[derive(Debug)]
pub(super) struct FirstContact {
    contact: Contact,
    /// Sides that have been read whole.
    pub(super) read: Sides<bool>,
    /// The index holds somebody.
    indexed: bool,
}

impl FirstContact {
    /// As it stands in the store; `None` for a sync without pair rules.
    pub(super) async fn load(
        store: &Store,
        running: &Running,
    ) -> Result<Option<Self>, EngineError> {
        let (id, model) = (running.id, &running.model);
        let known = Ledger::new(&Committed(store.clone()), id).contact()?;
        let rules = &model.spec.pairs;
        let mut contact = match known {
            None if rules.is_empty() => return Ok(None),
            known => known.unwrap_or_default(),
        };
        if contact.rules != *rules {
            forget(store, id, rules.is_empty()).await?;
            if rules.is_empty() {
                return Ok(None);
            }
            index(store, running).await?;
            contact.rules.clone_from(rules);
            contact.phase = match contact.phase.holds() {
                true => Phase::Reading,
                false => Phase::Clearing { after: None },
            };
            save(store, id, &contact).await?;
        } else if contact.phase == Phase::Over {
            contact.phase = Phase::Clearing { after: None };
        }
        let mut read = Sides::default();
        for side in Side::BOTH {
            let spec = model.spec.side(side);
            let name = streams::name(&spec.endpoint, StreamKind::Snapshot, &spec.object);
            let cursor = records::load_cursor(store, &name)?;
            let mut fields = model.selected(side);
            fields.sort_unstable();
            read[side] = cursor.done && cursor.fields == fields;
        }
        Ok(Some(Self {
            indexed: is_indexed(store, id)?,
            contact,
            read,
        }))
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.contact.phase
    }

    /// Whether a record that lacks its other half must be looked at.
    fn concerns(&self) -> bool {
        self.indexed || self.contact.phase.holds()
    }
}

/// What is to be done once what was met is on disk.
#[derive(Debug)]
pub(super) enum Encounter {
    None,
    Waits {
        /// It did not stand aside before.
        new: bool,
    },
    Paired {
        kept: LinkId,
        gone: LinkId,
    },
    Ambiguous {
        reason: Reason,
        new: bool,
    },
}

impl Encounter {
    pub(super) fn of(ledger: &Ledger<'_>, link: LinkId, met: Met) -> Result<Self, LedgerError> {
        // The first state of a record makes its entry.
        let is_new = |entry: &Entry| entry.generation <= 1;
        Ok(match met {
            Met::Free => Self::None,
            Met::Waits => Self::Waits {
                new: ledger.entry(link)?.as_ref().is_some_and(is_new),
            },
            Met::Paired { kept, gone } => Self::Paired { kept, gone },
            Met::Ambiguous => match ledger.dead(link)? {
                Some(letter) => Self::Ambiguous {
                    new: is_new(&letter.entry),
                    reason: letter.reason,
                },
                None => Self::None,
            },
        })
    }
}

impl Encounter {
    /// Of a record that was in flight, or comes back from the dead letters.
    pub(super) fn returned(
        ledger: &Ledger<'_>,
        link: LinkId,
        met: Met,
    ) -> Result<Self, LedgerError> {
        Ok(match Self::of(ledger, link, met)? {
            Self::Waits { .. } => Self::Waits { new: true },
            Self::Ambiguous { reason, .. } => Self::Ambiguous { reason, new: true },
            other => other,
        })
    }
}

fn is_indexed(store: &Store, id: SyncId) -> Result<bool, LedgerError> {
    let keys = Committed(store.clone()).keys(&prefix(Room::Half, id), None, 1)?;
    Ok(!keys.is_empty())
}

async fn save(store: &Store, id: SyncId, contact: &Contact) -> Result<(), EngineError> {
    let base = Committed(store.clone());
    let mut ledger = Ledger::new(&base, id);
    ledger.put_contact(contact);
    records::commit(store, ledger.into_changes()).await?;
    Ok(())
}

/// Takes the index away, which was made by other rules; and all of it where there are none any more.
async fn forget(store: &Store, id: SyncId, all: bool) -> Result<(), EngineError> {
    let rooms: &[Room] = match all {
        true => &[Room::Half, Room::Apart],
        false => &[Room::Half],
    };
    for room in rooms {
        loop {
            let keys = Committed(store.clone()).keys(&prefix(*room, id), None, CAPTURE_ROWS)?;
            if keys.is_empty() {
                break;
            }
            let changes = keys.into_iter().map(|key| (key, None)).collect();
            records::commit(store, changes).await?;
        }
    }
    if all {
        let base = Committed(store.clone());
        let mut ledger = Ledger::new(&base, id);
        ledger.remove_contact();
        records::commit(store, ledger.into_changes()).await?;
    }
    Ok(())
}

/// Makes the index anew, of all that waits and of what is left to people.
async fn index(store: &Store, running: &Running) -> Result<(), EngineError> {
    let base = Committed(store.clone());
    for room in [Room::Entry, Room::Dead] {
        for page in pages(store, KeyRange::prefix(prefix(room, running.id))) {
            let page: Rows = page?;
            let mut ledger = Ledger::new(&base, running.id);
            for (link, _) in page {
                pairing::index(&mut ledger, &running.model, link)?;
            }
            records::commit(store, ledger.into_changes()).await?;
        }
    }
    Ok(())
}

impl Sync {
    /// Holds a record that was captured or settled against those without their other half. None of it may be under way.
    pub(super) fn meet(
        &self,
        ledger: &mut Ledger<'_>,
        link: LinkId,
        now_us: i64,
    ) -> Result<Met, LedgerError> {
        match self.contact.as_ref().filter(|contact| contact.concerns()) {
            Some(contact) => {
                let model = &self.running.model;
                pairing::meet(ledger, model, contact.phase(), link, now_us)
            }
            None => Ok(Met::Free),
        }
    }

    /// What keeps halves from being made, for people.
    pub(super) fn first_contact(&self) -> Option<Told> {
        let contact = self.contact.as_ref()?;
        let message = match contact.phase() {
            Phase::Reading => {
                let side = |side: Side| match contact.read[side] {
                    true => format!("the {side} is read"),
                    false => match &self.first_reads[side] {
                        Some(FirstRead {
                            rows, of: Some(of), ..
                        }) => format!("{rows} of {of} rows of the {side} are"),
                        Some(read) => format!("{} rows of the {side} are", read.rows),
                        None => format!("the {side} is not yet"),
                    },
                };
                format!(
                    "records are paired when both sides are read whole: {}, {}",
                    side(Side::Left),
                    side(Side::Right)
                )
            }
            Phase::Pairing { rule, .. } => {
                let rules = self.running.model.pairs.len();
                format!(
                    "both sides are read; records are paired by rule {} of {rules}",
                    rule + 1
                )
            }
            Phase::Clearing { .. } | Phase::Over => return None,
        };
        Some(Told {
            code: "first-contact".to_owned(),
            message,
        })
    }

    /// What was met has left the index, or come into it.
    pub(super) fn refresh_index(&mut self, store: &Store) -> Result<(), LedgerError> {
        if let Some(contact) = &mut self.contact
            && !contact.phase().holds()
        {
            contact.indexed = is_indexed(store, self.running.id)?;
        }
        Ok(())
    }
}

impl Engine {
    /// Goes a part of the way in every sync. True when there is more to do at once.
    pub(super) async fn advance(&mut self) -> Result<bool, EngineError> {
        let mut more = false;
        if self.stopping {
            return Ok(more);
        }
        let now_ms = self.host.clock.now().mono_ms;
        for index in 0..self.syncs.len() {
            more |= self.contact(index).await?;
            let store = self.host.store.clone();
            more |= self.syncs[index].feed(&store, now_ms)?;
        }
        Ok(more)
    }

    async fn contact(&mut self, index: usize) -> Result<bool, EngineError> {
        let sync = &mut self.syncs[index];
        let listens = sync.listens();
        let Some(contact) = &mut sync.contact else {
            return Ok(false);
        };
        match contact.phase() {
            Phase::Over => Ok(false),
            Phase::Reading if contact.read.left && contact.read.right && listens => {
                contact.contact.phase = Phase::PAIRING;
                tracing::info!(sync = %sync.running.model.spec.name, "both sides are read: pairing");
                save(&self.host.store, sync.running.id, &contact.contact).await?;
                Ok(true)
            }
            Phase::Reading => Ok(false),
            Phase::Pairing { .. } | Phase::Clearing { .. } => {
                self.step(index).await?;
                Ok(true)
            }
        }
    }

    async fn step(&mut self, index: usize) -> Result<(), EngineError> {
        let now_us = self.host.clock.now().wall_us;
        let sync = &mut self.syncs[index];
        let Some(contact) = &mut sync.contact else {
            return Ok(());
        };
        let (id, model) = (sync.running.id, sync.running.model.clone());
        let base = Committed(self.host.store.clone());
        let mut ledger = Ledger::new(&base, id);
        let bounds = (CAPTURE_ROWS, records::SLICE_BYTES);
        let step = pairing::step(&mut ledger, &model, contact.phase(), bounds, now_us)?;
        let held = contact.phase().holds();
        contact.contact.phase = step.next;
        let holds = contact.phase().holds();
        ledger.put_contact(&contact.contact);
        let mut encounters = Vec::with_capacity(step.met.len());
        for (link, met) in step.met {
            encounters.push((link, Encounter::of(&ledger, link, met)?));
        }
        self.commit(index, ledger).await?;
        for (link, encounter) in encounters {
            self.encountered(index, link, encounter)?;
        }
        let sync = &mut self.syncs[index];
        if held && !holds {
            tracing::info!(sync = %model.spec.name, "pairing is over: what has no other half is made on the other side");
            sync.running.halves_held.store(false, Ordering::Relaxed);
            sync.aside.again(id);
        }
        let store = self.host.store.clone();
        sync.refresh_index(&store)?;
        self.alarm_dead(index);
        Ok(())
    }

    /// What was found of a record is on disk.
    pub(super) fn encountered(
        &mut self,
        index: usize,
        link: LinkId,
        encounter: Encounter,
    ) -> Result<(), EngineError> {
        let sync = &mut self.syncs[index];
        match encounter {
            Encounter::None => {}
            Encounter::Waits { new } => {
                if sync.queue.cancel(link) || new {
                    sync.aside.add();
                }
            }
            Encounter::Paired { kept, gone } => {
                sync.queue.cancel(gone);
                sync.aside.take();
                self.wake_children(index, kept)?;
            }
            Encounter::Ambiguous { reason, new } => {
                if !sync.queue.cancel(link) && !new {
                    sync.aside.take();
                }
                sync.tell_dead(link, &reason);
            }
        }
        Ok(())
    }
}
