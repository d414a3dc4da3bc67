//! Where calls arrive: every meter that counts one is asked, and it is let in by all of them or by none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::meter::Meter;
use super::neighbour::Others;
use super::options::{Failing, Failure, Neighbour, Options, OptionsError, known};
use super::profile::{Call, Limit, Reading, Refused, Scope};
use super::told::{Refusal, Stats, Window};
use crate::answer::Answer;

/// Refusals that are kept word by word; all are counted.
const REFUSALS_MAX: usize = 100_000;

/// Records whose ids are kept, of those that calls have carried.
const CARRIED_MAX: usize = 1_000_000;

/// What becomes of a call on its arrival.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is at work for so long, and is then answered.
    Works {
        number: u64,
        takes_ms: u64,
        answer: Answer,
    },
    /// It was counted, and no answer comes of it.
    Fails {
        number: u64,
        takes_ms: u64,
        how: Failure,
    },
    /// Not let in, for a limit or for its credential: that is said at once.
    Refused { answer: Answer },
}

#[derive(Debug)]
pub(crate) struct Desk {
    options: Options,
    limits: Vec<Limit>,
    /// By limit, and whose calls it counts.
    meters: BTreeMap<(usize, String), Meter>,
    others: Option<Others>,
    failing: Option<(u64, Failing)>,
    revoked: BTreeSet<String>,
    /// Credentials in the order in which they came.
    known: Vec<String>,
    in_a_row: BTreeMap<String, u64>,
    random: ChaCha8Rng,
    started_ms: u64,
    next: u64,
    done: u64,
    failed: u64,
    strangers: u64,
    refused: u64,
    refusals: VecDeque<Refusal>,
    /// By the record's id: how often it was written.
    carried: BTreeMap<u64, u64>,
}

impl Desk {
    pub(crate) fn new(options: Options, now_ms: u64) -> Result<Self, OptionsError> {
        options.check()?;
        let mut limits = options.vendor.profile().limits();
        for limit in &mut limits {
            let set = options.limits.iter().rev();
            let mut set = set.filter(|(name, _)| name == limit.name);
            limit.units = set.next().map_or(limit.units, |(_, units)| *units);
        }
        let mut desk = Self {
            random: ChaCha8Rng::seed_from_u64(options.seed),
            limits,
            meters: BTreeMap::new(),
            others: None,
            failing: None,
            revoked: BTreeSet::new(),
            known: options.credentials.clone(),
            in_a_row: BTreeMap::new(),
            started_ms: now_ms,
            next: 0,
            done: 0,
            failed: 0,
            strangers: 0,
            refused: 0,
            refusals: VecDeque::new(),
            carried: BTreeMap::new(),
            options,
        };
        if let Some(failing) = desk.options.failing {
            desk.fail(now_ms, failing);
        }
        let others = desk.options.neighbour.clone();
        desk.neighbour(now_ms, others.as_ref());
        if let Some(others) = &mut desk.others {
            others.look_back();
        }
        let at_ms = desk.vendor_ms(now_ms);
        desk.settle(now_ms, at_ms);
        Ok(desk)
    }

    pub(crate) fn arrived(&self) -> u64 {
        self.next
    }

    /// The way of a request or of an answer.
    pub(crate) fn way_ms(&mut self) -> u64 {
        self.options.way.draw(&mut self.random)
    }

    /// The vendor's own time.
    pub(crate) fn vendor_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.options.skew_ms)
    }

    /// Lets a call in, or does not. `now_ms` is the clock's, which the vendor's own may be ahead of.
    pub(crate) fn arrive(&mut self, now_ms: u64, call: &Call) -> Fate {
        let at_ms = self.vendor_ms(now_ms);
        self.settle(now_ms, at_ms);
        let profile = self.options.vendor.profile();
        if let Some(answer) = profile.free(call) {
            return Fate::Refused { answer };
        }
        self.next += 1;
        if !self.is_known(&call.credential) {
            self.strangers += 1;
            return Fate::Refused {
                answer: profile.unauthorized(),
            };
        }
        if let Some(limit) = self.short(at_ms, call) {
            return self.refuse(at_ms, call, limit);
        }
        self.in_a_row.remove(&call.credential);
        for limit in 0..self.limits.len() {
            let units = profile.weighs(call, self.limits[limit].name);
            if units > 0 {
                let number = self.next;
                self.meter(limit, call).begin(number, at_ms, units);
            }
        }
        let takes = self.options.takes.unwrap_or_else(|| profile.takes(call));
        let takes_ms = takes.draw(&mut self.random);
        let number = self.next;
        if let Some(how) = self.failure(now_ms) {
            self.failed += 1;
            return match how {
                Failure::Error => Fate::Works {
                    number,
                    takes_ms,
                    answer: self.dressed(at_ms, call, profile.failure()),
                },
                Failure::Html => Fate::Works {
                    number,
                    takes_ms,
                    answer: html(),
                },
                Failure::Reset | Failure::Silence => Fate::Fails {
                    number,
                    takes_ms,
                    how,
                },
            };
        }
        self.done += 1;
        self.carry(call);
        Fate::Works {
            number,
            takes_ms,
            answer: self.dressed(at_ms, call, profile.done(call)),
        }
    }

    fn carry(&mut self, call: &Call) {
        for id in &call.ids {
            if self.carried.len() < CARRIED_MAX || self.carried.contains_key(id) {
                *self.carried.entry(*id).or_default() += 1;
            }
        }
    }

    /// A call is no longer at work.
    pub(crate) fn end(&mut self, now_ms: u64, call: &Call, number: u64, worked_ms: u64) {
        let at_ms = self.vendor_ms(now_ms);
        self.settle(now_ms, at_ms);
        let profile = self.options.vendor.profile();
        for limit in 0..self.limits.len() {
            if profile.weighs(call, self.limits[limit].name) > 0 {
                self.meter(limit, call).end(number, at_ms, worked_ms);
            }
        }
    }

    /// What has happened until now without a call of ours.
    fn settle(&mut self, now_ms: u64, at_ms: u64) {
        let passed_ms = now_ms - self.started_ms;
        while let Some(due) = self
            .options
            .later
            .iter()
            .position(|(ms, ..)| *ms <= passed_ms)
        {
            let (_, name, units) = self.options.later.remove(due);
            self.change(&name, units);
        }
        if let Some(others) = &mut self.others {
            // It is the account's, or that of whoever came first.
            let first = match self.limits[0].scope {
                Scope::Account => Some(String::new()),
                Scope::Credential => self.known.first().cloned(),
            };
            let Some(holder) = first else {
                others.wait(at_ms);
                return;
            };
            let limit = &self.limits[0];
            let meter = self.meters.entry((0, holder));
            let meter = meter.or_insert_with(|| Meter::new(limit.rule.clone(), limit.units));
            others.catch_up(meter, at_ms);
        }
    }

    fn is_known(&mut self, credential: &str) -> bool {
        let accepted = &self.options.credentials;
        let good = accepted.is_empty() || accepted.iter().any(|known| known == credential);
        let good = good && !credential.is_empty() && !self.revoked.contains(credential);
        if good && !self.known.iter().any(|known| known == credential) {
            self.known.push(credential.to_owned());
        }
        good
    }

    fn meter(&mut self, limit: usize, call: &Call) -> &mut Meter {
        let holder = match self.limits[limit].scope {
            Scope::Account => String::new(),
            Scope::Credential => call.credential.clone(),
        };
        let limits = &self.limits[limit];
        let meter = self.meters.entry((limit, holder));
        meter.or_insert_with(|| Meter::new(limits.rule.clone(), limits.units))
    }

    /// The first limit in which there is no room.
    fn short(&mut self, at_ms: u64, call: &Call) -> Option<usize> {
        let profile = self.options.vendor.profile();
        (0..self.limits.len()).find(|limit| {
            let units = profile.weighs(call, self.limits[*limit].name);
            units > 0 && !self.meter(*limit, call).admits(at_ms, units)
        })
    }

    fn refuse(&mut self, at_ms: u64, call: &Call, limit: usize) -> Fate {
        let profile = self.options.vendor.profile();
        let Limit { name, scope, .. } = self.limits[limit];
        let units = profile.weighs(call, name);
        let meter = self.meter(limit, call);
        meter.seen.refused += 1;
        let (used, most) = (meter.used(at_ms), meter.limit);
        let free_in_ms = meter.free_in_ms(at_ms, units);
        let in_a_row = self.in_a_row.entry(call.credential.clone()).or_default();
        *in_a_row += 1;
        let refused = Refused {
            by: name,
            limit: most,
            free_in_ms,
            in_a_row: *in_a_row,
            number: self.next,
        };
        self.refused += 1;
        if self.refusals.len() == REFUSALS_MAX {
            self.refusals.pop_front();
        }
        let refusal = Refusal {
            at_ms,
            meter: name.to_owned(),
            holder: match scope {
                Scope::Account => String::new(),
                Scope::Credential => self.shown(&call.credential),
            },
            method: call.method.clone(),
            path: call.path.clone(),
            units,
            used,
            limit: most,
        };
        self.refusals.push_back(refusal);
        Fate::Refused {
            answer: self.dressed(at_ms, call, profile.refuse(&refused)),
        }
    }

    /// With what the vendor tells of its limits, and the time by its clock.
    fn dressed(&mut self, at_ms: u64, call: &Call, mut answer: Answer) -> Answer {
        let mut readings = Vec::with_capacity(self.limits.len());
        for limit in 0..self.limits.len() {
            let name = self.limits[limit].name;
            let meter = self.meter(limit, call);
            readings.push(Reading {
                name,
                limit: meter.limit,
                used: meter.used(at_ms),
            });
        }
        let profile = self.options.vendor.profile();
        answer.headers.extend(profile.headers(call, &readings));
        answer.dated(at_ms)
    }

    fn failure(&mut self, now_ms: u64) -> Option<Failure> {
        let (until_ms, failing) = self.failing?;
        let strikes = now_ms < until_ms && self.random.random_range(0..1_000) < failing.permille;
        strikes.then_some(failing.how)
    }

    /// A credential is a secret even where it protects nothing.
    fn shown(&self, credential: &str) -> String {
        let place = self.known.iter().position(|known| known == credential);
        place.map_or_else(String::new, |place| format!("credential {}", place + 1))
    }

    fn change(&mut self, name: &str, units: u64) {
        let found = self.limits.iter().position(|limit| limit.name == name);
        if let Some(found) = found {
            self.limits[found].units = units;
            let theirs = self.meters.iter_mut();
            let theirs = theirs.filter(|((limit, _), _)| *limit == found);
            theirs.for_each(|(_, meter)| meter.limit = units);
        }
    }
}

/// What is moved from outside.
impl Desk {
    pub(crate) fn set_limit(&mut self, name: &str, units: u64) -> Result<(), OptionsError> {
        known(self.options.vendor, name)?;
        self.change(name, units);
        Ok(())
    }

    pub(crate) fn fail(&mut self, now_ms: u64, failing: Failing) {
        self.failing = Some((now_ms.saturating_add(failing.for_ms), failing));
    }

    pub(crate) fn neighbour(&mut self, now_ms: u64, set: Option<&Neighbour>) {
        let at_ms = self.vendor_ms(now_ms);
        let seed = self.options.seed;
        self.others = set.map(|set| Others::new(set, &self.limits[0].rule, seed, at_ms));
    }

    pub(crate) fn set_revoked(&mut self, credential: &str, revoked: bool) {
        if revoked {
            self.revoked.insert(credential.to_owned());
        } else {
            self.revoked.remove(credential);
        }
    }

    pub(crate) fn stats(&mut self, now_ms: u64) -> Stats {
        let at_ms = self.vendor_ms(now_ms);
        self.settle(now_ms, at_ms);
        let mut windows = Vec::with_capacity(self.meters.len());
        let mut meters = std::mem::take(&mut self.meters);
        for ((limit, holder), meter) in &mut meters {
            let used = meter.used(at_ms);
            windows.push(Window {
                meter: self.limits[*limit].name.to_owned(),
                holder: self.shown(holder),
                limit: meter.limit,
                used,
                most: meter.seen.most,
                admitted: meter.seen.admitted,
                others: meter.seen.others,
                refused: meter.seen.refused,
                source: self.limits[*limit].source,
            });
        }
        self.meters = meters;
        Stats {
            now_ms: at_ms,
            arrived: self.next,
            done: self.done,
            failed: self.failed,
            strangers: self.strangers,
            refused: self.refused,
            windows,
        }
    }

    /// How often each record was written that came with a number for an id; of very many the first.
    pub(crate) fn carried(&self) -> BTreeMap<u64, u64> {
        self.carried.clone()
    }

    /// The latest refusals, oldest first.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        self.refusals.iter().cloned().collect()
    }
}

fn html() -> Answer {
    let page = "<!DOCTYPE html><html><head><title>Maintenance</title></head>\
                <body><h1>We are down for maintenance.</h1></body></html>";
    Answer::text(503, "text/html; charset=UTF-8", page)
}
