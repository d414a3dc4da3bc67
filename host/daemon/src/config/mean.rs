//! [`Written`] to [`Config`]: defaults, bounds, and names that must lead somewhere. A part with a mistake is left
//! out of the result, so that the parts without one can still be checked further.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::manifest::AuthScheme;
use tidegate_core::rounds::LINGER_MS;
use tidegate_core::sync::{DeleteBrake, SideSpec, SyncSpec};
use tidegate_gateway::Bounds;
use tracing_subscriber::EnvFilter;

use super::meant::{Account, Auth, Config, Endpoint, Host, Mapping, PluginSource, Sync};
use super::origin::{allow, listen, parse_origin};
use super::places::join;
use super::problem::{Code, Findings, suggest};
use super::written::{
    Written, WrittenAuth, WrittenBrake, WrittenCache, WrittenEndpoint, WrittenHost, WrittenMapping,
    WrittenSide, WrittenSync,
};

const CACHE_BYTES_LEAST: u64 = 1 << 20;
const INTERVAL_MS_LEAST: u64 = 100;
const QUEUE_MAX: u64 = 100_000;
/// Streams ask for no fewer rows than this at once, so a smaller queue would never take any.
const QUEUE_LEAST: u64 = 16;
const WEIGHT_MAX: u64 = 100;
/// What status calls the credential under `auth`.
pub const OWN_ACCOUNT: &str = "main";
const NAME_LENGTH_MAX: usize = 60;

pub(super) fn mean(written: Written, folder: &Path, findings: &Findings) -> Config {
    let meaning = Meaning {
        folder,
        findings,
        written: &written,
    };
    let config = Config {
        folder: folder.to_owned(),
        host: meaning.host(&written.host),
        alerts: written
            .alerts
            .as_ref()
            .and_then(|alerts| super::hook::mean(alerts, findings)),
        metrics: written
            .metrics
            .as_ref()
            .and_then(|metrics| listen(metrics.listen.as_deref(), findings)),
        cache: meaning.cache(&written.cache),
        plugins: meaning.plugins(),
        endpoints: meaning.endpoints(),
        syncs: meaning.syncs(),
    };
    super::sharing::check(&written, folder, findings);
    config
}

struct Meaning<'a> {
    folder: &'a Path,
    findings: &'a Findings,
    written: &'a Written,
}

impl Meaning<'_> {
    fn host(&self, host: &WrittenHost) -> Host {
        let log = host.log.clone().unwrap_or_else(|| "info".to_owned());
        if let Err(error) = EnvFilter::try_new(&log) {
            self.findings.error_with_help(
                Code::UnknownValue,
                "host.log",
                format!("`{log}` is not a log filter: {error}"),
                "write a level, `error`, `warn`, `info`, `debug` or `trace`, or a list such as `warn,tidegate=debug`",
            );
        }
        let engine = host.engine.unwrap_or_default();
        let cache_bytes_max = host
            .cache_bytes_max
            .unwrap_or_else(|| engine.cache_bytes_default());
        if cache_bytes_max < CACHE_BYTES_LEAST {
            self.findings.error(
                Code::OutOfRange,
                "host.cache-bytes-max",
                format!("{cache_bytes_max} bytes are too few; {CACHE_BYTES_LEAST} are the least"),
            );
        }
        Host {
            data: self.folder.join(host.data.as_deref().unwrap_or("data")),
            engine,
            cache_bytes_max,
            log,
            log_format: host.log_format.unwrap_or_default(),
        }
    }

    fn cache(&self, cache: &WrittenCache) -> Bounds {
        let usual = Bounds::default();
        let bounds = Bounds {
            memory_bytes_max: cache.memory_bytes_max.unwrap_or(usual.memory_bytes_max),
            store_bytes_max: cache.store_bytes_max.unwrap_or(usual.store_bytes_max),
        };
        if bounds.memory_bytes_max > 0 {
            return bounds;
        }
        if cache.store_bytes_max.is_some_and(|bytes| bytes > 0) {
            self.findings.warning(
                Code::OutOfRange,
                "cache.store-bytes-max",
                "nothing is kept in the store either while `memory-bytes-max` is 0, which turns the cache off",
                "",
            );
        }
        Bounds::NONE
    }

    fn plugins(&self) -> BTreeMap<Arc<str>, PluginSource> {
        let mut plugins = BTreeMap::new();
        for (name, plugin) in &self.written.plugins {
            let key = join("plugins", name);
            let named = self.name(&key, name);
            let Some(file) = self.required(&key, "file", &plugin.file) else {
                continue;
            };
            let source = PluginSource {
                file: self.folder.join(file),
                limits: plugin.limits.clone().unwrap_or_default(),
            };
            if named {
                plugins.insert(Arc::from(name.as_str()), source);
            }
        }
        plugins
    }

    fn endpoints(&self) -> BTreeMap<Arc<str>, Endpoint> {
        let mut endpoints = BTreeMap::new();
        for (name, endpoint) in &self.written.endpoints {
            let key = join("endpoints", name);
            let named = self.name(&key, name);
            let endpoint = self.endpoint(&key, endpoint);
            if let (true, Some(endpoint)) = (named, endpoint) {
                endpoints.insert(Arc::from(name.as_str()), endpoint);
            }
        }
        endpoints
    }

    fn endpoint(&self, key: &str, endpoint: &WrittenEndpoint) -> Option<Endpoint> {
        let plugin = self.plugin_named(key, &endpoint.plugin);
        let auth = match &endpoint.auth {
            Some(auth) => self.auth(&join(key, "auth"), auth),
            None => Some(Auth::None),
        };
        let accounts = self.accounts(&join(key, "accounts"), endpoint);
        let origins_key = join(key, "origins");
        let mut origins = BTreeMap::new();
        for (name, written) in &endpoint.origins {
            match parse_origin(written, self.folder) {
                Ok(origin) => {
                    origins.insert(name.clone(), origin);
                }
                Err(error) => self.findings.error(
                    Code::BadOrigin,
                    &join(&origins_key, name),
                    error.to_string(),
                ),
            }
        }
        if endpoint
            .interval_ms
            .is_some_and(|ms| ms < INTERVAL_MS_LEAST)
        {
            self.findings.error(
                Code::OutOfRange,
                &join(key, "interval"),
                format!("too short; {INTERVAL_MS_LEAST} ms are the least"),
            );
        }
        let pools_key = join(key, "pools");
        let pools = endpoint
            .pools
            .iter()
            .map(|(name, pool)| {
                let key = join(&pools_key, name);
                (name.clone(), super::pools::mean(&key, pool, self.findings))
            })
            .collect();
        Some(Endpoint {
            plugin: plugin?,
            origins,
            allow: allow(&endpoint.allow, self.findings),
            auth: auth?,
            accounts,
            config: endpoint.config.clone().unwrap_or_else(empty),
            interval_ms: endpoint.interval_ms,
            pools,
        })
    }

    fn accounts(&self, key: &str, endpoint: &WrittenEndpoint) -> BTreeMap<Arc<str>, Account> {
        let mut accounts = BTreeMap::new();
        for (name, account) in &endpoint.accounts {
            let key = join(key, name);
            let mut named = self.name(&key, name);
            if name == OWN_ACCOUNT {
                let message = format!("`{name}` is the endpoint's own, which stands under `auth`");
                self.findings.error(Code::BadName, &key, message);
                named = false;
            }
            let Some(auth) = self.auth(&key, &account.auth) else {
                continue;
            };
            if named {
                let only = account.only;
                accounts.insert(Arc::from(name.as_str()), Account { auth, only });
            }
        }
        accounts
    }

    fn auth(&self, key: &str, auth: &WrittenAuth) -> Option<Auth> {
        let need = |name: &str, value| self.required(key, name, value);
        match self.required(key, "scheme", &auth.scheme)? {
            AuthScheme::None => Some(Auth::None),
            AuthScheme::Oauth2ClientCredentials => {
                let id = need("client-id", &auth.client_id);
                let secret = need("client-secret", &auth.client_secret);
                Some(Auth::ClientCredentials {
                    client_id: id?,
                    client_secret: secret?,
                    scope: auth.scope.clone(),
                })
            }
            AuthScheme::Oauth2RefreshToken => {
                let id = need("client-id", &auth.client_id);
                let secret = need("client-secret", &auth.client_secret);
                let token = need("refresh-token", &auth.refresh_token);
                Some(Auth::RefreshToken {
                    client_id: id?,
                    client_secret: secret?,
                    refresh_token: token?,
                })
            }
            AuthScheme::Bearer => Some(Auth::Bearer {
                token: need("token", &auth.token)?,
            }),
            AuthScheme::ApiKeyHeader => {
                let header = self.required(key, "header", &auth.header);
                let secret = need("key", &auth.key);
                Some(Auth::ApiKeyHeader {
                    header: header?,
                    key: secret?,
                })
            }
        }
    }

    fn syncs(&self) -> BTreeMap<Arc<str>, Sync> {
        let mut syncs = BTreeMap::new();
        for (name, sync) in &self.written.syncs {
            let key = join("syncs", name);
            let named = self.name(&key, name);
            let sync = self.sync(&key, name, sync);
            if let (true, Some(sync)) = (named, sync) {
                syncs.insert(Arc::from(name.as_str()), sync);
            }
        }
        if self.written.syncs.is_empty() {
            self.findings.warning(
                Code::MissingKey,
                "syncs",
                "no sync is configured, so there is nothing to do",
                "",
            );
        }
        syncs
    }

    fn sync(&self, key: &str, name: &str, sync: &WrittenSync) -> Option<Sync> {
        let left = self.side(key, "left", &sync.left);
        let right = self.side(key, "right", &sync.right);
        let mapping = self.mapping(key, &sync.mapping);
        let brake = self.brake(&join(key, "brake"), sync.brake.as_ref());
        let queue_max = sync.queue_max.unwrap_or(QUEUE_MAX);
        if queue_max < QUEUE_LEAST {
            self.findings.error(
                Code::OutOfRange,
                &join(key, "queue-max"),
                format!("a queue of {queue_max} takes no change; {QUEUE_LEAST} are the least"),
            );
        }
        let weight = sync.weight.unwrap_or(1);
        if !(1..=WEIGHT_MAX).contains(&weight) {
            self.findings.error(
                Code::OutOfRange,
                &join(key, "weight"),
                format!("a weight lies between 1 and {WEIGHT_MAX}"),
            );
        }
        let weight = u32::try_from(weight).unwrap_or(1);
        // All mistakes are told before the sync is given up for one of them.
        let lanes = super::lanes::mean(&sync.lanes, self.findings);
        let references = super::references::mean(name, self.written, self.findings);
        let pairs = super::pairs::mean(key, sync, self.findings);
        let actions = super::actions::mean(&sync.actions, self.findings);
        Some(Sync {
            spec: SyncSpec {
                name: name.into(),
                left: left?,
                right: right?,
                lane: sync.lane.unwrap_or_default(),
                lanes,
                weight,
                linger_ms: sync.linger_ms.unwrap_or(LINGER_MS),
                conflict: sync.conflict.unwrap_or_default(),
                field_conflicts: sync.field_conflicts.clone(),
                references,
                pairs,
                actions,
                brake,
                initial: sync.initial.unwrap_or_default(),
                queue_max: usize::try_from(queue_max).unwrap_or(usize::MAX),
            },
            mapping,
        })
    }

    fn side(&self, sync: &str, side: &str, written: &Option<WrittenSide>) -> Option<SideSpec> {
        let written = self.required(sync, side, written)?;
        let key = join(sync, side);
        let endpoint = self.required(&key, "endpoint", &written.endpoint);
        let object = self.required(&key, "object", &written.object);
        let known = &self.written.endpoints;
        let endpoint = endpoint.filter(|name| {
            let found = self.findings.has_key(&join("endpoints", name));
            if !found {
                self.findings.error_with_help(
                    Code::UnknownEndpoint,
                    &join(&key, "endpoint"),
                    format!("there is no endpoint `{name}`"),
                    suggest(name, known.keys().map(String::as_str)),
                );
            }
            found
        });
        if written.key.is_none() {
            self.findings.warning(
                Code::MissingKey,
                &key,
                "without a `key`, a create whose answer is lost waits for a person",
                "name a unique field that may hold the other side's record id",
            );
        }
        Some(SideSpec {
            endpoint: endpoint?.into(),
            object: object?.into(),
            key: written.key.as_deref().map(Arc::from),
            deletes: written.deletes.unwrap_or_default(),
        })
    }

    fn mapping(&self, sync: &str, written: &Option<WrittenMapping>) -> Option<Mapping> {
        let written = self.required(sync, "mapping", written)?;
        let key = join(sync, "mapping");
        Some(Mapping {
            plugin: self.plugin_named(&key, &written.plugin)?,
            config: written.config.clone().unwrap_or_else(empty),
        })
    }

    fn brake(&self, key: &str, written: Option<&WrittenBrake>) -> DeleteBrake {
        let default = DeleteBrake::default();
        let Some(written) = written else {
            return default;
        };
        let share = written.share.unwrap_or(default.share);
        let share_key = join(key, "share");
        super::pools::share(Code::OutOfRange, &share_key, share, self.findings);
        DeleteBrake {
            share,
            window_ms: written.window_ms.unwrap_or(default.window_ms),
            least: written.least.unwrap_or(default.least),
        }
    }

    fn plugin_named(&self, key: &str, name: &Option<String>) -> Option<Arc<str>> {
        let name = self.required(key, "plugin", name)?;
        if !self.findings.has_key(&join("plugins", &name)) {
            self.findings.error_with_help(
                Code::UnknownPlugin,
                &join(key, "plugin"),
                format!("there is no plugin `{name}`"),
                suggest(&name, self.written.plugins.keys().map(String::as_str)),
            );
            return None;
        }
        Some(name.into())
    }

    /// The value, or a problem unless the key is there and its own problem was reported already.
    fn required<T: Clone>(&self, key: &str, name: &str, value: &Option<T>) -> Option<T> {
        if value.is_none() && !self.findings.has_key(&join(key, name)) {
            let message = format!("`{name}` is missing");
            self.findings.error(Code::MissingKey, key, message);
        }
        value.clone()
    }

    fn name(&self, key: &str, name: &str) -> bool {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let good = !name.is_empty() && name.len() <= NAME_LENGTH_MAX && name.chars().all(allowed);
        if !good {
            self.findings.error(
                Code::BadName,
                key,
                format!(
                    "a name has 1 to {NAME_LENGTH_MAX} lower-case letters, digits, `-` and `_`, as it appears in files, logs and commands"
                ),
            );
        }
        good
    }
}

fn empty() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}
