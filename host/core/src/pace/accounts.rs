//! Several credentials of one endpoint: which of them a request goes by.
//!
//! Each has a seat at the pacer, with pools of its own under those that the account shares. Work goes to the one
//! with most headroom; one that is refused by the vendor is left out, and what waited for it is asked again.

use super::cost::Shape;
use super::pacer::{Pacer, Seat, Ticket};
use crate::time::Now;

/// What a credential may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Reading,
    Writing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Serving,
    Revoked,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    seat: Seat,
    /// `None` for both.
    only: Option<Purpose>,
    standing: Standing,
}

/// An endpoint's credentials.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    accounts: Vec<Account>,
}

impl Accounts {
    pub fn add(&mut self, seat: Seat, only: Option<Purpose>) {
        self.accounts.push(Account {
            seat,
            only,
            standing: Standing::Serving,
        });
    }

    /// The seat with most headroom for such a request; `None` when no credential is left that may do it.
    pub fn route(
        &self,
        pacer: &mut Pacer,
        now: Now,
        shape: &Shape<'_>,
        purpose: Purpose,
    ) -> Option<Seat> {
        let mut best: Option<(u64, Seat)> = None;
        for account in &self.accounts {
            let fits = account.only.is_none_or(|only| only == purpose);
            if account.standing != Standing::Serving || !fits {
                continue;
            }
            let headroom = pacer.headroom(now, account.seat, shape);
            if best.is_none_or(|(known, _)| headroom > known) {
                best = Some((headroom, account.seat));
            }
        }
        best.map(|(_, seat)| seat)
    }

    /// The vendor does not take the credential any more. Returns the requests that waited for it, which have left
    /// the line and are to be asked again; those on their way end by themselves.
    pub fn revoke(&mut self, pacer: &mut Pacer, seat: Seat) -> Vec<Ticket> {
        self.stand(seat, Standing::Revoked);
        pacer.evict(seat)
    }

    /// The credential is good again.
    pub fn reinstate(&mut self, seat: Seat) {
        self.stand(seat, Standing::Serving);
    }

    fn stand(&mut self, seat: Seat, standing: Standing) {
        let mut accounts = self.accounts.iter_mut();
        if let Some(account) = accounts.find(|account| account.seat == seat) {
            account.standing = standing;
        }
    }

    pub fn serving(&self) -> usize {
        let serving = |account: &&Account| account.standing == Standing::Serving;
        self.accounts.iter().filter(serving).count()
    }
}
