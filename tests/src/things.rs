//! Tables of things, for hosts with plugins that misbehave: each sync reads a table of its own name, maps with the
//! hostile mapping, and writes to an endpoint of its own name, whose sink keeps nothing.

use std::time::Duration;

use anyhow::Result;
use rusqlite::Connection;

use crate::host::Host;

/// The config of one such sync.
pub fn sync(name: &str) -> String {
    format!(
        r#"
[syncs.{name}]
initial = "left"
left = {{ endpoint = "db", object = "{name}" }}
right = {{ endpoint = "{name}", object = "things", key = "key" }}
[syncs.{name}.mapping]
plugin = "hostile-mapping"
"#
    )
}

/// A database of the host's folder, which the host may be writing to.
pub fn database(host: &Host, file: &str) -> Result<Connection> {
    let database = Connection::open(host.path(file))?;
    database.busy_timeout(Duration::from_secs(20))?;
    Ok(database)
}

/// A table with these names, whose ids count from 1.
pub fn table(
    database: &Connection,
    table: &str,
    names: impl IntoIterator<Item = String>,
) -> Result<()> {
    database.execute_batch(&format!(
        "CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)"
    ))?;
    let mut insert = database.prepare(&format!("INSERT INTO {table} (name) VALUES (?1)"))?;
    for name in names {
        insert.execute([name])?;
    }
    Ok(())
}

/// What an endpoint is made for must be there, though it keeps nothing.
pub fn sink(host: &Host, name: &str) -> Result<()> {
    let sink = Connection::open(host.path(&format!("{name}.db")))?;
    Ok(sink.execute_batch("CREATE TABLE sink (id INTEGER)")?)
}
