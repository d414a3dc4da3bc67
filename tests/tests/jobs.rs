//! A host is killed at each step of a bulk job: nothing is lost, and nothing that the vendor has carried out is sent
//! again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate::status::{Status, SyncStatus};
use tidegate_simulator::salesforce::{Fault, Handle, Options, Simulator, When};
use tidegate_tests::{crm, things};

/// More than other methods carry for what a job costs.
const ROWS: u64 = 8_000;
/// Of them, those whose name the vendor refuses.
const REFUSED: u64 = ROWS / 100;
const PATIENCE: Duration = Duration::from_secs(240);

/// Where the host dies: the first request of that kind is carried out and not answered, or the vendor takes its time.
const STEPS: &[Fault] = &[
    Fault::DropJobCreate,
    Fault::DropJobUpload,
    Fault::DropJobClose,
    Fault::DropJobPoll,
    Fault::DropJobResults,
    Fault::JobSlow,
];

fn people(status: &Status, as_wanted: impl Fn(&SyncStatus) -> bool) -> Vec<String> {
    let wrong = status.syncs.iter().filter(|sync| !as_wanted(sync));
    wrong.map(|sync| format!("{sync:?}")).collect()
}

fn happened(org: &Handle, fault: Fault) -> u64 {
    org.stats()["faults"][fault.name()].as_u64().unwrap_or(0)
}

/// Every record once, written once, under the name that it has in the database.
fn each_once(org: &Handle) -> Result<()> {
    let mut written: BTreeMap<String, u32> = BTreeMap::new();
    for entry in org.journal(0) {
        if entry.object == "Contact" {
            *written.entry(entry.id.clone()).or_default() += 1;
        }
    }
    let again = written.values().filter(|times| **times > 1).count();
    ensure!(again == 0, "{again} records were written more than once");
    let contacts = org.records("Contact");
    ensure!(
        contacts.len() as u64 == ROWS - REFUSED && written.len() == contacts.len(),
        "{} contacts, {} written",
        contacts.len(),
        written.len()
    );
    for contact in contacts {
        let key = contact["Tidegate_Id__c"].as_str().context("no key")?;
        ensure!(contact["LastName"] == format!("of {key}"), "{contact}");
    }
    Ok(())
}

async fn killed_at(step: Fault) -> Result<()> {
    let org = Simulator::start(Options {
        slow_job_ms: 10_000,
        ..crm::patient()
    })
    .await?;
    let plain = crm::sync("people", "Contact", &[("name", "LastName")], "")?;
    let mut host = crm::host(&org, "people.db", "1h", &plain)?;
    let database = things::database(&host, "people.db")?;
    database.execute_batch(&format!(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO people SELECT i, CASE WHEN i % 100 = 0 THEN printf('%0300d', i) ELSE 'of ' || i END FROM n"
    ))?;
    org.set_fault(step, When::Next(1));
    // All at once, since fewer rows would not be worth a job.
    crm::start_full(&mut host, &org, &[("people", ROWS)], PATIENCE).await?;
    host.until(PATIENCE, |status| {
        let reached = happened(&org, step) > 0;
        Ok(if reached {
            Vec::new()
        } else {
            vec![format!("{status:?}")]
        })
    })
    .await?;
    host.kill()?;

    host.start()?;
    let done = |sync: &SyncStatus| {
        let idle = sync.waiting + sync.in_flight == 0 && sync.jobs.is_empty();
        idle && sync.records == ROWS && sync.dead == REFUSED
    };
    host.until(PATIENCE, |status| Ok(people(status, done)))
        .await?;
    each_once(&org)?;
    host.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_of_a_job_loses_and_resends_nothing() -> Result<()> {
    for step in STEPS {
        killed_at(*step)
            .await
            .with_context(|| format!("killed at {step}"))?;
        println!("killed at {step}: nothing lost, nothing sent again");
    }
    Ok(())
}
