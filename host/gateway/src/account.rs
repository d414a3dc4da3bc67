//! One account at a vendor, and who shares it: endpoints at the same origin draw on the same pools, so that
//! two of them never use the allowance twice (invariant 7).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sha2::{Digest, Sha256};
use tidegate_core::pace::{
    Identity, Pacer, PoolCounts, PoolError, PoolFigures, Seat, Settings, Spender, Spent, Ticket,
    UnknownPool, Usage,
};
use tokio::sync::{Notify, oneshot};

use crate::call::Call;
use crate::clock::Clock;
use crate::endpoint::{AuthSpec, EndpointSpec, MAIN, Origin};
use crate::gate::{Gate, Held};

/// Bytes of a credential's fingerprint, enough to tell a host's credentials apart.
const FINGERPRINT_BYTES: usize = 8;

/// The accounts of a host. Gateways that are made with clones of one value share what the vendor counts together.
#[derive(Clone, Debug, Default)]
pub struct Allowances {
    accounts: Arc<Mutex<BTreeMap<String, Arc<Account>>>>,
}

impl Allowances {
    /// The endpoint's account, and a seat there for each of its credentials. How lanes share a pool is as the first
    /// endpoint has it.
    pub(crate) fn join(
        &self,
        spec: &EndpointSpec,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Arc<Account>, Vec<Seat>), PoolError> {
        let place = place(spec);
        let name = format!("{} {place}", spec.manifest.plugin.name);
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = match accounts.get(&name) {
            Some(account) => account.clone(),
            None => Arc::new(Account::new(name.clone(), spec.limits.lanes, clock.clone())),
        };
        let others = spec.accounts.iter().map(|account| &account.auth);
        let credentials = std::iter::once(&spec.auth).chain(others);
        let seats = credentials
            .map(|auth| account.join(spec, &identity(&place, auth)))
            .collect::<Result<_, PoolError>>()?;
        accounts.insert(name, account.clone());
        Ok((account, seats))
    }
}

/// What a vendor allows one account, and the requests that stand in line for it.
pub struct Account {
    name: String,
    clock: Arc<dyn Clock>,
    promote_after_ms: u64,
    line: Mutex<Line>,
    /// What is booked runs low.
    low: Notify,
    usage: Mutex<Usage>,
    doors: Mutex<Doors>,
}

/// Of the endpoints that go by an account.
#[derive(Default)]
struct Doors {
    gates: Vec<Weak<Gate>>,
    held: bool,
}

pub(crate) struct Line {
    pub(crate) pacer: Pacer,
    /// Who stands in line, to be woken with the permit.
    pub(crate) waking: HashMap<Ticket, oneshot::Sender<()>>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Account").field(&self.name).finish()
    }
}

impl Account {
    fn new(name: String, lanes: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            name,
            clock,
            promote_after_ms: lanes.promote_after_ms,
            line: Mutex::new(Line {
                pacer: Pacer::empty(lanes),
                waking: HashMap::new(),
            }),
            low: Notify::new(),
            usage: Mutex::default(),
            doors: Mutex::default(),
        }
    }

    fn join(&self, spec: &EndpointSpec, identity: &Identity) -> Result<Seat, PoolError> {
        self.with(|line| line.pacer.join(&spec.manifest, &spec.pools, identity))
    }

    /// The vendor and the account, the same over a restart.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        change(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn figures(&self, seat: Seat) -> Vec<PoolFigures> {
        let now = self.clock.now();
        self.with(|line| line.pacer.figures_of(now, seat))
    }

    /// Hands out what can go now, to whomever it belongs.
    pub(crate) fn grant(&self) {
        let now = self.clock.now();
        let low = self.with(|line| {
            for ticket in line.pacer.grant(now) {
                // Who no longer listens gives its permit back by itself.
                if let Some(wake) = line.waking.remove(&ticket) {
                    wake.send(()).ok();
                }
            }
            line.pacer.wants_keeping()
        });
        if low {
            self.low.notify_one();
        }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An endpoint's gate, which holds what the account holds.
    pub(crate) fn gate(&self, endpoint: &Arc<str>) -> Arc<Gate> {
        let account = Arc::from(self.name.as_str());
        let gate = Gate::new(
            endpoint.clone(),
            account,
            self.clock.clone(),
            self.promote_after_ms,
        );
        let gate = Arc::new(gate);
        let mut doors = self.doors();
        if doors.held {
            gate.hold(Held::Account, true);
        }
        doors.gates.push(Arc::downgrade(&gate));
        gate
    }

    fn each_gate(&self, change: impl FnMut(Arc<Gate>)) {
        let doors = self.doors();
        doors
            .gates
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(change);
    }

    /// Nothing leaves by this account until [`Self::resume`]; what is on its way ends by itself. Who waits is told
    /// [`Reason::Paused`](tidegate_core::pace::Reason::Paused).
    pub fn pause(&self) {
        self.doors().held = true;
        self.each_gate(|gate| gate.hold(Held::Account, true));
    }

    /// Lets the account go on: at each endpoint one request goes first, and more follow as they come back, so that
    /// what has gathered does not leave at once.
    pub fn resume(&self) {
        self.doors().held = false;
        self.each_gate(|gate| gate.hold(Held::Account, false));
    }

    pub fn is_paused(&self) -> bool {
        self.doors().held
    }

    /// Nothing leaves that draws on the pools of this name until [`Self::resume_pool`].
    pub fn pause_pool(&self, pool: &str) -> Result<(), UnknownPool> {
        self.hold_pool(pool, true)
    }

    /// Lets a pool go on, as gently as [`Self::resume`].
    pub fn resume_pool(&self, pool: &str) -> Result<(), UnknownPool> {
        self.hold_pool(pool, false)?;
        self.each_gate(|gate| gate.ease_in());
        self.grant();
        Ok(())
    }

    fn hold_pool(&self, pool: &str, held: bool) -> Result<(), UnknownPool> {
        match self.with(|line| line.pacer.hold(pool, held)) {
            0 => Err(UnknownPool(pool.to_owned())),
            _ => Ok(()),
        }
    }

    /// What a sync gets beside others of its lane, 1 unless said.
    pub fn weigh(&self, sync: &Arc<str>, weight: u32) {
        self.with(|line| line.pacer.weigh(sync, weight));
    }

    fn usage_mut(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was used in the last two weeks, for people.
    pub fn usage(&self) -> Usage {
        self.usage_mut().clone()
    }

    /// Takes over what an earlier run had noted. Call it before the first request.
    pub fn restore_usage(&self, usage: Usage) {
        *self.usage_mut() = usage;
    }

    /// Notes what one request drew and moved. One that drew on no pool is noted under an empty name.
    pub(crate) fn note(&self, call: &Call, drawn: &[(Arc<str>, u64)], spent: Spent) {
        let wall_ms = self.clock.now().wall_us / 1_000;
        let nothing = [(Arc::from(""), 0)];
        let drawn = if drawn.is_empty() { &nothing } else { drawn };
        let mut usage = self.usage_mut();
        for (pool, units) in drawn {
            let spender = Spender {
                pool: pool.clone(),
                sync: call.sync.clone(),
                operation: call.function.into(),
                lane: call.lane,
            };
            let spent = Spent {
                units: *units,
                ..spent
            };
            usage.note(wall_ms, &spender, &spent);
        }
    }

    /// Takes over an earlier run's counts. Call it before the first request, when all endpoints are there.
    pub fn restore(&self, counts: &[PoolCounts]) {
        let now = self.clock.now();
        self.with(|line| line.pacer.restore(now, counts));
    }

    /// What the pools must not forget over a restart. Where books are kept, it also books what may leave next:
    /// tell [`Self::kept`] once it is durable.
    pub fn snapshot(&self) -> Vec<PoolCounts> {
        let now = self.clock.now();
        self.with(|line| line.pacer.snapshot(now))
    }

    /// From now on nothing leaves that a durable snapshot has not booked. Call it after [`Self::restore`], and only
    /// where somebody keeps snapshots: without one no request gets its permit.
    pub fn keep_books(&self) {
        self.with(|line| line.pacer.keep_books());
    }

    /// A snapshot is durable: what it booked may leave.
    pub fn kept(&self, counts: &[PoolCounts]) {
        self.with(|line| line.pacer.kept(counts));
        self.grant();
    }

    /// Ends when a snapshot should be made durable, because what is booked runs low.
    pub async fn runs_low(&self) {
        self.low.notified().await;
    }
}

/// Where an endpoint's account is. Vendors name no account in a config; the origin tells orgs apart where each has its
/// own, and where it does not, sharing too much is safe.
fn place(spec: &EndpointSpec) -> String {
    match spec.origins.get(MAIN) {
        Some(Origin::Http(url)) => url.origin().ascii_serialization(),
        Some(Origin::Sqlite(path)) => path.display().to_string(),
        None => String::new(),
    }
}

/// As whom a credential calls, as far as it tells.
fn identity(account: &str, auth: &AuthSpec) -> Identity {
    let (app, user) = match auth {
        AuthSpec::None => (String::new(), None),
        AuthSpec::Bearer { token } => (fingerprint(token.expose()), None),
        AuthSpec::ApiKeyHeader { key, .. } => (fingerprint(key.expose()), None),
        AuthSpec::Oauth2ClientCredentials { client_id, .. } => (fingerprint(client_id), None),
        AuthSpec::Oauth2RefreshToken {
            client_id,
            refresh_token,
            ..
        } => (
            fingerprint(client_id),
            Some(fingerprint(refresh_token.expose())),
        ),
    };
    let app: Arc<str> = app.into();
    Identity {
        account: account.into(),
        user: user.map_or_else(|| app.clone(), Arc::from),
        app,
        server: "".into(),
    }
}

/// It is kept in the store with the counts, where a credential may not stand (invariant 10).
fn fingerprint(credential: &str) -> String {
    let digest = Sha256::digest(credential.as_bytes());
    let mut text = String::with_capacity(2 * FINGERPRINT_BYTES);
    for byte in &digest[..FINGERPRINT_BYTES] {
        // Writing into a string does not fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}
