//! What one call carries: its meters, its empty WASI surroundings, and its way to the gateway.
//!
//! Made for the call and dropped with it, so that no state leaks from one call into another (invariant 11).

use std::sync::Arc;

use tidegate_gateway::{Call, Outside};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::limits::{Breach, Knob, Limits};
use crate::surroundings;

/// Length of one tick of the CPU meter.
pub(crate) const TICK_MS: u64 = 10;

/// The world outside as one connector call sees it; mappings have none.
pub(crate) struct Door {
    pub(crate) outside: Arc<dyn Outside>,
    pub(crate) call: Call,
}

/// The data of one call's store.
pub(crate) struct Guest {
    pub(crate) plugin: Arc<str>,
    pub(crate) function: &'static str,
    pub(crate) door: Option<Door>,
    pub(crate) limits: Arc<Limits>,
    /// The first limit that was breached; it explains the trap that follows.
    pub(crate) breach: Option<Breach>,
    pub(crate) log: LogMeter,
    host_calls: u64,
    requests: u64,
    memory_bytes: u64,
    table_elements: u64,
    cpu_ticks: u64,
    /// The guest has just come back from the gateway: the tick that it meets passed while it waited.
    waited: bool,
    /// The host's time in microseconds since 1970, the only one that the guest can see; 0 for mappings.
    now: i64,
    /// Made when first asked for: most plugins never look.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
}

#[derive(Default)]
pub(crate) struct LogMeter {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
}

impl Guest {
    pub(crate) fn new(
        plugin: Arc<str>,
        function: &'static str,
        limits: Arc<Limits>,
        door: Option<Door>,
        now: i64,
    ) -> Self {
        Self {
            plugin,
            function,
            door,
            limits,
            breach: None,
            log: LogMeter::default(),
            host_calls: 0,
            requests: 0,
            memory_bytes: 0,
            table_elements: 0,
            cpu_ticks: 0,
            waited: false,
            now,
            wasi: None,
            table: ResourceTable::new(),
        }
    }

    /// Notes the breach and makes the error that ends the guest.
    fn breached(&mut self, knob: Knob, what: String) -> wasmtime::Error {
        let breach = Breach::new(knob, what);
        let error = wasmtime::Error::msg(breach.to_string());
        self.breach.get_or_insert(breach);
        error
    }

    /// Counts a call of `fetch-batch` or `write-batch`.
    pub(crate) fn count_host_call(&mut self, requests: usize) -> wasmtime::Result<()> {
        self.host_calls += 1;
        self.requests += requests as u64;
        let (host_calls_max, requests_max) = (self.limits.host_calls_max, self.limits.requests_max);
        if self.host_calls > host_calls_max {
            let what = format!("more than {host_calls_max} calls of the gateway in one call");
            return Err(self.breached(Knob::HostCalls, what));
        }
        if self.requests > requests_max {
            let what = format!("more than {requests_max} requests in one call");
            return Err(self.breached(Knob::Requests, what));
        }
        Ok(())
    }

    pub(crate) fn came_back(&mut self) {
        self.waited = true;
    }

    /// Counts one tick on a core. Runs whenever a tick has passed since the guest last got here.
    pub(crate) fn tick(mut store: StoreContextMut<'_, Self>) -> wasmtime::Result<UpdateDeadline> {
        let guest = store.data_mut();
        if std::mem::take(&mut guest.waited) {
            return Ok(UpdateDeadline::Continue(1));
        }
        guest.cpu_ticks += 1;
        let cpu_ms_max = guest.limits.cpu_ms_max;
        if guest.cpu_ticks * TICK_MS > cpu_ms_max {
            let what = format!("the call ran for more than {cpu_ms_max} ms on a core");
            return Err(guest.breached(Knob::CpuMs, what));
        }
        Ok(UpdateDeadline::Yield(1))
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.memory_bytes + desired.saturating_sub(current) as u64;
        let memory_bytes_max = self.limits.memory_bytes_max;
        if wanted > memory_bytes_max {
            let what = format!(
                "the call asked for {wanted} bytes of memory and may use {memory_bytes_max}"
            );
            return Err(self.breached(Knob::MemoryBytes, what));
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.table_elements + desired.saturating_sub(current) as u64;
        let table_elements_max = self.limits.table_elements_max;
        if wanted > table_elements_max {
            let what = format!(
                "the call asked for {wanted} table elements and may use {table_elements_max}"
            );
            return Err(self.breached(Knob::TableElements, what));
        }
        self.table_elements = wanted;
        Ok(true)
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let now = self.now;
        WasiCtxView {
            ctx: self.wasi.get_or_insert_with(|| surroundings::empty(now)),
            table: &mut self.table,
        }
    }
}
