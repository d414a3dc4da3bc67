//! A host between a database and a simulated Salesforce org: what its config says before the syncs.

use anyhow::Result;
use tidegate_simulator::salesforce::{Credentials, Handle};

use crate::built;
use crate::host::Host;

const ENDPOINTS: &str = r#"
[plugins.sqlite]
file = "{plugins}/sqlite.wasm"
[plugins.salesforce]
file = "{plugins}/salesforce.wasm"
[plugins.field-map]
file = "{plugins}/field-map.wasm"

[endpoints.db]
plugin = "sqlite"
origins = { main = "sqlite:{database}" }
[endpoints.crm]
plugin = "salesforce"
origins = { main = "{url}" }
interval = "{interval}"
[endpoints.crm.auth]
scheme = "oauth2-client-credentials"
client-id = { file = "client-id" }
client-secret = { file = "client-secret" }
"#;

/// How often the connector asks the org unless it is told otherwise.
pub const USUAL: &str = "5s";

/// Plugins, and the endpoints `db`, a file of the host's folder, and `crm`, which is asked every `interval`; `rest` stands
/// behind.
pub fn config(org: &Handle, database: &str, interval: &str, rest: &str) -> Result<String> {
    let plugins = built::plugins(&["sqlite", "salesforce", "field-map"]).canonicalize()?;
    let endpoints = ENDPOINTS
        .replace("{plugins}", &plugins.display().to_string())
        .replace("{database}", database)
        .replace("{url}", org.base_url())
        .replace("{interval}", interval);
    Ok(format!("{endpoints}{rest}"))
}

/// A host with that config, and with the org's credentials.
pub fn host(org: &Handle, database: &str, interval: &str, rest: &str) -> Result<Host> {
    let host = Host::new(&config(org, database, interval, rest)?)?;
    host.give_credentials(&Credentials::default())?;
    Ok(host)
}
