//! The folder, the config, and the two processes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tidegate_store::EngineKind;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::Scene;
use crate::control::{self, Answer, Request};
use crate::status::Status;

/// The connector asks the org every 5 s; by then the host has seen every change.
pub(super) const POLL: Duration = Duration::from_secs(7);

/// What the simulated org is like.
pub(super) struct OrgKind {
    /// How long a write may take, stamped with the time it began.
    pub late_visible_ms: u32,
    pub daily_limit: u64,
}

/// As the demo has it.
pub(super) const USUAL: OrgKind = OrgKind {
    late_visible_ms: 40,
    daily_limit: 100_000,
};

/// Nothing that costs time but what every write costs.
pub(super) const UNLIMITED: OrgKind = OrgKind {
    late_visible_ms: 0,
    daily_limit: 1_000_000_000,
};

/// Processor time that a process has used, all threads together.
pub fn cpu_seconds(process: u32) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is the program's name in brackets and may hold anything.
    let fields = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / TICKS_PER_SECOND
}

enum Folder {
    Passing(TempDir),
    Kept(PathBuf),
}

pub(super) struct Stage {
    folder: Folder,
    plugins: PathBuf,
    program: PathBuf,
    simulator: Option<tokio::process::Child>,
    host: Option<Child>,
    base: String,
    engine: EngineKind,
    seed: u64,
    /// How often the org is asked, and how long changes to it wait for company; as usual when absent.
    pace: Option<Duration>,
}

const CONFIG: &str = include_str!("tidegate.toml");
pub(super) const CLIENT_ID: &str = "tidegate";
pub(super) const CLIENT_SECRET: &str = "simulated";

impl Stage {
    pub(super) fn set(scene: &Scene) -> Result<Self> {
        let folder = match &scene.keep {
            Some(path) => {
                if path.exists()
                    && path
                        .read_dir()
                        .is_ok_and(|mut entries| entries.next().is_some())
                {
                    bail!("{} is not empty; name a new folder", path.display());
                }
                std::fs::create_dir_all(path)
                    .with_context(|| format!("making {}", path.display()))?;
                Folder::Kept(path.clone())
            }
            None => Folder::Passing(
                tempfile::Builder::new()
                    .prefix("tidegate-demo-")
                    .tempdir()?,
            ),
        };
        let plugins = std::path::absolute(&scene.plugins)?;
        for name in ["salesforce", "sqlite", "field-map"] {
            let file = plugins.join(format!("{name}.wasm"));
            if !file.exists() {
                bail!("{} is missing; `make plugins` builds it", file.display());
            }
        }
        Ok(Self {
            folder,
            plugins,
            program: scene.program.clone(),
            simulator: None,
            host: None,
            base: String::new(),
            engine: scene.engine,
            seed: scene.seed,
            pace: None,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Passing(folder) => folder.path(),
            Folder::Kept(folder) => folder,
        }
    }

    /// Leaves the folder where it is, for whoever must look.
    pub(super) fn keep(&mut self) {
        if let Folder::Passing(folder) = &mut self.folder {
            folder.disable_cleanup(true);
        }
    }

    /// Before the simulator is started, which has the config written.
    pub(super) fn set_pace(&mut self, pace: Duration) {
        self.pace = Some(pace);
    }

    pub(super) fn database(&self) -> PathBuf {
        self.folder().join("people.db")
    }

    fn config(&self) -> PathBuf {
        self.folder().join("tidegate.toml")
    }

    fn log(&self, name: &str) -> Result<File> {
        let path = self.folder().join(name);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
    }

    /// The org's address.
    pub(super) async fn start_simulator(&mut self, kind: &OrgKind) -> Result<String> {
        let mut child = tokio::process::Command::new(&self.program)
            .args([
                "sim",
                "salesforce",
                "--seed",
                &self.seed.to_string(),
                "--late-visible",
                &kind.late_visible_ms.to_string(),
            ])
            .args([
                "--client-id",
                CLIENT_ID,
                "--client-secret",
                CLIENT_SECRET,
                "--daily-limit",
                &kind.daily_limit.to_string(),
            ])
            .arg("--journal")
            .arg(self.folder().join("org-journal.jsonl"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log("simulator.log")?)
            .kill_on_drop(true)
            .spawn()
            .context("starting the simulator")?;
        let stdout = child.stdout.take().context("the simulator's output")?;
        let mut lines = BufReader::new(stdout).lines();
        let base = lines
            .next_line()
            .await?
            .context("the simulator did not start; see simulator.log")?;
        self.simulator = Some(child);
        self.base = base;
        std::fs::write(self.folder().join("client-id"), CLIENT_ID)?;
        std::fs::write(self.folder().join("client-secret"), CLIENT_SECRET)?;
        let engine = match self.engine {
            EngineKind::Sled => "sled",
            EngineKind::Redb => "redb",
        };
        let config = CONFIG
            .replace("{plugins}", &self.plugins.display().to_string())
            .replace("{engine}", engine)
            .replace("{org}", &self.base)
            .replace("{daily-limit}", &kind.daily_limit.to_string())
            .replace("{interval}", &self.paced("interval"))
            .replace("{linger}", &self.paced("linger"));
        std::fs::write(self.config(), config)?;
        Ok(self.base.clone())
    }

    fn paced(&self, key: &str) -> String {
        let line = |pace: Duration| format!("{key} = \"{}ms\"\n", pace.as_millis());
        self.pace.map(line).unwrap_or_default()
    }

    pub(super) fn start_host(&mut self) -> Result<()> {
        let child = Command::new(&self.program)
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(self.log("host.log")?)
            .stderr(self.log("host.log")?)
            .spawn()
            .context("starting the host")?;
        self.host = Some(child);
        Ok(())
    }

    /// Has the config checked, which also compiles the plugins for the host that is started next.
    pub(super) async fn check_config(&self) -> Result<()> {
        std::fs::create_dir_all(self.data())?;
        let checked = tokio::process::Command::new(&self.program)
            .arg("check")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .output()
            .await
            .context("checking the config")?;
        if !checked.status.success() {
            bail!(
                "the config is refused: {}",
                String::from_utf8_lossy(&checked.stderr)
            );
        }
        Ok(())
    }

    /// An error when the host has ended by itself.
    pub(super) fn check_host(&mut self) -> Result<()> {
        if let Some(host) = &mut self.host
            && let Some(status) = host.try_wait()?
        {
            self.keep();
            let log = std::fs::read_to_string(self.folder().join("host.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!(
                "the host ended with {status}; {} says:\n{}",
                self.folder().join("host.log").display(),
                tail.join("\n")
            );
        }
        Ok(())
    }

    pub(super) fn kill_host(&mut self) -> Result<()> {
        if let Some(mut host) = self.host.take() {
            host.kill()?;
            host.wait()?;
        }
        Ok(())
    }

    /// Ends the host as an operator would, and expects a clean end.
    pub(super) async fn stop_host(&mut self) -> Result<()> {
        control::ask(&self.data(), &Request::Stop)
            .await
            .context("asking the host to stop")?;
        let Some(mut host) = self.host.take() else {
            return Ok(());
        };
        let ended = tokio::task::spawn_blocking(move || host.wait()).await??;
        if !ended.success() {
            self.keep();
            bail!("the host did not stop cleanly: {ended}");
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// `None` while the host is starting.
    pub(super) async fn status(&self) -> Option<Status> {
        match control::ask(&self.data(), &Request::Status).await {
            Ok(Answer::Status(status)) => Some(*status),
            _ => None,
        }
    }

    pub(super) fn host_cpu_seconds(&self) -> f64 {
        self.host
            .as_ref()
            .map_or(0.0, |host| cpu_seconds(host.id()))
    }

    /// The most resident memory that the host ever had.
    pub(super) fn host_memory_kb(&self) -> u64 {
        let Some(host) = &self.host else { return 0 };
        let text =
            std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut host) = self.host.take() {
            // It may have ended already; there is nobody left to tell.
            host.kill().ok();
            host.wait().ok();
        }
        if let Some(mut simulator) = self.simulator.take() {
            // Whoever leaves the runtime to end it would be gone first, and its folder removed under it.
            simulator.start_kill().ok();
            while matches!(simulator.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
