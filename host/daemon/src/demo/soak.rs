//! The kill loop: a host that is killed again and again, at any moment, while both sides change and answers
//! get lost. The ledger that judges it is the database, the org and its journal, outside the host.

use std::time::Duration;

use anyhow::Result;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::crowd::{self, Crowd};
use super::org::Org;
use super::report::{Report, Timer};
use super::stage::Stage;
use super::{Scene, Tell, compare, people, rest};

/// When a soak has lasted long enough.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Kills(u32),
    Seconds(u64),
}

/// The longest that a host lives before it is killed. The shortest is nothing: it dies while it starts.
const LIFE_MS_MAX: u64 = 1_500;
const PATIENCE: Duration = Duration::from_secs(180);
const PROGRESS: u32 = 10;

/// Kills until it is enough, lets everything come to rest, and compares. Kills are in the answer.
///
/// # Errors
///
/// When a part can't be started, or does not come to rest.
pub async fn soak(scene: &Scene, until: Until, tell: Tell<'_>) -> Result<(Report, u32)> {
    let timer = Timer::start();
    let mut rng = ChaCha8Rng::seed_from_u64(scene.seed ^ 0x5041);
    let mut stage = Stage::set(scene)?;
    people::create(&stage.database(), scene.records, scene.seed)?;
    let org = Org::new(stage.start_simulator().await?);
    org.set_faults(crowd::FAULTS).await?;
    let mut crowd = Crowd::new(scene.seed, stage.database(), &org).await?;
    let mut report = Report {
        records: scene.records.into(),
        ..Report::default()
    };
    let mut kills = 0;
    loop {
        let enough = match until {
            Until::Kills(most) => kills >= most,
            Until::Seconds(most) => timer.seconds() >= most as f64,
        };
        if enough {
            break;
        }
        stage.start_host()?;
        // Half of the lives end before the host has well begun.
        let life_ms = if rng.random_bool(0.5) {
            LIFE_MS_MAX
        } else {
            LIFE_MS_MAX / 5
        };
        crowd
            .act(Duration::from_millis(rng.random_range(0..life_ms)))
            .await?;
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
    Ok((report, kills))
}
