//! What goes wrong on purpose: by name, at a rate or for the next few calls, drawn from a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// Each way in which the simulator can misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 503 `SERVER_UNAVAILABLE` before anything was executed.
    Refuse,
    /// The connection is reset before anything was executed.
    Reset,
    /// An HTML page, as 200 or 503, before anything was executed.
    Html,
    /// Executed, then the connection is closed without an answer.
    Drop,
    /// Executed, and answered `late_ms` afterwards.
    Late,
    /// Executed twice, as a proxy that repeats a request would; the second answer is given.
    Twice,
    /// Executed, and the answer's body ends before its content-length.
    Truncate,
    /// A collections call answers one row too few or one too many.
    WrongRows,
    /// A row is locked by somebody else: `UNABLE_TO_LOCK_ROW`.
    LockRows,
    /// A row of a parent whose children another call is writing: `UNABLE_TO_LOCK_ROW`.
    LockSiblings,
    /// The call takes `slow_ms` before it is executed.
    Slow,
    /// A query answers a page smaller than was asked for.
    ShortPages,
    /// A bulk job is created, and its creation not answered.
    DropJobCreate,
    /// A bulk job's rows are taken, and that is not answered.
    DropJobUpload,
    /// A bulk job is closed or aborted, and that is not answered.
    DropJobClose,
    /// A bulk job's state is not answered.
    DropJobPoll,
    /// A bulk job's results are not answered.
    DropJobResults,
    /// A closed bulk job fails with some of its rows written and the rest never looked at.
    JobFails,
    /// A closed bulk job is worked on, and yet nobody can find it from then on.
    JobLost,
    /// A closed bulk job waits `slow_job_ms` before it is begun.
    JobSlow,
    /// A result file lacks a row.
    JobRowMissing,
    /// A result file has a row twice.
    JobRowTwice,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 22] = [
        Self::Refuse,
        Self::Reset,
        Self::Html,
        Self::Drop,
        Self::Late,
        Self::Twice,
        Self::Truncate,
        Self::WrongRows,
        Self::LockRows,
        Self::LockSiblings,
        Self::Slow,
        Self::ShortPages,
        Self::DropJobCreate,
        Self::DropJobUpload,
        Self::DropJobClose,
        Self::DropJobPoll,
        Self::DropJobResults,
        Self::JobFails,
        Self::JobLost,
        Self::JobSlow,
        Self::JobRowMissing,
        Self::JobRowTwice,
    ];

    /// The name that the command line and the admin interface use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Reset => "reset",
            Self::Html => "html",
            Self::Drop => "drop",
            Self::Late => "late",
            Self::Twice => "twice",
            Self::Truncate => "truncate",
            Self::WrongRows => "wrong-rows",
            Self::LockRows => "lock-rows",
            Self::LockSiblings => "lock-siblings",
            Self::Slow => "slow",
            Self::ShortPages => "short-pages",
            Self::DropJobCreate => "drop-job-create",
            Self::DropJobUpload => "drop-job-upload",
            Self::DropJobClose => "drop-job-close",
            Self::DropJobPoll => "drop-job-poll",
            Self::DropJobResults => "drop-job-results",
            Self::JobFails => "job-fails",
            Self::JobLost => "job-lost",
            Self::JobSlow => "job-slow",
            Self::JobRowMissing => "job-row-missing",
            Self::JobRowTwice => "job-row-twice",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A fault that was asked for in words and does not exist, or not so.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// No fault of that name.
    #[error("no fault is called {name:?}; there are {}", names())]
    Unknown {
        /// The name as it was written.
        name: String,
    },
    /// Neither a rate nor a count.
    #[error("{text:?} is neither a rate from 0 to 1 nor next:COUNT")]
    When {
        /// The text as it was written.
        text: String,
    },
}

fn names() -> String {
    Fault::ALL.map(Fault::name).join(", ")
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| FaultError::Unknown {
                name: text.to_owned(),
            })
    }
}

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// With this probability, from 0 to 1.
    Rate(f64),
    /// At the next so many opportunities, and then no more.
    Next(u32),
}

impl FromStr for When {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let when = match text.strip_prefix("next:") {
            Some(count) => count.parse().ok().map(Self::Next),
            None => text
                .parse()
                .ok()
                .filter(|rate| (0.0..=1.0).contains(rate))
                .map(Self::Rate),
        };
        when.ok_or_else(|| FaultError::When {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(formatter, "{rate}"),
            Self::Next(count) => write!(formatter, "next:{count}"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Faults {
    set: BTreeMap<Fault, When>,
    happened: BTreeMap<Fault, u64>,
    dice: ChaCha8Rng,
}

impl Faults {
    pub(crate) fn new(seed: u64, set: &[(Fault, When)]) -> Self {
        Self {
            set: set.iter().copied().collect(),
            happened: BTreeMap::new(),
            dice: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(crate) fn set(&mut self, fault: Fault, when: When) {
        self.set.insert(fault, when);
    }

    pub(crate) fn is_set(&self, fault: Fault) -> bool {
        !matches!(
            self.set.get(&fault),
            None | Some(When::Next(0) | When::Rate(0.0))
        )
    }

    /// Whether the fault happens at this opportunity.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = match self.set.get_mut(&fault) {
            None => false,
            Some(When::Next(0)) => false,
            Some(When::Next(left)) => {
                *left -= 1;
                true
            }
            Some(When::Rate(rate)) => *rate > 0.0 && self.dice.random_bool(*rate),
        };
        if strikes {
            *self.happened.entry(fault).or_default() += 1;
        }
        strikes
    }

    /// A number below `below`, which must not be 0.
    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.dice.random_range(0..below)
    }

    pub(crate) fn settings(&self) -> Value {
        let settings: Map<String, Value> = Fault::ALL
            .into_iter()
            .map(|fault| {
                let when = self.set.get(&fault).copied().unwrap_or(When::Rate(0.0));
                (fault.name().to_owned(), json!(when.to_string()))
            })
            .collect();
        Value::Object(settings)
    }

    pub(crate) fn stats(&self) -> Value {
        let happened: Map<String, Value> = self
            .happened
            .iter()
            .map(|(fault, times)| (fault.name().to_owned(), json!(times)))
            .collect();
        Value::Object(happened)
    }
}
