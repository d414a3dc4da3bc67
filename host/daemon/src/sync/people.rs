//! What people see of the syncs, and what they ask of them.

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::ledger::{Ledger, Room, SyncId, decode};
use tidegate_core::record::{self, LinkId, Reason};
use tidegate_core::settle::{self, Left};
use tidegate_core::sync::Side;
use tokio::sync::oneshot;

use super::engine::{Engine, EngineError, Event, Sync, scan};
use super::records::Committed;
use super::{Handle, Stage};
use crate::status::{
    Command, CommandError, DeadLetter, Done, Latency, StatusSource, SyncState, SyncStatus, Told,
};

fn told(reason: &Reason) -> Told {
    Told {
        code: reason.code.clone(),
        message: reason.message.clone(),
    }
}

fn no_sync(name: &str) -> CommandError {
    CommandError {
        code: "no-such-sync".into(),
        message: format!("no sync is called {name}"),
    }
}

impl Engine {
    pub(super) fn status(&self) -> Result<Vec<SyncStatus>, EngineError> {
        self.syncs
            .iter()
            .map(|sync| self.sync_status(sync))
            .collect()
    }

    fn sync_status(&self, sync: &Sync) -> Result<SyncStatus, EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let depth = sync.queue.depth();
        let (state, reason) = state(sync, now_ms);
        let dead: usize = scan(&self.host.store, Room::Dead, &sync.running)?
            .iter()
            .map(Vec::len)
            .sum();
        let tally = sync.tally.snapshot();
        let failure = Side::BOTH
            .into_iter()
            .find_map(|side| sync.pull_failure[side].as_ref());
        Ok(SyncStatus {
            name: sync.running.model.spec.name.to_string(),
            state,
            reason,
            linked: sync.counts.links,
            waiting: (depth.waiting + depth.later + depth.held) as u64,
            in_flight: depth.in_flight as u64,
            dead: dead as u64,
            captured: tally.captured,
            written: tally.written,
            echoes: tally.echoes,
            conflicts: tally.conflicts,
            lag_ms: sync
                .queue
                .oldest_ms()
                .map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
            left_to_right: tally.to_right,
            right_to_left: tally.to_left,
            last_error: failure.or(sync.tally.last_trouble()).map(told),
        })
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.syncs
            .iter()
            .position(|sync| &*sync.running.model.spec.name == name)
    }

    /// The outer error ends the host; the inner one is for whoever asked.
    pub(super) async fn command(
        &mut self,
        command: Command,
    ) -> Result<Result<Done, CommandError>, EngineError> {
        match command {
            Command::Pause { sync } => self.set_paused(&sync, true).await,
            Command::Resume { sync } => self.set_paused(&sync, false).await,
            Command::ReleaseDeletes { sync } => self.release_deletes(&sync).await,
            Command::DeadList { sync, rows_max } => self.dead_list(sync.as_deref(), rows_max),
            Command::DeadRetry { sync, records } => self.dead_retry(&sync, &records).await,
        }
    }

    async fn set_paused(
        &mut self,
        name: &str,
        paused: bool,
    ) -> Result<Result<Done, CommandError>, EngineError> {
        let Some(index) = self.named(name) else {
            return Ok(Err(no_sync(name)));
        };
        let sync = &mut self.syncs[index];
        if sync.record.paused == paused {
            return Ok(Ok(Done::Changed(0)));
        }
        sync.record.paused = paused;
        sync.refresh_flow();
        self.save(index).await?;
        Ok(Ok(Done::Changed(1)))
    }

    async fn release_deletes(
        &mut self,
        name: &str,
    ) -> Result<Result<Done, CommandError>, EngineError> {
        let Some(index) = self.named(name) else {
            return Ok(Err(no_sync(name)));
        };
        let now_ms = self.host.clock.now().mono_ms;
        let sync = &mut self.syncs[index];
        let held = sync.queue.depth().held;
        sync.brake.release();
        sync.record.braked = false;
        sync.queue.release_held(now_ms);
        self.save(index).await?;
        Ok(Ok(Done::Changed(held as u64)))
    }

    fn dead_list(
        &self,
        only: Option<&str>,
        rows_max: usize,
    ) -> Result<Result<Done, CommandError>, EngineError> {
        if let Some(name) = only
            && self.named(name).is_none()
        {
            return Ok(Err(no_sync(name)));
        }
        let mut letters = Vec::new();
        for sync in &self.syncs {
            let name = &sync.running.model.spec.name;
            if only.is_some_and(|only| only != &**name) {
                continue;
            }
            let base = Committed(self.host.store.clone());
            let ledger = Ledger::new(&base, sync.running.id);
            for (link, bytes) in scan(&self.host.store, Room::Dead, &sync.running)?
                .into_iter()
                .flatten()
            {
                let letter: record::DeadLetter = decode("dead letter", &bytes)?;
                let ids = ledger.link(link)?.unwrap_or_default().ids;
                letters.push(DeadLetter {
                    sync: name.to_string(),
                    record: link.0.to_string(),
                    left: ids.left.map(Into::into),
                    right: ids.right.map(Into::into),
                    target: letter.reason.target,
                    reason: told(&letter.reason),
                    fields: letter.reason.fields,
                    since_us: letter.at_ms.saturating_mul(1_000),
                });
            }
        }
        letters.sort_by_key(|letter| std::cmp::Reverse(letter.since_us));
        letters.truncate(rows_max);
        Ok(Ok(Done::DeadLetters(letters)))
    }

    async fn dead_retry(
        &mut self,
        name: &str,
        records: &[String],
    ) -> Result<Result<Done, CommandError>, EngineError> {
        let Some(index) = self.named(name) else {
            return Ok(Err(no_sync(name)));
        };
        let wanted = |link: LinkId| {
            records.is_empty() || records.iter().any(|record| *record == link.0.to_string())
        };
        let id: SyncId = self.syncs[index].running.id;
        let now_ms = self.host.clock.now().mono_ms;
        let mut revived = 0;
        for page in scan(&self.host.store, Room::Dead, &self.syncs[index].running)? {
            let base = Committed(self.host.store.clone());
            let mut ledger = Ledger::new(&base, id);
            let mut offers = Vec::new();
            for (link, _) in page.into_iter().filter(|(link, _)| wanted(*link)) {
                if settle::revived(&mut ledger, link)? == Left::Again
                    && let Some(entry) = ledger.entry(link)?
                {
                    offers.push((link, entry.source(), entry.lane));
                }
            }
            self.commit(index, ledger).await?;
            revived += offers.len() as u64;
            for (link, source, lane) in offers {
                self.syncs[index].queue.offer(link, source, lane, now_ms);
            }
        }
        Ok(Ok(Done::Changed(revived)))
    }
}

/// The worst of what holds a sync back.
fn state(sync: &Sync, now_ms: u64) -> (SyncState, Option<Told>) {
    let halted = Side::BOTH
        .into_iter()
        .find_map(|side| sync.halted[side].as_ref());
    if let Some(halt) = halted.filter(|halt| halt.person) {
        return (SyncState::Stopped, Some(told(&halt.reason)));
    }
    if sync.record.paused {
        return (SyncState::Paused, None);
    }
    if sync.brake.is_on() {
        let message = "too many deletes at once are held back; look, then release them".into();
        return (
            SyncState::Braked,
            Some(Told {
                code: "deletes-held".into(),
                message,
            }),
        );
    }
    if let Some(halt) = halted.filter(|halt| halt.until_ms > now_ms) {
        return (SyncState::Waiting, Some(told(&halt.reason)));
    }
    if let Some(reason) = Side::BOTH
        .into_iter()
        .find_map(|side| sync.pull_failure[side].as_ref())
    {
        return (SyncState::Waiting, Some(told(reason)));
    }
    match sync.snapshots {
        0 => (SyncState::Running, None),
        _ => (SyncState::Initial, None),
    }
}

impl StatusSource for Handle {
    fn syncs(&self) -> BoxFuture<'_, Vec<SyncStatus>> {
        async move {
            if let Stage::Starting(waits_for) = self.stage() {
                let reason = Told {
                    code: "starting".into(),
                    message: waits_for,
                };
                return self
                    .names
                    .iter()
                    .map(|name| SyncStatus {
                        name: name.to_string(),
                        state: SyncState::Starting,
                        reason: Some(reason.clone()),
                        ..SyncStatus::default()
                    })
                    .collect();
            }
            let (reply, status) = oneshot::channel();
            self.host.send(Event::Status { reply }).await;
            status.await.unwrap_or_default()
        }
        .boxed()
    }

    fn command(&self, command: Command) -> BoxFuture<'_, Result<Done, CommandError>> {
        async move {
            let gone = || CommandError {
                code: "not-running".into(),
                message: "the syncs are not running yet, or no more".into(),
            };
            if self.stage() != Stage::Running {
                return Err(gone());
            }
            let (reply, done) = oneshot::channel();
            self.host.send(Event::Command { command, reply }).await;
            done.await.unwrap_or_else(|_| Err(gone()))
        }
        .boxed()
    }
}

impl From<super::tally::Quantiles> for Latency {
    fn from(quantiles: super::tally::Quantiles) -> Self {
        let known = |ms: u64| (quantiles.count > 0).then_some(ms);
        Self {
            p50_ms: known(quantiles.p50),
            p99_ms: known(quantiles.p99),
            max_ms: known(quantiles.max),
        }
    }
}
