//! One call: a fresh instance, its budgets, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::plugin::Fault;
use wasmtime::component::Instance;
use wasmtime::{Store, Trap, WasmBacktrace};

use crate::guest::{Door, Guest};
use crate::limits::{Breach, Knob};
use crate::plugin::Plugin;

/// Why a call gave no answer. Only this call is lost; the next one gets a fresh instance (invariant 11).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin said so itself.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A limit was reached. `knob` is its name in the config.
    #[error("{code}: {message}")]
    Breach {
        code: &'static str,
        knob: &'static str,
        message: String,
    },
    /// The plugin's code failed.
    #[error("{code}: {message}")]
    Trap { code: &'static str, message: String },
    /// The answer breaks the interface's contract, and was thrown away.
    #[error("{code}: {message}")]
    Contract { code: &'static str, message: String },
}

impl CallError {
    /// Stable, for programs: the fault's own code, or one of this host's.
    pub fn code(&self) -> &str {
        match self {
            Self::Fault(fault) => &fault.code,
            Self::Breach { code, .. } | Self::Trap { code, .. } | Self::Contract { code, .. } => {
                code
            }
        }
    }

    /// Whether the input may be to blame, so that halving it finds the poisoned record.
    pub fn blames_input(&self) -> bool {
        !matches!(self, Self::Fault(_))
    }

    pub(crate) fn not_exported(interface: &str, function: &str) -> Self {
        Self::Contract {
            code: "not-exported",
            message: format!(
                "the plugin has no {interface} interface, so {function} can't be called"
            ),
        }
    }

    pub(crate) fn breach(breach: Breach) -> Self {
        Self::Breach {
            code: breach.knob.code(),
            knob: breach.knob.name(),
            message: breach.to_string(),
        }
    }
}

/// A running call. Dropping it ends the guest, whatever it is doing.
pub(crate) struct Session {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: Instance,
}

impl Plugin {
    /// Runs `called` in a fresh instance within all of the plugin's limits.
    pub(crate) async fn run<R, F>(
        &self,
        function: &'static str,
        door: Option<Door>,
        now: i64,
        called: F,
    ) -> Result<R, CallError>
    where
        F: AsyncFnOnce(Session) -> (Session, wasmtime::Result<R>),
    {
        // Waiting for a turn is not the plugin's doing and does not count as its time. Neither semaphore is ever
        // closed, so having no permit is not a case.
        let _turn = self.calls.acquire().await.ok();
        let _instance = self.sandbox.instances.acquire().await.ok();
        let wall = Duration::from_millis(self.limits.wall_ms_max);
        let work = async {
            let mut store = self.store(function, door, now);
            match self.pre.instantiate_async(&mut store).await {
                Ok(instance) => {
                    let (session, result) = called(Session { store, instance }).await;
                    (session.store, result)
                }
                Err(error) => (store, Err(error)),
            }
        };
        let Ok((store, result)) = tokio::time::timeout(wall, work).await else {
            let wall_ms_max = self.limits.wall_ms_max;
            let what = format!("{function} took longer than {wall_ms_max} ms, waiting included");
            return Err(CallError::breach(Breach::new(Knob::WallMs, what)));
        };
        let guest = store.into_data();
        guest.report_dropped_lines();
        result.map_err(|error| explain(guest, &error))
    }

    fn store(&self, function: &'static str, door: Option<Door>, now: i64) -> Store<Guest> {
        let limits = Arc::clone(&self.limits);
        let guest = Guest::new(Arc::clone(&self.name), function, limits, door, now);
        let mut store = Store::new(&self.sandbox.engine, guest);
        store.limiter(|guest| guest);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(Guest::tick);
        store
            .set_hostcall_fuel(usize::try_from(self.limits.output_bytes_max).unwrap_or(usize::MAX));
        store.set_max_component_handles(HANDLES_MAX);
        store
    }
}

/// Only WASI has resources, and a runtime needs a handful.
const HANDLES_MAX: usize = 1_000;

impl Guest {
    fn report_dropped_lines(&self) {
        let dropped = self.log.dropped;
        if dropped > 0 {
            let (plugin, call) = (&*self.plugin, self.function);
            tracing::warn!(target: "plugin", plugin, call, dropped, "log lines over log-lines-max or log-bytes-max were dropped");
        }
    }
}

/// Names the limit that ended the guest if there was one, else what its code did.
fn explain(guest: Guest, error: &wasmtime::Error) -> CallError {
    if let Some(breach) = guest.breach {
        return CallError::breach(breach);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let code = trap_code(*trap);
        let message = format!("{} failed: {trap}{}", guest.function, frames(error));
        return CallError::Trap { code, message };
    }
    let root = error.root_cause().to_string();
    // wasmtime keeps this error's type to itself.
    if root.contains("fuel allocated for hostcalls") {
        let output_bytes_max = guest.limits.output_bytes_max;
        let what = format!("more than {output_bytes_max} bytes came out of the plugin at once");
        return CallError::breach(Breach::new(Knob::OutputBytes, what));
    }
    if error.is::<wasmtime_wasi::I32Exit>() {
        let message = format!(
            "{} ended its own process instead of answering",
            guest.function
        );
        return CallError::Trap {
            code: "exit",
            message,
        };
    }
    CallError::Trap {
        code: "trap",
        message: format!("{} failed: {root}{}", guest.function, frames(error)),
    }
}

fn trap_code(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "stack-overflow",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => "memory-out-of-bounds",
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => "bad-call",
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            "arithmetic"
        }
        _ => "trap",
    }
}

/// The innermost functions that have names: where the author should look.
fn frames(error: &wasmtime::Error) -> String {
    const FRAMES_MAX: usize = 4;
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let frames = backtrace.frames().iter();
    let names: Vec<_> = frames
        .filter_map(|frame| frame.func_name())
        .take(FRAMES_MAX)
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" (in {})", names.join(", called by "))
    }
}
