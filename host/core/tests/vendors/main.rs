//! The promise of pacing for each vendor: with work without end, never one request over in any window, and the
//! allowance used to the full.

mod drive;
mod meter;
mod profiles;

use drive::{Profile, Seen, drive};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// More seeds are tried when this is set while building.
fn seeds() -> u64 {
    option_env!("TIDEGATE_PACE_SEEDS").map_or(1, |text| text.parse().expect("a number"))
}

/// Runs a profile, and holds it to the promise for the meter that binds.
fn hold(seed: u64, profile: &Profile, binding: &str, allowed: u64) -> Seen {
    let seen = drive(seed, profile);
    let name = profile.name;
    for meter in &seen.meters {
        assert_eq!(
            meter.refused, 0,
            "{name}, seed {seed}: {} of {} refused",
            meter.refused, meter.name
        );
        if meter.name != "time" {
            assert!(meter.most <= meter.limit, "{name}, seed {seed}: {meter:?}");
        }
    }
    let used = seen.meter(binding).admitted;
    let permille = used * 1_000 / allowed;
    println!(
        "{name}: {used} of {allowed} ({permille} permille), {} throttled, margins {:?}",
        seen.throttled, seen.margins
    );
    assert!(
        permille >= 990,
        "{name}, seed {seed}: only {used} of {allowed} units of {binding} were used"
    );
    seen
}

#[test]
fn every_vendor_is_used_to_the_full_and_never_over() {
    for seed in 0..seeds() {
        hold(seed, &profiles::salesforce(), "daily", 3 * 15_000);
        hold(seed, &profiles::hubspot(), "burst", 30 * 190);
        hold(seed, &profiles::hubspot_search(), "search", 200 * 5);
        hold(seed, &profiles::hubspot_day(), "daily", 3 * 20_000);
        hold(seed, &profiles::dataverse(), "requests", 8 * 6_000);
        let seen = hold(seed, &profiles::pipedrive(), "burst", 60 * 160);
        assert_eq!(seen.meter("search").admitted, 0);
        hold(seed, &profiles::pipedrive_day(), "daily", 3 * 90_000);
        // The vendor lets in whoever comes before the time is used up, so what is at work then goes over it.
        let seen = drive(seed, &profiles::dataverse_time());
        let time = seen.meter("time");
        assert_eq!(time.refused, 0, "seed {seed}: {time:?}");
        println!("dataverse time: {} of {} ms at most", time.most, time.limit);
        assert!(
            time.most * 1_000 / time.limit >= 970,
            "seed {seed}: {time:?}"
        );
        hold(seed, &profiles::zoho(), "credits", 3 * 50_000);
    }
}

#[test]
fn every_window_from_a_second_to_a_day_is_held() {
    for seed in 0..seeds() {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for (profile, ms, limit) in profiles::sweep(&mut random) {
            hold(seed, &profile, "budget", limit * (profile.lasts_ms / ms));
        }
    }
}
