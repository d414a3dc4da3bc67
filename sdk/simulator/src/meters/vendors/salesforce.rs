//! Salesforce: a rolling day of calls for the whole org, and a cap on those that last; one code for both.

use serde_json::json;

use crate::answer::Answer;
use crate::meters::meter::Rule;
use crate::meters::options::Span;
use crate::meters::profile::{Call, Limit, Profile, Reading, Refused, Scope, read};

#[derive(Debug)]
pub(crate) struct Salesforce;

impl Profile for Salesforce {
    fn limits(&self) -> Vec<Limit> {
        vec![
            Limit {
                name: "daily",
                units: 15_000,
                rule: Rule::Window { ms: 86_400_000 },
                scope: Scope::Account,
                source: "App Limits Cheatsheet, API Request Limits and Allocations: 15,000 in Developer Edition; \
                         100,000 and more, by licences, in Enterprise and Unlimited",
            },
            Limit {
                name: "long-running",
                units: 25,
                rule: Rule::Lasting { after_ms: 20_000 },
                scope: Scope::Account,
                source: "App Limits Cheatsheet, Concurrent API Request Limits: 25 that last 20 s or more in production \
                         and sandbox orgs, 5 in Developer Edition and trials",
            },
        ]
    }

    /// A composite is one call; each part of a batch counts.
    fn weighs(&self, call: &Call, limit: &str) -> u64 {
        if limit == "daily" && call.path.ends_with("/composite/batch") {
            return call.rows.max(1);
        }
        1
    }

    fn takes(&self, call: &Call) -> Span {
        if call.path.ends_with("/composite/graph") {
            Span::new(2_000, 40_000)
        } else if call.writes() {
            Span::new(200, 900)
        } else {
            Span::new(60, 200)
        }
    }

    /// On refusals too, which is unverified.
    fn headers(&self, _call: &Call, readings: &[Reading]) -> Vec<(&'static str, String)> {
        let daily = read(readings, "daily");
        let usage = format!("api-usage={}/{}", daily.used, daily.limit);
        vec![("sforce-limit-info", usage)]
    }

    /// Never a 429, and never a word on how long.
    fn refuse(&self, refused: &Refused) -> Answer {
        let which = match refused.by {
            "daily" => "TotalRequests",
            _ => "ConcurrentPerOrgLongTxn",
        };
        error(
            403,
            "REQUEST_LIMIT_EXCEEDED",
            &format!("{which} Limit exceeded."),
        )
    }

    fn unauthorized(&self) -> Answer {
        error(401, "INVALID_SESSION_ID", "Session expired or invalid")
    }

    /// The wording is unverified.
    fn failure(&self) -> Answer {
        error(503, "SERVER_UNAVAILABLE", "Server Unavailable")
    }

    fn done(&self, call: &Call) -> Answer {
        match call.method.as_str() {
            "GET" => Answer::json(200, json!({"totalSize": 0, "done": true, "records": []})),
            "DELETE" => Answer::empty(204),
            _ => Answer::json(200, json!([])),
        }
    }

    /// A token, which is not counted, and the list of versions.
    fn free(&self, call: &Call) -> Option<Answer> {
        match call.path.trim_end_matches('/') {
            "/services/oauth2/token" => {
                let body = json!({
                    "access_token": "00D000000000000!simulated", "signature": "simulated", "scope": "api",
                    "token_type": "Bearer", "issued_at": "0",
                });
                Some(Answer::json(200, body))
            }
            "/services/data" => {
                let version = json!({"label": "Spring '24", "url": "/services/data/v60.0", "version": "60.0"});
                Some(Answer::json(200, json!([version])))
            }
            _ => None,
        }
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, json!([{"message": message, "errorCode": code}]))
}
