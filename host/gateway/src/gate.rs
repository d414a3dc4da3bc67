//! Whether an endpoint may be called just now: one that fails is left alone for a while, one that somebody holds until
//! he lets it go on, and one that answers slowly gets fewer requests at once, the most urgent first. It stands in the
//! way of every request, with or without pools.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::pace::breaker::{self, Breaker};
use tidegate_core::pace::doorway::{self, Doorway};
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
    /// Who has waited so long gets a turn among the more urgent ones.
    promote_after_ms: u64,
    state: Mutex<State>,
    /// By lane.
    changed: [Notify; 3],
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    width: Width,
    doorway: Doorway,
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
    pub(crate) fn new(
        endpoint: Arc<str>,
        account: Arc<str>,
        clock: Arc<dyn Clock>,
        promote_after_ms: u64,
    ) -> Self {
        Self {
            endpoint,
            account,
            clock,
            promote_after_ms,
            state: Mutex::default(),
            changed: Default::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who holds it, if somebody does, and when to look again.
    pub(crate) fn held(&self) -> Option<Wait> {
        self.held_by(&self.state())
    }

    fn held_by(&self, state: &State) -> Option<Wait> {
        let what = match (state.endpoint_held, state.account_held) {
            (true, _) => self.endpoint.clone(),
            (false, true) => self.account.clone(),
            (false, false) => return None,
        };
        Some(Wait {
            reason: Reason::Paused { what },
            at_ms: self.clock.now().mono_ms + LOOK_MS,
        })
    }

    /// Waits while somebody holds it, at most until `deadline_ms`: for what is no load that would have to be eased in.
    pub(crate) async fn free(&self, deadline_ms: u64) -> Result<(), Wait> {
        while let Some(wait) = self.held() {
            if wait.at_ms > deadline_ms {
                return Err(wait);
            }
            self.clock.sleep_until(wait.at_ms).await;
        }
        Ok(())
    }

    /// Why nothing of a lane may leave now, and when to look again.
    pub(crate) fn look(&self, lane: Lane) -> Result<(), Wait> {
        self.look_at(&self.state(), lane)
    }

    fn look_at(&self, state: &State, lane: Lane) -> Result<(), Wait> {
        let now_ms = self.clock.now().mono_ms;
        if let Some(wait) = self.held_by(state) {
            return Err(wait);
        }
        let endpoint = self.endpoint.clone();
        let ahead = state.doorway.ahead(now_ms, lane, self.promote_after_ms);
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

    /// A request comes that wants to leave.
    pub(crate) fn visit(&self, lane: Lane) -> Visit<'_> {
        Visit {
            gate: self,
            lane,
            since_ms: self.clock.now().mono_ms,
            place: None,
        }
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
        let now_ms = self.clock.now().mono_ms;
        let state = self.state();
        let room = state.breaker.room().min(state.width.room()) as usize;
        let woken = state.doorway.woken(now_ms, room, self.promote_after_ms);
        drop(state);
        for (changed, woken) in self.changed.iter().zip(woken) {
            (0..woken).for_each(|_| changed.notify_one());
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

/// A request from its coming until it leaves: it stands among those who wait while it waits here, and not while it waits
/// for its pools.
pub(crate) struct Visit<'a> {
    gate: &'a Gate,
    lane: Lane,
    since_ms: u64,
    place: Option<doorway::Place>,
}

impl<'a> Visit<'a> {
    /// Waits until something may leave, at most until `deadline_ms`; not at all when it is known to come later.
    pub(crate) async fn open(&mut self, deadline_ms: u64) -> Result<(), Wait> {
        let gate = self.gate;
        loop {
            let changed = gate.changed[self.lane as usize].notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let looked = {
                let mut state = gate.state();
                let looked = gate.look_at(&state, self.lane);
                match &looked {
                    Ok(()) => self.step_aside(&mut state),
                    Err(_) => self.step_up(&mut state),
                }
                looked
            };
            let Err(wait) = looked else {
                return Ok(());
            };
            if wait.at_ms > deadline_ms {
                return Err(wait);
            }
            tokio::select! {
                () = changed => {}
                () = gate.clock.sleep_until(wait.at_ms) => {}
            }
        }
    }

    /// Goes through; `None` when others were quicker.
    pub(crate) fn pass(&mut self, kind: Kind) -> Option<Pass<'a>> {
        let gate = self.gate;
        let since_ms = gate.clock.now().mono_ms;
        let mut state = gate.state();
        // Who has waited long is known by its place.
        self.step_up(&mut state);
        gate.look_at(&state, self.lane).ok()?;
        let pass = state.breaker.leave(since_ms).ok()?;
        state.width.leave();
        state
            .doorway
            .went(since_ms, self.lane, gate.promote_after_ms);
        self.step_aside(&mut state);
        Some(Pass {
            gate,
            pass: Some(pass),
            kind,
            since_ms,
        })
    }

    fn step_up(&mut self, state: &mut State) {
        let (since_ms, lane) = (self.since_ms, self.lane);
        self.place
            .get_or_insert_with(|| state.doorway.enter(since_ms, lane));
    }

    fn step_aside(&mut self, state: &mut State) {
        if let Some(place) = self.place.take() {
            state.doorway.leave(place);
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.gate.state().doorway.leave(place);
        }
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
