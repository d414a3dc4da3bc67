//! Several credentials of one endpoint, and an endpoint that fails.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::manifest::Manifest;
use tidegate_core::pace::breaker::Standing;
use tidegate_core::pace::{
    Accounts, Breaker, Ended, Identity, Lane, Pacer, Purpose, Seat, Settings, Shape, Ticket,
};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

const ANSWER_MS: u64 = 50;
const HUBSPOT: &str = include_str!("manifests/hubspot.toml");

fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_us: 1_709_960_400_000_000 + ms as i64 * 1_000,
    }
}

const SHAPE: Shape<'static> = Shape {
    method: Some(HttpMethod::Patch),
    path: "/crm/v3/objects/contacts/batch/update",
    rows: 100,
};

fn seated(apps: usize) -> (Pacer, Accounts, Vec<Seat>) {
    let manifest = Manifest::parse(HUBSPOT).expect("a manifest");
    let mut pacer = Pacer::empty(Settings::default());
    let mut accounts = Accounts::default();
    let seats: Vec<Seat> = (0..apps)
        .map(|app| {
            let identity = Identity {
                account: "acme".into(),
                app: format!("app-{app}").into(),
                ..Identity::default()
            };
            let seat = pacer.join(&manifest, &BTreeMap::new(), &identity);
            seat.expect("pools")
        })
        .collect();
    seats.iter().for_each(|seat| accounts.add(*seat, None));
    (pacer, accounts, seats)
}

/// A batch on its way and back.
struct Flying {
    ticket: Ticket,
    record: u64,
    seat: Seat,
    refused: bool,
}

/// What the vendor has: how often each record was written, and since when it refuses the first credential.
struct Vendor {
    carried: BTreeMap<u64, u32>,
    revoked_ms: u64,
    revoked: Seat,
}

impl Vendor {
    /// Whether a batch is refused that arrives now; else it is carried out.
    fn refuses(&mut self, now_ms: u64, seat: Seat, record: u64) -> bool {
        let refused = now_ms >= self.revoked_ms && seat == self.revoked;
        if !refused {
            *self.carried.entry(record).or_default() += 1;
        }
        refused
    }
}

struct Carried {
    /// Records that the vendor had when the time was up.
    in_time: u64,
    /// When all that was begun has ended: records that the vendor has not, and that it was given twice.
    lost: Vec<u64>,
    doubled: Vec<u64>,
}

/// Carries records by so many credentials for a time, one of which the vendor may refuse from a moment on: its refusals
/// tell of it, nothing else.
fn carry(apps: usize, lasts_ms: u64, revoked_ms: Option<u64>) -> Carried {
    let (mut pacer, mut accounts, seats) = seated(apps);
    let mut vendor = Vendor {
        carried: BTreeMap::new(),
        revoked_ms: revoked_ms.unwrap_or(u64::MAX),
        revoked: seats[0],
    };
    let mut waiting: BTreeMap<Ticket, (u64, Seat)> = BTreeMap::new();
    let mut arriving: BTreeMap<u64, Vec<Flying>> = BTreeMap::new();
    let mut answers: BTreeMap<u64, Vec<Flying>> = BTreeMap::new();
    let (mut next, mut again, mut in_time) = (0, Vec::new(), 0);
    let mut known = false;
    for now_ms in 0.. {
        let now = at(now_ms);
        for mut flying in arriving.remove(&now_ms).unwrap_or_default() {
            flying.refused = vendor.refuses(now_ms, flying.seat, flying.record);
            let due_ms = now_ms + ANSWER_MS / 2;
            answers.entry(due_ms).or_default().push(flying);
        }
        for flying in answers.remove(&now_ms).unwrap_or_default() {
            pacer.settle(now, flying.ticket, &Ended::Answered(Vec::new()));
            if !flying.refused {
                continue;
            }
            again.push(flying.record);
            if !std::mem::replace(&mut known, true) {
                for ticket in accounts.revoke(&mut pacer, flying.seat) {
                    again.push(waiting.remove(&ticket).expect("it waited").0);
                }
            }
        }
        if now_ms == lasts_ms {
            in_time = vendor.carried.len() as u64;
        }
        let ended = waiting.is_empty() && arriving.is_empty() && answers.is_empty();
        if now_ms > lasts_ms && ended && again.is_empty() {
            break;
        }
        while waiting.len() < 60 {
            let mut fresh = || {
                next += 1;
                next
            };
            let record = again.pop();
            let open = now_ms < lasts_ms;
            let Some(record) = record.or_else(|| open.then(&mut fresh)) else {
                break;
            };
            let seat = accounts.route(&mut pacer, now, &SHAPE, Purpose::Writing);
            let seat = seat.expect("a credential");
            assert!(!(known && seat == seats[0]), "the revoked one is used");
            let draws = pacer.draws(seat, &SHAPE, &[]).expect("pools");
            let ticket = pacer.ask(now, Lane::Normal, &"people".into(), draws);
            waiting.insert(ticket.expect("possible"), (record, seat));
        }
        for ticket in pacer.grant(now) {
            let (record, seat) = waiting.remove(&ticket).expect("it waited");
            let flying = Flying {
                ticket,
                record,
                seat,
                refused: false,
            };
            let due_ms = now_ms + ANSWER_MS / 2;
            arriving.entry(due_ms).or_default().push(flying);
        }
    }
    let times = |record: &u64| vendor.carried.get(record).copied().unwrap_or_default();
    Carried {
        in_time,
        lost: (1..=next).filter(|record| times(record) == 0).collect(),
        doubled: (1..=next).filter(|record| times(record) > 1).collect(),
    }
}

#[test]
fn three_credentials_carry_three_times_one() {
    let lasts_ms = 100_000;
    let one = carry(1, lasts_ms, None).in_time;
    let three = carry(3, lasts_ms, None).in_time;
    println!("one credential: {one}, three: {three}");
    assert!(three * 10 >= one * 29, "{three} against {one}");
    let some = carry(3, lasts_ms, Some(lasts_ms / 2));
    println!("one of three revoked half-way: {}", some.in_time);
    assert!(some.lost.is_empty(), "lost: {:?}", some.lost);
    assert!(some.doubled.is_empty(), "doubled: {:?}", some.doubled);
    assert!(
        some.in_time * 100 >= one * 240,
        "{} against {one}",
        some.in_time
    );
}

#[test]
fn a_credential_can_be_kept_for_reading() {
    let (mut pacer, _, seats) = seated(2);
    let mut accounts = Accounts::default();
    accounts.add(seats[0], Some(Purpose::Reading));
    accounts.add(seats[1], None);
    let routed = |accounts: &Accounts, pacer: &mut Pacer, purpose| {
        accounts.route(pacer, at(0), &SHAPE, purpose)
    };
    assert_eq!(
        routed(&accounts, &mut pacer, Purpose::Writing),
        Some(seats[1])
    );
    accounts.revoke(&mut pacer, seats[1]);
    assert_eq!(routed(&accounts, &mut pacer, Purpose::Writing), None);
    assert_eq!(
        routed(&accounts, &mut pacer, Purpose::Reading),
        Some(seats[0])
    );
    accounts.reinstate(seats[1]);
    assert_eq!(accounts.serving(), 2);
}

#[test]
fn half_of_all_answers_failing_for_a_minute_costs_little() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut pacer, _, seats) = seated(1);
        let mut breaker = Breaker::default();
        let mut flying: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        let mut waiting = BTreeMap::new();
        let (mut attempts, mut needed) = (0_u64, 0_u64);
        let mut by_window = BTreeMap::<u64, u64>::new();
        let failing = 60_000..120_000;
        for now_ms in 0..180_000 {
            let now = at(now_ms);
            for (ticket, pass) in flying.remove(&now_ms).unwrap_or_default() {
                let fails = failing.contains(&now_ms) && random.random_bool(0.5);
                breaker.came_back(now_ms, pass, !fails, random.random());
                if !fails {
                    needed += 1;
                    *by_window.entry(now_ms / 10_000).or_default() += 1;
                }
                pacer.settle(now, ticket, &Ended::Answered(Vec::new()));
            }
            // A permit is asked for when the breaker lets one through.
            while waiting.len() < 20 {
                let Ok(pass) = breaker.leave(now_ms) else {
                    break;
                };
                let draws = pacer.draws(seats[0], &SHAPE, &[]).expect("pools");
                let ticket = pacer.ask(now, Lane::Normal, &"people".into(), draws);
                waiting.insert(ticket.expect("possible"), pass);
            }
            for ticket in pacer.grant(now) {
                let pass = waiting.remove(&ticket).expect("it waited");
                attempts += 1;
                let passes = flying.entry(now_ms + ANSWER_MS).or_default();
                passes.push((ticket, pass));
            }
        }
        let full = by_window[&5];
        println!(
            "seed {seed}: {attempts} attempts for {needed}, {full} a window before, {:?} after, {:?}",
            (12..15)
                .map(|window| by_window[&window])
                .collect::<Vec<_>>(),
            breaker.standing()
        );
        assert!(
            attempts * 10 <= needed * 11,
            "seed {seed}: {attempts} for {needed}"
        );
        assert_eq!(breaker.standing(), Standing::Closed, "seed {seed}");
        assert!(
            by_window[&14] * 100 >= full * 98,
            "seed {seed}: {by_window:?}"
        );
    }
}
