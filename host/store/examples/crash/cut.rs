//! Power cuts and failing disks, by a preloaded shim (`shim.c`).
//!
//! The mirror that the shim keeps is the disk as it is certain to be: file contents as of their last sync, names as
//! of their folder's last sync. A real disk may hold some of the unsynced writes as well, so in half of the cuts
//! random pages of the live files are mixed in.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_store::EngineKind;

use crate::ledger::{Ledger, Writer};
use crate::{Outcome, Plan};

const PAGE_BYTES: usize = 4096;

/// The disk, its mirror, and the shim between them.
struct Disk {
    /// What the writer sees.
    live: PathBuf,
    mirror: PathBuf,
    shim: PathBuf,
}

pub(crate) fn run(plan: Plan) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let root = tempfile::tempdir()?;
    let shim = build_shim(root.path())?;
    let mut ledger = Ledger::default();
    let mut promised = 0;
    let mut survivor: Option<PathBuf> = None;
    let cuts = plan.each_round(|number| {
        // A store is most fragile while it is young, so many begin anew.
        if random.random_bool(0.4) {
            survivor = None;
            ledger = Ledger::default();
        }
        let live = match survivor.take() {
            Some(live) => live,
            None => root.path().join(format!("fresh-{number}")),
        };
        let disk = Disk::new(live, root.path().join(format!("mirror-{number}")), &shim)?;
        let before = ledger.acknowledged;
        let mut writer = Writer::start(&disk.store(), plan.engine, u64::MAX, &disk.environment())?;
        let delay_us = if random.random_bool(0.3) {
            writer.await_line("opening")?;
            random.random_range(0..40_000)
        } else {
            writer.await_line("open")?;
            // Long rounds let the engine collect and reuse what it no longer needs.
            let longest = if random.random_bool(0.1) {
                1_500_000
            } else {
                200_000
            };
            random.random_range(0..longest)
        };
        let failures = writer.kill_after(Duration::from_micros(delay_us), &mut ledger)?;
        if !failures.is_empty() {
            return Err(failures.join(", ").into());
        }
        promised += ledger.acknowledged - before;
        let after = root.path().join(format!("after-{number}"));
        let mixed_in = if random.random_bool(0.5) {
            random.random()
        } else {
            0.0
        };
        disk.rebuild(&after, mixed_in, &mut random)?;
        check_settings(&after.join("store"), plan.engine)?;
        ledger
            .check(&after.join("store"), plan.engine)
            .map_err(|error| format!("{error} (mixed in: {mixed_in:.2})"))?;
        fs::remove_dir_all(&disk.live)?;
        fs::remove_dir_all(&disk.mirror)?;
        survivor = Some(after);
        Ok(())
    })?;
    println!(
        "{}: {cuts} power cuts, {promised} batches acknowledged, none lost",
        plan.engine
    );
    Ok(())
}

/// sled would replace settings that did not survive by its defaults, so the ledger alone does not miss them.
fn check_settings(store: &Path, engine: EngineKind) -> Outcome {
    let conf = store.join("sled/conf");
    let finished = store.join("store.json").exists();
    if engine == EngineKind::Sled && finished && fs::read(&conf)?.is_empty() {
        return Err("the store is finished, and its settings are not durable".into());
    }
    Ok(())
}

/// One sync that fails, a disk that fills up, and a write that is lost in the background.
pub(crate) fn faults(plan: Plan) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let root = tempfile::tempdir()?;
    let shim = build_shim(root.path())?;
    let rounds = plan.each_round(|number| {
        let sync = (
            "CRASH_FAIL_SYNC",
            random.random_range(5..40).to_string(),
            "store-io",
        );
        let full = (
            "CRASH_FULL_AFTER",
            random.random_range(1 << 20..4 << 20).to_string(),
            "store-full",
        );
        // sled's own flusher hears of it and only logs it; our descriptor must hear of it too.
        let lost = (
            "CRASH_LOSE_WRITE",
            random.random_range(5..40).to_string(),
            "store-io",
        );
        let sled_only = (plan.engine == EngineKind::Sled).then_some(lost);
        for (name, value, code) in [sync, full].into_iter().chain(sled_only) {
            let place = |what| root.path().join(format!("{what}-{name}-{number}"));
            let disk = Disk::new(place("live"), place("mirror"), &shim)?;
            let mut environment = disk.environment();
            environment.push((name, value.clone()));
            let mut ledger = Ledger::default();
            let writer = Writer::start(&disk.store(), plan.engine, 2000, &environment)?;
            let (_, failures) = writer.finish(&mut ledger)?;
            // Every later request is refused, and the reason stays the first one.
            if failures.len() < 100 || failures.iter().any(|failure| failure != code) {
                let (count, first) = (failures.len(), failures.first());
                return Err(format!("{name}={value}: {count} refusals, first {first:?}").into());
            }
            let after = place("after");
            disk.rebuild(&after, 0.0, &mut random)?;
            ledger.check(&after.join("store"), plan.engine)?;
            // The live files may hold what never became durable.
            ledger.crashed();
            ledger.check(&disk.store(), plan.engine)?;
        }
        Ok(())
    })?;
    println!(
        "{}: {rounds} failed syncs and full disks, nothing acknowledged falsely",
        plan.engine
    );
    Ok(())
}

fn build_shim(folder: &Path) -> Outcome<PathBuf> {
    let source = folder.join("shim.c");
    fs::write(&source, include_str!("shim.c"))?;
    let shim = folder.join("shim.so");
    let built = Command::new("cc")
        .args(["-O2", "-Wall", "-shared", "-fPIC", "-pthread", "-o"])
        .args([&shim, &source])
        .arg("-ldl")
        .output();
    match built {
        Ok(output) if output.status.success() => Ok(shim),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        Err(error) => Err(format!(
            "the power-cut shim needs a C compiler named cc ({error}); on Debian: apt-get install gcc libc6-dev"
        )
        .into()),
    }
}

impl Disk {
    /// What lies in `live` already counts as durable.
    fn new(live: PathBuf, mirror: PathBuf, shim: &Path) -> Outcome<Self> {
        fs::create_dir_all(&live)?;
        fs::create_dir_all(&mirror)?;
        mirror_folder(&live, &mirror)?;
        Ok(Self {
            live,
            mirror,
            shim: shim.to_owned(),
        })
    }

    fn store(&self) -> PathBuf {
        self.live.join("store")
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("LD_PRELOAD", text(&self.shim)),
            ("CRASH_ROOT", text(&self.live)),
            ("CRASH_MIRROR", text(&self.mirror)),
        ]
    }

    /// Lays out what the power cut left. `mixed_in` is the share of unsynced pages that made it all the same.
    fn rebuild(&self, target: &Path, mixed_in: f64, random: &mut ChaCha8Rng) -> Outcome {
        let id = fs::metadata(&self.live)?.ino();
        self.rebuild_folder(id, target, &self.live, mixed_in, random)
    }

    fn rebuild_folder(
        &self,
        id: u64,
        target: &Path,
        live: &Path,
        mixed_in: f64,
        random: &mut ChaCha8Rng,
    ) -> Outcome {
        fs::create_dir_all(target)?;
        let list = self.mirror.join(format!("{id}.names"));
        let names = if list.exists() {
            fs::read_to_string(list)?
        } else {
            String::new()
        };
        for line in names.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(kind), Some(id), Some(name)) = (words.next(), words.next(), words.next())
            else {
                return Err(format!("the mirror says {line}").into());
            };
            let (target, live) = (target.join(name), live.join(name));
            if kind == "d" {
                self.rebuild_folder(id.parse()?, &target, &live, mixed_in, random)?;
                continue;
            }
            let content = self.mirror.join(format!("{id}.data"));
            let mut bytes = if content.exists() {
                fs::read(content)?
            } else {
                Vec::new()
            };
            if let Ok(file) = File::open(&live)
                && file.metadata()?.ino().to_string() == id
            {
                mix_in(&mut bytes, &file, mixed_in, random)?;
            }
            fs::write(&target, bytes)?;
        }
        Ok(())
    }
}

/// Overwrites random pages with what the live file held when the power went. The length stays: growth needs a sync.
fn mix_in(bytes: &mut [u8], live: &File, share: f64, random: &mut ChaCha8Rng) -> Outcome {
    for (index, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
        if random.random_bool(share) {
            let read = live.read_at(page, (index * PAGE_BYTES) as u64)?;
            debug_assert!(read <= page.len(), "a read fits its buffer");
        }
    }
    Ok(())
}

fn mirror_folder(folder: &Path, mirror: &Path) -> Outcome {
    let mut names = String::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let kind = if metadata.is_dir() { 'd' } else { 'f' };
        let name = entry.file_name().to_string_lossy().into_owned();
        names += &format!("{kind} {} {name}\n", metadata.ino());
        if metadata.is_dir() {
            mirror_folder(&entry.path(), mirror)?;
        } else {
            let mut content = Vec::new();
            File::open(entry.path())?.read_to_end(&mut content)?;
            fs::write(mirror.join(format!("{}.data", metadata.ino())), content)?;
        }
    }
    let id = fs::metadata(folder)?.ino();
    File::create(mirror.join(format!("{id}.names")))?.write_all(names.as_bytes())?;
    Ok(())
}
