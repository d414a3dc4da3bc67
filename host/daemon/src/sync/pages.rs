//! Pages that streams bring: each row finds its record, and waits there (invariant 1).

use tidegate_core::batch::Cell;
use tidegate_core::capture::{Captured, Observation, Standing, capture, rename};
use tidegate_core::lanes::Lanes;
use tidegate_core::ledger::{Changes, Ledger, encode};
use tidegate_core::pace::Lane;
use tidegate_core::pairing::Met;
use tidegate_core::plugin::{COMMITTED_UNKNOWN, ChangeKind, ChangeSet, Page, StreamKind};
use tidegate_core::progress::FirstRead;
use tidegate_core::record::{LinkId, Reason, Stamps};
use tidegate_core::settle::Counter;
use tidegate_store::Seq;

use super::contact::Encounter;
use super::engine::{CAPTURE_ROWS, Engine, EngineError, StreamSources};
use super::records::{self, Committed, Cursor, ReadSoFar};
use super::streams::Source;

impl Engine {
    pub(super) async fn page(
        &mut self,
        stream: usize,
        mark: u64,
        cursor: Cursor,
        page: Page,
    ) -> Result<Seq, EngineError> {
        if let Some(gap) = &page.gap {
            tracing::warn!(stream = %self.streams[stream].name, "changes may have been missed: {gap}");
            let reason = Reason {
                code: "changes-missed".into(),
                message: format!(
                    "{} may have missed changes: {gap}; compare both sides, and touch what differs",
                    self.streams[stream].name
                ),
                fields: Vec::new(),
                target: None,
            }
            .bounded();
            for source in &self.streams[stream].sources {
                self.syncs[source.sync].tally.trouble(&reason);
            }
            self.alarm_missed(stream, &reason);
        }
        self.forget_answers(stream, &page).await;
        let now_us = self.host.clock.now().wall_us;
        for alias in &page.aliases {
            let Some(source) = self.source(stream, &alias.object) else {
                continue;
            };
            let (index, side) = (source.sync, source.side);
            let base = Committed(self.host.store.clone());
            let sync = &mut self.syncs[index];
            let mut ledger = Ledger::new(&base, sync.running.id);
            let stamps = Stamps {
                committed_us: None,
                seen_us: now_us,
            };
            let lane = sync.running.model.spec.lane;
            let captured = rename(&mut ledger, side, &alias.old, &alias.new, lane, stamps)?;
            self.commit_captured(index, ledger, &[captured]).await?;
        }
        for set in &page.changes {
            if let Some(source) = self.source(stream, &set.object).cloned() {
                self.syncs[source.sync].pull_failure[source.side] = None;
                self.changes(stream, &source, set, mark, now_us).await?;
            }
        }
        for source in self.streams[stream].sources.clone() {
            self.syncs[source.sync].pull_failure[source.side] = None;
        }
        if cursor.done {
            for source in self.streams[stream].sources.clone() {
                let sync = &mut self.syncs[source.sync];
                sync.snapshots = sync.snapshots.saturating_sub(1);
                if let Some(contact) = &mut sync.contact {
                    contact.read[source.side] = true;
                }
            }
        }
        // Last, so that a crash before it only repeats the page.
        let mut changes = Changes::new();
        if self.streams[stream].kind == StreamKind::Snapshot {
            let rows = page.changes.iter().map(|set| set.ids.len() as u64).sum();
            self.read_further(stream, rows, cursor.done, &mut changes);
        }
        changes.insert(
            records::cursor_key(&self.streams[stream].name),
            Some(encode(&cursor)),
        );
        Ok(records::commit(&self.host.store, changes).await?)
    }

    /// A snapshot begins, of so many rows where its source tells.
    pub(super) async fn read_begun(
        &mut self,
        stream: usize,
        of: Option<u64>,
    ) -> Result<(), EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        for source in self.streams[stream].sources.clone() {
            let read = FirstRead::new(0, of, now_ms);
            self.syncs[source.sync].first_reads[source.side] = Some(read);
        }
        let mut changes = Changes::new();
        let read = ReadSoFar { rows: 0, of };
        records::put_read(&mut changes, &self.streams[stream].name, read);
        records::commit(&self.host.store, changes).await?;
        Ok(())
    }

    fn read_further(&mut self, stream: usize, rows: u64, done: bool, changes: &mut Changes) {
        let now_ms = self.host.clock.now().mono_ms;
        let StreamSources { name, sources, .. } = &self.streams[stream];
        for source in sources {
            let first_reads = &mut self.syncs[source.sync].first_reads;
            let read = first_reads[source.side].get_or_insert_default();
            read.read(now_ms, rows);
            read.done = done;
            let so_far = ReadSoFar {
                rows: read.rows,
                of: read.of,
            };
            records::put_read(changes, name, so_far);
        }
    }

    /// What is kept of the endpoint's answers and speaks of what the page brings; all of it when nobody can tell what was
    /// missed. Comes before the cursor, so that it is as durable.
    async fn forget_answers(&self, stream: usize, page: &Page) {
        let Some(source) = self.streams[stream].sources.first() else {
            return;
        };
        let running = &self.syncs[source.sync].running;
        let gateway = &running.endpoints[source.side].gateway;
        if page.gap.is_some() {
            return gateway.forget_answers().await;
        }
        for set in &page.changes {
            let ids = (0..set.ids.len()).map(|row| set.ids.text(row));
            gateway.changed(&set.object, ids).await;
        }
        for alias in &page.aliases {
            let ids = [alias.old.as_str(), alias.new.as_str()];
            gateway.changed(&alias.object, ids).await;
        }
    }

    fn source(&self, stream: usize, object: &str) -> Option<&Source> {
        self.streams[stream]
            .sources
            .iter()
            .find(|source| source.selection.object == object)
    }

    async fn changes(
        &mut self,
        stream: usize,
        source: &Source,
        set: &ChangeSet,
        mark: u64,
        now_us: i64,
    ) -> Result<(), EngineError> {
        let side = source.side;
        let model = self.syncs[source.sync].running.model.clone();
        let changes = self.streams[stream].kind == StreamKind::Changes;
        let lanes = Lanes::new(model.spec.lane, &model.spec.lanes, &set.batch, now_us);
        let columns: Vec<_> = model
            .columns(side, &set.batch)
            .into_iter()
            .map(|field| field.filter(|field| model.is_kept(side, *field)))
            .collect();
        let key = model
            .key(side)
            .and_then(|field| set.batch.column(model.name(side, field)));
        let mut row = 0;
        while row < set.ids.len() {
            let base = Committed(self.host.store.clone());
            let sync = &mut self.syncs[source.sync];
            let mut ledger = Ledger::new(&base, sync.running.id);
            let mut counter = Counter(sync.counts.last_link);
            let mut captured = Vec::new();
            let (queue, touched, intents, id) = (
                &sync.queue,
                &sync.touched,
                &self.host.intents,
                sync.running.id,
            );
            let standing = |link: LinkId| {
                let in_flight = queue.is_in_flight(link);
                let writing = in_flight
                    && intents
                        .writing(id, link)
                        .is_none_or(|target| target == side);
                Standing {
                    in_flight,
                    touched: writing || touched.since(link, side, mark),
                }
            };
            while row < set.ids.len()
                && captured.len() < CAPTURE_ROWS
                && ledger.bytes() < records::SLICE_BYTES
            {
                let Some(kind) = set.kinds.get(row).copied().and_then(ChangeKind::from_byte) else {
                    row += 1;
                    continue;
                };
                let committed = set
                    .committed
                    .get(row)
                    .copied()
                    .filter(|at| *at != COMMITTED_UNKNOWN);
                let observation = Observation {
                    side,
                    id: set.ids.text(row),
                    kind,
                    version: set.versions.text(row),
                    stamps: Stamps {
                        committed_us: committed,
                        seen_us: now_us,
                    },
                    values: model.row(side, &set.batch, &columns, row),
                    key: key.and_then(|column| match column.cell(row) {
                        Cell::Text(text) | Cell::Decimal(text) => Some(text),
                        _ => None,
                    }),
                };
                let lane = match changes {
                    true => lanes.of(kind, row),
                    false => Lane::Backfill.into(),
                };
                captured.push(capture(
                    &mut ledger,
                    &model,
                    observation,
                    lane,
                    &mut counter,
                    &standing,
                )?);
                row += 1;
            }
            sync.counts.last_link = counter.0;
            self.commit_captured(source.sync, ledger, &captured).await?;
            // Between slices the rounds get their turn.
            self.dispatch();
        }
        Ok(())
    }

    pub(super) async fn commit_captured(
        &mut self,
        index: usize,
        mut ledger: Ledger<'_>,
        captured: &[Captured],
    ) -> Result<(), EngineError> {
        let now = self.host.clock.now();
        let now_ms = now.mono_ms;
        let mut offers = Vec::new();
        let mut encounters = Vec::new();
        for captured in captured {
            let Captured::Queued(link) = *captured else {
                continue;
            };
            let sync = &self.syncs[index];
            let met = match sync.queue.is_in_flight(link) {
                true => Met::Free,
                false => sync.meet(&mut ledger, link, now.wall_us)?,
            };
            let offered = match met {
                Met::Free => Some(link),
                Met::Paired { kept, .. } => Some(kept),
                Met::Waits | Met::Ambiguous => None,
            };
            if let Some(link) = offered
                && let Some(entry) = ledger.entry(link)?
            {
                offers.push((link, entry.source(), entry.lane));
            }
            if met != Met::Free {
                encounters.push((link, Encounter::of(&ledger, link, met)?));
            }
        }
        self.commit(index, ledger).await?;
        let sync = &mut self.syncs[index];
        for captured in captured {
            sync.tally.count(*captured);
            if let Captured::Cancelled(link) | Captured::Dead(link) = captured {
                sync.queue.cancel(*link);
            }
        }
        let met = !encounters.is_empty();
        for (link, encounter) in encounters {
            self.encountered(index, link, encounter)?;
        }
        let store = self.host.store.clone();
        let sync = &mut self.syncs[index];
        if met {
            sync.refresh_index(&store)?;
        }
        for (link, source, lane) in offers {
            sync.queue.offer(link, source, lane, now_ms);
        }
        sync.refresh_flow();
        Ok(())
    }
}
