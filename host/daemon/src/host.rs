//! A host's life: it answers on its socket, tells how far it is, and ends cleanly.
//!
//! The engine is a future here; whatever it does, the tasks around it are the same.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_gateway::{Answers, Clock, Gateway, Purpose, Secret};
use tidegate_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::alerts::delivery::{Webhook, deliver};
use crate::alerts::{Alerts, Waiting, standing};
use crate::allowances::Keeper;
use crate::check::plugins::Plugins;
use crate::config::meant::Config;
use crate::control::{Answer, Answerer, Listener, Request};
use crate::gauges;
use crate::grants;
use crate::progress;
use crate::quota::PoolQuota;
use crate::status::Command;
use crate::status::{
    AccountStatus, CacheStatus, CommandError, EndpointStatus, PluginStatus, PoolStatus,
    ReadsStatus, Status, StatusSource, StoreStatus, Told,
};
use crate::tasks::{Task, Tasks};
use crate::{ailing, levels, metrics, quota, usage, waits};

/// The parts of a running host, as far as it can be asked about them.
pub struct Host {
    pub data: PathBuf,
    pub config: Arc<Config>,
    pub clock: Arc<dyn Clock>,
    pub store: Store,
    pub plugins: Plugins,
    pub gateways: BTreeMap<Arc<str>, Reached>,
    /// What is kept of the vendors' answers.
    pub answers: Answers,
    /// What the engine knows of the syncs.
    pub source: Arc<dyn StatusSource>,
    pub stop: CancellationToken,
    pub alerts: Alerts,
    /// What sends them, where the config names a webhook.
    pub courier: Option<Courier>,
    /// When the host began, by the clock's `mono_ms`.
    pub began_ms: u64,
}

/// All that is needed to deliver alerts.
pub struct Courier {
    pub waiting: mpsc::Receiver<Waiting>,
    pub hook: Webhook,
    pub secret: Secret,
    pub seed: u64,
}

/// An endpoint and what speaks for it.
pub struct Reached {
    pub plugin: Arc<str>,
    pub gateway: Arc<Gateway>,
}

/// Runs the engine to its end with everything around it, and closes the store. The first failure that ended
/// it is the answer. `signals` hears them for as long as the host lives.
pub async fn live(
    mut host: Host,
    engine: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    signals: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<()> {
    let courier = host.courier.take();
    let host = Arc::new(host);
    let mut tasks = Tasks::new(host.stop.clone());
    tasks.start(Task::Signals, signals);
    tasks.start(Task::Engine, engine);
    let store = host.store.clone();
    tasks.start(Task::Store, async move {
        store
            .failed()
            .await
            .map_or(Ok(()), |failure| Err(failure.into()))
    });
    match Listener::bind(&host.data) {
        Ok(listener) => {
            let answerer = host.clone();
            tracing::info!(data = %host.data.display(), "answering");
            tasks.start(
                Task::Control,
                async move { Ok(listener.serve(answerer).await?) },
            );
        }
        // A host that can't be asked still keeps its systems in step.
        Err(error) => {
            tracing::error!(%error, data = %host.data.display(), "no socket, so `tidegate status` will find no host");
        }
    }
    let source = host.source.clone();
    let clock = host.clock.clone();
    tasks.start(Task::Progress, async move {
        progress::tell(source.as_ref(), clock.as_ref()).await;
        Ok(())
    });
    let reading = host.clone();
    tasks.start(Task::Gauges, async move {
        let (source, clock) = (reading.source.as_ref(), reading.clock.as_ref());
        gauges::watch(&reading.gateways, source, clock).await;
        Ok(())
    });
    let watching = host.clone();
    tasks.start(Task::Levels, async move {
        let (clock, alerts) = (watching.clock.as_ref(), &watching.alerts);
        levels::watch(&watching.gateways, clock, alerts).await;
        Ok(())
    });
    let nursing = host.clone();
    tasks.start(Task::Ailing, async move {
        let (clock, alerts) = (nursing.clock.as_ref(), &nursing.alerts);
        ailing::watch(&nursing.gateways, clock, alerts).await;
        Ok(())
    });
    if let Some(courier) = courier {
        let (alerts, clock) = (host.alerts.clone(), host.clock.clone());
        tasks.start(Task::Alerts, async move {
            let Courier {
                waiting,
                hook,
                secret,
                seed,
            } = courier;
            deliver(alerts, waiting, &hook, &secret, clock, seed).await;
            Ok(())
        });
    }
    if let Some(listen) = host.config.metrics {
        let showing = host.clone();
        tasks.start(Task::Metrics, async move {
            let served = metrics::serve(listen, showing).await;
            served.with_context(|| format!("metrics on {listen}"))
        });
    }
    let telling = host.clone();
    tasks.start(Task::Standing, async move {
        standing::watch(&telling.store, &telling.alerts).await?;
        Ok(())
    });
    let keeping = host.clone();
    tasks.start(Task::Allowances, async move {
        let (store, clock) = (&keeping.store, keeping.clock.as_ref());
        Keeper::default()
            .run(store, &keeping.gateways, clock)
            .await?;
        Ok(())
    });
    let noting = host.clone();
    tasks.start(Task::Usage, async move {
        let (store, clock) = (&noting.store, noting.clock.as_ref());
        usage::Keeper::default()
            .run(store, &noting.gateways, clock)
            .await?;
        Ok(())
    });
    let ended = tasks.finish().await;
    // The last calls in flight drew as well.
    let kept = Keeper::default().close(&host.store, &host.gateways).await;
    let stood = standing::keep(&host.store, &host.alerts).await;
    let noted = usage::Keeper::default()
        .keep(&host.store, &host.gateways)
        .await;
    let closed = host.store.clone().close().await;
    ended?;
    kept?;
    stood?;
    noted?;
    Ok(closed?)
}

impl Host {
    async fn status(&self) -> Status {
        let store = self.store.clone();
        // Counting reads the disk the first time.
        let stats = tokio::task::spawn_blocking(move || store.stats()).await;
        let store = match stats {
            Ok(Ok(stats)) => StoreStatus {
                engine: stats.engine.name().to_owned(),
                records: stats.records,
                bytes: stats.bytes_on_disk,
            },
            Ok(Err(_)) | Err(_) => StoreStatus::default(),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: self.clock.now().mono_ms.saturating_sub(self.began_ms),
            stopping: self.stop.is_cancelled(),
            holds: self.source.holds(),
            syncs: self.source.syncs().await,
            endpoints: self.endpoints(),
            alerts: self.alerts.status(),
            plugins: self.plugins(),
            store,
            cache: self.cache(),
            rss_bytes: rss_bytes(),
        }
    }

    fn quota(&self) -> Vec<PoolQuota> {
        let manifest = |plugin: &Arc<str>| self.plugins.get(plugin).map(|plugin| plugin.manifest());
        quota::report(&self.gateways, manifest, self.clock.as_ref())
    }

    /// For collectors.
    pub(crate) async fn metrics(&self) -> String {
        metrics::text(&self.status().await, &self.quota())
    }

    fn cache(&self) -> CacheStatus {
        let figures = self.answers.figures();
        CacheStatus {
            memory_answers: figures.memory_answers,
            memory_bytes: figures.memory_bytes,
            store_answers: figures.store_answers,
            store_bytes: figures.store_bytes,
        }
    }

    fn endpoints(&self) -> Vec<EndpointStatus> {
        self.gateways
            .iter()
            .map(|(name, reached)| {
                let counters = reached.gateway.counters();
                EndpointStatus {
                    name: name.to_string(),
                    plugin: reached.plugin.to_string(),
                    requests: counters.requests,
                    statements: counters.statements,
                    throttled: counters.throttled,
                    held_back: counters.held_back,
                    reads: ReadsStatus {
                        recalled: counters.recalled,
                        recalled_stale: counters.recalled_stale,
                        asked: counters.asked,
                        renewed: counters.renewed,
                        joined: counters.joined,
                    },
                    accounts: accounts(&reached.gateway),
                    pools: self.pools(&reached.gateway),
                }
            })
            .collect()
    }

    fn pools(&self, gateway: &Gateway) -> Vec<PoolStatus> {
        let now_ms = self.clock.now().mono_ms;
        let figures = gateway.pools().into_iter();
        figures
            .map(|pool| PoolStatus {
                name: pool.pool.to_string(),
                used: pool.used + pool.reserved,
                used_by_others: pool.used_by_others,
                limit: pool.limit,
                level: levels::name(pool.level).to_owned(),
                parked_ms: pool
                    .parked_until_ms
                    .map(|until_ms| until_ms.saturating_sub(now_ms)),
                reason: pool.reason.as_ref().map_or_else(String::new, waits::words),
            })
            .collect()
    }

    fn plugins(&self) -> Vec<PluginStatus> {
        self.plugins
            .iter()
            .map(|(name, plugin)| {
                let conduct = plugin.conduct();
                PluginStatus {
                    name: name.to_string(),
                    plugin: plugin.manifest().plugin.name.clone(),
                    version: plugin.manifest().plugin.version.clone(),
                    hash: plugin.hash().to_owned(),
                    calls: conduct.calls,
                    breached: conduct.breached,
                    trapped: conduct.trapped,
                    broken: conduct.broken,
                    last_failure: conduct.last.map(|(code, message)| Told {
                        code: code.to_owned(),
                        message,
                    }),
                }
            })
            .collect()
    }
}

impl Answerer for Host {
    fn answer(&self, request: Request) -> BoxFuture<'_, Answer> {
        async move {
            match request {
                Request::Status => Answer::Status(Box::new(self.status().await)),
                Request::Quota => Answer::Quota(self.quota()),
                Request::Metrics => Answer::Metrics(self.metrics().await),
                Request::Usage { hours } => {
                    let now_us = self.clock.now().wall_us;
                    let since_us = usage::since_us(now_us, hours);
                    Answer::Usage(usage::report(&self.gateways, since_us))
                }
                Request::Stop => {
                    tracing::info!("stopping: asked on the socket");
                    self.stop.cancel();
                    Answer::Stopping
                }
                Request::Command { .. } if self.stop.is_cancelled() => {
                    Answer::Error(CommandError {
                        code: "stopping".to_owned(),
                        message: "the host is stopping and takes no commands".to_owned(),
                    })
                }
                Request::Command { command } => {
                    if let Command::Resume { what } = &command {
                        grants::renew(&self.config, &self.gateways, what).await;
                    }
                    match self.source.command(command).await {
                        Ok(done) => Answer::Done(done),
                        Err(error) => Answer::Error(error),
                    }
                }
            }
        }
        .boxed()
    }
}

fn accounts(gateway: &Gateway) -> Vec<AccountStatus> {
    let accounts = gateway.accounts();
    if accounts.len() < 2 {
        return Vec::new();
    }
    let told = accounts.into_iter().map(|account| AccountStatus {
        name: account.name.to_string(),
        only: match account.only {
            None => String::new(),
            Some(Purpose::Reading) => "read".to_owned(),
            Some(Purpose::Writing) => "write".to_owned(),
        },
        revoked: account.revoked.unwrap_or_default(),
    });
    told.collect()
}

/// Resident memory of this process; 0 where the system does not tell.
pub fn rss_bytes() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1_024)
}
