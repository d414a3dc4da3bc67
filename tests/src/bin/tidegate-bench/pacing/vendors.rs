//! The vendors as they are tried: a manifest for the gateway, the simulator's limits, and work of the usual kinds.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tidegate_core::plugin::HttpMethod;
use tidegate_gateway::Lane;
use tidegate_simulator::meters::{Span, Vendor};

use super::backlog::WAY;
use super::doors::Job;
use crate::report::Scale;

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// 2024-03-09T05:00:00Z: midnight in New York, a day before its clocks go forward.
const NEW_YORK_MS: u64 = 1_709_960_400_000;

const SALESFORCE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../plugins/salesforce/plugin.toml"
));
pub(crate) const HUBSPOT: &str = include_str!("manifests/hubspot.toml");
const DATAVERSE: &str = include_str!("manifests/dataverse.toml");
const PIPEDRIVE: &str = include_str!("manifests/pipedrive.toml");
const ZOHO: &str = include_str!("manifests/zoho.toml");

/// One limit of a vendor that binds.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) vendor: Vendor,
    pub(crate) manifest: &'static str,
    /// Which differ from the manifest's, in the simulator as well.
    pub(crate) limits: Vec<(&'static str, u64)>,
    /// Where it begins, milliseconds since 1970.
    pub(crate) start_ms: u64,
    /// The meter that binds, and its limit.
    pub(crate) meter: &'static str,
    pub(crate) limit: u64,
    /// Where calls at one moment are limited: for how long each of them has its place.
    pub(crate) window_ms: u64,
    pub(crate) windows: u64,
    /// In all, as days have not all the same length.
    pub(crate) lasts_ms: u64,
    pub(crate) job: fn(&mut ChaCha8Rng) -> Job,
    /// How long a call is at work; as is usual for the vendor where it is `None`.
    pub(crate) takes: Option<Span>,
    /// The lane of the work; lower ones leave the rest of a long window to those above.
    pub(crate) lane: Lane,
    /// The part of what is allowed that is to be used.
    pub(crate) aim: f64,
}

fn case(name: &'static str, vendor: Vendor, meter: (&'static str, u64), window_ms: u64) -> Case {
    let manifest = match vendor {
        Vendor::Salesforce => SALESFORCE,
        Vendor::HubSpot => HUBSPOT,
        Vendor::Dataverse => DATAVERSE,
        Vendor::Pipedrive => PIPEDRIVE,
        Vendor::Zoho => ZOHO,
    };
    Case {
        name,
        vendor,
        manifest,
        limits: Vec::new(),
        start_ms: NEW_YORK_MS,
        meter: meter.0,
        limit: meter.1,
        window_ms,
        windows: 1,
        lasts_ms: window_ms,
        job: |_| Job::get("/records"),
        takes: None,
        lane: Lane::Critical,
        aim: 0.99,
    }
}

impl Case {
    pub(crate) fn lasting(mut self, windows: u64) -> Self {
        self.windows = windows;
        self.lasts_ms = windows * self.window_ms;
        self
    }

    /// The part of what is allowed that nobody can go beyond without the risk of a refusal, where the time at work is given
    /// and no answer tells of the window: as far as the best sender gets that knows beforehand how way and work vary, and of
    /// each call what can be seen from outside.
    ///
    /// What a call takes longer than the quickest may have passed before it was counted, or after: both look the same. So
    /// with `limit` calls in a window, the next one must not leave before the window has passed from the latest moment at
    /// which one of them may have been counted, else there is a course of things that nobody can exclude in which it is
    /// refused. Over a long run each call so costs a window, what it took longer than the quickest, and 2 ms as both ends of
    /// a window are read in whole milliseconds. In whichever order calls overtake each other, the sum is the same.
    pub(crate) fn without_a_risk(&self) -> Option<f64> {
        let longer_ms = self.takes?.chance_ms as f64 / 2.0 + WAY.chance_ms as f64;
        let window_ms = self.window_ms as f64;
        Some(window_ms / (window_ms + longer_ms + 2.0))
    }

    /// At 99 percent, and where that can't be had without a risk, at all but a two-hundredth of what can.
    fn aiming(mut self) -> Self {
        self.aim = match self.without_a_risk() {
            Some(most) if most < 0.99 => most * 0.995,
            _ => 0.99,
        };
        self
    }

    /// With another limit than the manifest's, known on both sides.
    fn limited(mut self, limit: u64) -> Self {
        self.limit = limit;
        self.limits.push((self.meter, limit));
        self
    }
}

/// Mostly quick calls, now and then one that takes long.
pub(crate) fn salesforce(scale: Scale) -> Case {
    let daily = case(
        "salesforce day",
        Vendor::Salesforce,
        ("daily", 15_000),
        DAY_MS,
    );
    Case {
        job: |random| match random.random_range(0..100) {
            0..60 => Job::get("/services/data/v60.0/query"),
            60..97 => Job::write(
                HttpMethod::Patch,
                "/services/data/v60.0/composite/sobjects",
                200,
            ),
            _ => Job::write(
                HttpMethod::Post,
                "/services/data/v60.0/composite/graph",
                500,
            ),
        },
        ..daily
            .limited(scale.pick(15_000, 300))
            .lasting(scale.pick(3, 2))
    }
}

pub(crate) fn hubspot(scale: Scale) -> Case {
    let burst = case(
        "hubspot burst",
        Vendor::HubSpot,
        ("burst", 190),
        10 * SECOND_MS,
    );
    Case {
        job: |random| match random.random_range(0..3) {
            0 => upsert(),
            _ => Job::get("/crm/v3/objects/contacts"),
        },
        ..burst
            .limited(scale.pick(190, 60))
            .lasting(scale.pick(30, 5))
    }
}

/// A hundred records.
pub(crate) fn upsert() -> Job {
    Job::write(
        HttpMethod::Post,
        "/crm/v3/objects/contacts/batch/upsert",
        100,
    )
}

/// Its answers tell nothing of the pool, and are at work for nearly the same time each.
fn hubspot_search(scale: Scale) -> Case {
    Case {
        name: "hubspot search",
        takes: Some(Span::new(80, 4)),
        ..hubspot_varying(scale)
    }
    .aiming()
}

/// The same where the time at work varies by 30 ms, so that nobody can use 99 percent without a risk.
fn hubspot_varying(scale: Scale) -> Case {
    let search = case(
        "hubspot search, varying",
        Vendor::HubSpot,
        ("search", 5),
        SECOND_MS,
    );
    Case {
        job: |_| Job::write(HttpMethod::Post, "/crm/v3/objects/contacts/search", 1),
        takes: Some(Span::new(60, 30)),
        ..search.lasting(scale.pick(200, 20))
    }
    .aiming()
}

/// A small allowance, so that the day binds, over the day on which clocks go forward.
fn hubspot_day(scale: Scale) -> Case {
    let daily = case("hubspot day", Vendor::HubSpot, ("daily", 625_000), DAY_MS);
    let daily = daily.limited(scale.pick(20_000, 300)).lasting(3);
    Case {
        lasts_ms: daily.lasts_ms - HOUR_MS,
        job: hubspot(scale).job,
        ..daily
    }
}

pub(crate) fn dataverse(scale: Scale) -> Case {
    let requests = ("requests", 6_000);
    let requests = case(
        "dataverse requests",
        Vendor::Dataverse,
        requests,
        300 * SECOND_MS,
    );
    Case {
        job: |_| Job::write(HttpMethod::Patch, "/api/data/v9.2/contacts", 1),
        ..requests
            .limited(scale.pick(6_000, 300))
            .lasting(scale.pick(8, 2))
    }
}

/// Slow calls, so that the time at work binds. The vendor lets in whoever comes before it is used up.
fn dataverse_time(scale: Scale) -> Case {
    let time = case(
        "dataverse time",
        Vendor::Dataverse,
        ("time", 1_200_000),
        300 * SECOND_MS,
    );
    Case {
        job: |_| Job::write(HttpMethod::Post, "/api/data/v9.2/$batch", 100),
        ..time.lasting(scale.pick(6, 1))
    }
}

fn pipedrive(scale: Scale) -> Case {
    let burst = case(
        "pipedrive burst",
        Vendor::Pipedrive,
        ("burst", 160),
        2 * SECOND_MS,
    );
    Case {
        job: |random| match random.random_range(0..10) {
            0 => Job::get("/api/v2/persons"),
            1..4 => Job::get("/api/v2/persons/17"),
            4 => Job::write(HttpMethod::Delete, "/api/v2/persons/17", 1),
            _ => Job::write(HttpMethod::Patch, "/api/v2/persons/17", 1),
        },
        ..burst.lasting(scale.pick(60, 6))
    }
}

/// So few tokens that the day binds.
fn pipedrive_day(scale: Scale) -> Case {
    let daily = case(
        "pipedrive day",
        Vendor::Pipedrive,
        ("daily", 600_000),
        DAY_MS,
    );
    Case {
        start_ms: NEW_YORK_MS / DAY_MS * DAY_MS,
        job: pipedrive(scale).job,
        ..daily.limited(scale.pick(90_000, 1_500)).lasting(3)
    }
}

fn zoho(scale: Scale) -> Case {
    let credits = case("zoho day", Vendor::Zoho, ("credits", 50_000), DAY_MS);
    Case {
        job: |random| {
            if random.random_ratio(1, 4) {
                return Job::get("/crm/v8/Contacts");
            }
            let rows = random.random_range(1..=100);
            Job::write(HttpMethod::Post, "/crm/v8/Contacts/upsert", rows)
        },
        ..credits
            .limited(scale.pick(50_000, 1_000))
            .lasting(scale.pick(3, 2))
    }
}

/// Calls at one moment: each has its place from its leaving to its answer, as nobody sees from outside when it is at work.
fn zoho_at_once(scale: Scale) -> Case {
    let takes = Span::new(480, 40);
    let at_once = case("zoho", Vendor::Zoho, ("at-once", 10), out(takes));
    Case {
        job: |_| Job::get("/crm/v8/Contacts"),
        takes: Some(takes),
        ..at_once.lasting(scale.pick(600, 120))
    }
}

/// Only calls that last count, from their twentieth second on. They have their places from their leaving all the same: with
/// more of them out, more than the limit could come to last at once.
fn salesforce_lasting(scale: Scale) -> Case {
    let takes = Span::new(29_000, 2_000);
    let lasting = ("long-running", 25);
    let lasting = case("salesforce", Vendor::Salesforce, lasting, out(takes));
    Case {
        job: |_| {
            Job::write(
                HttpMethod::Post,
                "/services/data/v60.0/composite/graph",
                500,
            )
        },
        takes: Some(takes),
        ..lasting.lasting(scale.pick(200, 20))
    }
}

/// For how long a call is out.
fn out(takes: Span) -> u64 {
    let mean_ms = |span: Span| span.least_ms + span.chance_ms / 2;
    2 * mean_ms(WAY) + mean_ms(takes)
}

/// Limits of calls at one moment.
pub(crate) fn at_once(scale: Scale) -> Vec<Case> {
    vec![zoho_at_once(scale), salesforce_lasting(scale)]
}

/// A day's window used by the lower lanes alone, which stop short of its end by design: at 95 percent used the ladder lets
/// only the critical lane through, at 85 no backfill any more, and below that each leaves its reserve.
pub(crate) fn lower_lanes(scale: Scale) -> Vec<Case> {
    let lanes = [
        ("salesforce day, normal lane", Lane::Normal, 0.94),
        ("salesforce day, backfill lane", Lane::Backfill, 0.79),
    ];
    let case = |(name, lane, aim)| Case {
        name,
        lane,
        aim,
        ..salesforce(scale)
    };
    lanes.map(case).to_vec()
}

/// Every limit that can bind, from a second to a day.
pub(crate) fn all(scale: Scale) -> Vec<Case> {
    vec![
        hubspot_search(scale),
        hubspot_varying(scale),
        pipedrive(scale),
        hubspot(scale),
        dataverse(scale),
        dataverse_time(scale),
        hubspot_day(scale),
        pipedrive_day(scale),
        salesforce(scale),
        zoho(scale),
    ]
}

/// Those that are tried with kills: first the windows that outlive a host. In short ones a kill costs what was on the
/// books, so only that nothing is overdrawn is promised there.
pub(crate) fn killed(scale: Scale) -> Vec<Case> {
    vec![
        pipedrive_day(scale),
        salesforce(scale),
        zoho(scale),
        hubspot_search(scale),
        pipedrive(scale),
        hubspot(scale),
    ]
}
