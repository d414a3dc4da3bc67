//! What was drawn from a vendor's allowance is known to the next host (invariant 7).

mod vendor;

use tidegate::allowances::{self, Keeper};
use tidegate_core::ledger::encode;
use tidegate_gateway::{Clock, Lane, ManualClock, PoolCounts, Readiness};
use tidegate_store::{Batch, Options, Store};

use vendor::endpoints;

const POOLS: &str = r#"
[[pools]]
name = "daily"
limit = 1000
window = { rolling = "24h" }
scope = "account"
[[pools]]
name = "at-once"
limit = 5
window = { concurrency = {} }
scope = "account"
"#;

#[tokio::test]
async fn the_next_host_knows_what_was_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::default();
    let now_ms = clock.now().wall_us / 1_000;
    let open = || Store::open(folder.path().join("store"), Options::default()).expect("a store");

    let store = open();
    let before = endpoints(&["crm"], POOLS, &clock);
    allowances::restore(&store, &before).expect("nothing is kept yet");
    before["crm"].gateway.account().restore(&[PoolCounts {
        pool: "daily".to_owned(),
        counts: vec![(now_ms, 42)],
        ..PoolCounts::default()
    }]);
    let mut keeper = Keeper::default();
    keeper.keep(&store, &before).await.expect("kept");
    let batches = store.stats().expect("figures").batches;
    keeper.keep(&store, &before).await.expect("kept");
    let again = store.stats().expect("figures").batches;
    assert_eq!(again, batches, "nothing new is not written");
    store.close().await.expect("closed");

    // As after a kill: what was on the books may have left.
    let store = open();
    let after = endpoints(&["crm"], POOLS, &clock);
    assert_eq!(after["crm"].gateway.pools()[0].used, 0);
    allowances::restore(&store, &after).expect("found");
    assert_eq!(after["crm"].gateway.pools()[0].used, 43);
    // A host that ends in order knows that it has not.
    let keeper = Keeper::default();
    keeper.close(&store, &after).await.expect("kept");
    let last = endpoints(&["crm"], POOLS, &clock);
    allowances::restore(&store, &last).expect("found");
    assert_eq!(last["crm"].gateway.pools()[0].used, 43);
}

/// What was kept before what answers tell was kept too is understood, and gives way to what is kept from then on.
#[tokio::test]
async fn an_earlier_format_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::default();
    let now_ms = clock.now().wall_us / 1_000;
    let store = Store::open(folder.path().join("store"), Options::default()).expect("a store");
    let hosts = endpoints(&["crm"], POOLS, &clock);
    let name = hosts["crm"].gateway.account().name().to_owned();
    type Earlier = (String, Vec<String>, Vec<(i64, u64)>, u64, u64, u64);
    let earlier: Vec<Earlier> = vec![("daily".to_owned(), Vec::new(), vec![(now_ms, 42)], 8, 0, 0)];
    let key = [b"p".as_slice(), name.as_bytes()].concat();
    let batch = Batch::new().put(key.clone(), encode(&earlier));
    store.apply(batch).await.expect("stored");
    allowances::restore(&store, &hosts).expect("understood");
    assert_eq!(hosts["crm"].gateway.pools()[0].used, 50);
    let mut keeper = Keeper::default();
    keeper.keep(&store, &hosts).await.expect("kept");
    assert_eq!(store.get(&key).expect("readable"), None);
    let next = endpoints(&["crm"], POOLS, &clock);
    allowances::restore(&store, &next).expect("found");
    assert!(next["crm"].gateway.pools()[0].used >= 50);
}

/// A host at rest leaves nothing in use behind: the next one is not held up after a kill.
#[tokio::test]
async fn a_kill_at_rest_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::default();
    let store = Store::open(folder.path().join("store"), Options::default()).expect("a store");
    let before = endpoints(&["crm"], POOLS, &clock);
    allowances::restore(&store, &before).expect("nothing is kept yet");
    let mut keeper = Keeper::default();
    keeper.keep(&store, &before).await.expect("kept");
    let after = endpoints(&["crm"], POOLS, &clock);
    allowances::restore(&store, &after).expect("found");
    let free = after["crm"].gateway.readiness(Lane::Critical, 5);
    assert_eq!(free, Readiness::Now);
}
