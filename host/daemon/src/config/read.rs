//! Text to [`Written`]: shapes, keys and closed lists. A part that is wrong is absent from the result, and
//! its problem is among the findings.

use tidegate_core::manifest::AuthScheme;
use tidegate_core::pace::Purpose;
use tidegate_core::sync::{ConflictPolicy, DeletePolicy, Initial};
use tidegate_sandbox::Limits;
use tidegate_store::EngineKind;
use toml::de::{DeTable, DeValue};

use super::actions;
use super::hook::WrittenAlerts;
use super::lanes::{self, LANES};
use super::meant::LogFormat;
use super::pairs;
use super::places::{Places, join};
use super::problem::{Code, Findings};
use super::references;
use super::secret::SecretRef;
use super::section::{Section, read_table, wrong_type};
use super::written::{
    Written, WrittenAccount, WrittenAuth, WrittenBrake, WrittenCache, WrittenEndpoint, WrittenHost,
    WrittenMapping, WrittenMetrics, WrittenPlugin, WrittenPool, WrittenReserve, WrittenSide,
    WrittenSync,
};

const CONFLICTS: &[(&str, ConflictPolicy)] = &[
    ("left", ConflictPolicy::Left),
    ("right", ConflictPolicy::Right),
    ("newest", ConflictPolicy::Newest),
    ("park", ConflictPolicy::Park),
];
const DELETES: &[(&str, DeletePolicy)] = &[
    ("propagate", DeletePolicy::Propagate),
    ("ignore", DeletePolicy::Ignore),
];
const INITIALS: &[(&str, Initial)] = &[
    ("left", Initial::Left),
    ("right", Initial::Right),
    ("both", Initial::Both),
    ("none", Initial::None),
];
const ENGINES: &[(&str, EngineKind)] = &[("sled", EngineKind::Sled), ("redb", EngineKind::Redb)];
const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const PURPOSES: &[(&str, Purpose)] = &[("read", Purpose::Reading), ("write", Purpose::Writing)];
const SCHEMES: &[(&str, AuthScheme)] = &[
    ("none", AuthScheme::None),
    (
        "oauth2-client-credentials",
        AuthScheme::Oauth2ClientCredentials,
    ),
    ("oauth2-refresh-token", AuthScheme::Oauth2RefreshToken),
    ("bearer", AuthScheme::Bearer),
    ("api-key-header", AuthScheme::ApiKeyHeader),
];

/// Reads the text of `file`; the name is only for places. Text that is not TOML ends in its syntax errors
/// alone: what the rest would mean is a guess.
pub(super) fn read(file: &str, text: &str) -> Result<(Written, Findings), Findings> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let findings = Findings::new(Places::of_table(file, text, table.get_ref()));
    for error in &errors {
        let byte = error.span().map_or(0, |span| span.start);
        findings.error_at(Code::Syntax, byte, error.message());
    }
    if !errors.is_empty() {
        return Err(findings);
    }
    let written = read_table("", table.get_ref(), &findings, |root| Written {
        host: root.section("host", host).unwrap_or_default(),
        alerts: root.section("alerts", |alerts| WrittenAlerts {
            url: alerts.text("url"),
            secret: secret(alerts, "secret"),
        }),
        metrics: root.section("metrics", |metrics| WrittenMetrics {
            listen: metrics.text("listen"),
        }),
        cache: root.section("cache", cache).unwrap_or_default(),
        plugins: root.sections("plugins", plugin),
        endpoints: root.sections("endpoints", endpoint),
        syncs: root.sections("syncs", sync),
    });
    Ok((written, findings))
}

fn host(section: &mut Section<'_, '_>) -> WrittenHost {
    WrittenHost {
        data: section.text("data"),
        engine: section.choice("engine", ENGINES),
        cache_bytes_max: section.count("cache-bytes-max"),
        log: section.text("log"),
        log_format: section.choice("log-format", LOG_FORMATS),
    }
}

fn cache(section: &mut Section<'_, '_>) -> WrittenCache {
    WrittenCache {
        memory_bytes_max: section.count("memory-bytes-max"),
        store_bytes_max: section.count("store-bytes-max"),
    }
}

fn plugin(section: &mut Section<'_, '_>) -> WrittenPlugin {
    WrittenPlugin {
        file: section.text("file"),
        limits: section.section("limits", limits),
    }
}

/// The sandbox's limits know their own names.
fn limits(section: &mut Section<'_, '_>) -> Limits {
    let Ok(serde_json::Value::Object(mut limits)) = serde_json::to_value(Limits::default()) else {
        return Limits::default();
    };
    for (name, limit) in &mut limits {
        if let Some(written) = section.count(name.clone()) {
            *limit = written.into();
        }
    }
    let limits: Limits = serde_json::from_value(limits.into()).unwrap_or_default();
    for name in limits.check().err().unwrap_or_default() {
        section.findings().error(
            Code::OutOfRange,
            &join(section.key(), name),
            "with a limit of 0 no call could succeed",
        );
    }
    limits
}

fn endpoint(section: &mut Section<'_, '_>) -> WrittenEndpoint {
    WrittenEndpoint {
        plugin: section.text("plugin"),
        origins: section.texts_by_name("origins"),
        allow: section.texts("allow"),
        auth: section.section("auth", auth),
        accounts: section.sections("accounts", |account| WrittenAccount {
            only: account.choice("only", PURPOSES),
            auth: auth(account),
        }),
        config: section.json("config"),
        interval_ms: section.duration_ms("interval"),
        pools: section.sections("pools", |pool| WrittenPool {
            limit: pool.count("limit"),
            share: pool.number("share"),
            reserve: pool.section("reserve", |reserve| WrittenReserve {
                normal: reserve.number("normal"),
                backfill: reserve.number("backfill"),
            }),
        }),
    }
}

/// Only the keys of the chosen scheme are known, so that a leftover of another one is noticed.
fn auth(section: &mut Section<'_, '_>) -> WrittenAuth {
    let scheme = section.choice("scheme", SCHEMES);
    let mut auth = WrittenAuth {
        scheme,
        ..WrittenAuth::default()
    };
    let chosen = |wanted: &[AuthScheme]| scheme.is_none_or(|scheme| wanted.contains(&scheme));
    let refresh = AuthScheme::Oauth2RefreshToken;
    if chosen(&[AuthScheme::Oauth2ClientCredentials, refresh]) {
        auth.client_id = secret(section, "client-id");
        auth.client_secret = secret(section, "client-secret");
    }
    if chosen(&[AuthScheme::Oauth2ClientCredentials]) {
        auth.scope = section.text("scope");
    }
    if chosen(&[refresh]) {
        auth.refresh_token = secret(section, "refresh-token");
    }
    if chosen(&[AuthScheme::Bearer]) {
        auth.token = secret(section, "token");
    }
    if chosen(&[AuthScheme::ApiKeyHeader]) {
        auth.header = section.text("header");
        auth.key = secret(section, "key");
    }
    auth
}

/// A reference to a secret; the secret itself is refused, and not repeated in the refusal.
fn secret(section: &mut Section<'_, '_>, name: &'static str) -> Option<SecretRef> {
    let (key, value) = section.raw(name)?;
    let findings = section.findings();
    let table = match value {
        DeValue::Table(table) => table,
        DeValue::String(_) => {
            findings.error_with_help(
                Code::SecretInline,
                &key,
                "a credential must not stand in this file, which is copied, committed and pasted into tickets",
                format!("write `{name} = {{ env = \"NAME\" }}` or `{name} = {{ file = \"path\" }}`"),
            );
            return None;
        }
        other => {
            wrong_type(
                &key,
                "`{ env = \"NAME\" }` or `{ file = \"path\" }`",
                other,
                findings,
            );
            return None;
        }
    };
    let (env, file) = read_table(&key, table, findings, |reference| {
        (reference.text("env"), reference.text("file"))
    });
    match (env, file) {
        (Some(name), None) => Some(SecretRef::Env(name)),
        (None, Some(path)) => Some(SecretRef::File(path.into())),
        (Some(_), Some(_)) => {
            let message = "`env` and `file` are both given; a secret has one home";
            findings.error(Code::UnknownValue, &key, message);
            None
        }
        (None, None) => {
            if table.is_empty() {
                findings.error(Code::MissingKey, &key, "`env` or `file` is missing");
            }
            None
        }
    }
}

fn sync(section: &mut Section<'_, '_>) -> WrittenSync {
    WrittenSync {
        left: section.section("left", side),
        right: section.section("right", side),
        lane: section.choice("lane", LANES),
        lanes: section.sections_in_order("lanes", lanes::read),
        weight: section.count("weight"),
        linger_ms: section.duration_ms("linger"),
        conflict: section.choice("conflict", CONFLICTS),
        field_conflicts: section.choices_by_name("field-conflicts", CONFLICTS),
        references: section.sections_in_order("references", references::read),
        pairs: section.sections_in_order("pair", pairs::read),
        actions: section.sections_in_order("actions", actions::read),
        brake: section.section("brake", |brake| WrittenBrake {
            share: brake.number("share"),
            window_ms: brake.duration_ms("window"),
            least: brake.count("least"),
        }),
        initial: section.choice("initial", INITIALS),
        queue_max: section.count("queue-max"),
        mapping: section.section("mapping", |mapping| WrittenMapping {
            plugin: mapping.text("plugin"),
            config: mapping.json("config"),
        }),
    }
}

fn side(section: &mut Section<'_, '_>) -> WrittenSide {
    WrittenSide {
        endpoint: section.text("endpoint"),
        object: section.text("object"),
        key: section.text("key"),
        deletes: section.choice("deletes", DELETES),
    }
}
