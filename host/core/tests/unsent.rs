//! A permit that comes back without having been used leaves no mark.

use std::collections::BTreeMap;

use tidegate_core::manifest::Manifest;
use tidegate_core::pace::{Ended, Lane, Pacer, Seat, Settings, Shape};
use tidegate_core::plugin::HttpMethod;
use tidegate_core::time::Now;

const MANIFEST: &str = r#"
    [plugin]
    name = "test"
    version = "1.0.0"
    kind = "connector"
    wit = "0.1.0"
    [[pools]]
    name = "burst"
    limit = 100
    window = { rolling = "10s" }
    scope = "account"
    [[pools]]
    name = "daily"
    limit = 10000
    window = { rolling = "24h" }
    scope = "account"
"#;

fn pacer() -> Pacer {
    let manifest: Manifest = toml::from_str(MANIFEST).expect("a manifest");
    Pacer::new(&manifest, &BTreeMap::new(), Settings::default()).expect("pools")
}

const NOW: Now = Now {
    mono_ms: 1_000,
    wall_us: 1_710_003_600_000_000,
};

/// Gets so many permits, one after the other, and gives each back unused.
fn in_vain(pacer: &mut Pacer, lane: Lane, times: usize) {
    for time in 0..times {
        let shape = Shape {
            method: Some(HttpMethod::Get),
            path: "/records",
            rows: 1,
        };
        let draws = pacer.draws(Seat::default(), &shape, &[]);
        let draws = draws.expect("known pools");
        let ticket = pacer.ask(NOW, lane, &"people".into(), draws);
        let ticket = ticket.expect("possible");
        let granted = pacer.grant(NOW);
        assert_eq!(
            granted,
            [ticket],
            "{lane:?} {time}: {:?}",
            pacer.wait(ticket)
        );
        pacer.settle(NOW, ticket, &Ended::Unsent);
    }
}

#[test]
fn an_unused_permit_costs_nothing() {
    for lane in [Lane::Critical, Lane::Normal, Lane::Backfill] {
        let mut plain = pacer();
        in_vain(&mut plain, lane, 1_000);
        let mut booked = pacer();
        booked.keep_books();
        let counts = booked.snapshot(NOW);
        booked.kept(&counts);
        in_vain(&mut booked, lane, 1_000);
        assert_eq!(booked.figures(NOW)[0].used, 0);
    }
}
