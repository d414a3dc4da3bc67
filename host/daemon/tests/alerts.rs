//! Alerts on their way to a webhook that does not always take them, and levels of an allowance that come and go.

mod vendor;

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tidegate::ailing::Ailing;
use tidegate::alerts::Alerts;
use tidegate::alerts::delivery::{Hook, Post, Refused, deliver};
use tidegate::alerts::signature::sign;
use tidegate::alerts::standing;
use tidegate::levels::Levels;
use tidegate_core::alert::{Alert, Event, Subject};
use tidegate_gateway::{Clock, ManualClock, PoolCounts, Secret};
use tidegate_store::{Options, Store};

use vendor::endpoints;

/// Answers as it was told, then takes everything.
struct Pretended {
    answers: Mutex<Vec<Refused>>,
    posts: Mutex<Vec<(u64, Post)>>,
    clock: ManualClock,
}

impl Pretended {
    fn new(clock: &ManualClock, mut answers: Vec<Refused>) -> Self {
        answers.reverse();
        Self {
            answers: Mutex::new(answers),
            posts: Mutex::default(),
            clock: clock.clone(),
        }
    }

    fn posts(&self) -> Vec<(u64, Post)> {
        self.posts.lock().expect("no panic").clone()
    }
}

impl Hook for Pretended {
    fn post(&self, post: Post) -> BoxFuture<'_, Result<(), Refused>> {
        let now_ms = self.clock.now().mono_ms;
        self.posts.lock().expect("no panic").push((now_ms, post));
        let answer = self.answers.lock().expect("no panic").pop();
        async move { answer.map_or(Ok(()), Err) }.boxed()
    }
}

fn secret() -> Secret {
    Secret::new("a secret of sixteen bytes")
}

fn stopped(sync: &str) -> Alert {
    Alert::new(Event::SyncStopped, Subject::sync(sync), "test", "stopped")
}

/// Runs a courier until it has nothing to do, putting the clock forward whenever it sleeps.
async fn run(clock: &ManualClock, hook: &Pretended, alerts: Alerts, work: BoxFuture<'_, ()>) {
    let done = |alerts: &Alerts| {
        let status = alerts.status();
        status.delivered + status.failed
    };
    let sent = alerts.status().standing.len() as u64 - alerts.status().left_out;
    let mut work = work;
    while done(&alerts) < sent {
        tokio::select! {
            biased;
            () = &mut work => return,
            at_ms = clock.sleeper_within(600_000) => {
                clock.advance(at_ms - clock.now().mono_ms);
            }
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(!hook.posts().is_empty());
}

#[tokio::test]
async fn a_message_is_tried_until_it_is_taken() {
    const FOR_NOW: Refused = Refused::ForNow { after_ms: None };
    const LATER: Refused = Refused::ForNow {
        after_ms: Some(90_000),
    };
    // What the webhook answers first, how often it is asked, and whether the message arrives.
    let cases = [
        (vec![], 1, true),
        (vec![FOR_NOW, FOR_NOW, LATER], 4, true),
        (vec![Refused::ForGood], 1, false),
        (vec![FOR_NOW; 100], 10, false),
    ];
    for (answers, tries, arrives) in cases {
        let clock = ManualClock::default();
        let hook = Pretended::new(&clock, answers.clone());
        let (alerts, waiting) = Alerts::new(Arc::new(clock.clone()));
        alerts.raise(stopped("people"));
        let key = secret();
        let time: Arc<dyn Clock> = Arc::new(clock.clone());
        let work = deliver(alerts.clone(), waiting, &hook, &key, time, 7).boxed();
        run(&clock, &hook, alerts.clone(), work).await;
        let posts = hook.posts();
        assert_eq!(posts.len(), tries, "{answers:?}");
        let status = alerts.status();
        assert_eq!(
            (status.delivered, status.failed),
            (arrives.into(), (!arrives).into())
        );
        for (number, pair) in posts.windows(2).enumerate() {
            let paused_ms = pair[1].0 - pair[0].0;
            let most_ms = (1_000 << number).min(300_000);
            let least_ms = if answers[number] == LATER { 90_000 } else { 1 };
            assert!(
                (least_ms..=most_ms.max(least_ms)).contains(&paused_ms),
                "{paused_ms}"
            );
            assert_eq!(pair[0].1.body, pair[1].1.body, "one message, one id");
        }
        for (at_ms, post) in &posts {
            let at_s = *at_ms as i64 / 1_000;
            assert_eq!(post.signature, sign(&key, at_s, &post.body), "signed anew");
        }
    }
}

/// Whoever raises an alert never waits, and what was left out is told.
#[tokio::test]
async fn too_many_are_left_out_and_counted() {
    let clock = ManualClock::default();
    let (alerts, waiting) = Alerts::new(Arc::new(clock.clone()));
    for sync in 0..300 {
        alerts.raise(stopped(&sync.to_string()));
    }
    assert_eq!(alerts.status().left_out, 44);
    let hook = Pretended::new(&clock, Vec::new());
    let key = secret();
    let time: Arc<dyn Clock> = Arc::new(clock.clone());
    let work = deliver(alerts.clone(), waiting, &hook, &key, time, 7).boxed();
    let watched = alerts.clone();
    run(&clock, &hook, watched, work).await;
    assert_eq!(alerts.status().delivered, 256);
    alerts.raise(stopped("the next"));
    assert_eq!(alerts.status().standing.len(), 301);
    let bodies = hook.posts();
    let first: Value = serde_json::from_slice(&bodies[0].1.body).expect("JSON");
    assert_eq!(first["left-out"], 0);
    assert_eq!(first["sync"], "0");
    assert_eq!(first["at"], "1970-01-01T00:00:00.000Z");
}

const POOLS: &str = r#"
[[pools]]
name = "daily"
limit = 1000
window = { rolling = "24h" }
scope = "account"
"#;

/// Tries in between look well; only a while without any failure is believed.
#[test]
fn an_ailing_endpoint_is_told_once_and_its_recovery_once() {
    let clock = ManualClock::default();
    let (alerts, mut waiting) = Alerts::new(Arc::new(clock));
    let mut ailing = Ailing::default();
    let crm: Arc<str> = "crm".into();
    let mut told = Vec::new();
    for second in 0..600 {
        let failing = (100..200).contains(&second) && second % 7 == 0;
        ailing.note(&crm, failing, second * 1_000, &alerts);
        while let Ok(next) = waiting.try_recv() {
            assert_eq!(next.alert.event, Event::BreakerOpen);
            told.push((second, next.alert.over));
        }
    }
    assert_eq!(told, [(105, false), (256, true)]);
}

/// Each level is told when it comes, and its end when the day has passed; nobody has to do anything.
#[tokio::test]
async fn levels_are_told_and_undone_by_themselves() {
    let clock = ManualClock::default();
    clock.advance(86_400_000);
    let (alerts, mut waiting) = Alerts::new(Arc::new(clock.clone()));
    let gateways = endpoints(&["crm"], POOLS, &clock);
    let mut levels = Levels::default();
    let mut told = |levels: &mut Levels| {
        levels.look(&gateways, &alerts);
        let mut told = Vec::new();
        while let Ok(next) = waiting.try_recv() {
            assert_eq!(next.alert.event, Event::AllowanceLevel);
            assert_eq!(next.alert.subject.pool.as_deref(), Some("daily"));
            told.push((next.alert.code, next.alert.over));
        }
        told
    };
    let none: &[(String, bool)] = &[];
    assert_eq!(told(&mut levels), none);
    let account = gateways["crm"].gateway.account();
    for (used, level) in [(720, "notify"), (150, "stretch"), (90, "critical")] {
        let now_ms = clock.now().wall_us / 1_000;
        account.restore(&[PoolCounts {
            pool: "daily".to_owned(),
            counts: vec![(now_ms, used)],
            ..PoolCounts::default()
        }]);
        assert_eq!(told(&mut levels), [(level.to_owned(), false)]);
        assert_eq!(told(&mut levels), none, "once");
        clock.advance(3_600_000);
    }
    clock.advance(20 * 3_600_000);
    assert_eq!(told(&mut levels), none, "the first hour's use still counts");
    clock.advance(4 * 3_600_000);
    assert_eq!(told(&mut levels), [("critical".to_owned(), true)]);
    assert_eq!(alerts.status().standing, []);
}

/// Never takes what is about this sync.
struct Choosy {
    stuck: &'static str,
    taken: Mutex<Vec<Value>>,
}

impl Hook for Choosy {
    fn post(&self, post: Post) -> BoxFuture<'_, Result<(), Refused>> {
        let message: Value = serde_json::from_slice(&post.body).expect("JSON");
        let refused = message["sync"] == self.stuck && message["over"] == false;
        if !refused {
            self.taken.lock().expect("no panic").push(message);
        }
        async move {
            match refused {
                true => Err(Refused::ForNow { after_ms: None }),
                false => Ok(()),
            }
        }
        .boxed()
    }
}

/// What the webhook does not take holds up no other message; only its own end comes after it.
#[tokio::test]
async fn a_message_that_is_not_taken_holds_up_no_other() {
    let clock = ManualClock::default();
    let hook = Choosy {
        stuck: "people",
        taken: Mutex::default(),
    };
    let (alerts, waiting) = Alerts::new(Arc::new(clock.clone()));
    alerts.raise(stopped("people"));
    for sync in 0..20 {
        alerts.raise(stopped(&sync.to_string()));
    }
    alerts.clear(Event::SyncStopped, &Subject::sync("people"));
    let key = secret();
    let time: Arc<dyn Clock> = Arc::new(clock.clone());
    let work = deliver(alerts.clone(), waiting, &hook, &key, time, 7);
    tokio::pin!(work);
    for _ in 0..200 {
        assert!(futures::poll!(&mut work).is_pending());
    }
    let taken = hook.taken.lock().expect("no panic").len();
    assert_eq!(taken, 20, "no time has passed");
    while alerts.status().failed == 0 {
        let at_ms = clock
            .sleepers()
            .first()
            .copied()
            .expect("it is tried again");
        clock.advance(at_ms - clock.now().mono_ms);
        assert!(futures::poll!(&mut work).is_pending());
    }
    for _ in 0..10 {
        assert!(futures::poll!(&mut work).is_pending());
    }
    let taken = hook.taken.lock().expect("no panic").clone();
    assert_eq!(taken.len(), 21);
    assert_eq!(
        (&taken[20]["sync"], &taken[20]["over"]),
        (&"people".into(), &true.into())
    );
}

/// What an earlier host has told is not told again, and its end is told.
#[tokio::test]
async fn the_next_host_tells_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().join("store"), Options::default()).expect("a store");
    let clock = ManualClock::default();
    let (before, _) = Alerts::new(Arc::new(clock.clone()));
    before.raise(stopped("people"));
    before.raise(stopped("gone"));
    let watching = standing::watch(&store, &before);
    tokio::select! {
        biased;
        kept = watching => panic!("{kept:?}"),
        () = async {
            while store.get(b"w").expect("readable").is_none() {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let (after, mut told) = Alerts::new(Arc::new(clock.clone()));
    let named = |alert: &Alert| alert.subject.sync.as_deref() != Some("gone");
    standing::restore(&store, &after, named).expect("readable");
    let over = told
        .try_recv()
        .expect("what is named no more is over")
        .alert;
    assert!(over.over && over.subject == Subject::sync("gone"));
    after.raise(stopped("people"));
    assert!(told.try_recv().is_err(), "it was told already");
    after.clear(Event::SyncStopped, &Subject::sync("people"));
    assert!(told.try_recv().expect("its end").alert.over);
    standing::keep(&store, &after).await.expect("kept");
    let (last, _) = Alerts::new(Arc::new(clock));
    standing::restore(&store, &last, |_| true).expect("readable");
    assert_eq!(last.standing(), []);
}

/// A level that an earlier host has told, and that is over when the next one looks first.
#[tokio::test]
async fn a_level_that_ended_between_two_hosts_is_told_to_be_over() {
    let clock = ManualClock::default();
    let gateways = endpoints(&["crm"], POOLS, &clock);
    let account = gateways["crm"].gateway.account().name().to_owned();
    let (alerts, mut told) = Alerts::new(Arc::new(clock.clone()));
    let subject = Subject::pool(&account, "daily");
    alerts.raise(Alert::new(
        Event::AllowanceLevel,
        subject,
        "notify",
        "it runs out",
    ));
    assert!(!told.try_recv().expect("its beginning").alert.over);
    Levels::default().look(&gateways, &alerts);
    assert!(told.try_recv().expect("its end").alert.over);
}
