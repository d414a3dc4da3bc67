//! What people hold back, for the tasks beside the engine: streams and starters wait here instead of calling an
//! endpoint that is held, and are woken when somebody lets their sync go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::hold::{Holds, Place};
use tidegate_gateway::Clock;
use tokio::sync::watch;

/// A sync that was let go on.
#[derive(Clone, Copy, Debug, Default)]
struct Resumed {
    /// How often.
    times: u64,
    /// Not before this moment, so that not all begin at once.
    opens_ms: u64,
}

#[derive(Clone, Debug, Default)]
struct State {
    holds: Holds,
    syncs: BTreeMap<Arc<str>, Resumed>,
}

#[derive(Debug, Default)]
pub(super) struct Gates(watch::Sender<State>);

impl Gates {
    pub(super) fn holds(&self) -> Holds {
        self.0.borrow().holds.clone()
    }

    pub(super) fn hold(&self, holds: Holds) {
        self.0.send_modify(|state| state.holds = holds);
    }

    /// These holds are left, and these syncs go on, each at its moment.
    pub(super) fn reopen(&self, holds: Holds, syncs: impl IntoIterator<Item = (Arc<str>, u64)>) {
        self.0.send_modify(|state| {
            state.holds = holds;
            for (name, opens_ms) in syncs {
                let sync = state.syncs.entry(name).or_default();
                sync.times += 1;
                sync.opens_ms = opens_ms;
            }
        });
    }

    /// Not before this moment.
    pub(super) fn opens_ms(&self, sync: &str) -> u64 {
        self.0
            .borrow()
            .syncs
            .get(sync)
            .map_or(0, |sync| sync.opens_ms)
    }

    /// How often any of these was let go on, for [`Gates::resumed`].
    pub(super) fn times(&self, syncs: &[Arc<str>]) -> u64 {
        times(&self.0.borrow(), syncs)
    }

    /// Waits until one of these is let go on once more than so often.
    pub(super) async fn resumed(&self, syncs: &[Arc<str>], known: u64) {
        let mut state = self.0.subscribe();
        // The sender lives in `self`, so the channel can't end before this wait does.
        state
            .wait_for(|state| times(state, syncs) > known)
            .await
            .ok();
    }

    /// Waits until none of the endpoints is held, and until the first of the syncs may go on.
    pub(super) async fn pass(&self, clock: &dyn Clock, syncs: &[Arc<str>], places: &[Place<'_>]) {
        let mut state = self.0.subscribe();
        loop {
            let held = |state: &State| {
                let mut places = places.iter();
                places.any(|place| state.holds.over_endpoint(*place).is_some())
            };
            let opens_ms = match state.wait_for(|state| !held(state)).await {
                Ok(state) => opens_ms(&state, syncs),
                Err(_) => return,
            };
            if opens_ms <= clock.now().mono_ms {
                return;
            }
            tokio::select! {
                () = clock.sleep_until(opens_ms) => {}
                _ = state.changed() => {}
            }
        }
    }
}

fn times(state: &State, syncs: &[Arc<str>]) -> u64 {
    let known = syncs.iter().filter_map(|name| state.syncs.get(name));
    known.map(|sync| sync.times).sum()
}

fn opens_ms(state: &State, syncs: &[Arc<str>]) -> u64 {
    let opens = syncs
        .iter()
        .map(|name| state.syncs.get(name).map_or(0, |sync| sync.opens_ms));
    opens.min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tidegate_core::hold::{Hold, Scope};
    use tidegate_gateway::ManualClock;

    use super::*;

    fn held(scope: Scope) -> Holds {
        let mut holds = Holds::default();
        holds.place(scope, Hold::default());
        holds
    }

    #[tokio::test]
    async fn whoever_calls_a_held_endpoint_waits_for_the_resume_and_for_its_turn() {
        let clock = ManualClock::default();
        let gates = Gates::default();
        let people: [Arc<str>; 1] = ["people".into()];
        let now_ms = clock.now().mono_ms;
        gates.hold(held(Scope::Endpoint("crm".into())));
        let place = |endpoint| Place {
            endpoint,
            account: "",
        };
        let both = [place("db"), place("crm")];
        let mut pass = Box::pin(gates.pass(&clock, &people, &both));
        let mut resumed = Box::pin(gates.resumed(&people, gates.times(&people)));
        assert!(pass.as_mut().now_or_never().is_none(), "held");
        let mut other = Box::pin(gates.pass(&clock, &people, &both[..1]));
        assert!(other.as_mut().now_or_never().is_some(), "not called there");
        assert!(resumed.as_mut().now_or_never().is_none());

        gates.reopen(Holds::default(), [(people[0].clone(), now_ms + 500)]);
        assert!(resumed.as_mut().now_or_never().is_some());
        assert!(pass.as_mut().now_or_never().is_none(), "its turn comes");
        clock.advance(499);
        assert!(pass.as_mut().now_or_never().is_none());
        clock.advance(1);
        assert!(pass.as_mut().now_or_never().is_some());
    }
}
