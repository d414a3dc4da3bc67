//! A round's writes as pushes, and what became of every row.

use std::collections::{HashMap, HashSet};

use futures::future::join_all;
use tidegate_core::job::Job;
use tidegate_core::manifest::Method;
use tidegate_core::merge::{Fields, Write};
use tidegate_core::model::Model;
use tidegate_core::plan::{Push, plan, usable};
use tidegate_core::plugin::{ChangeSet, Fault, Outcome, Progress};
use tidegate_core::record::{LinkId, Reason, Token};
use tidegate_core::sync::Side;
use tidegate_core::verdict::{ATTEMPTS_MAX, CallVerdict, backoff_ms};
use tidegate_sandbox::CallError;

use super::events::Event;
use super::failure;
use super::jobs::Carried;
use super::mapped::Item;
use super::round::Round;
use super::settling::{Settled, Settling};
use crate::levels;

/// Writes of a record that ended unknown so often are sent alone, in case the record is to blame.
const ATTEMPTS_ALONE: u32 = 3;

impl Round {
    pub(super) async fn write(
        &self,
        target: Side,
        writes: Vec<(LinkId, Write)>,
        attempts: &HashMap<LinkId, u32>,
    ) {
        if writes.is_empty() {
            return;
        }
        let endpoint = &self.running.endpoints[target];
        let manifest = endpoint.plugin.manifest();
        let methods = usable(&manifest.methods, self.lane, || {
            levels::of(&endpoint.gateway)
        });
        let interactive: Vec<&Method> = manifest.interactive_methods().collect();
        let model = &self.running.model;
        let (alone, together): (Vec<_>, Vec<_>) = writes.into_iter().partition(|(id, _)| {
            attempts
                .get(id)
                .is_some_and(|attempts| *attempts >= ATTEMPTS_ALONE)
        });
        let mut pushes = plan(model, target, &methods, together);
        for write in alone {
            let mut one = plan(model, target, &interactive, vec![write]);
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
        self.running.sendings.sent(push.rows.len());
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
            let again = match answer {
                Ok(progress) => {
                    self.host
                        .send(Event::Reached {
                            sync: self.running.index,
                            side: target,
                        })
                        .await;
                    self.answered(push, progress, attempts).await;
                    Vec::new()
                }
                Err(error) => self.failed(push, &error, attempts).await,
            };
            todo.extend(again);
        }
    }

    /// Settles what a push was answered, and leaves the rest to its job, if it has one.
    async fn answered(
        &self,
        mut push: Push,
        mut progress: Progress,
        attempts: &HashMap<LinkId, u32>,
    ) {
        let mut carried = Vec::new();
        let job = progress.job.take().map(|told| {
            let named: HashSet<u64> = progress.outcomes.iter().map(|row| row.token).collect();
            let (settled, left) = std::mem::take(&mut push.rows)
                .into_iter()
                .partition(|(id, _)| named.contains(&Token::new(*id, push.target).0));
            push.rows = settled;
            carried = left;
            let now_us = self.host.clock.now().wall_us;
            Job::new(push.target, &push.method, self.lane, &told, now_us)
        });
        let settled = self.outcomes(push, progress, attempts);
        self.running.sendings.ended(&settled);
        self.settle(settled).await;
        if let Some(job) = job
            && !carried.is_empty()
        {
            let rows = carried.into_iter().map(|(link, write)| Carried {
                link,
                generation: write.generation,
                create: write.id.is_none(),
            });
            let event = Event::JobBegun {
                sync: self.running.index,
                job,
                rows: rows.collect(),
            };
            self.host.send(event).await;
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
                // A half may be too small for the method of the whole.
                let manifest = self.running.endpoints[push.target].plugin.manifest();
                let methods: Vec<&Method> = manifest.interactive_methods().collect();
                let halves = [unsent, rest]
                    .map(|rows| plan(&self.running.model, push.target, &methods, rows));
                let refused = halves.iter().flat_map(|half| &half.refused);
                settled.extend(refused.map(|(id, write, reason)| {
                    let dead = Settling::Dead {
                        generation: write.generation,
                        reason: reason.clone(),
                    };
                    (*id, dead)
                }));
                halves.into_iter().flat_map(|half| half.pushes).collect()
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
        self.running.sendings.ended(&settled);
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
    pub(super) async fn buried(&self, item: &Item, generation: u32, reason: Reason) -> Settling {
        if item.plugin_fails && item.entry.attempts < ATTEMPTS_MAX {
            return self.crashed(item.entry.attempts, reason).await;
        }
        Settling::Dead { generation, reason }
    }

    /// Comes back to the record later; meanwhile the status says why.
    pub(super) async fn crashed(&self, attempts: u32, reason: Reason) -> Settling {
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
                    Some(Outcome::Refused(refusal)) => Settling::refused(
                        refusal,
                        &write.values,
                        attempts,
                        write.generation,
                        target,
                        Some(write.operation),
                        self.host.random(),
                    ),
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
}

pub(super) fn unclear(code: &str, message: String) -> CallError {
    CallError::Fault(Fault::new(
        tidegate_core::plugin::FaultKind::Transient,
        code,
        message,
    ))
}

pub(super) fn after_by_id<'a>(
    model: &Model,
    side: Side,
    after: &'a [ChangeSet],
) -> HashMap<&'a str, Fields> {
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
