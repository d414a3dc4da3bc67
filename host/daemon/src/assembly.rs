//! From a config as meant to all the parts of a host, before anything moves.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::alert::{Alert, Subject};
use tidegate_gateway::{
    AccountSpec, Allowances, Answers, AuthSpec, Clock, Dependencies, Egress, EndpointError,
    EndpointSpec, Gateway, Intent, Journal, JournalError, Limits, SystemClock,
};
use tidegate_sandbox::{Plugin, Sandbox, SandboxError, Settings};
use tidegate_store::{OpenError, Options, Store};
use tokio_util::sync::CancellationToken;

use crate::alerts::Alerts;
use crate::alerts::delivery::Webhook;
use crate::alerts::standing::{self, StandingError};
use crate::allowances::{self, AllowanceError};
use crate::check::plugins::{self, Plugins};
use crate::config::meant::{Auth, Config, Credentials, Endpoint, Granted};
use crate::config::problem::{Findings, Problem};
use crate::config::{self, Loaded};
use crate::host::{Courier, Host, Reached};
use crate::shelf;
use crate::sync::{self, Assembly, Intents, SyncParts, Syncs};
use crate::usage;

/// Why there is no store to work with.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the data folder {} can't be made", .folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl StoreError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "data-folder",
            Self::Open(error) => error.code(),
        }
    }
}

/// The data folder, for its owner only.
pub fn make_folder(data: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|source| StoreError::Folder {
            folder: data.to_owned(),
            source,
        })
}

/// Opens the store of a config, which takes its lock. Blocks.
pub fn open_store(config: &Config) -> Result<Store, StoreError> {
    make_folder(&config.host.data)?;
    Ok(Store::open(store_folder(config), store_options(config))?)
}

pub fn store_folder(config: &Config) -> PathBuf {
    config.host.data.join("store")
}

pub fn store_options(config: &Config) -> Options {
    Options {
        engine: config.host.engine,
        cache_bytes: config.host.cache_bytes_max,
    }
}

/// The sandbox, with its compiled code in the data folder when there is one.
pub fn sandbox(config: &Config) -> Result<Arc<Sandbox>, SandboxError> {
    let data = &config.host.data;
    let settings = Settings {
        cache_dir: data.is_dir().then(|| data.join("compiled")),
        ..Settings::default()
    };
    Sandbox::new(settings)
}

/// Loads the plugins and lets their manifests judge the config.
pub async fn load_plugins(config: &Config, sandbox: &Arc<Sandbox>, findings: &Findings) -> Plugins {
    let plugins = plugins::load(config, sandbox, findings).await;
    config::against::check(config, &plugins::manifests(&plugins), findings);
    plugins
}

/// What every gateway of a host shares.
#[derive(Clone)]
pub struct Shared {
    pub clock: Arc<dyn Clock>,
    pub journal: Arc<dyn Journal>,
    pub allowances: Allowances,
    pub answers: Answers,
    pub seed: u64,
}

impl Shared {
    /// Of a command that may look and set up, and writes no record.
    pub(crate) fn without_records(command: &'static str) -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            journal: Arc::new(NoRecords(command)),
            allowances: Allowances::default(),
            answers: Answers::default(),
            seed: 0,
        }
    }
}

/// The command has nowhere to keep an intent.
struct NoRecords(&'static str);

impl Journal for NoRecords {
    fn intend(&self, _intent: Intent) -> BoxFuture<'_, Result<(), JournalError>> {
        let refused = JournalError(format!("`tidegate {}` writes no records", self.0));
        async { Err(refused) }.boxed()
    }
}

/// One endpoint's gateway.
pub fn gateway(
    name: &Arc<str>,
    endpoint: &Endpoint,
    granted: Granted,
    plugin: &Plugin,
    shared: &Shared,
) -> Made {
    let accounts = granted.accounts.into_iter();
    let accounts = accounts.map(|(name, credentials)| AccountSpec {
        only: endpoint
            .accounts
            .get(&name)
            .and_then(|account| account.only),
        auth: auth_spec(credentials),
        name,
    });
    let spec = EndpointSpec {
        name: name.clone(),
        origins: endpoint.origins.clone(),
        auth: auth_spec(granted.own),
        accounts: accounts.collect(),
        manifest: Arc::new(plugin.manifest().clone().at(&endpoint.config)),
        pools: endpoint.pools.clone(),
        egress: Egress {
            allow: endpoint.allow.clone(),
        },
        limits: Limits::default(),
    };
    let dependencies = Dependencies {
        clock: shared.clock.clone(),
        journal: shared.journal.clone(),
        allowances: shared.allowances.clone(),
        answers: shared.answers.clone(),
        seed: shared.seed,
    };
    Gateway::new(spec, dependencies)
}

/// Credentials as a gateway takes them.
pub(crate) fn auth_spec(credentials: Credentials) -> AuthSpec {
    match credentials {
        Auth::None => AuthSpec::None,
        Auth::ClientCredentials {
            client_id,
            client_secret,
            scope,
        } => AuthSpec::Oauth2ClientCredentials {
            client_id: client_id.expose().to_owned(),
            client_secret,
            scope,
        },
        Auth::RefreshToken {
            client_id,
            client_secret,
            refresh_token,
        } => AuthSpec::Oauth2RefreshToken {
            client_id: client_id.expose().to_owned(),
            client_secret: Some(client_secret),
            refresh_token,
        },
        Auth::Bearer { token } => AuthSpec::Bearer { token },
        Auth::ApiKeyHeader { header, key } => AuthSpec::ApiKeyHeader { header, key },
    }
}

/// An endpoint's gateway, or why there is none.
pub type Made = Result<Arc<Gateway>, EndpointError>;

/// The gateways of all endpoints whose plugin and secrets are there.
pub fn gateways(
    config: &Config,
    plugins: &Plugins,
    mut credentials: BTreeMap<Arc<str>, Granted>,
    shared: &Shared,
) -> Vec<(Arc<str>, Made)> {
    config
        .endpoints
        .iter()
        .filter_map(|(name, endpoint)| {
            let plugin = plugins.get(&endpoint.plugin)?;
            let credentials = credentials.remove(name)?;
            let made = gateway(name, endpoint, credentials, plugin, shared);
            Some((name.clone(), made))
        })
        .collect()
}

/// Why a host could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("the config has {} mistakes", .0.len())]
    Config(Vec<Problem>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("plugins can't be run here")]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Allowances(#[from] AllowanceError),
    #[error(transparent)]
    Standing(#[from] StandingError),
    #[error("the client for alerts can't be set up")]
    Webhook(#[source] reqwest::Error),
}

/// A host that is ready to live.
pub struct Assembled {
    pub host: Host,
    pub syncs: Syncs,
    pub names: Vec<String>,
}

/// Puts a host together: the config without any mistake, the store's lock, the plugins, the gateways, the syncs.
pub async fn assemble(loaded: Loaded, stop: CancellationToken) -> Result<Assembled, AssembleError> {
    let Loaded { config, findings } = loaded;
    let credentials = config::credentials(&config, &findings);
    sound(&findings)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let began_ms = clock.now().mono_ms;
    let config = Arc::new(config);
    let store = blocking({
        let config = config.clone();
        move || open_store(&config)
    })
    .await?;
    let sandbox = sandbox(&config)?;
    let plugins = load_plugins(&config, &sandbox, &findings).await;
    sound(&findings)?;
    let intents = Intents::new(store.clone());
    let seed = rand::random();
    let (alerts, courier) = couriers(&config, &clock, seed)?;
    let answers = blocking({
        let (store, clock, bounds) = (store.clone(), clock.clone(), config.cache);
        move || shelf::answers(&store, bounds, &*clock)
    })
    .await;
    answers.tidy().await;
    let shared = Shared {
        clock: clock.clone(),
        journal: intents.clone(),
        allowances: Allowances::default(),
        answers: answers.clone(),
        seed,
    };
    let mut endpoints = BTreeMap::new();
    let mut reached = BTreeMap::new();
    for (name, gateway) in gateways(&config, &plugins, credentials, &shared) {
        let endpoint = &config.endpoints[&name];
        let gateway = gateway?;
        let named = Reached {
            plugin: endpoint.plugin.clone(),
            gateway: gateway.clone(),
        };
        reached.insert(name.clone(), named);
        let parts = sync::Endpoint {
            name: name.clone(),
            plugin: plugins[&endpoint.plugin].clone(),
            gateway,
            config: endpoint.config.to_string(),
            interval_ms: endpoint.interval_ms,
        };
        endpoints.insert(name, Arc::new(parts));
    }
    allowances::restore(&store, &reached)?;
    usage::restore(&store, &reached)?;
    standing::restore(&store, &alerts, |alert| named(&config, &reached, alert))?;
    for sync in config.syncs.values() {
        let spec = &sync.spec;
        for side in [&spec.left, &spec.right] {
            let gateway = &reached[&side.endpoint].gateway;
            gateway.account().weigh(&spec.name, spec.weight);
        }
    }
    let syncs: Vec<SyncParts> = config
        .syncs
        .values()
        .filter_map(|sync| {
            let mapping = sync.mapping.as_ref()?;
            Some(SyncParts {
                spec: sync.spec.clone(),
                mapping: plugins[&mapping.plugin].clone(),
                mapping_config: mapping.config.to_string(),
            })
        })
        .collect();
    let (syncs, handle) = Syncs::new(Assembly {
        store: store.clone(),
        clock: clock.clone(),
        intents,
        endpoints,
        syncs,
        alerts: alerts.clone(),
        seed,
    });
    Ok(Assembled {
        host: Host {
            data: config.host.data.clone(),
            config: config.clone(),
            clock,
            store,
            plugins,
            gateways: reached,
            answers,
            source: Arc::new(handle),
            stop,
            alerts,
            courier,
            began_ms,
        },
        syncs,
        names: config.syncs.keys().map(ToString::to_string).collect(),
    })
}

/// Whether the config still names all that an alert is about.
fn named(config: &Config, reached: &BTreeMap<Arc<str>, Reached>, alert: &Alert) -> bool {
    let Subject {
        sync,
        endpoint,
        account,
        pool,
    } = &alert.subject;
    let sync = sync.as_deref();
    let sync = sync.is_none_or(|sync| config.syncs.contains_key(sync));
    let credential = |endpoint: &str, account: &str| {
        let endpoint = config.endpoints.get(endpoint);
        endpoint.is_some_and(|endpoint| {
            account == config::OWN_ACCOUNT || endpoint.accounts.contains_key(account)
        })
    };
    let place = match (endpoint.as_deref(), account.as_deref()) {
        (Some(endpoint), Some(account)) => credential(endpoint, account),
        (Some(endpoint), None) => config.endpoints.contains_key(endpoint),
        (None, Some(account)) => reached.values().any(|reached| {
            let pools = reached.gateway.pools();
            let known = |pool: &String| pools.iter().any(|known| *known.pool == **pool);
            reached.gateway.account().name() == account && pool.as_ref().is_none_or(known)
        }),
        (None, None) => true,
    };
    sync && place
}

/// What takes in alerts, and what sends them where there is a webhook.
fn couriers(
    config: &Config,
    clock: &Arc<dyn Clock>,
    seed: u64,
) -> Result<(Alerts, Option<Courier>), AssembleError> {
    // A secret that can't be had was an error of the config.
    let secret = config::alert_secret(config).and_then(Result::ok);
    let (Some(hook), Some(secret)) = (&config.alerts, secret) else {
        return Ok((Alerts::silent(clock.clone()), None));
    };
    let (alerts, waiting) = Alerts::new(clock.clone());
    let courier = Courier {
        waiting,
        hook: Webhook::new(hook.url.clone()).map_err(AssembleError::Webhook)?,
        secret,
        seed,
    };
    Ok((alerts, Some(courier)))
}

/// Refuses a config with any error; what is only a warning is logged.
fn sound(findings: &Findings) -> Result<(), AssembleError> {
    if findings.has_errors() {
        return Err(AssembleError::Config(findings.problems()));
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
