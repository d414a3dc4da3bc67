//! The host's socket: one JSON line in, one JSON line out.
//!
//! `tidegate.sock` in the data folder, for the owner only (0600): whoever may write the store may also
//! command the host. A connection carries any number of requests, one after the other.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::quota::PoolQuota;
use crate::status::{Command, CommandError, Done, Status};
use crate::usage::PoolUsage;

const LINE_BYTES_MAX: u64 = 64 << 10;
const CONNECTIONS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    Status,
    /// Every allowance as it stands.
    Quota,
    /// What was used in the last hours.
    Usage {
        hours: u32,
    },
    /// All figures, as a collector reads them.
    Metrics,
    /// Finish the calls in flight and end, as on SIGTERM.
    Stop,
    Command {
        command: Command,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Status(Box<Status>),
    Quota(Vec<PoolQuota>),
    Usage(Vec<PoolUsage>),
    Metrics(String),
    /// The stop has begun.
    Stopping,
    Done(Done),
    Error(CommandError),
}

/// Whoever answers. Called for several connections at once.
pub trait Answerer: Send + Sync {
    fn answer(&self, request: Request) -> BoxFuture<'_, Answer>;
}

/// Why the host can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no host is running on {}", .0.display())]
    NotRunning(PathBuf),
    #[error("the host's socket {} can't be used", .path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("the host closed the connection without an answer")]
    NoAnswer,
    #[error("the host's answer was not understood; it may be of another version")]
    NotUnderstood(#[source] serde_json::Error),
}

/// The socket of the host that keeps its data in `data`.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("tidegate.sock")
}

/// A bound socket, which is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds the socket. The caller holds the store's lock, so a socket that is there already was left behind
    /// by a host that was killed.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let path = socket_path(data);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until it is dropped.
    pub async fn serve(self, answerer: Arc<dyn Answerer>) -> io::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            if connections.len() >= CONNECTIONS_MAX {
                connections.join_next().await;
                continue;
            }
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    let answerer = answerer.clone();
                    connections.spawn(async move {
                        if let Err(error) = converse(stream, answerer.as_ref()).await {
                            tracing::debug!(%error, "a control connection broke off");
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the socket was gone already");
        }
    }
}

async fn converse(stream: UnixStream, answerer: &dyn Answerer) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(line) = read_line(&mut read).await? {
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answerer.answer(request).await,
            Err(error) => Answer::Error(CommandError {
                code: "request-not-understood".to_owned(),
                message: format!("not a request of this version: {error}"),
            }),
        };
        let mut text = serde_json::to_vec(&answer).map_err(io::Error::other)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
    Ok(())
}

async fn read_line(
    read: &mut BufReader<impl tokio::io::AsyncRead + Unpin>,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = read
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .await?;
    if length == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && length as u64 == LINE_BYTES_MAX {
        return Err(io::Error::other("a request is longer than 64 KiB"));
    }
    Ok(Some(line))
}

/// Asks the host that keeps its data in `data`.
pub async fn ask(data: &Path, request: &Request) -> Result<Answer, AskError> {
    let path = socket_path(data);
    let socket = |source| AskError::Socket {
        path: path.clone(),
        source,
    };
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match error.kind() {
                // A killed host leaves its socket behind; nobody listens on it.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    AskError::NotRunning(data.to_owned())
                }
                _ => socket(error),
            });
        }
    };
    let mut text = serde_json::to_vec(request).map_err(AskError::NotUnderstood)?;
    text.push(b'\n');
    stream.write_all(&text).await.map_err(socket)?;
    stream.shutdown().await.map_err(socket)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(socket)?;
    if answer.is_empty() {
        return Err(AskError::NoAnswer);
    }
    serde_json::from_slice(&answer).map_err(AskError::NotUnderstood)
}
