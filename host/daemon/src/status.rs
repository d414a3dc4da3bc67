//! What a running host tells of itself, and what it can be told to do.
//!
//! The seam between the engine, which knows, and the [`control`](crate::control) socket, which is asked.
//! Holds names, counts, codes and record ids; never a field's value or a secret (invariant 10).

use crate::alerts::AlertsStatus;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tidegate_core::hold::Scope;
use tidegate_core::pace::Lane;
use tidegate_core::sync::Side;

/// The whole host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    pub version: String,
    pub uptime_ms: u64,
    /// The host has been asked to stop and is finishing the calls in flight.
    pub stopping: bool,
    /// What people hold back.
    pub holds: Vec<HoldStatus>,
    pub syncs: Vec<SyncStatus>,
    pub endpoints: Vec<EndpointStatus>,
    pub alerts: AlertsStatus,
    pub plugins: Vec<PluginStatus>,
    pub store: StoreStatus,
    pub cache: CacheStatus,
    /// Resident memory of the process; 0 where the system does not tell.
    pub rss_bytes: u64,
}

/// What a person holds back, who, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HoldStatus {
    /// Such as `sync people`, as `tidegate resume` takes it.
    pub what: String,
    pub by: String,
    /// Microseconds since 1970.
    pub since_us: i64,
    /// As the person put it; may be empty.
    pub why: String,
}

/// What a sync is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncState {
    /// Discovering and preparing its endpoints, waiting to try that again, or asking for changes the first time.
    #[default]
    Starting,
    /// Reading a side whole for the first time.
    Initial,
    Running,
    /// By a person; nothing is lost meanwhile.
    Paused,
    /// Goes on by itself: a vendor is down, a pool is spent.
    Waiting,
    /// Deletes are held back until a person releases them; the rest goes on.
    Braked,
    /// Does not go on, or not start, without a person.
    Stopped,
}

impl SyncState {
    pub fn needs_person(self) -> bool {
        match self {
            Self::Braked | Self::Stopped => true,
            Self::Starting | Self::Initial | Self::Running | Self::Paused | Self::Waiting => false,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SyncStatus {
    pub name: String,
    pub state: SyncState,
    /// Why, unless it just runs.
    pub reason: Option<Told>,
    /// Records that are known, each counted once, also those that only one side has so far.
    pub records: u64,
    /// Records whose changes wait.
    pub waiting: u64,
    /// Of those, the ones that name a record which is not on both sides yet.
    pub waiting_for_parents: u64,
    /// Of those, at first contact, the ones that lack their other half until both sides are read and paired.
    pub waiting_for_pairs: u64,
    pub in_flight: u64,
    /// Sides that are read whole for the first time, or were since the host started.
    pub first_reads: Vec<FirstReadStatus>,
    pub settling: SettlingStatus,
    pub writes: WritesStatus,
    /// Pushes that a vendor works on.
    pub jobs: Vec<JobStatus>,
    pub dead: u64,
    /// Since the host started, like all the counts below.
    pub captured: u64,
    pub written: u64,
    /// Our own writes that came back as changes.
    pub echoes: u64,
    pub conflicts: u64,
    /// What keeps ready changes from being sent, by direction and lane.
    pub held_up: Vec<HeldUp>,
    /// Age of the oldest change that waits; 0 when none does.
    pub lag_ms: u64,
    pub left_to_right: Latency,
    pub right_to_left: Latency,
    /// The last thing that went wrong, which may be over.
    pub last_error: Option<Told>,
}

/// How far a side has been read whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FirstReadStatus {
    pub side: Side,
    pub done: bool,
    /// So far, those before a restart included.
    pub rows: u64,
    /// How many there were when it began; absent where the source did not tell.
    pub of: Option<u64>,
    /// Rows a second over the last minute; absent before there is any, and when it is over.
    pub per_s: Option<f64>,
    /// Until it is over, at that rate; absent when nobody can tell.
    pub left_ms: Option<u64>,
}

/// How far the work on records is that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SettlingStatus {
    /// Records that came to rest: written, found to be the same on both sides, or left to a person.
    pub done: u64,
    /// Records that wait or are in flight.
    pub waiting: u64,
    /// Records that came to rest a second, over the last minute.
    pub per_s: Option<f64>,
    /// Until none waits, at that rate; absent when nobody can tell.
    pub left_ms: Option<u64>,
}

/// Rows that were given to connectors to write, by what became of them. What is on its way has no outcome yet: when nothing
/// is, `sent` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WritesStatus {
    pub sent: u64,
    pub done: u64,
    /// Refused, or not sent after all; they may be tried again.
    pub failed: u64,
    /// Nobody knows whether they were written; they are looked up first.
    pub unknown: u64,
}

/// A push that a vendor works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobStatus {
    /// Names it in the log.
    pub job: u64,
    /// The side that is written.
    pub to: Side,
    pub method: String,
    /// Without an outcome yet.
    pub rows: u64,
    /// Microseconds since 1970.
    pub since_us: i64,
    /// Times that the vendor was asked how it stands.
    pub polls: u32,
}

/// Changes that are ready and wait for their target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldUp {
    /// The side that they go to.
    pub to: Side,
    pub lane: Lane,
    pub changes: u64,
    /// Why: a code, and words that name the pool or endpoint.
    pub reason: Told,
    /// They are looked at again after so long.
    pub in_ms: u64,
}

/// From the source's commit to the destination's answer, over the last while; absent before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Latency {
    pub p50_ms: Option<u64>,
    pub p99_ms: Option<u64>,
    pub max_ms: Option<u64>,
}

/// A code for scripts and words for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointStatus {
    pub name: String,
    pub plugin: String,
    /// HTTP requests on the wire since the host started, repeats included.
    pub requests: u64,
    pub statements: u64,
    /// Answers in which the vendor said that an allowance is spent.
    pub throttled: u64,
    /// Requests that came back unsent, because no permit was to be had in time.
    pub held_back: u64,
    pub reads: ReadsStatus,
    /// Its credentials, where it has several.
    pub accounts: Vec<AccountStatus>,
    pub pools: Vec<PoolStatus>,
}

/// Reads that said how old an answer may be, by where theirs came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReadsStatus {
    /// From the cache.
    pub recalled: u64,
    /// From the cache, and older than asked, because an allowance runs out.
    pub recalled_stale: u64,
    /// From the vendor.
    pub asked: u64,
    /// From the cache, after the vendor said that it still holds.
    pub renewed: u64,
    /// From the same read, which was on its way.
    pub joined: u64,
}

/// What is kept of the vendors' answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CacheStatus {
    pub memory_answers: u64,
    pub memory_bytes: u64,
    /// Over a restart; most of them are in memory too.
    pub store_answers: u64,
    pub store_bytes: u64,
}

/// One of several credentials of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountStatus {
    pub name: String,
    /// `read` or `write` where it is kept for that; empty for both.
    pub only: String,
    /// Why the vendor refuses it: a code; empty while it serves.
    pub revoked: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolStatus {
    pub name: String,
    /// Units drawn by us, those of requests without an answer yet included.
    pub used: u64,
    /// Units drawn by others of the same account, as far as the vendor tells.
    pub used_by_others: u64,
    /// Units that are ours at most.
    pub limit: u64,
    /// How far it is used up: `plenty`, `notify`, `stretch` or `critical`.
    pub level: String,
    /// Nothing draws from it before so long from now; absent when it is open.
    pub parked_ms: Option<u64>,
    /// Why it is parked or held back; empty when it is open.
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginStatus {
    /// As the config calls it.
    pub name: String,
    pub plugin: String,
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub hash: String,
    /// Calls that ended since the host started, and of those the ones that a limit ended, that the plugin's own
    /// code failed in, and whose answer broke the contract.
    pub calls: u64,
    pub breached: u64,
    pub trapped: u64,
    pub broken: u64,
    /// The last of those three, which names its limit where one was reached.
    pub last_failure: Option<Told>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreStatus {
    pub engine: String,
    pub records: u64,
    pub bytes: u64,
}

/// A record that waits for a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeadLetter {
    pub sync: String,
    /// Names it in commands.
    pub record: String,
    /// Its id on each side, where it has one.
    pub left: Option<String>,
    pub right: Option<String>,
    /// The side that it could not be written to; absent when it was not mapped at all.
    pub target: Option<Side>,
    pub reason: Told,
    pub fields: Vec<String>,
    /// Microseconds since 1970.
    pub since_us: i64,
}

/// What the engine can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Holds it until it is resumed, also over a restart.
    Pause {
        what: Scope,
        by: String,
        why: String,
    },
    /// Lets it go on at once, whether a person or a failure stopped it. Deletes that the brake holds go through when
    /// their sync is named and was not paused.
    Resume { what: Scope },
    /// Lets the held deletes through and starts counting anew.
    ReleaseDeletes { sync: String },
    /// Newest first.
    DeadList {
        sync: Option<String>,
        rows_max: usize,
    },
    /// Puts dead letters back in the queue; all of the sync's when none is named.
    DeadRetry { sync: String, records: Vec<String> },
    /// Two records, by their ids, are one.
    Pair {
        sync: String,
        left: String,
        right: String,
    },
    /// A record, by its id, has no other half: it is made on the other side. `side` where both have one of this id.
    Apart {
        sync: String,
        record: String,
        side: Option<Side>,
    },
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// How many things were changed: 0 when it was so already.
    Changed(u64),
    Resumed(Resumed),
    DeadLetters(Vec<DeadLetter>),
}

/// What a resume did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resumed {
    /// Pauses that ended.
    pub lifted: u64,
    /// Syncs that a failure had stopped, and that try again now.
    pub cleared: u64,
    /// Deletes that the brake held.
    pub released: u64,
    /// What holds the same syncs still.
    pub still: Vec<HoldStatus>,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[error("{message}")]
pub struct CommandError {
    pub code: String,
    pub message: String,
}

/// Whoever knows how the syncs are. Answers at once: nobody waits for a vendor to see a status.
pub trait StatusSource: Send + Sync {
    /// The syncs, by name.
    fn syncs(&self) -> BoxFuture<'_, Vec<SyncStatus>>;
    /// What people hold back.
    fn holds(&self) -> Vec<HoldStatus>;
    /// Returns when the command is in force and survives a restart.
    fn command(&self, command: Command) -> BoxFuture<'_, Result<Done, CommandError>>;
}
