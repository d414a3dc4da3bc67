//! What only the plugins' manifests can tell: kinds, origins, authentication, pools, and the plugins' own
//! config tables. Needs no network and runs no plugin.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use tidegate_core::manifest::{Manifest, PluginKind, Pool, Protocol};
use tidegate_core::pace::{Pacer, PoolError, PoolOverride, Settings};
use tidegate_core::plugin::OperationKind;
use tidegate_core::sync::SyncSpec;
use tidegate_gateway::Origin;

use super::meant::{Auth, Config, Endpoint};
use super::places::join;
use super::problem::{Code, Findings, Problem, listed, suggest};

/// Compares the config with the manifests that could be read, by the plugins' names in the config.
pub fn check(config: &Config, manifests: &BTreeMap<Arc<str>, Manifest>, findings: &Findings) {
    for (name, endpoint) in &config.endpoints {
        let Some(manifest) = manifests.get(&endpoint.plugin) else {
            continue;
        };
        let key = join("endpoints", name);
        if kind(manifest, PluginKind::Connector, &key, findings) {
            origins(endpoint, manifest, &key, findings);
            auth(endpoint, manifest, &key, findings);
            pools(endpoint, manifest, &key, findings);
            schema(&endpoint.config, manifest, &join(&key, "config"), findings);
        }
    }
    for sync in config.syncs.values() {
        actions(config, manifests, &sync.spec, findings);
    }
    for (name, sync) in &config.syncs {
        let Some(mapping) = &sync.mapping else {
            continue;
        };
        let Some(manifest) = manifests.get(&mapping.plugin) else {
            continue;
        };
        let key = join(&join("syncs", name), "mapping");
        if kind(manifest, PluginKind::Mapping, &key, findings) {
            schema(&mapping.config, manifest, &join(&key, "config"), findings);
        }
    }
}

/// The other side's connector must have methods for what a field asks for.
fn actions(
    config: &Config,
    manifests: &BTreeMap<Arc<str>, Manifest>,
    spec: &SyncSpec,
    findings: &Findings,
) {
    let actions = join(&join("syncs", &spec.name), "actions");
    for (index, action) in spec.actions.iter().enumerate() {
        let target = &spec.side(action.side.other()).endpoint;
        let endpoint = config.endpoints.get(target);
        let Some(manifest) = endpoint.and_then(|endpoint| manifests.get(&endpoint.plugin)) else {
            continue;
        };
        let offered = |operation: &&OperationKind| {
            let mut methods = manifest.methods.iter();
            methods.any(|method| method.carries(**operation))
        };
        for missing in action.does.needs().iter().filter(|need| !offered(need)) {
            findings.error(
                Code::ObjectAccess,
                &join(&format!("{actions}[{index}]"), "does"),
                format!(
                    "`{}` has no method for a {} of endpoint `{target}`'s records",
                    manifest.plugin.name,
                    missing.name()
                ),
            );
        }
    }
}

fn kind(manifest: &Manifest, wanted: PluginKind, key: &str, findings: &Findings) -> bool {
    let fits = manifest.plugin.kind == wanted;
    if !fits {
        let (is, belongs) = match wanted {
            PluginKind::Connector => ("a mapping", "a connector"),
            PluginKind::Mapping => ("a connector", "a mapping"),
        };
        findings.error(
            Code::PluginKind,
            &join(key, "plugin"),
            format!(
                "`{}` is {is}, and {belongs} belongs here",
                manifest.plugin.name
            ),
        );
    }
    fits
}

fn origins(endpoint: &Endpoint, manifest: &Manifest, key: &str, findings: &Findings) {
    let key = join(key, "origins");
    let names = || manifest.origins.iter().map(|origin| origin.name.as_str());
    for (name, origin) in &endpoint.origins {
        let key = join(&key, name);
        match manifest.origins.iter().find(|asked| asked.name == *name) {
            None => findings.error_with_help(
                Code::UnknownOrigin,
                &key,
                format!("`{}` has no origin `{name}`", manifest.plugin.name),
                suggest(name, names()),
            ),
            Some(asked) => protocol(origin, asked.protocol, &key, findings),
        }
    }
    for asked in &manifest.origins {
        let origin_key = join(&key, &asked.name);
        if !endpoint.origins.contains_key(&asked.name) && !findings.has_key(&origin_key) {
            findings.error_with_help(
                Code::MissingOrigin,
                &key,
                format!("the origin `{}` is missing", asked.name),
                asked.description.clone(),
            );
        }
    }
}

fn protocol(origin: &Origin, asked: Protocol, key: &str, findings: &Findings) {
    let wanted = match (asked, origin) {
        (Protocol::Https, Origin::Http(_)) | (Protocol::Sqlite, Origin::Sqlite(_)) => return,
        (Protocol::Https, _) => "an `https:` URL belongs here",
        (Protocol::Sqlite, _) => "a file belongs here, such as `sqlite:people.db`",
        (Protocol::Postgres, _) => {
            "a `postgres:` URL belongs here, which this version does not speak"
        }
    };
    findings.error(Code::BadOrigin, key, wanted);
}

fn auth(endpoint: &Endpoint, manifest: &Manifest, key: &str, findings: &Findings) {
    scheme(&endpoint.auth, manifest, &join(key, "auth"), findings);
    let key = join(key, "accounts");
    for (name, account) in &endpoint.accounts {
        scheme(&account.auth, manifest, &join(&key, name), findings);
    }
}

fn scheme(auth: &Auth, manifest: &Manifest, key: &str, findings: &Findings) {
    let scheme = auth.scheme();
    let offered = match &manifest.auth {
        Some(auth) => auth.schemes.as_slice(),
        None if *auth == Auth::None => return,
        None => &[],
    };
    if offered.contains(&scheme) {
        return;
    }
    let offered: Vec<String> = offered
        .iter()
        .filter_map(|scheme| serde_json::to_value(scheme).ok())
        .filter_map(|scheme| scheme.as_str().map(str::to_owned))
        .collect();
    let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
    let plugin = &manifest.plugin.name;
    let message = if offered.is_empty() {
        format!("`{plugin}` does not authenticate; leave the section out")
    } else {
        format!("`{plugin}` authenticates by {}", listed(&offered))
    };
    findings.error(Code::AuthScheme, &join(key, "scheme"), message);
}

fn pools(endpoint: &Endpoint, manifest: &Manifest, key: &str, findings: &Findings) {
    let key = join(key, "pools");
    for (name, wanted) in &endpoint.pools {
        let key = join(&key, name);
        match manifest.pools.iter().find(|pool| pool.name == *name) {
            None => findings.error_with_help(
                Code::UnknownPool,
                &key,
                format!("`{}` has no pool `{name}`", manifest.plugin.name),
                suggest(name, manifest.pools.iter().map(|pool| pool.name.as_str())),
            ),
            Some(pool) => pool_holds(pool, wanted, &key, findings),
        }
    }
    // Whatever else would keep the host from starting; what was found already has its place.
    let told = |problem: &Problem| problem.place.key.starts_with(&key);
    if !findings.problems().iter().any(told)
        && let Err(error) = Pacer::new(manifest, &endpoint.pools, Settings::default())
    {
        let pool = pool_of(&error);
        findings.error_with_help(
            Code::PoolOverride,
            &join(&key, pool),
            error.to_string(),
            match endpoint.pools.contains_key(pool) {
                true => "",
                false => "this is the plugin's own manifest: use another version of it",
            },
        );
    }
}

fn pool_of(error: &PoolError) -> &str {
    match error {
        PoolError::Unknown(pool)
        | PoolError::Fixed(pool)
        | PoolError::Share(pool)
        | PoolError::Empty(pool)
        | PoolError::Reserve(pool)
        | PoolError::Endless(pool)
        | PoolError::Twice(pool)
        | PoolError::Dear { pool, .. }
        | PoolError::Duration { pool, .. }
        | PoolError::Zone { pool, .. } => pool,
    }
}

fn pool_holds(pool: &Pool, wanted: &PoolOverride, key: &str, findings: &Findings) {
    let limit = wanted.limit.unwrap_or(pool.limit);
    if !pool.overridable && limit > pool.limit {
        findings.error(
            Code::PoolOverride,
            &join(key, "limit"),
            format!(
                "{limit} is more than the vendor's {}, which no edition or add-on raises ({})",
                pool.limit, pool.source
            ),
        );
    }
    // As the pacer reckons it.
    let ours = ((limit as f64) * wanted.share) as u64;
    if ours > 0 && ours < pool.dearest() {
        let by_limit = wanted.limit.is_some_and(|limit| limit < pool.dearest());
        findings.error(
            Code::PoolOverride,
            &join(key, if by_limit { "limit" } else { "share" }),
            format!(
                "{ours} units are less than the {} that a request costs there, so it would never leave",
                pool.dearest()
            ),
        );
    }
    if limit > 0 && (limit as f64) * wanted.share < 1.0 {
        findings.error(
            Code::PoolOverride,
            &join(key, "share"),
            format!(
                "{} of {limit} is less than one request, so nothing would ever leave",
                wanted.share
            ),
        );
    }
}

/// The plugin's own opinion of its config table. Values are not repeated: one might be a secret in the
/// wrong place.
fn schema(config: &serde_json::Value, manifest: &Manifest, key: &str, findings: &Findings) {
    let given = config.as_object().is_some_and(|config| !config.is_empty());
    if manifest.config.is_empty() && given {
        let message = format!("`{}` takes no config", manifest.plugin.name);
        findings.error(Code::ConfigRefused, key, message);
        return;
    }
    let schema = serde_json::Value::Object(manifest.config.clone());
    let validator = match jsonschema::draft202012::new(&schema) {
        Ok(validator) => validator,
        Err(error) => {
            findings.error(
                Code::PluginUnusable,
                key,
                format!(
                    "the schema in the manifest of `{}` is itself wrong: {error}",
                    manifest.plugin.name
                ),
            );
            return;
        }
    };
    for error in validator.iter_errors(config) {
        let mut key = key.to_owned();
        for segment in error.instance_path().segments() {
            key = match segment {
                LocationSegment::Property(name) => join(&key, &name),
                LocationSegment::Index(index) => format!("{key}[{index}]"),
            };
        }
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = known_properties(&schema, &error.schema_path().to_string());
                for name in unexpected {
                    findings.error_with_help(
                        Code::UnknownKey,
                        &join(&key, name),
                        format!("`{name}` is not a key of `{key}`"),
                        suggest(name, known.iter().map(String::as_str)),
                    );
                }
            }
            ValidationErrorKind::Required { property } => {
                let property = property.as_str().unwrap_or_default();
                let message = format!("`{property}` is missing");
                findings.error(Code::MissingKey, &key, message);
            }
            _ => findings.error(Code::ConfigRefused, &key, error.masked().to_string()),
        }
    }
}

/// The keys that stand beside the keyword which refused another one.
fn known_properties(schema: &serde_json::Value, keyword: &str) -> Vec<String> {
    let around = keyword.rsplit_once('/').map_or("", |(around, _)| around);
    schema
        .pointer(&format!("{around}/properties"))
        .and_then(serde_json::Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}
