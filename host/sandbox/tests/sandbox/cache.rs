//! Compiled code is taken from the cache only when this host put it there.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_core::plugin::{Direction, MappingContext};
use tidegate_sandbox::{Limits, Sandbox, Settings};

use crate::forge::{self, ECHO};

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cwasm")
        })
        .collect();
    found.sort();
    found
}

async fn works(folder: &Path) {
    let sandbox = forge::sandbox(Some(folder));
    let plugin = forge::load(&sandbox, forge::mapping(ECHO), Limits::default()).await;
    let batch = forge::batch(2);
    let context = MappingContext::default();
    let mapped = plugin
        .map_batch(&context, Direction::LeftToRight, batch.clone())
        .await;
    assert_eq!(mapped.unwrap().batch, batch);
}

#[tokio::test]
async fn what_was_tampered_with_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    works(folder.path()).await;
    let entry = entries(folder.path())
        .pop()
        .expect("an entry after the first load");
    let original = fs::read(&entry).unwrap();

    let mut flipped = original.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut unsigned = original.clone();
    unsigned[..32].fill(0);
    for damaged in [flipped, unsigned, original[..20].to_vec(), Vec::new()] {
        fs::write(&entry, damaged).unwrap();
        works(folder.path()).await;
        assert!(
            fs::read(&entry).unwrap() == original,
            "the entry was not built again"
        );
    }
    assert_eq!(entries(folder.path()).len(), 1);
}

/// An entry is bound to its plugin: another plugin's code, well signed, is not taken for it.
#[tokio::test]
async fn entries_can_not_be_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    works(folder.path()).await;
    let echo = entries(folder.path()).pop().expect("an entry");
    let sandbox = forge::sandbox(Some(folder.path()));
    forge::load(&sandbox, forge::mapping("unreachable"), Limits::default()).await;
    let other = entries(folder.path())
        .into_iter()
        .find(|path| *path != echo)
        .expect("another entry");
    fs::copy(other, &echo).unwrap();
    works(folder.path()).await;
}

#[cfg(unix)]
#[test]
fn the_folder_is_private_and_its_key_is_whole() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("deep/compiled");
    forge::sandbox(Some(&cache));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache), 0o700);
    assert_eq!(mode(&cache.join("key")), 0o600);

    fs::write(cache.join("key"), b"short").unwrap();
    let settings = Settings {
        cache_dir: Some(cache),
        ..Settings::default()
    };
    let error = Sandbox::new(settings)
        .err()
        .expect("a broken key is refused");
    assert!(error.to_string().contains("can't be used"), "{error}");
}
