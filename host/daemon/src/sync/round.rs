//! One round: the records it was given are mapped, decided on, and pushed or read.
//!
//! Runs beside the engine's task and changes nothing itself: everything that it learns goes back as
//! [`Settling`]s, which the engine turns into one transaction each batch. The records are its own until then.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use tidegate_core::batch::Packed;
use tidegate_core::ledger::{Ledger, LedgerError, SyncId};
use tidegate_core::manifest::Method;
use tidegate_core::merge::{Decision, Fields, Mapped, Write, decide, to_map};
use tidegate_core::model::Model;
use tidegate_core::pace::Lane;
use tidegate_core::plan::{Push, plan};
use tidegate_core::plugin::{
    COMMITTED_UNKNOWN, ChangeSet, ConnectorContext, Fault, MappingContext, Outcome, Progress,
    Selection, Written,
};
use tidegate_core::record::{Entry, FieldId, Link, LinkId, Pending, Reason, Sent, Sides, Token};
use tidegate_core::settle::Found;
use tidegate_core::sync::Side;
use tidegate_core::value::Value;
use tidegate_core::verdict::{ATTEMPTS_MAX, CallVerdict, Verdict, backoff_ms, for_refusal};
use tidegate_gateway::Call;
use tidegate_sandbox::{CallError, Plugin};
use tokio::sync::oneshot;

use super::engine::{Event, Host};
use super::records::Committed;
use super::{Endpoint, failure};

/// Writes of a record that ended unknown so often are sent alone, in case the record is to blame.
const ATTEMPTS_ALONE: u32 = 3;

/// A sync that has started: what its rounds need.
pub(super) struct Running {
    /// Its place in the engine.
    pub index: usize,
    pub id: SyncId,
    pub model: Arc<Model>,
    pub mapping: Arc<Plugin>,
    pub mapping_context: MappingContext,
    pub endpoints: Sides<Arc<Endpoint>>,
}

/// What is to be remembered of one record.
#[derive(Debug)]
pub(super) enum Settling {
    /// Nothing waited after all.
    Missing,
    Agreed {
        generation: u32,
        prints: Sides<Vec<(FieldId, u64)>>,
    },
    Forget {
        generation: u32,
    },
    Detach {
        side: Side,
    },
    Dead {
        generation: u32,
        reason: Reason,
    },
    Written {
        write: Box<Write>,
        outcome: Written,
        after: Option<Fields>,
    },
    Unknown {
        sent: Sent,
    },
    /// Unknown once too often.
    GivenUp {
        generation: u32,
        sent: Sent,
        reason: Reason,
    },
    ReadFirst {
        side: Side,
    },
    Postponed {
        wait_ms: u64,
        counts: bool,
    },
    Observed {
        side: Side,
        found: Found,
    },
    /// The delete brake is on.
    Held,
}

pub(super) type Settled = Vec<(LinkId, Settling)>;

struct Item {
    id: LinkId,
    link: Link,
    entry: Entry,
    mapped: Mapped,
    /// The mapping crashed on this row, and on every other that it was given.
    plugin_fails: bool,
}

/// A record to be read, by its id or key there.
struct Asked {
    id: LinkId,
    generation: u32,
    remote: Box<str>,
}

impl Asked {
    fn dead(&self, reason: Reason) -> Settling {
        Settling::Dead {
            generation: self.generation,
            reason,
        }
    }
}

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
        let mut settled = Settled::new();
        let mut items = self.load(links, &mut settled)?;
        for side in Side::BOTH {
            self.map(side, &mut items).await;
        }
        let mut writes: Sides<Vec<(LinkId, Write)>> = Sides::default();
        let mut attempts = HashMap::new();
        let mut reads: Sides<Vec<(Link, Asked)>> = Sides::default();
        for item in items {
            attempts.insert(item.id, item.entry.attempts);
            let generation = item.entry.generation;
            match decide(
                &self.running.model,
                &item.link,
                &item.entry,
                &item.mapped,
                self.now_us,
            ) {
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

    async fn settle(&self, settled: Settled) {
        if !settled.is_empty() {
            self.host
                .send(Event::Settle {
                    sync: self.running.index,
                    settled,
                })
                .await;
        }
    }

    fn load(&self, links: &[LinkId], settled: &mut Settled) -> Result<Vec<Item>, LedgerError> {
        let base = Committed(self.host.store.clone());
        let ledger = Ledger::new(&base, self.running.id);
        let mut items = Vec::with_capacity(links.len());
        for id in links {
            match (ledger.link(*id)?, ledger.entry(*id)?) {
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

    // ---- mapping ---------------------------------------------------------------------------

    async fn map(&self, source: Side, items: &mut [Item]) {
        let model = &self.running.model;
        let wanted: Vec<usize> = (0..items.len())
            .filter(|index| to_map(model, &items[*index].link, &items[*index].entry)[source])
            .collect();
        // A range that fails as a whole is halved until the row to blame is alone.
        let mut ranges = vec![wanted];
        let mut sound = false;
        let mut crashed = Vec::new();
        while let Some(range) = ranges.pop() {
            if range.is_empty() {
                continue;
            }
            match self.map_range(source, items, &range).await {
                Ok(rows) => {
                    sound = true;
                    for (index, row) in range.iter().zip(rows) {
                        items[*index].mapped[source] = Some(row);
                    }
                }
                Err(error) if range.len() == 1 => {
                    let reason = failure::reason(&error, Some(source.other()));
                    items[range[0]].mapped[source] = Some(Err(reason));
                    if error.blames_input() {
                        crashed.push(range[0]);
                    }
                }
                Err(_) => {
                    let (first, second) = range.split_at(range.len() / 2);
                    ranges.push(second.to_vec());
                    ranges.push(first.to_vec());
                }
            }
        }
        // A mapping is pure: what crashes alone, while others pass, will always crash.
        for index in crashed {
            items[index].plugin_fails = !sound;
        }
    }

    async fn map_range(
        &self,
        source: Side,
        items: &[Item],
        range: &[usize],
    ) -> Result<Vec<Result<Fields, Reason>>, CallError> {
        let running = &self.running;
        let rows: Vec<&[(FieldId, Value)]> = range
            .iter()
            .map(|index| match &items[*index].entry.pending[source] {
                Some(Pending::Row { values, .. }) => &**values,
                _ => &[],
            })
            .collect();
        let batch = running.model.batch(source, &rows);
        let mapped = running
            .mapping
            .map_batch(&running.mapping_context, source.outward(), batch)
            .await?;
        let target = source.other();
        let columns = running.model.columns(target, &mapped.batch);
        let mut results: Vec<Result<Fields, Reason>> = (0..range.len())
            .map(|row| Ok(running.model.row(target, &mapped.batch, &columns, row)))
            .collect();
        for error in mapped.errors {
            if let Some(result) = results.get_mut(error.row as usize) {
                *result = Err(Reason {
                    code: error.code,
                    message: format!("{} (rule {})", error.message, error.rule),
                    fields: vec![error.field],
                    target: Some(target),
                });
            }
        }
        Ok(results)
    }

    // ---- deletes ---------------------------------------------------------------------------

    async fn brake(&self, writes: &mut Vec<(LinkId, Write)>, settled: &mut Settled) {
        let deletes = writes.iter().filter(|(_, write)| write.sent.delete).count();
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
            if !write.sent.delete {
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

    // ---- reading ---------------------------------------------------------------------------

    async fn read(&self, side: Side, wanted: Vec<(Link, Asked)>) {
        let mut by_id = Vec::new();
        let mut by_key = Vec::new();
        let mut settled = Settled::new();
        for (link, mut asked) in wanted {
            match (
                &link.ids[side],
                &link.ids[side.other()],
                self.running.model.key(side),
            ) {
                (Some(remote), _, _) => {
                    asked.remote.clone_from(remote);
                    by_id.push(asked);
                }
                (None, Some(remote), Some(_)) => {
                    asked.remote.clone_from(remote);
                    by_key.push(asked);
                }
                // A create without a key whose answer was lost: nobody can tell whether it happened.
                _ => settled.push((asked.id, asked.dead(Reason::create_unknown(side)))),
            }
        }
        self.settle(settled).await;
        let page = self.page_rows(side);
        for chunk in by_id.chunks(page) {
            self.read_chunk(side, None, chunk).await;
        }
        if let Some(key) = self.running.model.key(side) {
            for chunk in by_key.chunks(page) {
                self.read_chunk(side, Some(key), chunk).await;
            }
        }
    }

    fn page_rows(&self, side: Side) -> usize {
        let manifest = self.running.endpoints[side].plugin.manifest();
        manifest
            .capture
            .as_ref()
            .map_or(200, |capture| capture.page_rows_max as usize)
            .max(1)
    }

    async fn read_chunk(&self, side: Side, by: Option<FieldId>, chunk: &[Asked]) {
        let running = &self.running;
        let model = &running.model;
        let endpoint = &running.endpoints[side];
        let selection = Selection {
            object: model.spec.side(side).object.to_string(),
            fields: model.selected(side),
        };
        let keys: Packed = chunk.iter().map(|asked| asked.remote.as_bytes()).collect();
        let answer = endpoint
            .plugin
            .read(
                endpoint.gateway.clone(),
                self.call("read", false, &[]),
                &self.context(endpoint, chunk.len()),
                selection,
                by.map(|field| model.name(side, field).to_owned()),
                keys,
            )
            .await;
        let settled = match answer {
            Ok(found) => sort_found(model, side, by, chunk, &found),
            Err(error) => {
                let wait_ms = self.call_failed(side, &error).await;
                chunk
                    .iter()
                    .map(|asked| {
                        (
                            asked.id,
                            Settling::Postponed {
                                wait_ms,
                                counts: false,
                            },
                        )
                    })
                    .collect()
            }
        };
        self.settle(settled).await;
    }

    // ---- writing ---------------------------------------------------------------------------

    async fn write(
        &self,
        target: Side,
        writes: Vec<(LinkId, Write)>,
        attempts: &HashMap<LinkId, u32>,
    ) {
        if writes.is_empty() {
            return;
        }
        let endpoint = &self.running.endpoints[target];
        // Jobs are not followed yet, and a job that nobody asks after would leave its rows unknown.
        let methods: Vec<&Method> = endpoint.plugin.manifest().interactive_methods().collect();
        let model = &self.running.model;
        let (alone, together): (Vec<_>, Vec<_>) = writes.into_iter().partition(|(id, _)| {
            attempts
                .get(id)
                .is_some_and(|attempts| *attempts >= ATTEMPTS_ALONE)
        });
        let mut pushes = plan(model, target, &methods, together);
        for write in alone {
            let mut one = plan(model, target, &methods, vec![write]);
            pushes.pushes.append(&mut one.pushes);
            pushes.refused.append(&mut one.refused);
        }
        let refused = pushes
            .refused
            .into_iter()
            .map(|(id, write, reason)| {
                (
                    id,
                    Settling::Dead {
                        generation: write.generation,
                        reason,
                    },
                )
            })
            .collect();
        self.settle(refused).await;
        join_all(
            pushes
                .pushes
                .into_iter()
                .map(|push| self.push(push, attempts)),
        )
        .await;
    }

    /// Sends a push, and its halves when one row spoils it.
    async fn push(&self, push: Push, attempts: &HashMap<LinkId, u32>) {
        let mut todo = vec![push];
        while let Some(push) = todo.pop() {
            let target = push.target;
            let endpoint = &self.running.endpoints[target];
            self.host.intents.plan(
                self.running.id,
                push.rows.iter().map(|(id, write)| (*id, &write.sent)),
            );
            let tokens: Vec<u64> = push
                .rows
                .iter()
                .map(|(id, _)| Token::new(*id, target).0)
                .collect();
            let answer = endpoint
                .plugin
                .push(
                    endpoint.gateway.clone(),
                    self.call("push", true, &tokens),
                    &self.context(endpoint, push.rows.len()),
                    push.operations(&self.running.model),
                )
                .await;
            if self.host.intents.is_broken() {
                // The plugin's answer is about our disk. The engine ends; the next start settles these rows.
                return;
            }
            let halves = match answer {
                Ok(progress) => {
                    self.host
                        .send(Event::Reached {
                            sync: self.running.index,
                            side: target,
                        })
                        .await;
                    self.settle(self.outcomes(push, progress, attempts)).await;
                    Vec::new()
                }
                Err(error) => self.failed(push, &error, attempts).await,
            };
            todo.extend(halves);
        }
    }

    /// Every row of a push that failed as a whole: unknown when its write may have left.
    async fn failed(
        &self,
        push: Push,
        error: &CallError,
        attempts: &HashMap<LinkId, u32>,
    ) -> Vec<Push> {
        let mut settled = Settled::new();
        let mut unsent = Vec::new();
        for (id, write) in push.rows {
            if self.host.intents.end(self.running.id, id) {
                settled.push((
                    id,
                    self.unknown(write, attempts.get(&id).copied().unwrap_or(0), error),
                ));
            } else {
                unsent.push((id, write));
            }
        }
        let halves = match failure::verdict(error, self.host.random()) {
            CallVerdict::Bisect if unsent.len() > 1 => {
                let rest = unsent.split_off(unsent.len() / 2);
                [unsent, rest]
                    .into_iter()
                    .map(|rows| Push {
                        target: push.target,
                        method: push.method.clone(),
                        rows,
                    })
                    .collect()
            }
            CallVerdict::Bisect => {
                for (id, write) in unsent {
                    let attempts = attempts.get(&id).copied().unwrap_or(0);
                    settled.push((id, self.blamed(write, attempts, error).await));
                }
                Vec::new()
            }
            CallVerdict::Wait { wait_ms } | CallVerdict::Halt { wait_ms } => {
                self.call_failed(push.target, error).await;
                settled.extend(unsent.into_iter().map(|(id, _)| {
                    (
                        id,
                        Settling::Postponed {
                            wait_ms,
                            counts: false,
                        },
                    )
                }));
                Vec::new()
            }
        };
        self.settle(settled).await;
        halves
    }

    fn unknown(&self, write: Write, attempts: u32, error: &CallError) -> Settling {
        if attempts < ATTEMPTS_MAX {
            return Settling::Unknown { sent: write.sent };
        }
        Settling::GivenUp {
            generation: write.generation,
            reason: failure::reason(error, Some(write.target)),
            sent: write.sent,
        }
    }

    /// A row that is alone with a failure: a refusal is final, a crash is tried a few times, since the
    /// plugin itself may be at fault.
    async fn blamed(&self, write: Write, attempts: u32, error: &CallError) -> Settling {
        let reason = failure::reason(error, Some(write.target));
        if matches!(error, CallError::Fault(_)) || attempts >= ATTEMPTS_MAX {
            return Settling::Dead {
                generation: write.generation,
                reason,
            };
        }
        self.crashed(attempts, reason).await
    }

    /// A row that the mapping can't map dies at once; a mapping that crashes on everything is tried again
    /// first.
    async fn buried(&self, item: &Item, generation: u32, reason: Reason) -> Settling {
        if item.plugin_fails && item.entry.attempts < ATTEMPTS_MAX {
            return self.crashed(item.entry.attempts, reason).await;
        }
        Settling::Dead { generation, reason }
    }

    /// Comes back to the record later; meanwhile the status says why.
    async fn crashed(&self, attempts: u32, reason: Reason) -> Settling {
        let sync = self.running.index;
        self.host.send(Event::Crashed { sync, reason }).await;
        Settling::Postponed {
            wait_ms: backoff_ms(attempts, self.host.random()),
            counts: true,
        }
    }

    fn outcomes(&self, push: Push, progress: Progress, attempts: &HashMap<LinkId, u32>) -> Settled {
        let model = &self.running.model;
        let target = push.target;
        let mut by_token: HashMap<u64, Outcome> = progress
            .outcomes
            .into_iter()
            .map(|row| (row.token, row.outcome))
            .collect();
        let after = after_by_id(model, target, &progress.after);
        push.rows
            .into_iter()
            .map(|(id, write)| {
                let left = self.host.intents.end(self.running.id, id);
                let attempts = attempts.get(&id).copied().unwrap_or(0);
                let settling = match by_token.remove(&Token::new(id, target).0) {
                    Some(Outcome::Written(outcome)) => {
                        let after = after.get(outcome.id.as_str()).cloned();
                        Settling::Written {
                            write: Box::new(write),
                            outcome,
                            after,
                        }
                    }
                    Some(Outcome::Refused(refusal)) => {
                        match for_refusal(&refusal, attempts, self.host.random()) {
                            Verdict::Retry { wait_ms, counts } => {
                                Settling::Postponed { wait_ms, counts }
                            }
                            Verdict::ReadFirst => Settling::ReadFirst { side: target },
                            Verdict::Park => Settling::Dead {
                                generation: write.generation,
                                reason: Reason {
                                    code: refusal.code,
                                    message: refusal.message,
                                    fields: refusal.fields,
                                    target: Some(target),
                                },
                            },
                        }
                    }
                    Some(Outcome::Unknown(message)) => {
                        self.unknown(write, attempts, &unclear("outcome-unknown", message))
                    }
                    None if left => self.unknown(
                        write,
                        attempts,
                        &unclear("outcome-missing", "the connector named no outcome".into()),
                    ),
                    None => Settling::Postponed {
                        wait_ms: backoff_ms(attempts, self.host.random()),
                        counts: true,
                    },
                };
                (id, settling)
            })
            .collect()
    }

    // ---- calls -----------------------------------------------------------------------------

    fn call(&self, function: &'static str, may_write: bool, tokens: &[u64]) -> Call {
        Call {
            sync: self.running.model.spec.name.clone(),
            function,
            lane: self.lane,
            may_write,
            tokens: Arc::new(tokens.iter().copied().collect()),
        }
    }

    fn context(&self, endpoint: &Endpoint, rows: usize) -> ConnectorContext {
        ConnectorContext {
            config: endpoint.config.clone(),
            now: self.host.clock.now().wall_us,
            rows_max: u32::try_from(rows).unwrap_or(u32::MAX),
        }
    }

    /// Tells the engine that an endpoint does not answer as it should, and how long it is left alone.
    async fn call_failed(&self, side: Side, error: &CallError) -> u64 {
        let (halted, wait_ms) = match failure::verdict(error, self.host.random()) {
            CallVerdict::Halt { wait_ms } => (true, wait_ms),
            CallVerdict::Wait { wait_ms } => (false, wait_ms),
            CallVerdict::Bisect => (false, backoff_ms(2, self.host.random())),
        };
        let reason = failure::reason(error, Some(side));
        self.host
            .send(Event::Failed {
                sync: self.running.index,
                side,
                reason,
                halted,
                wait_ms,
            })
            .await;
        wait_ms
    }
}

fn unclear(code: &str, message: String) -> CallError {
    CallError::Fault(Fault::new(
        tidegate_core::plugin::FaultKind::Transient,
        code,
        message,
    ))
}

fn detached(entry: &Entry) -> Settling {
    let side = if matches!(entry.pending.right, Some(Pending::Gone { .. })) {
        Side::Right
    } else {
        Side::Left
    };
    Settling::Detach { side }
}

fn after_by_id<'a>(model: &Model, side: Side, after: &'a [ChangeSet]) -> HashMap<&'a str, Fields> {
    let mut found = HashMap::new();
    for set in after {
        let columns = model.columns(side, &set.batch);
        for row in 0..set.ids.len() {
            found.insert(
                set.ids.text(row),
                model.row(side, &set.batch, &columns, row),
            );
        }
    }
    found
}

/// Who of those asked for was found, by id or by key.
fn sort_found(
    model: &Model,
    side: Side,
    by: Option<FieldId>,
    asked: &[Asked],
    found: &ChangeSet,
) -> Settled {
    let columns = model.columns(side, &found.batch);
    let key_column = by.and_then(|field| found.batch.column(model.name(side, field)));
    let mut rows: HashMap<&str, Vec<usize>> = HashMap::new();
    for row in 0..found.ids.len() {
        let name = match key_column.map(|column| column.cell(row)) {
            Some(tidegate_core::batch::Cell::Text(key)) => key,
            Some(_) => continue,
            None => found.ids.text(row),
        };
        rows.entry(name).or_default().push(row);
    }
    asked
        .iter()
        .map(|asked| {
            let found = match rows.get(&*asked.remote).map(Vec::as_slice) {
                None | Some([]) => Found::Gone,
                Some([row]) if found.kinds.get(*row) == Some(&1) => Found::Gone,
                Some([row]) => Found::Row {
                    id: found.ids.text(*row).into(),
                    version: found.versions.text(*row).into(),
                    committed_us: found
                        .committed
                        .get(*row)
                        .copied()
                        .filter(|at| *at != COMMITTED_UNKNOWN),
                    values: model
                        .row(side, &found.batch, &columns, *row)
                        .into_iter()
                        .filter(|(field, _)| model.is_mapped(side, *field))
                        .collect(),
                },
                Some(_) => return (asked.id, asked.dead(ambiguous(side))),
            };
            (asked.id, Settling::Observed { side, found })
        })
        .collect()
}

fn ambiguous(side: Side) -> Reason {
    Reason {
        code: "pair-ambiguous".into(),
        message: format!(
            "several records on the {side} have the same key; merge them or clear the key of all but one"
        ),
        fields: Vec::new(),
        target: Some(side),
    }
}
