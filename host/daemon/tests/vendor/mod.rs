//! Endpoints of a vendor that nobody calls: what is drawn from its pools is noted by the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate::host::Reached;
use tidegate_core::manifest::Manifest;
use tidegate_gateway::{
    Allowances, Answers, AuthSpec, Dependencies, Egress, EndpointSpec, Gateway, Intent, Journal,
    JournalError, Limits, ManualClock, Origin,
};

const PLUGIN: &str = r#"
[plugin]
name = "vendor"
version = "1.0.0"
kind = "connector"
wit = "0.1.0"
[[origins]]
name = "main"
protocol = "https"
"#;

struct NoWrites;

impl Journal for NoWrites {
    fn intend(&self, _: Intent) -> BoxFuture<'_, Result<(), JournalError>> {
        async { Ok(()) }.boxed()
    }
}

pub(crate) fn manifest(pools: &str) -> Manifest {
    toml::from_str(&format!("{PLUGIN}{pools}")).expect("a manifest")
}

/// Endpoints of these names, which share one account.
pub(crate) fn endpoints(
    names: &[&str],
    pools: &str,
    clock: &ManualClock,
) -> BTreeMap<Arc<str>, Reached> {
    let allowances = Allowances::default();
    let reached = |name: &&str| {
        let main = Origin::parse("http://127.0.0.1:9").expect("an origin");
        let spec = EndpointSpec {
            name: (*name).into(),
            origins: BTreeMap::from([("main".to_owned(), main)]),
            auth: AuthSpec::None,
            accounts: Vec::new(),
            manifest: Arc::new(manifest(pools)),
            pools: BTreeMap::new(),
            egress: Egress::default(),
            limits: Limits::default(),
        };
        let dependencies = Dependencies {
            clock: Arc::new(clock.clone()),
            journal: Arc::new(NoWrites),
            allowances: allowances.clone(),
            answers: Answers::default(),
            seed: 1,
        };
        let reached = Reached {
            plugin: "vendor".into(),
            gateway: Gateway::new(spec, dependencies).expect("a gateway"),
        };
        ((*name).into(), reached)
    };
    names.iter().map(reached).collect()
}
