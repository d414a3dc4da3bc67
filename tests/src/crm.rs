//! A host between a database and a simulated Salesforce org, and its config.

use std::time::Duration;

use anyhow::{Result, bail};
use tidegate::control::Answer;
use tidegate::status::{Command, Done, SyncState};
use tidegate_core::hold::Scope;
use tidegate_simulator::salesforce::{Credentials, Fault, Handle, Options, When};
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

/// How long a slow call takes in an org of [`patient`]: until the test puts the clock forward, since it has less patience.
pub const SLOW_MS: u64 = 600_000;

/// Options of an org whose slow calls wait for the test.
pub fn patient() -> Options {
    Options {
        slow_ms: SLOW_MS,
        ..Options::default()
    }
}

/// Answers the calls of a [`patient`] org that wait, and all that come from now on.
pub fn let_go(org: &Handle) {
    org.set_fault(Fault::Slow, When::Rate(0.0));
    org.advance_ms(SLOW_MS);
}

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

/// Starts a host whose syncs take in everything before they write any of it, so that what they make of it is no matter of
/// how fast it came: the org, a [`patient`] one, answers nobody until they are held. `changes` says how many each takes in.
pub async fn start_full(
    host: &mut Host,
    org: &Handle,
    changes: &[(&str, u64)],
    patience: Duration,
) -> Result<()> {
    org.set_fault(Fault::Slow, When::Rate(1.0));
    host.start()?;
    host.until(patience, |_| Ok(Vec::new())).await?;
    for (sync, _) in changes {
        let what = Scope::Sync((*sync).to_owned());
        let (by, why) = ("test".to_owned(), String::new());
        match host.command(Command::Pause { what, by, why }).await? {
            Answer::Done(Done::Changed(1)) => {}
            other => bail!("{sync} is not held: {other:?}"),
        }
    }
    let_go(org);
    host.until(patience, |status| {
        let taken = |name: &str, most: u64| {
            let mut syncs = status.syncs.iter().filter(|sync| sync.name == name);
            syncs.any(|sync| sync.state == SyncState::Paused && sync.waiting == most)
        };
        let lacking = changes.iter().filter(|(name, most)| !taken(name, *most));
        Ok(lacking
            .map(|(name, most)| format!("{name} has not taken in {most}: {:?}", status.syncs))
            .collect())
    })
    .await?;
    let what = Scope::All;
    match host.command(Command::Resume { what }).await? {
        Answer::Done(Done::Resumed(resumed)) if resumed.still.is_empty() => Ok(()),
        other => bail!("still held: {other:?}"),
    }
}
