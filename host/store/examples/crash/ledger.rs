//! What a store promised, kept outside its process, and the comparison with what came back.

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tidegate_store::{EngineKind, KeyRange, Store};

use crate::Outcome;
use crate::workload::{self, Records, WRITERS};
use crate::writer;

/// The last batch of each writer that the store called durable.
#[derive(Default)]
pub(crate) struct Ledger {
    durable: [u64; WRITERS as usize],
    /// How many acknowledgements of each writer may be lost: one for each crash since the last look.
    unheard: u64,
    pub(crate) acknowledged: u64,
}

impl Ledger {
    /// The process ended: one more acknowledgement of each writer may be lost.
    pub(crate) fn crashed(&mut self) {
        self.unheard += 1;
    }

    fn note(&mut self, line: &str) -> Outcome {
        let mut words = line.split(' ');
        if words.next() == Some("ack")
            && let (Some(writer), Some(number)) = (words.next(), words.next())
        {
            let writer: usize = writer.parse()?;
            self.durable[writer] = self.durable[writer].max(number.parse()?);
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// Opens what came back and compares. A store that was never there is right if it promised nothing.
    pub(crate) fn check(&mut self, folder: &Path, engine: EngineKind) -> Outcome {
        let store = Store::open(folder, writer::options(engine))?;
        let found: Records = store
            .scan(&KeyRange::all(), usize::MAX)?
            .into_iter()
            .collect();
        let mut expected = Records::new();
        for (writer, durable) in (0..WRITERS).zip(self.durable) {
            let head = match found.get(&workload::head_key(writer)) {
                Some(head) => u64::from_be_bytes(head.as_slice().try_into()?),
                None => 0,
            };
            // A writer has one batch in flight, whose acknowledgement may be lost with the process.
            if !(durable..=durable + self.unheard).contains(&head) {
                return Err(format!(
                    "writer {writer}: batch {durable} was acknowledged, {head} came back"
                )
                .into());
            }
            self.durable[writer as usize] = head;
            expected.append(&mut workload::records(writer, head));
        }
        self.unheard = 0;
        compare(&found, &expected)?;
        let verified = store.verify()?;
        if !verified.is_sound() {
            return Err(format!("{verified:?}").into());
        }
        Ok(())
    }
}

fn compare(found: &Records, expected: &Records) -> Outcome {
    let name = |key: &[u8]| key.escape_ascii().to_string();
    if let Some(key) = expected.keys().find(|key| !found.contains_key(*key)) {
        return Err(format!("{} is lost", name(key)).into());
    }
    for (key, value) in found {
        match expected.get(key) {
            None => return Err(format!("{} should be gone", name(key)).into()),
            Some(expected) if expected != value => {
                return Err(format!("{} has another value", name(key)).into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// A writer that should end and does not is killed after this long, and has failed.
const HUNG_AFTER: Duration = Duration::from_secs(60);

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running writer.
pub(crate) struct Writer {
    child: Arc<Mutex<Child>>,
    lines: BufReader<ChildStdout>,
    complaints: Option<ChildStderr>,
    early: VecDeque<String>,
}

impl Writer {
    pub(crate) fn start(
        folder: &Path,
        engine: EngineKind,
        batches: u64,
        environment: &[(&str, String)],
    ) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["write", engine.name()])
            .arg(folder)
            .arg(batches.to_string())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let lines = child.stdout.take().ok_or("no standard output")?;
        let complaints = child.stderr.take();
        Ok(Self {
            child: Arc::new(Mutex::new(child)),
            lines: BufReader::new(lines),
            complaints,
            early: VecDeque::new(),
        })
    }

    /// Waits until the writer has said `word`, or has ended.
    pub(crate) fn await_line(&mut self, word: &str) -> Outcome {
        let mut line = String::new();
        while self.lines.read_line(&mut line)? > 0 {
            let said = line.trim_end().to_owned();
            let found = said == word;
            self.early.push_back(said);
            if found {
                break;
            }
            line.clear();
        }
        Ok(())
    }

    /// Kills the writer after a delay and notes what it had said. Returns the failures that it reported.
    pub(crate) fn kill_after(self, delay: Duration, ledger: &mut Ledger) -> Outcome<Vec<String>> {
        thread::sleep(delay);
        lock(&self.child).kill()?;
        self.finish(ledger).map(|(_, failures)| failures)
    }

    /// Notes what the writers say until the end; whether the process ended in peace, and the failures that it
    /// reported.
    pub(crate) fn finish(mut self, ledger: &mut Ledger) -> Outcome<(bool, Vec<String>)> {
        let (done, ended_in_time) = mpsc::channel::<()>();
        let child = Arc::clone(&self.child);
        let watchdog = thread::spawn(move || {
            let hung = ended_in_time.recv_timeout(HUNG_AFTER) == Err(RecvTimeoutError::Timeout);
            if hung {
                lock(&child).kill()?;
            }
            Ok::<bool, io::Error>(hung)
        });
        let mut failures = Vec::new();
        let mut ended = HashSet::new();
        ledger.crashed();
        let mut take = |line: String, ledger: &mut Ledger| -> Outcome {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["failed", writer, code] => {
                    ended.insert((*writer).to_owned());
                    failures.push((*code).to_owned());
                }
                // A promise after a failure is exactly what must not be.
                ["ack", writer, _] if ended.contains(*writer) => {
                    return Err(format!("\"{line}\" after {}", failures.join(", ")).into());
                }
                _ => ledger.note(&line)?,
            }
            Ok(())
        };
        for line in self.early.drain(..) {
            take(line, ledger)?;
        }
        for line in self.lines.by_ref().lines() {
            take(line?, ledger)?;
        }
        let mut words = String::new();
        if let Some(mut complaints) = self.complaints.take() {
            complaints.read_to_string(&mut words)?;
        }
        let status = lock(&self.child).wait()?;
        drop(done);
        if words.contains("panicked") {
            return Err(words.into());
        }
        match watchdog.join() {
            Ok(Ok(false)) => Ok((status.success(), failures)),
            _ => Err(format!("the writer hung; it said {}", failures.join(", ")).into()),
        }
    }
}
