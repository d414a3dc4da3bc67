//! One HTTP request with its attempts: login, permit, intent, wire, and what the answer means.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use tidegate_core::pace::{Draws, Ended, Purpose, Reason, Shape, Spent, Throttled, Wait};
use tidegate_core::plugin::{
    Executed, Fault, FaultKind, HttpMethod, HttpRequest, HttpResponse, Request,
};

use crate::auth::{Login, Session, TOKEN_METHOD};
use crate::call::Call;
use crate::egress;
use crate::endpoint::{AuthSpec, MAIN};
use crate::envelope;
use crate::gate::{Pass, Took};
use crate::gateway::Gateway;
use crate::permits::{Permit, Permits, Refusal};
use crate::remembering::{Heard, Remembering};
use crate::roster::Member;
use crate::signs::{self, Said};
use crate::sql::Access;
use crate::wire::{Outgoing, Wire, WireError};

/// After a token endpoint could not be reached, it is left alone for so long at first and at most.
const UNREACHED_FIRST_MS: u64 = 1_000;
const UNREACHED_MAX_MS: u64 = 60_000;

/// Why an attempt brought no answer for the plugin.
enum Failure {
    Wire(WireError),
    /// The token that was carried is over.
    Expired {
        generation: u64,
        code: Option<String>,
    },
    /// The vendor refuses the credential.
    Denied(Fault),
}

/// The right to send one request: of its pools, and of the endpoint.
struct Leave<'a> {
    permit: Permit<'a>,
    pass: Pass<'a>,
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        if fault.kind == FaultKind::Auth {
            return Self::Denied(fault);
        }
        Self::Wire(WireError::certain(fault))
    }
}

impl Gateway {
    /// Sends until there is an answer, a fault that will not pass, or no more tries. A session that has expired
    /// is renewed once; a credential that the vendor refuses is left to the others.
    pub(crate) async fn http(
        &self,
        call: &Call,
        access: Access,
        request: &Request,
        http: &HttpRequest,
        remembering: Option<&Remembering<'_>>,
    ) -> Result<Heard, Fault> {
        check_method(access, http.method)?;
        self.budget().earn();
        let mut tried = 0;
        let mut renewed = Vec::new();
        let mut executed = Executed::No;
        let shape = shape(http.method, &http.path, request.rows.len());
        let purpose = match access {
            Access::Read => Purpose::Reading,
            Access::Write => Purpose::Writing,
        };
        loop {
            let routed = self.roster().route(&shape, purpose);
            let member = routed.map_err(|fault| fault.executed(executed))?;
            let reloads = member.credentials.reloads();
            let attempt = self.attempt(member, call, access, request, http, remembering);
            let error = match attempt.await {
                Ok(heard) => return Ok(heard),
                Err(Failure::Wire(error)) => error,
                Err(Failure::Expired { generation, .. })
                    if member.credentials.spec().is_oauth2()
                        && !renewed.contains(&member.index) =>
                {
                    renewed.push(member.index);
                    member.credentials.session.lock().await.expire(generation);
                    continue;
                }
                // The refusal is of one that has been replaced meanwhile.
                Err(Failure::Expired { .. } | Failure::Denied(_))
                    if member.credentials.reloads() != reloads =>
                {
                    continue;
                }
                Err(Failure::Expired { code, .. }) => {
                    let fault = still_expired(code);
                    if self.roster().revoke(member, &fault, purpose) {
                        continue;
                    }
                    return Err(fault.executed(executed));
                }
                Err(Failure::Denied(fault)) => {
                    if self.roster().revoke(member, &fault, purpose) {
                        continue;
                    }
                    return Err(fault.executed(executed));
                }
            };
            tried += 1;
            // Once one attempt may have been carried out, a later certain failure does not undo that.
            if access == Access::Write && error.fault.executed == Executed::Unknown {
                executed = Executed::Unknown;
            }
            let harmless = access == Access::Read || error.unsent || request.idempotent;
            if !(error.passing
                && harmless
                && tried < self.limits().attempts_max
                && self.budget().spend())
            {
                return Err(error.fault.executed(executed));
            }
            self.counts().repeats.fetch_add(1, Ordering::Relaxed);
            let pause_ms = self.dice().pause_ms(tried);
            self.clock()
                .sleep_until(self.clock().now().mono_ms + pause_ms)
                .await;
        }
    }

    async fn attempt(
        &self,
        member: &Member,
        call: &Call,
        access: Access,
        request: &Request,
        http: &HttpRequest,
        remembering: Option<&Remembering<'_>>,
    ) -> Result<Heard, Failure> {
        // What the plugin got wrong is told before anything is spent on it.
        let named = self.named_wire(http.origin.as_deref().unwrap_or(MAIN))?;
        check_path(named, http)?;
        let reloads = member.credentials.reloads();
        let spec = member.credentials.spec();
        let mut headers = egress::headers(&http.headers, spec.own_header())?;
        let kept = match remembering {
            Some(remembering) => remembering.conditions(&spec).await,
            None => None,
        };
        let kept = kept.and_then(|(kept, conditions)| {
            // What can't be sent back to the vendor is not asked for.
            headers.extend(egress::headers(&conditions, None).ok()?);
            Some(kept)
        });
        let login = self.login(member, call, &spec).await?;
        let wire = match &http.origin {
            Some(_) => named,
            None => self.named_wire(&login.home)?,
        };
        let url = check_path(wire, http)?;
        let body = match self.spec().manifest.envelope(url.path()) {
            Some(envelope) => envelope::sealed(envelope, login.token.as_ref(), &http.body)?,
            None => {
                if let Some((name, value)) = login.header {
                    headers.insert(name, value);
                }
                Bytes::copy_from_slice(&http.body)
            }
        };
        let outgoing = Outgoing {
            method: http.method,
            url,
            headers,
            body,
        };
        let shape = shape(http.method, &http.path, request.rows.len());
        let draws = draws(member, &shape, &request.costs)?;
        let leave = self.leave(member, call, draws).await?;
        if access == Access::Write
            && let Err(fault) = self.intend(call, request.rows.clone()).await
        {
            leave.permit.settle(Ended::Unsent);
            return Err(fault.into());
        }
        let rows = request.rows.len() as u64;
        let asked = self.clock().now();
        let (response, said) = self.send(call, wire, outgoing, rows, leave).await?;
        if signs::is_expired(&self.spec().manifest, &response, &said) {
            return Err(Failure::Expired {
                generation: login.generation,
                code: said.code,
            });
        }
        Ok(match remembering {
            // With another credential than it looked like, it would be kept in the wrong place.
            Some(remembering) if member.credentials.reloads() == reloads => {
                remembering.heard(&spec, asked, kept, response)
            }
            _ => Heard::only(response, asked),
        })
    }

    fn named_wire(&self, name: &str) -> Result<&Wire, Fault> {
        self.wire(name).ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            refused(
                "origin-unknown",
                format!("the endpoint has no HTTP origin called {shown:?}"),
            )
        })
    }

    /// Waits for a permit no longer than a request may (invariant 7). One that draws on nothing is had at once.
    pub(crate) async fn permit<'a>(
        &self,
        permits: &'a Permits,
        call: &Call,
        draws: Draws,
    ) -> Result<Permit<'a>, Fault> {
        let now_ms = self.clock().now().mono_ms;
        let deadline_ms = now_ms.saturating_add(self.limits().permit_wait_ms_max);
        let acquired = permits.acquire(call.lane, &call.sync, draws, deadline_ms);
        match acquired.await {
            Ok(permit) => Ok(permit),
            Err(Refusal::Impossible(impossible)) => {
                Err(refused("cost-impossible", impossible.to_string()))
            }
            Err(Refusal::TooLong(wait)) => Err(self.held_back(&wait)),
            Err(Refusal::Evicted) => Err(evicted()),
        }
    }

    /// Waits until the endpoint may be called and the pools allow it.
    async fn leave<'a>(
        &'a self,
        member: &'a Member,
        call: &Call,
        draws: Draws,
    ) -> Result<Leave<'a>, Fault> {
        let now_ms = self.clock().now().mono_ms;
        let deadline_ms = now_ms.saturating_add(self.limits().permit_wait_ms_max);
        let mut visit = self.gate().visit(call.lane);
        loop {
            let open = visit.open(deadline_ms).await;
            open.map_err(|wait| self.held_back(&wait))?;
            let permit = self.permit(&member.permits, call, draws.clone()).await?;
            if let Some(pass) = visit.pass(draws.kind()) {
                return Ok(Leave { permit, pass });
            }
            permit.settle(Ended::Unsent);
        }
    }

    pub(crate) fn held_back(&self, wait: &Wait) -> Fault {
        self.counts().held_back.fetch_add(1, Ordering::Relaxed);
        held_back(wait, self.clock().now().mono_ms)
    }

    /// Sends once, with so many of our rows, under a permit, and tells the pools how it went.
    async fn send(
        &self,
        call: &Call,
        wire: &Wire,
        outgoing: Outgoing,
        rows: u64,
        leave: Leave<'_>,
    ) -> Result<(HttpResponse, Said), WireError> {
        let Leave { permit, pass } = leave;
        let counts = self.counts();
        counts.requests.fetch_add(1, Ordering::Relaxed);
        counts
            .bytes_out
            .fetch_add(outgoing.body.len() as u64, Ordering::Relaxed);
        let mut spent = Spent {
            calls: 1,
            rows,
            bytes: outgoing.body.len() as u64,
            ..Spent::default()
        };
        let account = self.account();
        let path = outgoing.url.path().to_owned();
        let response = match wire.send(outgoing).await {
            Ok(response) => response,
            Err(error) => {
                if !error.unsent {
                    account.note(call, permit.drawn(), spent);
                }
                let ended = if error.unsent {
                    Ended::Unsent
                } else {
                    Ended::Lost
                };
                permit.settle(ended);
                if error.passing {
                    pass.came_back(Took::Badly, self.dice().roll());
                }
                return Err(error);
            }
        };
        counts
            .bytes_in
            .fetch_add(response.body.len() as u64, Ordering::Relaxed);
        let manifest = &self.spec().manifest;
        let said = signs::said(manifest, &response);
        let throttle = signs::throttle(manifest, &response, &said);
        spent.bytes += response.body.len() as u64;
        spent.throttled = u64::from(throttle.is_some());
        account.note(call, permit.drawn(), spent);
        let took = match throttle {
            Some(_) => Took::Stopped,
            None if signs::is_failing(&response, &said) => Took::Badly,
            None => Took::Well,
        };
        pass.came_back(took, self.dice().roll());
        let Some(throttle) = throttle else {
            let mut reports = signs::reports(manifest, &response);
            reports.extend(signs::gauged(manifest, &path, &response));
            self.gauges().told(self.clock().now().mono_ms, &reports);
            permit.settle(Ended::Answered(reports));
            return Ok((response, said));
        };
        counts.throttled.fetch_add(1, Ordering::Relaxed);
        let park_ms = signs::park_ms(throttle, &response, self.clock().now().wall_us);
        permit.settle(Ended::Throttled(Throttled {
            pool: throttle.pool.clone(),
            park_ms,
            random: self.dice().roll(),
        }));
        let now_ms = self.clock().now().mono_ms;
        let rest_ms = match self.roster().readiness(call.lane, 1) {
            Err(wait) => wait.at_ms.saturating_sub(now_ms),
            Ok(()) => park_ms.unwrap_or_default(),
        };
        tracing::warn!(
            endpoint = %self.name(), pool = %throttle.pool, rest_ms, "the vendor says that a pool is spent"
        );
        let fault = Fault::new(
            FaultKind::Throttled,
            said.code.unwrap_or_else(|| "throttled".to_owned()),
            format!(
                "the vendor says that pool {} is spent; it is left alone for a while",
                throttle.pool
            ),
        );
        Err(WireError {
            fault: fault.retry_after_ms(rest_ms),
            passing: false,
            unsent: false,
        })
    }

    /// What a request carries; a new token when there is none. One at a time fetches it. Each waits in its own lane for
    /// leave to do so, and the first to have it serves the others: an urgent one does not wait for one that may wait.
    async fn login(&self, member: &Member, call: &Call, spec: &AuthSpec) -> Result<Login, Fault> {
        if !spec.is_oauth2() {
            return spec.standing();
        }
        let credentials = &member.credentials;
        let path = self.token_path();
        loop {
            let changed = credentials.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(login) = self.known(&*credentials.session.lock().await)? {
                return Ok(login);
            }
            let draws = draws(member, &shape(TOKEN_METHOD, &path, 0), &[])?;
            let leave = tokio::select! {
                biased;
                leave = self.leave(member, call, draws) => leave?,
                () = changed => continue,
            };
            let mut session = credentials.session.lock().await;
            if let Some(known) = self.known(&session).transpose() {
                leave.permit.settle(Ended::Unsent);
                return known;
            }
            // Under the lock, as it may have been renewed since the request began.
            let spec = credentials.spec();
            let fetched = self.fetch_token(call, &spec, &mut session, leave);
            let fetched = fetched.await;
            credentials.changed.notify_waiters();
            fetched?;
            self.counts().refreshes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The token at hand, or the refusal that stands.
    fn known(&self, session: &Session) -> Result<Option<Login>, Fault> {
        if let Some(login) = session.login()? {
            return Ok(Some(login));
        }
        let now_ms = self.clock().now().mono_ms;
        session.still_refused(now_ms).map_or(Ok(None), Err)
    }

    fn token_path(&self) -> String {
        let auth = self.spec().manifest.auth.as_ref();
        let path = auth.and_then(|auth| auth.token_path.clone());
        path.unwrap_or_default()
    }

    async fn fetch_token(
        &self,
        call: &Call,
        spec: &AuthSpec,
        session: &mut Session,
        leave: Leave<'_>,
    ) -> Result<(), Fault> {
        let wire = self.named_wire(MAIN)?;
        let mut url = wire.origin().clone();
        url.set_path(&self.token_path());
        let request = session.request(spec);
        let outgoing = Outgoing {
            method: TOKEN_METHOD,
            url,
            headers: request.headers,
            body: request.body,
        };
        let sent = self.send(call, wire, outgoing, 0, leave).await;
        let now_ms = self.clock().now().mono_ms;
        let (response, _) = sent.map_err(|error| {
            session.refuse(now_ms, error.fault, UNREACHED_FIRST_MS, UNREACHED_MAX_MS)
        })?;
        session.take(now_ms, spec, &response, |url| self.origin_of(url))
    }
}

fn shape(method: HttpMethod, path: &str, rows: usize) -> Shape<'_> {
    Shape {
        method: Some(method),
        path,
        rows: rows as u32,
    }
}

/// Units of one HTTP request.
fn draws(member: &Member, shape: &Shape<'_>, named: &[(String, u32)]) -> Result<Draws, Fault> {
    let draws = member.permits.draws(shape, named);
    draws.map_err(|unknown| refused("pool-unknown", unknown.to_string()))
}

fn check_method(access: Access, method: HttpMethod) -> Result<(), Fault> {
    let fits = match access {
        Access::Read => matches!(method, HttpMethod::Get | HttpMethod::Post),
        Access::Write => method != HttpMethod::Get,
    };
    if fits {
        return Ok(());
    }
    Err(refused(
        "method-refused",
        "fetch-batch takes GET and POST, write-batch takes all but GET",
    ))
}

fn check_path(wire: &Wire, http: &HttpRequest) -> Result<url::Url, Fault> {
    egress::url(wire.origin(), http)
        .map_err(|error| refused("path-refused", format!("the path is refused: {error}")))
}

/// A new token did not help, or there is none to be had.
fn still_expired(code: Option<String>) -> Fault {
    Fault::new(
        FaultKind::Auth,
        code.unwrap_or_else(|| "session-refused".to_owned()),
        "the vendor does not accept the session, and a new one does not help; reconnect the endpoint",
    )
}

/// Another request has found out that the vendor refuses the credential.
fn evicted() -> Fault {
    Fault::new(
        FaultKind::Auth,
        "credential-refused",
        "the vendor refuses the credential that the request waited for",
    )
}

fn held_back(wait: &Wait, now_ms: u64) -> Fault {
    let (code, why) = match &wait.reason {
        Reason::PoolSpent { pool } => ("pool-spent", format!("pool {pool} is spent")),
        Reason::Reserve { pool } => (
            "pool-reserve",
            format!("what is left of pool {pool} is kept for more urgent work"),
        ),
        Reason::Parked { pool } => (
            "pool-parked",
            format!("pool {pool} is parked after a throttle"),
        ),
        Reason::Probing { pool } => ("pool-probing", format!("pool {pool} is being tried again")),
        Reason::Queued { pool } => (
            "pool-queued",
            format!("others wait for pool {pool} already"),
        ),
        Reason::Smoothed { pool } => ("pool-smoothed", format!("pool {pool} is handed out evenly")),
        Reason::Degraded { pool } => (
            "pool-degraded",
            format!("pool {pool} runs out, and what is left is kept for more urgent work"),
        ),
        Reason::Unbooked { pool } => (
            "pool-unbooked",
            format!("what would be used of pool {pool} is not durably noted yet"),
        ),
        Reason::Failing { endpoint } => (
            "endpoint-failing",
            format!("endpoint {endpoint} fails, and is left alone for a while"),
        ),
        Reason::Crowded { endpoint } => (
            "endpoint-crowded",
            format!("endpoint {endpoint} has as many requests at once as it answers well"),
        ),
        Reason::Paused { what } => ("paused", format!("{what} is paused")),
    };
    Fault::new(
        FaultKind::Throttled,
        code,
        format!("{why}; nothing was sent"),
    )
    .retry_after_ms(wait.at_ms.saturating_sub(now_ms))
}

fn refused(code: &str, message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Refused, code, message)
}
