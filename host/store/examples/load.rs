//! Loads links and their index as the sync engine does, and prints what that costs, as JSON, one object per engine.
//!
//! `load [--links N] [--engine sled|redb] [--cache-mib M] [--order made|none]`. One engine per process, because resident memory is a
//! process's own; without `--engine` it starts itself once for each.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_store::{Batch, EngineKind, KeyRange, Options, Stats, Store};

const LINK_BYTES: usize = 220;
/// A page of captured changes: what one batch of the sync engine holds.
const LINKS_PER_BATCH: u64 = 200;
/// Small commits, each awaited by its caller, as acknowledgements of webhooks are.
const CALLERS: u64 = 64;
const COMMITS_PER_CALLER: u64 = 100;

/// The allocator of the daemon: with another one the figures are not the daemon's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How the links' keys follow each other.
#[derive(Clone, Copy)]
enum Order {
    /// As the sync engine makes them: rising.
    Made,
    /// In none at all, which no use of the store has, and which costs an engine most.
    None,
}

impl Order {
    fn named(name: &str) -> Outcome<Self> {
        match name {
            "made" => Ok(Self::Made),
            "none" => Ok(Self::None),
            _ => Err(format!("{name} is not an order").into()),
        }
    }
}

#[derive(Clone, Copy)]
struct Links {
    count: u64,
    order: Order,
}

impl Links {
    fn key(self, link: u64) -> Vec<u8> {
        let number = match self.order {
            Order::Made => link,
            Order::None => scramble(link),
        };
        [&[b'l', 0, 1][..], &number.to_be_bytes()].concat()
    }
}

#[derive(serde::Serialize)]
struct Report {
    engine: EngineKind,
    links: u64,
    load_seconds: f64,
    links_per_second: f64,
    /// One caller, one record per batch, each awaited until durable.
    lone_commits_per_second: f64,
    /// Many callers at once, one record per batch, each awaited until durable.
    durable_commits_per_second: f64,
    random_reads_per_second: f64,
    /// What these took from the system, since it was not in the engine's cache.
    read_bytes: u64,
    /// Links that are read and written anew in no order, a batch of them at a time, as settled rounds do.
    settled_links_per_second: f64,
    /// After the load and the reads.
    resident_loaded_bytes: u64,
    /// After all of it.
    resident_bytes: u64,
    resident_peak_bytes: u64,
    /// After the store was closed and opened again, and every record read once.
    reopen_seconds: f64,
    reopened_resident_bytes: u64,
    stats: Stats,
}

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut links = 500_000;
    let mut cache_mib: Option<u64> = None;
    let mut order = Order::Made;
    let mut chosen = None;
    for pair in words.chunks(2) {
        match pair {
            [name, value] if name == "--links" => links = value.parse()?,
            [name, value] if name == "--cache-mib" => cache_mib = Some(value.parse()?),
            [name, value] if name == "--order" => order = Order::named(value)?,
            [name, value] if name == "--engine" => chosen = Some(value.clone()),
            _ => return Err(format!("unknown option {}", pair.join(" ")).into()),
        }
    }
    match chosen {
        Some(name) => {
            let engine = EngineKind::ALL.into_iter().find(|kind| kind.name() == name);
            let engine = engine.ok_or_else(|| format!("{name} is not an engine"))?;
            let cache_bytes = cache_mib.map_or(engine.cache_bytes_default(), |mib| mib << 20);
            let report = measure(
                engine,
                Links {
                    count: links,
                    order,
                },
                cache_bytes,
            )?;
            println!("{}", serde_json::to_string(&report)?);
        }
        None => {
            for engine in EngineKind::ALL {
                let status = Command::new(std::env::current_exe()?)
                    .args(&words)
                    .args(["--engine", engine.name()])
                    .status()?;
                if !status.success() {
                    return Err(format!("{engine}: {status}").into());
                }
            }
        }
    }
    Ok(())
}

fn measure(engine: EngineKind, links: Links, cache_bytes: u64) -> Outcome<Report> {
    let root = tempfile::tempdir()?;
    let folder = root.path().join("store");
    let options = Options {
        engine,
        cache_bytes,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    let store = Store::open(&folder, options)?;
    let load_seconds = timed(|| runtime.block_on(load(&store, links)))?;
    let lone_seconds = timed(|| runtime.block_on(commit(store.clone(), 0)))?;
    let many_seconds = timed(|| {
        runtime.block_on(async {
            let callers: Vec<_> = (1..=CALLERS)
                .map(|caller| tokio::spawn(commit(store.clone(), caller)))
                .collect();
            for caller in callers {
                caller.await??;
            }
            Ok(())
        })
    })?;
    let reads = links.count * 2 / 5;
    let read_before_bytes = kernel("/proc/self/io", "rchar")?;
    let read_seconds = timed(|| {
        for number in 0..reads {
            let link = scramble(number) % links.count;
            if store.get(&links.key(link))?.is_none() {
                return Err(format!("link {link} is lost").into());
            }
        }
        Ok(())
    })?;
    let read_bytes = kernel("/proc/self/io", "rchar")? - read_before_bytes;
    let resident_loaded_bytes = memory("VmRSS")?;
    let settle_seconds = timed(|| runtime.block_on(settle(&store, links)))?;
    let stats = store.stats()?;
    let (resident_bytes, resident_peak_bytes) = (memory("VmRSS")?, memory("VmHWM")?);
    runtime.block_on(store.close())?;
    let (reopen_seconds, reopened_resident_bytes) = reopen(&folder, options, stats.records)?;
    Ok(Report {
        engine,
        links: links.count,
        load_seconds,
        links_per_second: links.count as f64 / load_seconds,
        lone_commits_per_second: COMMITS_PER_CALLER as f64 / lone_seconds,
        durable_commits_per_second: (CALLERS * COMMITS_PER_CALLER) as f64 / many_seconds,
        random_reads_per_second: reads as f64 / read_seconds,
        read_bytes,
        settled_links_per_second: (links.count / 2) as f64 / settle_seconds,
        resident_loaded_bytes,
        resident_bytes,
        resident_peak_bytes,
        reopen_seconds,
        reopened_resident_bytes,
        stats,
    })
}

/// Links in the order in which they are made, and two index records each: one under a row number, one under a CRM's
/// id, which is in no order.
async fn load(store: &Store, links: Links) -> Outcome {
    let mut last = None;
    for first in (0..links.count).step_by(LINKS_PER_BATCH as usize) {
        let mut batch = Batch::new();
        for link in first..(first + LINKS_PER_BATCH).min(links.count) {
            batch = batch.put(links.key(link), noise(link, LINK_BYTES - 11));
            let row = format!("i\0\x01<{}", link + 1);
            let contact = format!("i\0\x01>003{:015x}", scramble(link) >> 4);
            batch = batch
                .put(row, link.to_be_bytes())
                .put(contact, link.to_be_bytes());
        }
        last = Some(store.apply(batch).await?);
    }
    if let Some(seq) = last {
        store.durable(seq).await?;
    }
    Ok(())
}

/// Half of the links, in no order, get new shadows.
async fn settle(store: &Store, links: Links) -> Outcome {
    let mut last = None;
    for first in (0..links.count / 2).step_by(LINKS_PER_BATCH as usize) {
        let chosen: BTreeSet<u64> = (first..first + LINKS_PER_BATCH)
            .map(|number| scramble(number ^ 0x5e77) % links.count)
            .collect();
        let mut batch = Batch::new();
        for link in chosen {
            let key = links.key(link);
            if store.get(&key)?.is_none() {
                return Err(format!("link {link} is lost").into());
            }
            batch = batch.put(key, noise(link ^ first, LINK_BYTES - 11));
        }
        last = Some(store.apply(batch).await?);
    }
    if let Some(seq) = last {
        store.durable(seq).await?;
    }
    Ok(())
}

async fn commit(store: Store, caller: u64) -> Outcome {
    for number in 0..COMMITS_PER_CALLER {
        let key = [
            b"q".as_slice(),
            &caller.to_be_bytes(),
            &number.to_be_bytes(),
        ]
        .concat();
        let seq = store
            .apply(Batch::new().put(key, noise(number, 120)))
            .await?;
        store.durable(seq).await?;
    }
    Ok(())
}

fn reopen(folder: &Path, options: Options, records: u64) -> Outcome<(f64, u64)> {
    let mut store = None;
    let seconds = timed(|| {
        store = Some(Store::open(folder, options)?);
        Ok(())
    })?;
    let store = store.ok_or("the store did not open")?;
    let mut range = KeyRange::all();
    let mut met = 0;
    loop {
        let page = store.scan(&range, 1000)?;
        let Some((last, _)) = page.last() else { break };
        met += page.len() as u64;
        range = range.after(last.clone());
    }
    if met != records {
        return Err(format!("{met} of {records} records came back").into());
    }
    Ok((seconds, memory("VmRSS")?))
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64)
        .flat_map(|word| scramble(seed ^ word << 40).to_le_bytes())
        .take(bytes)
        .collect()
}

/// One step of splitmix64.
fn scramble(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// A figure of this process's memory, in bytes.
fn memory(name: &str) -> Outcome<u64> {
    Ok(kernel("/proc/self/status", name)? << 10)
}

/// What the kernel says about this process, without the unit.
fn kernel(file: &str, name: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(file)?;
    let figure = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .ok_or_else(|| format!("{file} does not say {name}"))?;
    Ok(figure.trim().trim_end_matches(" kB").parse()?)
}

fn timed(work: impl FnOnce() -> Outcome) -> Outcome<f64> {
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let start = std::time::Instant::now();
    work()?;
    Ok(Duration::as_secs_f64(&start.elapsed()))
}
