//! `tidegate quota` and `tidegate usage`, as tables with bars.

use super::print::{Table, ago, bytes, count};
use crate::control::Request;
use crate::quota::PoolQuota;
use crate::usage::{LineUsage, PoolUsage, Sums};

const BAR: usize = 20;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct UsageArguments {
    /// Hours back from now; two weeks are kept.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=336))]
    hours: u32,
}

pub(super) fn request(arguments: UsageArguments) -> Request {
    Request::Usage {
        hours: arguments.hours,
    }
}

/// A part of a whole, as a bar.
fn bar(part: u64, whole: u64) -> String {
    filled(&[(part, '█')], whole)
}

/// Several parts of a whole one after the other, each with its own letter, rounded to the nearest.
fn filled(parts: &[(u64, char)], whole: u64) -> String {
    let place = |sum: u64| {
        let places = u128::from(sum) * BAR as u128 * 2 / u128::from(whole.max(1));
        (places.div_ceil(2) as usize).min(BAR)
    };
    let mut text = String::new();
    let mut sum = 0;
    for (part, letter) in parts {
        let from = place(sum);
        sum += part;
        text.extend(std::iter::repeat_n(*letter, place(sum) - from));
    }
    let rest = BAR - text.chars().count();
    text.extend(std::iter::repeat_n('·', rest));
    text
}

pub(super) fn quota(pools: &[PoolQuota]) -> String {
    if pools.is_empty() {
        return "no endpoint has an allowance".to_owned();
    }
    let mut parts = Vec::new();
    let mut rest = pools;
    while let Some(first) = rest.first() {
        let end = rest
            .iter()
            .take_while(|pool| pool.account == first.account)
            .count();
        let (account, others) = rest.split_at(end);
        rest = others;
        let endpoints = first.endpoints.join(", ");
        parts.push(format!(
            "{} ({endpoints})\n{}",
            first.account,
            account_table(account)
        ));
    }
    parts.push("█ ours  ▒ others' ".trim_end().to_owned());
    parts.join("\n\n")
}

fn account_table(pools: &[PoolQuota]) -> String {
    let mut table = Table::new([
        "pool", "window", "", "ours", "others", "left", "limit", "level", "per hour", "ends in",
        "margin", "state",
    ]);
    for pool in pools {
        let state = match pool.parked_ms {
            Some(ms) => format!("parked for {}: {}", ago(ms), pool.reason),
            None if pool.reason.is_empty() => "open".to_owned(),
            None => pool.reason.clone(),
        };
        let ends = match (pool.per_hour, pool.ends_in_ms) {
            (_, Some(ms)) => ago(ms),
            (Some(_), None) => "lasts".to_owned(),
            (None, None) => "-".to_owned(),
        };
        let name = match pool.credential.as_str() {
            "" => pool.pool.clone(),
            credential => format!("{} of {credential}", pool.pool),
        };
        table.row([
            name,
            pool.window.clone(),
            filled(&[(pool.ours, '█'), (pool.others, '▒')], pool.limit),
            count(pool.ours),
            count(pool.others),
            count(pool.left),
            count(pool.limit),
            pool.level.clone(),
            pool.per_hour.map_or_else(|| "-".to_owned(), count),
            ends,
            ago(pool.margin_ms),
            state,
        ]);
    }
    table.text()
}

pub(super) fn usage(pools: &[PoolUsage]) -> String {
    if pools.is_empty() {
        return "nothing was used".to_owned();
    }
    let parts: Vec<String> = pools.iter().map(pool_usage).collect();
    parts.join("\n\n\n")
}

fn pool_usage(usage: &PoolUsage) -> String {
    let pool = match usage.pool.as_str() {
        "" => "outside of all pools".to_owned(),
        pool => format!("pool {pool}"),
    };
    let Sums { calls, units, .. } = usage.total;
    let critical = usage.critical.units;
    let mut parts = vec![format!(
        "{pool} of {}: {} units in {} calls, {} throttled; critical {} {} of {} units",
        usage.account,
        count(units),
        count(calls),
        count(usage.total.throttled),
        bar(critical, units),
        count(critical),
        count(units),
    )];
    parts.push(hours(usage));
    parts.push(lines("by sync, operation and lane", &usage.lines));
    parts.push(lines("largest transfers", &usage.transfers));
    parts.join("\n\n")
}

fn hours(usage: &PoolUsage) -> String {
    let mut table = Table::new(["hour", "", "units", "calls", "rows", "bytes", ""]);
    let most = usage.peaks.first().map_or(0, |peak| peak.sums.units);
    for hour in &usage.hours {
        let at = jiff::Timestamp::from_microsecond(hour.at_us)
            .map(|at| at.strftime("%m-%d %H:%MZ").to_string())
            .unwrap_or_default();
        let peak = if usage.peaks.first() == Some(hour) {
            "peak"
        } else {
            ""
        };
        table.row([
            at,
            bar(hour.sums.units, most),
            count(hour.sums.units),
            count(hour.sums.calls),
            count(hour.sums.rows),
            bytes(hour.sums.bytes),
            peak.to_owned(),
        ]);
    }
    table.text()
}

fn lines(title: &str, lines: &[LineUsage]) -> String {
    let mut table = Table::new([
        title,
        "operation",
        "lane",
        "units",
        "calls",
        "rows",
        "bytes",
        "throttled",
    ]);
    for line in lines {
        let sync = match line.sync.as_str() {
            "" => "-",
            sync => sync,
        };
        table.row([
            sync.to_owned(),
            line.operation.clone(),
            format!("{:?}", line.lane).to_lowercase(),
            count(line.sums.units),
            count(line.sums.calls),
            count(line.sums.rows),
            bytes(line.sums.bytes),
            count(line.sums.throttled),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_parts() {
        type Case<'a> = (&'a [(u64, char)], u64, &'a str);
        let cases: &[Case<'_>] = &[
            (&[], 100, "····················"),
            (&[(100, '█')], 100, "████████████████████"),
            (&[(50, '█'), (25, '▒')], 100, "██████████▒▒▒▒▒·····"),
            (&[(1, '█')], 1_000_000, "····················"),
            (&[(300, '█'), (300, '▒')], 100, "████████████████████"),
            (&[(1, '█')], 0, "████████████████████"),
        ];
        for (parts, whole, bar) in cases {
            assert_eq!(filled(parts, *whole), *bar, "{parts:?} of {whole}");
        }
    }
}
