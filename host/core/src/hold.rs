//! What people hold back: a sync, an endpoint, an account, one of its pools, or everything, until they let it go on.
//!
//! A held sync sends nothing and goes on being captured, until its queue is at its bound; a held endpoint is not
//! called at all, so that its syncs neither send nor read there, and neither are those of a held account. From a held
//! pool nothing is drawn; what draws on others goes on. What is let go on does not start all at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every endpoint.
    All,
    Sync(String),
    Endpoint(String),
    /// All endpoints that share it at the vendor.
    Account(String),
    /// A pool, by the name of an endpoint that draws on it.
    Pool {
        endpoint: String,
        pool: String,
    },
}

/// An endpoint, and the account that it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub endpoint: &'a str,
    pub account: &'a str,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Sync(name) => write!(f, "sync {name}"),
            Self::Endpoint(name) => write!(f, "endpoint {name}"),
            Self::Account(name) => write!(f, "account {name:?}"),
            Self::Pool { endpoint, pool } => write!(f, "pool {endpoint}.{pool}"),
        }
    }
}

impl Scope {
    /// Whether a sync between these two places goes on when it is let go on.
    pub fn concerns(&self, sync: &str, places: [Place<'_>; 2]) -> bool {
        match self {
            Self::Sync(name) => name == sync,
            Self::Pool { endpoint, .. } => places.iter().any(|place| place.endpoint == endpoint),
            Self::All | Self::Endpoint(_) | Self::Account(_) => {
                places.iter().any(|place| self.silences(*place))
            }
        }
    }

    /// Whether an endpoint is not called because of it.
    pub fn silences(&self, place: Place<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Sync(_) | Self::Pool { .. } => false,
            Self::Endpoint(name) => name == place.endpoint,
            Self::Account(name) => name == place.account,
        }
    }
}

/// Who holds it, since when, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub by: String,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// As the person put it; may be empty.
    pub why: String,
}

/// All that is held at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds(BTreeMap<Scope, Hold>);

impl Holds {
    /// False when it is held already: whoever came first stands.
    pub fn place(&mut self, scope: Scope, hold: Hold) -> bool {
        let free = !self.0.contains_key(&scope);
        self.0.entry(scope).or_insert(hold);
        free
    }

    /// Takes a hold away, or every one for `All`. Returns how many there were.
    pub fn lift(&mut self, scope: &Scope) -> usize {
        if *scope == Scope::All {
            return std::mem::take(&mut self.0).len();
        }
        usize::from(self.0.remove(scope).is_some())
    }

    /// Why a sync between these two places sends nothing.
    pub fn over_sync(&self, sync: &str, places: [Place<'_>; 2]) -> Option<(&Scope, &Hold)> {
        let sends_not = |scope: &Scope| match scope {
            Scope::Pool { .. } => false,
            _ => scope.concerns(sync, places),
        };
        self.iter().find(|(scope, _)| sends_not(scope))
    }

    /// Why an endpoint is not called.
    pub fn over_endpoint(&self, place: Place<'_>) -> Option<(&Scope, &Hold)> {
        self.iter().find(|(scope, _)| scope.silences(place))
    }

    pub fn has(&self, scope: &Scope) -> bool {
        self.0.contains_key(scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &Hold)> {
        self.0.iter()
    }
}

const STEP_MS: u64 = 250;
const SPREAD_MS_MAX: u64 = 30_000;

/// When the sync in this place, of so many that were let go on together, starts: the first one at once, the others
/// one after the other, and the last after half a minute at most.
pub fn restart_after_ms(place: usize, of: usize) -> u64 {
    let place = place as u64;
    let spread_ms = (of as u64).saturating_mul(STEP_MS).min(SPREAD_MS_MAX);
    place.saturating_mul(spread_ms) / (of as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(by: &str) -> Hold {
        Hold {
            by: by.to_owned(),
            ..Hold::default()
        }
    }

    fn place<'a>(endpoint: &'a str, account: &'a str) -> Place<'a> {
        Place { endpoint, account }
    }

    #[test]
    fn each_scope_holds_what_it_names() {
        let all = || Scope::All;
        let sync = || Scope::Sync("people".to_owned());
        let endpoint = || Scope::Endpoint("crm".to_owned());
        let other = || Scope::Endpoint("erp".to_owned());
        let account = || Scope::Account("vendor acme".to_owned());
        let pool = || Scope::Pool {
            endpoint: "crm".to_owned(),
            pool: "daily".to_owned(),
        };
        // Scope, whether the sync sends nothing, whether the crm and the db are not called.
        let cases = [
            (all(), true, true, true),
            (sync(), true, false, false),
            (endpoint(), true, true, false),
            (other(), false, false, false),
            (account(), true, true, false),
            (pool(), false, false, false),
        ];
        let places = [place("db", "file"), place("crm", "vendor acme")];
        for (scope, sends_not, crm, db) in cases {
            let mut holds = Holds::default();
            assert!(holds.place(scope.clone(), hold("first")), "{scope}");
            assert!(!holds.place(scope.clone(), hold("second")), "{scope}");
            let over = holds.over_sync("people", places);
            assert_eq!(over.is_some(), sends_not, "{scope}");
            assert!(over.is_none_or(|(_, hold)| hold.by == "first"), "{scope}");
            assert_eq!(holds.over_endpoint(places[1]).is_some(), crm, "{scope}");
            assert_eq!(holds.over_endpoint(places[0]).is_some(), db, "{scope}");
            assert_eq!(holds.lift(&scope), 1, "{scope}");
            assert_eq!(holds, Holds::default(), "{scope}");
        }
    }

    #[test]
    fn only_its_own_hold_is_lifted_but_all_lifts_every_one() {
        let mut holds = Holds::default();
        holds.place(Scope::Sync("people".to_owned()), hold("a"));
        holds.place(Scope::Endpoint("crm".to_owned()), hold("b"));
        assert_eq!(holds.lift(&Scope::Sync("people".to_owned())), 1);
        let places = [place("db", "file"), place("crm", "vendor acme")];
        let (scope, hold) = holds.over_sync("people", places).expect("held");
        assert_eq!((scope.to_string(), &*hold.by), ("endpoint crm".into(), "b"));
        assert_eq!(holds.lift(&Scope::All), 1);
        assert_eq!(holds, Holds::default());
    }

    #[test]
    fn what_goes_on_together_starts_one_after_the_other() {
        for of in [1, 2, 100, 5_000] {
            let starts: Vec<u64> = (0..of).map(|place| restart_after_ms(place, of)).collect();
            assert_eq!(starts[0], 0);
            assert!(starts.is_sorted());
            assert!(starts[of - 1] < SPREAD_MS_MAX);
            let at_once = starts.iter().filter(|ms| **ms == starts[of / 2]).count();
            assert!(at_once <= of.div_ceil(120), "{at_once} of {of} at once");
        }
    }
}
