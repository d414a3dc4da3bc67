//! `tidegate demo`: a simulated Salesforce and a database of people kept in step while things go wrong.
//!
//! The simulator and the host run as processes of their own; this one plays the people and programs that
//! change both sides, kills the host, and compares everything at the end. The comparison shares no code with
//! the sync: it reads the database and the org's own records.
//!
//! In reading order:
//! - [`stage`]: the folder, the config, and the processes
//! - [`people`]: what the database holds, as messy as real data
//! - [`crowd`]: who changes what meanwhile
//! - [`day`]: how much of it, and for how long
//! - [`org`]: another application in the same org
//! - [`compare`]: what both sides hold in the end
//! - [`report`]: what a person is told
//! - [`soak`]: the same with one kill after the other
//! - [`load`]: how fast it goes when nothing holds it back

mod compare;
mod crowd;
mod day;
mod load;
mod org;
mod people;
mod report;
mod soak;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tidegate_store::EngineKind;

use crowd::Crowd;
use day::Course;
use org::Org;
use report::{Report, Timer};
use stage::Stage;

pub use load::{Ground, Loaded, Phase, Rerun, load};
pub use report::Report as DemoReport;
pub use soak::{Soaked, Until, soak};
pub use stage::cpu_seconds;

#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// People in the database at the start
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub records: u32,
    /// How long both sides are changed, in seconds [default: 12; from 50,000 records on 300, which play a whole day]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: Option<u32>,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The folder with the built plugins
    #[arg(long, value_name = "DIR", default_value = "target/plugins")]
    pub plugins: PathBuf,
    /// Leave config, database and logs in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Decides the data and who changes what
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What a scene is played with.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The `tidegate` binary.
    pub program: PathBuf,
    /// The folder with the built plugins.
    pub plugins: PathBuf,
    /// Where config, database and logs stay; a passing folder when absent.
    pub keep: Option<PathBuf>,
    /// What the host keeps its state in.
    pub engine: EngineKind,
    /// People in the database at the start.
    pub records: u32,
    pub seed: u64,
}

/// Says what happens while it happens.
pub type Tell<'a> = &'a (dyn Fn(&str) + Sync);

/// Nothing may take longer to come to rest than this, plus what the records need.
const REST_SECONDS: u64 = 240;
const RECORDS_PER_SECOND_LEAST: u64 = 200;
const LOOK: Duration = Duration::from_millis(250);
/// Calls of a host at rest after which it has seen all that is in the org: nothing but changes is asked for then.
const ASKED_AGAIN: u64 = 2;

/// Plays the whole scene, and writes the report where it was asked for.
///
/// # Errors
///
/// When a part can't be started or does not come to rest; the folder is kept then. Sides that differ in the
/// end are in the report, not an error.
pub async fn run(arguments: &DemoArguments, tell: Tell<'_>) -> Result<Report> {
    let scene = Scene {
        program: std::env::current_exe().context("finding this program")?,
        plugins: arguments.plugins.clone(),
        keep: arguments.keep.clone(),
        engine: EngineKind::default(),
        records: arguments.records,
        seed: arguments.seed,
    };
    let report = play(&scene, arguments.seconds, tell).await?;
    if let Some(path) = &arguments.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report)
}

/// Plays a scene: a few busy seconds, or with many records a day that is compressed into `seconds`.
///
/// # Errors
///
/// As [`run`].
pub async fn play(scene: &Scene, seconds: Option<u32>, tell: Tell<'_>) -> Result<Report> {
    let timer = Timer::start();
    let course = Course::of(scene.records, seconds);
    let patience =
        Duration::from_secs(REST_SECONDS + u64::from(scene.records) / RECORDS_PER_SECOND_LEAST);
    let mut stage = Stage::set(scene)?;
    if let Some(minute) = course.minute {
        stage.set_pace(minute);
    }
    tell(&format!(
        "a database of {} people, in {}",
        scene.records,
        stage.folder().display()
    ));
    people::create(&stage.database(), scene.records, scene.seed)?;
    let org = Org::new(stage.start_simulator(&stage::USUAL).await?);
    tell(&format!("a simulated Salesforce org at {}", org.base()));
    let mut report = Report {
        records: scene.records.into(),
        ..Report::default()
    };
    let first_sync = Timer::start();
    stage.start_host()?;
    tell("first sync");
    if course.minute.is_some() {
        half_written(&mut stage, &org, scene.records.into(), patience).await?;
        kill(&mut stage, &mut report, tell).await?;
        stage.start_host()?;
        tell("started again");
    }
    rest(&mut stage, &org, patience, scene.records.into())
        .await
        .context("the first sync did not come to rest")?;
    report.first_sync_seconds = first_sync.seconds();
    report.first_sync_calls = org.calls_total().await?;
    tell(&format!(
        "every record is on both sides after {:.1} s and {} API calls",
        report.first_sync_seconds, report.first_sync_calls
    ));

    let mut crowd = Crowd::new(scene.seed, course.busy, stage.database(), &org).await?;
    org.set_faults(crowd::FAULTS).await?;
    if let Some(minute) = course.minute {
        tell(&format!(
            "a day in {} s: a minute lasts {} ms",
            course.time.as_secs(),
            minute.as_millis()
        ));
    }
    tell("both sides are changed at once, another application writes too, and answers get lost");
    crowd.poison()?;
    tell("one note is too large for the mapping's limits: its call is killed, the others go on");
    crowd.act(course.time / 2).await?;
    kill(&mut stage, &mut report, tell).await?;
    crowd.act(course.time / 8).await?;
    stage.start_host()?;
    tell("started again");
    crowd.act(course.time * 3 / 8).await?;
    crowd.cure()?;
    tell("the large note is shortened; now everything comes to rest");
    org.set_faults(crowd::NO_FAULTS).await?;
    let quiet = rest(&mut stage, &org, patience, 0).await;
    report.add_status(&stage.status().await.unwrap_or_default());
    report.add_memory(stage.host_memory_kb());
    if let Err(error) = quiet {
        stage.keep();
        bail!(
            "{error:#}; logs and data are in {}",
            stage.folder().display()
        );
    }

    let compared = compare::compare(&stage.database(), &org, crowd.history()).await?;
    report.add_compared(compared);
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
    Ok(report)
}

async fn kill(stage: &mut Stage, report: &mut Report, tell: Tell<'_>) -> Result<()> {
    report.add_status(&stage.status().await.unwrap_or_default());
    report.add_memory(stage.host_memory_kb());
    stage.kill_host()?;
    tell("kill -9");
    Ok(())
}

/// Waits until half of the records are in the org.
async fn half_written(
    stage: &mut Stage,
    org: &Org,
    records: u64,
    patience: Duration,
) -> Result<()> {
    let timer = Timer::start();
    while org.live("Contact").await? < records / 2 {
        stage.check_host()?;
        if timer.seconds() > patience.as_secs_f64() {
            bail!("half of the records were not written after {patience:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until nothing waits and both sides have as many records, after each was asked for changes once more.
async fn rest(stage: &mut Stage, org: &Org, patience: Duration, least: u64) -> Result<()> {
    const LOOKS: u32 = 3;
    let timer = Timer::start();
    let mut quiet = 0;
    let mut asked = 0;
    let mut last = String::new();
    while quiet < LOOKS {
        if timer.seconds() > patience.as_secs_f64() {
            bail!("not at rest after {:.0} s: {last}", timer.seconds());
        }
        stage.check_host()?;
        tokio::time::sleep(LOOK).await;
        let Some(status) = stage.status().await else {
            continue;
        };
        let people = people::count(&stage.database())?;
        let contacts = org.live("Contact").await?;
        let waiting: u64 = status
            .syncs
            .iter()
            .map(|sync| sync.waiting + sync.in_flight)
            .sum();
        let running = status
            .syncs
            .iter()
            .all(|sync| sync.state == crate::status::SyncState::Running);
        last = format!("{waiting} waiting, {people} people, {contacts} contacts");
        let even = people == contacts && contacts >= least;
        if waiting > 0 || !even || !running {
            quiet = 0;
            continue;
        }
        let calls = org.calls_total().await?;
        if quiet == 0 {
            asked = calls;
            quiet = 1;
            tokio::time::sleep(stage::POLL).await;
        } else if calls >= asked + ASKED_AGAIN {
            // What the first of these calls brought was taken in before the second was made.
            quiet += 1;
        }
    }
    Ok(())
}
