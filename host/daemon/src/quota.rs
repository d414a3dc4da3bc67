//! Each allowance as it stands: how much is ours, how much is left, and when it ends at this pace.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tidegate_core::manifest::{Manifest, Scope, Window};
use tidegate_core::pace::{Forecast, PoolFigures, Usage};
use tidegate_core::time::{Now, parse_duration};
use tidegate_gateway::Clock;

use crate::host::Reached;
use crate::{levels, waits};

const HOUR_MS: u64 = 3_600_000;

/// One pool of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolQuota {
    pub account: String,
    /// Those that draw on it.
    pub endpoints: Vec<String>,
    pub pool: String,
    /// Whose it is, as `crm.second`, where an endpoint has several credentials and the vendor counts each by itself;
    /// empty when the account shares it.
    pub credential: String,
    /// As the vendor counts: `24h`, `day in Europe/Berlin`, `at once`, or such.
    pub window: String,
    /// Units that tidegate may use at most.
    pub limit: u64,
    /// Used by us, requests without an answer yet included.
    pub ours: u64,
    /// Used by other applications, as far as the vendor tells.
    pub others: u64,
    pub left: u64,
    /// `plenty`, `notify`, `stretch` or `critical`.
    pub level: String,
    /// Ours and others', lately; absent for what comes back within an hour.
    pub per_hour: Option<u64>,
    /// When nothing is left at this pace; absent when it lasts.
    pub ends_in_ms: Option<u64>,
    /// Nothing draws from it before so long from now; absent when it is open.
    pub parked_ms: Option<u64>,
    /// Why it is parked or held back; empty when it is open.
    pub reason: String,
    /// By how much longer than its window a request is counted, as measured on its way.
    pub margin_ms: u64,
    /// The part of the limit that is believed in, in thousandths: less after throttles that nothing explained.
    pub trusted_permille: u32,
}

/// All pools of all accounts, each once. The manifests, by the plugins' names in the config, know their windows.
pub fn report<'a>(
    gateways: &BTreeMap<Arc<str>, Reached>,
    manifest_of: impl Fn(&Arc<str>) -> Option<&'a Manifest>,
    clock: &dyn Clock,
) -> Vec<PoolQuota> {
    let now = clock.now();
    let mut pools: BTreeMap<(String, String, String), PoolQuota> = BTreeMap::new();
    for (name, reached) in gateways {
        let account = reached.gateway.account();
        let manifest = manifest_of(&reached.plugin);
        let usage = account.usage();
        let credentials = reached.gateway.accounts();
        let several = credentials.len() > 1;
        for credential in &credentials {
            for figures in &credential.pools {
                let mut written = manifest.into_iter().flat_map(|manifest| &manifest.pools);
                let written = written.find(|pool| *pool.name == *figures.pool);
                let own = several && written.is_some_and(|pool| pool.scope != Scope::Account);
                let whose = match own {
                    true => format!("{name}.{}", credential.name),
                    false => String::new(),
                };
                // What was used is noted by the pool's name, so that it tells nothing of one credential.
                let usage = (!own).then_some(&usage);
                let window = written.map(|pool| &pool.window);
                let pool = figures.pool.to_string();
                let key = (account.name().to_owned(), pool, whose.clone());
                let quota = pools.entry(key).or_insert_with(|| PoolQuota {
                    account: account.name().to_owned(),
                    credential: whose,
                    ..quota(figures, window, usage, now)
                });
                if quota.endpoints.last().map(String::as_str) != Some(&**name) {
                    quota.endpoints.push(name.to_string());
                }
            }
        }
    }
    pools.into_values().collect()
}

fn quota(
    figures: &PoolFigures,
    window: Option<&Window>,
    usage: Option<&Usage>,
    now: Now,
) -> PoolQuota {
    let ours = figures.used + figures.reserved;
    let left = figures.limit.saturating_sub(ours + figures.used_by_others);
    let known = window.zip(usage);
    let forecast = known.and_then(|(window, usage)| forecast(window, figures, left, usage, now));
    PoolQuota {
        pool: figures.pool.to_string(),
        window: window.map_or_else(String::new, told),
        limit: figures.limit,
        ours,
        others: figures.used_by_others,
        left,
        level: levels::name(figures.level).to_owned(),
        per_hour: forecast.map(|forecast| forecast.units_per_hour),
        ends_in_ms: forecast.and_then(|forecast| forecast.ends_in_ms),
        parked_ms: figures
            .parked_until_ms
            .map(|until_ms| until_ms.saturating_sub(now.mono_ms)),
        reason: figures
            .reason
            .as_ref()
            .map_or_else(String::new, waits::words),
        margin_ms: figures.margin_ms,
        trusted_permille: figures.trusted_permille,
        ..PoolQuota::default()
    }
}

fn told(window: &Window) -> String {
    match window {
        Window::Rolling(length) => length.clone(),
        Window::CalendarDay(zone) => format!("day in {zone}"),
        Window::Concurrency { after: None } => "at once".to_owned(),
        Window::Concurrency { after: Some(after) } => format!("at once, past {after}"),
        Window::ExecutionTime(length) => format!("ms in {length}"),
    }
}

/// `None` for what comes back within an hour.
fn forecast(
    window: &Window,
    figures: &PoolFigures,
    left: u64,
    usage: &Usage,
    now: Now,
) -> Option<Forecast> {
    let wall_ms = now.wall_us / 1_000;
    let foresee = |lasts_ms| {
        let others = figures.others_per_hour;
        usage.forecast(wall_ms, &figures.pool, left, others, lasts_ms)
    };
    match window {
        Window::Rolling(length) => {
            let window = parse_duration(length).ok()?;
            let window_ms = u64::try_from(window.as_millis()).ok()?;
            let long = window_ms > HOUR_MS;
            long.then(|| foresee(window_ms).of_rolling(figures.limit, window_ms))
        }
        Window::CalendarDay(zone) => {
            let zone = TimeZone::get(zone).ok()?;
            let now = jiff::Timestamp::from_millisecond(wall_ms).ok()?;
            let tomorrow = zone.to_datetime(now).date().tomorrow().ok()?;
            let ends = zone.to_timestamp(tomorrow.at(0, 0, 0, 0)).ok()?;
            let lasts_ms = ends.as_millisecond().saturating_sub(wall_ms);
            Some(foresee(u64::try_from(lasts_ms).ok()?))
        }
        Window::Concurrency { .. } | Window::ExecutionTime(_) => None,
    }
}
