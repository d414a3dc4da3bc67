//! A host between a database and a simulated Salesforce org, and its config.

use anyhow::Result;
use tidegate_simulator::salesforce::{Credentials, Handle};
use toml::{Table, Value};

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
    config_at(org.base_url(), database, interval, rest)
}

/// The same for an org that need not be there yet.
pub fn config_at(url: &str, database: &str, interval: &str, rest: &str) -> Result<String> {
    let plugins = built::plugins(&["sqlite", "salesforce", "field-map"]).canonicalize()?;
    let endpoints = ENDPOINTS
        .replace("{plugins}", &plugins.display().to_string())
        .replace("{database}", database)
        .replace("{url}", url)
        .replace("{interval}", interval);
    Ok(format!("{endpoints}{rest}"))
}

/// A host with that config, and with the org's credentials.
pub fn host(org: &Handle, database: &str, interval: &str, rest: &str) -> Result<Host> {
    let host = Host::new(&config(org, database, interval, rest)?)?;
    host.give_credentials(&Credentials::default())?;
    Ok(host)
}

/// A sync of the table `name` of `db` with an object of `crm`: filled from the left, the org's records with the
/// table's ids as their key, and these fields carried over; without any, the mapping is another. `own` is the rest, as
/// the sync's part of the file, and says what a test is about; where it names what stands here, it counts.
pub fn sync(name: &str, object: &str, fields: &[(&str, &str)], own: &str) -> Result<String> {
    let usual = format!(
        r#"
        initial = "left"
        left = {{ endpoint = "db", object = "{name}" }}
        right = {{ endpoint = "crm", object = "{object}", key = "Tidegate_Id__c" }}
        "#
    );
    let mut sync: Table = toml::from_str(&usual)?;
    if !fields.is_empty() {
        let rules = fields
            .iter()
            .map(|(left, right)| format!("{{ left = \"{left}\", right = \"{right}\" }}"));
        let rules = rules.collect::<Vec<_>>().join(", ");
        let mapping =
            format!("mapping = {{ plugin = \"field-map\", config = {{ rules = [{rules}] }} }}");
        merge(&mut sync, toml::from_str(&mapping)?);
    }
    merge(&mut sync, toml::from_str(own)?);
    let syncs = Table::from_iter([(name.to_owned(), Value::Table(sync))]);
    let syncs = Table::from_iter([("syncs".to_owned(), Value::Table(syncs))]);
    Ok(toml::to_string(&syncs)?)
}

fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(known)), Value::Table(own)) => merge(known, own),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}
