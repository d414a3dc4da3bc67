//! Budgets that a plan must keep: calls, or a part of the day's allowance, by pool.

use std::fmt;

use serde::Serialize;

use super::{EndpointQuote, PoolQuote};
use crate::config::problem::suggest;

/// `POOL=CALLS`, `POOL=PERCENT%`, or the same with `ENDPOINT.POOL`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Budget {
    written: String,
    endpoint: Option<String>,
    pool: String,
    most: Most,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Most {
    Units(u64),
    /// Of a day, in thousandths of a percent.
    Part(u64),
}

/// Why a budget means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BudgetError {
    #[error(
        "`--budget {0}`: write a pool and what it may cost, such as `daily=1500` or `crm.daily=5%`"
    )]
    Malformed(String),
    #[error(
        "`--budget {written}`: `{number}` is neither a whole number of calls, such as `1500`, nor a part of the day's allowance, such as `5%` or `2.5%`"
    )]
    Number { written: String, number: String },
    #[error("`--budget {written}`: no endpoint of the plan has an allowance `{name}`; {help}")]
    UnknownPool {
        written: String,
        name: String,
        help: String,
    },
}

impl BudgetError {
    /// Stable, for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Number { .. } => "bad-budget",
            Self::UnknownPool { .. } => "unknown-pool",
        }
    }
}

impl Budget {
    pub(crate) fn read(written: &str) -> Result<Self, BudgetError> {
        let malformed = || BudgetError::Malformed(written.to_owned());
        let (place, number) = written.split_once('=').ok_or_else(malformed)?;
        let (place, number) = (place.trim(), number.trim());
        let (endpoint, pool) = match place.rsplit_once('.') {
            Some((endpoint, pool)) => (Some(endpoint.to_owned()), pool),
            None => (None, place),
        };
        if pool.is_empty() || endpoint.as_deref() == Some("") {
            return Err(malformed());
        }
        let most = match number.strip_suffix('%') {
            Some(percent) => thousandths(percent.trim()).map(Most::Part),
            None => whole(number).map(Most::Units),
        };
        let most = most.ok_or_else(|| BudgetError::Number {
            written: written.to_owned(),
            number: number.to_owned(),
        })?;
        Ok(Self {
            written: written.to_owned(),
            endpoint,
            pool: pool.to_owned(),
            most,
        })
    }

    fn is_for(&self, endpoint: &EndpointQuote, pool: &PoolQuote) -> bool {
        let here = self.endpoint.as_ref();
        here.is_none_or(|here| *here == endpoint.endpoint) && pool.pool == self.pool
    }

    fn units(&self, pool: &PoolQuote) -> u64 {
        match self.most {
            Most::Units(units) => units,
            Most::Part(part) => {
                let units = u128::from(pool.per_day) * u128::from(part) / 100_000;
                u64::try_from(units).unwrap_or(u64::MAX)
            }
        }
    }
}

fn whole(number: &str) -> Option<u64> {
    let digits = number.chars().all(|letter| letter.is_ascii_digit());
    digits.then(|| number.parse().ok()).flatten()
}

/// A percentage with up to three digits behind its point, at most 100.
fn thousandths(percent: &str) -> Option<u64> {
    let (units, part) = percent.split_once('.').unwrap_or((percent, "0"));
    let part = (part.len() <= 3).then(|| format!("{part:0<3}"))?;
    let all = whole(units)?
        .checked_mul(1_000)?
        .checked_add(whole(&part)?)?;
    (!units.is_empty() && all <= 100_000).then_some(all)
}

/// What does not keep a budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Over {
    /// As it was written.
    pub(crate) budget: String,
    pub(crate) endpoint: String,
    pub(crate) pool: String,
    pub(crate) what: What,
    pub(crate) units: u64,
    pub(crate) most: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// What is to do now.
    Work,
    /// What is to do now could not all be counted, and so may be more.
    Unknown,
    /// A day in which nothing happens.
    IdleDay,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            budget,
            endpoint,
            pool,
            units,
            most,
            ..
        } = self;
        match self.what {
            What::Work => write!(f, "what is to do costs {units} of {pool} at {endpoint}")?,
            What::Unknown => write!(
                f,
                "what is to do costs at least {units} of {pool} at {endpoint}, and not all of it can be counted"
            )?,
            What::IdleDay => write!(
                f,
                "a day in which nothing happens costs {units} of {pool} at {endpoint}"
            )?,
        }
        write!(f, "; `--budget {budget}` allows {most}")
    }
}

/// Each budget holds for what is to do, and for an idle day, each by itself.
pub(crate) fn judge(
    budgets: &[Budget],
    endpoints: &[EndpointQuote],
) -> Result<Vec<Over>, BudgetError> {
    let mut over = Vec::new();
    for budget in budgets {
        let places = endpoints
            .iter()
            .flat_map(|endpoint| endpoint.pools.iter().map(move |pool| (endpoint, pool)));
        let mut known = false;
        for (endpoint, pool) in places.filter(|(endpoint, pool)| budget.is_for(endpoint, pool)) {
            known = true;
            let most = budget.units(pool);
            let mut breaks = |what, units| {
                over.push(Over {
                    budget: budget.written.clone(),
                    endpoint: endpoint.endpoint.clone(),
                    pool: pool.pool.clone(),
                    what,
                    units,
                    most,
                });
            };
            if pool.units > most {
                breaks(What::Work, pool.units);
            } else if !endpoint.complete {
                breaks(What::Unknown, pool.units);
            }
            if pool.idle_units > most {
                breaks(What::IdleDay, pool.idle_units);
            }
        }
        if !known {
            return Err(unknown(budget, endpoints));
        }
    }
    Ok(over)
}

fn unknown(budget: &Budget, endpoints: &[EndpointQuote]) -> BudgetError {
    let whole = budget.endpoint.is_some();
    let names = endpoints.iter().flat_map(|endpoint| {
        endpoint.pools.iter().map(move |pool| match whole {
            true => format!("{}.{}", endpoint.endpoint, pool.pool),
            false => pool.pool.clone(),
        })
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.dedup();
    let name = match &budget.endpoint {
        Some(endpoint) => format!("{endpoint}.{}", budget.pool),
        None => budget.pool.clone(),
    };
    let help = match suggest(&name, names.iter().map(String::as_str)) {
        help if help.is_empty() => "none of them has any".to_owned(),
        help => help,
    };
    BudgetError::UnknownPool {
        written: budget.written.clone(),
        name,
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_a_pool_and_a_number() {
        let good = [
            ("daily=1500", None, "daily", Most::Units(1_500)),
            ("daily = 0", None, "daily", Most::Units(0)),
            ("crm.daily=5%", Some("crm"), "daily", Most::Part(5_000)),
            ("daily=2.5%", None, "daily", Most::Part(2_500)),
            ("daily=100%", None, "daily", Most::Part(100_000)),
            ("daily=0.125 %", None, "daily", Most::Part(125)),
        ];
        for (written, endpoint, pool, most) in good {
            let budget = Budget::read(written).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(budget.endpoint.as_deref(), endpoint, "{written}");
            assert_eq!(
                (budget.pool.as_str(), budget.most),
                (pool, most),
                "{written}"
            );
        }
        let bad = [
            "",
            "daily",
            "=5",
            "crm.=5",
            ".daily=5",
            "daily=",
            "daily=%",
            "daily=-1",
            "daily=1e3",
            "daily=1.5",
            "daily=101%",
            "daily=1.2345%",
            "daily=.5%",
            "daily=many",
            "daily=5%%",
            "daily=99999999999999999999",
        ];
        for written in bad {
            let error = Budget::read(written).expect_err(written);
            assert_eq!(error.code(), "bad-budget");
            assert!(error.to_string().contains(&format!("`--budget {written}`")));
        }
    }
}
