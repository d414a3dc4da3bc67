//! What every engine must do alike, seen through the handle only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_store::{
    ApplyError, BATCH_BYTES_MAX, Batch, BatchError, EngineKind, Expected, KEY_BYTES_MAX, KeyRange,
    OpenError, Options, Store,
};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(engine: EngineKind) -> Options {
    Options {
        engine,
        cache_bytes: 32 << 20,
    }
}

fn open(folder: &Path, engine: EngineKind) -> Store {
    Store::open(folder, options(engine)).expect("the store opens")
}

/// Runs a case on both engines, each in a folder of its own.
fn on_both(case: impl AsyncFn(&Path, EngineKind)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for engine in EngineKind::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        println!("engine {engine}");
        runtime.block_on(case(&folder.path().join("store"), engine));
    }
}

async fn put(store: &Store, key: &[u8], value: &[u8]) {
    store
        .apply(Batch::new().put(key, value))
        .await
        .expect("the put is applied");
}

/// Each step: what is asked in a word or two, and the store's state afterwards.
#[test]
fn batches_happen_wholly_or_not_at_all() {
    const STEPS: &[(&str, &str, &str)] = &[
        ("+a=1 +b=2", "", "a=1 b=2"),
        ("+a=3 -b", "", "a=3"),
        ("-b", "", "a=3"),
        ("+c=1 ?c=absent", "", "a=3 c=1"),
        ("+c=2 +d=2 ?c=absent", "c", "a=3 c=1"),
        ("+d=2 ?a=present ?c=1", "", "a=3 c=1 d=2"),
        ("-d +a=9 ?c=1 ?zz=present ?a=7", "zz", "a=3 c=1 d=2"),
        ("+a=4 ?a=3", "", "a=4 c=1 d=2"),
        ("-a -c -d ?a=3", "a", "a=4 c=1 d=2"),
        ("-a -c -d ?a=4", "", ""),
    ];
    on_both(async |folder, engine| {
        let store = open(folder, engine);
        for (ask, refused_for, after) in STEPS {
            let answer = store.apply(parse(ask)).await;
            match (&answer, *refused_for) {
                (Ok(_), "") => {}
                (Err(error @ ApplyError::Unexpected { key, .. }), wanted) if key == wanted => {
                    assert_eq!(error.code(), "store-unexpected");
                }
                _ => panic!("{engine}: {ask}: {answer:?}"),
            }
            assert_eq!(show(&store), *after, "{engine}: after {ask}");
        }
        store.close().await.expect("a clean close");
        assert_eq!(show(&open(folder, engine)), "", "{engine}: reopened");
    });
}

fn parse(ask: &str) -> Batch {
    ask.split(' ').fold(Batch::new(), |batch, word| {
        let (key, value) = word[1..].split_once('=').unwrap_or((&word[1..], ""));
        match (&word[..1], value) {
            ("+", value) => batch.put(key, value),
            ("-", _) => batch.delete(key),
            (_, "absent") => batch.expect(key, Expected::Absent),
            (_, "present") => batch.expect(key, Expected::Present),
            (_, value) => batch.expect(key, Expected::Value(value.into())),
        }
    })
}

fn show(store: &Store) -> String {
    let records = store.scan(&KeyRange::all(), usize::MAX).expect("a scan");
    let words = records.iter().map(|(key, value)| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        format!("{}={}", text(key), text(value))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Random batches on the store and on a map, compared at every step, across reopenings.
#[test]
fn a_store_is_a_sorted_map() {
    on_both(async |folder, engine| {
        for seed in 0..4 {
            println!("seed {seed}");
            let folder = folder.with_file_name(format!("map-{seed}"));
            compare_with_map(&folder, engine, seed).await;
        }
    });
}

async fn compare_with_map(folder: &Path, engine: EngineKind, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut model = Model::new();
    for _ in 0..3 {
        let store = open(folder, engine);
        let mut last = None;
        for step in 0..120 {
            let batch = random_batch(&mut random, &model);
            let mut after = model.clone();
            for key in &batch.deletes {
                after.remove(key);
            }
            after.extend(batch.puts.iter().cloned());
            let holds = batch.expects.iter().all(|expect| match &expect.is {
                Expected::Absent => !model.contains_key(&expect.key),
                Expected::Present => model.contains_key(&expect.key),
                Expected::Value(value) => model.get(&expect.key) == Some(value),
            });
            match store.apply(batch).await {
                Ok(seq) => {
                    assert!(
                        holds,
                        "seed {seed}, step {step}: applied against expectations"
                    );
                    model = after;
                    last = Some(seq);
                }
                Err(ApplyError::Unexpected { .. }) => {
                    assert!(
                        !holds,
                        "seed {seed}, step {step}: refused although all holds"
                    );
                }
                Err(error) => panic!("seed {seed}, step {step}: {error}"),
            }
            if random.random_bool(0.05)
                && let Some(seq) = last
            {
                store.durable(seq).await.expect("durable");
            }
            compare_reads(
                &store,
                &model,
                &mut random,
                &format!("seed {seed}, step {step}"),
            );
        }
        let stats = store.stats().expect("stats");
        assert_eq!(stats.records, model.len() as u64, "seed {seed}");
        let verified = store.verify().expect("a walk");
        assert!(verified.is_sound(), "seed {seed}: {verified:?}");
        assert_eq!(verified.records, model.len() as u64, "seed {seed}");
        store.close().await.expect("a clean close");
    }
}

fn random_key(random: &mut ChaCha8Rng) -> Vec<u8> {
    let length = random.random_range(0..3);
    (0..length)
        .map(|_| *[0, 1, b'a', b'b', 255].choose(random).expect("a byte"))
        .collect()
}

fn random_value(random: &mut ChaCha8Rng) -> Vec<u8> {
    let bytes = match random.random_range(0..12) {
        0 => random.random_range(4000..4200),
        1 => random.random_range(4096..40_000),
        2 => 0,
        _ => random.random_range(1..60),
    };
    let fill = random.random();
    vec![fill; bytes]
}

fn random_batch(random: &mut ChaCha8Rng, model: &Model) -> Batch {
    let mut batch = Batch::new();
    let mut changed = std::collections::BTreeSet::new();
    for _ in 0..random.random_range(0..6) {
        let key = random_key(random);
        if changed.insert(key.clone()) {
            batch = match random.random_bool(0.7) {
                true => batch.put(key, random_value(random)),
                false => batch.delete(key),
            };
        }
    }
    if random.random_bool(0.4) {
        let key = random_key(random);
        let is = match (model.get(&key), random.random_range(0..10)) {
            (_, 0) => Expected::Absent,
            (_, 1) => Expected::Value(random_value(random)),
            (Some(value), _) => Expected::Value(value.clone()),
            (None, _) => Expected::Absent,
        };
        batch = batch.expect(key, is);
    }
    batch
}

fn compare_reads(store: &Store, model: &Model, random: &mut ChaCha8Rng, place: &str) {
    let key = random_key(random);
    assert_eq!(
        store.get(&key).expect("a read").as_ref(),
        model.get(&key),
        "{place}: get {key:?}"
    );
    let (one, other) = (random_key(random), random_key(random));
    let range = match random.random_range(0..4) {
        0 => KeyRange::all(),
        1 => KeyRange::prefix(one.clone()),
        2 => KeyRange::all().after(one.clone()),
        _ => KeyRange::between(one.clone(), other.clone()),
    };
    let inside = |key: &Vec<u8>| {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let after_start = match &range.start {
            Included(start) => key >= start,
            Excluded(start) => key > start,
            Unbounded => true,
        };
        let before_end = match &range.end {
            Included(end) => key <= end,
            Excluded(end) => key < end,
            Unbounded => true,
        };
        after_start && before_end
    };
    let limit = random.random_range(0..20);
    let wanted: Vec<_> = model
        .iter()
        .filter(|(key, _)| inside(key))
        .take(limit)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let found = store.scan(&range, limit).expect("a scan");
    assert_eq!(found, wanted, "{place}: scan {range:?} limit {limit}");
}

#[test]
fn sizes_have_bounds_that_are_named() {
    on_both(async |folder, engine| {
        let store = open(folder, engine);
        let longest = vec![b'k'; KEY_BYTES_MAX];
        let largest = vec![7; BATCH_BYTES_MAX - KEY_BYTES_MAX];
        put(&store, &longest, &largest).await;
        assert_eq!(store.get(&longest).expect("a read"), Some(largest.clone()));

        let cases = [
            (
                Batch::new().put(vec![0; KEY_BYTES_MAX + 1], "v"),
                "store-key-too-long",
            ),
            (
                Batch::new().delete(vec![0; KEY_BYTES_MAX + 1]),
                "store-key-too-long",
            ),
            (
                Batch::new().put("k", vec![0; BATCH_BYTES_MAX]),
                "store-batch-too-large",
            ),
            (
                Batch::new().put("k", "1").put("k", "2"),
                "store-key-changed-twice",
            ),
            (
                Batch::new().put("k", "1").delete("k"),
                "store-key-changed-twice",
            ),
        ];
        for (batch, code) in cases {
            let error = store.apply(batch).await.expect_err(code);
            assert_eq!(error.code(), code, "{engine}");
            assert!(matches!(
                error,
                ApplyError::Batch(
                    BatchError::KeyTooLong { .. }
                        | BatchError::TooLarge { .. }
                        | BatchError::ChangedTwice { .. }
                )
            ));
            assert_eq!(store.get(b"k").expect("a read"), None, "{engine}: {code}");
        }
    });
}

/// Durability is waited for, visibility is not; one flush serves many.
#[test]
fn one_flush_serves_all_that_wait() {
    on_both(async |folder, engine| {
        const CALLERS: u64 = 64;
        const EACH: u64 = 20;
        let store = open(folder, engine);
        let callers = (0..CALLERS).map(|caller| {
            let store = store.clone();
            async move {
                for number in 0..EACH {
                    let key = [caller.to_be_bytes(), number.to_be_bytes()].concat();
                    let seq = store
                        .apply(Batch::new().put(key.clone(), "v"))
                        .await
                        .expect("applied");
                    assert!(
                        store.get(&key).expect("a read").is_some(),
                        "visible before durable"
                    );
                    store.durable(seq).await.expect("durable");
                }
            }
        });
        let callers: Vec<_> = callers.map(tokio::spawn).collect();
        for caller in callers {
            caller.await.expect("a caller");
        }
        let stats = store.stats().expect("stats");
        assert_eq!(stats.records, CALLERS * EACH);
        assert_eq!(stats.batches, CALLERS * EACH);
        assert!(
            (EACH..CALLERS * EACH / 4).contains(&stats.durable_commits),
            "{engine}: {} flushes for {} batches",
            stats.durable_commits,
            stats.batches
        );
    });
}

/// Readers beside a writer see whole batches: not half of one, and no value in parts of two.
#[test]
fn a_reader_never_sees_half_a_batch() {
    on_both(async |folder, engine| {
        const ROUNDS: u32 = 400;
        const KEYS: u8 = 8;
        let store = open(folder, engine);
        let write = |round: u32| {
            let value = round
                .to_be_bytes()
                .repeat(if round.is_multiple_of(8) { 3000 } else { 12 });
            (0..KEYS).fold(Batch::new(), |batch, key| batch.put([key], value.clone()))
        };
        store.apply(write(0)).await.expect("applied");
        let reading = Arc::new(AtomicBool::new(true));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (store, reading) = (store.clone(), Arc::clone(&reading));
                std::thread::spawn(move || {
                    let mut looks = 0u64;
                    while reading.load(Ordering::Relaxed) {
                        let page = store.scan(&KeyRange::all(), usize::MAX).expect("a scan");
                        assert_eq!(page.len(), usize::from(KEYS));
                        assert!(
                            page.iter().all(|(_, value)| *value == page[0].1),
                            "two batches"
                        );
                        let value = store.get(&[3]).expect("a read").expect("a value");
                        assert!(
                            value.chunks(4).all(|part| *part == value[..4]),
                            "two values"
                        );
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            let seq = store.apply(write(round)).await.expect("applied");
            if round.is_multiple_of(3) {
                store.durable(seq).await.expect("durable");
            }
        }
        reading.store(false, Ordering::Relaxed);
        for reader in readers {
            let looks = reader.join().expect("a reader");
            assert!(looks > 10, "{engine}: only {looks} looks");
        }
    });
}

#[test]
fn a_dropped_handle_closes_cleanly() {
    on_both(async |folder, engine| {
        for round in 0u8..5 {
            let store = open(folder, engine);
            let clone = store.clone();
            drop(store);
            assert_eq!(clone.stats().expect("stats").records, u64::from(round));
            put(&clone, &[round], b"kept").await;
        }
        let store = open(folder, engine);
        let clone = store.clone();
        store.close().await.expect("a clean close");
        assert_eq!(clone.get(b"x").expect_err("closed").code(), "store-closed");
        let late = clone.apply(Batch::new().put("x", "y")).await;
        assert_eq!(late.expect_err("closed").code(), "store-closed");
        assert_eq!(open(folder, engine).stats().expect("stats").records, 5);
    });
}

#[test]
fn a_file_moves_a_store_to_the_other_engine() {
    on_both(async |folder, engine| {
        let store = open(folder, engine);
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut last = None;
        for number in 0u32..600 {
            let key = [&number.to_be_bytes()[..], &random_key(&mut random)].concat();
            let batch = Batch::new().put(key, random_value(&mut random));
            last = Some(store.apply(batch).await.expect("applied"));
        }
        store
            .durable(last.expect("a batch"))
            .await
            .expect("durable");
        let file = folder.with_file_name("export");
        let exported = store.export(&file).expect("an export");
        assert_eq!(exported.records, 600);
        assert_eq!(fs::metadata(&file).expect("a file").len(), exported.bytes);
        assert_eq!(
            store.export(&file).expect_err("a second").code(),
            "export-exists"
        );

        let other = match engine {
            EngineKind::Sled => EngineKind::Redb,
            EngineKind::Redb => EngineKind::Sled,
        };
        let target = folder.with_file_name("imported");
        let (copy, imported) = Store::import(&target, options(other), &file).expect("an import");
        assert_eq!(imported, exported);
        let all = |store: &Store| store.scan(&KeyRange::all(), usize::MAX).expect("a scan");
        assert!(
            all(&copy) == all(&store),
            "{engine} to {other}: the records differ"
        );
        drop(copy);
        let again = Store::import(&target, options(other), &file).map(|_| ());
        assert_eq!(again.expect_err("not empty").code(), "import-not-empty");

        refuse_broken_files(folder, engine, &fs::read(&file).expect("the file"));
    });
}

/// Cut anywhere or changed anywhere, a file is refused and no store is left behind.
fn refuse_broken_files(folder: &Path, engine: EngineKind, sound: &[u8]) {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let file = folder.with_file_name("broken");
    let target = folder.with_file_name("from-broken");
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), Vec::new()),
        ("trailing byte".into(), [sound, &[0]].concat()),
        ("newer".into(), [&sound[..15], &[2], &sound[16..]].concat()),
    ];
    for _ in 0..6 {
        let at = random.random_range(0..sound.len());
        cases.push((format!("cut at {at}"), sound[..at].to_vec()));
        let mut flipped = sound.to_vec();
        flipped[at] ^= 1 << random.random_range(0..8);
        cases.push((format!("flipped at {at}"), flipped));
    }
    for (name, bytes) in cases {
        fs::write(&file, bytes).expect("a file");
        let error = Store::import(&target, options(engine), &file).map(|_| ());
        let code = error.expect_err(&name).code();
        assert!(
            [
                "import-damaged",
                "import-not-an-export",
                "import-newer-format"
            ]
            .contains(&code),
            "{name}: {code}"
        );
    }
    let store = open(&target, engine);
    assert_eq!(store.stats().expect("stats").records, 0, "nothing came in");
}

#[test]
fn what_is_no_store_is_not_touched() {
    on_both(async |folder, engine| {
        drop(open(folder, engine));
        let other = EngineKind::ALL.into_iter().find(|kind| *kind != engine);
        let asked = options(other.expect("another engine"));
        let error = Store::open(folder, asked)
            .map(|_| ())
            .expect_err("another engine");
        assert_eq!(error.code(), "store-other-engine");

        let marker = folder.join("store.json");
        let text = fs::read_to_string(&marker).expect("a marker");
        fs::write(&marker, text.replace("\"format\":1", "\"format\":2")).expect("written");
        let error = Store::open(folder, options(engine))
            .map(|_| ())
            .expect_err("newer");
        assert!(
            matches!(error, OpenError::NewerFormat { found: 2, .. }),
            "{error}"
        );
        fs::write(&marker, "{").expect("written");
        let error = Store::open(folder, options(engine))
            .map(|_| ())
            .expect_err("damaged");
        assert_eq!(error.code(), "store-damaged");

        let photos = folder.with_file_name("photos");
        fs::create_dir(&photos).expect("a folder");
        fs::write(photos.join("cat.jpg"), "meow").expect("a file");
        let error = Store::open(&photos, options(engine))
            .map(|_| ())
            .expect_err("not ours");
        assert_eq!(error.code(), "store-not-a-store");
        let left: Vec<_> = fs::read_dir(&photos).expect("a folder").collect();
        assert_eq!(left.len(), 1, "nothing was added");
    });
}
