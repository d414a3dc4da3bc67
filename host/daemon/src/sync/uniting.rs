//! What people say of records at first contact: that two are one, or that one has no other half.

use tidegate_core::ledger::{Ledger, LedgerError};
use tidegate_core::pairing::{self, Met};
use tidegate_core::record::{IdRef, Link, LinkId, Reason};
use tidegate_core::settle;
use tidegate_core::sync::Side;

use super::contact::Encounter;
use super::engine::{Engine, EngineError};
use super::records::Committed;
use crate::status::{CommandError, Done};

type Answer = Result<Result<Done, CommandError>, EngineError>;

fn refused(code: &str, message: String) -> CommandError {
    CommandError {
        code: code.to_owned(),
        message,
    }
}

fn unknown(sync: &str, sides: &str, id: &str) -> CommandError {
    refused(
        "no-such-record",
        format!(
            "sync {sync} knows no record {id} on the {sides}; it may not have been read yet, or be deleted"
        ),
    )
}

fn linked(id: &str, side: Side, link: &Link) -> CommandError {
    let message = match &link.ids[side.other()] {
        Some(other) => format!(
            "{id} on the {side} is linked to {other} on the {} already",
            side.other()
        ),
        None => format!("the other half of {id} was deleted, and it stays alone"),
    };
    refused("linked-already", message)
}

/// The record that a side knows by this id, and its link.
fn find(ledger: &Ledger<'_>, side: Side, id: &str) -> Result<Option<(LinkId, Link)>, LedgerError> {
    let Some(IdRef::Link(number)) = ledger.id(side, id)? else {
        return Ok(None);
    };
    Ok(ledger.link(number)?.map(|link| (number, link)))
}

impl Engine {
    /// Makes one of two records.
    pub(super) async fn unite(&mut self, name: &str, left: &str, right: &str) -> Answer {
        let index = match self.named(name) {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let base = Committed(self.host.store.clone());
        let mut ledger = Ledger::new(&base, self.syncs[index].running.id);
        let mut halves = Vec::new();
        for (side, id) in [(Side::Left, left), (Side::Right, right)] {
            let Some((number, link)) = find(&ledger, side, id)? else {
                return Ok(Err(unknown(name, &side.to_string(), id)));
            };
            if pairing::lonely(&link) != Some(side) {
                return Ok(Err(linked(id, side, &link)));
            }
            if self.is_being_made(index, &ledger, number)? {
                let message = format!(
                    "{id} is being made on the {} now; look whether it is there, then delete one of the two",
                    side.other()
                );
                return Ok(Err(refused("under-way", message)));
            }
            halves.push(number);
        }
        let model = self.syncs[index].running.model.clone();
        if !pairing::join(&mut ledger, &model, halves[0], halves[1])? {
            return Ok(Ok(Done::Changed(0)));
        }
        halves.iter().for_each(|half| ledger.remove_apart(*half));
        let entry = ledger.entry(halves[0])?;
        self.commit(index, ledger).await?;
        self.encountered(
            index,
            halves[0],
            Encounter::Paired {
                kept: halves[0],
                gone: halves[1],
            },
        )?;
        let now_ms = self.host.clock.now().mono_ms;
        let store = self.host.store.clone();
        let sync = &mut self.syncs[index];
        if let Some(entry) = entry {
            sync.queue
                .offer(halves[0], entry.source(), entry.lane, now_ms);
        }
        sync.refresh_index(&store)?;
        Ok(Ok(Done::Changed(1)))
    }

    /// A round has it, or its other half may have been made.
    fn is_being_made(
        &self,
        index: usize,
        ledger: &Ledger<'_>,
        link: LinkId,
    ) -> Result<bool, LedgerError> {
        let sent = ledger
            .entry(link)?
            .is_some_and(|entry| entry.sent.is_some());
        let in_flight = self.syncs[index].queue.is_in_flight(link);
        Ok(sent || in_flight || ledger.intent(link)?.is_some())
    }

    /// A record has no other half, and is made on the other side.
    pub(super) async fn set_apart(&mut self, name: &str, id: &str, only: Option<Side>) -> Answer {
        let index = match self.named(name) {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let base = Committed(self.host.store.clone());
        let mut ledger = Ledger::new(&base, self.syncs[index].running.id);
        let sides: Vec<Side> = match only {
            Some(side) => vec![side],
            None => Side::BOTH.into(),
        };
        let mut found = Vec::new();
        for side in &sides {
            found.extend(find(&ledger, *side, id)?.map(|(number, link)| (*side, number, link)));
        }
        let halves: Vec<_> = found
            .iter()
            .filter(|(side, _, link)| pairing::lonely(link) == Some(*side))
            .collect();
        let link = match (&*halves, &*found) {
            ([(_, link, _)], _) => *link,
            ([], [(side, _, link), ..]) => return Ok(Err(linked(id, *side, link))),
            ([], []) => {
                let sides: Vec<String> = sides.iter().map(ToString::to_string).collect();
                return Ok(Err(unknown(name, &sides.join(" or the "), id)));
            }
            _ => {
                let message = format!("both sides have a record {id}; say which with --side");
                return Ok(Err(refused("which-side", message)));
            }
        };
        let letter = ledger.dead(link)?;
        let ambiguous = letter
            .as_ref()
            .is_some_and(|letter| letter.reason.code == Reason::PAIR_AMBIGUOUS);
        let sync = &self.syncs[index];
        if !(ambiguous || letter.is_none() && sync.running.holds_halves()) {
            // Nothing keeps it from being made but what its letter says, if it has one.
            return Ok(Ok(Done::Changed(0)));
        }
        ledger.put_apart(link);
        let now = self.host.clock.now();
        if ambiguous {
            settle::revived(&mut ledger, link)?;
        }
        let met = sync.meet(&mut ledger, link, now.wall_us)?;
        let entry = ledger.entry(link)?;
        self.commit(index, ledger).await?;
        let store = self.host.store.clone();
        let sync = &mut self.syncs[index];
        match (met, entry) {
            (Met::Free, Some(entry)) => {
                sync.queue
                    .offer(link, entry.source(), entry.lane, now.mono_ms);
            }
            _ if ambiguous => sync.aside.add(),
            _ => {}
        }
        sync.refresh_index(&store)?;
        Ok(Ok(Done::Changed(1)))
    }
}
