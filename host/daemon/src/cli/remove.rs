//! `tidegate remove`: takes away what was set up at an endpoint that is no longer synced.
//!
//! What a source had kept for us and nobody has read yet goes too. So no sync may name the endpoint any more, and no host
//! may run on the data folder meanwhile. The store is left as it is: an endpoint that names itself for good by what is
//! taken away is another one to it afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{ConnectorContext, PrepareMode, Step};
use tidegate_gateway::Call;
use tidegate_store::Store;

use super::exit::Exit;
use super::print::{Terminal, chain};
use super::runtime;
use crate::allowances;
use crate::assembly::{self, Shared};
use crate::check::live::told;
use crate::config::meant::{Config, Granted};
use crate::config::problem::{Findings, listed, suggest};
use crate::config::{self, Loaded};
use crate::host::Reached;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct RemoveArguments {
    /// The endpoint, as the config calls it. No sync may name it any more.
    endpoint: String,
}

#[derive(Debug, Serialize)]
struct Removed {
    endpoint: Arc<str>,
    removed: Vec<Step>,
}

/// Why nothing, or not all of it, was taken away.
struct Refused {
    code: String,
    message: String,
    exit: Exit,
}

fn refused(exit: Exit, code: &str, message: impl ToString) -> Refused {
    Refused {
        code: code.to_owned(),
        message: message.to_string(),
        exit,
    }
}

pub(super) fn run(path: &Path, arguments: &RemoveArguments, terminal: &Terminal) -> Exit {
    match remove(path, &arguments.endpoint) {
        Ok(removed) => {
            terminal.answer(&removed, text);
            Exit::Done
        }
        Err(Refused {
            code,
            message,
            exit,
        }) => {
            terminal.failure(&code, message);
            exit
        }
    }
}

fn remove(path: &Path, endpoint: &str) -> Result<Removed, Refused> {
    let Loaded { config, findings } = config::load(path);
    let mut credentials = config::credentials(&config, &findings);
    sound(&findings)?;
    let name = unused(&config, endpoint)?;
    let granted = credentials
        .remove(&name)
        .ok_or_else(|| refused(Exit::Usage, "config", "it has no credentials"))?;
    // A store is made by `tidegate run`; where there is one, its lock keeps a host from being started.
    let store = match assembly::store_folder(&config).exists() {
        false => None,
        true => Some(assembly::open_store(&config).map_err(|error| {
            let help = "what an endpoint has been given is taken away while no host runs on this data folder: `tidegate stop` ends it";
            refused(Exit::Store, error.code(), format!("{}; {help}", chain(&error)))
        })?),
    };
    let runtime = runtime().map_err(|error| refused(Exit::Failed, "runtime", error))?;
    runtime.block_on(ask(&config, &findings, name, granted, store.as_ref()))
}

fn sound(findings: &Findings) -> Result<(), Refused> {
    if !findings.has_errors() {
        return Ok(());
    }
    let message = format!(
        "`tidegate check` finds mistakes, so nothing is taken away\n{}",
        findings.errors_as_text()
    );
    Err(refused(Exit::Usage, "config", message))
}

/// The endpoint, if there is one of that name and no sync uses it.
fn unused(config: &Config, endpoint: &str) -> Result<Arc<str>, Refused> {
    let Some((name, _)) = config.endpoints.get_key_value(endpoint) else {
        let names = config.endpoints.keys().map(|name| &**name);
        let message = format!(
            "the config has no endpoint `{endpoint}`; {}",
            suggest(endpoint, names)
        );
        let message = message.trim_end_matches("; ");
        return Err(refused(Exit::Usage, "unknown-endpoint", message));
    };
    let users = config.syncs.values().filter(|sync| {
        let spec = &sync.spec;
        [&spec.left, &spec.right]
            .map(|side| &*side.endpoint)
            .contains(&endpoint)
    });
    let users: Vec<&str> = users.map(|sync| &*sync.spec.name).collect();
    if users.is_empty() {
        return Ok(name.clone());
    }
    let message = format!(
        "`{endpoint}` is still named by {}, and what it has kept for them would be lost; take them out of the config first",
        listed(&users)
    );
    Err(refused(Exit::Usage, "endpoint-in-use", message))
}

async fn ask(
    config: &Config,
    findings: &Findings,
    name: Arc<str>,
    granted: Granted,
    store: Option<&Store>,
) -> Result<Removed, Refused> {
    let sandbox = assembly::sandbox(config)
        .map_err(|error| refused(Exit::Failed, "sandbox", chain(&error)))?;
    let plugins = assembly::load_plugins(config, &sandbox, findings).await;
    sound(findings)?;
    let endpoint = &config.endpoints[&name];
    let plugin = &plugins[&endpoint.plugin];
    let shared = Shared::without_records("remove");
    let gateway = assembly::gateway(&name, endpoint, granted, plugin, &shared)
        .map_err(|error| refused(Exit::Usage, "endpoint", chain(&error)))?;
    if let Some(store) = store {
        let reached = Reached {
            plugin: endpoint.plugin.clone(),
            gateway: gateway.clone(),
        };
        allowances::recall(store, &BTreeMap::from([(name.clone(), reached)]))
            .map_err(|error| refused(Exit::Store, "store", chain(&error)))?;
    }
    let call = Call {
        sync: "".into(),
        function: "prepare",
        lane: Lane::Critical,
        may_write: true,
        tokens: Arc::default(),
    };
    let context = ConnectorContext {
        config: endpoint.config.to_string(),
        now: shared.clock.now().wall_us,
        rows_max: u32::MAX,
    };
    let answer = plugin
        .prepare(gateway, call, &context, Vec::new(), PrepareMode::Remove)
        .await;
    match answer {
        Ok(removed) => Ok(Removed {
            endpoint: name,
            removed,
        }),
        Err(error) => {
            let message = format!("endpoint {name}: {}", told(&error));
            Err(refused(Exit::Failed, "endpoint-unusable", message))
        }
    }
}

fn text(removed: &Removed) -> String {
    if removed.removed.is_empty() {
        return format!("nothing was set up at {}", removed.endpoint);
    }
    let lines = removed.removed.iter().map(|step| &*step.description);
    [&*format!("taken away from {}:", removed.endpoint)]
        .into_iter()
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n  ")
}
