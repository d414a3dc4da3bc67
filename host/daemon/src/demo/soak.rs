//! The kill loop: a host that is killed again and again, at any moment, while both sides change and answers
//! get lost. The ledger that judges it is the database, the org and its journal, outside the host.

use std::time::Duration;

use anyhow::{Result, bail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::crowd::{self, Busy, Crowd};
use super::org::Org;
use super::report::{Report, Timer};
use super::stage::{self, Stage};
use super::{Scene, Tell, compare, people, rest};
use crate::status::SyncState;

/// When a soak has lasted long enough.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Kills(u32),
    Seconds(u64),
}

/// How long a host works before it is killed, once it has begun.
const WORK_MS_MAX: u64 = 800;
/// When a host dies that never gets so far.
const START_MS_MAX: u64 = 300;
/// How often it does.
const START_SHARE: f64 = 0.3;
/// How long a start may take on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(180);
const PROGRESS: u32 = 10;

/// What a soak has shown.
#[derive(Clone, Debug)]
pub struct Soaked {
    pub report: Report,
    pub kills: u32,
    /// Those that fell on a host at work, and not on one that was starting.
    pub kills_at_work: u32,
}

/// Kills until it is enough, lets everything come to rest, and compares.
///
/// # Errors
///
/// When a part can't be started, or does not come to rest.
pub async fn soak(scene: &Scene, until: Until, tell: Tell<'_>) -> Result<Soaked> {
    let timer = Timer::start();
    let mut rng = ChaCha8Rng::seed_from_u64(scene.seed ^ 0x5041);
    let mut stage = Stage::set(scene)?;
    people::create(&stage.database(), scene.records, scene.seed)?;
    let org = Org::new(stage.start_simulator(&stage::USUAL).await?);
    // How long plugins take to compile is not what the first start is about.
    stage.check_config().await?;
    org.set_faults(crowd::FAULTS).await?;
    let mut crowd = Crowd::new(scene.seed, Busy::default(), stage.database(), &org).await?;
    let mut report = Report {
        records: scene.records.into(),
        ..Report::default()
    };
    let (mut kills, mut kills_at_work) = (0, 0);
    loop {
        let enough = match until {
            Until::Kills(most) => kills >= most,
            Until::Seconds(most) => timer.seconds() >= most as f64,
        };
        if enough {
            break;
        }
        stage.start_host()?;
        if kills > 0 && rng.random_bool(START_SHARE) {
            crowd
                .act(Duration::from_millis(rng.random_range(0..START_MS_MAX)))
                .await?;
        } else {
            begin(&mut stage, &mut crowd).await?;
            crowd
                .act(Duration::from_millis(rng.random_range(0..WORK_MS_MAX)))
                .await?;
            kills_at_work += 1;
        }
        stage.check_host()?;
        stage.kill_host()?;
        kills += 1;
        if kills % PROGRESS == 0 {
            tell(&format!("{kills} kills after {:.0} s", timer.seconds()));
        }
    }
    org.set_faults(crowd::NO_FAULTS).await?;
    stage.start_host()?;
    let quiet = rest(&mut stage, &org, PATIENCE, 0).await;
    report.add_status(&stage.status().await.unwrap_or_default());
    report.add_memory(stage.host_memory_kb());
    if let Err(error) = quiet {
        stage.keep();
        return Err(error.context(format!("logs and data are in {}", stage.folder().display())));
    }
    report.add_compared(compare::compare(&stage.database(), &org, crowd.history()).await?);
    report.add_calls(&org.stats().await?, crowd.calls(), crowd.changes());
    report.seconds = timer.seconds();
    stage.stop_host().await?;
    if !report.is_clean() {
        stage.keep();
        tell(&format!(
            "not as it should be; logs and data are in {}",
            stage.folder().display()
        ));
    }
    Ok(Soaked {
        report,
        kills,
        kills_at_work,
    })
}

/// Both sides change on until the host's syncs run.
async fn begin(stage: &mut Stage, crowd: &mut Crowd<'_>) -> Result<()> {
    let timer = Timer::start();
    loop {
        stage.check_host()?;
        crowd.act(Duration::from_millis(20)).await?;
        let begun = stage.status().await.is_some_and(|status| {
            status
                .syncs
                .iter()
                .all(|sync| sync.state != SyncState::Starting)
        });
        if begun {
            return Ok(());
        }
        if timer.seconds() > START_PATIENCE.as_secs_f64() {
            bail!("the host did not begin within {:.0} s", timer.seconds());
        }
    }
}
