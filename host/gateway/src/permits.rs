//! Waiting for permits: the pacer's decisions, carried to the requests that stand in line.
//!
//! `core::pace` decides who goes and when; here requests sleep until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::pace::{
    Draws, Ended, Impossible, Lane, Pacer, PoolCounts, PoolFigures, Seat, Shape, Ticket,
    UnknownPool, Wait,
};
use tokio::sync::oneshot;

use crate::clock::Clock;

/// Why there is no permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No waiting helps.
    Impossible(Impossible),
    /// Longer than a request may wait.
    TooLong(Wait),
}

/// All permits of an endpoint.
pub(crate) struct Permits {
    clock: Arc<dyn Clock>,
    line: Mutex<Line>,
}

struct Line {
    pacer: Pacer,
    /// Who stands in line, to be woken with the permit.
    waking: HashMap<Ticket, oneshot::Sender<()>>,
}

impl Permits {
    pub(crate) fn new(pacer: Pacer, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            line: Mutex::new(Line {
                pacer,
                waking: HashMap::new(),
            }),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        change(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn draws(
        &self,
        shape: &Shape<'_>,
        named: &[(String, u32)],
    ) -> Result<Draws, UnknownPool> {
        self.with(|line| line.pacer.draws(Seat::default(), shape, named))
    }

    pub(crate) fn readiness(&self, lane: Lane, calls: u32) -> Result<(), Wait> {
        let now = self.clock.now();
        self.with(|line| line.pacer.readiness(now, Seat::default(), lane, calls))
    }

    pub(crate) fn figures(&self) -> Vec<PoolFigures> {
        let now = self.clock.now();
        self.with(|line| line.pacer.figures(now))
    }

    pub(crate) fn snapshot(&self) -> Vec<PoolCounts> {
        let now = self.clock.now();
        self.with(|line| line.pacer.snapshot(now))
    }

    pub(crate) fn restore(&self, counts: &[PoolCounts]) {
        let now = self.clock.now();
        self.with(|line| line.pacer.restore(now, counts));
    }

    /// Waits for a permit, at most until `deadline_ms`; not at all when it is known to come later.
    pub(crate) async fn acquire(
        &self,
        lane: Lane,
        sync: &Arc<str>,
        draws: Draws,
        deadline_ms: u64,
    ) -> Result<Permit<'_>, Refusal> {
        let now = self.clock.now();
        let (wake, mut woken) = oneshot::channel();
        let ticket = self.with(|line| {
            let ticket = line.pacer.ask(now, lane, sync, draws)?;
            line.waking.insert(ticket, wake);
            Ok(ticket)
        });
        // From here on the guard gives back, whatever becomes of this future.
        let permit = Permit {
            permits: self,
            ticket: ticket.map_err(Refusal::Impossible)?,
            ended: Some(Ended::Unsent),
        };
        loop {
            self.grant();
            if woken.try_recv().is_ok() {
                return Ok(permit.sent());
            }
            let wait = self.with(|line| line.pacer.wait(permit.ticket));
            let Some(wait) = wait else { continue };
            let now_ms = self.clock.now().mono_ms;
            if wait.at_ms > deadline_ms || now_ms >= deadline_ms {
                return Err(Refusal::TooLong(wait));
            }
            tokio::select! {
                biased;
                _ = &mut woken => return Ok(permit.sent()),
                () = self.clock.sleep_until(wait.at_ms.max(now_ms + 1)) => {}
            }
        }
    }

    /// Hands out what can go now, to whomever it belongs.
    fn grant(&self) {
        let now = self.clock.now();
        self.with(|line| {
            for ticket in line.pacer.grant(now) {
                // Who no longer listens gives its permit back by itself.
                if let Some(wake) = line.waking.remove(&ticket) {
                    wake.send(()).ok();
                }
            }
        });
    }
}

/// The right to send one request. Dropped without a word, it counts as sent and lost.
pub(crate) struct Permit<'a> {
    permits: &'a Permits,
    ticket: Ticket,
    ended: Option<Ended>,
}

impl Permit<'_> {
    fn sent(mut self) -> Self {
        self.ended = Some(Ended::Lost);
        self
    }

    /// Tells how the request ended.
    pub(crate) fn settle(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.permits.clock.now();
        if let Some(ended) = self.ended.take() {
            self.permits.with(|line| {
                line.waking.remove(&self.ticket);
                line.pacer.leave(self.ticket);
                line.pacer.settle(now, self.ticket, &ended);
            });
            self.permits.grant();
        }
    }
}
