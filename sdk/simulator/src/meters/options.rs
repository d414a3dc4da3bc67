//! How a vendor's meters are set up, and what is played on them.

use std::ops::RangeInclusive;

use rand::Rng;

use super::profile::Vendor;
use crate::clock::ClockMode;

/// A stretch of time, the least of it and what chance adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub least_ms: u64,
    /// Up to so much more, each millisecond as likely as the other.
    pub chance_ms: u64,
}

impl Span {
    pub fn new(least_ms: u64, chance_ms: u64) -> Self {
        Self {
            least_ms,
            chance_ms,
        }
    }

    pub(crate) fn draw(self, random: &mut impl Rng) -> u64 {
        self.least_ms + random.random_range(0..=self.chance_ms)
    }
}

/// Others who use what the first meter counts, at a rate that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The share of the meter's limit that they want, in thousandths, drawn anew for each stretch.
    pub permille: RangeInclusive<u64>,
    /// The meter's own window where it is `None`, or an hour of a day's.
    pub stretch_ms: Option<u64>,
}

/// How an answer fails that is not refused for a limit. It was counted, and nothing was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The vendor's own error, with a status of 500 or more.
    Error,
    /// A page of HTML, as a proxy in front of a vendor sends it.
    Html,
    /// The connection is reset.
    Reset,
    /// The connection stays open, and no answer comes.
    Silence,
}

impl Failure {
    /// Every way to fail.
    pub const ALL: [Self; 4] = [Self::Error, Self::Html, Self::Reset, Self::Silence];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Html => "html",
            Self::Reset => "reset",
            Self::Silence => "silence",
        }
    }
}

/// Answers that fail for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// Of all calls that are let in, in thousandths.
    pub permille: u64,
    /// From its setting on.
    pub for_ms: u64,
    pub how: Failure,
}

/// Why meters can't be set up so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error("{vendor} has no meter called {name:?}, but {known}")]
    Meter {
        vendor: Vendor,
        name: String,
        known: String,
    },
    #[error("{0} is no share: thousandths go from 0 to 1000")]
    Share(u64),
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    pub vendor: Vendor,
    /// 0 for any free port of 127.0.0.1.
    pub port: u16,
    /// Decides every random draw.
    pub seed: u64,
    /// Where time comes from.
    pub clock: ClockMode,
    /// How far the vendor's clock is ahead of it; negative where it is behind.
    pub skew_ms: i64,
    /// Limits that are not the vendor's usual ones: by meter, in its units.
    pub limits: Vec<(String, u64)>,
    /// Limits that change so many milliseconds after the start.
    pub later: Vec<(u64, String, u64)>,
    /// The way of a request and of its answer, each drawn for itself.
    pub way: Span,
    /// How long a call is at work; as is usual for the vendor where it is `None`.
    pub takes: Option<Span>,
    pub neighbour: Option<Neighbour>,
    pub failing: Option<Failing>,
    /// Credentials that are accepted; any where there are none. A credential is the value of its header, `Bearer token`.
    pub credentials: Vec<String>,
}

impl Options {
    /// A vendor as it usually is, on the machine's clock and without a way.
    pub fn new(vendor: Vendor) -> Self {
        Self {
            vendor,
            port: 0,
            seed: 0,
            clock: ClockMode::Real,
            skew_ms: 0,
            limits: Vec::new(),
            later: Vec::new(),
            way: Span::default(),
            takes: None,
            neighbour: None,
            failing: None,
            credentials: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let limits = self.limits.iter().map(|(name, _)| name);
        let later = self.later.iter().map(|(_, name, _)| name);
        limits
            .chain(later)
            .try_for_each(|name| known(self.vendor, name))?;
        let failing = self.failing.map(|failing| failing.permille);
        let wanted = self.neighbour.iter().flat_map(|others| {
            let permille = &others.permille;
            [*permille.start(), *permille.end()]
        });
        match failing
            .into_iter()
            .chain(wanted)
            .find(|share| *share > 1_000)
        {
            Some(share) => Err(OptionsError::Share(share)),
            None => Ok(()),
        }
    }
}

pub(crate) fn known(vendor: Vendor, name: &str) -> Result<(), OptionsError> {
    let names: Vec<&str> = vendor
        .profile()
        .limits()
        .iter()
        .map(|limit| limit.name)
        .collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(OptionsError::Meter {
        vendor,
        name: name.to_owned(),
        known: names.join(", "),
    })
}
