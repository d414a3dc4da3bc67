//! How fast it goes when nothing holds it back: an org without limits is filled from the database, then every
//! person is changed, and then the host is started once more with nothing to do.
//!
//! [`Ground`] is what all this happens on, also for programs that are held against the host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::org::Org;
use super::report::Timer;
use super::stage::{CLIENT_ID, CLIENT_SECRET, POLL, Stage, UNLIMITED};
use super::{Scene, people};
use crate::status::{SyncState, SyncStatus};

/// What some work took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub records: u64,
    /// Until the last change was captured and queued; the host's start is part of a first sync.
    pub captured_s: f64,
    /// Until the last was written.
    pub written_s: f64,
    /// Processor time of the host, all threads together, until the last was written.
    pub cpu_s: f64,
    pub api_calls: u64,
}

impl Phase {
    pub fn records_per_s(&self) -> f64 {
        self.records as f64 / self.written_s
    }

    pub fn captured_per_s(&self) -> f64 {
        self.records as f64 / self.captured_s
    }

    pub fn cpu_us_per_record(&self) -> f64 {
        self.cpu_s * 1e6 / self.records as f64
    }
}

/// What a host did that was started with everything in step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rerun {
    /// Writes in the org's journal, whoever made them.
    pub org_writes: u64,
    /// Records that the host says it wrote, to either side.
    pub written: u64,
    /// Changes that it took for new.
    pub captured: u64,
    /// Until it ran.
    pub starting_calls: u64,
    /// In `resting_s` after that.
    pub resting_calls: u64,
    pub resting_s: f64,
    /// All of these calls, by what the org calls them.
    pub calls: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    pub first_sync: Phase,
    /// Every person changed in the database by one statement.
    pub changes: Phase,
    pub rerun: Rerun,
    pub peak_rss_mb: u64,
    /// Of a host that starts with everything in step.
    pub started_rss_mb: u64,
}

/// A database of people, and an org that has none of them yet and no limits; it is a process of its own.
pub struct Ground {
    stage: Stage,
    org: Org,
}

impl Ground {
    /// # Errors
    ///
    /// When the database can't be made or the simulator not started.
    pub async fn lay(scene: &Scene) -> Result<Self> {
        let mut stage = Stage::set(scene)?;
        people::create(&stage.database(), scene.records, scene.seed)?;
        let org = Org::new(stage.start_simulator(&UNLIMITED).await?);
        Ok(Self { stage, org })
    }

    pub fn database(&self) -> PathBuf {
        self.stage.database()
    }

    /// The org's address.
    pub fn org(&self) -> &str {
        self.org.base()
    }

    /// A client id and its secret that the org accepts.
    pub fn credentials(&self) -> (&'static str, &'static str) {
        (CLIENT_ID, CLIENT_SECRET)
    }

    /// API calls that the org has counted.
    ///
    /// # Errors
    ///
    /// When the org does not answer.
    pub async fn api_calls(&self) -> Result<u64> {
        self.org.calls_total().await
    }

    /// Contacts in the org.
    ///
    /// # Errors
    ///
    /// When the org does not answer.
    pub async fn contacts(&self) -> Result<u64> {
        self.org.live("Contact").await
    }
}

/// Loads an org, and measures it.
///
/// # Errors
///
/// When a part can't be started, or does not come to rest.
pub async fn load(scene: &Scene) -> Result<Loaded> {
    let Ground { mut stage, org } = Ground::lay(scene).await?;
    stage.check_config().await?;
    let course = Course::begin(&stage, &org, scene.records, &SyncStatus::default()).await?;
    stage.start_host()?;
    let first_sync = course.run(&mut stage, &org).await?;
    let still = wait(&mut stage, scene.records, is_idle).await?;
    let course = Course::begin(&stage, &org, scene.records, &still).await?;
    people::open(&stage.database())?.execute("UPDATE people SET phone = '+1 ' || id", [])?;
    let changes = course.run(&mut stage, &org).await?;
    rest(&mut stage, scene.records).await?;
    let peak_rss_mb = stage.host_memory_kb() / 1024;
    stage.stop_host().await?;
    let rerun = rerun(&mut stage, &org, scene.records).await?;
    let started_rss_mb = stage.host_memory_kb() / 1024;
    stage.stop_host().await?;
    Ok(Loaded {
        first_sync,
        changes,
        rerun,
        peak_rss_mb,
        started_rss_mb,
    })
}

/// Starts the host with everything in step, and leaves it running.
async fn rerun(stage: &mut Stage, org: &Org, records: u32) -> Result<Rerun> {
    let before = org.counted().await?;
    stage.start_host()?;
    wait(stage, records, |sync| sync.state == SyncState::Running).await?;
    let started = org.counted().await?;
    let timer = Timer::start();
    let sync = rest(stage, records).await?;
    let resting_s = timer.seconds();
    let rested = org.counted().await?;
    let mut calls = rested.calls.clone();
    for (kind, count) in &mut calls {
        *count -= before.calls.get(kind).copied().unwrap_or(0);
    }
    calls.retain(|_, count| *count > 0);
    Ok(Rerun {
        org_writes: rested.writes - before.writes,
        written: sync.written,
        captured: sync.captured,
        starting_calls: started.total() - before.total(),
        resting_calls: rested.total() - started.total(),
        resting_s,
        calls,
    })
}

const LOOK: Duration = Duration::from_millis(20);
/// Nothing may take longer than this, plus what the records need.
const SECONDS_MAX: u32 = 600;
const RECORDS_PER_SECOND_LEAST: u32 = 1_000;

fn is_idle(sync: &SyncStatus) -> bool {
    sync.waiting + sync.in_flight == 0
}

/// Waits until the sync is as asked, and says how it stands then.
async fn wait(
    stage: &mut Stage,
    records: u32,
    until: impl Fn(&SyncStatus) -> bool,
) -> Result<SyncStatus> {
    let seconds_max = f64::from(SECONDS_MAX + records / RECORDS_PER_SECOND_LEAST);
    let timer = Timer::start();
    loop {
        stage.check_host()?;
        let status = stage.status().await.unwrap_or_default();
        if let Some(sync) = status.syncs.into_iter().next().filter(&until) {
            return Ok(sync);
        }
        if timer.seconds() > seconds_max {
            stage.keep();
            bail!(
                "not done after {seconds_max} s; logs and data are in {}",
                stage.folder().display()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until both sides have been asked for changes and neither had any: what the org made of our writes comes back.
async fn rest(stage: &mut Stage, records: u32) -> Result<SyncStatus> {
    let at_rest = |sync: &SyncStatus| sync.state == SyncState::Running && is_idle(sync);
    let mut sync = wait(stage, records, at_rest).await?;
    loop {
        tokio::time::sleep(POLL).await;
        let next = wait(stage, records, at_rest).await?;
        let seen = |sync: &SyncStatus| (sync.captured, sync.written, sync.echoes);
        if seen(&next) == seen(&sync) {
            return Ok(next);
        }
        sync = next;
    }
}

/// A phase under way.
struct Course {
    records: u32,
    captured: u64,
    written: u64,
    calls: u64,
    cpu_s: f64,
    timer: Timer,
}

impl Course {
    async fn begin(stage: &Stage, org: &Org, records: u32, from: &SyncStatus) -> Result<Self> {
        Ok(Self {
            records,
            captured: from.captured + u64::from(records),
            written: from.written + u64::from(records),
            calls: org.calls_total().await?,
            cpu_s: stage.host_cpu_seconds(),
            timer: Timer::start(),
        })
    }

    async fn run(self, stage: &mut Stage, org: &Org) -> Result<Phase> {
        wait(stage, self.records, |sync| sync.captured >= self.captured).await?;
        let captured_s = self.timer.seconds();
        wait(stage, self.records, |sync| sync.written >= self.written).await?;
        Ok(Phase {
            records: self.records.into(),
            captured_s,
            written_s: self.timer.seconds(),
            cpu_s: stage.host_cpu_seconds() - self.cpu_s,
            api_calls: org.calls_total().await? - self.calls,
        })
    }
}
