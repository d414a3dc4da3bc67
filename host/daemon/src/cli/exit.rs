//! Exit codes that scripts can use.

use std::process::ExitCode;

/// How a command ended. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// It was tried and did not work.
    Failed = 1,
    /// The command line or the config is wrong. clap ends with 2 as well.
    Usage = 2,
    /// The store is locked by another host, damaged, or out of disk.
    Store = 3,
    /// A sync has stopped and waits for a person.
    NeedsPerson = 4,
    /// No host is running where one was asked for.
    NotRunning = 5,
    /// A plan costs more than its budget.
    OverBudget = 6,
}

pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  it was tried and did not work
  2  the command line or the config is wrong
  3  the store is locked by another host, damaged, or out of disk
  4  a sync has stopped and waits for a person
  5  no host is running
  6  a plan costs more than its budget";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
