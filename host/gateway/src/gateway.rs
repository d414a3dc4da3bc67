//! The way of a request, in order: what the call may, the kind of request, its execution.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use tidegate_core::manifest::AuthScheme;
use tidegate_core::pace::{Lane, PoolFigures, Reason};
use tidegate_core::plugin::{
    Answer, Executed, Fault, FaultKind, HttpRequest, Operation, Request, Response,
};
use tokio::sync::watch;

use crate::account::{Account, Allowances};
use crate::answers::Answers;
use crate::call::{Call, Intent, Journal, Outside};
use crate::clock::Clock;
use crate::endpoint::{AuthSpec, EndpointError, EndpointSpec, Limits, MAIN, Origin};
use crate::gate::{Gate, Held};
use crate::gauges::Gauges;
use crate::retry::{Budget, Dice};
use crate::roster::{AccountFigures, Roster};
use crate::sql::{Access, Sql, Sqlite};
use crate::wire::Wire;

/// What a gateway needs from its host.
#[derive(Clone)]
pub struct Dependencies {
    pub clock: Arc<dyn Clock>,
    pub journal: Arc<dyn Journal>,
    /// The same for all endpoints of a host.
    pub allowances: Allowances,
    /// Likewise.
    pub answers: Answers,
    /// For the jitter of pauses; the same seed gives the same run (invariant 12).
    pub seed: u64,
}

/// Whether work could start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    Now,
    /// Not before this moment of the clock, and why.
    At {
        mono_ms: u64,
        reason: Reason,
    },
}

/// What an endpoint has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// HTTP requests that were put on the wire, token requests and repeats included.
    pub requests: u64,
    pub statements: u64,
    /// Answers in which the vendor said that an allowance is spent.
    pub throttled: u64,
    /// Requests that came back without being sent, because no permit was to be had in time.
    pub held_back: u64,
    pub refreshes: u64,
    pub repeats: u64,
    /// Bodies, decompressed.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Reads that said how old an answer may be, by where theirs came from: from what is kept, from what is kept but
    /// older than asked, from the vendor, from the vendor who said that what is kept still holds, and from another read
    /// that was on its way.
    pub recalled: u64,
    pub recalled_stale: u64,
    pub asked: u64,
    pub renewed: u64,
    pub joined: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) statements: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) held_back: AtomicU64,
    pub(crate) refreshes: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) recalled: AtomicU64,
    pub(crate) recalled_stale: AtomicU64,
    pub(crate) asked: AtomicU64,
    pub(crate) renewed: AtomicU64,
    pub(crate) joined: AtomicU64,
}

/// One endpoint's way out. Shared by all calls that concern the endpoint.
pub struct Gateway {
    spec: EndpointSpec,
    clock: Arc<dyn Clock>,
    journal: Arc<dyn Journal>,
    answers: Answers,
    wires: HashMap<String, Wire>,
    databases: HashMap<String, Sqlite>,
    roster: Roster,
    gate: Arc<Gate>,
    gauges: Gauges,
    budget: Budget,
    dice: Dice,
    counts: Counts,
}

impl Gateway {
    /// Checks the endpoint and makes its clients; connects to nothing yet.
    pub fn new(spec: EndpointSpec, host: Dependencies) -> Result<Arc<Self>, EndpointError> {
        let endpoint = || spec.name.clone();
        if !spec.origins.contains_key(MAIN) {
            return Err(EndpointError::NoMain {
                endpoint: endpoint(),
            });
        }
        let others = spec.accounts.iter().map(|account| &account.auth);
        for auth in std::iter::once(&spec.auth).chain(others) {
            check_auth(&spec, auth)?;
        }
        let mut wires = HashMap::new();
        let mut databases = HashMap::new();
        for (name, origin) in &spec.origins {
            origin.check().map_err(|reason| EndpointError::Origin {
                endpoint: endpoint(),
                origin: name.clone(),
                reason,
            })?;
            match origin {
                Origin::Http(url) => {
                    let wire =
                        Wire::new(url.clone(), &spec.egress, &spec.limits, host.clock.clone())
                            .map_err(|source| EndpointError::Client {
                                endpoint: endpoint(),
                                source,
                            })?;
                    wires.insert(name.clone(), wire);
                }
                Origin::Sqlite(path) => {
                    let database = Sqlite::new(path.clone(), &spec.limits, host.clock.clone())
                        .map_err(|source| EndpointError::Thread {
                            endpoint: endpoint(),
                            source,
                        })?;
                    databases.insert(name.clone(), database);
                }
            }
        }
        // Last, as there is no getting up from a seat.
        let joined = host.allowances.join(&spec, &host.clock);
        let (account, seats) = joined.map_err(|source| EndpointError::Pool {
            endpoint: endpoint(),
            source,
        })?;
        Ok(Arc::new(Self {
            gate: account.gate(&spec.name),
            gauges: Gauges::new(host.clock.now().mono_ms),
            roster: Roster::new(&spec, account, &seats),
            budget: Budget::default(),
            dice: Dice::new(host.seed),
            spec,
            clock: host.clock,
            journal: host.journal,
            answers: host.answers,
            wires,
            databases,
            counts: Counts::default(),
        }))
    }

    pub fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// Whether `calls` ordinary requests of a lane could be granted now.
    pub fn readiness(&self, lane: Lane, calls: u32) -> Readiness {
        let open = self.gate.look(lane);
        match open.and_then(|()| self.roster.readiness(lane, calls)) {
            Ok(()) => Readiness::Now,
            Err(wait) => Readiness::At {
                mono_ms: wait.at_ms,
                reason: wait.reason,
            },
        }
    }

    /// The pools' state, for people and metrics.
    pub fn pools(&self) -> Vec<PoolFigures> {
        self.roster.pools(&self.spec)
    }

    /// The endpoint's credentials, its own first.
    pub fn accounts(&self) -> Vec<AccountFigures> {
        self.roster.figures()
    }

    /// The account at the vendor, which other endpoints may share.
    pub fn account(&self) -> &Arc<Account> {
        self.roster.account()
    }

    /// Nothing leaves by this endpoint until [`Self::resume`]; what is on its way ends by itself.
    pub fn pause(&self) {
        self.gate.hold(Held::Endpoint, true);
    }

    /// Lets the endpoint go on: one request goes first, and more follow as they come back.
    pub fn resume(&self) {
        self.gate.hold(Held::Endpoint, false);
    }

    pub fn is_paused(&self) -> bool {
        self.gate.is_held()
    }

    /// Takes new credentials of the same scheme, and forgets tokens and refusals of the old ones; where they are the
    /// same, only refusals.
    pub async fn reload_credentials(&self, auth: AuthSpec) {
        let first = self.roster.first();
        first.credentials.reload(auth).await;
        self.roster.reinstate(first);
    }

    /// The same for one more credential; `false` when the endpoint has none of that name.
    pub async fn reload_account(&self, name: &str, auth: AuthSpec) -> bool {
        let Some(member) = self.roster.named(name) else {
            return false;
        };
        member.credentials.reload(auth).await;
        self.roster.reinstate(member);
        true
    }

    /// Changes within milliseconds after anybody, in any process, has committed to the endpoint's database.
    /// Tells that something happened, not what and not how often. `None` for endpoints without a database.
    pub fn commits(&self) -> Option<watch::Receiver<u64>> {
        self.databases.get(MAIN)?.commits()
    }

    pub fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            requests: read(&self.counts.requests),
            statements: read(&self.counts.statements),
            throttled: read(&self.counts.throttled),
            held_back: read(&self.counts.held_back),
            refreshes: read(&self.counts.refreshes),
            repeats: read(&self.counts.repeats),
            bytes_in: read(&self.counts.bytes_in),
            bytes_out: read(&self.counts.bytes_out),
            recalled: read(&self.counts.recalled),
            recalled_stale: read(&self.counts.recalled_stale),
            asked: read(&self.counts.asked),
            renewed: read(&self.counts.renewed),
            joined: read(&self.counts.joined),
        }
    }

    pub(crate) fn spec(&self) -> &EndpointSpec {
        &self.spec
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn dice(&self) -> &Dice {
        &self.dice
    }

    /// The configured origin that a URL belongs to; the main one first.
    pub(crate) fn origin_of(&self, url: &url::Url) -> Option<String> {
        let same = |name: &str| {
            self.wires
                .get(name)
                .is_some_and(|wire| wire.origin().origin() == url.origin())
        };
        if same(MAIN) {
            return Some(MAIN.to_owned());
        }
        self.spec.origins.keys().find(|name| same(name)).cloned()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    pub(crate) fn wire(&self, origin: &str) -> Option<&Wire> {
        self.wires.get(origin)
    }

    /// The main origin, where it is a database.
    pub(crate) fn database(&self) -> Option<&Sqlite> {
        self.databases.get(MAIN)
    }

    /// Makes the intent durable before the first byte leaves (invariant 2). A write that carries no rows, such
    /// as forgetting what was captured, has nothing whose fate could be unknown.
    pub(crate) async fn intend(&self, call: &Call, tokens: Vec<u64>) -> Result<(), Fault> {
        if tokens.is_empty() {
            return Ok(());
        }
        let intent = Intent {
            sync: call.sync.clone(),
            endpoint: self.spec.name.clone(),
            tokens,
        };
        self.journal.intend(intent).await.map_err(|error| {
            Fault::new(
                FaultKind::Transient,
                "journal-failed",
                format!("the write was not sent: {error}"),
            )
        })
    }

    async fn fetch(&self, call: &Call, requests: Vec<Request>) -> Vec<Result<Response, Fault>> {
        if let Some(fault) = torn(&requests) {
            return vec![Err(fault); requests.len()];
        }
        let runs: Vec<_> = runs(requests).collect();
        let at_once = self.spec.limits.fetches_at_once.max(1);
        stream::iter(runs)
            .map(|run| self.run(call, Access::Read, run).boxed())
            .buffered(at_once)
            .concat()
            .await
            .into_iter()
            .map(|result| result.map_err(|fault| fault.executed(Executed::No)))
            .collect()
    }

    async fn write(&self, call: &Call, requests: Vec<Request>) -> Vec<Result<Response, Fault>> {
        if let Some(fault) = torn(&requests) {
            return vec![Err(fault); requests.len()];
        }
        let mut results = Vec::with_capacity(requests.len());
        let mut stopped = false;
        for run in runs(requests) {
            if stopped {
                results.extend(run.iter().map(|_| Err(not_attempted())));
                continue;
            }
            let unsettled = self.unsettle(&run).await;
            let answers = self.run(call, Access::Write, run).boxed().await;
            unsettled.settle().await;
            stopped = answers.iter().any(|answer| {
                answer
                    .as_ref()
                    .is_err_and(|fault| fault.executed == Executed::Unknown)
            });
            results.extend(answers);
        }
        results
    }

    /// Executes requests that belong together: one, or the statements of one transaction.
    async fn run(
        &self,
        call: &Call,
        access: Access,
        run: Vec<Request>,
    ) -> Vec<Result<Response, Fault>> {
        let count = run.len();
        let check = |request: &Request| allowed(call, access, request);
        if let Some(fault) = run.iter().find_map(|request| check(request).err()) {
            return vec![Err(fault); count];
        }
        if matches!(run[0].operation, Operation::Sql(_)) {
            return self.sql(call, access, run).await;
        }
        let mut results = Vec::with_capacity(count);
        for request in run {
            results.push(self.single(call, access, &request).await);
        }
        results
    }

    async fn single(
        &self,
        call: &Call,
        access: Access,
        request: &Request,
    ) -> Result<Response, Fault> {
        match (&request.operation, &request.freshness) {
            (Operation::Http(http), Some(freshness)) if access == Access::Read => {
                self.remembered(call, request, http, freshness).await
            }
            (Operation::Http(http), _) => self.asked(call, access, request, http).await,
            (Operation::Feed(_) | Operation::Sql(_), _) => Err(Fault::new(
                FaultKind::Config,
                "feed-not-offered",
                "change feeds are not offered by this endpoint",
            )),
        }
    }

    /// By the vendor, whatever is kept.
    pub(crate) async fn asked(
        &self,
        call: &Call,
        access: Access,
        request: &Request,
        http: &HttpRequest,
    ) -> Result<Response, Fault> {
        let heard = self.http(call, access, request, http, None).await?;
        Ok(fresh(Answer::Http(heard.response)))
    }
}

impl Outside for Gateway {
    fn endpoint(&self) -> &str {
        &self.spec.name
    }

    fn fetch_batch<'a>(
        &'a self,
        call: &'a Call,
        requests: Vec<Request>,
    ) -> BoxFuture<'a, Vec<Result<Response, Fault>>> {
        self.fetch(call, requests).boxed()
    }

    fn write_batch<'a>(
        &'a self,
        call: &'a Call,
        requests: Vec<Request>,
    ) -> BoxFuture<'a, Vec<Result<Response, Fault>>> {
        self.write(call, requests).boxed()
    }
}

/// The scheme is one that the plugin knows, and has what it needs.
fn check_auth(spec: &EndpointSpec, own: &AuthSpec) -> Result<(), EndpointError> {
    let scheme = own.scheme();
    let auth = spec.manifest.auth.as_ref();
    let offered = match auth {
        None => scheme == AuthScheme::None,
        Some(auth) => auth.schemes.contains(&scheme),
    };
    if !offered {
        return Err(EndpointError::Scheme {
            endpoint: spec.name.clone(),
            scheme,
        });
    }
    let token_path = auth.and_then(|auth| auth.token_path.as_deref());
    if own.is_oauth2() && !token_path.is_some_and(|path| path.starts_with('/')) {
        return Err(EndpointError::TokenPath {
            endpoint: spec.name.clone(),
            scheme,
        });
    }
    Ok(())
}

/// What the call may do at all.
fn allowed(call: &Call, access: Access, request: &Request) -> Result<(), Fault> {
    let refused = |code, message: String| Err(Fault::new(FaultKind::Refused, code, message));
    if access == Access::Write && !call.may_write {
        return refused(
            "write-not-allowed",
            format!("{} may not write", call.function),
        );
    }
    if let Some(unknown) = request.rows.iter().find(|row| !call.tokens.contains(row)) {
        return refused(
            "token-unknown",
            format!("the row token {unknown} was not given to this call"),
        );
    }
    if access == Access::Write && call.function == "push" && request.rows.is_empty() {
        return refused(
            "rows-missing",
            "a write during push must name the rows that it carries".to_owned(),
        );
    }
    Ok(())
}

pub(crate) fn fresh(answer: Answer) -> Response {
    Response {
        answer,
        age_ms: 0,
        stale: false,
    }
}

fn not_attempted() -> Fault {
    Fault::new(
        FaultKind::Transient,
        "not-attempted",
        "an earlier write of the list ended with an unknown outcome",
    )
}

fn transaction(request: &Request) -> Option<u32> {
    match &request.operation {
        Operation::Sql(sql) => sql.transaction,
        Operation::Http(_) | Operation::Feed(_) => None,
    }
}

/// Cuts a list into what is executed together: neighbours that share a transaction, else one at a time.
fn runs(requests: Vec<Request>) -> impl Iterator<Item = Vec<Request>> {
    let mut rest = requests.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let shared = transaction(&first);
        let mut run = vec![first];
        while shared.is_some()
            && let Some(next) = rest.next_if(|next| transaction(next) == shared)
        {
            run.push(next);
        }
        Some(run)
    })
}

/// A transaction whose statements stand apart could only be kept whole by changing the list's order.
fn torn(requests: &[Request]) -> Option<Fault> {
    let mut ended = HashSet::new();
    let mut open = None;
    for number in requests.iter().map(transaction) {
        if number != open {
            ended.extend(open);
            open = number;
        }
        if number.is_some_and(|number| ended.contains(&number)) {
            return Some(Fault::new(
                FaultKind::Refused,
                "transaction-torn",
                "the statements of one transaction must stand next to each other",
            ));
        }
    }
    None
}
