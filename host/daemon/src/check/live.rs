//! Asks the endpoints what they have, and their plugins what they would set up. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{Catalog, ConnectorContext, Demand, ObjectSchema, PrepareMode, Step};
use tidegate_core::sync::Side;
use tidegate_gateway::{Call, Outside};
use tidegate_sandbox::{CallError, Plugin};

use crate::config::meant::{Config, Sync};
use crate::config::places::join;
use crate::config::problem::{Code, Findings, suggest};

/// An endpoint that can be asked.
pub struct Reach {
    pub plugin: Arc<Plugin>,
    pub outside: Arc<dyn Outside>,
    /// The same by each of its further credentials.
    pub others: BTreeMap<Arc<str>, Arc<dyn Outside>>,
    /// The endpoint's config table as JSON.
    pub config: String,
    /// Microseconds since 1970.
    pub now_us: i64,
}

impl Reach {
    fn context(&self) -> ConnectorContext {
        ConnectorContext {
            config: self.config.clone(),
            now: self.now_us,
            rows_max: 1,
        }
    }

    async fn discover(&self, objects: Vec<String>) -> Result<Catalog, CallError> {
        self.discover_by(&self.outside, objects).await
    }

    async fn discover_by(
        &self,
        outside: &Arc<dyn Outside>,
        objects: Vec<String>,
    ) -> Result<Catalog, CallError> {
        let (call, context) = (reading("discover"), self.context());
        self.plugin
            .discover(outside.clone(), call, &context, objects)
            .await
    }

    /// How many records its objects have, where that is cheap to know.
    pub(crate) async fn count(&self, objects: Vec<String>) -> Result<Vec<Option<u64>>, CallError> {
        let (call, context) = (reading("count"), self.context());
        self.plugin
            .count(self.outside.clone(), call, &context, objects)
            .await
    }

    /// What would be set up at the endpoint.
    pub(super) async fn plan(&self, demands: Vec<Demand>) -> Result<Vec<Step>, CallError> {
        self.plugin
            .prepare(
                self.outside.clone(),
                reading("prepare"),
                &self.context(),
                demands,
                PrepareMode::Plan,
            )
            .await
    }
}

fn reading(function: &'static str) -> Call {
    Call {
        sync: "".into(),
        function,
        lane: Lane::Critical,
        may_write: false,
        tokens: Arc::default(),
    }
}

pub(crate) type Catalogs = BTreeMap<Arc<str>, Catalog>;

/// Describes every object that a sync names, all endpoints at once.
pub(crate) async fn discover(
    config: &Config,
    reaches: &BTreeMap<Arc<str>, Reach>,
    findings: &Findings,
) -> Catalogs {
    let asked = reaches.iter().map(async |(name, reach)| {
        let objects = objects_of(config, name);
        let answer = reach.discover(objects.into_iter().collect()).await;
        (name.clone(), answer)
    });
    let mut catalogs = Catalogs::new();
    for (name, answer) in join_all(asked).await {
        match answer {
            Ok(catalog) => {
                catalogs.insert(name, catalog);
            }
            Err(error) => findings.error(
                Code::EndpointUnusable,
                &join("endpoints", &name),
                format!("can't be asked: {}", told(&error)),
            ),
        }
    }
    catalogs
}

/// Has each endpoint asked by each of its further credentials, which must see what its own sees.
pub(super) async fn accounts(
    config: &Config,
    reaches: &BTreeMap<Arc<str>, Reach>,
    findings: &Findings,
) {
    for (name, reach) in reaches {
        let key = join(&join("endpoints", name), "accounts");
        let asked = reach.others.iter().map(async |(account, outside)| {
            let objects = objects_of(config, name).into_iter().collect();
            (account, reach.discover_by(outside, objects).await)
        });
        for (account, answer) in join_all(asked).await {
            if let Err(error) = answer {
                let message = format!("can't be asked by it: {}", told(&error));
                findings.error(Code::EndpointUnusable, &join(&key, account), message);
            }
        }
    }
}

/// The words of a failed call, and its code once.
pub(crate) fn told(error: &CallError) -> String {
    let message = match error {
        CallError::Fault(fault) => &fault.message,
        CallError::Breach { message, .. }
        | CallError::Trap { message, .. }
        | CallError::Contract { message, .. } => message,
    };
    format!("{message} [{}]", error.code())
}

fn objects_of(config: &Config, endpoint: &str) -> BTreeSet<String> {
    sides(config)
        .filter(|(_, side, sync)| &*sync.spec.side(*side).endpoint == endpoint)
        .map(|(_, side, sync)| sync.spec.side(side).object.to_string())
        .collect()
}

fn sides(config: &Config) -> impl Iterator<Item = (&Arc<str>, Side, &Sync)> {
    config
        .syncs
        .iter()
        .flat_map(|(name, sync)| Side::BOTH.map(|side| (name, side, sync)))
}

/// Reports objects that are not there, with the names that are.
pub(super) async fn objects(
    config: &Config,
    reaches: &BTreeMap<Arc<str>, Reach>,
    catalogs: &Catalogs,
    findings: &Findings,
) {
    for (name, side, sync) in sides(config) {
        let spec = sync.spec.side(side);
        let (Some(catalog), Some(reach)) =
            (catalogs.get(&spec.endpoint), reaches.get(&spec.endpoint))
        else {
            continue;
        };
        if schema(catalog, &spec.object).is_some() {
            continue;
        }
        // The names only serve the suggestion, so that not getting them is no problem of its own.
        let names = match reach.discover(Vec::new()).await {
            Ok(all) => all.objects.into_iter().map(|object| object.name).collect(),
            Err(_) => Vec::new(),
        };
        let key = join(&join(&join("syncs", name), &side.to_string()), "object");
        findings.error_with_help(
            Code::UnknownObject,
            &key,
            format!(
                "`{}` has no object `{}`, or the credentials may not see it",
                spec.endpoint, spec.object
            ),
            suggest(&spec.object, names.iter().map(String::as_str)),
        );
    }
}

pub(crate) fn schema<'a>(catalog: &'a Catalog, object: &str) -> Option<&'a ObjectSchema> {
    catalog.objects.iter().find(|found| found.name == object)
}

/// Two endpoints that turn out to be one system must not both have the same object synced.
pub(super) fn identities(config: &Config, catalogs: &Catalogs, findings: &Findings) {
    let mut owners: BTreeMap<(&str, &str), (String, &str)> = BTreeMap::new();
    for (name, side, sync) in sides(config) {
        let spec = sync.spec.side(side);
        let Some(catalog) = catalogs.get(&spec.endpoint) else {
            continue;
        };
        let here = join(&join("syncs", name), &side.to_string());
        let claim = (catalog.identity.as_str(), &*spec.object);
        match owners.get(&claim) {
            None => {
                owners.insert(claim, (here, &spec.endpoint));
            }
            // One endpoint twice was found without asking.
            Some((_, endpoint)) if **endpoint == *spec.endpoint => {}
            Some((other, endpoint)) => findings.error(
                Code::SharedObject,
                &join(&here, "object"),
                format!(
                    "`{}` and `{endpoint}` are one system, and `{other}` writes its `{}` already",
                    spec.endpoint, spec.object
                ),
            ),
        }
    }
}
