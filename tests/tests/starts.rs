//! Each sync starts by itself: what can't start is told and tried again while the others run, and joins them
//! without a restart when it can.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use tidegate::control::Answer;
use tidegate::status::{Command, Status, SyncState, SyncStatus};
use tidegate_sandbox::embed_manifest;
use tidegate_simulator::salesforce::{Credentials, Fault, Handle, Options, Simulator, When};
use tidegate_tests::{built, crm, host::Host, things};
use tokio::net::TcpSocket;

/// What stands beside the database and the crm, of which the sync `late` is.
const BESIDE: &str = r#"
[host]
log = "info"

[plugins.whole]
file = "whole.wasm"
[plugins.hostile]
file = "{plugins}/hostile.wasm"
limits = { cpu-ms-max = 300 }
[plugins.hostile-mapping]
file = "{plugins}/hostile-mapping.wasm"

[endpoints.whole]
plugin = "whole"
origins = { main = "sqlite:whole.db" }

[endpoints.good]
plugin = "hostile"
origins = { main = "sqlite:good.db" }
[endpoints.trapping]
plugin = "hostile"
origins = { main = "sqlite:trapping.db" }
config = { call = "discover", misdeed = "panic" }
[endpoints.looping]
plugin = "hostile"
origins = { main = "sqlite:looping.db" }
config = { call = "prepare", misdeed = "loop" }
[endpoints.beside]
plugin = "hostile"
origins = { main = "sqlite:beside.db" }
[endpoints.renamed]
plugin = "hostile"
origins = { main = "sqlite:renamed.db" }

[syncs.whole-late]
initial = "left"
left = { endpoint = "whole", object = "late" }
right = { endpoint = "crm", object = "Account" }
[syncs.whole-late.mapping]
plugin = "field-map"
[syncs.whole-late.mapping.config]
rules = [{ left = "name", right = "Name" }]
[syncs.whole-beside]
initial = "left"
left = { endpoint = "whole", object = "beside" }
right = { endpoint = "beside", object = "things", key = "key" }
[syncs.whole-beside.mapping]
plugin = "hostile-mapping"
"#;

/// Syncs with a sink at the other end, and why each can't start: the first time, and the second.
const SINKS: [(&str, [&str; 2]); 4] = [
    ("good", ["", ""]),
    ("trapping", ["unreachable", "unreachable"]),
    ("looping", ["cpu-limit", "cpu-limit"]),
    ("renamed", ["", "mapping-unfit"]),
];
const ROWS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(240);

fn sync<'a>(status: &'a Status, name: &str) -> Result<&'a SyncStatus> {
    let mut syncs = status.syncs.iter();
    syncs
        .find(|sync| sync.name == name)
        .with_context(|| format!("no status of {name}"))
}

fn code(sync: &SyncStatus) -> &str {
    sync.reason.as_ref().map_or("", |told| &told.code)
}

/// Empty when those that can run have written so much, those that can't say why, and `late` is as `wanted` says.
fn amiss(
    status: &Status,
    start: usize,
    written: u64,
    wanted: impl Fn(&SyncStatus) -> bool,
) -> Result<Vec<String>> {
    let mut amiss = Vec::new();
    for (name, codes) in SINKS {
        let sync = sync(status, name)?;
        let code_wanted = codes[start];
        let as_wanted = match code_wanted {
            "" => sync.written == written && sync.state == SyncState::Running,
            _ => sync.state == SyncState::Stopped && code(sync) == code_wanted,
        };
        if !as_wanted {
            amiss.push(format!("{sync:?}"));
        }
    }
    let late = sync(status, "late")?;
    if !wanted(late) {
        amiss.push(format!("{late:?}"));
    }
    Ok(amiss)
}

/// Not started, and not for a person to mend.
fn waits(sync: &SyncStatus) -> bool {
    sync.state == SyncState::Starting && !matches!(code(sync), "" | "starting")
}

fn runs(sync: &SyncStatus) -> bool {
    sync.state == SyncState::Running && sync.waiting + sync.in_flight + sync.dead == 0
}

/// What both ends of `late` hold.
fn names(database: &Connection, org: &Handle) -> Result<[BTreeSet<String>; 2]> {
    let mut rows = database.prepare("SELECT name FROM late")?;
    let left = rows
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let contacts = org.records("Contact");
    let live = contacts.iter().filter(|record| record["IsDeleted"] != true);
    let right = live
        .filter_map(|record| record["LastName"].as_str())
        .map(str::to_owned)
        .collect();
    Ok([left, right])
}

fn even(database: &Connection, org: &Handle) -> Result<Vec<String>> {
    let [left, right] = names(database, org)?;
    let differ = left.symmetric_difference(&right);
    Ok(differ
        .map(|name| format!("{name} is on one side"))
        .collect())
}

/// Two tables at an endpoint with one position for both: one sync of them waits for the crm, the other for that sync.
fn shared(status: &Status, started: bool) -> Result<Vec<String>> {
    let (late, beside) = (sync(status, "whole-late")?, sync(status, "whole-beside")?);
    let as_wanted = if started {
        [late, beside].iter().all(|sync| runs(sync))
    } else {
        waits(late) && beside.state == SyncState::Waiting && code(beside) == "waits-for-sync"
    };
    let story = format!("{late:?} {beside:?}");
    Ok(if as_wanted { Vec::new() } else { vec![story] })
}

/// The sqlite connector as one whose outbox has a single position.
fn one_position(plugins: &Path, host: &Host) -> Result<()> {
    let manifest = include_str!("../../plugins/sqlite/plugin.toml");
    let whole = manifest.replace("cursor = \"object\"", "cursor = \"endpoint\"");
    ensure!(whole != manifest, "the manifest has another scope by now");
    let component = std::fs::read(plugins.join("sqlite.wasm"))?;
    let component = embed_manifest(&component, &whole)?;
    std::fs::write(host.path("whole.wasm"), component)?;
    Ok(())
}

fn fill(host: &Host) -> Result<Connection> {
    let rows = || (0..ROWS).map(|row| format!("Ada {row}"));
    let database = things::database(host, "things.db")?;
    for name in SINKS.map(|(name, _)| name).iter().chain(&["late"]) {
        things::table(&database, name, rows())?;
    }
    let whole = things::database(host, "whole.db")?;
    things::table(&whole, "late", rows())?;
    things::table(&whole, "beside", rows())?;
    for name in SINKS.map(|(name, _)| name).iter().chain(&["beside"]) {
        things::sink(host, name)?;
    }
    Ok(database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_not_start_keeps_no_other_from_running() -> Result<()> {
    let plugins = built::plugins(&[
        "sqlite",
        "salesforce",
        "field-map",
        "hostile",
        "hostile-mapping",
    ])
    .canonicalize()?;
    // Bound and not listened on: whoever calls is refused, and nobody else gets the port. The org may listen there beside it.
    let reserved = TcpSocket::new_v4()?;
    reserved.set_reuseaddr(true)?;
    reserved.bind("127.0.0.1:0".parse()?)?;
    let port = reserved.local_addr()?.port();
    let beside = BESIDE.replace("{plugins}", &plugins.display().to_string());
    let late = crm::sync("late", "Contact", &[("name", "LastName")], "")?;
    let url = format!("http://127.0.0.1:{port}");
    let mut config = crm::config_at(&url, "things.db", crm::USUAL, &(beside + &late))?;
    for (name, _) in SINKS {
        config += &things::sync(name);
    }
    let mut host = Host::new(&config)?;
    let credentials = Credentials::default();
    host.give_credentials(&credentials)?;
    one_position(&plugins, &host)?;
    let database = fill(&host)?;
    host.start()?;
    let status = host
        .until(PATIENCE, |status| {
            Ok([amiss(status, 0, ROWS, waits)?, shared(status, false)?].concat())
        })
        .await?;
    ensure!(
        status.syncs.iter().all(|sync| !sync.name.is_empty()) && status.syncs.len() == 7,
        "{:?}",
        status.syncs
    );
    let release = Command::ReleaseDeletes {
        sync: "late".to_owned(),
    };
    match host.command(release).await? {
        Answer::Error(error) => ensure!(error.code == "not-started", "{error:?}"),
        other => anyhow::bail!("{other:?}"),
    }

    // The dead endpoint comes to life: its sync joins those that run.
    let org = Simulator::start(Options {
        port,
        credentials,
        ..Options::default()
    })
    .await?;
    host.until(PATIENCE, |status| {
        let mut found = amiss(status, 0, ROWS, runs)?;
        found.extend(shared(status, true)?);
        found.extend(even(&database, &org)?);
        Ok(found)
    })
    .await?;
    host.stop().await?;

    // The next start finds it dead again, and a field gone that its sync had triggers for. What happens
    // meanwhile, deletes too, is kept for the late sync while others read on from the same database (invariant 1).
    org.set_fault(Fault::Refuse, When::Rate(1.0));
    org.expire_sessions();
    database.execute_batch(
        "UPDATE late SET name = 'Grace' WHERE id = 1;
         DELETE FROM late WHERE id = 2;
         ALTER TABLE renamed RENAME COLUMN name TO title;
         INSERT INTO good (name) VALUES ('before the start');",
    )?;
    host.start()?;
    host.until(PATIENCE, |status| amiss(status, 1, 1, waits))
        .await?;
    database.execute_batch(
        "DELETE FROM late WHERE id = 3;
         UPDATE late SET name = 'Mary' WHERE id = 4;
         INSERT INTO late (name) VALUES ('Joan');
         INSERT INTO good (name) VALUES ('while it waits');",
    )?;
    host.until(PATIENCE, |status| amiss(status, 1, 2, waits))
        .await?;
    let [left, right] = names(&database, &org)?;
    ensure!(left != right, "the org can't know yet");
    let log = host.log();
    ensure!(
        log.contains("no longer prepared for this sync"),
        "a field that is gone was demanded of the database: {log}"
    );
    org.set_fault(Fault::Refuse, When::Rate(0.0));
    host.until(PATIENCE, |status| {
        let mut found = amiss(status, 1, 2, runs)?;
        found.extend(even(&database, &org)?);
        Ok(found)
    })
    .await?;
    host.stop().await
}
