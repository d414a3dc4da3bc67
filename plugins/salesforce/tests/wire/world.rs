//! A simulated org whose clock is driven, and a client of it.

use tidegate_sdk::Context;
use tidegate_simulator::salesforce::{ClockMode, Handle, Options, Simulator};
use tokio::runtime::Runtime;

use super::Wire;

pub(crate) struct World {
    /// Carries the simulator.
    _runtime: Runtime,
    pub(crate) simulator: Handle,
    pub(crate) wire: Wire,
}

impl World {
    /// An org of 2026-03-01, 10:00.
    pub(crate) fn new(options: Options) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let simulator = runtime
            .block_on(Simulator::start(Options {
                clock: ClockMode::Manual {
                    start_ms: 1_772_359_200_000,
                },
                ..options
            }))
            .expect("a simulator");
        let wire = Wire::new(simulator.base_url());
        Self {
            _runtime: runtime,
            simulator,
            wire,
        }
    }

    pub(crate) fn context(&self) -> Context {
        Context {
            config: "{}".to_owned(),
            now: self.simulator.now_ms() as i64 * 1_000,
            rows_max: 10_000,
        }
    }

    /// Calls that count against the org's day so far.
    pub(crate) fn calls(&self) -> u64 {
        self.simulator.stats()["calls_total"]
            .as_u64()
            .expect("calls")
    }
}
