//! The processes that are killed.
//!
//! A writer says on standard output: `opening`, `open`, `ack WRITER NUMBER` once a batch is durable, and `failed
//! WRITER CODE` for every batch that was not, after which the writer tries the next one.

use std::io::{self, Read, Write};
use std::path::Path;

use tidegate_store::{EngineKind, Options, Store};

use crate::Outcome;
use crate::workload::{self, WRITERS};

pub(crate) fn options(engine: EngineKind) -> Options {
    Options {
        engine,
        cache_bytes: 32 << 20,
    }
}

/// One line, in one write, so that a kill can't tear it.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

pub(crate) fn write(folder: &Path, engine: EngineKind, batches: u64) -> Outcome {
    say("opening")?;
    let store = match Store::open(folder, options(engine)) {
        Ok(store) => store,
        Err(error) => return Ok(failed("all", error.code())?),
    };
    say("open")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    runtime.block_on(async {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write_on(store.clone(), writer, batches)))
            .collect();
        for writer in writers {
            writer.await??;
        }
        Ok(())
    })
}

async fn write_on(store: Store, writer: u32, batches: u64) -> io::Result<()> {
    let head = match store.get(&workload::head_key(writer)) {
        Ok(head) => head.map_or(0, |head| {
            u64::from_be_bytes(head.try_into().unwrap_or_default())
        }),
        Err(error) => return failed(&writer.to_string(), error.code()),
    };
    for number in head + 1..=head.saturating_add(batches) {
        let applied = match store.apply(workload::batch(writer, number)).await {
            Ok(seq) => store.durable(seq).await.map_err(|error| error.code()),
            Err(error) => Err(error.code()),
        };
        match applied {
            Ok(()) => say(&format!("ack {writer} {number}"))?,
            Err(code) => failed(&writer.to_string(), code)?,
        }
    }
    Ok(())
}

/// Says so and goes on: what is answered after a failure is of interest too.
fn failed(writer: &str, code: &str) -> io::Result<()> {
    say(&format!("failed {writer} {code}"))
}

/// Keeps a store open until standard input ends.
pub(crate) fn hold(folder: &Path, engine: EngineKind) -> Outcome {
    let _store = Store::open(folder, options(engine))?;
    say("open")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
