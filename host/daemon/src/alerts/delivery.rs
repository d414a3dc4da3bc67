//! Messages to the webhook, each tried until it is taken, refused for good, or too old.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use reqwest::{Client, StatusCode, redirect};
use serde::Serialize;
use tidegate_core::alert::{Alert, Event, Subject};
use tidegate_gateway::{Clock, Secret};
use tokio::sync::mpsc;
use url::Url;

use super::{Alerts, Waiting, signature};

/// Tries of one message; with the pauses between them, it is given up after some ten minutes.
const ATTEMPTS_MAX: u32 = 10;
/// Messages on their way at once, and taken out of the queue behind them.
const AT_ONCE_MAX: usize = 8;
const LINE_MAX: usize = 64;
const PAUSE_FIRST_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 300_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the webhook gets, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Message<'a> {
    /// The same for every try, so that one that came twice is known.
    id: &'a str,
    /// When it happened, as in RFC 3339.
    at: String,
    #[serde(flatten)]
    alert: &'a Alert,
    /// Alerts before this one that were left out, because too many waited.
    left_out: u64,
}

/// One try.
#[derive(Clone, Debug)]
pub struct Post {
    pub signature: String,
    pub body: Vec<u8>,
}

/// Why a try did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another try may, at the earliest after so long, where the other end says.
    ForNow {
        after_ms: Option<u64>,
    },
    ForGood,
}

/// The other end.
pub trait Hook: Send + Sync {
    fn post(&self, post: Post) -> BoxFuture<'_, Result<(), Refused>>;
}

/// A webhook over HTTP. Follows no redirects: a signed message goes where the config says, or nowhere.
pub struct Webhook {
    client: Client,
    url: Url,
}

impl Webhook {
    /// # Errors
    ///
    /// When the client can't be set up.
    pub fn new(url: Url) -> Result<Self, reqwest::Error> {
        // A provider that is installed already is the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, url })
    }
}

impl Hook for Webhook {
    fn post(&self, post: Post) -> BoxFuture<'_, Result<(), Refused>> {
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header(signature::HEADER, post.signature)
            .body(post.body);
        async move {
            // Why the network failed may name the address, whose path may be a secret.
            let Ok(answer) = request.send().await else {
                return Err(Refused::ForNow { after_ms: None });
            };
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let after_s = answer
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            Err(judge(status, after_s))
        }
        .boxed()
    }
}

fn judge(status: StatusCode, after_s: Option<u64>) -> Refused {
    let passing = status.is_server_error()
        || [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status);
    if passing {
        return Refused::ForNow {
            after_ms: after_s.map(|after_s| after_s.saturating_mul(1_000).min(PAUSE_MAX_MS)),
        };
    }
    Refused::ForGood
}

/// Delivers until the last [`Alerts`] is gone: several messages at once, so that one which the webhook does not take holds
/// up no other, but those about one trouble one after the other, so that its end never comes before its beginning. `seed` is
/// for the jitter of pauses (invariant 12), and makes the messages' ids this host's own.
pub async fn deliver(
    alerts: Alerts,
    mut waiting: mpsc::Receiver<Waiting>,
    hook: &dyn Hook,
    secret: &Secret,
    clock: Arc<dyn Clock>,
    seed: u64,
) {
    let mut number = 0_u64;
    let mut line: VecDeque<(u64, Waiting)> = VecDeque::new();
    let mut busy: BTreeSet<(Event, Subject)> = BTreeSet::new();
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    while open || !line.is_empty() || !under_way.is_empty() {
        let free = |(_, next): &(u64, Waiting)| !busy.contains(&trouble(&next.alert));
        if under_way.len() < AT_ONCE_MAX
            && let Some((number, next)) = line
                .iter()
                .position(free)
                .and_then(|place| line.remove(place))
        {
            busy.insert(trouble(&next.alert));
            let clock = clock.clone();
            under_way.push(async move {
                let id = format!("{seed:016x}-{number}");
                let draw = |attempt: u32| jitter(seed ^ (number << 8) ^ u64::from(attempt));
                let delivered = one(&next, &id, hook, secret, clock.as_ref(), draw).await;
                (next.alert, delivered)
            });
            continue;
        }
        tokio::select! {
            biased;
            Some((alert, delivered)) = under_way.next() => {
                busy.remove(&trouble(&alert));
                if !delivered {
                    tracing::error!(event = ?alert.event, "an alert was given up: the webhook did not take it");
                }
                alerts.ended(delivered);
            }
            next = waiting.recv(), if open && line.len() < LINE_MAX => match next {
                Some(next) => {
                    number += 1;
                    line.push_back((number, next));
                }
                None => open = false,
            }
        }
    }
}

fn trouble(alert: &Alert) -> (Event, Subject) {
    (alert.event, alert.subject.clone())
}

async fn one(
    waiting: &Waiting,
    id: &str,
    hook: &dyn Hook,
    secret: &Secret,
    clock: &dyn Clock,
    draw: impl Fn(u32) -> u64,
) -> bool {
    let message = Message {
        id,
        at: jiff::Timestamp::from_microsecond(waiting.at_us)
            .map(|at| format!("{at:.3}"))
            .unwrap_or_default(),
        alert: &waiting.alert,
        left_out: waiting.left_out,
    };
    let Ok(body) = serde_json::to_vec(&message) else {
        return false;
    };
    for attempt in 0..ATTEMPTS_MAX {
        let at_s = clock.now().wall_us.div_euclid(1_000_000);
        let post = Post {
            signature: signature::sign(secret, at_s, &body),
            body: body.clone(),
        };
        let after_ms = match hook.post(post).await {
            Ok(()) => return true,
            Err(Refused::ForGood) => return false,
            Err(Refused::ForNow { after_ms }) => after_ms,
        };
        if attempt + 1 < ATTEMPTS_MAX {
            let pause_ms = pause_ms(attempt, draw(attempt)).max(after_ms.unwrap_or(0));
            clock.sleep_until(clock.now().mono_ms + pause_ms).await;
        }
    }
    false
}

/// Exponential with full jitter.
fn pause_ms(attempt: u32, random: u64) -> u64 {
    let most = (PAUSE_FIRST_MS << attempt.min(20)).min(PAUSE_MAX_MS);
    random % most + 1
}

/// A number that looks drawn, the same for the same input.
fn jitter(input: u64) -> u64 {
    let mixed = (input ^ (input >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
