//! A host whose disk fills up or fails under it: it stops and says why, has promised nothing that it did not keep, and
//! goes on where it was once there is room. The org, its journal and the database are the ledger.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tidegate::status::SyncState;
use tidegate_simulator::salesforce::{Handle, Options, Simulator};
use tidegate_tests::{built, host::Host};

const PATIENCE: Duration = Duration::from_secs(120);
/// How long a host has before more changes come, and how often they do.
const MORE: Duration = Duration::from_secs(2);
/// People that are new before each start.
const PEOPLE: usize = 60;

const CONFIG: &str = r#"
[host]
engine = "{engine}"
[plugins]
salesforce = { file = "{plugins}/salesforce.wasm" }
sqlite = { file = "{plugins}/sqlite.wasm" }
field-map = { file = "{plugins}/field-map.wasm" }

[endpoints.db]
plugin = "sqlite"
origins = { main = "sqlite:people.db" }
[endpoints.crm]
plugin = "salesforce"
origins = { main = "{org}" }
[endpoints.crm.auth]
scheme = "oauth2-client-credentials"
client-id = { file = "client-id" }
client-secret = { file = "client-secret" }

[syncs.people]
conflict = "newest"
initial = "both"
left = { endpoint = "db", object = "people", key = "salesforce_id" }
right = { endpoint = "crm", object = "Contact", key = "Tidegate_Id__c" }
[syncs.people.mapping]
plugin = "field-map"
[syncs.people.mapping.config]
rules = [{ left = "last_name", right = "LastName" }]
"#;

/// What goes wrong with the disk: a variable of the shim, its values one start after the other, and the store's code.
struct Fault {
    variable: &'static str,
    values: &'static [u32],
    code: &'static str,
}

const FAULTS: [Fault; 2] = [
    // From a store that can't be made to one that fills up while rows are written.
    Fault {
        variable: "CRASH_FULL_AFTER",
        values: &[0, 3_000, 30_000, 60_000, 100_000],
        code: "store-full",
    },
    // A sync that fails after the birth of the store: of a page, of an intent, of what was settled.
    Fault {
        variable: "CRASH_FAIL_SYNC",
        values: &[3, 4, 5, 6, 8],
        code: "store-io",
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_disk_fails_stops_and_loses_nothing() {
    for engine in ["sled", "redb"] {
        for fault in &FAULTS {
            if let Err(error) = play(engine, fault).await {
                panic!("{engine}, {}: {error:#}", fault.variable);
            }
        }
    }
}

async fn play(engine: &str, fault: &Fault) -> Result<()> {
    let plugins = built::plugins(&["salesforce", "sqlite", "field-map"]).canonicalize()?;
    let options = Options::default();
    let credentials = options.credentials.clone();
    let org = Simulator::start(options).await?;
    let config = CONFIG
        .replace("{engine}", engine)
        .replace("{plugins}", &plugins.display().to_string())
        .replace("{org}", org.base_url());
    let mut host = Host::new(&config)?;
    host.give_credentials(&credentials)?;
    let store = host.path("data/store");
    let mirror = host.path("mirror");
    std::fs::create_dir(&store)?;
    std::fs::create_dir(&mirror)?;
    let shim = shim(&host.path("shim.so"))?;
    let people = Connection::open(host.path("people.db"))?;
    people.busy_timeout(Duration::from_secs(20))?;
    people.pragma_update(None, "journal_mode", "WAL")?;
    people.execute_batch(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, salesforce_id TEXT UNIQUE, last_name TEXT NOT NULL)",
    )?;

    let mut changes = 0;
    for value in fault.values {
        change(&people)?;
        changes += 1;
        let environment = [
            ("LD_PRELOAD", shim.display().to_string()),
            ("CRASH_ROOT", store.display().to_string()),
            ("CRASH_MIRROR", mirror.display().to_string()),
            (fault.variable, value.to_string()),
        ];
        host.start_with(&environment)?;
        // How many syncs a batch needs is the machine's business, so more changes come until the disk has failed.
        let ended = {
            let mut ended = std::pin::pin!(host.ended(PATIENCE));
            loop {
                tokio::select! {
                    ended = &mut ended => break ended?,
                    () = tokio::time::sleep(MORE) => {
                        change(&people)?;
                        changes += 1;
                    }
                }
            }
        };
        let log = host.log();
        ensure!(ended == Some(3), "{value}: ended with {ended:?}\n{log}");
        ensure!(
            log.contains(fault.code),
            "{value}: no {} in\n{log}",
            fault.code
        );
    }
    host.start()?;
    host.until(PATIENCE, |status| {
        let sync = &status.syncs[0];
        let mut amiss = differences(&people, &org)?;
        if sync.waiting + sync.in_flight + sync.dead > 0 || sync.state != SyncState::Running {
            amiss.push(format!("{sync:?}"));
        }
        Ok(amiss)
    })
    .await?;
    host.stop().await?;
    let created = org
        .journal(0)
        .iter()
        .filter(|entry| &*entry.op == "create")
        .count();
    let wanted = changes * PEOPLE;
    ensure!(
        created == wanted,
        "{created} contacts were made for {wanted} people"
    );
    Ok(())
}

/// New people, and new names for some of the old ones.
fn change(people: &Connection) -> Result<()> {
    people.execute_batch("BEGIN")?;
    people.execute(
        "UPDATE people SET last_name = last_name || '+' WHERE id % 3 = 0",
        [],
    )?;
    for number in 0..PEOPLE {
        let name = format!("Person {number}");
        people.execute("INSERT INTO people (last_name) VALUES (?1)", [name])?;
    }
    Ok(people.execute_batch("COMMIT")?)
}

/// What is not the same on both sides.
fn differences(people: &Connection, org: &Handle) -> Result<Vec<String>> {
    let mut statement = people.prepare("SELECT id, last_name FROM people")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?.to_string(), row.get::<_, String>(1)?))
    })?;
    let here: BTreeMap<String, String> = rows.collect::<Result<_, _>>()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let there: BTreeMap<String, String> = org
        .records("Contact")
        .iter()
        .map(|record| (text(&record["Tidegate_Id__c"]), text(&record["LastName"])))
        .collect();
    let amiss = here
        .iter()
        .filter(|(id, name)| there.get(*id) != Some(name));
    let mut amiss: Vec<String> = amiss
        .map(|(id, name)| format!("{id} is not {name}"))
        .collect();
    if here.len() != there.len() {
        amiss.push(format!("{} people, {} contacts", here.len(), there.len()));
    }
    Ok(amiss)
}

/// The store's own shim, which stands between a process and its disk.
fn shim(target: &Path) -> Result<PathBuf> {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../host/store/examples/crash/shim.c"
    );
    let built = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-pthread", "-o"])
        .arg(target)
        .arg(source)
        .arg("-ldl")
        .status()
        .context(
            "the shim needs a C compiler named cc; on Debian: apt-get install gcc libc6-dev",
        )?;
    ensure!(built.success(), "the shim was not built: {built}");
    Ok(target.to_owned())
}
