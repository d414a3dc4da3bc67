//! Several credentials of one endpoint, and an endpoint that fails.

use std::collections::{BTreeMap, BTreeSet};

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

/// Records that were carried by so many credentials in a time, one of which may be refused on the way.
fn carry(apps: usize, lasts_ms: u64, revoked_ms: Option<u64>) -> (u64, BTreeSet<u64>) {
    let (mut pacer, mut accounts, seats) = seated(apps);
    let mut waiting: BTreeMap<Ticket, u64> = BTreeMap::new();
    let mut flying: BTreeMap<u64, Vec<(Ticket, u64)>> = BTreeMap::new();
    let (mut next, mut again, mut done) = (0, Vec::new(), BTreeSet::new());
    let mut revoked = false;
    for now_ms in 0..lasts_ms {
        let now = at(now_ms);
        for (ticket, record) in flying.remove(&now_ms).unwrap_or_default() {
            // What was on its way is refused, and carried by another.
            if revoked && now_ms < revoked_ms.unwrap_or_default() + ANSWER_MS && record % 3 == 0 {
                again.push(record);
            } else {
                done.insert(record);
            }
            pacer.settle(now, ticket, &Ended::Answered(Vec::new()));
        }
        if revoked_ms == Some(now_ms) {
            revoked = true;
            for ticket in accounts.revoke(&mut pacer, seats[0]) {
                again.push(waiting.remove(&ticket).expect("it waited"));
            }
        }
        while waiting.len() < 60 {
            let record = again.pop().unwrap_or_else(|| {
                next += 1;
                next
            });
            let seat = accounts.route(&mut pacer, now, &SHAPE, Purpose::Writing);
            let seat = seat.expect("a credential");
            assert!(!(revoked && seat == seats[0]), "the revoked one is used");
            let draws = pacer.draws(seat, &SHAPE, &[]).expect("pools");
            let ticket = pacer.ask(now, Lane::Normal, &"people".into(), draws);
            waiting.insert(ticket.expect("possible"), record);
        }
        for ticket in pacer.grant(now) {
            let record = waiting.remove(&ticket).expect("it waited");
            flying
                .entry(now_ms + ANSWER_MS)
                .or_default()
                .push((ticket, record));
        }
    }
    let missing = |record: &u64| !done.contains(record);
    let open: BTreeSet<u64> = waiting.values().chain(&again).copied().collect();
    let on_way: BTreeSet<u64> = flying
        .values()
        .flatten()
        .map(|(_, record)| *record)
        .collect();
    let lost = (1..=next).filter(missing);
    let lost = lost.filter(|record| !open.contains(record) && !on_way.contains(record));
    (done.len() as u64, lost.collect())
}

#[test]
fn three_credentials_carry_three_times_one() {
    let lasts_ms = 100_000;
    let (one, _) = carry(1, lasts_ms, None);
    let (three, _) = carry(3, lasts_ms, None);
    println!("one credential: {one}, three: {three}");
    assert!(three * 10 >= one * 29, "{three} against {one}");
    let (some, lost) = carry(3, lasts_ms, Some(lasts_ms / 2));
    println!("one of three revoked half-way: {some}");
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(some * 100 >= one * 240, "{some} against {one}");
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
