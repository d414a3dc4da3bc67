//! What work costs before it is done: calls, units of each pool, and time.
//!
//! Rows go through the choices that a host's rounds make ([`crate::plan`]) and calls through the pacer that hands out its
//! permits ([`crate::pace`]), so that what is said beforehand can't differ from what is done afterwards. All else comes from the
//! manifest's tables. Not in it: rows that are refused, what is repeated, and how long a vendor takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::manifest::{Gauge, Manifest, Method, MethodKind, Read, Window};
use crate::pace::{
    Ended, Impossible, Lane, Level, Pacer, PoolCounts, PoolError, PoolOverride, Report, Seat,
    Settings, Shape, Ticket, UnknownPool,
};
use crate::plan::{self, Barred};
use crate::plugin::{OperationKind, StreamKind};
use crate::rounds;
use crate::time::{Now, parse_duration};

const DAY_MS: u64 = 86_400_000;
/// A call is taken to last so long, as nobody knows it before.
pub const ANSWER_MS: u64 = 1_000;
/// Calls whose permits are looked for one by one; what comes after goes on at the same pace.
const PACED_MAX: u64 = 100_000;

/// Calls that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    pub lane: Lane,
    pub count: u64,
    /// Rows that each carries.
    pub rows: u32,
    /// Pools from which each draws, besides those from which every call does.
    pub draws: Vec<String>,
}

impl Calls {
    /// Calls that carry no rows.
    pub fn plain(lane: Lane, count: u64) -> Self {
        Self {
            lane,
            count,
            rows: 1,
            draws: Vec::new(),
        }
    }
}

/// What calls come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Price {
    pub calls: u64,
    /// By pool. What is only limited at one moment is not in it.
    pub units: BTreeMap<String, u64>,
}

impl Price {
    /// By the pools of a manifest.
    pub fn of<'a>(manifest: &Manifest, calls: impl IntoIterator<Item = &'a Calls>) -> Self {
        let mut price = Self::default();
        for calls in calls {
            price.calls += calls.count;
            for pool in &manifest.pools {
                let measured = matches!(pool.window, Window::Rolling(_) | Window::CalendarDay(_));
                let named = calls.draws.contains(&pool.name);
                if measured && (pool.requests.is_empty() || named) {
                    let units = pool.cost.units(calls.rows).saturating_mul(calls.count);
                    *price.units.entry(pool.name.clone()).or_default() += units;
                }
            }
        }
        price
    }
}

/// Units that a pool gives in a day; `None` where it does not count by time.
pub fn per_day(window: &Window, limit: u64) -> Option<u64> {
    match window {
        Window::CalendarDay(_) => Some(limit),
        Window::Rolling(length) => {
            let window_ms = parse_duration(length).ok()?.as_millis();
            let day = u128::from(limit) * u128::from(DAY_MS) / window_ms.max(1);
            Some(u64::try_from(day).unwrap_or(u64::MAX))
        }
        Window::Concurrency { .. } | Window::ExecutionTime(_) => None,
    }
}

/// Pushes by one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pushes {
    pub method: String,
    pub kind: MethodKind,
    pub pushes: u64,
    pub rows: u64,
    /// A job costs so many at least.
    pub calls: u64,
    #[serde(skip)]
    each: BTreeMap<u32, u64>,
}

/// What rows of one operation become.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// Rows of its first round, which is the largest.
    pub round: usize,
    pub by: Vec<Pushes>,
    /// Rows that no method can carry.
    pub refused: u64,
}

/// Rows of one operation that wait in a lane, each of so many bytes, by a manifest's methods.
pub fn writes(
    methods: &[Method],
    (lane, level): (Lane, Level),
    operation: OperationKind,
    rows: u64,
    row_bytes: u64,
) -> Writes {
    let usable = plan::usable(methods, lane, || level);
    let offered = plan::offered(&usable, operation);
    let mut writes = Writes::default();
    for (round, times) in plan::rounds(&usable, rows) {
        writes.round = writes.round.max(round);
        let uses = plan::uses(&offered, round, row_bytes);
        writes.refused += uses.refused as u64 * times;
        for (method, rows) in uses.pushes {
            let known = writes.by.iter().position(|by| by.method == method.name);
            let place = known.unwrap_or_else(|| {
                writes.by.push(Pushes {
                    method: method.name.clone(),
                    kind: method.kind,
                    pushes: 0,
                    rows: 0,
                    calls: 0,
                    each: BTreeMap::new(),
                });
                writes.by.len() - 1
            });
            let by = &mut writes.by[place];
            by.pushes += times;
            by.rows += rows as u64 * times;
            by.calls += u64::from(method.calls) * times;
            let rows = u32::try_from(rows).unwrap_or(u32::MAX);
            *by.each.entry(rows).or_default() += times;
        }
    }
    writes
}

impl Writes {
    /// Of each push one call carries its rows.
    pub fn calls(&self, methods: &[Method], lane: Lane) -> Vec<Calls> {
        let mut calls = Vec::new();
        for by in &self.by {
            let method = methods.iter().find(|method| method.name == by.method);
            let draws = method.map_or(&[][..], |method| &method.draws);
            calls.extend(by.each.iter().map(|(rows, count)| Calls {
                lane,
                count: *count,
                rows: *rows,
                draws: draws.to_vec(),
            }));
            let more = by.calls.saturating_sub(by.pushes);
            calls.extend((more > 0).then(|| Calls::plain(lane, more)));
        }
        calls
    }
}

/// Why a method is taken or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Verdict {
    Chosen,
    /// It has no such operation.
    OtherOperations,
    /// The lane may not take it now.
    Barred {
        why: Barred,
    },
    /// It wants more rows.
    TooFew {
        rows_min: u32,
    },
    /// It takes more calls than the chosen one.
    Dearer {
        by: u64,
    },
    /// It takes as many, but answers later, ties rows together or is larger than they need.
    AsDear,
}

/// A method, and what some rows would cost by it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    pub method: &'a Method,
    /// `None` where it can't carry them.
    pub calls: Option<u64>,
    pub verdict: Verdict,
}

/// Every method of the table, for so many rows of one operation that are ready in a lane.
pub fn choices(
    methods: &[Method],
    (lane, level): (Lane, Level),
    operation: OperationKind,
    rows: usize,
) -> Vec<Choice<'_>> {
    let usable = plan::usable(methods, lane, || level);
    let chosen = plan::cheapest(&plan::offered(&usable, operation), rows);
    let least = chosen.and_then(|method| plan::calls(method, rows));
    let choice = |method| {
        let carries = Method::carries(method, operation);
        let calls = plan::calls(method, rows).filter(|_| carries);
        let verdict = match (plan::barred(method, lane, level), calls, least) {
            _ if chosen.is_some_and(|chosen| chosen.name == method.name) => Verdict::Chosen,
            _ if !carries => Verdict::OtherOperations,
            (Some(why), _, _) => Verdict::Barred { why },
            (None, None, _) => Verdict::TooFew {
                rows_min: method.rows_min,
            },
            (None, Some(calls), Some(least)) if calls > least => {
                Verdict::Dearer { by: calls - least }
            }
            (None, Some(_), _) => Verdict::AsDear,
        };
        Choice {
            method,
            calls,
            verdict,
        }
    };
    methods.iter().map(choice).collect()
}

/// From how many ready rows on which method is taken, up to those of a full round.
pub fn break_evens(
    methods: &[Method],
    (lane, level): (Lane, Level),
    operation: OperationKind,
) -> Vec<(usize, &Method)> {
    let usable = plan::usable(methods, lane, || level);
    let offered = plan::offered(&usable, operation);
    let mut found: Vec<(usize, &Method)> = Vec::new();
    for rows in 1..=plan::full_round(&usable) {
        if let Some(method) = plan::cheapest(&offered, rows)
            && found
                .last()
                .is_none_or(|(_, last)| last.name != method.name)
        {
            found.push((rows, method));
        }
    }
    found
}

/// How an object is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// `None` where the manifest does not say how; then a page is taken to be a call.
    pub read: Option<&'a Read>,
    /// Calls before the first row.
    pub once: u64,
    pub pages: u64,
}

/// So many rows in pages of at most `page_rows`, in the way with the fewest calls.
pub fn reading(manifest: &Manifest, of: StreamKind, rows: u64, page_rows: u32) -> Reading<'_> {
    // Nobody knows that there is nothing before a page says so.
    let least = u64::from(of == StreamKind::Snapshot);
    let pages = |rows_max: u32| {
        let page = u64::from(rows_max.min(page_rows).max(1));
        rows.div_ceil(page).max(least)
    };
    let ways = manifest.reads.iter().filter(|read| read.of == of);
    let ways = ways.map(|read| Reading {
        read: Some(read),
        once: u64::from(read.calls_once),
        pages: pages(read.rows_max),
    });
    let cheapest = ways.min_by_key(|way| way.once + way.pages);
    cheapest.unwrap_or_else(|| Reading {
        read: None,
        once: 0,
        pages: pages(u32::MAX),
    })
}

impl Reading<'_> {
    pub fn total(&self) -> u64 {
        self.once + self.pages
    }

    pub fn calls(&self, lane: Lane) -> Vec<Calls> {
        let draws = self.read.map_or(&[][..], |read| &read.draws);
        let drawing = u64::from(!draws.is_empty() && self.once > 0);
        let all = [
            Calls {
                draws: draws.to_vec(),
                ..Calls::plain(lane, drawing)
            },
            Calls::plain(lane, self.total() - drawing),
        ];
        all.into_iter().filter(|calls| calls.count > 0).collect()
    }
}

/// What a day costs in which nothing happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Idle {
    /// Positions that are looked at.
    pub streams: u64,
    /// Of them in one call, at most.
    pub together: u64,
    pub every_ms: u64,
    pub calls_each: u64,
    pub looks: u64,
    /// For the vendor's own figures, where the looks do not tell them.
    pub gauges: u64,
    pub calls: u64,
}

pub fn idle(manifest: &Manifest, streams: u64, every_ms: u64) -> Idle {
    let capture = manifest.capture.as_ref();
    let together = capture.map_or(1, |capture| u64::from(capture.streams_max.max(1)));
    let calls_each = streams.div_ceil(together);
    let looks = match streams {
        0 => 0,
        _ => DAY_MS.div_ceil(every_ms.max(1)),
    };
    let gauges = manifest.gauges.iter();
    let gauges = gauges.map(|gauge| gauge_calls(manifest, gauge, looks, every_ms));
    let gauges = gauges.sum();
    Idle {
        streams,
        together,
        every_ms,
        calls_each,
        looks,
        gauges,
        calls: calls_each * looks + gauges,
    }
}

/// A gauge is read where no answer has told of one of its pools for so long.
fn gauge_calls(manifest: &Manifest, gauge: &Gauge, looks: u64, every_ms: u64) -> u64 {
    let Ok(pause) = parse_duration(&gauge.every) else {
        return 0;
    };
    let pause_ms = (pause.as_millis() as u64).max(1);
    let told = |pool: &String| {
        manifest
            .readings
            .iter()
            .any(|reading| reading.pool == *pool)
    };
    if looks > 0 && gauge.pools.iter().all(|gauged| told(&gauged.pool)) {
        looks * (every_ms.saturating_sub(1) / pause_ms)
    } else {
        DAY_MS / pause_ms
    }
}

/// Calls of a sync's endpoint before its first change moves: its schema is asked for, and every sync prepares it together with
/// all that came before. What one look at all of it took is known: `discover` and `prepare` calls. An endpoint that was never
/// prepared is asked once more, for the name that it has got.
pub fn opening(discover: u64, prepare: u64, demands: u64, first: bool) -> u64 {
    match first {
        true => 2 * discover + (prepare * (demands + 1)).div_ceil(2),
        false => discover + prepare,
    }
}

/// Where an endpoint's allowances stand.
#[derive(Clone, Copy, Debug)]
pub struct Stand<'a> {
    pub manifest: &'a Manifest,
    pub pools: &'a BTreeMap<String, PoolOverride>,
    /// What is used already.
    pub counts: &'a [PoolCounts],
    pub now: Now,
}

/// Why it can't be told how long calls take.
#[derive(Debug, thiserror::Error)]
pub enum NeverDone {
    #[error(transparent)]
    Pools(#[from] PoolError),
    #[error(transparent)]
    Unknown(#[from] UnknownPool),
    #[error(transparent)]
    Impossible(#[from] Impossible),
    #[error("nothing comes back to the pools that they draw on")]
    Stuck,
}

/// How long calls take by the pools' pace, with what each lane leaves for those above it, if nobody else draws more than now: the
/// pacer is asked for each permit, on a clock that jumps to the next event.
pub fn pace(stand: &Stand<'_>, calls: &[Calls]) -> Result<u64, NeverDone> {
    let mut pacer = Pacer::new(stand.manifest, stand.pools, Settings::default())?;
    let counts: Vec<PoolCounts> = stand
        .counts
        .iter()
        .map(|counts| PoolCounts {
            // There is one holder here.
            holder: Vec::new(),
            ..counts.clone()
        })
        .collect();
    pacer.restore(stand.now, &counts);
    let mut run = Run {
        pacer,
        began: stand.now,
        now_ms: stand.now.mono_ms,
        out: Vec::new(),
        waiting: 0,
    };
    let all: u64 = calls.iter().map(|calls| calls.count).sum();
    let mut paced = 0;
    let sync: Arc<str> = "".into();
    'calls: for alike in calls {
        let cost = |pool: &String| {
            let pools = &stand.manifest.pools;
            let found = pools.iter().find(|known| known.name == *pool);
            let units = found.map_or(1, |pool| pool.cost.units(alike.rows));
            (pool.clone(), u32::try_from(units).unwrap_or(u32::MAX))
        };
        let named: Vec<(String, u32)> = alike.draws.iter().map(cost).collect();
        for _ in 0..alike.count {
            if paced == PACED_MAX {
                break 'calls;
            }
            paced += 1;
            while run.waiting + run.out.len() >= rounds::most(alike.lane) {
                run.step()?;
            }
            let shape = Shape {
                method: None,
                path: "",
                rows: alike.rows,
            };
            let draws = run.pacer.draws(Seat::default(), &shape, &named)?;
            run.pacer.ask(run.now(), alike.lane, &sync, draws)?;
            run.waiting += 1;
        }
    }
    while run.waiting + run.out.len() > 0 {
        run.step()?;
    }
    let lasted_ms = u128::from(run.now_ms - stand.now.mono_ms);
    let lasted_ms = lasted_ms * u128::from(all) / u128::from(paced.max(1));
    Ok(u64::try_from(lasted_ms).unwrap_or(u64::MAX))
}

struct Run {
    pacer: Pacer,
    began: Now,
    now_ms: u64,
    /// When each is answered, in the order of leaving.
    out: Vec<(u64, Ticket)>,
    waiting: usize,
}

impl Run {
    fn now(&self) -> Now {
        let passed_ms = self.now_ms - self.began.mono_ms;
        Now {
            mono_ms: self.now_ms,
            wall_us: self.began.wall_us.saturating_add(passed_ms as i64 * 1_000),
        }
    }

    /// To the next event: a permit, an answer, or a time at which the pacer wants to look again.
    fn step(&mut self) -> Result<(), NeverDone> {
        let granted = self.pacer.grant(self.now());
        if !granted.is_empty() {
            self.waiting -= granted.len();
            let answered_ms = self.now_ms + ANSWER_MS;
            self.out
                .extend(granted.into_iter().map(|ticket| (answered_ms, ticket)));
            return Ok(());
        }
        let answered_ms = self.out.first().map(|(answered_ms, _)| *answered_ms);
        let next_ms = [answered_ms, self.pacer.due_ms()]
            .into_iter()
            .flatten()
            .min();
        let next_ms = next_ms
            .filter(|next_ms| *next_ms < u64::MAX)
            .ok_or(NeverDone::Stuck)?;
        self.now_ms = next_ms.max(self.now_ms + u64::from(answered_ms.is_none()));
        let now = self.now();
        while let Some((answered_ms, ticket)) = self.out.first().copied()
            && answered_ms <= self.now_ms
        {
            self.out.remove(0);
            let ended = Ended::Answered(self.reports(now));
            self.pacer.settle(now, ticket, &ended);
        }
        Ok(())
    }

    /// As the vendor would tell it.
    fn reports(&mut self, now: Now) -> Vec<Report> {
        let figures = self.pacer.figures(now);
        let report = |figures: crate::pace::PoolFigures| Report {
            pool: figures.pool.to_string(),
            used: Some(figures.used + figures.reserved + figures.used_by_others),
            ..Report::default()
        };
        figures.into_iter().map(report).collect()
    }
}
