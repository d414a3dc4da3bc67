//! Zoho CRM: credits of a rolling day, by started tens of records, and calls at once, fewer of the heavy ones.

use serde_json::json;

use crate::answer::Answer;
use crate::meters::meter::Rule;
use crate::meters::options::Span;
use crate::meters::profile::{Call, Limit, Profile, Reading, Refused, Scope, read};

/// A write of more records is heavy.
const LIGHT_ROWS_MAX: u64 = 10;

#[derive(Debug)]
pub(crate) struct Zoho;

impl Profile for Zoho {
    fn limits(&self) -> Vec<Limit> {
        vec![
            Limit {
                name: "credits",
                units: 50_000,
                rule: Rule::Window { ms: 86_400_000 },
                scope: Scope::Account,
                source: "API limits: 50,000 and more by users in a rolling day from Standard on; 5,000 in Free",
            },
            Limit {
                name: "at-once",
                units: 10,
                rule: Rule::AtOnce,
                scope: Scope::Credential,
                source: "API limits: 10 at once per app in Standard; 5 in Free to 25 in Ultimate",
            },
            Limit {
                name: "heavy",
                units: 10,
                rule: Rule::AtOnce,
                scope: Scope::Credential,
                source: "API limits: 10 of them writes of more than 10 records, searches, COQL or conversions",
            },
        ]
    }

    fn weighs(&self, call: &Call, limit: &str) -> u64 {
        match limit {
            "heavy" => u64::from(is_heavy(call)),
            "credits" => credits(call),
            _ => 1,
        }
    }

    fn takes(&self, call: &Call) -> Span {
        if call.method == "GET" {
            Span::new(60, 100)
        } else {
            Span::new(150, 500)
        }
    }

    /// Only once half of the credits are used.
    fn headers(&self, _call: &Call, readings: &[Reading]) -> Vec<(&'static str, String)> {
        let credits = read(readings, "credits");
        if credits.used * 2 < credits.limit {
            return Vec::new();
        }
        vec![("x-api-credits-remaining", credits.left().to_string())]
    }

    /// The message is unverified.
    fn refuse(&self, _refused: &Refused) -> Answer {
        let body = json!({
            "code": "TOO_MANY_REQUESTS",
            "message": "too many requests within a certain time",
            "details": {},
            "status": "error",
        });
        Answer::json(429, body)
    }

    fn unauthorized(&self) -> Answer {
        let body = json!({
            "code": "INVALID_TOKEN",
            "message": "invalid oauth token",
            "details": {},
            "status": "error",
        });
        Answer::json(401, body)
    }

    fn failure(&self) -> Answer {
        let body = json!({
            "code": "INTERNAL_ERROR",
            "message": "Internal Server Error",
            "details": {},
            "status": "error",
        });
        Answer::json(500, body)
    }

    fn done(&self, call: &Call) -> Answer {
        if call.method == "GET" {
            let info = json!({"more_records": false, "next_page_token": null});
            return Answer::json(200, json!({"data": [], "info": info}));
        }
        let row = json!({"code": "SUCCESS", "status": "success", "message": "record updated", "details": {}});
        let rows = vec![row; usize::try_from(call.rows.min(100)).unwrap_or_default()];
        Answer::json(200, json!({"data": rows}))
    }
}

fn is_heavy(call: &Call) -> bool {
    let named = ["/coql", "/search", "/convert"];
    (call.writes() && call.rows > LIGHT_ROWS_MAX)
        || named.iter().any(|name| call.path.ends_with(name))
}

fn credits(call: &Call) -> u64 {
    if call.path.ends_with("/convert") {
        return 5;
    }
    if call.path.contains("/bulk/") && call.method == "POST" {
        return if call.path.contains("/read") { 50 } else { 500 };
    }
    if call.method == "DELETE" || !call.writes() {
        return 1;
    }
    call.rows.div_ceil(10).max(1)
}
