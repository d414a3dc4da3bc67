//! Whether an endpoint may be called at all just now: one that fails is left alone for a while, one that somebody
//! holds until he lets it go on. It stands in the way of every request, with or without pools.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::pace::breaker::{self, Breaker};
use tidegate_core::pace::{Reason, Wait};
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
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
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
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing may leave now, and when to look again.
    pub(crate) fn look(&self) -> Result<(), Wait> {
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
        state.breaker.look(now_ms).map_err(|until_ms| Wait {
            reason: Reason::Failing {
                endpoint: self.endpoint.clone(),
            },
            at_ms: until_ms.unwrap_or(now_ms + LOOK_MS),
        })
    }

    /// Waits until something may leave, at most until `deadline_ms`; not at all when it is known to come later.
    pub(crate) async fn open(&self, deadline_ms: u64) -> Result<(), Wait> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Err(wait) = self.look() else {
                return Ok(());
            };
            if wait.at_ms > deadline_ms {
                return Err(wait);
            }
            tokio::select! {
                () = changed => {}
                () = self.clock.sleep_until(wait.at_ms) => {}
            }
        }
    }

    /// Lets one request through; `None` when others were quicker.
    pub(crate) fn pass(&self) -> Option<Pass<'_>> {
        self.look().ok()?;
        let pass = self.state().breaker.leave(self.clock.now().mono_ms).ok()?;
        Some(Pass {
            gate: self,
            pass: Some(pass),
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
        self.changed.notify_waiters();
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state().endpoint_held
    }

    /// After a rest of something that the endpoint draws on.
    pub(crate) fn ease_in(&self) {
        self.state().breaker.ease_in();
    }
}

/// The right to call the endpoint once. Dropped without a word, it tells nothing of the endpoint.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    pass: Option<breaker::Pass>,
}

impl Pass<'_> {
    /// The request came back, or did not; `random` is for the jitter of a pause.
    pub(crate) fn came_back(mut self, well: bool, random: f64) {
        if let Some(pass) = self.pass.take() {
            let now_ms = self.gate.clock.now().mono_ms;
            let mut state = self.gate.state();
            state.breaker.came_back(now_ms, pass, well, random);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.gate.state().breaker.unsent(pass);
        }
        self.gate.changed.notify_waiters();
    }
}
