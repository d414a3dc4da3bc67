//! Crashes a store again and again, and compares what comes back with a ledger kept outside the process.
//!
//! `crash kills|cuts|faults --engine sled|redb [--rounds N] [--seconds S] [--seed X]` is for people, tests and the
//! soak; `crash write` and `crash hold` are the processes that it starts and kills.
//!
//! - `kills`: SIGKILL at random moments, during opening and recovery too.
//! - `cuts`: a preloaded shim mirrors only what was synced; the mirror at the moment of a kill is what a
//!   power cut leaves.
//! - `faults`: one sync fails, or the disk fills up; nothing may be acknowledged after that.
//!
//! It does not check a disk that lies about its syncs, nor damage to what was synced.

mod cut;
mod kill;
mod ledger;
mod workload;
mod writer;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_store::EngineKind;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What a run was asked for.
#[derive(Clone, Copy)]
struct Plan {
    engine: EngineKind,
    rounds: u32,
    /// Go on for at least this long, however many rounds that takes.
    seconds: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crash {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", engine, folder, batches] => writer::write(
            &PathBuf::from(folder),
            engine_named(engine)?,
            batches.parse()?,
        ),
        ["hold", engine, folder] => writer::hold(&PathBuf::from(folder), engine_named(engine)?),
        ["kills", rest @ ..] => kill::run(plan(rest, 25)?),
        ["cuts", rest @ ..] => cut::run(plan(rest, 12)?),
        ["faults", rest @ ..] => cut::faults(plan(rest, 3)?),
        _ => Err("kills, cuts or faults; see the head of examples/crash/main.rs".into()),
    }
}

fn engine_named(name: &str) -> Outcome<EngineKind> {
    EngineKind::ALL
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| format!("{name} is not an engine").into())
}

fn plan(words: &[&str], rounds: u32) -> Outcome<Plan> {
    let mut plan = Plan {
        engine: EngineKind::default(),
        rounds,
        seconds: 0,
        seed: 1,
    };
    for pair in words.chunks(2) {
        match pair {
            ["--engine", name] => plan.engine = engine_named(name)?,
            ["--rounds", rounds] => plan.rounds = rounds.parse()?,
            ["--seconds", seconds] => plan.seconds = seconds.parse()?,
            ["--seed", seed] => plan.seed = seed.parse()?,
            _ => return Err(format!("unknown option {}", pair.join(" ")).into()),
        }
    }
    Ok(plan)
}

impl Plan {
    /// Runs rounds until the number and the time are both reached; returns how many there were.
    fn each_round(&self, mut round: impl FnMut(u32) -> Outcome) -> Outcome<u32> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the soak runs for a time that a person gave"
        )]
        let start = std::time::Instant::now();
        let mut number = 0;
        while number < self.rounds || start.elapsed().as_secs() < self.seconds {
            round(number).map_err(|error| {
                format!(
                    "seed {}, {}, round {number}: {error}",
                    self.seed, self.engine
                )
            })?;
            number += 1;
        }
        Ok(number)
    }
}
