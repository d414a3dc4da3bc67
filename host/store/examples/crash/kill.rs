//! SIGKILL at random moments, with recovery killed as well.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::ledger::{Ledger, Writer};
use crate::{Outcome, Plan};

pub(crate) fn run(plan: Plan) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let root = tempfile::tempdir()?;
    let folder = root.path().join("store");
    let mut ledger = Ledger::default();
    let kills = plan.each_round(|_| {
        let mut writer = Writer::start(&folder, plan.engine, u64::MAX, &[])?;
        let delay_us = if random.random_bool(0.5) {
            writer.await_line("opening")?;
            random.random_range(0..30_000)
        } else {
            writer.await_line("open")?;
            random.random_range(0..150_000)
        };
        let failures = writer.kill_after(Duration::from_micros(delay_us), &mut ledger)?;
        if !failures.is_empty() {
            return Err(failures.join(", ").into());
        }
        // Without this look, the next writer's recovery is the next to be killed.
        if random.random_bool(0.4) {
            ledger.check(&folder, plan.engine)?;
        }
        Ok(())
    })?;
    ledger.check(&folder, plan.engine)?;
    println!(
        "{}: {kills} kills, {} batches acknowledged, none lost",
        plan.engine, ledger.acknowledged
    );
    Ok(())
}
