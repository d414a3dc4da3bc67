//! An endpoint that fails is left alone for a while, and tried with little: failures must not multiply.
//!
//! Every failure costs one from a budget that successes fill slowly. When it is empty, nothing leaves for a
//! pause that grows, with full jitter; then one request tries, two after its success, four after theirs. A
//! failure among them opens the breaker again. Everybody's waiting work stays where it is.

/// Failures that may come in a row; a success earns a tenth of one back.
const BUDGET: f64 = 10.0;
const EARNS: f64 = 0.1;
const PAUSE_FIRST_MS: u64 = 500;
const PAUSE_MAX_MS: u64 = 8_000;
const PAUSE_MIN_MS: u64 = 50;
/// So many successes in a row show that the endpoint is back.
const BACK_AFTER: u32 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until_ms: u64,
    },
    /// So many may be out at once, and so many have come back well.
    Trying {
        at_once: u32,
        well: u32,
    },
}

/// What the breaker shows to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Closed,
    Open { until_ms: u64 },
    Trying,
}

/// One endpoint's breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    budget: f64,
    /// Pauses since it was last closed.
    pauses: u32,
    out: u32,
    /// When it opened last: what left before tells nothing new.
    opened: u64,
}

/// Goes with a request, so that its end can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    opened: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            budget: BUDGET,
            pauses: 0,
            out: 0,
            opened: 0,
        }
    }
}

impl Breaker {
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { until_ms } => Standing::Open { until_ms },
            State::Trying { .. } => Standing::Trying,
        }
    }

    /// What [`Self::leave`] would say.
    pub fn look(&self, now_ms: u64) -> Result<(), Option<u64>> {
        match self.state {
            State::Open { until_ms } if now_ms < until_ms => Err(Some(until_ms)),
            State::Trying { at_once, .. } if self.out >= at_once => Err(None),
            _ => Ok(()),
        }
    }

    /// Requests that may leave, when any may.
    pub fn room(&self) -> u32 {
        match self.state {
            State::Closed => u32::MAX,
            State::Open { .. } => 1,
            State::Trying { at_once, .. } => at_once.saturating_sub(self.out),
        }
    }

    /// Whether failures are why few may leave, if few may.
    pub fn has_opened(&self) -> bool {
        self.pauses > 0
    }

    /// After a rest that nobody's failure caused: one request goes first, and more follow as they come back.
    pub fn ease_in(&mut self) {
        if self.state == State::Closed {
            self.state = State::Trying {
                at_once: 1,
                well: 0,
            };
        }
    }

    /// Whether a request may leave, else when to ask again; `None` means when one of those that are out has come
    /// back.
    pub fn leave(&mut self, now_ms: u64) -> Result<Pass, Option<u64>> {
        self.look(now_ms)?;
        if matches!(self.state, State::Open { .. }) {
            self.state = State::Trying {
                at_once: 1,
                well: 0,
            };
        }
        self.out += 1;
        Ok(Pass {
            opened: self.opened,
        })
    }

    /// Nothing was sent after all.
    pub fn unsent(&mut self, pass: Pass) {
        if pass.opened == self.opened {
            self.out = self.out.saturating_sub(1);
        }
    }

    /// A request came back; `well` means that the vendor did its work, refusals included. `random` lies between 0
    /// and 1, for the jitter of the pause.
    pub fn came_back(&mut self, now_ms: u64, pass: Pass, well: bool, random: f64) {
        if pass.opened != self.opened {
            return;
        }
        self.out = self.out.saturating_sub(1);
        if well {
            self.budget = (self.budget + EARNS).min(BUDGET);
            self.went_well();
            return;
        }
        self.budget -= 1.0;
        if self.budget < 0.0 || matches!(self.state, State::Trying { .. }) {
            self.open(now_ms, random);
        }
    }

    fn went_well(&mut self) {
        if let State::Trying { at_once, well } = &mut self.state {
            *well += 1;
            *at_once = at_once.saturating_add(1);
            if *well >= BACK_AFTER {
                self.state = State::Closed;
                self.pauses = 0;
                self.budget = BUDGET / 2.0;
            }
        }
    }

    fn open(&mut self, now_ms: u64, random: f64) {
        let most = (PAUSE_FIRST_MS << self.pauses.min(10)).min(PAUSE_MAX_MS);
        let pause_ms = PAUSE_MIN_MS + (most as f64 * random.clamp(0.0, 1.0)) as u64;
        self.pauses = self.pauses.saturating_add(1);
        self.opened += 1;
        self.out = 0;
        self.budget = 0.0;
        self.state = State::Open {
            until_ms: now_ms + pause_ms,
        };
    }
}
