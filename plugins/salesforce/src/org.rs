//! The org that a call speaks to: requests as this plugin makes them, answers as JSON.

use serde::de::DeserializeOwned;
use tidegate_sdk::{Context, Fault, Gateway, Http, HttpResponse, Request, Response};

use crate::ahead::Ahead;
use crate::answer;
use crate::config::Config;
use crate::part::Part;
use crate::stamp;

/// Types and rights of an object rarely change; what did change shows in errors, and then we ask again.
const DESCRIBE_AGE_MS_MAX: u32 = 3_600_000;

/// How old a describe may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Within the last hour.
    Recent,
    /// What is kept of it has proved wrong.
    Now,
}

/// One call's way to Salesforce.
pub(crate) struct Org<'a> {
    pub(crate) gateway: &'a dyn Gateway,
    pub(crate) config: Config,
    /// The host's clock, for pauses only.
    pub(crate) now_us: i64,
    /// The most rows that one answer may hold.
    pub(crate) rows_max: u32,
    /// Answers to what was asked ahead.
    pub(crate) ahead: Ahead,
}

/// A body that was understood, and the vendor's clock.
pub(crate) struct Told<T> {
    pub(crate) body: T,
    /// The answer's `Date`, microseconds since 1970. An answer from the cache tells an earlier time, which
    /// only widens what is read again.
    pub(crate) clock_us: Option<i64>,
}

/// Answers to reads that were made together, in order.
pub(crate) struct Together<T> {
    pub(crate) answers: Vec<Result<Told<T>, Fault>>,
    /// Some were kept by the host from earlier.
    pub(crate) recalled: bool,
}

impl<'a> Org<'a> {
    pub(crate) fn new(gateway: &'a dyn Gateway, context: &Context) -> Result<Self, Fault> {
        Ok(Self {
            gateway,
            config: Config::read(context)?,
            now_us: context.now,
            rows_max: context.rows_max.max(1),
            ahead: Ahead::default(),
        })
    }

    /// One read; `what` names it for a person.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        request: impl Into<Request>,
        what: &str,
    ) -> Result<Told<T>, Fault> {
        let request = request.into();
        let answer = match self.ahead.take(&request) {
            Some(answer) => answer,
            None => tidegate_sdk::fetch(self.gateway, request).and_then(Response::into_http),
        };
        understand(answer, what)
    }

    /// Reads that do not depend on each other, together.
    pub(crate) fn ask_all<T: DeserializeOwned>(
        &self,
        requests: &[Request],
        what: &str,
    ) -> Result<Together<T>, Fault> {
        let answers = self.gateway.fetch_batch(requests);
        if answers.len() != requests.len() {
            return Err(Fault::broken(
                "wrong-answer",
                "the host must answer every request once; report this to its makers",
            ));
        }
        let is_old = |answer: &Result<Response, Fault>| {
            let age_ms = answer.as_ref().map(|response| response.age_ms);
            age_ms.is_ok_and(|age_ms| age_ms > 0)
        };
        Ok(Together {
            recalled: answers.iter().any(is_old),
            answers: answers
                .into_iter()
                .map(|answer| understand(answer.and_then(Response::into_http), what))
                .collect(),
        })
    }

    pub(crate) fn query(&self, soql: &str) -> Part {
        Part::get(self.config.path("/query")).query("q", soql)
    }

    /// Sees what lies in the recycle bin as well.
    pub(crate) fn query_all(&self, soql: &str) -> Part {
        Part::get(self.config.path("/queryAll")).query("q", soql)
    }

    /// Describes an object as it is now.
    pub(crate) fn describe(&self, object: &str) -> Part {
        Part::get(self.config.path(&format!("/sobjects/{object}/describe")))
    }

    /// Describes an object by itself, no older than asked.
    pub(crate) fn describe_as_of(&self, object: &str, age: Age) -> Http {
        let age_ms_max = match age {
            Age::Recent => DESCRIBE_AGE_MS_MAX,
            Age::Now => 0,
        };
        let part = self.describe(object);
        Http::get(part.path).cached(age_ms_max, [format!("{object}/describe")])
    }
}

fn understand<T: DeserializeOwned>(
    answer: Result<HttpResponse, Fault>,
    what: &str,
) -> Result<Told<T>, Fault> {
    let response = answer?;
    if !response.is_success() {
        return Err(answer::fault(&response, what));
    }
    Ok(Told {
        clock_us: response.header("date").and_then(stamp::parse_http),
        body: response.json().map_err(|fault| Fault {
            message: format!("{what}: {}", fault.message),
            ..fault
        })?,
    })
}
