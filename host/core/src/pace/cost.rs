//! What a request draws, by the manifest's rules.

use crate::manifest::{Cost, CostRule, Pool, RequestMatch};
use crate::plugin::HttpMethod;

use super::pacer::Seat;

/// What pools look at in a request.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// `None` for what is not HTTP.
    pub method: Option<HttpMethod>,
    pub path: &'a str,
    pub rows: u32,
}

/// Requests that are alike in what they take: by method and by the number of rows, roughly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(u8);

const SIZES: usize = 16;
pub(super) const KINDS: usize = 6 * SIZES;

impl Kind {
    fn of(shape: &Shape<'_>) -> Self {
        let method = match shape.method {
            None => 0,
            Some(HttpMethod::Get) => 1,
            Some(HttpMethod::Post) => 2,
            Some(HttpMethod::Put) => 3,
            Some(HttpMethod::Patch) => 4,
            Some(HttpMethod::Delete) => 5,
        };
        let size = (u32::BITS - shape.rows.leading_zeros()).min(SIZES as u32 - 1);
        Self((method * SIZES as u32 + size) as u8)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Units by pool that one request draws, all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draws {
    pub(super) seat: Seat,
    pub(super) kind: Kind,
    /// By pool, ascending; none is zero.
    pub(super) units: Vec<(usize, u64)>,
}

impl Draws {
    pub(super) fn new(seat: Seat, shape: &Shape<'_>, mut units: Vec<(usize, u64)>) -> Self {
        units.retain(|(_, units)| *units > 0);
        units.sort_unstable();
        Self {
            seat,
            kind: Kind::of(shape),
            units,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// What it is like, for comparing how long it takes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whose credentials the request goes by.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    pub(super) fn of(&self, pool: usize) -> Option<u64> {
        let place = self
            .units
            .binary_search_by_key(&pool, |(index, _)| *index)
            .ok()?;
        Some(self.units[place].1)
    }
}

/// Which requests draw on a pool, and how much.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tariff {
    pub(super) requests: Vec<RequestMatch>,
    pub(super) costs: Vec<CostRule>,
    pub(super) otherwise: Cost,
}

impl Tariff {
    pub(super) fn of(written: &Pool) -> Self {
        Self {
            requests: written.requests.clone(),
            costs: written.costs.clone(),
            otherwise: written.cost.clone(),
        }
    }

    /// Units that a request draws; 0 when it does not draw here.
    pub(super) fn draw(&self, shape: &Shape<'_>) -> u64 {
        let drawn = |wanted: &RequestMatch| matches(wanted, shape);
        if !self.requests.is_empty() && !self.requests.iter().any(drawn) {
            return 0;
        }
        let ruled = self.costs.iter().find(|rule| drawn(&rule.when));
        let cost = ruled.map_or(&self.otherwise, |rule| &rule.cost);
        cost.units(shape.rows)
    }
}

fn matches(wanted: &RequestMatch, shape: &Shape<'_>) -> bool {
    let path = |text: &Option<String>, test: fn(&str, &str) -> bool| {
        text.as_ref().is_none_or(|text| test(shape.path, text))
    };
    wanted
        .method
        .is_none_or(|method| shape.method == Some(method))
        && path(&wanted.path_prefix, |path, text| path.starts_with(text))
        && path(&wanted.path_contains, |path, text| path.contains(text))
        && path(&wanted.path, same_path)
        && wanted.rows_min.is_none_or(|rows| shape.rows >= rows)
}

/// Segment by segment; `*` stands for any one.
fn same_path(path: &str, wanted: &str) -> bool {
    let mut segments = path.trim_end_matches('/').split('/');
    let mut wanted = wanted.trim_end_matches('/').split('/');
    loop {
        match (segments.next(), wanted.next()) {
            (None, None) => return true,
            (Some(segment), Some(wanted)) if wanted == "*" || wanted == segment => {}
            _ => return false,
        }
    }
}
