//! Whoever watches a first sync sees how far each side is read, how fast that goes and how long it will take, also after a
//! kill; and of what was written, that every row that left has come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tidegate::control::{Answer, Request};
use tidegate::status::{Command, FirstReadStatus, Status, SyncStatus, WritesStatus};
use tidegate_core::hold::Scope;
use tidegate_core::sync::Side;
use tidegate_simulator::salesforce::{Fault, Handle, Options, Simulator, When};
use tidegate_tests::{built, crm, outsider::Outsider, things};

/// Nobody pairs; but nothing is written before both sides are read.
const PAIRED: &str = r#"
initial = "both"
left = { key = "contact_id" }
pair = [{ left = "name", right = "LastName" }]
"#;

const HERE: u64 = 1_500;
const THERE: u64 = 2_000;
/// What the org brings at once.
const PAGE: u64 = 200;
/// Of those here, the ones whose name the org refuses.
const TOO_LONG: u64 = 5;
/// Lost answers are waited out.
const PATIENCE: Duration = Duration::from_secs(300);

fn people(status: &Status) -> Result<&SyncStatus> {
    status.syncs.first().context("no sync")
}

fn of_side(status: &Status, side: Side) -> Option<FirstReadStatus> {
    let reads = status.syncs.first().map(|sync| &sync.first_reads);
    let mut reads = reads.into_iter().flatten();
    reads.find(|read| read.side == side).cloned()
}

/// Under way with so many rows at least, and somebody can tell for how long. The org answers as many calls as that takes.
fn tells(org: &Handle, status: &Status, least: u64) -> Vec<String> {
    let rows = of_side(status, Side::Right).map_or(0, |read| read.rows);
    if rows < least {
        org.advance_ms(crm::SLOW_MS);
    }
    let read = of_side(status, Side::Right);
    let tells = read.as_ref().is_some_and(|read| {
        let paces = read.per_s.is_some_and(|per_s| per_s > 0.0) && read.left_ms.is_some();
        (least..THERE).contains(&read.rows) && read.of == Some(THERE) && !read.done && paces
    });
    match tells {
        true => Vec::new(),
        false => vec![format!("{read:?}")],
    }
}

fn ended(writes: WritesStatus) -> u64 {
    writes.done + writes.failed + writes.unknown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_sync_tells_how_far_it_is_and_its_counts_add_up() -> Result<()> {
    let org = Simulator::start(Options {
        page_rows_max: PAGE as usize,
        ..crm::patient()
    })
    .await?;
    let outsider = Outsider::login(&org).await?;
    for first in (0..THERE).step_by(200) {
        let records: Vec<_> = (first..first + 200)
            .map(|i| json!({ "attributes": { "type": "Contact" }, "LastName": format!("there {i}") }))
            .collect();
        let body = json!({ "allOrNone": true, "records": records });
        outsider
            .call("POST", "/composite/sobjects", Some(&body))
            .await?;
    }
    let sync = crm::sync("people", "Contact", &[("name", "LastName")], PAIRED)?;
    let mut host = crm::host(&org, "people.db", "500ms", &sync)?;
    let database = things::database(&host, "people.db")?;
    database.execute_batch(&format!(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, contact_id TEXT UNIQUE);
         WITH RECURSIVE up(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM up WHERE i < {HERE})
             INSERT INTO people (name)
                 SELECT CASE WHEN i <= {TOO_LONG} THEN printf('%0300d', i) ELSE 'here ' || i END FROM up;"
    ))?;

    org.set_fault(Fault::Slow, When::Rate(1.0));
    host.start()?;
    let status = host
        .until(PATIENCE, |status| Ok(tells(&org, status, 2 * PAGE)))
        .await?;
    let before = of_side(&status, Side::Right).context("a read")?;
    let left = of_side(&status, Side::Left).context("a read")?;
    ensure!(left.of == Some(HERE), "{left:?}");
    let Answer::Metrics(figures) = host.ask(&Request::Metrics).await? else {
        anyhow::bail!("no figures");
    };
    let expected =
        format!("tidegate_first_read_rows_expected{{sync=\"people\",side=\"right\"}} {THERE}");
    ensure!(figures.contains(&expected), "{figures}");
    ensure!(
        figures.contains("tidegate_first_read_left_seconds"),
        "{figures}"
    );

    let output = std::process::Command::new(built::program())
        .args(["status", "--config"])
        .arg(host.path("tidegate.toml"))
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("the right is read whole: "), "{text}");
    ensure!(text.contains(" of 2,000 rows, "), "{text}");
    ensure!(
        text.contains("rows of the right are [first-contact]"),
        "{text}"
    );
    println!("{text}");

    // What was read before a kill counts on; how many there are is not asked again.
    host.kill()?;
    host.start()?;
    let status = host
        .until(PATIENCE, |status| {
            let counted = of_side(status, Side::Right).map(|read| read.rows);
            let counted = counted.unwrap_or(before.rows);
            ensure!(counted >= before.rows, "it begins anew: {counted}");
            Ok(tells(&org, status, before.rows + 2 * PAGE))
        })
        .await?;
    ensure!(people(&status)?.first_reads.len() <= 2, "{status:?}");

    // Rows are refused and answers are lost while all of it is written: at first every answer, later some.
    let what = Scope::Sync("people".to_owned());
    let (by, why) = ("test".to_owned(), String::new());
    host.command(Command::Pause { what, by, why }).await?;
    crm::let_go(&org);
    host.until(PATIENCE, |status| {
        let done = of_side(status, Side::Right).is_some_and(|read| read.done);
        Ok((!done).then(|| format!("{status:?}")).into_iter().collect())
    })
    .await?;
    org.set_fault(Fault::Drop, When::Rate(1.0));
    org.set_fault(Fault::LockRows, When::Rate(0.1));
    let what = Scope::Sync("people".to_owned());
    host.command(Command::Resume { what }).await?;
    host.until(PATIENCE, |status| {
        let writes = people(status)?.writes;
        ensure!(writes.sent >= ended(writes), "{writes:?}");
        Ok((writes.unknown == 0)
            .then(|| format!("{writes:?}"))
            .into_iter()
            .collect())
    })
    .await?;
    org.set_fault(Fault::Drop, When::Rate(0.1));
    let all = HERE + THERE;
    let status = host
        .until(PATIENCE, |status| {
            let sync = people(status)?;
            let rests = sync.waiting + sync.in_flight == 0 && sync.records == all;
            let amiss = (!rests || !sync.jobs.is_empty() || sync.dead != TOO_LONG)
                .then(|| format!("{sync:?}"));
            Ok(amiss.into_iter().collect())
        })
        .await?;
    let sync = people(&status)?;
    let writes = sync.writes;
    ensure!(writes.sent == ended(writes), "{writes:?}");
    ensure!(
        writes.failed >= TOO_LONG && writes.unknown > 0,
        "there was no fault: {writes:?}"
    );
    ensure!(writes.done == sync.written, "{writes:?} {sync:?}");
    ensure!(
        sync.settling.done >= all - TOO_LONG && sync.settling.waiting == 0,
        "{:?}",
        sync.settling
    );
    ensure!(sync.settling.left_ms == Some(0), "{:?}", sync.settling);
    for (side, rows) in [(Side::Left, HERE), (Side::Right, THERE)] {
        if let Some(read) = of_side(&status, side) {
            ensure!(read.done && read.left_ms == Some(0), "{read:?}");
            ensure!(read.rows == rows, "{read:?}");
        }
    }
    let made = org.records("Contact").len() as u64;
    ensure!(made == all - TOO_LONG, "{made} of {all}");
    host.stop().await
}
