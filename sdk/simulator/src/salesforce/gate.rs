//! The way in for a data call: session, limits, and what will go wrong with it; then its execution.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answer::{Answer, ApiError};
use super::bulk;
use super::call::Call;
use super::composite;
use super::faults::Fault;
use super::id::Id;
use super::locks;
use super::org::Org;
use super::route::{self, Target};
use super::transaction::Began;
use super::worker;
use crate::clock::Clock;

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) org: Mutex<Org>,
    pub(crate) base_url: String,
}

impl Shared {
    /// The org as it is by now. Where the clock stands, jobs come along whenever somebody looks, so that what is seen
    /// follows from the time alone; where it runs, the `worker` sees to them.
    pub(crate) fn org(&self) -> MutexGuard<'_, Org> {
        // A panic elsewhere fails its own test; the org is still the best there is.
        let mut org = self.org.lock().unwrap_or_else(PoisonError::into_inner);
        if self.clock.stands() {
            bulk::catch_up(&mut org, self.clock.now_ms());
        }
        org
    }
}

/// What becomes of the answer on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Truncated,
    Closed,
    Reset,
}

/// A call that was let in and counted, and what will happen to it.
struct Admitted {
    target: Target,
    began: Began,
    delay_ms: u64,
    late_ms: u64,
    twice: bool,
    fate: Fate,
    stay: Stay,
}

/// A call's presence among those in flight, and its locks; ends when it is dropped.
struct Stay {
    shared: Arc<Shared>,
    number: u64,
    parents: HashSet<Id>,
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut org = self.shared.org();
        org.in_flight.leave(self.number);
        org.locks.release(&self.parents);
    }
}

/// Answers a call; it is executed to its end even if the client hangs up meanwhile.
pub(crate) async fn answer(shared: Arc<Shared>, call: Call) -> (Answer, Fate) {
    let task = tokio::spawn(async move {
        match admit(&shared, &call) {
            Ok(admitted) => execute(&shared, &call, admitted).await,
            Err(refused) => refused,
        }
    });
    task.await.unwrap_or_else(|error| {
        let message = format!("the simulator failed: {error}");
        let answer = ApiError::new(500, "UNKNOWN_EXCEPTION", message).into();
        (answer, Fate::Delivered)
    })
}

async fn execute(shared: &Arc<Shared>, call: &Call, admitted: Admitted) -> (Answer, Fate) {
    let Admitted {
        target,
        mut began,
        delay_ms,
        late_ms,
        twice,
        fate,
        stay,
    } = admitted;
    if delay_ms > 0 {
        shared.clock.sleep_until_ms(began.at_ms + delay_ms).await;
    }
    let (answer, now_ms) = {
        let mut org = shared.org();
        let now_ms = shared.clock.now_ms();
        let mut once = |began: &Began| {
            route::answer(&mut org, call, &target, began, now_ms)
                .unwrap_or_else(|error| call.refusal(error))
        };
        let first = once(&began);
        let answer = if twice {
            began.request += 1;
            once(&began)
        } else {
            first
        };
        worker::attend(shared, &mut org);
        let usage = org.limit_info(now_ms);
        let answer = answer.with("sforce-limit-info", usage).dated(now_ms);
        (answer, now_ms)
    };
    if late_ms > 0 {
        shared.clock.sleep_until_ms(now_ms + late_ms).await;
    }
    drop(stay);
    (answer, fate)
}

fn admit(shared: &Arc<Shared>, call: &Call) -> Result<Admitted, (Answer, Fate)> {
    let mut org = shared.org();
    let now_ms = shared.clock.now_ms();
    let refused = |org: &mut Org, error: ApiError| {
        let usage = org.limit_info(now_ms);
        let answer = call.refusal(error).with("sforce-limit-info", usage);
        (answer.dated(now_ms), Fate::Delivered)
    };
    if let Err(error) = check_session(&mut org, call, now_ms) {
        org.meter.refusal("session");
        return Err((call.refusal(error).dated(now_ms), Fate::Delivered));
    }
    let target = Target::of(call);
    let cost = target
        .as_ref()
        .map_or(1, |target| composite::cost(call, target));
    let number = match count(&mut org, now_ms, cost) {
        Ok(number) => number,
        Err(error) => return Err(refused(&mut org, error)),
    };
    let mut stay = Stay {
        shared: Arc::clone(shared),
        number,
        parents: HashSet::new(),
    };
    let kind = target
        .as_ref()
        .map_or("unknown", |target| target.kind(&call.method));
    org.meter.call(kind);
    let early = match target {
        Err(error) => Err(refused(&mut org, error)),
        Ok(target) => match misfortune(&mut org, call, now_ms) {
            Some(fated) => Err(fated),
            None => Ok(target),
        },
    };
    let target = match early {
        Ok(target) => target,
        Err(answer) => {
            // Leaving takes the lock itself.
            drop(org);
            drop(stay);
            return Err(answer);
        }
    };
    let writes = route::writes(&target, call);
    let twice = writes && org.faults.strikes(Fault::Twice);
    org.requests += 1 + u64::from(twice);
    let mut began = Began {
        at_ms: now_ms,
        request: org.requests - u64::from(twice),
        client: call.client(),
        allow_duplicates: call.allows_duplicates(),
        contended: HashSet::new(),
    };
    if writes && org.faults.is_set(Fault::LockSiblings) {
        let parents = call
            .json()
            .map(|body| locks::parents(&body, &org.tables))
            .unwrap_or_default();
        began.contended = org.locks.take(&parents);
        stay.parents = parents;
    }
    let (delay_ms, late_ms) = delays(&mut org, writes);
    let fate = fate(&mut org, target.own_fault(&call.method));
    drop(org);
    Ok(Admitted {
        target,
        began,
        delay_ms,
        late_ms,
        twice,
        fate,
        stay,
    })
}

fn check_session(org: &mut Org, call: &Call, now_ms: u64) -> Result<(), ApiError> {
    let token = call.header("authorization").and_then(|header| {
        header
            .strip_prefix("Bearer ")
            .or_else(|| header.strip_prefix("OAuth "))
    });
    let Some(token) = token else {
        let message = "INVALID_HEADER_TYPE";
        return Err(ApiError::new(401, "INVALID_AUTH_HEADER", message));
    };
    if org.sessions.touch(token.trim(), now_ms) {
        return Ok(());
    }
    let message = "Session expired or invalid";
    Err(ApiError::new(401, "INVALID_SESSION_ID", message))
}

/// Lets the call in and counts it, or refuses it with the one code that both limits share.
fn count(org: &mut Org, now_ms: u64, cost: u64) -> Result<u64, ApiError> {
    let code = "REQUEST_LIMIT_EXCEEDED";
    let Some(number) = org.in_flight.enter(now_ms) else {
        org.meter.refusal("long-calls");
        let message = "ConcurrentPerOrgLongTxn Limit exceeded.";
        return Err(ApiError::new(403, code, message));
    };
    if !org.ledger.take(now_ms, cost) {
        org.in_flight.leave(number);
        org.meter.refusal("daily");
        let message = "TotalRequests Limit exceeded.";
        return Err(ApiError::new(403, code, message));
    }
    Ok(number)
}

/// Faults that keep the call from being executed at all.
fn misfortune(org: &mut Org, call: &Call, now_ms: u64) -> Option<(Answer, Fate)> {
    if org.faults.strikes(Fault::Reset) {
        return Some((Answer::empty(200), Fate::Reset));
    }
    if org.faults.strikes(Fault::Refuse) {
        let answer = call.refusal(ApiError::new(
            503,
            "SERVER_UNAVAILABLE",
            "Server Unavailable",
        ));
        return Some((answer.dated(now_ms), Fate::Delivered));
    }
    if org.faults.strikes(Fault::Html) {
        let status = if org.faults.draw(2) == 0 { 200 } else { 503 };
        let page = "<!DOCTYPE html><html><head><title>Maintenance</title></head>\
                    <body><h1>We are down for maintenance.</h1></body></html>";
        let answer = Answer::text(status, "text/html; charset=UTF-8", page);
        return Some((answer.dated(now_ms), Fate::Delivered));
    }
    None
}

/// How long the call takes before it is executed, and after.
fn delays(org: &mut Org, writes: bool) -> (u64, u64) {
    let mut delay_ms = 0;
    if org.faults.strikes(Fault::Slow) {
        delay_ms += org.options.slow_ms;
    }
    if writes && org.options.late_visible_ms_max > 0 {
        let most_ms = org.options.late_visible_ms_max;
        delay_ms += org.faults.draw(most_ms + 1);
    }
    let late = org.faults.strikes(Fault::Late);
    (delay_ms, if late { org.options.late_ms } else { 0 })
}

fn fate(org: &mut Org, own: Option<Fault>) -> Fate {
    let faults = &mut org.faults;
    if own.is_some_and(|fault| faults.strikes(fault)) || faults.strikes(Fault::Drop) {
        Fate::Closed
    } else if faults.strikes(Fault::Truncate) {
        Fate::Truncated
    } else {
        Fate::Delivered
    }
}
