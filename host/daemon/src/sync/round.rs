//! One round: the records it was given are mapped, decided on, and pushed or read.
//!
//! Runs beside the engine's task and changes nothing itself: everything that it learns goes back as
//! [`Settling`]s, which the engine turns into one transaction each batch. The records are its own until then.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_core::action;
use tidegate_core::ledger::{Ledger, LedgerError};
use tidegate_core::merge::{Decision, Mapped, Write, decide};
use tidegate_core::pace::Lane;
use tidegate_core::pairing::half;
use tidegate_core::plugin::ConnectorContext;
use tidegate_core::record::{Entry, Link, LinkId, Pending, Sides};
use tidegate_core::reference::{self, Carried};
use tidegate_core::sync::Side;
use tidegate_gateway::Call;
use tidegate_sandbox::CallError;
use tokio::sync::oneshot;

use super::Endpoint;
use super::events::{Event, Host};
use super::mapped::Item;
use super::reading::Asked;
use super::records::Committed;
use super::running::Running;
use super::settling::{Settled, Settling};

/// A round over records that the queue gave out.
pub(super) struct Round {
    pub host: Host,
    pub running: Arc<Running>,
    pub source: Side,
    pub lane: Lane,
    pub now_us: i64,
}

impl Round {
    pub(super) async fn run(mut self, links: Vec<LinkId>) {
        if let Err(error) = self.work(&links).await {
            // The store can't be read: the engine hears of it and stops.
            self.host.send(Event::Broken(error.into())).await;
        }
        self.host
            .send(Event::RoundEnded {
                sync: self.running.index,
                source: self.source,
            })
            .await;
    }

    async fn work(&mut self, links: &[LinkId]) -> Result<(), LedgerError> {
        let base = Committed(self.host.store.clone());
        let mut settled = Settled::new();
        let mut items = self.load(links, &mut settled)?;
        for side in Side::BOTH {
            self.map(side, &mut items).await;
        }
        let mut writes: Sides<Vec<(LinkId, Write)>> = Sides::default();
        let mut attempts = HashMap::new();
        let mut reads: Sides<Vec<(Link, Asked)>> = Sides::default();
        for mut item in items {
            attempts.insert(item.id, item.entry.attempts);
            let generation = item.entry.generation;
            let carried = self.carry(&mut item)?;
            let model = &self.running.model;
            let decision = decide(model, &item.link, &item.entry, &item.mapped, self.now_us);
            let freed = self.running.is_freed(item.id);
            let held = match reference::hold(model, decision, &carried, freed) {
                Ok(decision) => action::hold(&base, model, self.running.id, decision, freed)?,
                Err(parent) => Err(parent),
            };
            let decision = match held {
                Ok(decision) => decision,
                Err(parent) => {
                    settled.push((item.id, Settling::Waits { parent }));
                    continue;
                }
            };
            match decision {
                Decision::Read(side) => {
                    reads[side].push((
                        item.link,
                        Asked {
                            id: item.id,
                            generation,
                            remote: Box::default(),
                        },
                    ));
                }
                Decision::Write(write) => writes[write.target].push((item.id, write)),
                Decision::Agree(prints) => {
                    settled.push((item.id, Settling::Agreed { generation, prints }))
                }
                Decision::Forget => settled.push((item.id, Settling::Forget { generation })),
                Decision::Rest(side) => {
                    settled.push((item.id, Settling::Rest { generation, side }))
                }
                Decision::Detach => settled.push((item.id, detached(&item.entry))),
                Decision::Dead(reason) => {
                    settled.push((item.id, self.buried(&item, generation, reason).await));
                }
            }
        }
        for side in Side::BOTH {
            self.brake(&mut writes[side], &mut settled).await;
        }
        self.settle(settled).await;
        for side in Side::BOTH {
            self.read(side, std::mem::take(&mut reads[side])).await;
        }
        for side in Side::BOTH {
            self.write(side, std::mem::take(&mut writes[side]), &attempts)
                .await;
        }
        Ok(())
    }

    /// Adds what the mapping can't know: the other side's ids of the records that this one names.
    fn carry(&self, item: &mut Item) -> Result<Sides<Carried>, LedgerError> {
        let parents = &self.running.parents;
        let mut both = Sides::default();
        if parents.is_empty() {
            return Ok(both);
        }
        let base = Committed(self.host.store.clone());
        for source in Side::BOTH {
            if let Some(Ok(fields)) = &mut item.mapped[source] {
                let model = &self.running.model;
                let carried = reference::carry(&base, model, parents, source, &item.entry)?;
                fields.extend(carried.values.iter().cloned());
                both[source] = carried;
            }
        }
        Ok(both)
    }

    pub(super) async fn settle(&self, settled: Settled) {
        if !settled.is_empty() {
            self.host
                .send(Event::Settle {
                    sync: self.running.index,
                    settled,
                    job: None,
                })
                .await;
        }
    }

    fn load(&self, links: &[LinkId], settled: &mut Settled) -> Result<Vec<Item>, LedgerError> {
        let base = Committed(self.host.store.clone());
        let ledger = Ledger::new(&base, self.running.id);
        let mut items = Vec::with_capacity(links.len());
        let holds = self.running.holds_halves();
        for id in links {
            match (ledger.link(*id)?, ledger.entry(*id)?) {
                (Some(link), Some(entry)) if holds && half(&link, &entry).is_some() => {
                    settled.push((*id, Settling::Half));
                }
                (Some(link), Some(entry)) => items.push(Item {
                    id: *id,
                    link,
                    entry,
                    mapped: Mapped::default(),
                    plugin_fails: false,
                }),
                _ => settled.push((*id, Settling::Missing)),
            }
        }
        Ok(items)
    }

    async fn brake(&self, writes: &mut Vec<(LinkId, Write)>, settled: &mut Settled) {
        let deletes = writes
            .iter()
            .filter(|(_, write)| write.sent.deed.removes())
            .count();
        if deletes == 0 {
            return;
        }
        let (reply, admitted) = oneshot::channel();
        self.host
            .send(Event::Admit {
                sync: self.running.index,
                deletes,
                reply,
            })
            .await;
        let mut room = admitted.await.unwrap_or(0);
        writes.retain(|(id, write)| {
            if !write.sent.deed.removes() {
                return true;
            }
            if room == 0 {
                settled.push((*id, Settling::Held));
                return false;
            }
            room -= 1;
            true
        });
    }

    pub(super) fn call(&self, function: &'static str, may_write: bool, tokens: &[u64]) -> Call {
        Call {
            sync: self.running.model.spec.name.clone(),
            function,
            lane: self.lane,
            may_write,
            tokens: Arc::new(tokens.iter().copied().collect()),
        }
    }

    pub(super) fn context(&self, endpoint: &Endpoint, rows: usize) -> ConnectorContext {
        ConnectorContext {
            config: endpoint.config.clone(),
            now: self.host.clock.now().wall_us,
            rows_max: u32::try_from(rows).unwrap_or(u32::MAX),
        }
    }

    pub(super) async fn call_failed(&self, side: Side, error: &CallError) -> u64 {
        self.host.call_failed(self.running.index, side, error).await
    }
}

fn detached(entry: &Entry) -> Settling {
    let side = if matches!(entry.pending.right, Some(Pending::Gone { .. })) {
        Side::Right
    } else {
        Side::Left
    };
    Settling::Detach { side }
}
