//! What one plugin call may use, and what is said when it uses more.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Limits of one plugin, on by default; the operator overrides them by name in
/// `[plugins.NAME.limits]`. Zero is refused by [`Limits::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// The component file.
    pub component_bytes_max: u64,
    /// Linear memory of one call, summed over all of the component's memories.
    pub memory_bytes_max: u64,
    /// Elements of all tables of one call together.
    pub table_elements_max: u64,
    /// Time on a core, counted in steps of 10 ms.
    pub cpu_ms_max: u64,
    /// From start to answer, waiting for the gateway included.
    pub wall_ms_max: u64,
    /// Bytes that cross from the plugin to the host at once: an answer, or one list of requests.
    pub output_bytes_max: u64,
    /// Rows in one answer, whatever the caller allows.
    pub output_rows_max: u64,
    /// Calls of `fetch-batch` and `write-batch` in one call.
    pub host_calls_max: u64,
    /// Requests in all of those together.
    pub requests_max: u64,
    /// Log lines of one call; what exceeds it is dropped and counted.
    pub log_lines_max: u64,
    /// Bytes of those lines together; what exceeds it is dropped and counted.
    pub log_bytes_max: u64,
    /// Calls of the plugin that run at the same time; others wait.
    pub calls_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes_max: 64 << 20,
            memory_bytes_max: 128 << 20,
            table_elements_max: 100_000,
            cpu_ms_max: 5_000,
            wall_ms_max: 120_000,
            output_bytes_max: 64 << 20,
            output_rows_max: 100_000,
            host_calls_max: 1_000,
            requests_max: 10_000,
            log_lines_max: 200,
            log_bytes_max: 64 << 10,
            calls_max: 16,
        }
    }
}

impl Limits {
    /// The names of limits that are zero, with which no call could succeed. Logging may be turned off.
    pub fn check(&self) -> Result<(), Vec<&'static str>> {
        let limits = [
            (Knob::ComponentBytes, self.component_bytes_max),
            (Knob::MemoryBytes, self.memory_bytes_max),
            (Knob::CpuMs, self.cpu_ms_max),
            (Knob::WallMs, self.wall_ms_max),
            (Knob::OutputBytes, self.output_bytes_max),
            (Knob::Calls, self.calls_max),
        ];
        let zero: Vec<_> = limits
            .into_iter()
            .filter(|(_, limit)| *limit == 0)
            .map(|(knob, _)| knob.name())
            .collect();
        if zero.is_empty() { Ok(()) } else { Err(zero) }
    }
}

/// A limit by its name in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Knob {
    ComponentBytes,
    MemoryBytes,
    TableElements,
    CpuMs,
    WallMs,
    OutputBytes,
    OutputRows,
    HostCalls,
    Requests,
    Calls,
}

impl Knob {
    pub fn name(self) -> &'static str {
        match self {
            Self::ComponentBytes => "component-bytes-max",
            Self::MemoryBytes => "memory-bytes-max",
            Self::TableElements => "table-elements-max",
            Self::CpuMs => "cpu-ms-max",
            Self::WallMs => "wall-ms-max",
            Self::OutputBytes => "output-bytes-max",
            Self::OutputRows => "output-rows-max",
            Self::HostCalls => "host-calls-max",
            Self::Requests => "requests-max",
            Self::Calls => "calls-max",
        }
    }

    /// The stable code of its breach.
    pub fn code(self) -> &'static str {
        match self {
            Self::ComponentBytes => "oversized",
            Self::MemoryBytes => "memory-limit",
            Self::TableElements => "table-limit",
            Self::CpuMs => "cpu-limit",
            Self::WallMs => "wall-limit",
            Self::OutputBytes => "output-bytes-limit",
            Self::OutputRows => "output-rows-limit",
            Self::HostCalls => "host-calls-limit",
            Self::Requests => "requests-limit",
            Self::Calls => "calls-limit",
        }
    }
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit that a call ran into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; raise {knob} of the plugin's limits if it needs more")]
pub struct Breach {
    pub knob: Knob,
    /// What happened, with the limit's value.
    pub what: String,
}

impl Breach {
    pub(crate) fn new(knob: Knob, what: String) -> Self {
        Self { knob, what }
    }
}
