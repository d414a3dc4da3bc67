//! Which rounds start now, and when to look again.

use futures::FutureExt;
use tidegate_core::pace::Lane;
use tidegate_core::plan;
use tidegate_core::rounds::{self, Ready, Start};
use tidegate_core::sync::Side;
use tidegate_gateway::Readiness;

use super::engine::Engine;
use super::pausing::Held;
use super::round::Round;

impl Engine {
    /// Starts every round that may start now. Returns when to look again.
    pub(super) fn dispatch(&mut self) -> Option<u64> {
        let now_ms = self.host.clock.now().mono_ms;
        let mut due_ms = None;
        let mut later = |at_ms: u64| {
            due_ms = Some(due_ms.map_or(at_ms, |due: u64| due.min(at_ms)));
        };
        for index in 0..self.syncs.len() {
            self.syncs[index].queue.wake(now_ms);
            if let Some(at_ms) = self.syncs[index].queue.due_ms() {
                later(at_ms);
            }
            if self.stopping || !self.syncs[index].listens() {
                continue;
            }
            match self.held(index, now_ms) {
                Held::No => {}
                Held::Until(at_ms) => {
                    later(at_ms);
                    continue;
                }
                Held::ByPerson => continue,
            }
            for source in Side::BOTH {
                while let Some(start) = self.startable(index, source, now_ms) {
                    match start {
                        Ok((lane, rows)) => self.start_round(index, source, lane, rows),
                        Err(at_ms) => {
                            later(at_ms);
                            break;
                        }
                    }
                }
            }
        }
        due_ms
    }

    /// The lane to start a round in and how many rows it is worth, or when to ask again; `None` until something else
    /// happens.
    fn startable(
        &self,
        index: usize,
        source: Side,
        now_ms: u64,
    ) -> Option<Result<(Lane, usize), u64>> {
        let sync = &self.syncs[index];
        let lane = sync.queue.urgent(source)?;
        let (rows, since_ms) = sync.queue.ready(source, lane)?;
        let target = source.other();
        let endpoint = &sync.running.endpoints[target];
        let costs = !endpoint.plugin.manifest().pools.is_empty();
        let ready = Ready {
            lane,
            rows,
            since_ms,
            linger_ms: sync.running.model.spec.linger_ms,
            queue_max: sync.running.model.spec.queue_max,
        };
        let usable = sync.usable(target, lane);
        let full = costs.then(|| plan::full_round(&usable));
        match rounds::start(&ready, sync.rounds[source], full, now_ms) {
            Start::Now => {}
            Start::At(at_ms) => return Some(Err(at_ms)),
            Start::AfterOther => return None,
        }
        if let Some(halt) = &sync.halted[target]
            && halt.until_ms > now_ms
        {
            return Some(Err(halt.until_ms));
        }
        match endpoint.gateway.readiness(lane, 1) {
            Readiness::Now => Some(Ok((lane, plan::round_rows(&usable, rows)))),
            Readiness::At { mono_ms, .. } => Some(Err(mono_ms.max(now_ms + 1))),
        }
    }

    fn start_round(&mut self, index: usize, source: Side, lane: Lane, rows: usize) {
        let now = self.host.clock.now();
        let sync = &mut self.syncs[index];
        let links = sync.queue.take(source, lane, rows);
        if links.is_empty() {
            return;
        }
        sync.rounds[source] += 1;
        let round = Round {
            host: self.host.clone(),
            running: sync.running.clone(),
            source,
            lane,
            now_us: now.wall_us,
        };
        self.rounds.spawn(round.run(links).boxed());
    }
}
