//! Tells how far the work is, while there is work: one line a sync, with rate, what is done and what waits.

use std::collections::BTreeMap;

use tidegate_gateway::Clock;

use crate::status::{StatusSource, SyncStatus};

const EVERY_MS: u64 = 10_000;

/// Runs until it is dropped.
pub async fn tell(source: &dyn StatusSource, clock: &dyn Clock) {
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    let mut at_ms = clock.now().mono_ms;
    loop {
        at_ms += EVERY_MS;
        clock.sleep_until(at_ms).await;
        for sync in source.syncs().await {
            let done = done(&sync);
            // The first look only sets the mark.
            let last = before.insert(sync.name.clone(), done).unwrap_or(done);
            let moved = done.saturating_sub(last);
            if moved > 0 || sync.waiting > 0 {
                tracing::info!(
                    sync = sync.name,
                    per_s = moved * 1_000 / EVERY_MS,
                    written = sync.written,
                    captured = sync.captured,
                    waiting = sync.waiting,
                    in_flight = sync.in_flight,
                    dead = sync.dead,
                    "progress"
                );
            }
        }
    }
}

/// Everything that came to rest.
fn done(sync: &SyncStatus) -> u64 {
    sync.written + sync.echoes
}
