//! What plugins may call: the gateway and the log.

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::{faults, gateway, log, records};
use crate::convert::Convert;
use crate::guest::{Door, Guest};
use crate::surroundings;

/// Everything that any plugin may import. A mapping that asks for the gateway was refused before it got here.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    surroundings::add_to_linker(&mut linker)?;
    log::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    gateway::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

type Answers = Vec<Result<gateway::Response, faults::Fault>>;

impl gateway::Host for Guest {
    async fn fetch_batch(&mut self, requests: Vec<gateway::Request>) -> wasmtime::Result<Answers> {
        self.count_host_call(requests.len())?;
        let Door { outside, call } = self.door()?;
        let answers = outside.fetch_batch(call, requests.convert()).await;
        self.came_back();
        Ok(answers.convert())
    }

    async fn write_batch(&mut self, requests: Vec<gateway::Request>) -> wasmtime::Result<Answers> {
        self.count_host_call(requests.len())?;
        let Door { outside, call } = self.door()?;
        let answers = outside.write_batch(call, requests.convert()).await;
        self.came_back();
        Ok(answers.convert())
    }
}

impl Guest {
    fn door(&self) -> wasmtime::Result<&Door> {
        self.door
            .as_ref()
            .ok_or_else(|| wasmtime::Error::msg("this call has no gateway"))
    }
}

impl records::Host for Guest {}

impl faults::Host for Guest {}

impl log::Host for Guest {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let meter = &mut self.log;
        let bytes = meter.bytes.saturating_add(message.len() as u64);
        if meter.lines >= self.limits.log_lines_max || bytes > self.limits.log_bytes_max {
            meter.dropped += 1;
            return Ok(());
        }
        meter.lines += 1;
        meter.bytes = bytes;
        let (plugin, call) = (&*self.plugin, self.function);
        let sync = self.door.as_ref().map_or("", |door| &*door.call.sync);
        match level {
            log::Level::Debug => tracing::debug!(target: "plugin", plugin, call, sync, "{message}"),
            log::Level::Info => tracing::info!(target: "plugin", plugin, call, sync, "{message}"),
            log::Level::Warn => tracing::warn!(target: "plugin", plugin, call, sync, "{message}"),
            log::Level::Error => tracing::error!(target: "plugin", plugin, call, sync, "{message}"),
        }
        Ok(())
    }
}
