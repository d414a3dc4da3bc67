//! How people hold syncs and endpoints, and let them go on.
//!
//! What is held is on disk before the command is answered, by name, so that it holds over a restart and also for a
//! sync that can't start. A resume ends what stands in the way: the pause; else what a failure has stopped, which
//! would be tried again only later; and the brake of a sync that is named, since whoever names it has seen it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_core::hold::{Hold, Holds, Place, Scope, restart_after_ms};
use tidegate_core::ledger::Changes;
use tidegate_core::sync::{Side, SyncSpec};

use super::engine::{Engine, EngineError};
use super::people::no_sync;
use super::{doors, records};
use crate::status::{CommandError, Done, HoldStatus, Resumed, Told};

/// Whether a sync's rounds may start.
pub(super) enum Held {
    No,
    /// It was let go on, and its turn comes at this moment.
    Until(u64),
    ByPerson,
}

/// A command's answer; the outer error ends the host.
type Answered = Result<Result<Done, CommandError>, EngineError>;

fn nobody(what: &str, name: &str) -> CommandError {
    CommandError {
        code: format!("no-such-{what}"),
        message: format!("no {what} is called {name}"),
    }
}

pub(super) fn hold_status((scope, hold): (&Scope, &Hold)) -> HoldStatus {
    HoldStatus {
        what: scope.to_string(),
        by: hold.by.clone(),
        since_us: hold.at_ms.saturating_mul(1_000),
        why: hold.why.clone(),
    }
}

impl Engine {
    pub(super) fn held(&self, index: usize, now_ms: u64) -> Held {
        let spec = &self.syncs[index].running.model.spec;
        if self
            .holds
            .over_sync(&spec.name, self.places(spec))
            .is_some()
        {
            return Held::ByPerson;
        }
        match self.host.gates.opens_ms(&spec.name) {
            opens_ms if opens_ms > now_ms => Held::Until(opens_ms),
            _ => Held::No,
        }
    }

    /// Who holds a sync and why, in words.
    pub(super) fn paused(&self, name: &str) -> Option<Told> {
        let spec = self.specs().find(|spec| *spec.name == *name)?;
        let (scope, hold) = self.holds.over_sync(name, self.places(spec))?;
        let why = match hold.why.as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        Some(Told {
            code: "paused".to_owned(),
            message: format!(
                "{scope} was paused by {}{why}; `tidegate resume {scope}` lets it go on",
                hold.by
            ),
        })
    }

    /// Every endpoint that a sync names is there.
    fn places(&self, spec: &SyncSpec) -> [Place<'_>; 2] {
        Side::BOTH.map(|side| self.assembly.endpoints[&spec.side(side).endpoint].place())
    }

    fn specs(&self) -> impl Iterator<Item = &SyncSpec> {
        self.assembly.syncs.iter().map(|parts| &parts.spec)
    }

    fn unknown(&self, what: &Scope) -> Option<CommandError> {
        match what {
            Scope::All => None,
            Scope::Sync(name) => {
                let known = self.specs().any(|spec| *spec.name == **name);
                (!known).then(|| no_sync(name))
            }
            Scope::Endpoint(name) => {
                let known = self.assembly.endpoints.contains_key(name.as_str());
                (!known).then(|| nobody("endpoint", name))
            }
            Scope::Account(name) => {
                let mut endpoints = self.assembly.endpoints.values();
                let known = endpoints.any(|endpoint| endpoint.place().account == name);
                (!known).then(|| nobody("account", name))
            }
            Scope::Pool { endpoint, pool } => {
                let Some(known) = self.assembly.endpoints.get(endpoint.as_str()) else {
                    return Some(nobody("endpoint", endpoint));
                };
                let mut pools = known.gateway.pools().into_iter();
                let known = pools.any(|figures| *figures.pool == **pool);
                (!known).then(|| nobody("pool", &format!("{endpoint}.{pool}")))
            }
        }
    }

    /// An account by its whole name, where its address alone was given and names one.
    fn whole(&self, what: Scope) -> Scope {
        let Scope::Account(short) = &what else {
            return what;
        };
        let endpoints = self.assembly.endpoints.values();
        let names = endpoints.map(|endpoint| endpoint.place().account);
        let address = |name: &str| name.split_once(' ').map(|(_, address)| address.to_owned());
        let meant: BTreeSet<&str> = names
            .filter(|name| name == short || address(name).as_ref() == Some(short))
            .collect();
        match meant.iter().next() {
            Some(name) if meant.len() == 1 => Scope::Account((*name).to_owned()),
            _ => what,
        }
    }

    pub(super) async fn pause(&mut self, what: Scope, by: String, why: String) -> Answered {
        let what = self.whole(what);
        if let Some(error) = self.unknown(&what) {
            return Ok(Err(error));
        }
        let mut holds = self.holds.clone();
        let hold = Hold {
            by,
            at_ms: self.host.clock.now().wall_us / 1_000,
            why,
        };
        if !holds.place(what.clone(), hold) {
            return Ok(Ok(Done::Changed(0)));
        }
        tracing::info!(what = %what, "paused");
        self.keep(&holds).await?;
        self.host.gates.hold(holds);
        Ok(Ok(Done::Changed(1)))
    }

    /// A hold of something that the config no longer has can be taken away too.
    pub(super) async fn resume(&mut self, what: Scope) -> Answered {
        let what = &self.whole(what);
        if let Some(error) = self.unknown(what)
            && !self.holds.has(what)
        {
            return Ok(Err(error));
        }
        let mut holds = self.holds.clone();
        let mut resumed = Resumed {
            lifted: holds.lift(what) as u64,
            ..Resumed::default()
        };
        if resumed.lifted > 0 {
            tracing::info!(what = %what, "resumed");
            self.keep(&holds).await?;
        }
        let concerned = self.concerned(what);
        for name in &concerned {
            resumed.cleared += u64::from(self.clear(name, what));
        }
        if let (Scope::Sync(name), 0) = (what, resumed.lifted)
            && let Some(sync) = self.started(name)
            && sync.brake.is_on()
        {
            let index = sync.running.index;
            resumed.released = self.release(index).await?;
        }
        resumed.still = self.still_held(&concerned);
        let now_ms = self.host.clock.now().mono_ms;
        let of = concerned.len();
        let opens = concerned.into_iter().enumerate();
        let opens = opens.map(|(place, name)| (name, now_ms + restart_after_ms(place, of)));
        self.host.gates.reopen(holds, opens);
        Ok(Ok(Done::Resumed(resumed)))
    }

    /// The syncs that a scope takes in, the most urgent first.
    fn concerned(&self, what: &Scope) -> Vec<Arc<str>> {
        let mut concerned: Vec<&SyncSpec> = self
            .specs()
            .filter(|spec| what.concerns(&spec.name, self.places(spec)))
            .collect();
        concerned.sort_by_key(|spec| spec.lane);
        concerned.iter().map(|spec| spec.name.clone()).collect()
    }

    /// Ends what a failure has stopped, and every pause of its records. True when there was any.
    fn clear(&mut self, name: &str, what: &Scope) -> bool {
        if let Some(pending) = self.pending.get_mut(name) {
            return pending.hindrance.take().is_some();
        }
        let now_ms = self.host.clock.now().mono_ms;
        let mut syncs = self.syncs.iter_mut();
        let Some(sync) = syncs.find(|sync| *sync.running.model.spec.name == *name) else {
            return false;
        };
        let mut cleared = false;
        for side in Side::BOTH {
            let place = sync.running.endpoints[side].place();
            let whole = matches!(what, Scope::Sync(_) | Scope::Pool { .. });
            if whole || what.silences(place) {
                cleared |= sync.halted[side].take().is_some();
                cleared |= sync.pull_failure[side].is_some();
            }
        }
        sync.queue.wake_all(now_ms);
        cleared
    }

    fn still_held(&self, concerned: &[Arc<str>]) -> Vec<HoldStatus> {
        let holds = self.holds.iter().filter(|(scope, _)| {
            let mut specs = self.specs();
            specs.any(|spec| {
                concerned.contains(&spec.name) && scope.concerns(&spec.name, self.places(spec))
            })
        });
        holds.map(hold_status).collect()
    }

    async fn keep(&mut self, holds: &Holds) -> Result<(), EngineError> {
        let mut changes = Changes::new();
        records::put_holds(&mut changes, holds);
        let seq = records::commit(&self.host.store, changes).await?;
        self.host.store.durable(seq).await?;
        doors::turn(&self.assembly, &self.holds, holds);
        self.holds = holds.clone();
        Ok(())
    }
}
