//! A host as a process, in a folder of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tidegate::control::{self, Answer, Request};
use tidegate::status::{self, DeadLetter, Done, Status};
use tidegate_simulator::salesforce::Credentials;

use crate::built;

const LOOK: Duration = Duration::from_millis(200);
/// Longer than a host takes to finish the calls in flight, on any machine.
const STOP: Duration = Duration::from_secs(180);

/// Ends with the test; its folder stays when something went wrong.
pub struct Host {
    folder: TempDir,
    child: Option<Child>,
}

impl Host {
    /// A folder for a host, with this config. Compiled plugins are shared with the other tests, since some
    /// take a minute.
    pub fn new(config: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("tidegate-test-")
            .tempdir()?;
        std::fs::write(folder.path().join("tidegate.toml"), config)?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let compiled = built::compiled();
        std::fs::create_dir_all(&compiled)?;
        std::os::unix::fs::symlink(compiled.canonicalize()?, data.join("compiled"))?;
        Ok(Self {
            folder,
            child: None,
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files that a config names as client id and secret of a simulated org.
    pub fn give_credentials(&self, credentials: &Credentials) -> Result<()> {
        std::fs::write(self.path("client-id"), &credentials.client_id)?;
        std::fs::write(self.path("client-secret"), &credentials.client_secret)?;
        Ok(())
    }

    pub fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// Starts it with more in its environment.
    pub fn start_with(&mut self, environment: &[(&str, String)]) -> Result<()> {
        let log = File::create(self.path("host.log"))?;
        let child = Command::new(built::program())
            .arg("run")
            .arg("--config")
            .arg(self.path("tidegate.toml"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting the host")?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it ends by itself, and returns its exit code.
    ///
    /// # Errors
    ///
    /// When that takes longer than `patience`; then it is killed.
    pub async fn ended(&mut self, patience: Duration) -> Result<Option<i32>> {
        let mut child = self.child.take().context("no host was started")?;
        let wait = async {
            loop {
                if let Some(status) = child.try_wait()? {
                    return Ok(status.code());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = tokio::time::timeout(patience, wait).await;
        if let Ok(ended) = ended {
            return ended;
        }
        child.kill()?;
        child.wait()?;
        bail!("it did not end by itself; {}", self.story(&[]))
    }

    /// All that it has said since it was started.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("host.log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Asks until `look` finds nothing amiss.
    ///
    /// # Errors
    ///
    /// What was amiss last, when that takes longer than `patience` or the host ends.
    pub async fn until(
        &mut self,
        patience: Duration,
        mut look: impl FnMut(&Status) -> Result<Vec<String>>,
    ) -> Result<Status> {
        let mut amiss = vec!["it does not answer".to_owned()];
        let asked = async {
            loop {
                if let Some(ended) = self
                    .child
                    .as_mut()
                    .map(Child::try_wait)
                    .transpose()?
                    .flatten()
                {
                    bail!("the host ended with {ended}");
                }
                if let Ok(Answer::Status(status)) =
                    control::ask(&self.data(), &Request::Status).await
                {
                    amiss = look(&status)?;
                    if amiss.is_empty() {
                        return Ok(*status);
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = tokio::time::timeout(patience, asked).await;
        match ended {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(error.context(self.story(&amiss))),
            Err(_) => bail!("after {} s: {}", patience.as_secs(), self.story(&amiss)),
        }
    }

    /// Asks it.
    pub async fn ask(&self, request: &Request) -> Result<Answer> {
        Ok(control::ask(&self.data(), request).await?)
    }

    /// Tells it to do something.
    pub async fn command(&self, command: status::Command) -> Result<Answer> {
        Ok(control::ask(&self.data(), &Request::Command { command }).await?)
    }

    /// The letters of all syncs, newest first.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let list = status::Command::DeadList {
            sync: None,
            rows_max: 100,
        };
        match self.command(list).await? {
            Answer::Done(Done::DeadLetters(letters)) => Ok(letters),
            other => bail!("not a list: {other:?}"),
        }
    }

    /// `kill -9`, and returns when it is gone.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("no host was started")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Ends it as an operator would, and expects a clean end.
    pub async fn stop(&mut self) -> Result<()> {
        control::ask(&self.data(), &Request::Stop).await?;
        match self.ended(STOP).await? {
            Some(0) => Ok(()),
            code => bail!("the host ended with {code:?}; {}", self.story(&[])),
        }
    }

    /// What is amiss, and the last lines of the log; keeps the folder for whoever must look.
    fn story(&mut self, amiss: &[String]) -> String {
        self.folder.disable_cleanup(true);
        format!(
            "{}\n{} ends with\n{}",
            amiss.join("\n"),
            self.path("host.log").display(),
            tail(&self.path("host.log"))
        )
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail when it has ended, which is what is wanted.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
