//! Syncs join one by one: what waited for each in the store, and its streams.

use std::sync::Arc;

use tidegate_core::plugin::StreamKind;
use tidegate_core::progress::FirstRead;
use tidegate_core::record::Reason;
use tidegate_core::sync::Side;

use super::engine::{Engine, EngineError, StreamSources};
use super::pulls::Pulls;
use super::records::ReadSoFar;
use super::running::{Running, Sync};
use super::start::Started;
use super::streams::{Source, Stream, endpoint_wide, open};
use super::{Endpoint, jobs, records};

impl Engine {
    /// Takes in a sync that has started: what waited for it in the store, and its streams.
    pub(super) async fn join(&mut self, started: Started) -> Result<(), EngineError> {
        if self.stopping {
            return Ok(());
        }
        let Started { running, record } = started;
        let running = Arc::new(Running {
            index: self.syncs.len(),
            ..running
        });
        let name = running.model.spec.name.clone();
        self.host.intents.name(name.clone(), running.id);
        let jobs = jobs::recover(&self.host.store, running.id).await?;
        let waiting = self.pending.get(&name).map_or(0, |pending| pending.waiting);
        let sync = Sync::recover(&self.host, running.clone(), record, &jobs, waiting).await?;
        sync.refresh_flow();
        self.syncs.push(sync);
        for (id, (job, rows)) in jobs {
            // By an earlier run, and they end in this one.
            running.sendings.sent(rows.len());
            self.follow(running.index, id, job, rows, None);
        }
        self.pending.remove(&name);
        tracing::info!(sync = %name, "started");
        self.alarm_started(&running);
        for side in Side::BOTH {
            let endpoint = &running.endpoints[side];
            if !endpoint_wide(endpoint) {
                let source = self.syncs[running.index].source(side);
                self.open(endpoint, vec![source])?;
            } else if side == Side::Left || running.endpoints.left.name != endpoint.name {
                self.open_whole(endpoint)?;
            }
        }
        Ok(())
    }

    /// One position for all objects of an endpoint is read on only when every sync of it can take its changes:
    /// what the position has passed is gone for those that come later (invariant 1).
    fn open_whole(&mut self, endpoint: &Arc<Endpoint>) -> Result<(), EngineError> {
        let takes = |name: &Arc<str>| *name == endpoint.name;
        let missing: Vec<&str> = self
            .assembly
            .syncs
            .iter()
            .map(|parts| &parts.spec)
            .filter(|spec| {
                Side::BOTH
                    .iter()
                    .any(|side| takes(&spec.side(*side).endpoint))
            })
            .filter(|spec| self.pending.contains_key(&spec.name))
            .map(|spec| &*spec.name)
            .collect();
        let waits = (!missing.is_empty()).then(|| Reason {
            code: "waits-for-sync".to_owned(),
            message: format!(
                "endpoint {} has one position for all of its objects, so nothing is read before these syncs have started: {}",
                endpoint.name,
                missing.join(", ")
            ),
            fields: Vec::new(),
            target: None,
        });
        let mut sources = Vec::new();
        for sync in &mut self.syncs {
            for side in Side::BOTH {
                if takes(&sync.running.endpoints[side].name) {
                    sync.pull_failure[side] = waits.clone();
                    // Nobody can tell when it will be.
                    sync.heard[side] |= waits.is_some();
                    sources.push(sync.source(side));
                }
            }
        }
        match waits {
            Some(_) => Ok(()),
            None => self.open(endpoint, sources),
        }
    }

    fn open(&mut self, endpoint: &Arc<Endpoint>, sources: Vec<Source>) -> Result<(), EngineError> {
        let initial: Vec<bool> = sources
            .iter()
            .map(|source| self.syncs[source.sync].reads_whole(source.side))
            .collect();
        let first = self.streams.len();
        let now_ms = self.host.clock.now().mono_ms;
        let pulls = self
            .pulls
            .entry(endpoint.name.clone())
            .or_insert_with(|| Arc::new(Pulls::new(self.host.clone(), endpoint.clone())));
        for stream in open(&self.host, &self.cancel, pulls, sources, &initial, first) {
            if stream.kind == StreamKind::Snapshot
                && !records::load_cursor(&self.host.store, &stream.name)?.done
            {
                let so_far = records::load_read(&self.host.store, &stream.name)?;
                for source in &stream.sources {
                    let sync = &mut self.syncs[source.sync];
                    sync.snapshots += 1;
                    let ReadSoFar { rows, of } = so_far.unwrap_or_default();
                    sync.first_reads[source.side] = Some(FirstRead::new(rows, of, now_ms));
                }
            }
            self.streams.push(StreamSources {
                name: stream.name.clone(),
                kind: stream.kind,
                sources: stream.sources.clone(),
            });
            self.tasks.spawn(Stream::run(stream));
        }
        Ok(())
    }
}
