//! How fast it goes when nothing holds it back: an org without limits is filled from the database, then every
//! person is changed, and then the host is started once more with nothing to do.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::org::Org;
use super::report::Timer;
use super::stage::{Stage, UNLIMITED};
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    pub first_sync: Phase,
    /// Every person changed in the database by one statement.
    pub changes: Phase,
    pub peak_rss_mb: u64,
    /// Of a host that starts with everything in step.
    pub started_rss_mb: u64,
}

/// Loads an org, and measures it.
///
/// # Errors
///
/// When a part can't be started, or does not come to rest.
pub async fn load(scene: &Scene) -> Result<Loaded> {
    let mut stage = Stage::set(scene)?;
    people::create(&stage.database(), scene.records, scene.seed)?;
    let org = Org::new(stage.start_simulator(&UNLIMITED).await?);
    stage.check_config().await?;
    let course = Course::begin(&stage, &org, scene.records, &SyncStatus::default()).await?;
    stage.start_host()?;
    let first_sync = course.run(&mut stage, &org).await?;
    let still = wait(&mut stage, is_idle).await?;
    let course = Course::begin(&stage, &org, scene.records, &still).await?;
    people::open(&stage.database())?.execute("UPDATE people SET phone = '+1 ' || id", [])?;
    let changes = course.run(&mut stage, &org).await?;
    let peak_rss_mb = stage.host_memory_kb() / 1024;
    wait(&mut stage, is_idle).await?;
    stage.stop_host().await?;
    stage.start_host()?;
    wait(&mut stage, |sync| {
        sync.state == SyncState::Running && is_idle(sync)
    })
    .await?;
    let started_rss_mb = stage.host_memory_kb() / 1024;
    stage.stop_host().await?;
    Ok(Loaded {
        first_sync,
        changes,
        peak_rss_mb,
        started_rss_mb,
    })
}

const LOOK: Duration = Duration::from_millis(20);
const SECONDS_MAX: f64 = 600.0;

fn is_idle(sync: &SyncStatus) -> bool {
    sync.waiting + sync.in_flight == 0
}

/// Waits until the sync is as asked, and says how it stands then.
async fn wait(stage: &mut Stage, until: impl Fn(&SyncStatus) -> bool) -> Result<SyncStatus> {
    let timer = Timer::start();
    loop {
        stage.check_host()?;
        let status = stage.status().await.unwrap_or_default();
        if let Some(sync) = status.syncs.into_iter().next().filter(&until) {
            return Ok(sync);
        }
        if timer.seconds() > SECONDS_MAX {
            stage.keep();
            bail!(
                "not done after {SECONDS_MAX} s; logs and data are in {}",
                stage.folder().display()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A phase under way.
struct Course {
    records: u64,
    captured: u64,
    written: u64,
    calls: u64,
    cpu_s: f64,
    timer: Timer,
}

impl Course {
    async fn begin(stage: &Stage, org: &Org, records: u32, from: &SyncStatus) -> Result<Self> {
        let records = u64::from(records);
        Ok(Self {
            records,
            captured: from.captured + records,
            written: from.written + records,
            calls: org.calls_total().await?,
            cpu_s: stage.host_cpu_seconds(),
            timer: Timer::start(),
        })
    }

    async fn run(self, stage: &mut Stage, org: &Org) -> Result<Phase> {
        wait(stage, |sync| sync.captured >= self.captured).await?;
        let captured_s = self.timer.seconds();
        wait(stage, |sync| sync.written >= self.written).await?;
        Ok(Phase {
            records: self.records,
            captured_s,
            written_s: self.timer.seconds(),
            cpu_s: stage.host_cpu_seconds() - self.cpu_s,
            api_calls: org.calls_total().await? - self.calls,
        })
    }
}
