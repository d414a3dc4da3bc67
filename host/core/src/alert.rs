//! What people are told unasked, and how often: once when something begins to be wrong, once when it is over, and
//! what has no end at most once in a while.
//!
//! An alert carries names, codes and words of ours. A vendor's words may quote a customer's value, so they stay out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What has no end is told again after so long.
const AGAIN_MS: u64 = 600_000;
/// Moments that are remembered at most; subjects are as many as a config names.
const MOMENTS_MAX: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// An allowance runs out, and less urgent work is held back.
    AllowanceLevel,
    /// A sync, or one direction of it, does not go on without a person.
    SyncStopped,
    /// Records that wait for a person become more.
    DeadLetters,
    /// An endpoint fails so often that it is left alone for a while.
    BreakerOpen,
    CredentialRevoked,
    /// A source may have lost changes before they were read.
    ChangesMissed,
}

/// Whom an alert is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

impl Subject {
    pub fn sync(name: &str) -> Self {
        Self {
            sync: Some(name.to_owned()),
            ..Self::default()
        }
    }

    pub fn endpoint(name: &str) -> Self {
        Self {
            endpoint: Some(name.to_owned()),
            ..Self::default()
        }
    }

    /// One direction of a sync, by the endpoint that it writes to.
    pub fn direction(sync: &str, endpoint: &str) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            ..Self::sync(sync)
        }
    }

    pub fn pool(account: &str, pool: &str) -> Self {
        Self {
            account: Some(account.to_owned()),
            pool: Some(pool.to_owned()),
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Alert {
    pub event: Event,
    #[serde(flatten)]
    pub subject: Subject,
    /// It was told before, and has ended.
    pub over: bool,
    /// Stable; what exactly is wrong.
    pub code: String,
    pub message: String,
}

impl Alert {
    pub fn new(event: Event, subject: Subject, code: &str, message: impl Into<String>) -> Self {
        Self {
            event,
            subject,
            over: false,
            code: plain(code).to_owned(),
            message: message.into(),
        }
    }
}

/// A code is a word; what else a vendor puts there stays here.
fn plain(code: &str) -> &str {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let word = !code.is_empty() && code.len() <= 64 && code.chars().all(letter);
    if word { code } else { "other" }
}

type Key = (Event, Subject);

/// All that is wrong at a moment.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    standing: BTreeMap<Key, Alert>,
    /// When what has no end was told.
    moments: BTreeMap<Key, u64>,
}

impl Alarms {
    /// Something is wrong until it is cleared. To be told unless it is known with the same code.
    pub fn raise(&mut self, alert: Alert) -> Option<Alert> {
        let key = (alert.event, alert.subject.clone());
        let before = self.standing.insert(key, alert.clone());
        before
            .is_none_or(|before| before.code != alert.code)
            .then_some(alert)
    }

    /// It is over. To be told if it had been raised.
    pub fn clear(&mut self, event: Event, subject: &Subject) -> Option<Alert> {
        let alert = self.standing.remove(&(event, subject.clone()))?;
        Some(Alert {
            over: true,
            ..alert
        })
    }

    /// Something happened that has no end. To be told unless it was just now.
    pub fn moment(&mut self, now_ms: u64, alert: Alert) -> Option<Alert> {
        let key = (alert.event, alert.subject.clone());
        if self.moments.len() >= MOMENTS_MAX {
            self.moments.retain(|_, at_ms| now_ms < *at_ms + AGAIN_MS);
        }
        let last_ms = self.moments.get(&key);
        if last_ms.is_some_and(|last_ms| now_ms < last_ms + AGAIN_MS) {
            return None;
        }
        self.moments.insert(key, now_ms);
        Some(alert)
    }

    /// Takes over what was wrong when an earlier host ended: it was told, and its end is still to be told.
    pub fn restore(&mut self, standing: impl IntoIterator<Item = Alert>) {
        let known = standing.into_iter();
        self.standing
            .extend(known.map(|alert| ((alert.event, alert.subject.clone()), alert)));
    }

    /// What is wrong now.
    pub fn standing(&self) -> impl Iterator<Item = &Alert> {
        self.standing.values()
    }
}

/// Whether so many, after one more, are worth telling: the first, then every time they have become ten times as many.
pub fn is_growth(count: u64) -> bool {
    count > 0 && count == 10_u64.pow(count.ilog10())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_told_once_and_its_end_once() {
        let mut alarms = Alarms::default();
        let people = Subject::direction("people", "crm");
        let stopped = |code: &str| Alert::new(Event::SyncStopped, people.clone(), code, "stopped");
        assert_eq!(stopped("Ada <ada@example.org> exists").code, "other");
        assert_eq!(alarms.raise(stopped("a")), Some(stopped("a")));
        assert_eq!(alarms.raise(stopped("a")), None);
        assert_eq!(
            alarms.raise(stopped("b")),
            Some(stopped("b")),
            "another one"
        );
        assert_eq!(alarms.standing().count(), 1);
        assert_eq!(alarms.clear(Event::CredentialRevoked, &people), None);
        let over = alarms.clear(Event::SyncStopped, &people).expect("its end");
        assert!(over.over && over.code == "b");
        assert_eq!(alarms.clear(Event::SyncStopped, &people), None);
        assert_eq!(alarms.raise(stopped("b")), Some(stopped("b")));
        // The next host goes on from there.
        let mut next = Alarms::default();
        next.restore(alarms.standing().cloned());
        assert_eq!(next.raise(stopped("b")), None);
        assert!(next.clear(Event::SyncStopped, &people).is_some());
    }

    #[test]
    fn what_has_no_end_is_told_now_and_then() {
        let mut alarms = Alarms::default();
        let missed = |sync: &str| {
            let subject = Subject::sync(sync);
            Alert::new(Event::ChangesMissed, subject, "changes-missed", "missed")
        };
        let told =
            |alarms: &mut Alarms, now_ms, sync: &str| alarms.moment(now_ms, missed(sync)).is_some();
        assert!(told(&mut alarms, 0, "people"));
        assert!(!told(&mut alarms, AGAIN_MS - 1, "people"));
        assert!(told(&mut alarms, AGAIN_MS - 1, "deals"));
        assert!(told(&mut alarms, AGAIN_MS, "people"));
        assert_eq!(alarms.standing().count(), 0);
        for sync in 0..10_000 {
            told(&mut alarms, 10 * AGAIN_MS * sync, &sync.to_string());
        }
        assert!(alarms.moments.len() <= MOMENTS_MAX);
    }

    #[test]
    fn growth_is_told_at_powers_of_ten() {
        let told: Vec<u64> = (0..2_000).filter(|count| is_growth(*count)).collect();
        assert_eq!(told, [1, 10, 100, 1_000]);
    }
}
