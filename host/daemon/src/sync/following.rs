//! One job that a vendor works on: it is asked after until each of its rows has an outcome.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_core::job::{Job, JobId, JobRow};
use tidegate_core::ledger::{Ledger, LedgerError};
use tidegate_core::merge::Fields;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{
    ConnectorContext, Executed, Fault, FaultKind, OperationKind, Outcome, Progress, Refusal,
    RowOutcome,
};
use tidegate_core::record::{Deed, Entry, LinkId, Pending, Token};
use tidegate_core::verdict::{ATTEMPTS_MAX, backoff_ms};
use tidegate_gateway::Call;
use tidegate_sandbox::CallError;
use tidegate_store::Seq;
use tokio_util::sync::CancellationToken;

use super::engine::CAPTURE_ROWS;
use super::events::{Event, Host};
use super::failure;
use super::records::Committed;
use super::running::Running;
use super::settling::{Settled, Settling};
use super::writing::{after_by_id, unclear};

/// Asks after one job.
pub(super) struct Following {
    pub host: Host,
    pub running: Arc<Running>,
    pub id: JobId,
    pub job: Job,
    /// Those without an outcome yet.
    pub rows: HashMap<LinkId, JobRow>,
    /// When the job is on disk.
    pub stored: Option<Seq>,
}

impl Following {
    pub(super) async fn run(self, cancel: CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(mut self) {
        if let Some(seq) = self.stored
            && self.host.store.durable(seq).await.is_err()
        {
            // The engine hears of it from its own next commit, and ends the host.
            return;
        }
        let mut failures = 0;
        loop {
            self.pause().await;
            match self.poll().await {
                Ok(progress) => {
                    failures = 0;
                    let told = progress.job.clone();
                    if !self.take_in(progress).await {
                        return;
                    }
                    let now_us = self.host.clock.now().wall_us;
                    let Some(told) = told.filter(|_| !self.rows.is_empty()) else {
                        let none = unclear("outcome-missing", "the job ended without it".into());
                        self.give_up(&none).await;
                        return;
                    };
                    self.job.asked(&told, now_us);
                    self.tell(Some(self.job.clone())).await;
                }
                Err(error) if is_unknown_to_vendor(&error) => {
                    self.give_up(&error).await;
                    return;
                }
                Err(error) => {
                    failures += 1;
                    let wait_ms = self.failed(&error, failures).await;
                    let now_us = self.host.clock.now().wall_us;
                    self.job.due_us = now_us.saturating_add_unsigned(wait_ms * 1_000);
                }
            }
        }
    }

    /// Until the vendor is to be asked, and may be.
    async fn pause(&self) {
        let now = self.host.clock.now();
        let left_us = u64::try_from(self.job.due_us - now.wall_us).unwrap_or(0);
        let until_ms = now.mono_ms + left_us / 1_000;
        self.host.clock.sleep_until(until_ms).await;
        let syncs = [self.running.model.spec.name.clone()];
        let place = self.running.endpoints[self.job.target].place();
        self.host
            .gates
            .pass(&*self.host.clock, &syncs, &[place])
            .await;
    }

    async fn poll(&self) -> Result<Progress, CallError> {
        let endpoint = &self.running.endpoints[self.job.target];
        let tokens = self.rows.keys();
        let call = Call {
            sync: self.running.model.spec.name.clone(),
            function: "poll",
            // The work is done and paid for; rows that wait for its outcome hold up others.
            lane: self.job.lane.min(Lane::Normal),
            may_write: true,
            tokens: Arc::new(
                tokens
                    .map(|link| Token::new(*link, self.job.target).0)
                    .collect(),
            ),
        };
        let context = ConnectorContext {
            config: endpoint.config.clone(),
            now: self.host.clock.now().wall_us,
            rows_max: u32::try_from(self.rows.len()).unwrap_or(u32::MAX),
        };
        let gateway = endpoint.gateway.clone();
        let state = self.job.state.clone();
        endpoint.plugin.poll(gateway, call, &context, state).await
    }

    /// Settles the rows that have an outcome. False when the store can't be read, of which the engine has heard.
    async fn take_in(&mut self, progress: Progress) -> bool {
        let model = self.running.model.clone();
        let after = after_by_id(&model, self.job.target, &progress.after);
        for some in progress.outcomes.chunks(CAPTURE_ROWS) {
            match self.settlings(some, &after) {
                Ok(settled) => self.settle(settled).await,
                Err(error) => return self.broken(error).await,
            }
        }
        true
    }

    async fn broken(&self, error: LedgerError) -> bool {
        self.host.send(Event::Broken(error.into())).await;
        false
    }

    fn settlings(
        &mut self,
        outcomes: &[RowOutcome],
        after: &HashMap<&str, Fields>,
    ) -> Result<Settled, LedgerError> {
        let mut settled = Settled::with_capacity(outcomes.len());
        for RowOutcome { token, outcome } in outcomes {
            let link = Token(*token).link();
            let Some(row) = self.rows.get(&link).copied() else {
                continue;
            };
            let settling = match outcome {
                Outcome::Written(written) => Settling::Delivered {
                    row,
                    outcome: written.clone(),
                    after: after.get(written.id.as_str()).cloned(),
                },
                Outcome::Refused(refusal) => self.refused(link, row, refusal)?,
                Outcome::Unknown(message) => {
                    self.unknown(link, row, &unclear("outcome-unknown", message.clone()))?
                }
            };
            self.rows.remove(&link);
            self.host.intents.end(self.running.id, link);
            settled.push((link, settling));
        }
        Ok(settled)
    }

    fn entry(&self, link: LinkId) -> Result<Option<Entry>, LedgerError> {
        let base = Committed(self.host.store.clone());
        Ledger::new(&base, self.running.id).entry(link)
    }

    fn refused(
        &self,
        link: LinkId,
        row: JobRow,
        refusal: &Refusal,
    ) -> Result<Settling, LedgerError> {
        let entry = self.entry(link)?;
        let source = self.job.target.other();
        let pending = entry
            .as_ref()
            .and_then(|entry| entry.pending[source].as_ref());
        // What was sent is not known any more; what it was made of nearly always reads the same.
        let values = match pending {
            Some(Pending::Row { values, .. }) => &**values,
            _ => &[],
        };
        let base = Committed(self.host.store.clone());
        let sent = Ledger::new(&base, self.running.id).intent(link)?;
        let restores = sent.is_some_and(|sent| sent.deed == Deed::Restore);
        Ok(Settling::refused(
            refusal.clone(),
            values,
            entry.as_ref().map_or(0, |entry| entry.attempts),
            row.generation,
            self.job.target,
            restores.then_some(OperationKind::Restore),
            self.host.random(),
        ))
    }

    fn unknown(
        &self,
        link: LinkId,
        row: JobRow,
        error: &CallError,
    ) -> Result<Settling, LedgerError> {
        let base = Committed(self.host.store.clone());
        let Some(sent) = Ledger::new(&base, self.running.id).intent(link)? else {
            return Ok(Settling::Missing);
        };
        let attempts = self.entry(link)?.map_or(0, |entry| entry.attempts);
        if attempts < ATTEMPTS_MAX {
            return Ok(Settling::Unknown { sent });
        }
        Ok(Settling::GivenUp {
            generation: row.generation,
            reason: failure::reason(error, Some(self.job.target)),
            sent,
        })
    }

    /// The job is over, and what it has not told is unknown: it is read before it is written again (invariant 6).
    async fn give_up(&mut self, error: &CallError) {
        let links: Vec<LinkId> = self.rows.keys().copied().collect();
        for some in links.chunks(CAPTURE_ROWS) {
            let settled: Result<Settled, LedgerError> = some
                .iter()
                .map(|link| Ok((*link, self.unknown(*link, self.rows[link], error)?)))
                .collect();
            match settled {
                Ok(settled) => {
                    for link in some {
                        self.host.intents.end(self.running.id, *link);
                    }
                    self.settle(settled).await;
                }
                Err(error) => {
                    self.broken(error).await;
                    return;
                }
            }
        }
        self.tell(None).await;
    }

    async fn settle(&self, settled: Settled) {
        self.running.sendings.ended(&settled);
        let event = Event::Settle {
            sync: self.running.index,
            settled,
            job: Some(self.id),
        };
        self.host.send(event).await;
    }

    async fn tell(&self, job: Option<Job>) {
        let event = Event::JobAsked {
            sync: self.running.index,
            id: self.id,
            job,
        };
        self.host.send(event).await;
    }

    /// A poll that failed as a whole says nothing of the rows: the job is asked after again, for as long as it takes.
    async fn failed(&self, error: &CallError, failures: u32) -> u64 {
        let (sync, target) = (self.running.index, self.job.target);
        let backoff_ms = backoff_ms(failures, self.host.random());
        if error.blames_input() {
            let reason = failure::reason(error, Some(target));
            self.host.send(Event::Crashed { sync, reason }).await;
            return backoff_ms;
        }
        let wait_ms = self.host.call_failed(sync, target, error).await;
        wait_ms.max(backoff_ms)
    }
}

/// The vendor says that there is no such job.
fn is_unknown_to_vendor(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Fault(Fault {
            kind: FaultKind::Missing | FaultKind::Refused,
            executed: Executed::No,
            ..
        })
    )
}
