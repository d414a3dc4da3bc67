//! Waiting for permits: the pacer's decisions, carried to the requests that stand in line.
//!
//! `core::pace` decides who goes and when; here requests sleep until then.

use std::sync::Arc;

use tidegate_core::pace::{
    Draws, Ended, Impossible, Lane, PoolFigures, Seat, Shape, Ticket, UnknownPool, Wait,
};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::account::Account;

/// Why there is no permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No waiting helps.
    Impossible(Impossible),
    /// Longer than a request may wait.
    TooLong(Wait),
    /// The seat was taken away: the vendor refuses its credential.
    Evicted,
}

/// All permits of an endpoint: its seat at the account that it shares with others.
pub(crate) struct Permits {
    account: Arc<Account>,
    seat: Seat,
}

impl Permits {
    pub(crate) fn new(account: Arc<Account>, seat: Seat) -> Self {
        Self { account, seat }
    }

    pub(crate) fn seat(&self) -> Seat {
        self.seat
    }

    pub(crate) fn draws(
        &self,
        shape: &Shape<'_>,
        named: &[(String, u32)],
    ) -> Result<Draws, UnknownPool> {
        self.account
            .with(|line| line.pacer.draws(self.seat, shape, named))
    }

    pub(crate) fn readiness(&self, lane: Lane, calls: u32) -> Result<(), Wait> {
        let now = self.account.clock().now();
        self.account
            .with(|line| line.pacer.readiness(now, self.seat, lane, calls))
    }

    pub(crate) fn figures(&self) -> Vec<PoolFigures> {
        self.account.figures(self.seat)
    }

    /// Waits for a permit, at most until `deadline_ms`; not at all when it is known to come later.
    pub(crate) async fn acquire(
        &self,
        lane: Lane,
        sync: &Arc<str>,
        draws: Draws,
        deadline_ms: u64,
    ) -> Result<Permit<'_>, Refusal> {
        let now = self.account.clock().now();
        let (wake, mut woken) = oneshot::channel();
        let mut drawn = Vec::new();
        let ticket = self.account.with(|line| {
            drawn = line.pacer.drawn(&draws);
            let ticket = line.pacer.ask(now, lane, sync, draws)?;
            line.waking.insert(ticket, wake);
            Ok(ticket)
        });
        // From here on the guard gives back, whatever becomes of this future.
        let permit = Permit {
            account: &self.account,
            ticket: ticket.map_err(Refusal::Impossible)?,
            drawn,
            ended: Some(Ended::Unsent),
        };
        loop {
            self.account.grant();
            match woken.try_recv() {
                Ok(()) => return Ok(permit.sent()),
                Err(TryRecvError::Closed) => return Err(Refusal::Evicted),
                Err(TryRecvError::Empty) => {}
            }
            let wait = self.account.with(|line| line.pacer.wait(permit.ticket));
            let Some(wait) = wait else { continue };
            let now_ms = self.account.clock().now().mono_ms;
            if wait.at_ms > deadline_ms || now_ms >= deadline_ms {
                return Err(Refusal::TooLong(wait));
            }
            tokio::select! {
                biased;
                woken = &mut woken => return match woken {
                    Ok(()) => Ok(permit.sent()),
                    Err(_) => Err(Refusal::Evicted),
                },
                () = self.account.clock().sleep_until(wait.at_ms.max(now_ms + 1)) => {}
            }
        }
    }
}

/// The right to send one request. Dropped without a word, it counts as sent and lost.
pub(crate) struct Permit<'a> {
    account: &'a Account,
    ticket: Ticket,
    drawn: Vec<(Arc<str>, u64)>,
    ended: Option<Ended>,
}

impl Permit<'_> {
    fn sent(mut self) -> Self {
        self.ended = Some(Ended::Lost);
        self
    }

    /// What it draws, by the pools' names.
    pub(crate) fn drawn(&self) -> &[(Arc<str>, u64)] {
        &self.drawn
    }

    /// Tells how the request ended.
    pub(crate) fn settle(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.account.clock().now();
        if let Some(ended) = self.ended.take() {
            self.account.with(|line| {
                line.waking.remove(&self.ticket);
                line.pacer.leave(self.ticket);
                line.pacer.settle(now, self.ticket, &ended);
            });
            self.account.grant();
        }
    }
}
