//! One HTTP request with its attempts: login, permit, intent, wire, and what the answer means.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use tidegate_core::pace::{Draws, Ended, Reason, Shape, Spent, Throttled, Wait};
use tidegate_core::plugin::{
    Executed, Fault, FaultKind, HttpMethod, HttpRequest, HttpResponse, Request,
};

use crate::auth::{Login, Session, TOKEN_METHOD};
use crate::call::Call;
use crate::egress;
use crate::endpoint::{AuthSpec, MAIN};
use crate::gateway::Gateway;
use crate::permits::{Permit, Refusal};
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
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Wire(WireError::certain(fault))
    }
}

impl Gateway {
    /// Sends until there is an answer, a fault that will not pass, or no more tries. A session that has expired
    /// is renewed once.
    pub(crate) async fn http(
        &self,
        call: &Call,
        access: Access,
        request: &Request,
        http: &HttpRequest,
    ) -> Result<HttpResponse, Fault> {
        check_method(access, http.method)?;
        self.budget().earn();
        let mut tried = 0;
        let mut renewed = false;
        let mut executed = Executed::No;
        loop {
            let error = match self.attempt(call, access, request, http).await {
                Ok(response) => return Ok(response),
                Err(Failure::Wire(error)) => error,
                Err(Failure::Expired { generation, code }) => {
                    if renewed || !self.credentials().spec().is_oauth2() {
                        return Err(still_expired(code).executed(executed));
                    }
                    renewed = true;
                    self.credentials().session.lock().await.expire(generation);
                    continue;
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
        call: &Call,
        access: Access,
        request: &Request,
        http: &HttpRequest,
    ) -> Result<HttpResponse, Failure> {
        // What the plugin got wrong is told before anything is spent on it.
        let named = self.named_wire(http.origin.as_deref().unwrap_or(MAIN))?;
        check_path(named, http)?;
        let spec = self.credentials().spec();
        let mut headers = egress::headers(&http.headers, spec.own_header())?;
        let login = self.login(call, &spec).await?;
        let wire = match &http.origin {
            Some(_) => named,
            None => self.named_wire(&login.home)?,
        };
        if let Some((name, value)) = login.header {
            headers.insert(name, value);
        }
        let outgoing = Outgoing {
            method: http.method,
            url: check_path(wire, http)?,
            headers,
            body: Bytes::copy_from_slice(&http.body),
        };
        let draws = self.draws(http.method, &http.path, request)?;
        let permit = self.permit(call, draws).await?;
        if access == Access::Write
            && let Err(fault) = self.intend(call, request.rows.clone()).await
        {
            permit.settle(Ended::Unsent);
            return Err(fault.into());
        }
        let rows = request.rows.len() as u64;
        let (response, said) = self.send(call, wire, outgoing, rows, permit).await?;
        if signs::is_expired(&self.spec().manifest, &response, &said) {
            return Err(Failure::Expired {
                generation: login.generation,
                code: said.code,
            });
        }
        Ok(response)
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

    /// Units of one HTTP request.
    fn draws(&self, method: HttpMethod, path: &str, request: &Request) -> Result<Draws, Fault> {
        let shape = Shape {
            method: Some(method),
            path,
            rows: request.rows.len() as u32,
        };
        self.permits()
            .draws(&shape, &request.costs)
            .map_err(|unknown| refused("pool-unknown", unknown.to_string()))
    }

    /// Waits for a permit no longer than a request may (invariant 7). One that draws on nothing is had at once.
    pub(crate) async fn permit(&self, call: &Call, draws: Draws) -> Result<Permit<'_>, Fault> {
        let now_ms = self.clock().now().mono_ms;
        let deadline_ms = now_ms.saturating_add(self.limits().permit_wait_ms_max);
        let acquired = self
            .permits()
            .acquire(call.lane, &call.sync, draws, deadline_ms);
        match acquired.await {
            Ok(permit) => Ok(permit),
            Err(Refusal::Impossible(impossible)) => {
                Err(refused("cost-impossible", impossible.to_string()))
            }
            Err(Refusal::TooLong(wait)) => {
                self.counts().held_back.fetch_add(1, Ordering::Relaxed);
                Err(held_back(&wait, self.clock().now().mono_ms))
            }
        }
    }

    /// Sends once, with so many of our rows, under a permit, and tells the pools how it went.
    async fn send(
        &self,
        call: &Call,
        wire: &Wire,
        outgoing: Outgoing,
        rows: u64,
        permit: Permit<'_>,
    ) -> Result<(HttpResponse, Said), WireError> {
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
        let Some(throttle) = throttle else {
            permit.settle(Ended::Answered(signs::reports(manifest, &response)));
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
        let rest_ms = match self.permits().readiness(call.lane, 1) {
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

    /// What a request carries; a new token when there is none. One at a time fetches it, the others wait here.
    async fn login(&self, call: &Call, spec: &AuthSpec) -> Result<Login, Fault> {
        if !spec.is_oauth2() {
            return spec.standing();
        }
        let mut session = self.credentials().session.lock().await;
        if let Some(login) = session.login()? {
            return Ok(login);
        }
        if let Some(fault) = session.still_refused(self.clock().now().mono_ms) {
            return Err(fault);
        }
        self.fetch_token(call, spec, &mut session).await?;
        self.counts().refreshes.fetch_add(1, Ordering::Relaxed);
        session.login()?.ok_or_else(|| {
            Fault::new(
                FaultKind::Transient,
                "token-missing",
                "the token was withdrawn meanwhile",
            )
        })
    }

    async fn fetch_token(
        &self,
        call: &Call,
        spec: &AuthSpec,
        session: &mut Session,
    ) -> Result<(), Fault> {
        let path = self
            .spec()
            .manifest
            .auth
            .as_ref()
            .and_then(|auth| auth.token_path.clone())
            .unwrap_or_default();
        let wire = self.named_wire(MAIN)?;
        let shape = Shape {
            method: Some(TOKEN_METHOD),
            path: &path,
            rows: 0,
        };
        let draws = self
            .permits()
            .draws(&shape, &[])
            .map_err(|unknown| refused("pool-unknown", unknown.to_string()))?;
        let permit = self.permit(call, draws).await?;
        let mut url = wire.origin().clone();
        url.set_path(&path);
        let request = session.request(spec);
        let outgoing = Outgoing {
            method: TOKEN_METHOD,
            url,
            headers: request.headers,
            body: request.body,
        };
        let sent = self.send(call, wire, outgoing, 0, permit).await;
        let now_ms = self.clock().now().mono_ms;
        let (response, _) = sent.map_err(|error| {
            session.refuse(now_ms, error.fault, UNREACHED_FIRST_MS, UNREACHED_MAX_MS)
        })?;
        session.take(now_ms, spec, &response, |url| self.origin_of(url))
    }
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
