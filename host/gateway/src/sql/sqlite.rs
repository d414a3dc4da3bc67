//! SQLite: one thread per connection, two connections per database.
//!
//! Writes and reads have a thread each, so that in WAL mode a long read never holds up a write. Both are
//! fed through bounded queues and open the file when first asked. A caller that goes away interrupts its
//! statement, which is then rolled back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tidegate_core::batch::Batch;
use tidegate_core::plugin::{Executed, Fault, FaultKind, SqlRequest, SqlResponse};
use tokio::sync::{mpsc, oneshot, watch};

use super::commits::Commits;
use super::errors::{During, fault};
use super::guard::Guard;
use super::values::{Reader, parameter};
use super::{Access, Answers, Sql};
use crate::clock::Clock;
use crate::endpoint::Limits;

/// Compiled statements kept per connection.
const STATEMENTS_CACHED: usize = 128;
/// Steps of SQLite's machine between two looks at whether the caller is still there: some microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// What one transaction asks of a database's thread.
struct Errand {
    statements: Vec<SqlRequest>,
    given_up: Arc<AtomicBool>,
    reply: oneshot::Sender<Answers>,
}

pub(crate) struct Sqlite {
    reads: mpsc::Sender<Errand>,
    writes: mpsc::Sender<Errand>,
    commits: Commits,
    clock: Arc<dyn Clock>,
    timeout_ms: u64,
}

impl Sqlite {
    pub(crate) fn new(
        path: PathBuf,
        limits: &Limits,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            reads: spawn(path.clone(), Access::Read, limits)?,
            writes: spawn(path.clone(), Access::Write, limits)?,
            commits: Commits::new(path),
            clock,
            timeout_ms: limits.sql_timeout_ms,
        })
    }

    async fn ask(&self, access: Access, statements: Vec<SqlRequest>) -> Answers {
        let count = statements.len();
        let (reply, mut answers) = oneshot::channel();
        let given_up = GiveUp(Arc::new(AtomicBool::new(false)));
        let errand = Errand {
            statements,
            given_up: given_up.0.clone(),
            reply,
        };
        let queue = match access {
            Access::Read => &self.reads,
            Access::Write => &self.writes,
        };
        if queue.send(errand).await.is_err() {
            return vec![Err(thread_gone(Executed::No)); count];
        }
        let deadline = self
            .clock
            .sleep_until(self.clock.now().mono_ms.saturating_add(self.timeout_ms));
        let in_time = tokio::select! {
            biased;
            answers = &mut answers => Some(answers),
            () = deadline => None,
        };
        let answered = match in_time {
            Some(answered) => answered,
            None => {
                // The statement is interrupted and rolled back, unless its commit won the race.
                given_up.0.store(true, Ordering::Relaxed);
                answers.await
            }
        };
        answered.unwrap_or_else(|_| vec![Err(thread_gone(Executed::Unknown)); count])
    }
}

impl Sql for Sqlite {
    fn execute(&self, access: Access, statements: Vec<SqlRequest>) -> BoxFuture<'_, Answers> {
        self.ask(access, statements).boxed()
    }

    fn commits(&self) -> Option<watch::Receiver<u64>> {
        self.commits.subscribe()
    }
}

/// Tells the thread, when dropped, that nobody waits for the answer any longer.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn thread_gone(executed: Executed) -> Fault {
    Fault::new(
        FaultKind::Transient,
        "database-thread-gone",
        "the database's thread has ended; it is started anew with the endpoint",
    )
    .executed(executed)
}

fn spawn(path: PathBuf, access: Access, limits: &Limits) -> std::io::Result<mpsc::Sender<Errand>> {
    let (queue, errands) = mpsc::channel(limits.sql_queue_max);
    let clerk = Clerk {
        path,
        access,
        busy: Duration::from_millis(limits.sql_busy_ms),
        bytes_max: limits.response_bytes_max,
    };
    std::thread::Builder::new()
        .name(format!("sqlite-{access:?}").to_lowercase())
        .spawn(move || clerk.serve(errands))?;
    Ok(queue)
}

/// Owns one connection, on a thread of its own.
struct Clerk {
    path: PathBuf,
    access: Access,
    busy: Duration,
    bytes_max: u64,
}

impl Clerk {
    fn serve(self, mut errands: mpsc::Receiver<Errand>) {
        let mut open = None;
        while let Some(errand) = errands.blocking_recv() {
            let answers = self.transact(&mut open, &errand);
            // Who asked may have gone; the work is done or undone either way.
            drop(errand.reply.send(answers));
        }
    }

    fn transact(&self, open: &mut Option<(Connection, Guard)>, errand: &Errand) -> Answers {
        let count = errand.statements.len();
        if errand.given_up.load(Ordering::Relaxed) {
            return vec![Err(given_up()); count];
        }
        if open.is_none() {
            match self.open() {
                Ok(opened) => *open = Some(opened),
                Err(error) => return vec![Err(fault(&error, During::Statement)); count],
            }
        }
        let Some((connection, guard)) = open else {
            return Vec::new();
        };
        let answers = self
            .watch(connection, errand)
            .map_err(|error| vec![Err(fault(&error, During::Statement)); count])
            .map_or_else(|faults| faults, |()| self.run(connection, guard, errand));
        // A damaged or vanished file is looked at afresh next time.
        let lost = |answer: &Result<_, Fault>| {
            answer.as_ref().is_err_and(|fault| {
                matches!(
                    fault.code.as_str(),
                    "SQLITE_CANTOPEN" | "SQLITE_IOERR" | "SQLITE_NOTADB"
                )
            })
        };
        if answers.iter().any(lost) {
            *open = None;
        }
        answers
    }

    fn open(&self) -> rusqlite::Result<(Connection, Guard)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.busy)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // A write that was reported must survive a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        if self.access == Access::Read {
            connection.pragma_update(None, "query_only", true)?;
        }
        let guard = Guard::post(&mut connection, self.access)?;
        Ok((connection, guard))
    }

    fn watch(&self, connection: &mut Connection, errand: &Errand) -> rusqlite::Result<()> {
        let given_up = errand.given_up.clone();
        connection.progress_handler(
            STEPS_BETWEEN_LOOKS,
            Some(move || given_up.load(Ordering::Relaxed)),
        )
    }

    fn run(&self, connection: &Connection, guard: &Guard, errand: &Errand) -> Answers {
        let begin = match self.access {
            Access::Read => "BEGIN",
            Access::Write => "BEGIN IMMEDIATE",
        };
        let statements = &errand.statements;
        if let Err(error) = connection.execute_batch(begin) {
            return vec![Err(fault(&error, During::Statement)); statements.len()];
        }
        let mut responses = Vec::with_capacity(statements.len());
        for statement in statements {
            match self.statement(connection, guard, statement) {
                Ok(response) => responses.push(Ok(response)),
                Err(cause) => {
                    return roll_back(connection, statements.len(), responses.len(), &cause);
                }
            }
        }
        match connection.execute_batch("COMMIT") {
            Ok(()) => responses,
            Err(error) => {
                let cause = fault(&error, During::Commit);
                abandon(connection);
                vec![Err(cause); statements.len()]
            }
        }
    }

    fn statement(
        &self,
        connection: &Connection,
        guard: &Guard,
        request: &SqlRequest,
    ) -> Result<SqlResponse, Fault> {
        guard.guarded(|| {
            self.execute(connection, request)
                .map_err(|stop| stop.explain(guard))
        })
    }

    fn execute(&self, connection: &Connection, request: &SqlRequest) -> Result<SqlResponse, Stop> {
        let mut statement = connection.prepare_cached(&request.statement)?;
        let parameters = &request.parameters;
        if statement.parameter_count() != parameters.columns.len() {
            return Err(Stop::Fault(Fault::new(
                FaultKind::Refused,
                "parameter-count",
                format!(
                    "the statement has {} parameters, the request brings {}",
                    statement.parameter_count(),
                    parameters.columns.len()
                ),
            )));
        }
        let mut result = Outcome::of(&statement, request, self.bytes_max)?;
        for row in 0..parameters.rows {
            for (index, column) in parameters.columns.iter().enumerate() {
                let value = parameter(column.cell(row)).ok_or_else(|| unset(&column.name, row))?;
                statement.raw_bind_parameter(index + 1, value)?;
            }
            let before = connection.total_changes();
            result.take(&mut statement.raw_query())?;
            let changed = connection.total_changes() != before;
            result
                .affected
                .push(if changed { connection.changes() } else { 0 });
        }
        Ok(result.finish(request.rows_max))
    }
}

/// What ends a statement early.
enum Stop {
    Sqlite(rusqlite::Error),
    Fault(Fault),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Stop {
    fn explain(self, guard: &Guard) -> Fault {
        match (self, guard.take_refused()) {
            (Self::Fault(fault), _) => fault,
            (Self::Sqlite(_), Some(what)) => Fault::new(
                FaultKind::Refused,
                "statement-not-allowed",
                format!("plugins may not use {what}"),
            ),
            (Self::Sqlite(error), None) => fault(&error, During::Statement),
        }
    }
}

/// Result rows as they come in.
struct Outcome {
    readers: Vec<Reader>,
    rows: usize,
    rows_max: usize,
    bytes: u64,
    bytes_max: u64,
    more: bool,
    affected: Vec<u64>,
}

impl Outcome {
    fn of(
        statement: &rusqlite::Statement<'_>,
        request: &SqlRequest,
        bytes_max: u64,
    ) -> Result<Self, Stop> {
        let readers: Vec<Reader> = statement
            .columns()
            .enumerate()
            .map(|(index, column)| {
                let asked = request.result_types.get(index).copied();
                Reader::new(column.name(), asked, column.decl_type())
            })
            .collect();
        let mut names = std::collections::HashSet::new();
        if let Some(twice) = readers.iter().find(|reader| !names.insert(reader.name())) {
            return Err(Stop::Fault(Fault::new(
                FaultKind::Refused,
                "column-twice",
                format!(
                    "two result columns are called {}; name one AS something else",
                    twice.name()
                ),
            )));
        }
        Ok(Self {
            readers,
            rows: 0,
            rows_max: request.rows_max as usize,
            bytes: 0,
            bytes_max,
            more: false,
            affected: Vec::new(),
        })
    }

    fn take(&mut self, rows: &mut rusqlite::Rows<'_>) -> Result<(), Stop> {
        while let Some(row) = rows.next()? {
            if self.rows == self.rows_max {
                self.more = true;
                return Ok(());
            }
            for (index, reader) in self.readers.iter_mut().enumerate() {
                let value = row.get_ref(index)?;
                self.bytes += value
                    .as_bytes_or_null()
                    .ok()
                    .flatten()
                    .map_or(8, <[u8]>::len) as u64;
                reader
                    .push(value)
                    .map_err(|expected| misfit(reader.name(), self.rows, expected))?;
            }
            self.rows += 1;
            if self.bytes > self.bytes_max {
                return Err(Stop::Fault(Fault::new(
                    FaultKind::Broken,
                    "response-too-large",
                    format!(
                        "the result exceeds response-bytes-max = {}; ask for fewer rows",
                        self.bytes_max
                    ),
                )));
            }
        }
        Ok(())
    }

    fn finish(self, rows_max: u32) -> SqlResponse {
        debug_assert!(self.rows <= rows_max as usize);
        SqlResponse {
            rows: Batch {
                rows: self.rows,
                columns: self.readers.into_iter().map(Reader::finish).collect(),
            },
            affected: self.affected,
            truncated: self.more,
        }
    }
}

fn misfit(column: &str, row: usize, expected: tidegate_core::batch::DataType) -> Stop {
    Stop::Fault(Fault::new(
        FaultKind::Broken,
        "value-misfit",
        format!(
            "column {column}, result row {}: the value is no {expected}",
            row + 1
        ),
    ))
}

fn unset(column: &str, row: usize) -> Stop {
    Stop::Fault(Fault::new(
        FaultKind::Refused,
        "parameter-unset",
        format!(
            "parameter {column}, row {}: a statement can't leave a value unset",
            row + 1
        ),
    ))
}

fn given_up() -> Fault {
    Fault::new(
        FaultKind::Transient,
        "SQLITE_INTERRUPT",
        "the statement took longer than sql-timeout-ms, or its call has ended",
    )
}

/// Undoes everything: the statement at `failed` bears the cause, the others say so.
fn roll_back(connection: &Connection, count: usize, failed: usize, cause: &Fault) -> Answers {
    abandon(connection);
    (0..count)
        .map(|index| {
            if index == failed {
                return Err(cause.clone());
            }
            Err(Fault::new(
                cause.kind,
                "rolled-back",
                format!(
                    "statement {} of the same transaction failed: {}",
                    failed + 1,
                    cause.code
                ),
            ))
        })
        .collect()
}

fn abandon(connection: &Connection) {
    // Some failures have rolled back already; then there is nothing to undo.
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::warn!(code = %error, "an SQLite transaction could not be rolled back");
    }
}
