//! What a running host tells of itself, as a collector such as Prometheus reads it: pools and their levels, queues, and
//! what waits for what. Names, counts and codes; never a field's value or a secret (invariant 10).

mod progress;

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::host::Host;
use crate::quota::PoolQuota;
use crate::status::{CacheStatus, EndpointStatus, Latency, Status, SyncState, SyncStatus};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const LEVELS: [&str; 4] = ["plenty", "notify", "stretch", "critical"];
const STATES: [(SyncState, &str); 7] = [
    (SyncState::Starting, "starting"),
    (SyncState::Initial, "initial"),
    (SyncState::Running, "running"),
    (SyncState::Paused, "paused"),
    (SyncState::Waiting, "waiting"),
    (SyncState::Braked, "braked"),
    (SyncState::Stopped, "stopped"),
];

/// Answers `GET /metrics` until it is dropped.
///
/// # Errors
///
/// When the address can't be listened on.
pub async fn serve(listen: SocketAddr, host: Arc<Host>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(answer))
        .with_state(host);
    let listener = TcpListener::bind(listen).await?;
    // Where the config leaves the port to the system, this tells which.
    let listen = listener.local_addr()?;
    tracing::info!(%listen, "showing figures");
    axum::serve(listener, router).await
}

async fn answer(
    State(host): State<Arc<Host>>,
) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, TEXT)], host.metrics().await)
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// Families of figures, one after the other.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        figures: impl IntoIterator<Item = (Vec<(&'static str, String)>, f64)>,
    ) {
        let mut figures = figures.into_iter().peekable();
        if figures.peek().is_none() {
            return;
        }
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing into a string does not fail.
        write!(
            self.0,
            "# HELP tidegate_{name} {help}\n# TYPE tidegate_{name} {kind}\n"
        )
        .ok();
        for (labels, value) in figures {
            let labels: Vec<String> = labels
                .into_iter()
                .map(|(label, text)| format!("{label}=\"{}\"", escaped(&text)))
                .collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", labels.join(",")),
            };
            writeln!(self.0, "tidegate_{name}{labels} {value}").ok();
        }
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help, [(Vec::new(), value)]);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The whole host at one moment.
pub fn text(status: &Status, pools: &[PoolQuota]) -> String {
    let mut all = Exposition::default();
    all.one(
        "uptime_seconds",
        Kind::Gauge,
        "Since the host began.",
        seconds(status.uptime_ms),
    );
    all.one(
        "memory_bytes",
        Kind::Gauge,
        "Resident memory.",
        status.rss_bytes as f64,
    );
    all.one(
        "store_records",
        Kind::Gauge,
        "Records in the store.",
        status.store.records as f64,
    );
    of_cache(&mut all, status.cache);
    of_pools(&mut all, pools);
    of_endpoints(&mut all, &status.endpoints);
    of_syncs(&mut all, &status.syncs);
    progress::of_syncs(&mut all, &status.syncs);
    let standing = status.alerts.standing.iter().map(|alert| {
        let event = serde_json::to_value(alert.event).unwrap_or_default();
        let event = event.as_str().unwrap_or_default().to_owned();
        let subject = &alert.subject;
        let of = |name: &Option<String>| name.clone().unwrap_or_default();
        let labels = vec![
            ("event", event),
            ("code", alert.code.clone()),
            ("sync", of(&subject.sync)),
            ("endpoint", of(&subject.endpoint)),
            ("account", of(&subject.account)),
            ("pool", of(&subject.pool)),
        ];
        (labels, 1.0)
    });
    all.family(
        "alert_standing",
        Kind::Gauge,
        "What is wrong now.",
        standing,
    );
    let ended = [
        ("delivered", status.alerts.delivered),
        ("failed", status.alerts.failed),
        ("left-out", status.alerts.left_out),
    ];
    let ended = ended.map(|(how, count)| (vec![("how", how.to_owned())], count as f64));
    all.family(
        "alerts_total",
        Kind::Counter,
        "Alerts, by what became of them.",
        ended,
    );
    all.0
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn of_cache(all: &mut Exposition, cache: CacheStatus) {
    let tiers = [
        ("memory", cache.memory_answers, cache.memory_bytes),
        ("store", cache.store_answers, cache.store_bytes),
    ];
    let labels = |tier: &str| vec![("tier", tier.to_owned())];
    let answers = tiers.map(|(tier, answers, _)| (labels(tier), answers as f64));
    all.family(
        "cache_answers",
        Kind::Gauge,
        "Answers that are kept.",
        answers,
    );
    let bytes = tiers.map(|(tier, _, bytes)| (labels(tier), bytes as f64));
    all.family("cache_bytes", Kind::Gauge, "What they take.", bytes);
}

fn of_pools(all: &mut Exposition, pools: &[PoolQuota]) {
    type Figure = fn(&PoolQuota) -> f64;
    let figures: [(&str, &str, Figure); 8] = [
        ("pool_limit", "Units that are ours at most.", |pool| {
            pool.limit as f64
        }),
        ("pool_used", "Units that we have used.", |pool| {
            pool.ours as f64
        }),
        (
            "pool_used_by_others",
            "Units that other applications have used.",
            |pool| pool.others as f64,
        ),
        ("pool_left", "Units that are left for us.", |pool| {
            pool.left as f64
        }),
        (
            "pool_level",
            "How far it is used up: 0 plenty, 1 notify, 2 stretch, 3 critical.",
            |pool| {
                let level = LEVELS.iter().position(|level| *level == pool.level);
                level.unwrap_or_default() as f64
            },
        ),
        (
            "pool_parked_seconds",
            "Until something is drawn from it again.",
            |pool| seconds(pool.parked_ms.unwrap_or_default()),
        ),
        (
            "pool_margin_seconds",
            "By how much longer than its window a request counts.",
            |pool| seconds(pool.margin_ms),
        ),
        (
            "pool_trusted",
            "The part of the limit that is believed in.",
            |pool| f64::from(pool.trusted_permille) / 1_000.0,
        ),
    ];
    for (name, help, figure) in figures {
        let each = pools.iter().map(|pool| {
            let labels = vec![
                ("account", pool.account.clone()),
                ("pool", pool.pool.clone()),
                ("credential", pool.credential.clone()),
            ];
            (labels, figure(pool))
        });
        all.family(name, Kind::Gauge, help, each);
    }
}

fn of_endpoints(all: &mut Exposition, endpoints: &[EndpointStatus]) {
    type Figure = fn(&EndpointStatus) -> u64;
    let figures: [(&str, &str, Figure); 4] = [
        (
            "requests_total",
            "HTTP requests, repeats included.",
            |endpoint| endpoint.requests,
        ),
        ("statements_total", "SQL statements.", |endpoint| {
            endpoint.statements
        }),
        (
            "throttled_total",
            "Answers that said that an allowance is spent.",
            |endpoint| endpoint.throttled,
        ),
        (
            "held_back_total",
            "Requests that came back unsent.",
            |endpoint| endpoint.held_back,
        ),
    ];
    for (name, help, figure) in figures {
        let each = endpoints.iter().map(|endpoint| {
            let labels = vec![("endpoint", endpoint.name.clone())];
            (labels, figure(endpoint) as f64)
        });
        all.family(name, Kind::Counter, help, each);
    }
    let reads = endpoints.iter().flat_map(|endpoint| {
        let reads = endpoint.reads;
        let from = [
            ("cache", reads.recalled),
            ("cache-stale", reads.recalled_stale),
            ("vendor", reads.asked),
            ("cache-renewed", reads.renewed),
            ("joined", reads.joined),
        ];
        from.map(|(from, count)| {
            let labels = vec![
                ("endpoint", endpoint.name.clone()),
                ("from", from.to_owned()),
            ];
            (labels, count as f64)
        })
    });
    all.family(
        "cacheable_reads_total",
        Kind::Counter,
        "Reads that may be answered by an earlier answer, by where theirs came from.",
        reads,
    );
    let accounts = endpoints.iter().flat_map(|endpoint| {
        endpoint.accounts.iter().map(|account| {
            let labels = vec![
                ("endpoint", endpoint.name.clone()),
                ("credential", account.name.clone()),
            ];
            (labels, f64::from(u8::from(!account.revoked.is_empty())))
        })
    });
    all.family(
        "credential_refused",
        Kind::Gauge,
        "1 while the vendor refuses it.",
        accounts,
    );
}

fn of_syncs(all: &mut Exposition, syncs: &[SyncStatus]) {
    let states = syncs.iter().flat_map(|sync| {
        STATES.map(|(state, name)| {
            let labels = vec![("sync", sync.name.clone()), ("state", name.to_owned())];
            (labels, f64::from(u8::from(sync.state == state)))
        })
    });
    all.family(
        "sync_state",
        Kind::Gauge,
        "1 for the state that a sync is in.",
        states,
    );
    type Figure = fn(&SyncStatus) -> f64;
    let figures: [(&str, Kind, &str, Figure); 9] = [
        (
            "changes_waiting",
            Kind::Gauge,
            "Records whose changes wait.",
            |sync| sync.waiting as f64,
        ),
        (
            "changes_waiting_for_pairs",
            Kind::Gauge,
            "Of those, records without their other half at first contact.",
            |sync| sync.waiting_for_pairs as f64,
        ),
        (
            "changes_in_flight",
            Kind::Gauge,
            "Records that are being written.",
            |sync| sync.in_flight as f64,
        ),
        (
            "dead_letters",
            Kind::Gauge,
            "Records that wait for a person.",
            |sync| sync.dead as f64,
        ),
        (
            "records",
            Kind::Gauge,
            "Records that are known, also those that only one side has so far.",
            |sync| sync.records as f64,
        ),
        (
            "lag_seconds",
            Kind::Gauge,
            "Age of the oldest change that waits.",
            |sync| seconds(sync.lag_ms),
        ),
        (
            "captured_total",
            Kind::Counter,
            "Changes captured.",
            |sync| sync.captured as f64,
        ),
        ("written_total", Kind::Counter, "Changes written.", |sync| {
            sync.written as f64
        }),
        ("conflicts_total", Kind::Counter, "Conflicts.", |sync| {
            sync.conflicts as f64
        }),
    ];
    for (name, kind, help, figure) in figures {
        let each = syncs
            .iter()
            .map(|sync| (vec![("sync", sync.name.clone())], figure(sync)));
        all.family(name, kind, help, each);
    }
    let held = || {
        syncs.iter().flat_map(|sync| {
            sync.held_up.iter().map(|held| {
                let labels = vec![
                    ("sync", sync.name.clone()),
                    ("to", held.to.to_string()),
                    ("lane", format!("{:?}", held.lane).to_lowercase()),
                    ("reason", held.reason.code.clone()),
                ];
                (labels, held)
            })
        })
    };
    let depth = held().map(|(labels, held)| (labels, held.changes as f64));
    all.family(
        "changes_held",
        Kind::Gauge,
        "Changes that are ready and wait for their target.",
        depth,
    );
    let rest = held().map(|(labels, held)| (labels, seconds(held.in_ms)));
    all.family(
        "changes_held_seconds",
        Kind::Gauge,
        "Until they are looked at again.",
        rest,
    );
    let latencies = syncs.iter().flat_map(|sync| {
        let of = |direction: &'static str, latency: Latency| {
            let quantiles = [("0.5", latency.p50_ms), ("0.99", latency.p99_ms)].into_iter();
            let sync = sync.name.clone();
            quantiles.filter_map(move |(quantile, ms)| {
                let labels = vec![
                    ("sync", sync.clone()),
                    ("direction", direction.to_owned()),
                    ("quantile", quantile.to_owned()),
                ];
                Some((labels, seconds(ms?)))
            })
        };
        let there = of("left-to-right", sync.left_to_right);
        there.chain(of("right-to-left", sync.right_to_left))
    });
    let help = "From the source's commit to the destination's answer.";
    all.family("latency_seconds", Kind::Gauge, help, latencies);
}
