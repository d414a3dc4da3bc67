//! Whether an endpoint may be called just now: one that fails is left alone for a while, one that somebody holds until
//! he lets it go on, and one that answers slowly gets fewer requests at once, the most urgent first. It stands in the
//! way of every request, with or without pools.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::pace::breaker::{self, Breaker};
use tidegate_core::pace::{Kind, Lane, Reason, Wait, Width};
use tokio::sync::Notify;

use crate::clock::Clock;

/// Who waits for others to come back, or to be let go on, looks again after so long in any case.
const LOOK_MS: u64 = 250;

/// One endpoint's gate.
pub(crate) struct Gate {
    endpoint: Arc<str>,
    account: Arc<str>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// By lane.
    changed: [Notify; 3],
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    width: Width,
    /// Requests that wait here, by lane.
    waiting: [u32; 3],
    endpoint_held: bool,
    account_held: bool,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Endpoint,
    Account,
}

impl Gate {
    pub(crate) fn new(endpoint: Arc<str>, account: Arc<str>, clock: Arc<dyn Clock>) -> Self {
        Self {
            endpoint,
            account,
            clock,
            state: Mutex::default(),
            changed: Default::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing of a lane may leave now, and when to look again.
    pub(crate) fn look(&self, lane: Lane) -> Result<(), Wait> {
        let now_ms = self.clock.now().mono_ms;
        let state = self.state();
        let held = match (state.endpoint_held, state.account_held) {
            (true, _) => Some(&self.endpoint),
            (false, true) => Some(&self.account),
            (false, false) => None,
        };
        if let Some(what) = held {
            let what = what.clone();
            return Err(Wait {
                reason: Reason::Paused { what },
                at_ms: now_ms + LOOK_MS,
            });
        }
        let endpoint = self.endpoint.clone();
        let ahead: u32 = state.waiting[..lane as usize].iter().sum();
        let room = state.breaker.room().min(state.width.room());
        let looked = state.breaker.look(now_ms);
        if looked.is_ok() && room > ahead {
            return Ok(());
        }
        let narrow = looked.is_err() || state.breaker.room() <= ahead;
        let reason = match narrow && state.breaker.has_opened() {
            true => Reason::Failing { endpoint },
            false => Reason::Crowded { endpoint },
        };
        Err(Wait {
            reason,
            at_ms: looked.err().flatten().unwrap_or(now_ms + LOOK_MS),
        })
    }

    /// Waits until something may leave, at most until `deadline_ms`; not at all when it is known to come later.
    pub(crate) async fn open(&self, lane: Lane, deadline_ms: u64) -> Result<(), Wait> {
        let mut place = None;
        loop {
            let changed = self.changed[lane as usize].notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Err(wait) = self.look(lane) else {
                return Ok(());
            };
            if wait.at_ms > deadline_ms {
                return Err(wait);
            }
            place.get_or_insert_with(|| Place::take(self, lane));
            tokio::select! {
                () = changed => {}
                () = self.clock.sleep_until(wait.at_ms) => {}
            }
        }
    }

    /// Lets one request through; `None` when others were quicker.
    pub(crate) fn pass(&self, lane: Lane, kind: Kind) -> Option<Pass<'_>> {
        self.look(lane).ok()?;
        let since_ms = self.clock.now().mono_ms;
        let mut state = self.state();
        let pass = state.breaker.leave(since_ms).ok()?;
        state.width.leave();
        Some(Pass {
            gate: self,
            pass: Some(pass),
            kind,
            since_ms,
        })
    }

    /// Holds the endpoint, or lets it go on: then one request goes first, and more follow as they come back.
    pub(crate) fn hold(&self, what: Held, held: bool) {
        let mut state = self.state();
        let flag = match what {
            Held::Endpoint => &mut state.endpoint_held,
            Held::Account => &mut state.account_held,
        };
        let before = std::mem::replace(flag, held);
        if before && !held {
            state.breaker.ease_in();
        }
        drop(state);
        self.wake();
    }

    /// Wakes as many of those who wait as may leave now, the most urgent first.
    fn wake(&self) {
        let state = self.state();
        let mut room = state.breaker.room().min(state.width.room());
        let waiting = state.waiting;
        drop(state);
        for (changed, waiting) in self.changed.iter().zip(waiting) {
            let woken = waiting.min(room);
            (0..woken).for_each(|_| changed.notify_one());
            room -= woken;
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state().endpoint_held
    }

    /// After a rest of something that the endpoint draws on.
    pub(crate) fn ease_in(&self) {
        self.state().breaker.ease_in();
    }
}

/// Somebody's place among those who wait.
struct Place<'a> {
    gate: &'a Gate,
    lane: Lane,
}

impl<'a> Place<'a> {
    fn take(gate: &'a Gate, lane: Lane) -> Self {
        gate.state().waiting[lane as usize] += 1;
        Self { gate, lane }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.state().waiting[self.lane as usize] -= 1;
    }
}

/// How an endpoint took a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Took {
    Well,
    /// It said stop.
    Stopped,
    /// It did not do its work.
    Badly,
}

/// The right to call the endpoint once. Dropped without a word, it tells nothing of the endpoint.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    pass: Option<breaker::Pass>,
    kind: Kind,
    since_ms: u64,
}

impl Pass<'_> {
    /// The request came back, or did not; `random` is for the jitter of a pause.
    pub(crate) fn came_back(mut self, took: Took, random: f64) {
        if let Some(pass) = self.pass.take() {
            let now_ms = self.gate.clock.now().mono_ms;
            let lasted_ms = now_ms.saturating_sub(self.since_ms);
            let mut state = self.gate.state();
            match took {
                Took::Well => state.width.came_back(now_ms, self.kind, lasted_ms),
                Took::Stopped => state.width.stopped(now_ms, lasted_ms),
                Took::Badly => state.width.gone(),
            }
            let well = took != Took::Badly;
            state.breaker.came_back(now_ms, pass, well, random);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            let mut state = self.gate.state();
            state.breaker.unsent(pass);
            state.width.gone();
        }
        self.gate.wake();
    }
}
