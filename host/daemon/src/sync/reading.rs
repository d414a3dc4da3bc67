//! What a round must see before it can decide: records by their id or key.

use std::collections::HashMap;

use tidegate_core::batch::Packed;
use tidegate_core::model::Model;
use tidegate_core::plugin::{COMMITTED_UNKNOWN, ChangeSet, Selection};
use tidegate_core::record::{FieldId, Link, LinkId, Reason};
use tidegate_core::settle::Found;
use tidegate_core::sync::Side;

use super::round::Round;
use super::settling::{Settled, Settling};

/// A record to be read, by its id or key there.
pub(super) struct Asked {
    pub id: LinkId,
    pub generation: u32,
    pub remote: Box<str>,
}

impl Asked {
    fn dead(&self, reason: Reason) -> Settling {
        Settling::Dead {
            generation: self.generation,
            reason,
        }
    }
}

impl Round {
    pub(super) async fn read(&self, side: Side, wanted: Vec<(Link, Asked)>) {
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
                        .filter(|(field, _)| model.is_kept(side, *field))
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
