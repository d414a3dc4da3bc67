//! Wake-ups: who waits learns within milliseconds that somebody, in any process, has committed.
//!
//! The operating system tells when the database's files are written, and SQLite's `data_version` tells
//! whether that made a commit visible. A file is written shortly before its commit shows, so a write starts
//! a burst of looks that thins out: nothing is spent while nobody writes. A slow look besides covers file
//! systems that tell nothing (network mounts).

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

/// The first look after a write, doubled until the last.
const LOOK_FIRST: Duration = Duration::from_micros(500);
const LOOK_LAST: Duration = Duration::from_millis(256);
/// The look that needs no telling.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// Counts commits once somebody subscribes; the thread ends with this.
pub(super) struct Commits {
    path: PathBuf,
    feed: Mutex<Option<Arc<watch::Sender<u64>>>>,
}

impl Commits {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            feed: Mutex::new(None),
        }
    }

    /// `None` when no thread can be had.
    pub(super) fn subscribe(&self) -> Option<watch::Receiver<u64>> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*feed {
            return Some(sender.subscribe());
        }
        let (sender, receiver) = watch::channel(0);
        let sender = Arc::new(sender);
        let (path, counter) = (self.path.clone(), Arc::downgrade(&sender));
        std::thread::Builder::new()
            .name("sqlite-commits".to_owned())
            .spawn(move || follow(&path, &counter))
            .ok()?;
        *feed = Some(sender);
        Some(receiver)
    }
}

fn follow(path: &Path, counter: &Weak<watch::Sender<u64>>) {
    // One waiting notice says all: more of them are dropped.
    let (notice, notices) = sync_channel(1);
    let _watcher = match watch_files(path, notice.clone()) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "file changes are not announced here; commits are noticed once a second");
            None
        }
    };
    let mut version = Version::default();
    let mut pause = LOOK_FIRST;
    loop {
        match notices.recv_timeout(pause) {
            Ok(()) => pause = LOOK_FIRST,
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(LOOK_ANYWAY),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // The endpoint's end is noticed by the next look.
        let Some(sender) = counter.upgrade() else {
            return;
        };
        if version.moved(path) {
            sender.send_modify(|count| *count += 1);
        }
        if pause > LOOK_LAST {
            pause = LOOK_ANYWAY;
        }
        settle(&notices, &mut pause);
    }
}

/// Notices that piled up while we looked ask for another look soon.
fn settle(notices: &Receiver<()>, pause: &mut Duration) {
    if notices.try_recv().is_ok() {
        *pause = LOOK_FIRST;
    }
}

fn watch_files(path: &Path, notice: SyncSender<()>) -> notify::Result<impl Watcher> {
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    // The database, its WAL and its rollback journal share their beginning; the shared memory is mapped,
    // and writes to it are not told.
    let name = path.file_name().unwrap_or_default().to_owned();
    let ours = move |path: &PathBuf| {
        path.file_name().is_some_and(|found| {
            found
                .as_encoded_bytes()
                .starts_with(name.as_encoded_bytes())
        })
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant =
            event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(&ours));
        if relevant && let Err(TrySendError::Disconnected(())) = notice.try_send(()) {
            tracing::debug!("nobody follows the database's commits any longer");
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// SQLite's own count of commits by other connections.
#[derive(Default)]
struct Version {
    connection: Option<Connection>,
    /// Counted by this connection; the first count of each is taken as a change, since nobody knows what came before.
    seen: Option<i64>,
}

impl Version {
    fn moved(&mut self, path: &Path) -> bool {
        let Some(now) = self.read(path) else {
            // It may not exist yet, or be locked for a moment; the next look tells.
            self.connection = None;
            return false;
        };
        self.seen.replace(now) != Some(now)
    }

    fn read(&mut self, path: &Path) -> Option<i64> {
        if self.connection.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            self.connection = Connection::open_with_flags(path, flags).ok();
            self.seen = None;
        }
        let connection = self.connection.as_ref()?;
        let mut statement = connection.prepare_cached("PRAGMA data_version").ok()?;
        statement.query_row([], |row| row.get(0)).ok()
    }
}
