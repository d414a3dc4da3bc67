//! The steps that keep an engine's word, and the test that fails without each. Those that a crash finds by itself are in
//! `crash.rs`, what holds without any crash in `conformance.rs`, the others here.
//!
//! | step | fails without it |
//! |---|---|
//! | `*.generating` is removed before opening | `an_unfinished_snapshot_is_removed_before_opening`, kills |
//! | a damaged snapshot: copy aside, drop `snap.*`, retry once, wipe nothing | `a_broken_snapshot_is_rebuilt_from_the_log_and_a_copy_kept`, `a_store_without_its_data_is_damaged_not_new` |
//! | fdatasync after the flush | cuts |
//! | through a descriptor that was open all the while | faults (`CRASH_LOSE_WRITE`) |
//! | values in parts of at most 4 KiB | `no_size_within_the_bounds_makes_sled_use_blobs` |
//! | keys of at most 1 KiB, batches of at most 1 MiB | conformance: `sizes_have_bounds_that_are_named` |
//! | birth: flush, then fsync of files, folder and parents, marker last | cuts (four in ten begin anew), `a_folder_without_its_marker_is_begun_anew` |
//! | a file that says a birth is under way | `a_finished_store_that_lost_its_marker_is_refused`, cuts |
//! | a note in the engine | `the_note_of_birth_is_missed_when_the_engine_lost_it` |
//! | one tree | `everything_lies_in_one_tree`, conformance: `a_reader_never_sees_half_a_batch` |
//! | the first error ends the store, an fsync is never retried | faults (`CRASH_FAIL_SYNC`, `CRASH_FULL_AFTER`) |
//! | sled's flusher stays on | `segments_are_collected_while_nobody_writes` |
//! | the cache is bounded | `the_cache_keeps_to_its_bound` |
//! | waiting for a lock that is let go late | `a_store_can_be_reopened_at_once`, `a_store_in_use_names_its_owner` |
//! | an envelope around every entry, its key included | `silent_damage_is_found_at_every_read`, `a_misplaced_entry_is_damage` |
//! | one flush for all that wait | conformance: `one_flush_serves_all_that_wait` |

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redb::ReadableDatabase;
use tidegate_store::{Batch, EngineKind, KeyRange, OpenError, Options, Store};

fn options(engine: EngineKind) -> Options {
    Options {
        engine,
        cache_bytes: 32 << 20,
    }
}

fn open(folder: &Path, engine: EngineKind) -> Store {
    Store::open(folder, options(engine)).expect("the store opens")
}

fn refused(folder: &Path, engine: EngineKind) -> OpenError {
    match Store::open(folder, options(engine)) {
        Ok(_) => panic!("{engine}: the store opened"),
        Err(error) => error,
    }
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("store");
    (root, folder)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn fill(store: &Store, records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
    block_on(async {
        let mut last = None;
        for (key, value) in records {
            last = Some(
                store
                    .apply(Batch::new().put(key, value))
                    .await
                    .expect("applied"),
            );
        }
        store
            .durable(last.expect("a record"))
            .await
            .expect("durable");
    });
}

/// Small records, and one that lies in parts.
fn sample() -> Vec<(Vec<u8>, Vec<u8>)> {
    let small = (0..200).map(|number| (format!("k{number:03}").into_bytes(), vec![7; 60]));
    small
        .chain([(b"large".to_vec(), vec![9; 20_000])])
        .collect()
}

fn sound(folder: &Path, engine: EngineKind) {
    let found = open(folder, engine)
        .scan(&KeyRange::all(), usize::MAX)
        .expect("a scan");
    assert!(
        found == sample(),
        "{engine}: the records are not what they were"
    );
}

fn filled(folder: &Path, engine: EngineKind) {
    fill(&open(folder, engine), sample());
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// A kill while sled writes its snapshot leaves a draft that the next open would take for a snapshot.
#[test]
fn an_unfinished_snapshot_is_removed_before_opening() {
    let (_root, folder) = scratch();
    filled(&folder, EngineKind::Sled);
    let draft = folder.join("sled/snap.7FFFFFFFFFFFFFFF.generating");
    fs::write(&draft, "half a snapshot").expect("written");
    sound(&folder, EngineKind::Sled);
    assert!(!draft.exists());
    assert!(
        !names(&folder)
            .iter()
            .any(|name| name.starts_with("damaged")),
        "no repair was needed"
    );
}

#[test]
fn a_broken_snapshot_is_rebuilt_from_the_log_and_a_copy_kept() {
    let (_root, folder) = scratch();
    filled(&folder, EngineKind::Sled);
    let planted = folder.join("sled/snap.7FFFFFFFFFFFFFFF");
    fs::write(&planted, "this is no snapshot, and its checksum is wrong").expect("written");
    sound(&folder, EngineKind::Sled);
    assert!(!planted.exists());
    let copy = folder.join("damaged-1");
    assert!(names(&copy).contains(&"snap.7FFFFFFFFFFFFFFF".to_owned()));
    assert!(names(&copy).contains(&"db".to_owned()), "nothing is wiped");
    sound(&folder, EngineKind::Sled);
    assert!(!folder.join("damaged-2").exists(), "repaired once");
}

/// What is damaged beyond repair is refused, kept, and not replaced by something empty.
#[test]
fn a_store_without_its_data_is_damaged_not_new() {
    type Harm = fn(&Path);
    let cases: &[(EngineKind, &str, Harm)] = &[
        (EngineKind::Sled, "no db", |folder| {
            fs::remove_file(folder.join("sled/db")).expect("removed");
        }),
        (EngineKind::Sled, "no conf", |folder| {
            fs::remove_file(folder.join("sled/conf")).expect("removed");
        }),
        (EngineKind::Sled, "empty db, no snapshot", |folder| {
            for name in names(&folder.join("sled")) {
                if name.starts_with("snap.") {
                    fs::remove_file(folder.join("sled").join(name)).expect("removed");
                }
            }
            fs::write(folder.join("sled/db"), "").expect("emptied");
        }),
        (EngineKind::Sled, "no folder", |folder| {
            fs::remove_dir_all(folder.join("sled")).expect("removed");
        }),
        (EngineKind::Redb, "no file", |folder| {
            fs::remove_file(folder.join("redb/data.redb")).expect("removed");
        }),
        (EngineKind::Redb, "empty file", |folder| {
            fs::write(folder.join("redb/data.redb"), "").expect("emptied");
        }),
        (EngineKind::Redb, "garbage", |folder| {
            fs::write(folder.join("redb/data.redb"), vec![0x5a; 1 << 20]).expect("overwritten");
        }),
    ];
    for (engine, name, harm) in cases {
        let (_root, folder) = scratch();
        filled(&folder, *engine);
        harm(&folder);
        for attempt in ["first", "second"] {
            let error = refused(&folder, *engine);
            assert_eq!(
                error.code(),
                "store-damaged",
                "{engine}, {name}, {attempt}: {error:?}"
            );
        }
    }
}

/// Beginning anew would double every record that the store knows.
#[test]
fn a_finished_store_that_lost_its_marker_is_refused() {
    for engine in EngineKind::ALL {
        let (_root, folder) = scratch();
        filled(&folder, engine);
        let marker = fs::read(folder.join("store.json")).expect("a marker");
        fs::remove_file(folder.join("store.json")).expect("removed");
        for attempt in ["first", "second"] {
            let error = refused(&folder, engine);
            assert_eq!(error.code(), "store-marker-lost", "{engine}, {attempt}");
        }
        fs::write(folder.join("store.json"), marker).expect("restored");
        assert_ne!(open(&folder, engine).stats().expect("stats").records, 0);
    }
}

/// A creation that did not reach its marker acknowledged nothing, and is begun anew with its leftovers kept.
#[test]
fn a_folder_without_its_marker_is_begun_anew() {
    for engine in EngineKind::ALL {
        let (_root, folder) = scratch();
        filled(&folder, engine);
        fs::remove_file(folder.join("store.json")).expect("removed");
        fs::write(folder.join("creating"), "").expect("written");
        fs::write(folder.join("store.json.draft"), "{\"form").expect("written");
        let store = open(&folder, engine);
        assert_eq!(store.stats().expect("stats").records, 0, "{engine}");
        assert!(folder.join("unfinished-1").is_dir(), "{engine}");
        drop(store);
        // Half of an engine's first files.
        let (_root, folder) = scratch();
        fs::create_dir_all(folder.join(engine.name())).expect("a folder");
        fs::write(folder.join(engine.name()).join("db"), [0; 100]).expect("written");
        fs::write(folder.join("creating"), "").expect("written");
        assert_eq!(
            open(&folder, engine).stats().expect("stats").records,
            0,
            "{engine}"
        );
    }
}

/// Large pages would go to `blobs`, which sled never syncs.
#[test]
fn no_size_within_the_bounds_makes_sled_use_blobs() {
    let (_root, folder) = scratch();
    let store = open(&folder, EngineKind::Sled);
    // Keys as long as may be that differ from the first byte on, so that nothing in the tree's index is short.
    let long = (0u32..8000).map(|number| {
        let mut key = number.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec();
        key.resize(tidegate_store::KEY_BYTES_MAX, b'k');
        (key, vec![1; 20])
    });
    let large = (0u32..60).map(|number| (number.to_be_bytes().to_vec(), vec![2; 100_000]));
    fill(&store, long.chain(large));
    assert_eq!(names(&folder.join("sled/blobs")), Vec::<String>::new());
}

#[test]
fn everything_lies_in_one_tree() {
    let (_root, folder) = scratch();
    filled(&folder, EngineKind::Sled);
    let db = raw_sled(&folder);
    assert_eq!(db.tree_names(), [b"__sled__default"]);
}

/// What is overwritten is collected, so that the files follow the live data and not the history.
#[test]
fn space_is_reclaimed_while_the_store_is_open() {
    for engine in EngineKind::ALL {
        let (_root, folder) = scratch();
        let store = open(&folder, engine);
        for round in 0u8..30 {
            let records = (0..40u8).map(|number| (vec![number], vec![round; 50_000]));
            fill(&store, records);
        }
        let bytes = store.stats().expect("stats").bytes_on_disk;
        assert!(
            bytes < 24 << 20,
            "{engine}: {bytes} bytes for 2 MB, after 60 MB were written"
        );
    }
}

/// sled collects segments while nobody writes, which only its own flusher does: the files change after the last write.
#[test]
fn segments_are_collected_while_nobody_writes() {
    let (_root, folder) = scratch();
    let store = open(&folder, EngineKind::Sled);
    let changed = || {
        let file = fs::metadata(folder.join("sled/db")).expect("the log");
        file.modified().expect("a time")
    };
    let collected = (0u8..10).any(|round| {
        let records = (0..8_000u32).map(|number| {
            let key = (number % 2_000).wrapping_mul(0x9e37_79b9).to_be_bytes();
            (key.to_vec(), vec![round; 300])
        });
        fill(&store, records);
        let written = changed();
        // Looked at for up to four of its periods.
        (0..200).any(|_| {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
            changed() != written
        })
    });
    assert!(collected, "nothing was collected in ten idle spells");
}

/// The bound of the cache reaches the engine: what does not fit is not kept in memory, so it is read again.
#[test]
fn the_cache_keeps_to_its_bound() {
    let read_bytes = |engine: EngineKind, mib: &str| -> u64 {
        let output = Command::new(example("load"))
            .args(["--links", "20000", "--engine", engine.name()])
            .args(["--cache-mib", mib])
            .output()
            .expect("the example runs");
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complained}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report["read_bytes"].as_u64().expect("a figure")
    };
    for engine in EngineKind::ALL {
        let (small, large) = (read_bytes(engine, "1"), read_bytes(engine, "256"));
        assert!(
            small > 1 << 20 && small > 4 * large,
            "{engine}: {small} bytes were read with 1 MiB, {large} with 256 MiB"
        );
    }
}

/// Cargo builds examples before it runs all tests of a package, and puts them beside them.
fn example(name: &str) -> PathBuf {
    let target = std::env::current_exe().expect("this test's own path");
    let target = target.ancestors().nth(2).expect("the target folder");
    let path = target.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build -p tidegate-store --examples",
        path.display()
    );
    path
}

/// Another process that holds a store until its standard input ends.
fn hold(folder: &Path, engine: EngineKind) -> Child {
    let mut child = Command::new(example("crash"))
        .args(["hold", engine.name()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example runs");
    let mut line = String::new();
    let out = child.stdout.take().expect("an output");
    BufReader::new(out).read_line(&mut line).expect("a line");
    assert_eq!(line, "open\n", "{engine}");
    child
}

/// The lock says who holds it, also to a process that is told no.
#[test]
fn a_store_in_use_names_its_owner() {
    for engine in EngineKind::ALL {
        let (_root, folder) = scratch();
        let mut child = hold(&folder, engine);
        let error = refused(&folder, engine);
        assert_eq!(error.code(), "store-locked", "{engine}");
        assert!(
            error.to_string().contains(&child.id().to_string()),
            "{engine}: {error}"
        );

        drop(child.stdin.take());
        // The wait at open outlasts the owner's close.
        drop(open(&folder, engine));
        child.wait().expect("the owner ends");
    }
}

/// sled lets go of its lock a moment after the last handle is gone.
#[test]
fn a_store_can_be_reopened_at_once() {
    for engine in EngineKind::ALL {
        let (_root, folder) = scratch();
        for round in 0u8..20 {
            fill(&open(&folder, engine), [(vec![round], vec![round; 3000])]);
        }
    }
}

fn raw_sled(folder: &Path) -> sled::Db {
    // The lock of the store's last handle may outlive it by a moment.
    (0..1000)
        .find_map(|_| {
            std::thread::yield_now();
            sled::open(folder.join("sled")).ok()
        })
        .expect("the raw engine opens")
}

/// Changes an entry behind the store's back; `None` removes it.
fn tamper(
    folder: &Path,
    engine: EngineKind,
    key: &[u8],
    change: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) {
    match engine {
        EngineKind::Sled => {
            let db = raw_sled(folder);
            let entry = db.get(key).expect("a read").expect("an entry");
            match change(&entry) {
                Some(entry) => db.insert(key, entry).expect("written"),
                None => db.remove(key).expect("removed"),
            };
            db.flush().expect("flushed");
        }
        EngineKind::Redb => {
            let db = redb::Database::open(folder.join("redb/data.redb")).expect("the raw engine");
            let table = redb::TableDefinition::<&[u8], &[u8]>::new("entries");
            let old = db
                .begin_read()
                .expect("a read")
                .open_table(table)
                .expect("a table");
            let entry = old
                .get(key)
                .expect("a read")
                .expect("an entry")
                .value()
                .to_vec();
            drop(old);
            let transaction = db.begin_write().expect("a write");
            {
                let mut table = transaction.open_table(table).expect("a table");
                match change(&entry) {
                    Some(entry) => drop(table.insert(key, entry.as_slice()).expect("written")),
                    None => drop(table.remove(key).expect("removed")),
                }
            }
            transaction.commit().expect("committed");
        }
    }
}

/// What happens to an entry.
#[derive(Clone, Copy, Debug)]
enum Harm {
    FlipByte(usize),
    KeepOnly(usize),
    Remove,
}

impl Harm {
    fn apply(self, entry: &[u8]) -> Option<Vec<u8>> {
        let mut entry = entry.to_vec();
        match self {
            Self::FlipByte(at) => entry[at] ^= 0x10,
            Self::KeepOnly(bytes) => entry.truncate(bytes),
            Self::Remove => return None,
        }
        Some(entry)
    }
}

/// Whatever happened to an entry, a read of it is refused, and the walk names its key.
#[test]
fn silent_damage_is_found_at_every_read() {
    let small = (&b"\x01k007"[..], "k007");
    let head = (&b"\x01large"[..], "large");
    let part = (&b"\x02large\0\0\0\x02"[..], "large");
    let mut cases = vec![
        (head, Harm::KeepOnly(15)),
        (part, Harm::KeepOnly(4000)),
        (part, Harm::Remove),
    ];
    // Version, kind, length, checksum, and the payload's first and later bytes.
    for at in [0, 1, 2, 4, 8, 40] {
        cases.extend([(small, Harm::FlipByte(at)), (part, Harm::FlipByte(at))]);
    }
    for bytes in [0, 5, 8, 67] {
        cases.push((small, Harm::KeepOnly(bytes)));
    }
    for engine in EngineKind::ALL {
        for ((entry_key, key), harm) in &cases {
            let (_root, folder) = scratch();
            filled(&folder, engine);
            tamper(&folder, engine, entry_key, &|entry| harm.apply(entry));
            let place = format!("{engine}, {key}, {harm:?}");
            let store = open(&folder, engine);
            let error = store.get(key.as_bytes()).expect_err(&place);
            assert_eq!(error.code(), "store-damaged", "{place}");
            assert!(error.to_string().contains(key), "{place}: {error}");
            assert!(
                store.scan(&KeyRange::all(), 999).is_err(),
                "{place}: a scan passed over it"
            );
            let other = store.get(b"k100").expect("others can be read");
            assert_eq!(other, Some(vec![7; 60]), "{place}");
            let verified = store.verify().expect("a walk");
            assert_eq!((verified.damaged, verified.records), (1, 200), "{place}");
            assert_eq!(verified.damaged_keys[0].key, *key, "{place}");
            let file = folder.with_file_name("export");
            assert!(store.export(&file).is_err() && !file.exists(), "{place}");
        }
    }
}

/// An entry that turns up under another key is not that key's record.
#[test]
fn a_misplaced_entry_is_damage() {
    for engine in EngineKind::ALL {
        let (_root, folder) = scratch();
        filled(&folder, engine);
        let moved = std::cell::RefCell::new(Vec::new());
        tamper(&folder, engine, b"\x01k001", &|entry| {
            *moved.borrow_mut() = entry.to_vec();
            Some(entry.to_vec())
        });
        tamper(&folder, engine, b"\x01k002", &|_| {
            Some(moved.borrow().clone())
        });
        let error = open(&folder, engine).get(b"k002").expect_err("misplaced");
        assert_eq!(error.code(), "store-damaged", "{engine}");
    }
}

#[test]
fn the_note_of_birth_is_missed_when_the_engine_lost_it() {
    for engine in EngineKind::ALL {
        let (_root, folder) = scratch();
        filled(&folder, engine);
        tamper(&folder, engine, b"\0born", &|_| None);
        assert_eq!(refused(&folder, engine).code(), "store-damaged", "{engine}");
    }
}
