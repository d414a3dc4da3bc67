//! What rounds have learnt becomes what is remembered: one transaction a batch (invariant 3).

use tidegate_core::discreet::discreet;
use tidegate_core::job::{JobId, JobRow};
use tidegate_core::ledger::{Ledger, LedgerError};
use tidegate_core::merge::{Fields, Write};
use tidegate_core::pace::Lane;
use tidegate_core::pairing::Met;
use tidegate_core::plugin::{Advice, OperationKind, Refusal, Written};
use tidegate_core::record::{FieldId, LinkId, Reason, Sent, Sides};
use tidegate_core::reference::ParentKey;
use tidegate_core::settle::{self, Found, Left};
use tidegate_core::sync::Side;
use tidegate_core::value::Value;
use tidegate_core::verdict::{Verdict, for_refusal};

use super::contact::Encounter;
use super::engine::{CAPTURE_ROWS, Engine, EngineError};
use super::events::Host;
use super::records::{self, Committed};
use super::running::Sync;

/// What is to be remembered of one record.
#[derive(Debug)]
pub(super) enum Settling {
    /// Nothing waited after all.
    Missing,
    Agreed {
        generation: u32,
        prints: Sides<Vec<(FieldId, u64)>>,
    },
    Forget {
        generation: u32,
    },
    Detach {
        side: Side,
    },
    Rest {
        generation: u32,
        side: Side,
    },
    Dead {
        generation: u32,
        reason: Reason,
    },
    Written {
        write: Box<Write>,
        outcome: Written,
        after: Option<Fields>,
    },
    /// By a job.
    Delivered {
        row: JobRow,
        outcome: Written,
        after: Option<Fields>,
    },
    Unknown {
        sent: Sent,
    },
    /// Unknown once too often.
    GivenUp {
        generation: u32,
        sent: Sent,
        reason: Reason,
    },
    ReadFirst {
        side: Side,
    },
    /// What was to bring a record back found none.
    Unrestorable {
        side: Side,
    },
    Postponed {
        wait_ms: u64,
        counts: bool,
    },
    Observed {
        side: Side,
        found: Found,
    },
    /// The delete brake is on.
    Held,
    /// Until the record that it names is on both sides.
    Waits {
        parent: ParentKey,
    },
    /// Its other half may be there already, and is looked for first.
    Half,
}

pub(super) type Settled = Vec<(LinkId, Settling)>;

impl Settling {
    pub(super) fn refused(
        refusal: Refusal,
        values: &[(FieldId, Value)],
        attempts: u32,
        generation: u32,
        target: Side,
        operation: Option<OperationKind>,
        random: u64,
    ) -> Self {
        let restores = operation == Some(OperationKind::Restore);
        match for_refusal(&refusal, attempts, random) {
            Verdict::Retry { wait_ms, counts } => Self::Postponed { wait_ms, counts },
            Verdict::ReadFirst if restores && refusal.advice == Advice::Gone => {
                Self::Unrestorable { side: target }
            }
            Verdict::ReadFirst => Self::ReadFirst { side: target },
            Verdict::Park => Self::Dead {
                generation,
                reason: Reason {
                    code: refusal.code,
                    message: discreet(&refusal.message, values),
                    fields: refusal.fields,
                    target: Some(target),
                },
            },
        }
    }
}

impl Engine {
    pub(super) async fn settle(
        &mut self,
        index: usize,
        settled: Settled,
        job: Option<JobId>,
    ) -> Result<(), EngineError> {
        if let Some(underway) = job.and_then(|job| self.syncs[index].jobs.get_mut(&job)) {
            underway.rows = underway.rows.saturating_sub(settled.len());
        }
        let mut settled = settled.into_iter();
        loop {
            let base = Committed(self.host.store.clone());
            let sync = &mut self.syncs[index];
            let mut ledger = Ledger::new(&base, sync.running.id);
            let mut done = Vec::new();
            while done.len() < CAPTURE_ROWS && ledger.bytes() < records::SLICE_BYTES {
                let Some((link, settling)) = settled.next() else {
                    break;
                };
                if job.is_some() {
                    ledger.remove_job_row(link);
                }
                let mut after = sync.apply(&mut ledger, &self.host, link, settling)?;
                if matches!(after, After::Left(Left::Again)) {
                    let now_us = self.host.clock.now().wall_us;
                    match sync.meet(&mut ledger, link, now_us)? {
                        Met::Free => {}
                        met => after = After::Met(Encounter::returned(&ledger, link, met)?),
                    }
                }
                done.push((link, after));
            }
            if done.is_empty() {
                self.syncs[index].refresh_flow();
                return Ok(());
            }
            let mut placed = Vec::with_capacity(done.len());
            for (link, after) in done {
                let goes_on = match after {
                    After::Met(Encounter::Paired { kept, .. }) => kept,
                    _ => link,
                };
                let entry = ledger.entry(goes_on)?;
                placed.push((link, after, entry.map(|entry| (entry.source(), entry.lane))));
            }
            self.commit(index, ledger).await?;
            self.alarm_dead(index);
            let now_ms = self.host.clock.now().mono_ms;
            let rests = |after: &After| {
                matches!(after, After::Left(Left::Nothing | Left::Dead))
                    || matches!(after, After::Met(Encounter::Ambiguous { .. }))
            };
            let rested = placed.iter().filter(|(_, after, _)| rests(after)).count();
            let sync = &mut self.syncs[index];
            sync.rested += rested as u64;
            sync.resting.note(now_ms, sync.rested);
            for (link, after, place) in placed {
                let sync = &mut self.syncs[index];
                match (after, place) {
                    (After::Waits(parent), Some(place)) => {
                        self.wait_for(index, link, parent, place)?;
                        continue;
                    }
                    (After::Later(wait_ms), Some((source, lane))) => {
                        sync.queue.postpone(link, source, lane, now_ms + wait_ms);
                    }
                    (After::Held, Some((source, lane))) => sync.queue.hold(link, source, lane),
                    (After::Met(encounter), place) => {
                        self.after_meeting(index, link, encounter, place)?;
                        continue;
                    }
                    (After::Left(Left::Again), place) => sync.queue.finish(link, place, now_ms),
                    _ => sync.queue.finish(link, None, now_ms),
                }
                self.wake_children(index, link)?;
            }
        }
    }

    /// A round is done with a record that was then held against others.
    fn after_meeting(
        &mut self,
        index: usize,
        link: LinkId,
        encounter: Encounter,
        place: Option<(Side, Lane)>,
    ) -> Result<(), EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let store = self.host.store.clone();
        let sync = &mut self.syncs[index];
        sync.queue.finish(link, None, now_ms);
        if let (Encounter::Paired { kept, .. }, Some((source, lane))) = (&encounter, place) {
            sync.queue.offer(*kept, source, lane, now_ms);
        }
        self.encountered(index, link, encounter)?;
        self.syncs[index].refresh_index(&store)?;
        Ok(())
    }

    pub(super) async fn admit(
        &mut self,
        index: usize,
        deletes: usize,
    ) -> Result<usize, EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let sync = &mut self.syncs[index];
        let was_on = sync.brake.is_on();
        let admitted = sync.brake.admit(deletes, sync.counts.links, now_ms);
        if sync.brake.is_on() && !was_on {
            let name = sync.running.model.spec.name.clone();
            tracing::error!(sync = %name, "too many deletes at once: they are held until a person releases them");
            sync.record.braked = true;
            self.save(index).await?;
            self.alarm_braked(index);
        }
        Ok(admitted)
    }
}

/// Where a settled record goes.
enum After {
    Left(Left),
    Later(u64),
    Held,
    Waits(ParentKey),
    Met(Encounter),
}

impl Sync {
    pub(super) fn tell_dead(&mut self, link: LinkId, reason: &Reason) {
        tracing::warn!(sync = %self.running.model.spec.name, link = link.0, code = %reason.code, fields = ?reason.fields, "to the dead letters");
        self.tally.trouble(reason);
        self.tally.buried();
    }

    fn apply(
        &mut self,
        ledger: &mut Ledger<'_>,
        host: &Host,
        link: LinkId,
        settling: Settling,
    ) -> Result<After, LedgerError> {
        let model = self.running.model.clone();
        let now_us = host.clock.now().wall_us;
        Ok(After::Left(match settling {
            Settling::Missing => Left::Nothing,
            Settling::Agreed { generation, prints } => {
                settle::agreed(ledger, &model, link, generation, &prints)?
            }
            Settling::Forget { generation } => settle::forget(ledger, link, generation, now_us)?,
            Settling::Detach { side } => settle::detach(ledger, link, side, now_us)?,
            Settling::Rest { generation, side } => {
                settle::rest(ledger, &model, link, side, generation)?
            }
            Settling::Dead { generation, reason } => {
                self.tell_dead(link, &reason);
                settle::buried(ledger, link, generation, reason, now_us)?
            }
            Settling::Written {
                write,
                outcome,
                after,
            } => {
                self.touched.note(link, write.target, &host.marks);
                self.tally.written(&write, now_us);
                settle::written(
                    ledger,
                    &model,
                    link,
                    &write,
                    &outcome,
                    after.as_deref(),
                    now_us,
                )?
            }
            Settling::Delivered {
                row,
                outcome,
                after,
            } => {
                if let Some(sent) = ledger.intent(link)? {
                    self.touched.note(link, sent.target, &host.marks);
                    let entry = ledger.entry(link)?;
                    let entry = entry.filter(|entry| entry.generation == row.generation);
                    self.tally.delivered(sent.target, entry.as_ref(), now_us);
                }
                let after = after.as_deref();
                settle::job_written(ledger, &model, link, row, &outcome, after, now_us)?
            }
            Settling::Unknown { sent } => {
                self.touched.note(link, sent.target, &host.marks);
                settle::unknown(ledger, link, sent)?
            }
            Settling::GivenUp {
                generation,
                sent,
                reason,
            } => {
                self.touched.note(link, sent.target, &host.marks);
                self.tell_dead(link, &reason);
                settle::given_up(ledger, link, generation, sent, reason, now_us)?
            }
            Settling::ReadFirst { side } => settle::read_first(ledger, link, side)?,
            Settling::Unrestorable { side } => settle::unrestorable(ledger, link, side)?,
            Settling::Observed { side, found } => {
                self.touched.note(link, side, &host.marks);
                settle::observed(ledger, &model, link, side, found, now_us)?
            }
            Settling::Postponed { wait_ms, counts } => {
                settle::postponed(ledger, link, counts)?;
                return Ok(After::Later(wait_ms));
            }
            Settling::Half => Left::Again,
            Settling::Held => return Ok(After::Held),
            Settling::Waits { parent } => return Ok(After::Waits(parent)),
        }))
    }
}
