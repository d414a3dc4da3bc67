//! What a vendor is to its meters: its limits, what a call weighs in each, and how it speaks.

use std::fmt;
use std::str::FromStr;

use super::meter::Rule;
use super::options::Span;
use super::vendors;
use crate::answer::Answer;

/// A vendor whose meters are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    Salesforce,
    HubSpot,
    Dataverse,
    Pipedrive,
    Zoho,
}

impl Vendor {
    /// Every vendor.
    pub const ALL: [Self; 5] = [
        Self::Salesforce,
        Self::HubSpot,
        Self::Dataverse,
        Self::Pipedrive,
        Self::Zoho,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Salesforce => "salesforce",
            Self::HubSpot => "hubspot",
            Self::Dataverse => "dataverse",
            Self::Pipedrive => "pipedrive",
            Self::Zoho => "zoho",
        }
    }

    pub(crate) fn profile(self) -> &'static dyn Profile {
        match self {
            Self::Salesforce => &vendors::Salesforce,
            Self::HubSpot => &vendors::HubSpot,
            Self::Dataverse => &vendors::Dataverse,
            Self::Pipedrive => &vendors::Pipedrive,
            Self::Zoho => &vendors::Zoho,
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Vendor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut vendors = Self::ALL.into_iter();
        let found = vendors.find(|vendor| vendor.name() == text);
        found.ok_or_else(|| format!("there are no meters of a vendor called {text:?}"))
    }
}

/// Whose calls a meter counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of everybody who uses the account.
    Account,
    /// Those that carry one credential: an app, a token or a user.
    Credential,
}

/// One limit.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) units: u64,
    pub(crate) rule: Rule,
    pub(crate) scope: Scope,
    /// Where the figure comes from.
    pub(crate) source: &'static str,
}

/// A call as the vendor weighs it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Upper-case.
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// Records that the body carries.
    pub(crate) rows: u64,
    /// Those of them that have a number for an id.
    pub(crate) ids: Vec<u64>,
    /// As sent; empty where none was.
    pub(crate) credential: String,
}

impl Call {
    pub(crate) fn is_search(&self) -> bool {
        self.path.ends_with("/search")
    }

    pub(crate) fn writes(&self) -> bool {
        self.method != "GET" && !self.is_search()
    }
}

/// A meter's state, as an answer's headers tell it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) name: &'static str,
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

impl Reading {
    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The reading of a meter that the vendor is known to have.
pub(crate) fn read(readings: &[Reading], name: &str) -> Reading {
    let none = Reading {
        name: "",
        limit: 0,
        used: 0,
    };
    let mut readings = readings.iter();
    let found = readings.find(|reading| reading.name == name);
    found.copied().unwrap_or(none)
}

/// Why a call was not let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    pub(crate) by: &'static str,
    pub(crate) limit: u64,
    /// Until there is room, if nobody else comes and somebody can know.
    pub(crate) free_in_ms: Option<u64>,
    /// Refusals of this credential since the last call that was let in, this one included.
    pub(crate) in_a_row: u64,
    /// Tells this call from others.
    pub(crate) number: u64,
}

impl Refused {
    /// As vendors tell calls apart.
    pub(crate) fn correlation(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.number)
    }
}

/// How one vendor counts and speaks.
pub(crate) trait Profile: Sync {
    fn limits(&self) -> Vec<Limit>;

    /// Units of a call in one of the limits; 0 where it does not count.
    fn weighs(&self, call: &Call, limit: &str) -> u64;

    /// How long a call is at work, unless it was said otherwise. No vendor tells; these are usual ones.
    fn takes(&self, call: &Call) -> Span;

    /// What the request header is called that carries the credential.
    fn credential_header(&self) -> &'static str {
        "authorization"
    }

    /// Headers of every answer to a call that had a credential, refused or not.
    fn headers(&self, call: &Call, readings: &[Reading]) -> Vec<(&'static str, String)>;

    fn refuse(&self, refused: &Refused) -> Answer;

    /// The credential is not, or no longer, good.
    fn unauthorized(&self) -> Answer;

    /// The vendor has a failure of its own.
    fn failure(&self) -> Answer;

    /// A call that was carried out, with as little as a client can live on.
    fn done(&self, call: &Call) -> Answer;

    /// Calls that cost nothing and need no credential, such as those for a token.
    fn free(&self, _call: &Call) -> Option<Answer> {
        None
    }
}
