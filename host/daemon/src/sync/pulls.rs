//! Streams of one endpoint that are due together, read in one call where the connector can do that.
//!
//! Idle streams wake at common ticks (see [`due_ms`]), and the first one there waits a moment for the others: so
//! five objects that are looked at once a minute may cost one request a minute.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{ChangeStream, ConnectorContext, Fault, Page};
use tidegate_gateway::Call;
use tidegate_sandbox::CallError;
use tokio::sync::oneshot;

use super::Endpoint;
use super::events::Host;

/// How long the first one waits for the others. They wake at the same moment, and only have to find the way here.
const GATHER_MS: u64 = 20;

/// A stream that is to be read.
pub(super) struct Asked {
    pub stream: ChangeStream,
    /// Whose turn it takes; nobody's where several syncs share the position.
    pub sync: Arc<str>,
    pub lane: Lane,
}

type Answer = Result<Page, CallError>;

pub(super) struct Pulls {
    host: Host,
    endpoint: Arc<Endpoint>,
    waiting: Mutex<Vec<(Asked, oneshot::Sender<Answer>)>>,
}

impl Pulls {
    pub(super) fn new(host: Host, endpoint: Arc<Endpoint>) -> Self {
        Self {
            host,
            endpoint,
            waiting: Mutex::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Streams that one call may read.
    pub(super) fn most(&self) -> usize {
        let capture = self.endpoint.plugin.manifest().capture.as_ref();
        capture.map_or(1, |capture| capture.streams_max as usize)
    }

    /// How many records these objects have, in the backfill lane.
    pub(super) async fn count(
        &self,
        sync: Arc<str>,
        objects: Vec<String>,
    ) -> Result<Vec<Option<u64>>, CallError> {
        let call = Call {
            sync,
            function: "count",
            lane: Lane::Backfill,
            may_write: false,
            tokens: Arc::default(),
        };
        let context = ConnectorContext {
            config: self.endpoint.config.clone(),
            now: self.host.clock.now().wall_us,
            rows_max: u32::MAX,
        };
        let gateway = self.endpoint.gateway.clone();
        let plugin = &self.endpoint.plugin;
        plugin.count(gateway, call, &context, objects).await
    }

    /// Reads a stream together with others that are due now.
    pub(super) async fn joined(&self, asked: Asked) -> Answer {
        let (reply, answered) = oneshot::channel();
        let leads = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((asked, reply));
            waiting.len() == 1
        };
        if leads {
            let until_ms = self.host.clock.now().mono_ms + GATHER_MS;
            self.host.clock.sleep_until(until_ms).await;
            self.read_waiting().await;
        }
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    async fn read_waiting(&self) {
        let mut waiting = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        let mut calls = Vec::new();
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(self.most()));
            calls.push(std::mem::replace(&mut waiting, rest));
        }
        join_all(calls.into_iter().map(|call| self.read(call))).await;
    }

    async fn read(&self, call: Vec<(Asked, oneshot::Sender<Answer>)>) {
        let (asked, replies): (Vec<_>, Vec<_>) = call.into_iter().unzip();
        let answers = match self.call(&asked).await {
            // Whoever spoils the call spoils only its own.
            Err(error) if error.blames_input() && asked.len() > 1 => {
                join_all(asked.iter().map(|one| self.alone(one))).await
            }
            Err(error) => asked.iter().map(|_| Err(error.clone())).collect(),
            Ok(pages) => pages
                .into_iter()
                .map(|page| page.map_err(CallError::Fault))
                .collect(),
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // The stream may have been cancelled.
            reply.send(answer).ok();
        }
    }

    /// Reads a stream by itself.
    pub(super) async fn alone(&self, asked: &Asked) -> Answer {
        let pages = self.call(std::slice::from_ref(asked)).await?;
        match pages.into_iter().next() {
            Some(page) => page.map_err(CallError::Fault),
            None => Err(CallError::Contract {
                code: "contract-page-missing",
                message: format!("{} answered no page for its stream", self.endpoint.name),
            }),
        }
    }

    async fn call(&self, asked: &[Asked]) -> Result<Vec<Result<Page, Fault>>, CallError> {
        let sync = match asked {
            [only] => only.sync.clone(),
            _ => "".into(),
        };
        let call = Call {
            sync,
            function: "pull",
            lane: asked.iter().map(|one| one.lane).min().unwrap_or_default(),
            // A connector may let its source forget what the cursor says is durable here.
            may_write: true,
            tokens: Arc::default(),
        };
        let streams: Vec<ChangeStream> = asked.iter().map(|one| one.stream.clone()).collect();
        let context = ConnectorContext {
            config: self.endpoint.config.clone(),
            now: self.host.clock.now().wall_us,
            rows_max: streams
                .iter()
                .fold(0, |rows: u32, one| rows.saturating_add(one.rows_max)),
        };
        let gateway = self.endpoint.gateway.clone();
        let plugin = &self.endpoint.plugin;
        plugin.pull(gateway, call, &context, streams).await
    }
}

/// When a stream is due that is to be looked at again after `wait_ms`: at the endpoint's tick before that, so that
/// its streams are due together.
pub(super) fn due_ms(now_ms: u64, wait_ms: u64, tick_ms: u64) -> u64 {
    let at_ms = now_ms.saturating_add(wait_ms);
    let tick = at_ms - at_ms % tick_ms.max(1);
    if tick > now_ms { tick } else { at_ms }
}

pub(super) fn stopping() -> CallError {
    CallError::Fault(Fault::new(
        tidegate_core::plugin::FaultKind::Transient,
        "stopping",
        "the host is stopping",
    ))
}

#[cfg(test)]
mod tests {
    use super::due_ms;

    #[test]
    fn streams_meet_at_their_ticks() {
        // Two that began apart are due together from the first pause on, and then every tick.
        for now_ms in [60_001, 75_000, 119_999] {
            assert_eq!(due_ms(now_ms, 60_000, 60_000), 120_000);
        }
        assert_eq!(due_ms(120_020, 60_000, 60_000), 180_000);
        // One that wants to come back sooner does.
        assert_eq!(due_ms(120_020, 5_000, 60_000), 125_020);
        assert_eq!(due_ms(7, 0, 0), 7);
    }
}
