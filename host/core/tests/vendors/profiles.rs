//! The five vendors: their limits as a manifest has them, and as their own words have them.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tidegate_core::pace::{Lane, PoolOverride};
use tidegate_core::plugin::HttpMethod;

use crate::drive::{Metered, Profile, Work};
use crate::meter::{Meter, Rule};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// 2024-03-09 05:00 UTC: midnight in New York, a day before its clocks go forward.
const NEW_YORK_MS: i64 = 1_709_960_400_000;

fn each(_: &Work) -> u64 {
    1
}

fn work(method: HttpMethod, path: &'static str, rows: u32, takes_ms: (u64, u64)) -> Work {
    Work {
        method,
        path,
        rows,
        takes_ms,
    }
}

fn profile(name: &'static str, manifest: &'static str) -> Profile {
    Profile {
        name,
        manifest,
        overrides: Vec::new(),
        wall_ms: NEW_YORK_MS,
        meters: Vec::new(),
        told: &[],
        work: |_| work(HttpMethod::Get, "/records", 1, (30, 4)),
        lane: Lane::Critical,
        lasts_ms: 0,
        way_ms: (15, 3),
        neighbour: None,
        alone_ms: 0,
        park_ms: None,
        kills: 0,
        skew_ms: 0,
        later: None,
    }
}

const SALESFORCE: &str = include_str!("manifests/salesforce.toml");
const HUBSPOT: &str = include_str!("manifests/hubspot.toml");
const DATAVERSE: &str = include_str!("manifests/dataverse.toml");
const PIPEDRIVE: &str = include_str!("manifests/pipedrive.toml");
const ZOHO: &str = include_str!("manifests/zoho.toml");

/// Mostly quick calls, now and then one that takes long.
pub(crate) fn salesforce() -> Profile {
    Profile {
        meters: vec![
            (
                Meter::new("daily", 15_000, Rule::Window { ms: DAY_MS as i64 }),
                each,
            ),
            (
                Meter::new("long-running", 5, Rule::Lasting { after_ms: 20_000 }),
                each,
            ),
        ],
        overrides: vec![(
            "long-running",
            PoolOverride {
                limit: Some(5),
                ..PoolOverride::default()
            },
        )],
        told: &["daily"],
        work: |random| match random.random_range(0..100) {
            0..60 => work(HttpMethod::Get, "/services/data/v60.0/query", 0, (60, 200)),
            60..97 => work(
                HttpMethod::Patch,
                "/services/data/v60.0/composite/sobjects",
                200,
                (200, 900),
            ),
            _ => work(
                HttpMethod::Post,
                "/services/data/v60.0/composite/graph",
                500,
                (2_000, 40_000),
            ),
        },
        lasts_ms: 3 * DAY_MS,
        park_ms: Some(300_000),
        ..profile("salesforce", SALESFORCE)
    }
}

fn is_search(work: &Work) -> bool {
    work.path.ends_with("/search")
}

fn hubspot_meters() -> Vec<Metered> {
    let midnights_ms = vec![
        NEW_YORK_MS,
        NEW_YORK_MS + DAY_MS as i64,
        // The day on which clocks go forward has 23 hours.
        NEW_YORK_MS + (2 * DAY_MS - HOUR_MS) as i64,
        NEW_YORK_MS + (3 * DAY_MS - HOUR_MS) as i64,
    ];
    vec![
        (
            Meter::new("burst", 190, Rule::Window { ms: 10_000 }),
            |work: &Work| u64::from(!is_search(work)),
        ),
        (
            Meter::new("search", 5, Rule::Window { ms: 1_000 }),
            |work: &Work| u64::from(is_search(work)),
        ),
        (
            Meter::new("daily", 625_000, Rule::Day { midnights_ms }),
            each,
        ),
    ]
}

pub(crate) fn hubspot() -> Profile {
    Profile {
        meters: hubspot_meters(),
        told: &["burst", "daily"],
        work: |random| match random.random_range(0..3) {
            0 => work(
                HttpMethod::Post,
                "/crm/v3/objects/contacts/batch/upsert",
                100,
                (250, 60),
            ),
            _ => work(HttpMethod::Get, "/crm/v3/objects/contacts", 0, (60, 30)),
        },
        lasts_ms: 30 * 10_000,
        lane: Lane::Backfill,
        ..profile("hubspot burst", HUBSPOT)
    }
}

/// Its answers tell nothing of the pool.
pub(crate) fn hubspot_search() -> Profile {
    Profile {
        work: |_| {
            work(
                HttpMethod::Post,
                "/crm/v3/objects/contacts/search",
                0,
                (80, 4),
            )
        },
        lasts_ms: 200 * 1_000,
        lane: Lane::Normal,
        name: "hubspot search",
        ..hubspot()
    }
}

/// A small allowance, so that the day binds, over the day on which clocks go forward.
pub(crate) fn hubspot_day() -> Profile {
    let mut day = hubspot();
    day.meters[2].0.limit = 20_000;
    Profile {
        name: "hubspot day",
        overrides: vec![(
            "daily",
            PoolOverride {
                limit: Some(20_000),
                ..PoolOverride::default()
            },
        )],
        lasts_ms: 3 * DAY_MS - HOUR_MS,
        lane: Lane::Critical,
        ..day
    }
}

/// A year in New York, with a day of 23 hours and one of 25, and an allowance that binds on each of them.
pub(crate) fn hubspot_year() -> Profile {
    const DAYS: u64 = 365;
    let shift_ms = |day: u64| match day {
        2..240 => HOUR_MS,
        _ => 0,
    };
    let midnight_ms = |day: u64| NEW_YORK_MS + (day * DAY_MS - shift_ms(day)) as i64;
    let midnights_ms = (0..=DAYS).map(midnight_ms).collect();
    let mut year = hubspot();
    year.meters[2].0 = Meter::new("daily", 2_000, Rule::Day { midnights_ms });
    Profile {
        name: "hubspot year",
        overrides: vec![(
            "daily",
            PoolOverride {
                limit: Some(2_000),
                ..PoolOverride::default()
            },
        )],
        lasts_ms: DAYS * DAY_MS,
        lane: Lane::Critical,
        ..year
    }
}

fn dataverse_meters() -> Vec<Metered> {
    vec![
        (
            Meter::new("requests", 6_000, Rule::Window { ms: 300_000 }),
            each,
        ),
        (
            Meter::new("time", 1_200_000, Rule::Work { ms: 300_000 }),
            each,
        ),
        (Meter::new("at-once", 52, Rule::AtOnce), each),
    ]
}

pub(crate) fn dataverse() -> Profile {
    Profile {
        meters: dataverse_meters(),
        told: &["requests", "time"],
        work: |_| work(HttpMethod::Patch, "/api/data/v9.2/contacts", 1, (90, 80)),
        lasts_ms: 8 * 300_000,
        lane: Lane::Backfill,
        ..profile("dataverse requests", DATAVERSE)
    }
}

/// Slow calls, so that the time in work binds.
pub(crate) fn dataverse_time() -> Profile {
    Profile {
        name: "dataverse time",
        work: |_| work(HttpMethod::Post, "/api/data/v9.2/$batch", 100, (800, 1_200)),
        lasts_ms: 6 * 300_000,
        ..dataverse()
    }
}

/// Tokens by what a call does.
fn tokens(work: &Work) -> u64 {
    match (work.method, work.path.split('/').count()) {
        _ if work.path.ends_with("/search") => 20,
        (HttpMethod::Get, 5) => 1,
        (HttpMethod::Get, _) => 10,
        (HttpMethod::Delete, _) => 3,
        _ => 5,
    }
}

pub(crate) fn pipedrive() -> Profile {
    let day = |midnight: i64| midnight * DAY_MS as i64;
    let first = NEW_YORK_MS / DAY_MS as i64;
    let midnights_ms = (first..first + 4).map(day).collect();
    Profile {
        meters: vec![
            (
                Meter::new("burst", 160, Rule::Window { ms: 2_000 }),
                |work: &Work| u64::from(!is_search(work)),
            ),
            (
                Meter::new("search", 10, Rule::Window { ms: 2_000 }),
                |work: &Work| u64::from(is_search(work)),
            ),
            (
                Meter::new("daily", 600_000, Rule::Day { midnights_ms }),
                tokens,
            ),
        ],
        told: &["burst"],
        work: |random| match random.random_range(0..10) {
            0 => work(HttpMethod::Get, "/api/v2/persons", 0, (40, 10)),
            1..4 => work(HttpMethod::Get, "/api/v2/persons/17", 1, (20, 10)),
            4 => work(HttpMethod::Delete, "/api/v2/persons/17", 1, (30, 10)),
            _ => work(HttpMethod::Patch, "/api/v2/persons/17", 1, (40, 10)),
        },
        lasts_ms: 60 * 2_000,
        lane: Lane::Normal,
        ..profile("pipedrive burst", PIPEDRIVE)
    }
}

/// So few tokens that the day binds.
pub(crate) fn pipedrive_day() -> Profile {
    let mut burst = pipedrive();
    burst.meters[2].0.limit = 90_000;
    Profile {
        name: "pipedrive day",
        wall_ms: NEW_YORK_MS / DAY_MS as i64 * DAY_MS as i64,
        overrides: vec![(
            "daily",
            PoolOverride {
                limit: Some(90_000),
                ..PoolOverride::default()
            },
        )],
        lasts_ms: 3 * DAY_MS,
        lane: Lane::Critical,
        ..burst
    }
}

pub(crate) fn zoho() -> Profile {
    fn credits(work: &Work) -> u64 {
        match work.method {
            HttpMethod::Post => u64::from(work.rows).div_ceil(10).max(1),
            _ => 1,
        }
    }
    Profile {
        meters: vec![
            (
                Meter::new("credits", 50_000, Rule::Window { ms: DAY_MS as i64 }),
                credits,
            ),
            (Meter::new("at-once", 5, Rule::AtOnce), each),
            (Meter::new("heavy", 3, Rule::AtOnce), |work: &Work| {
                u64::from(work.method == HttpMethod::Post && work.rows > 10)
            }),
        ],
        work: |random| {
            if random.random_ratio(1, 4) {
                let page = (60, 100);
                return work(HttpMethod::Get, "/crm/v8/Contacts", 0, page);
            }
            let rows = random.random_range(1..=100);
            work(
                HttpMethod::Post,
                "/crm/v8/Contacts/upsert",
                rows,
                (150, 500),
            )
        },
        lasts_ms: 3 * DAY_MS,
        ..profile("zoho credits", ZOHO)
    }
}

/// One window after the other, from a second to a day.
pub(crate) fn sweep(random: &mut ChaCha8Rng) -> Vec<(Profile, u64, u64)> {
    let windows: [(&str, u64, u64); 8] = [
        ("1s", 1_000, 20),
        ("2s", 2_000, 80),
        ("10s", 10_000, 110),
        ("1m", MINUTE_MS, 500),
        ("5m", 300_000, 6_000),
        ("1h", HOUR_MS, 5_000),
        ("6h", 6 * HOUR_MS, 8_000),
        ("24h", DAY_MS, 15_000),
    ];
    windows
        .into_iter()
        .map(|(text, ms, limit)| {
            let limit = limit + random.random_range(0..=limit / 10);
            let manifest = format!(
                "{}\n[[pools]]\nname = \"budget\"\nlimit = {limit}\nwindow = {{ rolling = \"{text}\" }}\nscope = \"account\"\n",
                include_str!("manifests/plain.toml"),
            );
            let profile = Profile {
                meters: vec![(
                    Meter::new("budget", limit, Rule::Window { ms: ms as i64 }),
                    each,
                )],
                lane: if ms > 600_000 {
                    Lane::Critical
                } else {
                    Lane::Backfill
                },
                lasts_ms: ms * if ms > 600_000 { 3 } else { 30 },
                ..profile(text, manifest.leak())
            };
            (profile, ms, limit)
        })
        .collect()
}
