//! What an earlier build has exported is imported by this one, and leaves it as it came.
//!
//! `NUMBER.export` was written by a build whose format had that number, and is never changed: such files lie in
//! people's backups. A new format gets a file of its own beside the old ones.

use std::fs;
use std::path::Path;

use tidegate_store::{BATCH_BYTES_MAX, EngineKind, KEY_BYTES_MAX, KeyRange, Options, Store};

const EARLIER: &[(&str, &[u8])] = &[("1", include_bytes!("1.export"))];
/// The format that this build writes.
const WRITTEN: &str = "1";

fn options(engine: EngineKind) -> Options {
    Options {
        engine,
        cache_bytes: 32 << 20,
    }
}

/// What each of the files holds: nothing, every byte, a value that is kept in parts, and the longest key.
fn held() -> Vec<(Vec<u8>, Vec<u8>)> {
    let large: Vec<u8> = (0..9_000_u32).map(|at| (at % 251) as u8).collect();
    vec![
        (b"\x00".to_vec(), Vec::new()),
        (b"every byte".to_vec(), (0..=u8::MAX).collect()),
        (b"in parts".to_vec(), large),
        (vec![0xff; KEY_BYTES_MAX], b"the last".to_vec()),
    ]
}

fn on_each_engine(case: impl Fn(EngineKind, &Path)) {
    for engine in EngineKind::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        println!("engine {engine}");
        case(engine, folder.path());
    }
}

#[test]
fn an_old_export_is_read_and_written_as_it_was() {
    assert!(
        held()
            .iter()
            .all(|(_, value)| value.len() < BATCH_BYTES_MAX)
    );
    on_each_engine(|engine, folder| {
        for (number, bytes) in EARLIER {
            let file = folder.join(format!("{number}.export"));
            fs::write(&file, bytes).expect("a file");
            let target = folder.join(format!("from-{number}"));
            let (store, imported) = Store::import(&target, options(engine), &file)
                .unwrap_or_else(|error| panic!("format {number}: {error}"));
            assert_eq!(imported.records, held().len() as u64);
            assert!(
                store.scan(&KeyRange::all(), usize::MAX).expect("a scan") == held(),
                "format {number} holds something else"
            );
            assert!(store.verify().expect("read").is_sound());

            let again = folder.join(format!("again-{number}"));
            store.export(&again).expect("an export");
            let (_, newest) = EARLIER
                .iter()
                .find(|(number, _)| *number == WRITTEN)
                .expect("a file of the format that is written");
            assert!(
                fs::read(&again).expect("a file") == *newest,
                "format {number} is exported otherwise than {WRITTEN} was"
            );
        }
    });
}

#[test]
fn an_export_of_a_newer_build_is_refused() {
    on_each_engine(|engine, folder| {
        let (_, bytes) = EARLIER.last().expect("a file");
        let newer = [&bytes[..15], &[bytes[15] + 1], &bytes[16..]].concat();
        let file = folder.join("newer.export");
        fs::write(&file, newer).expect("a file");
        let target = folder.join("store");
        let refused = Store::import(&target, options(engine), &file).map(|_| ());
        let refused = refused.expect_err("newer");
        assert_eq!(refused.code(), "import-newer-format");
        assert!(refused.to_string().contains("use a newer one"), "{refused}");
    });
}
