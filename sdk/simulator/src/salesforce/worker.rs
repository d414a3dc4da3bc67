//! Lets bulk jobs come along while nobody asks for them, where the clock runs by itself.

use std::sync::Arc;

use super::bulk;
use super::gate::Shared;
use super::org::Org;

/// Sees to it that somebody works on the jobs, until there is nothing left to do for any.
pub(crate) fn attend(shared: &Arc<Shared>, org: &mut Org) {
    if shared.clock.stands() || org.bulk.attended || org.bulk.due_ms().is_none() {
        return;
    }
    org.bulk.attended = true;
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        while let Some(due_ms) = due_ms(&shared) {
            let now_ms = shared.clock.now_ms();
            if due_ms > now_ms {
                shared.clock.sleep_until_ms(due_ms).await;
            } else {
                // A step at a time, so that calls are let in between; what is late is stamped late.
                bulk::step(&mut shared.org(), now_ms);
                tokio::task::yield_now().await;
            }
        }
    });
}

/// When there is something to do; the worker goes home where there is nothing.
fn due_ms(shared: &Shared) -> Option<u64> {
    let mut org = shared.org();
    let due_ms = org.bulk.due_ms();
    org.bulk.attended = due_ms.is_some();
    due_ms
}
