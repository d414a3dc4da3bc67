//! The promise of pacing for each vendor: with work without end, never one request over in any window, and the
//! allowance used to the full.

mod accounts;
mod drive;
mod meter;
mod profiles;
mod urgent;

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
        let seen = hold(seed, &profiles::dataverse_time(), "time", 6 * 1_200_000);
        let time = seen.meter("time");
        println!("dataverse time: {} of {} ms at most", time.most, time.limit);
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

/// The vendor's midnight comes by its own clock.
#[test]
fn a_vendors_clock_may_be_nearly_a_second_off() {
    for skew_ms in [-900, 900] {
        let mut profile = profiles::hubspot_day();
        profile.skew_ms = skew_ms;
        profile.wall_ms += 1_000;
        profile.lasts_ms -= 2_000;
        hold(0, &profile, "daily", 3 * 20_000);
    }
}

/// Only what is on its way when the vendor takes a part of the allowance away can be refused: answers tell of the new limit,
/// which is then used to the full.
#[test]
fn a_limit_that_shrinks_is_followed() {
    for seed in 0..seeds().max(8) {
        let profile = Profile {
            later: Some((100_000, 100)),
            ..profiles::hubspot()
        };
        let seen = drive(seed, &profile);
        let used = seen.meter("burst").admitted;
        assert!(seen.throttled <= 8, "seed {seed}: {}", seen.throttled);
        // What counts beyond the new limit has to fall out first.
        let allowed = 10 * 190 + 20 * 100 - 90;
        assert!(used * 100 >= allowed * 97, "seed {seed}: {used}");
    }
}

/// The deciding code never asks for the time, so that a year of it passes in seconds.
#[test]
fn a_year_is_held_day_by_day() {
    hold(0, &profiles::hubspot_year(), "daily", 365 * 2_000);
    let killed = Profile {
        kills: 365,
        ..profiles::hubspot_year()
    };
    hold(0, &killed, "daily", 365 * 2_000);
}

#[test]
fn fifty_kills_neither_overdraw_nor_waste() {
    for seed in 0..seeds() {
        let killed = |profile: Profile| Profile {
            kills: 50,
            ..profile
        };
        let salesforce = killed(profiles::salesforce());
        hold(seed, &salesforce, "daily", 3 * 15_000);
        let zoho = killed(profiles::zoho());
        hold(seed, &zoho, "credits", 3 * 50_000);
        hold(
            seed,
            &killed(profiles::pipedrive_day()),
            "daily",
            3 * 90_000,
        );
        // In short windows a kill costs what was on the books: only that nothing is overdrawn is held there.
        for profile in [
            profiles::hubspot(),
            profiles::hubspot_search(),
            profiles::pipedrive(),
        ] {
            let seen = drive(seed, &killed(profile));
            assert_eq!(seen.throttled, 0, "seed {seed}");
            for meter in &seen.meters {
                println!(
                    "killed: {} {} at most of {}",
                    meter.name, meter.most, meter.limit
                );
                assert!(meter.most <= meter.limit, "seed {seed}: {meter:?}");
            }
        }
    }
}

/// What others leave of the first meter, and what was made of it.
struct Beside {
    name: &'static str,
    left: u64,
    ours: u64,
    sent: u64,
    throttled: u64,
}

fn beside_others(seed: u64, profile: Profile, window_ms: u64, windows: u64) -> Beside {
    let profile = Profile {
        neighbour: Some((window_ms, 0..=800)),
        alone_ms: window_ms,
        lasts_ms: windows * window_ms,
        ..profile
    };
    let seen = drive(seed, &profile);
    let meter = &seen.meters[0];
    assert!(meter.most <= meter.limit, "seed {seed}: {meter:?}");
    Beside {
        name: profile.name,
        left: meter.limit * windows - (seen.others - seen.before),
        ours: meter.admitted - seen.others,
        sent: seen.sent,
        throttled: seen.throttled,
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64 * 100.0
}

/// Holds each run to the promise beside others.
fn hold_beside(what: &str, runs: &[Beside]) {
    let sum = |of: fn(&Beside) -> u64| runs.iter().map(of).sum::<u64>();
    let throttled = |run: &Beside| percent(run.throttled, run.sent);
    let used = |run: &Beside| percent(run.ours, run.left);
    println!(
        "{} {what}, {} seeds: {:.3} percent of {} throttled, {:.3} at most; {:.2} percent of what was left used, {:.2} \
         at least",
        runs[0].name,
        runs.len(),
        percent(sum(|run| run.throttled), sum(|run| run.sent)),
        sum(|run| run.sent),
        runs.iter().map(throttled).fold(0.0, f64::max),
        percent(sum(|run| run.ours), sum(|run| run.left)),
        runs.iter().map(used).fold(100.0, f64::min),
    );
    for (seed, run) in runs.iter().enumerate() {
        let name = run.name;
        assert!(
            throttled(run) < 0.1,
            "{name}, seed {seed}: {}",
            run.throttled
        );
        assert!(used(run) >= 95.0, "{name}, seed {seed}: {}", run.ours);
    }
}

/// Others' rate is drawn anew for each window, from nothing to 80 percent of the limit.
#[test]
fn a_noisy_neighbour_is_given_way_and_the_rest_is_used() {
    let seeds = seeds().max(8);
    type Make = fn() -> Profile;
    let vendors: [(Make, u64, u64); 3] = [
        (profiles::hubspot, 10_000, 150),
        (profiles::dataverse, 300_000, 12),
        (profiles::salesforce, 86_400_000, 4),
    ];
    for (profile, window_ms, windows) in vendors {
        let runs = (0..seeds).map(|seed| beside_others(seed, profile(), window_ms, windows));
        hold_beside("beside others", &runs.collect::<Vec<_>>());
    }
}

/// When we come, others have been there for a while, and nobody knows when in the window they used what they did. It was
/// taken to fall out in 64 lumps, each of which was sent at once and refused where theirs was late: with these seeds up to 0.2
/// percent of the calls, nearly all of them in the first window.
#[test]
fn what_others_used_before_us_is_not_given_out_in_lumps() {
    let runs = [20, 39, 44].map(|seed| beside_others(seed, profiles::dataverse(), 300_000, 12));
    hold_beside("beside others who came before", &runs);
}

/// The next host knows what others use, so that a kill makes nothing worse.
#[test]
fn kills_beside_a_noisy_neighbour_are_not_noticed() {
    let runs = (0..seeds().max(4)).map(|seed| {
        let killed = Profile {
            kills: 50,
            ..profiles::salesforce()
        };
        beside_others(seed, killed, 86_400_000, 4)
    });
    hold_beside("killed beside others", &runs.collect::<Vec<_>>());
}
