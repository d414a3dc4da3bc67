//! The credentials of an endpoint, and which of them a request goes by: the one with most headroom among those
//! that the vendor takes. Each has its own login and its own seat at the account's pools.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::manifest::Scope;
use tidegate_core::pace::{Accounts, Lane, PoolFigures, Purpose, Shape, Wait};
use tidegate_core::plugin::{Fault, FaultKind};

use crate::account::Account;
use crate::auth::Credentials;
use crate::endpoint::EndpointSpec;
use crate::permits::Permits;

/// A credential that the vendor refuses without saying for how long is left out so long.
const REVOKED_MS: u64 = 900_000;
/// The credential that every endpoint has.
const FIRST: &str = "main";

/// One credential.
pub(crate) struct Member {
    pub(crate) index: usize,
    name: Arc<str>,
    only: Option<Purpose>,
    pub(crate) credentials: Credentials,
    pub(crate) permits: Permits,
}

/// All of an endpoint's.
pub(crate) struct Roster {
    account: Arc<Account>,
    members: Vec<Member>,
    standing: Mutex<Standing>,
}

struct Standing {
    accounts: Accounts,
    /// By member: the vendor's refusal, and until when it is believed.
    revoked: Vec<Option<(Fault, u64)>>,
}

/// A credential's state for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFigures {
    /// `main` for the endpoint's own, else as the operator calls it.
    pub name: Arc<str>,
    /// What it is kept for, when not for both.
    pub only: Option<Purpose>,
    /// Why the vendor refuses it: a code, while it is left out.
    pub revoked: Option<String>,
    /// The pools that it draws on, its own and shared ones.
    pub pools: Vec<PoolFigures>,
}

impl Roster {
    pub(crate) fn new(
        spec: &EndpointSpec,
        account: Arc<Account>,
        seats: &[tidegate_core::pace::Seat],
    ) -> Self {
        let first = (Arc::from(FIRST), None, spec.auth.clone());
        let others = spec.accounts.iter();
        let others = others.map(|other| (other.name.clone(), other.only, other.auth.clone()));
        let mut accounts = Accounts::default();
        let mut members = Vec::new();
        for ((name, only, auth), seat) in std::iter::once(first).chain(others).zip(seats) {
            accounts.add(*seat, only);
            members.push(Member {
                index: members.len(),
                name,
                only,
                credentials: Credentials::new(auth),
                permits: Permits::new(account.clone(), *seat),
            });
        }
        let revoked = vec![None; members.len()];
        Self {
            account,
            members,
            standing: Mutex::new(Standing { accounts, revoked }),
        }
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The endpoint's own credential, for what needs no login.
    pub(crate) fn first(&self) -> &Member {
        &self.members[0]
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| *member.name == *name)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that have been left out long enough are tried again.
    fn refreshed(&self) -> MutexGuard<'_, Standing> {
        let now_ms = self.account.clock().now().mono_ms;
        let mut standing = self.standing();
        for member in &self.members {
            let over = |(_, until_ms): &(Fault, u64)| *until_ms <= now_ms;
            if standing.revoked[member.index].as_ref().is_some_and(over) {
                standing.reinstate(member);
            }
        }
        standing
    }

    /// The credential that such a request goes by. Fails when the vendor refuses all that may do it, with the first
    /// refusal and the time at which one of them is tried again.
    pub(crate) fn route(&self, shape: &Shape<'_>, purpose: Purpose) -> Result<&Member, Fault> {
        if let [only] = &self.members[..] {
            return Ok(only);
        }
        let now = self.account.clock().now();
        let standing = self.refreshed();
        let seat = self.account.with(|line| {
            standing
                .accounts
                .route(&mut line.pacer, now, shape, purpose)
        });
        let mut members = self.members.iter();
        let member = members.find(|member| Some(member.permits.seat()) == seat);
        member.ok_or_else(|| standing.none_left(now.mono_ms, purpose))
    }

    /// Those that may do such a request and that the vendor takes.
    pub(crate) fn serving(&self, purpose: Purpose) -> Vec<&Member> {
        let standing = self.refreshed();
        let members = self.members.iter();
        let fits = |member: &&Member| member.only.is_none_or(|only| only == purpose);
        let taken = |member: &&Member| standing.revoked[member.index].is_none();
        members.filter(fits).filter(taken).collect()
    }

    /// The vendor refuses a credential: it is left out for a while, and what waited for it is asked again elsewhere.
    /// Tells whether another one may do such a request.
    pub(crate) fn revoke(&self, member: &Member, fault: &Fault, purpose: Purpose) -> bool {
        if self.members.len() < 2 {
            return false;
        }
        let now_ms = self.account.clock().now().mono_ms;
        let mut standing = self.standing();
        if standing.revoked[member.index].is_none() {
            let lasts_ms = fault.retry_after_ms.unwrap_or(REVOKED_MS);
            standing.revoked[member.index] = Some((fault.clone(), now_ms + lasts_ms));
            self.account.with(|line| {
                let seat = member.permits.seat();
                for ticket in standing.accounts.revoke(&mut line.pacer, seat) {
                    // Whoever listens learns by the silence that it was evicted.
                    line.waking.remove(&ticket);
                }
            });
            self.account.grant();
            tracing::warn!(account = %member.name, code = %fault.code, "the vendor refuses a credential; the others carry on");
        }
        let fits = |other: &&Member| other.only.is_none_or(|only| only == purpose);
        let others = self.members.iter().filter(fits);
        others
            .into_iter()
            .any(|other| standing.revoked[other.index].is_none())
    }

    /// A credential was renewed.
    pub(crate) fn reinstate(&self, member: &Member) {
        self.standing().reinstate(member);
    }

    /// Whether `calls` ordinary requests of a lane could be granted now by any credential, else the first that could.
    pub(crate) fn readiness(&self, lane: Lane, calls: u32) -> Result<(), Wait> {
        let standing = self.refreshed();
        let serving = self.members.iter();
        let serving = serving.filter(|member| standing.revoked[member.index].is_none());
        let mut first: Option<Wait> = None;
        for member in serving {
            match member.permits.readiness(lane, calls) {
                Ok(()) => return Ok(()),
                Err(wait) if first.as_ref().is_none_or(|known| wait.at_ms < known.at_ms) => {
                    first = Some(wait);
                }
                Err(_) => {}
            }
        }
        // Where none serves, a call is told so.
        first.map_or(Ok(()), Err)
    }

    /// Those that are shared once, and each credential's own.
    pub(crate) fn pools(&self, spec: &EndpointSpec) -> Vec<PoolFigures> {
        let mut figures = self.first().permits.figures();
        let shared = |pool: &PoolFigures| {
            let mut written = spec.manifest.pools.iter();
            written.any(|known| *known.name == *pool.pool && known.scope == Scope::Account)
        };
        for other in &self.members[1..] {
            let own = other.permits.figures().into_iter();
            figures.extend(own.filter(|pool| !shared(pool)));
        }
        figures
    }

    pub(crate) fn figures(&self) -> Vec<AccountFigures> {
        let standing = self.refreshed();
        let figures = self.members.iter().map(|member| {
            let revoked = standing.revoked[member.index].as_ref();
            AccountFigures {
                name: member.name.clone(),
                only: member.only,
                revoked: revoked.map(|(fault, _)| fault.code.clone()),
                pools: member.permits.figures(),
            }
        });
        figures.collect()
    }
}

impl Standing {
    fn reinstate(&mut self, member: &Member) {
        self.revoked[member.index] = None;
        self.accounts.reinstate(member.permits.seat());
    }

    fn none_left(&self, now_ms: u64, purpose: Purpose) -> Fault {
        let first = self.revoked.iter().flatten().min_by_key(|(_, at)| *at);
        let what = match purpose {
            Purpose::Reading => "read",
            Purpose::Writing => "write",
        };
        let words = first.map_or("", |(fault, _)| fault.message.as_str());
        let fault = Fault::new(
            FaultKind::Auth,
            "accounts-refused",
            format!("no credential of the endpoint is left that may {what}: {words}"),
        );
        match first {
            Some((_, at_ms)) => fault.retry_after_ms(at_ms.saturating_sub(now_ms)),
            None => fault,
        }
    }
}
