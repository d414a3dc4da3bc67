//! Kept answers in the store: what an earlier run has left serves, and what is not understood or has no room goes.

use std::sync::Arc;

use tidegate::shelf;
use tidegate_core::cache::{Holder, Kept, Key, Label};
use tidegate_core::plugin::{HttpMethod, HttpRequest, HttpResponse};
use tidegate_gateway::{Bounds, Clock, ManualClock};
use tidegate_store::{Batch, KeyRange, Options, Store};

fn key(path: &str) -> Key {
    let http = HttpRequest {
        method: HttpMethod::Get,
        path: path.to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
        origin: None,
    };
    Key::new(&Holder::new(["ada"]), "https://x", &http)
}

fn place(key: Key) -> Vec<u8> {
    [b"k".as_slice(), key.bytes()].concat()
}

fn record(bytes: usize, clock: &ManualClock) -> Vec<u8> {
    let response = HttpResponse {
        status: 200,
        headers: Vec::new(),
        body: vec![7; bytes],
    };
    let label = Arc::new(Label::new("vendor https://x", "/a", &[]));
    Kept::new(label, response, clock.now()).record()
}

#[tokio::test]
async fn a_start_finds_what_is_understood_and_has_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().join("store"), Options::default()).expect("a store");
    let clock = ManualClock::default();
    let good: Vec<Key> = (0..30).map(|number| key(&number.to_string())).collect();
    let mut batch = Batch::new()
        .put(place(key("garbage")), b"\xff not a record".to_vec())
        .put(place(key("empty")), Vec::new())
        .put(b"k too short".to_vec(), b"of another kind".to_vec());
    for key in &good {
        batch = batch.put(place(*key), record(1_000, &clock));
    }
    store.apply(batch).await.expect("stored");
    let there = || {
        let records = store.scan(&KeyRange::prefix(b"k".to_vec()), 100);
        records.expect("records").len()
    };
    assert_eq!(there(), 33);

    let bounds = Bounds::default();
    let answers = shelf::answers(&store, bounds, &clock);
    answers.tidy().await;
    let figures = answers.figures();
    assert_eq!((figures.store_answers, figures.memory_answers), (30, 0));
    assert_eq!(there(), 31, "what is not understood is gone");

    let bounds = Bounds {
        store_bytes_max: 10_000,
        ..bounds
    };
    let answers = shelf::answers(&store, bounds, &clock);
    answers.tidy().await;
    let figures = answers.figures();
    assert!(figures.store_bytes <= 10_000 && figures.store_answers >= 8);
    assert_eq!(there() as u64, figures.store_answers + 1);

    let answers = shelf::answers(&store, Bounds::NONE, &clock);
    answers.tidy().await;
    assert_eq!((there(), answers.figures().store_answers), (1, 0));
}
