//! Children wait for their parents: a record that names another is not made before that one is there.

use tidegate_core::action;
use tidegate_core::ledger::Ledger;
use tidegate_core::pace::Lane;
use tidegate_core::record::{IdRef, LinkId, Sides};
use tidegate_core::reference::ParentKey;
use tidegate_core::sync::Side;

use super::engine::{Engine, EngineError};
use super::records::Committed;

impl Engine {
    /// A round found that the record can't go before its parent. The parent may have come since.
    pub(super) fn wait_for(
        &mut self,
        index: usize,
        link: LinkId,
        parent: ParentKey,
        place: (Side, Lane),
    ) -> Result<(), EngineError> {
        let now_ms = self.host.clock.now().mono_ms;
        let sync = self.syncs[index].running.id;
        let base = Committed(self.host.store.clone());
        let ledger = Ledger::new(&base, parent.sync);
        let (known, born) = match ledger.id(parent.side, &parent.id)? {
            Some(IdRef::Link(known)) => {
                let found = ledger.link(known)?;
                let target = parent.side.other();
                let born = match &found {
                    Some(link) => action::survivor(&ledger, target, link)?.is_some(),
                    None => false,
                };
                (Some(known), born)
            }
            _ => (None, false),
        };
        let waits = !born && self.waits.place((sync, link), parent, known);
        let running = self.syncs[index].running.clone();
        let queue = &mut self.syncs[index].queue;
        match waits {
            true => queue.finish(link, None, now_ms),
            false => {
                if !born {
                    running.free(link);
                }
                queue.finish(link, Some(place), now_ms);
            }
        }
        Ok(())
    }

    /// A record was settled: those that waited for it go on when both sides have it now.
    pub(super) fn wake_children(&mut self, index: usize, link: LinkId) -> Result<(), EngineError> {
        if self.waits.is_empty() {
            return Ok(());
        }
        let now_ms = self.host.clock.now().mono_ms;
        let base = Committed(self.host.store.clone());
        let sync = self.syncs[index].running.id;
        let found = Ledger::new(&base, sync).link(link)?;
        let found = found.filter(|link| !Side::BOTH.iter().any(|side| link.sleeps(*side)));
        let Some(Sides {
            left: Some(left),
            right: Some(right),
        }) = found.map(|link| link.ids)
        else {
            return Ok(());
        };
        for (side, id) in [(Side::Left, left), (Side::Right, right)] {
            for (sync, child) in self.waits.born(&ParentKey { sync, side, id }) {
                let found = self.syncs.iter_mut().find(|known| known.running.id == sync);
                let Some(found) = found else { continue };
                if let Some(entry) = Ledger::new(&base, sync).entry(child)? {
                    let queue = &mut found.queue;
                    queue.offer(child, entry.source(), entry.lane, now_ms);
                }
            }
        }
        Ok(())
    }
}
