//! HubSpot: a burst per app, a day per account that ends at its own midnight, and a search limit that no header tells.

use jiff::tz::TimeZone;
use serde_json::json;

use crate::answer::Answer;
use crate::meters::meter::Rule;
use crate::meters::options::Span;
use crate::meters::profile::{Call, Limit, Profile, Reading, Refused, Scope, read};

#[derive(Debug)]
pub(crate) struct HubSpot;

impl Profile for HubSpot {
    fn limits(&self) -> Vec<Limit> {
        vec![
            Limit {
                name: "burst",
                units: 190,
                rule: Rule::Window { ms: 10_000 },
                scope: Scope::Credential,
                source: "API usage guidelines and limits: 190 per 10 s and app in Professional and Enterprise; 100 in \
                         Free and Starter, 250 with the add-on, 110 for a public app",
            },
            Limit {
                name: "search",
                units: 5,
                rule: Rule::Window { ms: 1_000 },
                scope: Scope::Account,
                source: "CRM search guide: 5 requests per second and account, across apps",
            },
            Limit {
                name: "daily",
                units: 625_000,
                // An account in New York: the time zone is a setting of the account.
                rule: Rule::Day {
                    zone: TimeZone::get("America/New_York").unwrap_or(TimeZone::UTC),
                },
                scope: Scope::Account,
                source: "API usage guidelines and limits: 625,000 a day in Professional, by the account's time zone; \
                         250,000 in Free and Starter, 1,000,000 in Enterprise",
            },
        ]
    }

    fn weighs(&self, call: &Call, limit: &str) -> u64 {
        match limit {
            "search" => u64::from(call.is_search()),
            "burst" => u64::from(!call.is_search()),
            _ => 1,
        }
    }

    fn takes(&self, call: &Call) -> Span {
        if call.writes() {
            Span::new(250, 60)
        } else {
            Span::new(60, 30)
        }
    }

    fn headers(&self, call: &Call, readings: &[Reading]) -> Vec<(&'static str, String)> {
        if call.is_search() {
            return Vec::new();
        }
        let (burst, daily) = (read(readings, "burst"), read(readings, "daily"));
        vec![
            ("x-hubspot-ratelimit-interval-milliseconds", "10000".into()),
            ("x-hubspot-ratelimit-max", burst.limit.to_string()),
            ("x-hubspot-ratelimit-remaining", burst.left().to_string()),
            ("x-hubspot-ratelimit-daily", daily.limit.to_string()),
            (
                "x-hubspot-ratelimit-daily-remaining",
                daily.left().to_string(),
            ),
        ]
    }

    /// No Retry-After is documented: the policy alone says how long.
    fn refuse(&self, refused: &Refused) -> Answer {
        let (policy, words) = match refused.by {
            "daily" => ("DAILY", "daily"),
            "search" => ("SECONDLY", "secondly"),
            _ => ("TEN_SECONDLY_ROLLING", "ten_secondly_rolling"),
        };
        let body = json!({
            "status": "error",
            "message": format!("You have reached your {words} limit."),
            "errorType": "RATE_LIMIT",
            "correlationId": refused.correlation(),
            "policyName": policy,
            "requestId": refused.correlation(),
        });
        Answer::json(429, body)
    }

    fn unauthorized(&self) -> Answer {
        let body = json!({
            "status": "error",
            "message": "Authentication credentials not found. This API supports OAuth 2.0 authentication.",
            "correlationId": "00000000-0000-4000-8000-000000000000",
            "category": "INVALID_AUTHENTICATION",
        });
        Answer::json(401, body)
    }

    fn failure(&self) -> Answer {
        Answer::text(503, "text/plain", "Service Unavailable")
    }

    fn done(&self, call: &Call) -> Answer {
        match (call.method.as_str(), call.is_search()) {
            ("GET", _) => Answer::json(200, json!({"results": []})),
            ("POST", true) => Answer::json(200, json!({"total": 0, "results": []})),
            ("POST", false) => Answer::json(200, json!({"status": "COMPLETE", "results": []})),
            ("DELETE", _) => Answer::empty(204),
            _ => Answer::json(
                200,
                json!({"id": "512", "properties": {}, "archived": false}),
            ),
        }
    }
}
