//! Ways to the vendor: the real gateway, and what is commonly written instead.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::FutureExt;
use futures::future::BoxFuture;
use governor::clock::{Clock as _, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::manifest::{AuthScheme, Manifest};
use tidegate_core::plugin::{
    Answer, Fault, FaultKind, HttpMethod, HttpRequest, Operation, Request, Response,
};
use tidegate_gateway::{
    AccountSpec, Allowances, Answers, AuthSpec, Call, Dependencies, Egress, EndpointSpec, Gateway,
    Intent, Journal, JournalError, Lane, Limits, Origin, Outside, PoolOverride, Secret,
};

use super::stage::Stage;

/// Longer than any run: what waits is not given up.
const FOR_EVER_MS: u64 = 366 * 86_400_000;

/// One piece of work: some records in one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) method: HttpMethod,
    pub(crate) path: &'static str,
    /// Records that it carries.
    pub(crate) rows: u32,
    /// What the vendor calls a list of records.
    pub(crate) list: &'static str,
    /// The id of the first record, where they are told apart; the others follow.
    pub(crate) first: Option<u64>,
}

impl Job {
    pub(crate) fn get(path: &'static str) -> Self {
        Self {
            method: HttpMethod::Get,
            path,
            rows: 0,
            list: "",
            first: None,
        }
    }

    pub(crate) fn write(method: HttpMethod, path: &'static str, rows: u32) -> Self {
        Self {
            method,
            path,
            rows,
            list: "data",
            first: None,
        }
    }

    /// With the records of this batch.
    pub(crate) fn of(self, batch: u64) -> Self {
        Self {
            first: Some(batch * u64::from(self.rows)),
            ..self
        }
    }

    fn reads(&self) -> bool {
        self.method == HttpMethod::Get || self.path.ends_with("/search")
    }

    fn body(&self) -> Vec<u8> {
        if self.rows == 0 {
            return Vec::new();
        }
        let rows = match self.first {
            None => vec!["{}".to_owned(); self.rows as usize],
            Some(first) => (first..first + u64::from(self.rows))
                .map(|id| format!("{{\"id\":{id}}}"))
                .collect(),
        };
        let rows = rows.join(",");
        format!("{{\"{}\":[{rows}]}}", self.list).into_bytes()
    }
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Done,
    /// The vendor failed, or nothing was heard.
    Failed,
    /// The vendor refused it for a limit, or it was not sent: not before so many milliseconds again.
    Later(u64),
    /// The credential is not good.
    Refused,
}

/// A way to the vendor.
pub(crate) trait Door: Send + Sync {
    fn send(&self, lane: Lane, job: Job) -> BoxFuture<'_, Came>;
}

/// What a gateway is made from.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) manifest: Arc<Manifest>,
    /// Limits that the operator knows better.
    pub(crate) limits: Vec<(&'static str, u64)>,
    pub(crate) allowances: Allowances,
    pub(crate) seed: u64,
}

impl Setting {
    pub(crate) fn new(manifest: &str, limits: &[(&'static str, u64)], seed: u64) -> Result<Self> {
        let manifest = Manifest::parse(manifest);
        let manifest = manifest.map_err(|problems| anyhow!("a manifest: {problems:?}"))?;
        Ok(Self {
            manifest: Arc::new(manifest),
            limits: limits.to_vec(),
            allowances: Allowances::default(),
            seed,
        })
    }

    /// The gateway as the host makes it, towards the stage's vendor.
    pub(crate) fn open(&self, stage: &Stage, token: &str) -> Result<Arc<Gateway>> {
        self.open_with(stage, token, &[])
    }

    /// The same with further credentials, among which it chooses by itself.
    pub(crate) fn open_with(
        &self,
        stage: &Stage,
        token: &str,
        further: &[String],
    ) -> Result<Arc<Gateway>> {
        let schemes = self.manifest.auth.as_ref().map(|auth| &auth.schemes);
        let bearer = schemes.is_some_and(|schemes| schemes.contains(&AuthScheme::Bearer));
        let auth = if bearer {
            AuthSpec::Bearer {
                token: Secret::new(token),
            }
        } else {
            AuthSpec::Oauth2ClientCredentials {
                client_id: token.to_owned(),
                client_secret: Secret::new(token),
                scope: None,
            }
        };
        let overridden = self.limits.iter().map(|(name, units)| {
            let set = PoolOverride {
                limit: Some(*units),
                ..PoolOverride::default()
            };
            ((*name).to_owned(), set)
        });
        let origin = Origin::parse(stage.meters.base_url()).context("the simulator's address")?;
        let spec = EndpointSpec {
            name: token.into(),
            origins: BTreeMap::from([("main".to_owned(), origin)]),
            auth,
            accounts: further.iter().map(|token| account(token)).collect(),
            manifest: self.manifest.clone(),
            pools: overridden.collect(),
            egress: Egress::default(),
            limits: Limits {
                permit_wait_ms_max: FOR_EVER_MS,
                ..Limits::default()
            },
        };
        let host = Dependencies {
            clock: Arc::new(stage.clock.clone()),
            journal: Arc::new(Unkept),
            allowances: self.allowances.clone(),
            answers: Answers::default(),
            seed: self.seed,
        };
        Ok(Gateway::new(spec, host)?)
    }
}

fn account(token: &str) -> AccountSpec {
    AccountSpec {
        name: token.into(),
        auth: AuthSpec::Bearer {
            token: Secret::new(token),
        },
        only: None,
    }
}

/// What became of an intent is not measured here.
struct Unkept;

impl Journal for Unkept {
    fn intend(&self, _intent: Intent) -> BoxFuture<'_, Result<(), JournalError>> {
        async { Ok(()) }.boxed()
    }
}

/// The real way.
pub(crate) struct Paced {
    stage: Stage,
    gateway: Arc<Gateway>,
}

impl Paced {
    pub(crate) fn new(stage: &Stage, gateway: Arc<Gateway>) -> Self {
        Self {
            stage: stage.clone(),
            gateway,
        }
    }

    fn call(lane: Lane, job: &Job) -> (Call, Request) {
        let tokens: Vec<u64> = (0..u64::from(job.rows)).collect();
        let call = Call {
            sync: "people".into(),
            function: if job.reads() { "pull" } else { "push" },
            lane,
            may_write: !job.reads(),
            tokens: Arc::new(tokens.iter().copied().collect::<HashSet<u64>>()),
        };
        let http = HttpRequest {
            method: job.method,
            path: job.path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: job.body(),
            origin: None,
        };
        let request = Request {
            operation: Operation::Http(http),
            costs: Vec::new(),
            rows: tokens,
            idempotent: false,
            freshness: None,
        };
        (call, request)
    }
}

impl Door for Paced {
    fn send(&self, lane: Lane, job: Job) -> BoxFuture<'_, Came> {
        async move {
            let (call, request) = Self::call(lane, &job);
            self.stage.moved();
            let answers = if job.reads() {
                self.gateway.fetch_batch(&call, vec![request]).await
            } else {
                self.gateway.write_batch(&call, vec![request]).await
            };
            self.stage.moved();
            answers.first().map_or(Came::Failed, judged)
        }
        .boxed()
    }
}

fn judged(answer: &Result<Response, Fault>) -> Came {
    match answer {
        Ok(response) => match &response.answer {
            Answer::Http(http) if http.status < 300 => Came::Done,
            _ => Came::Failed,
        },
        Err(fault) => match fault.kind {
            FaultKind::Throttled => Came::Later(fault.retry_after_ms.unwrap_or(1).max(1)),
            FaultKind::Auth => Came::Refused,
            _ => fault
                .retry_after_ms
                .map_or(Came::Failed, |ms| Came::Later(ms.max(1))),
        },
    }
}

/// A plain HTTP client with a token.
struct Plain {
    stage: Stage,
    client: reqwest::Client,
}

impl Plain {
    fn new(stage: &Stage) -> Result<Self> {
        Ok(Self {
            stage: stage.clone(),
            client: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    /// The status, if there was an answer.
    async fn send(&self, job: Job) -> Option<u16> {
        let url = format!("{}{}", self.stage.meters.base_url(), job.path);
        let method = match job.method {
            HttpMethod::Get => reqwest::Method::GET,
            HttpMethod::Post => reqwest::Method::POST,
            HttpMethod::Put => reqwest::Method::PUT,
            HttpMethod::Patch => reqwest::Method::PATCH,
            HttpMethod::Delete => reqwest::Method::DELETE,
        };
        let request = self.client.request(method, url);
        let request = request.header("authorization", "Bearer a").body(job.body());
        self.stage.moved();
        let response = request.send().await;
        self.stage.moved();
        response.ok().map(|response| response.status().as_u16())
    }
}

fn came(status: Option<u16>, later_ms: u64) -> Came {
    match status {
        Some(200..=299) => Came::Done,
        Some(403 | 429) => Came::Later(later_ms),
        Some(401) => Came::Refused,
        _ => Came::Failed,
    }
}

/// Sends as fast as it can; when it is refused it sleeps, twice as long each time.
pub(crate) struct Sleeping {
    plain: Plain,
    random: Mutex<ChaCha8Rng>,
}

const SLEEP_FIRST_MS: u64 = 1_000;
const SLEEP_MAX_MS: u64 = 60_000;

impl Sleeping {
    pub(crate) fn new(stage: &Stage, seed: u64) -> Result<Self> {
        Ok(Self {
            plain: Plain::new(stage)?,
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        })
    }
}

impl Door for Sleeping {
    /// Until it gets through, as such clients do.
    fn send(&self, _lane: Lane, job: Job) -> BoxFuture<'_, Came> {
        async move {
            let mut most_ms = SLEEP_FIRST_MS;
            loop {
                let came = came(self.plain.send(job).await, 1);
                if !matches!(came, Came::Later(_)) {
                    return came;
                }
                let pause_ms = {
                    let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                    most_ms / 2 + random.random_range(0..=most_ms / 2)
                };
                self.plain.stage.sleep(pause_ms).await;
                most_ms = (most_ms * 2).min(SLEEP_MAX_MS);
            }
        }
        .boxed()
    }
}

/// `governor` at the nominal limit, and nothing else.
pub(crate) struct Governed {
    plain: Plain,
    clock: FakeRelativeClock,
    told_ms: Mutex<u64>,
    limiter: RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Instant>>,
}

type Instant = <FakeRelativeClock as governor::clock::Clock>::Instant;

impl Governed {
    /// So many requests in a window, all of which may come at once.
    pub(crate) fn new(stage: &Stage, limit: u32, window_ms: u64) -> Result<Self> {
        let burst = NonZeroU32::new(limit).context("a limit")?;
        let quota = Quota::with_period(Duration::from_millis(window_ms) / limit);
        let quota = quota.context("a window")?.allow_burst(burst);
        let clock = FakeRelativeClock::default();
        Ok(Self {
            plain: Plain::new(stage)?,
            told_ms: Mutex::new(stage.now_ms()),
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
        })
    }

    /// Its clock goes along with the stage's.
    fn follow(&self) {
        let mut told_ms = self.told_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.plain.stage.now_ms();
        self.clock.advance(Duration::from_millis(now_ms - *told_ms));
        *told_ms = now_ms;
    }
}

impl Door for Governed {
    /// What is refused gets in line again at once.
    fn send(&self, _lane: Lane, job: Job) -> BoxFuture<'_, Came> {
        async move {
            loop {
                self.follow();
                if let Err(not_yet) = self.limiter.check() {
                    let wait = not_yet.wait_time_from(self.clock.now());
                    let wait_ms = (wait.as_millis() as u64).max(1);
                    self.plain.stage.sleep(wait_ms).await;
                    continue;
                }
                let came = came(self.plain.send(job).await, 1);
                if !matches!(came, Came::Later(_)) {
                    return came;
                }
            }
        }
        .boxed()
    }
}
