//! What people see of the syncs, and what they ask of them.

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::ledger::{Ledger, Room, SyncId, decode};
use tidegate_core::pace::Lane;
use tidegate_core::pairing::Met;
use tidegate_core::record::{self, LinkId, Reason};
use tidegate_core::settle::{self, Left};
use tidegate_core::sync::Side;
use tidegate_gateway::Readiness;
use tokio::sync::oneshot;

use super::Handle;
use super::contact::Encounter;
use super::engine::{Engine, EngineError, count, scan};
use super::events::Event;
use super::pausing::hold_status;
use super::records::Committed;
use super::running::Sync;
use super::start::Pending;
use crate::status::{
    Command, CommandError, DeadLetter, Done, FirstReadStatus, HeldUp, HoldStatus, JobStatus,
    Latency, SettlingStatus, StatusSource, SyncState, SyncStatus, Told,
};
use crate::waits;

fn told(reason: &Reason) -> Told {
    Told {
        code: reason.code.clone(),
        message: reason.message.clone(),
    }
}

pub(super) fn no_sync(name: &str) -> CommandError {
    CommandError {
        code: "no-such-sync".into(),
        message: format!("no sync is called {name}"),
    }
}

impl Engine {
    pub(super) fn status(&self) -> Result<Vec<SyncStatus>, EngineError> {
        let specs = self.assembly.syncs.iter().map(|parts| &parts.spec);
        specs
            .filter_map(|spec| match self.pending.get(&spec.name) {
                Some(pending) => Some(self.pending_status(&spec.name, pending)),
                None => Some(self.sync_status(self.started(&spec.name)?)),
            })
            .collect()
    }

    pub(super) fn started(&self, name: &str) -> Option<&Sync> {
        self.syncs
            .iter()
            .find(|sync| &*sync.running.model.spec.name == name)
    }

    fn dead(&self, sync: SyncId) -> Result<u64, EngineError> {
        count(&self.host.store, Room::Dead, sync)
    }

    /// Of a sync that has not started.
    fn pending_status(&self, name: &str, pending: &Pending) -> Result<SyncStatus, EngineError> {
        let hindrance = pending.hindrance.as_ref();
        let person = hindrance.is_some_and(|hindrance| hindrance.person);
        let hindrance = hindrance.map(|hindrance| told(&hindrance.reason));
        let (state, reason) = match self.paused(name) {
            Some(paused) => (SyncState::Paused, Some(paused)),
            None => match hindrance {
                hindrance if person => (SyncState::Stopped, hindrance),
                hindrance => (SyncState::Starting, hindrance),
            },
        };
        Ok(SyncStatus {
            name: name.to_owned(),
            state,
            reason,
            records: pending.links,
            waiting: pending.waiting,
            dead: self.dead(pending.id)?,
            ..SyncStatus::default()
        })
    }

    fn sync_status(&self, sync: &Sync) -> Result<SyncStatus, EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let depth = sync.queue.depth();
        let (state, reason) = match self.paused(&sync.running.model.spec.name) {
            Some(paused) => (SyncState::Paused, Some(paused)),
            None => state(sync, now_ms),
        };
        let tally = sync.tally.snapshot();
        let waiting = self.waits.of(sync.running.id);
        let all_waiting =
            (depth.waiting + depth.later + depth.held + waiting) as u64 + sync.aside.count();
        let to_settle = all_waiting + depth.in_flight as u64;
        let failure = Side::BOTH
            .into_iter()
            .find_map(|side| sync.pull_failure[side].as_ref());
        Ok(SyncStatus {
            name: sync.running.model.spec.name.to_string(),
            state,
            reason,
            records: sync.counts.links,
            waiting: all_waiting,
            waiting_for_parents: waiting as u64,
            waiting_for_pairs: match sync.running.holds_halves() {
                true => sync.aside.count(),
                false => 0,
            },
            in_flight: depth.in_flight as u64,
            first_reads: first_reads(sync, now_ms),
            settling: SettlingStatus {
                done: sync.rested,
                waiting: to_settle,
                per_s: sync.resting.per_s(now_ms),
                left_ms: sync.resting.left_ms(now_ms, to_settle),
            },
            writes: sync.running.sendings.status(),
            jobs: jobs(sync),
            dead: self.dead(sync.running.id)?,
            captured: tally.captured,
            written: tally.written,
            echoes: tally.echoes,
            conflicts: tally.conflicts,
            held_up: held_up(sync, now_ms),
            lag_ms: sync
                .queue
                .oldest_ms()
                .map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
            left_to_right: tally.to_right,
            right_to_left: tally.to_left,
            last_error: failure.or(sync.tally.last_trouble()).map(told),
        })
    }

    /// A sync's place; only one that has started takes commands.
    pub(super) fn named(&self, name: &str) -> Result<usize, CommandError> {
        if let Some(sync) = self.started(name) {
            return Ok(sync.running.index);
        }
        let pending = self.pending.get(name).ok_or_else(|| no_sync(name))?;
        let why = pending.hindrance.as_ref();
        let why = why.map_or("it is starting", |hindrance| &*hindrance.reason.message);
        Err(CommandError {
            code: "not-started".into(),
            message: format!("sync {name} has not started yet: {why}"),
        })
    }

    /// The outer error ends the host; the inner one is for whoever asked.
    pub(super) async fn command(
        &mut self,
        command: Command,
    ) -> Result<Result<Done, CommandError>, EngineError> {
        match command {
            Command::Pause { what, by, why } => self.pause(what, by, why).await,
            Command::Resume { what } => self.resume(what).await,
            Command::ReleaseDeletes { sync } => self.release_deletes(&sync).await,
            Command::DeadList { sync, rows_max } => self.dead_list(sync.as_deref(), rows_max),
            Command::DeadRetry { sync, records } => self.dead_retry(&sync, &records).await,
            Command::Pair { sync, left, right } => self.unite(&sync, &left, &right).await,
            Command::Apart { sync, record, side } => self.set_apart(&sync, &record, side).await,
        }
    }

    async fn release_deletes(
        &mut self,
        name: &str,
    ) -> Result<Result<Done, CommandError>, EngineError> {
        let index = match self.named(name) {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(Done::Changed(self.release(index).await?)))
    }

    /// Lets through what the brake of a sync holds, and returns how many deletes that are.
    pub(super) async fn release(&mut self, index: usize) -> Result<u64, EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let sync = &mut self.syncs[index];
        let held = sync.queue.depth().held;
        sync.brake.release(held);
        sync.record.braked = false;
        sync.queue.release_held(now_ms);
        self.save(index).await?;
        self.alarm_released(index);
        Ok(held as u64)
    }

    fn dead_list(
        &self,
        only: Option<&str>,
        rows_max: usize,
    ) -> Result<Result<Done, CommandError>, EngineError> {
        let started = self.syncs.iter().map(|sync| {
            let name = &sync.running.model.spec.name;
            (name, sync.running.id)
        });
        let pending = self.pending.iter().map(|(name, sync)| (name, sync.id));
        let mut syncs: Vec<_> = started.chain(pending).collect();
        if let Some(only) = only {
            syncs.retain(|(name, _)| ***name == *only);
            if syncs.is_empty() {
                return Ok(Err(no_sync(only)));
            }
        }
        let mut letters = Vec::new();
        for (name, id) in syncs {
            let base = Committed(self.host.store.clone());
            let ledger = Ledger::new(&base, id);
            for (link, bytes) in scan(&self.host.store, Room::Dead, id)?
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
        let index = match self.named(name) {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let wanted = |link: LinkId| {
            records.is_empty() || records.iter().any(|record| *record == link.0.to_string())
        };
        let id: SyncId = self.syncs[index].running.id;
        let now = self.host.clock.now();
        let mut revived = 0;
        for page in scan(&self.host.store, Room::Dead, id)? {
            let base = Committed(self.host.store.clone());
            let mut ledger = Ledger::new(&base, id);
            let mut offers = Vec::new();
            let mut encounters = Vec::new();
            for (link, _) in page.into_iter().filter(|(link, _)| wanted(*link)) {
                if settle::revived(&mut ledger, link)? != Left::Again {
                    continue;
                }
                let met = self.syncs[index].meet(&mut ledger, link, now.wall_us)?;
                let goes_on = match met {
                    Met::Free => link,
                    Met::Paired { kept, .. } => kept,
                    Met::Waits | Met::Ambiguous => {
                        encounters.push((link, Encounter::returned(&ledger, link, met)?));
                        continue;
                    }
                };
                encounters.push((link, Encounter::returned(&ledger, link, met)?));
                if let Some(entry) = ledger.entry(goes_on)? {
                    offers.push((goes_on, entry.source(), entry.lane));
                }
            }
            self.commit(index, ledger).await?;
            revived += encounters.len() as u64;
            for (link, encounter) in encounters {
                self.encountered(index, link, encounter)?;
            }
            let store = self.host.store.clone();
            let sync = &mut self.syncs[index];
            for (link, source, lane) in offers {
                sync.queue.offer(link, source, lane, now.mono_ms);
            }
            sync.refresh_index(&store)?;
        }
        Ok(Ok(Done::Changed(revived)))
    }
}

fn first_reads(sync: &Sync, now_ms: u64) -> Vec<FirstReadStatus> {
    let sides = Side::BOTH.into_iter();
    sides
        .filter_map(|side| {
            let read = sync.first_reads[side].as_ref()?;
            Some(FirstReadStatus {
                side,
                done: read.done,
                rows: read.rows,
                of: read.of,
                per_s: read.per_s(now_ms),
                left_ms: read.left_ms(now_ms),
            })
        })
        .collect()
}

fn jobs(sync: &Sync) -> Vec<JobStatus> {
    let jobs = sync.jobs.iter();
    jobs.map(|(id, underway)| JobStatus {
        job: id.0,
        to: underway.job.target,
        method: underway.job.method.clone(),
        rows: underway.rows as u64,
        since_us: underway.job.begun_us,
        polls: underway.job.polls,
    })
    .collect()
}

/// What ready changes wait for, where their target can't take them now.
fn held_up(sync: &Sync, now_ms: u64) -> Vec<HeldUp> {
    let mut held = Vec::new();
    for source in Side::BOTH {
        let target = source.other();
        let gateway = &sync.running.endpoints[target].gateway;
        for lane in [Lane::Critical, Lane::Normal, Lane::Backfill] {
            let Some((changes, _)) = sync.queue.ready(source, lane) else {
                continue;
            };
            let halt = sync.halted[target].as_ref();
            let halt = halt.filter(|halt| halt.until_ms > now_ms);
            let (reason, until_ms) = match (halt, gateway.readiness(lane, 1)) {
                (Some(halt), _) => (told(&halt.reason), halt.until_ms),
                (None, Readiness::At { mono_ms, reason }) => (waits::told(&reason), mono_ms),
                (None, Readiness::Now) => continue,
            };
            held.push(HeldUp {
                to: target,
                lane,
                changes: changes as u64,
                reason,
                in_ms: until_ms.saturating_sub(now_ms),
            });
        }
    }
    held
}

/// The worst of what holds a sync back.
fn state(sync: &Sync, now_ms: u64) -> (SyncState, Option<Told>) {
    let halted = Side::BOTH
        .into_iter()
        .find_map(|side| sync.halted[side].as_ref());
    if let Some(halt) = halted.filter(|halt| halt.person) {
        return (SyncState::Stopped, Some(told(&halt.reason)));
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
        // A change that is made before its side was asked for the first time may not be seen as one.
        _ if !sync.listens() => (SyncState::Starting, None),
        _ if sync.running.holds_halves() => (SyncState::Initial, sync.first_contact()),
        0 => (SyncState::Running, None),
        _ => (SyncState::Initial, None),
    }
}

impl StatusSource for Handle {
    fn syncs(&self) -> BoxFuture<'_, Vec<SyncStatus>> {
        async move {
            let (reply, status) = oneshot::channel();
            self.host.send(Event::Status { reply }).await;
            status.await.unwrap_or_default()
        }
        .boxed()
    }

    fn holds(&self) -> Vec<HoldStatus> {
        let holds = self.host.gates.holds();
        holds.iter().map(hold_status).collect()
    }

    fn command(&self, command: Command) -> BoxFuture<'_, Result<Done, CommandError>> {
        async move {
            let gone = || CommandError {
                code: "not-running".into(),
                message: "the syncs are not running any more".into(),
            };
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
