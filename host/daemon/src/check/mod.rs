//! `tidegate check`: everything that is wrong with a config, at once.
//!
//! Each room looks at what the ones before it left whole: the file, the plugins, the endpoints, the fields. Changes
//! nothing anywhere.
//!
//! In reading order:
//! - [`plugins`]: the components, compiled and held to their limits, but not called
//! - [`live`]: what the endpoints have
//! - [`fields`]: whether a sync's fields, keys and rules fit both sides
//! - [`lanes`], [`references`], [`actions`], [`pairs`]: whether its lane rules, references, actions and pair rules do

pub mod actions;
pub mod fields;
pub mod lanes;
pub mod live;
pub mod pairs;
pub mod plugins;
pub mod references;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tidegate_core::manifest::PluginKind;
use tidegate_core::model::field_type;
use tidegate_core::plugin::{Catalog, Demand, MappingContext, ObjectSchema, Rule, Step};
use tidegate_core::sync::Side;
use tidegate_sandbox::CallError;

use crate::config::meant::{Config, Sync};
use crate::config::places::join;
use crate::config::problem::{Code, Findings};
use fields::Schemas;
use live::{Catalogs, Reach};
use plugins::Plugins;

/// A step that `tidegate run` would take at an endpoint before the first change moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    pub endpoint: Arc<str>,
    #[serde(flatten)]
    pub step: Step,
}

/// What the mappings say of their configs, without knowing any field.
pub async fn offline(config: &Config, plugins: &Plugins, findings: &Findings) {
    mappings(config, plugins, &Catalogs::new(), findings).await;
}

/// Asks the endpoints and the mappings, and compares all of it. `reaches` holds those that could be set up.
pub async fn endpoints(
    config: &Config,
    plugins: &Plugins,
    reaches: &BTreeMap<Arc<str>, Reach>,
    findings: &Findings,
) -> Vec<Planned> {
    let catalogs = live::discover(config, reaches, findings).await;
    live::accounts(config, reaches, findings).await;
    let rules = rules(config, plugins, reaches, &catalogs, findings).await;
    plan(config, reaches, &catalogs, &rules, findings).await
}

/// What each mapping says that it does, and whether that fits what the endpoints have.
pub(crate) async fn rules(
    config: &Config,
    plugins: &Plugins,
    reaches: &BTreeMap<Arc<str>, Reach>,
    catalogs: &Catalogs,
    findings: &Findings,
) -> Rules {
    live::objects(config, reaches, catalogs, findings).await;
    live::identities(config, catalogs, findings);
    let rules = mappings(config, plugins, catalogs, findings).await;
    for (name, sync) in &config.syncs {
        let rules = rules.get(name).map_or(&[][..], Vec::as_slice);
        fields::check(sync, schemas(sync, catalogs), rules, findings);
        lanes::check(sync, schemas(sync, catalogs), findings);
        pairs::check(sync, schemas(sync, catalogs), findings);
        references::check(config, sync, schemas(sync, catalogs), rules, findings);
        actions::check(sync, schemas(sync, catalogs), rules, findings);
    }
    rules
}

fn schemas<'a>(sync: &Sync, catalogs: &'a Catalogs) -> Schemas<'a> {
    let of = |side: Side| {
        let spec = sync.spec.side(side);
        live::schema(catalogs.get(&spec.endpoint)?, &spec.object)
    };
    Schemas {
        left: of(Side::Left),
        right: of(Side::Right),
    }
}

pub(crate) type Rules = BTreeMap<Arc<str>, Vec<Rule>>;

/// What each mapping says that it does. Without catalogs a mapping judges its config alone.
async fn mappings(
    config: &Config,
    plugins: &Plugins,
    catalogs: &Catalogs,
    findings: &Findings,
) -> Rules {
    let mut rules = Rules::new();
    for (name, sync) in &config.syncs {
        let Some(mapping) = &sync.mapping else {
            continue;
        };
        let Some(plugin) = plugins.get(&mapping.plugin) else {
            continue;
        };
        if plugin.manifest().plugin.kind != PluginKind::Mapping {
            continue;
        }
        let schemas = schemas(sync, catalogs);
        let types = |schema: Option<&ObjectSchema>| {
            let fields = schema.map_or(&[][..], |schema| &schema.fields);
            fields.iter().map(field_type).collect()
        };
        let context = MappingContext {
            config: mapping.config.to_string(),
            left: types(schemas.left),
            right: types(schemas.right),
        };
        match plugin.describe(&context).await {
            Ok(described) => {
                rules.insert(name.clone(), described);
            }
            Err(error) => refused(name, &error, findings),
        }
    }
    rules
}

/// A mapping lists its mistakes one a line, each behind its place in the config table.
fn refused(sync: &str, error: &CallError, findings: &Findings) {
    let key = join(&join(&join("syncs", sync), "mapping"), "config");
    let text = match error {
        CallError::Fault(fault) => fault.message.clone(),
        other => live::told(other),
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some((place, words)) if is_place(&key, place, findings) => {
                findings.error(Code::MappingRefused, &format!("{key}.{place}"), words);
            }
            _ => findings.error(Code::MappingRefused, &key, line),
        }
    }
}

/// Whether a mapping's word is a path that begins in its config table.
fn is_place(table: &str, word: &str, findings: &Findings) -> bool {
    let root = word.split(['.', '[']).next().unwrap_or_default();
    !word.contains(char::is_whitespace) && findings.has_key(&join(table, root))
}

/// What would be set up where, for an operator to read first.
pub(crate) async fn plan(
    config: &Config,
    reaches: &BTreeMap<Arc<str>, Reach>,
    catalogs: &Catalogs,
    rules: &Rules,
    findings: &Findings,
) -> Vec<Planned> {
    let mut planned = Vec::new();
    for (name, reach) in reaches {
        // What could not be asked can't be planned for, and that was said already.
        let Some(catalog) = catalogs.get(name) else {
            continue;
        };
        let demands = demands(config, name, catalog, rules);
        if demands.is_empty() {
            continue;
        }
        match reach.plan(demands).await {
            Ok(steps) => planned.extend(steps.into_iter().map(|step| Planned {
                endpoint: name.clone(),
                step,
            })),
            Err(error) => findings.error(
                Code::EndpointUnusable,
                &join("endpoints", name),
                format!("can't be prepared: {}", live::told(&error)),
            ),
        }
    }
    planned
}

fn demands(config: &Config, endpoint: &str, catalog: &Catalog, rules: &Rules) -> Vec<Demand> {
    let mut demands = Vec::new();
    for (name, sync) in &config.syncs {
        let Some(rules) = rules.get(name) else {
            continue;
        };
        for side in Side::BOTH {
            let spec = sync.spec.side(side);
            if *spec.endpoint == *endpoint
                && let Some(schema) = live::schema(catalog, &spec.object)
            {
                let mut fields = fields::synced(rules, side, spec.key.as_deref());
                fields.extend(lanes::read(sync, side, schema));
                fields.extend(references::fields(sync, side));
                fields.extend(pairs::read(sync, side));
                fields.extend(actions::fields(sync, side));
                fields.sort_unstable();
                fields.dedup();
                demands.push(Demand {
                    object: spec.object.to_string(),
                    fields,
                    captured: true,
                    written: true,
                });
            }
        }
    }
    demands
}
