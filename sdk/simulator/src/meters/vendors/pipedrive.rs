//! Pipedrive: tokens a day for the company, weighed by what a call does, and a burst per token; who ignores its
//! refusals gets a page instead of an answer.

use jiff::tz::TimeZone;
use serde_json::json;

use crate::answer::Answer;
use crate::meters::meter::Rule;
use crate::meters::options::Span;
use crate::meters::profile::{Call, Limit, Profile, Reading, Refused, Scope, read};

/// Refusals in a row after which the page comes; the number is unverified.
const IGNORED_MAX: u64 = 20;

#[derive(Debug)]
pub(crate) struct Pipedrive;

impl Profile for Pipedrive {
    fn limits(&self) -> Vec<Limit> {
        vec![
            Limit {
                name: "burst",
                units: 160,
                rule: Rule::Window { ms: 2_000 },
                scope: Scope::Credential,
                source: "Rate limiting: 160 per 2 s and token with OAuth on Growth; from 20 with an API token on Lite \
                         to 480 with OAuth on Ultimate",
            },
            Limit {
                name: "search",
                units: 10,
                rule: Rule::Window { ms: 2_000 },
                scope: Scope::Credential,
                source: "Rate limiting: 10 searches per 2 s on all plans",
            },
            Limit {
                name: "daily",
                units: 600_000,
                rule: Rule::Day {
                    zone: TimeZone::UTC,
                },
                scope: Scope::Account,
                source: "Rate limiting: 30,000 tokens x 2 (Growth) x 10 seats, until midnight of the server; its time \
                         zone is not named, UTC is assumed",
            },
        ]
    }

    fn weighs(&self, call: &Call, limit: &str) -> u64 {
        match limit {
            "search" => u64::from(call.is_search()),
            "burst" => u64::from(!call.is_search()),
            _ => tokens(call),
        }
    }

    fn takes(&self, call: &Call) -> Span {
        if call.method == "GET" {
            Span::new(20, 10)
        } else {
            Span::new(40, 10)
        }
    }

    fn credential_header(&self) -> &'static str {
        "x-api-token"
    }

    /// The reset's unit is unverified; the daily ones, which are undocumented and may be missing, are left out.
    fn headers(&self, call: &Call, readings: &[Reading]) -> Vec<(&'static str, String)> {
        let name = if call.is_search() { "search" } else { "burst" };
        let burst = read(readings, name);
        vec![
            ("x-ratelimit-limit", burst.limit.to_string()),
            ("x-ratelimit-remaining", burst.left().to_string()),
            ("x-ratelimit-reset", "2".to_owned()),
        ]
    }

    /// The body of the first kind is unverified.
    fn refuse(&self, refused: &Refused) -> Answer {
        if refused.in_a_row > IGNORED_MAX {
            let page = "<!DOCTYPE html><html><head><title>Access denied | Cloudflare</title></head>\
                        <body><h1>Error 1015</h1><p>You are being rate limited</p></body></html>";
            return Answer::text(403, "text/html; charset=UTF-8", page);
        }
        let body = json!({
            "success": false,
            "error": "request over limit",
            "errorCode": 429,
        });
        Answer::json(429, body)
    }

    fn unauthorized(&self) -> Answer {
        let body = json!({
            "success": false,
            "error": "unauthorized access",
            "errorCode": 401,
            "error_info": "Please check developers.pipedrive.com",
        });
        Answer::json(401, body)
    }

    fn failure(&self) -> Answer {
        let body = json!({"success": false, "error": "Service unavailable", "errorCode": 503});
        Answer::json(503, body)
    }

    fn done(&self, call: &Call) -> Answer {
        let data = match call.method.as_str() {
            "GET" if !is_one(&call.path) => json!([]),
            _ => json!({"id": 17}),
        };
        let cursor = json!({"next_cursor": null});
        Answer::json(
            200,
            json!({"success": true, "data": data, "additional_data": cursor}),
        )
    }
}

/// `/api/v2/persons/17`, not `/api/v2/persons`.
fn is_one(path: &str) -> bool {
    path.trim_start_matches('/').split('/').count() > 3
}

/// Of one call. Version 1 costs twice as much.
fn tokens(call: &Call) -> u64 {
    let listed = call.path.ends_with("/pipelines") || call.path.ends_with("/stages");
    let second = match (call.method.as_str(), is_one(&call.path)) {
        _ if call.is_search() => 20,
        ("GET", true) => 1,
        ("GET", false) if listed => 5,
        ("GET", false) => 10,
        ("DELETE", _) => 3,
        _ => 5,
    };
    if call.path.contains("/v1/") {
        second * 2
    } else {
        second
    }
}
