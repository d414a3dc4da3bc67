//! The two threads that write: one applies, one makes durable.
//!
//! | thread | ends when | on an engine failure |
//! |---|---|---|
//! | committer | asked to stop, or no handle is left; then it closes the engine and frees the folder | ends the store, answers everything that waits |
//! | flusher | asked to stop and nothing is left to flush, or the store failed | ends the store |

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::batch::Batch;
use crate::failure::Failure;
use crate::folder::Owner;
use crate::handle::ApplyError;
use crate::progress::Progress;
use crate::records::{Outcome, Records};

/// What the handles ask of the committer.
pub(crate) enum Job {
    Apply {
        batch: Batch,
        /// The room that the batch takes up while it waits.
        room: OwnedSemaphorePermit,
        done: oneshot::Sender<Result<u64, ApplyError>>,
    },
    Stop,
}

/// The committer's thread: owns writing from the first job to the freeing of the folder.
pub(crate) struct Committer {
    pub(crate) jobs: Receiver<Job>,
    pub(crate) records: Arc<Records>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) flusher: thread::JoinHandle<()>,
    pub(crate) owner: Owner,
}

impl Committer {
    pub(crate) fn run(self) {
        let guard = EndOnPanic {
            progress: &self.progress,
            during: "applied a batch",
        };
        while let Ok(Job::Apply { batch, room, done }) = self.jobs.recv() {
            let answer = self.apply(batch);
            drop(room);
            // The caller may have gone; its batch happened all the same.
            if done.send(answer).is_err() {
                tracing::debug!("nobody waits for this batch any more");
            }
        }
        drop(guard);
        self.end();
    }

    fn apply(&self, batch: Batch) -> Result<u64, ApplyError> {
        if let Some(failure) = self.progress.failure() {
            return Err(ApplyError::Failed(failure.clone()));
        }
        match self.records.apply(batch) {
            Ok(Outcome::Seq(seq)) => {
                self.progress.applied(seq);
                Ok(seq)
            }
            Ok(Outcome::Unexpected { index, key }) => Err(ApplyError::Unexpected {
                index,
                key: key.escape_ascii().to_string(),
            }),
            Ok(Outcome::Damaged(error)) => Err(ApplyError::Damaged(error)),
            Ok(Outcome::Closed) => Err(ApplyError::Closed),
            Err(error) => {
                let failure = Failure::new("applied a batch", error);
                self.progress.fail(failure.clone());
                Err(ApplyError::Failed(failure))
            }
        }
    }

    /// Flushes what is left, closes the engine, frees the folder, and tells who waits for that.
    fn end(self) {
        self.progress.stop();
        if self.flusher.join().is_err() {
            self.progress
                .fail(Failure::panicked("made batches durable"));
        }
        self.records.close();
        drop(self.owner);
        self.progress.closed();
    }
}

/// The flusher's thread: one flush for all that waits, again and again.
pub(crate) fn flush(records: &Records, progress: &Progress) {
    let _guard = EndOnPanic {
        progress,
        during: "made batches durable",
    };
    while let Some(seq) = progress.next_flush() {
        if progress.failure().is_some() {
            return;
        }
        match records.durable(seq) {
            Ok(seq) => progress.durable(seq),
            Err(error) => return progress.fail(Failure::new("made batches durable", error)),
        }
    }
}

/// A thread that panics fails the store, so that nobody waits for it in vain.
struct EndOnPanic<'a> {
    progress: &'a Progress,
    during: &'static str,
}

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.progress.fail(Failure::panicked(self.during));
        }
    }
}
